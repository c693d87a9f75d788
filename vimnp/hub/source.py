"""What a fetch reads: files of one version of a repository, and the digest of each."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from vimnp.errors import HubError

_PIECE = 1 << 20  # bytes that are hashed together


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A file of a repository.

    Parameters
    ----------
    repository : str
    version : str
        The commit; of a release the SHA-256 of its file.
    name : str
        In the repository.
    size : int, optional
        In bytes.
    sha256 : str, optional
        Of the content; of small files there is the following one in its place.
    blob : str, optional
        What git calls the content: the SHA-1 of its length and bytes.
    """

    repository: str
    version: str
    name: str
    size: int | None = None
    sha256: str | None = None
    blob: str | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RemoteFile:
        """What :meth:`to_dict` gave; raises TypeError for something else."""
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def check(self, path: Path) -> None:
        """Raise HubError if a downloaded file is not this one.

        Raises
        ------
        HubError
            It names both digests.
        """
        size = path.stat().st_size
        if self.size is not None and size != self.size:
            self._refuse(path, f"{self.size:,} bytes", f"{size:,}")
        if self.sha256 is not None:
            found = _digest(path, "sha256")
            if found != self.sha256:
                self._refuse(path, f"the SHA-256 {self.sha256}", found)
        elif self.blob is not None:
            found = _digest(path, "sha1", b"blob %d\0" % size)
            if found != self.blob:
                self._refuse(path, f"git's digest {self.blob}", found)

    def _refuse(self, path: Path, expected: str, found: str) -> None:
        raise HubError(
            f"{self.repository}/{self.name}: expected {expected}, but what was fetched has "
            f"{found}: it is damaged, or another file; it was not used and is removed: fetch it "
            "again"
        )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content."""
    return _digest(path, "sha256")


def _digest(path: Path, kind: str, before: bytes = b"") -> str:
    digest = hashlib.new(kind, before, usedforsecurity=False)
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
