"""Rows of pictures from other processes and machines, by dask.distributed.

The client alone writes: a worker is given names and gives rows. What is in a worker's hand when it
dies is given to another one by the scheduler, until the scheduler has had enough of it; who is
guilty then is found out by :class:`vimnp.jobs.chunks.Chunks`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import os
import queue
import random
import signal
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, NamedTuple

from vimnp.errors import ConfigError, VimnpError, excerpt
from vimnp.jobs.chunks import Chunk, Chunks, chunk_size
from vimnp.jobs.operation import Operation, Row
from vimnp.version import __version__

if TYPE_CHECKING:
    from distributed import Client, Future

    from vimnp.jobs.worker import Found, Work

ANSWER_SECONDS = 10.0
"""How long a scheduler has to answer when a job begins."""

_GATHER_SECONDS = 5.0  # for a chunk's rows, some hundred kilobytes; then twice that, and so on
_TICK = 0.2  # seconds between two looks at who is still there
_SPARE = 1  # chunks that a worker has besides those it runs: it never waits for the client
_LOCAL_FAILURES = 1  # deaths with a chunk in hand, after which one of our own workers is suspected

GIVEN_UP = "cannot be looked at: workers that tried died, or had too little memory"


@contextlib.contextmanager
def local_cluster(workers: int) -> Iterator[Client]:
    """Workers on this machine, a process each, that end with the block.

    Raises
    ------
    ConfigError
        If dask.distributed is missing.
    VimnpError
        If the processes cannot be started.
    """
    distributed = _import_distributed()
    import dask

    settings = {
        "distributed.scheduler.allowed-failures": _LOCAL_FAILURES,
        # So long after a worker's death it is closed for good if it is dead just then.
        "distributed.deploy.lost-worker-timeout": "1000 days",
    }
    with dask.config.set(settings):
        try:
            with _left_to_us(signal.SIGINT):
                cluster = distributed.LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    dashboard_address="127.0.0.1:0",  # it would be seen from outside
                    silence_logs=logging.CRITICAL,
                )
        except (RuntimeError, OSError) as error:  # too little memory, for one
            raise VimnpError(
                f"{workers} workers cannot be started: {_reason(error)}; expected memory for as "
                "many processes: ask for fewer"
            ) from None
        with cluster, _quiet(), distributed.Client(cluster) as client:
            yield client


@contextlib.contextmanager
def _left_to_us(number: int) -> Iterator[None]:
    """Processes that threads start which begin herein do not get the signal.

    A terminal sends Ctrl-C to all of them. We end them in order; each would print a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # as it begins it lets its thread have the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def scheduler_at(address: str) -> Iterator[Client]:
    """The workers of a scheduler that runs already, and goes on to run.

    Parameters
    ----------
    address : str
        As ``tcp://HOST:8786``; or the path of the file that ``dask scheduler --scheduler-file``
        wrote.

    Raises
    ------
    ConfigError
        If dask.distributed is missing.
    VimnpError
        If no scheduler answers.
    """
    distributed = _import_distributed()
    place = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
    with _quiet():
        try:
            client = distributed.Client(**place, timeout=ANSWER_SECONDS)
        except (OSError, ValueError, TypeError) as error:  # an address that is none, too
            raise VimnpError(
                f"{address}: no scheduler answers there ({_reason(error)}); expected the address "
                "that `dask scheduler` printed, as tcp://HOST:8786"
            ) from None
        with client:
            yield client


def rows_by(
    client: Client,
    operation: Operation,
    files: Sequence[str],
    *,
    weights: str,
    weights_sha256: str,
    way: dict[str, Any],
    batch: int,
    share_weights: bool,
    on_waiting: Callable[[], object] = lambda: None,
) -> Iterator[list[Row]]:
    """Rows of pictures, a chunk at a time and in any order.

    Parameters
    ----------
    client : distributed.Client
    operation : Operation
    files : sequence of str
        Each once.
    weights : str
        A weights file.
    weights_sha256 : str
        Its digest.
    way : dict
        How the network runs: settings of :func:`vimnp.models.load`.
    batch : int
        How many pictures are given to the network at once.
    share_weights : bool
        Whether the workers read the file where it is; it is sent to them otherwise.
    on_waiting : callable
        Is called once if there are no workers when the job begins.

    Raises
    ------
    VimnpError
        If a worker cannot run the network or lacks a picture that is here, or the scheduler is
        gone.
    """
    from vimnp.jobs.worker import GiveWork, Work

    content: str | bytes = os.path.abspath(weights)
    if not share_weights:
        with open(weights, "rb") as file:
            content = file.read()
    work = Work(
        name=f"vimnp-{uuid.uuid4().hex}",
        operation=operation,
        weights=content,
        weights_sha256=weights_sha256,
        way=way,
        folder=os.getcwd(),
        batch=batch,
    )
    del content
    try:
        client.register_plugin(GiveWork(work), name=work.name)
    except Exception as error:  # whatever a worker raised
        raise _worker_error(error) from None
    work = dataclasses.replace(work, weights=b"")
    try:
        yield from _Distribution(client, work, files, on_waiting).rows()
    finally:
        with contextlib.suppress(Exception):  # the scheduler may be gone
            client.unregister_worker_plugin(work.name)


class _Distribution:
    """Chunks that are at workers, and what comes back."""

    def __init__(
        self, client: Client, work: Work, files: Sequence[str], on_waiting: Callable[[], object]
    ) -> None:
        self._client = client
        self._work = work
        self._finished: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._sent: dict[str, _Sent] = {}
        self._rows: list[Row] = []  # that are here, and not given yet
        self._number = itertools.count()
        threads = self._threads()
        if files and not threads:
            on_waiting()
        self._chunks = Chunks(files, chunk_size(len(files), sum(threads.values())))

    def rows(self) -> Iterator[list[Row]]:
        try:
            while not self._chunks.is_done or self._rows:
                if self._rows:
                    rows, self._rows = self._rows, []
                    yield rows
                self._send()
                with contextlib.suppress(queue.Empty):
                    self._take(self._finished.get(timeout=_TICK))
        finally:
            self._cancel([sent.future for sent in self._sent.values()])

    def _threads(self) -> dict[str, int]:
        """How many chunks each worker runs at once, by its address."""
        with _scheduler_there():
            found: dict[str, int] = self._client.nthreads()
        return found

    def _send(self) -> None:
        """Keep the workers busy, and no more: what waits here can go to any of them."""
        threads = self._threads()
        self._heal(len(threads))
        for key, sent in list(self._sent.items()):
            if sent.worker is not None and sent.worker not in threads:
                is_done = sent.future.status == "finished"  # it died afterwards
                del self._sent[key]
                self._cancel([sent.future])
                (self._chunks.put_back if is_done else self._blame)(sent.chunk)
        most = sum(threads.values()) + _SPARE * len(threads)
        while (chunk := self._chunks.take(most)) is not None:
            # A suspect is one worker's only, so that nobody else begins with it when that one dies.
            worker = random.choice(list(threads)) if chunk.is_suspect else None
            future = self._submit(chunk, worker)
            self._sent[future.key] = _Sent(future, chunk, worker)
            future.add_done_callback(self._finished.put)

    def _heal(self, workers: int) -> None:
        """Replace those of our own workers that have given up: one that died in its start may."""
        ours = self._client.cluster
        if ours is not None and workers < len(ours.worker_spec):
            ours.loop.add_callback(_replace_closed, ours)

    def _submit(self, chunk: Chunk, worker: str | None) -> Future:
        from vimnp.jobs.worker import look_at

        with _scheduler_there():
            return self._client.submit(
                look_at,
                self._work.name,
                chunk.files,
                key=f"{self._work.name}-{next(self._number)}",
                pure=False,
                workers=None if worker is None else [worker],
                allow_other_workers=False,
            )

    def _take(self, future: Future) -> None:
        """Take what has come back: rows, an error, or nothing."""
        sent = self._sent.pop(future.key, None)
        if sent is None:  # it was taken back
            return
        try:
            if future.status == "pending":  # the worker died with the rows: another one makes them
                raise TimeoutError
            found = future.result(timeout=sent.patience)
        except TimeoutError:
            self._sent[future.key] = sent._replace(patience=2 * sent.patience)
            future.add_done_callback(self._finished.put)
            return
        except CancelledError:  # somebody has restarted the cluster, or it is gone
            self._chunks.put_back(sent.chunk)
            return
        except Exception as error:
            if isinstance(error, MemoryError) or type(error).__name__ == "KilledWorker":
                self._blame(sent.chunk)
                return
            raise _worker_error(error) from None
        finally:
            if future.key not in self._sent:
                future.release()  # the rows at the worker, too
        self._expect_pictures(found)
        self._chunks.finish(sent.chunk)
        self._rows += found.rows

    def _blame(self, chunk: Chunk) -> None:
        given_up = self._chunks.blame(chunk)
        if given_up is not None:
            self._rows.append(self._work.operation.row(given_up, None, GIVEN_UP))

    def _expect_pictures(self, found: Found) -> None:
        """A picture that is here and not there is no bad picture: the workers lack the folder."""
        for file in found.missing:
            path = os.path.abspath(self._work.operation.place(file))
            if os.path.exists(path):
                raise VimnpError(
                    f"{path}: is here, but not at the worker {found.where}; expected a folder that "
                    "all machines have under the same name, or addresses as https:// or s3://"
                )

    def _cancel(self, futures: list[Future]) -> None:
        with contextlib.suppress(Exception):  # the scheduler may be gone
            self._client.cancel(futures, force=True)


class _Sent(NamedTuple):
    future: Future
    chunk: Chunk
    worker: str | None  # that alone may run it
    patience: float = _GATHER_SECONDS


@contextlib.contextmanager
def _scheduler_there() -> Iterator[None]:
    """What fails herein does so because the scheduler is gone."""
    try:
        yield
    except (OSError, AttributeError) as error:  # a client that has closed has no scheduler
        raise VimnpError(
            f"the scheduler is gone ({_reason(error)}); expected it to run until the job is done: "
            "--resume goes on from the rows that are here"
        ) from None


def _replace_closed(ours: Any) -> None:
    for name, worker in list(ours.workers.items()):
        if worker.status.name in ("closed", "failed"):
            del ours.workers[name]
    ours.scale(len(ours.worker_spec))


def _worker_error(error: Exception) -> VimnpError:
    if isinstance(error, VimnpError):
        return error
    return VimnpError(
        f"a worker, or the scheduler, has failed ({type(error).__name__}: {_reason(error)}); "
        f"expected vimnp[distributed] {__version__} on all of them, as here"
    )


def _reason(error: Exception) -> str:
    return excerpt(" ".join(str(error).split()) or type(error).__name__, 200)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What dask says of a cluster on its own goes nowhere: what matters, an error of ours says."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _import_distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise ConfigError(
            "dask.distributed is missing, which --workers and --scheduler take: "
            "pip install 'vimnp[distributed]'"
        ) from None
    return distributed
