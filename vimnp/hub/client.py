"""The Hugging Face Hub, through its own client: what a repository holds, and its files.

The client keeps what it downloads in a cache of its own (``HF_HOME``), where other programs find
it, too; goes on with a file that was cut off; knows private repositories by the user's token; and
asks another address where ``HF_ENDPOINT`` says so.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from vimnp.errors import HubError, excerpt
from vimnp.hub.source import RemoteFile

_YES = ("1", "ON", "YES", "TRUE")  # as the client reads its variables
_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
_PAGE = "https://huggingface.co"


class Listing(NamedTuple):
    """What a repository holds at a commit.

    Parameters
    ----------
    commit : str
    files : dict of str to RemoteFile
        By their names.
    licence : str, optional
        As the card's header has it.
    """

    commit: str
    files: dict[str, RemoteFile]
    licence: str | None


def is_offline() -> bool:
    """Whether the user wants no connection: ``HF_HUB_OFFLINE``."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in _YES


def look(repository: str, revision: str) -> Listing:
    """What a repository holds.

    Raises
    ------
    HubError
        If there is no such repository or revision, it is closed to the user, or the Hub cannot be
        reached.
    """
    hub = _client()
    if is_offline():
        raise _offline(repository)
    with _explaining(repository, revision):
        info = hub.HfApi(endpoint=_endpoint()).model_info(
            repository, revision=revision, files_metadata=True
        )
    commit = str(info.sha)
    files = {}
    for sibling in info.siblings or []:
        lfs = getattr(sibling, "lfs", None)
        files[sibling.rfilename] = RemoteFile(
            repository,
            commit,
            sibling.rfilename,
            size=sibling.size,
            sha256=lfs.sha256 if lfs else None,
            blob=None if lfs else sibling.blob_id,
        )
    card = getattr(info, "card_data", None)
    return Listing(commit, files, getattr(card, "license", None))


def download(file: RemoteFile) -> Path:
    """Fetch a file, unless the client has it already; where it lies.

    Raises
    ------
    HubError
        If it cannot be fetched, or what comes is not what the Hub said.
    OSError
        If it cannot be written.
    """
    hub = _client()
    with _explaining(file.repository, file.version, file.name):
        path = Path(
            hub.hf_hub_download(
                file.repository,
                file.name,
                revision=file.version,
                endpoint=_endpoint(),
                local_files_only=is_offline(),
            )
        )
    try:
        file.check(path)
    except HubError:
        _remove(path)
        raise
    return path


def _remove(path: Path) -> None:
    """Have a file fetched anew: its content, too, which lies behind a link where there are such."""
    content = path.resolve()
    for each in {path, content}:
        with contextlib.suppress(OSError):
            each.unlink()


def _client() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise HubError(
            "weights by name need the package huggingface_hub: pip install 'vimnp[hub]'"
        ) from None
    return huggingface_hub


def _endpoint() -> str | None:
    """The client reads its variable when it is loaded; a later one counts here."""
    return os.environ.get("HF_ENDPOINT") or None


@contextlib.contextmanager
def _explaining(repository: str, revision: str, file: str | None = None) -> Iterator[None]:
    """Say in one sentence what went wrong."""
    from huggingface_hub import errors

    what = repository if file is None else f"{repository}/{file}"
    try:
        yield
    except errors.GatedRepoError:
        raise HubError(
            f"{what}: only for those who have agreed to its terms; expected that you do so at "
            f"{_PAGE}/{repository}, and then log in: hf auth login"
        ) from None
    except errors.RepositoryNotFoundError:
        raise HubError(
            f"{what}: no such repository on the Hub, or a private one; expected its name, or that "
            "you log in: hf auth login"
        ) from None
    except errors.RevisionNotFoundError:
        raise HubError(
            f"{what}: has no revision {excerpt(revision)}; expected a branch, a tag or a commit"
        ) from None
    except errors.LocalEntryNotFoundError as error:  # it could not ask, and has no copy
        raise (_offline(what) if is_offline() else _unreachable(what, error)) from None
    except errors.EntryNotFoundError:
        raise HubError(f"{what}: no such file at revision {excerpt(revision)}") from None
    except errors.OfflineModeIsEnabled:
        raise _offline(what) from None
    except OSError as error:
        if error.errno in _OF_DISKS:  # the client's own cache: it does not say which file
            folder = hub_folder()
            raise OSError(error.errno, error.strerror, error.filename or folder) from None
        raise _unreachable(what, error) from None
    except (MemoryError, HubError):
        raise
    except Exception as error:  # of the client's HTTP library, which is another every few years
        raise _unreachable(what, error) from None


def hub_folder() -> str:
    """Where the client keeps what it fetches."""
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)


def _offline(what: str) -> HubError:
    return HubError(
        f"{what}: is not in the cache, and HF_HUB_OFFLINE is set; expected a connection the first "
        "time: unset it"
    )


def _unreachable(what: str, error: Exception) -> HubError:
    reason = excerpt(error.__cause__ or error, 200)
    return HubError(
        f"{what}: cannot be fetched from {_endpoint() or _PAGE}: {reason or type(error).__name__}; "
        "expected a connection that lasts: the same command goes on where it stopped"
    )
