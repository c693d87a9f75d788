"""Pictures that other processes look at: those may die."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("distributed", reason="workers are dask's: pip install 'vimnp[distributed]'")

import vimnp
from tests.support.digits import SCANS
from vimnp.errors import VimnpError
from vimnp.jobs import cluster
from vimnp.jobs.operation import Operation, Row
from vimnp.jobs.prediction import Predict
from vimnp.weights.file import BUNDLED_DIGITS

WAY: dict[str, Any] = {"backend": vimnp.load("digits").backend, "num_threads": 1}


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with cluster.local_cluster(2) as client:
        yield client


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Twelve times ten scans, a damaged picture, and a name of none."""
    for index in range(120):
        shutil.copy(SCANS[index % 10], tmp_path / f"{index:03}.png")
    (tmp_path / "damaged.png").write_bytes(SCANS[0].read_bytes()[:60])
    return [*map(str, sorted(tmp_path.iterdir())), str(tmp_path / "none.png")]


def rows_by(client: Any, operation: Operation, files: Sequence[str], **options: Any) -> list[Row]:
    return [row for rows in chunks_by(client, operation, files, **options) for row in rows]


def chunks_by(
    client: Any, operation: Operation, files: Sequence[str], **options: Any
) -> Iterator[list[Row]]:
    settings: dict[str, Any] = {
        "weights": str(BUNDLED_DIGITS),
        "weights_sha256": digest_of(BUNDLED_DIGITS),
        "way": WAY,
        "batch": 4,
        "share_weights": False,
    }
    return cluster.rows_by(client, operation, files, **{**settings, **options})


def digest_of(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def rows_here(operation: Operation, files: Sequence[str]) -> list[Row]:
    model = vimnp.load("digits", **WAY)
    return [row for rows in operation.batches(model, files) for row in rows]


def by_file(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: str(row["file"]))


def deadly(*names: str) -> Operation:
    """Prediction that kills the process which is given one of these pictures."""

    class Deadly(Predict):  # pickled by its value, which workers can read that have no tests
        def place(self, file: str) -> str:
            if os.path.basename(file) in names:
                os.kill(os.getpid(), signal.SIGKILL)
            return file

    return Deadly(2)


def test_workers_give_the_rows_of_one_process(client: Any, files: list[str]) -> None:
    operation = Predict(3)
    expected = rows_here(operation, files)
    assert [row["file"] for row in expected if row["error"]] == files[-2:]
    assert by_file(rows_by(client, operation, files)) == by_file(expected)


def test_paths_begin_where_the_client_is(
    client: Any, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(files[0]).parent)
    names = [os.path.basename(file) for file in files]
    rows = rows_by(client, Predict(), names, share_weights=True)
    assert by_file(rows) == by_file(rows_here(Predict(), names))


def test_workers_that_are_killed_lose_nothing(client: Any, files: list[str]) -> None:
    rows, killed = [], 0
    for found in chunks_by(client, Predict(), files):
        rows += found
        if killed < 2:
            pids = [worker.pid for worker in client.cluster.workers.values() if worker.pid]
            for pid in pids[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                killed += 1
    assert killed
    assert by_file(rows) == by_file(rows_here(Predict(), files))


def test_a_picture_that_kills_workers_has_an_error(client: Any, files: list[str]) -> None:
    rows = by_file(rows_by(client, deadly("001.png"), files[:3]))
    expected = rows_here(Predict(2), files[:3])
    expected[1] = {"file": files[1], "predictions": None, "error": cluster.GIVEN_UP}
    assert rows == by_file(expected)


def test_weights_that_changed_are_refused(client: Any, files: list[str]) -> None:
    with pytest.raises(VimnpError, match="another file than when the job began"):
        rows_by(client, Predict(), files, weights_sha256="0" * 64, share_weights=True)


def test_a_worker_that_cannot_run_the_network_says_so(client: Any, files: list[str]) -> None:
    with pytest.raises(VimnpError, match=r"the worker tcp://.* cannot run the network: .*scan"):
        rows_by(client, Predict(), files, way={**WAY, "scan": "upwards"})


def test_a_picture_that_only_the_client_has_is_no_bad_picture(
    client: Any, files: list[str]
) -> None:
    class Elsewhere(Predict):
        def place(self, file: str) -> str:
            return file if os.getpid() == here else f"{file}.elsewhere"

    here = os.getpid()
    with pytest.raises(VimnpError, match="is here, but not at the worker tcp://"):
        rows_by(client, Elsewhere(), files[:3])


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="Windows has no masks")
def test_the_terminal_interrupts_the_client_alone(client: Any) -> None:
    def blocked() -> set[int]:
        return {*map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))}

    found = client.run(blocked)
    assert found
    assert all(signal.SIGINT in each for each in found.values())
    assert signal.SIGINT not in blocked()


def test_the_cluster_forgets_the_job(client: Any, files: list[str]) -> None:
    def held() -> int:
        from vimnp.jobs import worker

        return len(worker._held)

    rows_by(client, Predict(), files[:3])
    chunks = chunks_by(client, Predict(), files)
    next(chunks)
    assert {*client.run(held).values()} == {1}
    chunks.close()  # type: ignore[attr-defined]
    assert {*client.run(held).values()} == {0}
    assert not client.futures


def test_where_there_is_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 1.0)
    with (
        pytest.raises(VimnpError, match=r"tcp://127\.0\.0\.1:9: no scheduler answers there"),
        cluster.scheduler_at("tcp://127.0.0.1:9"),
    ):
        pass
