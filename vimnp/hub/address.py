"""What a user calls weights by, and what that stands for."""

from __future__ import annotations

import re
import urllib.parse
from typing import NamedTuple

from vimnp.errors import HubError, excerpt
from vimnp.hub.names import Origin, origin_in, origin_named
from vimnp.weights.by_name import SCHEME

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9_][\w./-]{0,199}", re.ASCII)
_FILE = re.compile(r"[\w.@+ -]+(/[\w.@+ -]+)*", re.ASCII)
_FORMS = (
    "expected a name that `vimnp fetch` lists, owner/repository, or "
    f"{SCHEME}owner/repository[@revision]/file"
)


class Address(NamedTuple):
    """Weights that are asked for.

    Parameters
    ----------
    name : str
        What they were called.
    repository : str
        "owner/name".
    revision : str
    file : str, optional
        The file in the repository; None where that is to be found out.
    origin : Origin, optional
        What is known of them, if they are published ones.
    """

    name: str
    repository: str
    revision: str
    file: str | None
    origin: Origin | None

    @property
    def release(self) -> str | None:
        """The folder's address where it is no repository of the Hub."""
        return self.origin.release if self.origin else None


def parse_address(name: str, revision: str | None = None, file: str | None = None) -> Address:
    """Understand what weights are called.

    Parameters
    ----------
    name : str
        A published network's name, as "vim-tiny"; "owner/repository" on the Hugging Face Hub; or
        "hf://owner/repository@revision/file", of which the revision may be missing.
    revision, file : str, optional
        What the name does not say.

    Raises
    ------
    HubError
        If that is no name of weights.
    """
    if "/" not in name:
        origin = origin_named(name)
        if origin.release is not None and (revision or file):
            raise HubError(f"{name}: a file of a release; expected neither revision nor file")
    else:
        repository, told_revision, told_file = _split(name)
        revision = _once(name, "revision", told_revision, revision)
        file = _once(name, "file", told_file, file)
        known = origin_in(repository, file) or origin_in(repository, None)
        if known is None:
            return _checked(Address(name, repository, revision or "main", file, None))
        origin = known
    asked = file or origin.file
    if file not in (None, origin.file):  # another one of the same repository
        origin = origin_in(origin.repository, file) or origin._replace(network=None, sha256=None)
    if revision not in (None, origin.revision):
        origin = origin._replace(sha256=None)
    return _checked(Address(name, origin.repository, revision or origin.revision, asked, origin))


def _split(name: str) -> tuple[str, str | None, str | None]:
    """Repository, revision and file of an address."""
    owner, _, rest = name.removeprefix(SCHEME).partition("/")
    repository, _, file = rest.partition("/")
    repository, _, revision = repository.partition("@")
    if file and not name.startswith(SCHEME):
        raise HubError(f"{excerpt(name)}: no name of weights; {_FORMS}")
    return f"{owner}/{repository}", urllib.parse.unquote(revision) or None, file or None


def _once(name: str, what: str, told: str | None, given: str | None) -> str | None:
    if told and given and told != given:
        raise HubError(f"{name}: has another {what} than {given}; expected it once")
    return told or given


def _checked(address: Address) -> Address:
    """Refuse what is no address, before it becomes part of one, or of a path."""
    parts = (address.file or "").split("/")
    if (
        not _REPOSITORY.fullmatch(address.repository)
        or not _REVISION.fullmatch(address.revision)
        or ".." in address.revision
        or (address.file is not None and not _FILE.fullmatch(address.file))
        or {".", ".."} & {*parts}
    ):
        raise HubError(f"{excerpt(address.name)}: no name of weights; {_FORMS}")
    return address
