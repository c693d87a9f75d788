"""Zip archives that anybody may have made: listed and read within bounds, whatever they declare.

Weights files and PyTorch's checkpoints are both archives of members that are stored as they are.
What a member declares is held against the file before a byte is read or allocated for it.
"""

from __future__ import annotations

import bisect
import io
import os
import sys
import zipfile

_HEADER = 30  # bytes before a member's name


class MemberError(Exception):
    """What is wrong with a member: `problem` is a sentence whose subject is its name."""

    def __init__(self, member: str, problem: str) -> None:
        super().__init__(member, problem)
        self.member = member
        self.problem = problem


class BoundedReader(io.BufferedReader):
    """A file of which no more than `most` bytes are read at once."""

    most = sys.maxsize

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self.most:
            raise zipfile.BadZipFile(
                f"its directory takes {size} bytes; expected at most {self.most}"
            )
        return super().read(size)


class Archive:
    """An archive that was listed.

    Parameters
    ----------
    file : BoundedReader
        Stays open; whoever opened it closes it.
    directory_limit : int
        Bytes of the longest list of members. Python's objects for it take nine times as much.

    Attributes
    ----------
    members : dict of str to zipfile.ZipInfo

    Raises
    ------
    MemberError
        If two members have the same name.
    Exception
        Many kinds, if the file is no complete archive or its list is too long.
    """

    def __init__(self, file: BoundedReader, directory_limit: int) -> None:
        self._file = file
        file.most = directory_limit  # zipfile reads the directory at once
        try:
            self._archive = zipfile.ZipFile(file)
        finally:
            file.most = sys.maxsize
        self.members: dict[str, zipfile.ZipInfo] = {}
        for info in self._archive.infolist():
            if info.filename in self.members:
                raise MemberError(info.filename, "stands twice; expected every member once")
            self.members[info.filename] = info
        self._places = sorted(info.header_offset for info in self.members.values())

    def check(self, name: str) -> None:
        """Raise MemberError unless a member is stored as it is, inside the file, and by itself."""
        info = self.members[name]
        if info.flag_bits & 0x1:
            raise MemberError(name, "is encrypted; expected it plain")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise MemberError(name, "is compressed; expected it stored")
        end = info.header_offset + _HEADER + len(name.encode()) + info.file_size
        if end > os.fstat(self._file.fileno()).st_size:
            raise MemberError(name, "is longer than the file, so it cannot be read")
        # zipfile looks for members inside members only since Python 3.11.8.
        following = bisect.bisect_right(self._places, info.header_offset)
        if following < len(self._places) and end > self._places[following]:
            raise MemberError(name, "reaches into the next member, so it cannot be read")

    def read(self, name: str, size: int = -1) -> bytes:
        """The first bytes of a member; or all, which are then held against its CRC.

        Raises
        ------
        MemberError
            As from :meth:`check`, or if the bytes are damaged.
        """
        self.check(name)
        try:
            with self._archive.open(name) as member:
                return member.read(size)
        except Exception as error:  # zipfile raises many kinds on damaged bytes
            raise MemberError(name, f"cannot be read ({str(error)[:200]})") from None
