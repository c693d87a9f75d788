"""What a worker of a cluster does: it holds the network, and looks at chunks of pictures."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import platform
import tempfile
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from distributed import WorkerPlugin

import vimnp.models
from vimnp.errors import ImageError, VimnpError
from vimnp.images.preprocessing import Picture
from vimnp.jobs.addresses import is_address, read_picture
from vimnp.jobs.operation import Operation, Row
from vimnp.models.vision import VisionModel
from vimnp.version import __version__

if TYPE_CHECKING:
    from distributed import Worker


@dataclasses.dataclass(frozen=True)
class Work:
    """What every worker is told once.

    Parameters
    ----------
    name : str
        Of this job: a cluster may have several.
    operation : Operation
    weights : str or bytes
        The path of a weights file that the worker has, too; or what is in the file.
    weights_sha256 : str
        Its digest.
    way : dict
        How the network runs: settings of :func:`vimnp.models.load`.
    folder : str
        Where paths that are relative begin.
    batch : int
        How many pictures are given to the network at once.
    version : str
        Of vimnp: another one might find something else.
    """

    name: str
    operation: Operation
    weights: str | bytes
    weights_sha256: str
    way: dict[str, Any]
    folder: str
    batch: int
    version: str = __version__


class Found(NamedTuple):
    """What came of a chunk.

    Parameters
    ----------
    rows : list of Row
        In the order of the files.
    missing : list of str
        Files that this machine has not.
    where : str
        Which machine that is.
    """

    rows: list[Row]
    missing: list[str]
    where: str


class GiveWork(WorkerPlugin):  # type: ignore[misc, unused-ignore]
    """Gives each worker the work, those as well that come later or come again.

    Parameters
    ----------
    work : Work
    """

    def __init__(self, work: Work) -> None:
        self.name = work.name
        self._work = work

    def setup(self, worker: Worker) -> None:
        _held[self.name] = _Held(self._work, worker.address)

    def teardown(self, worker: Worker) -> None:
        _held.pop(self.name, None)


def look_at(name: str, files: Sequence[str]) -> Found:
    """Make rows of a chunk of pictures in this process.

    Raises
    ------
    VimnpError
        If this machine cannot run the network, and so can look at no picture.
    """
    held = _held.get(name)
    if held is None:
        raise VimnpError(f"{platform.node()}: a worker was not told of the job {name}")
    return held.look_at(files)


class _Held:
    """The work, and the network, which is made when the first chunk comes."""

    def __init__(self, work: Work, where: str) -> None:
        self._work = work
        self._where = where
        self._model: VisionModel | None = None
        # A pass takes all cores by itself, however many chunks the worker is given at once.
        self._lock = threading.Lock()

    def look_at(self, files: Sequence[str]) -> Found:
        with self._lock:
            if self._model is None:
                self._model = self._make()
            batches = self._work.operation.batches(
                self._model, files, batch=self._work.batch, read=self._read
            )
            rows = [row for batch in batches for row in batch]
        missing = [row["file"] for row in rows if row["error"] and self._is_missing(row["file"])]
        return Found(rows, missing, self._where)

    def _make(self) -> VisionModel:
        work = self._work
        try:
            if work.version != __version__:
                raise VimnpError(
                    f"vimnp {__version__} is installed there; expected {work.version}, as here"
                )
            model = _load(work)
        except (VimnpError, OSError, MemoryError) as error:
            reason = str(error) or type(error).__name__
            raise VimnpError(f"the worker {self._where} cannot run the network: {reason}") from None
        self._work = dataclasses.replace(work, weights=b"")
        return model

    def _read(self, place: str) -> Picture:
        path = self._path(place)
        try:
            return read_picture(path)
        except ImageError as error:  # a row has it without the name, which is another one here
            raise ImageError(str(error).removeprefix(f"{path}: ")) from None

    def _path(self, place: str) -> str:
        return place if is_address(place) else os.path.join(self._work.folder, place)

    def _is_missing(self, file: str) -> bool:
        place = self._work.operation.place(file)
        return not is_address(place) and not os.path.lexists(self._path(place))


_held: dict[str, _Held] = {}


def _load(work: Work) -> VisionModel:
    if isinstance(work.weights, str):
        _check(work, _digest(work.weights))
        return vimnp.models.load(work.weights, **work.way)
    with tempfile.TemporaryDirectory(prefix="vimnp-") as folder:
        path = os.path.join(folder, "weights.npz")
        with open(path, "wb") as file:
            file.write(work.weights)
        return vimnp.models.load(path, **work.way)


def _check(work: Work, digest: str) -> None:
    if digest != work.weights_sha256:
        raise VimnpError(f"{work.weights!r} is another file than when the job began")


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
