"""Zip archives that anybody may have made: listed and read within bounds, whatever they declare.

Weights files and PyTorch's checkpoints are both archives of members that are stored as they are.
What a member declares is held against the file before a byte is read or allocated for it. zipfile
reads the list; members are read here, because a network has hundreds, and zipfile takes longer to
open most of them than to read them.
"""

from __future__ import annotations

import bisect
import io
import os
import struct
import sys
import zipfile
import zlib

# A member's own header: a signature, what the list says as well, the lengths of its name and of
# what comes behind that.
_HEADER = struct.Struct("<4s22xHH")
_PIECE = 1 << 20  # bytes that are read together where a member goes by
_SIGNATURE = b"PK\x03\x04"
_UTF8, _SIZES_FOLLOW, _EFFORT = 0x800, 0x8, 0x6  # flags that change nothing for a stored member


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
        self._size = os.fstat(file.fileno()).st_size
        self._mapped: memoryview | None = None
        file.most = directory_limit  # zipfile reads the directory at once
        try:
            infos = zipfile.ZipFile(file).infolist()
        finally:
            file.most = sys.maxsize
        self.members: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            if info.filename in self.members:
                raise MemberError(info.filename, "stands twice; expected every member once")
            self.members[info.filename] = info
        self._places = sorted(info.header_offset for info in self.members.values())
        self._begins: dict[str, int] = {}  # of the members that were located

    def check(self, name: str) -> None:
        """Raise MemberError unless a member is stored as it is, inside the file, and by itself."""
        info = self.members[name]
        if info.flag_bits & ~(_UTF8 | _SIZES_FOLLOW | _EFFORT):
            raise MemberError(name, "is encrypted, patched or the like; expected it plain")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise MemberError(name, "is compressed; expected it stored")
        end = info.header_offset + _HEADER.size + len(name.encode()) + info.file_size
        if info.header_offset < 0 or end > self._size:
            raise MemberError(name, "is longer than the file, so it cannot be read")
        # zipfile looks for members inside members only since Python 3.11.8.
        following = bisect.bisect_right(self._places, info.header_offset)
        if following < len(self._places) and end > self._places[following]:
            raise MemberError(name, "reaches into the next member, so it cannot be read")

    def locate(self, name: str) -> int:
        """Where in the file a member's bytes begin; looked for once.

        Raises
        ------
        MemberError
            As from :meth:`check`, or if the list and the member's own header differ.
        """
        begin = self._begins.get(name)
        if begin is None:
            self.check(name)
            begin = self._begins[name] = self._find_begin(name)
        return begin

    def _find_begin(self, name: str) -> int:
        """Read a member's own header, behind which its bytes begin."""
        info = self.members[name]
        self._file.seek(info.header_offset)
        encoding = "utf-8" if info.flag_bits & _UTF8 else "cp437"
        listed_name = info.orig_filename.encode(encoding, errors="replace")
        header = self._next(name, _HEADER.size + len(listed_name))
        signature, name_length, extra_length = _HEADER.unpack_from(header)
        own_name = header[_HEADER.size :]
        if signature != _SIGNATURE or name_length != len(own_name) or own_name != listed_name:
            raise MemberError(name, "cannot be read (the list and its own header differ)")
        return info.header_offset + len(header) + extra_length

    def read(self, name: str, size: int = -1) -> bytes:
        """The first bytes of a member; or all, which are then held against its CRC.

        Raises
        ------
        MemberError
            As from :meth:`locate`, or if the bytes are damaged.
        """
        begin, info = self.locate(name), self.members[name]
        self._file.seek(begin)
        if 0 <= size < info.file_size:
            return self._next(name, size)
        data = self._next(name, info.file_size)
        if zlib.crc32(data) != info.CRC:
            raise MemberError(name, "cannot be read (its CRC-32 is another)")
        return data

    def map(self, name: str) -> memoryview:
        """All bytes of a member, which stay in the file until they are read.

        They are not held against the CRC, since that would read them. They stay readable when the
        file is closed; somebody who shortens it in place ends the processes that read them.

        Raises
        ------
        MemberError
            As from :meth:`locate`, or if the file cannot be mapped.
        """
        begin, size = self.locate(name), self.members[name].file_size
        if self._mapped is None:
            import mmap  # most processes map no file

            try:
                mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:
                raise MemberError(name, f"cannot be mapped ({error})") from None
            self._mapped = memoryview(mapped)
        if begin + size > len(self._mapped):
            raise MemberError(name, "cannot be read (the file ends within it)")
        return self._mapped[begin : begin + size]

    def damaged(self, name: str) -> bool:
        """Whether a member's bytes are others than its CRC says; they are read piece by piece."""
        left, found = self.members[name].file_size, 0
        self._file.seek(self.locate(name))
        while left:
            piece = self._next(name, min(left, _PIECE))
            found = zlib.crc32(piece, found)
            left -= len(piece)
        return found != self.members[name].CRC

    def _next(self, name: str, size: int) -> bytes:
        """The next bytes of the file, which belong to a member."""
        try:
            data = self._file.read(size)
        except OSError as error:  # a card that fails
            raise MemberError(name, f"cannot be read ({error.strerror or error})") from None
        if len(data) < size:
            raise MemberError(name, "cannot be read (the file ends within it)")
        return data
