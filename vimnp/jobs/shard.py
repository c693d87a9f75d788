"""A part of a job that runs by itself, on another machine for one."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

from vimnp.errors import ConfigError


class Shard(NamedTuple):
    """One of several parts of a job, which all see the same list of pictures.

    It is every `of`-th picture from the `number`-th on: pictures of a folder, which may take
    longer than those of another one, are then spread over all parts.
    """

    number: int  # 1 up to `of`
    of: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """What "3/8" means. Raises ValueError for anything else."""
        found = re.fullmatch("([0-9]{1,9})/([0-9]{1,9})", text.strip())
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise ValueError(f"{text!r} is no shard; expected 3/8 for the third of eight")
        return cls(int(found[1]), int(found[2]))

    def part(self, files: Sequence[str]) -> Sequence[str]:
        """The pictures of this part."""
        return files[self.number - 1 :: self.of]

    def settings(self, files: Sequence[str]) -> dict[str, Any]:
        """What parts that fit together have alike, but for the number."""
        return {
            "shard": [self.number, self.of],
            "pictures": len(files),
            "pictures_sha256": digest_of(files),
        }

    def path(self, table: str) -> str:
        """The file of this part of a table."""
        return f"{table}.shard-{self.number}-of-{self.of}"


def find_shards(table: str) -> list[str]:
    """The files beside a table that are parts of it by their names, as :meth:`Shard.path` has them.

    Raises
    ------
    ConfigError
        If there is none.
    """
    pattern = re.compile(re.escape(os.path.basename(table)) + r"\.shard-[0-9]+-of-[0-9]+")
    beside = glob.glob(f"{glob.escape(table)}.shard-*")
    found = sorted(path for path in beside if pattern.fullmatch(os.path.basename(path)))
    if not found:
        raise ConfigError(
            f"{table}.shard-*: no file is called so; expected what --shard 1/N to N/N with "
            f"--output {table} wrote, beside it or named"
        )
    return found


def digest_of(files: Iterable[str]) -> str:
    """Of the names in their order, of any characters that a name can have."""
    import hashlib  # with OpenSSL, which `vimnp predict` of a picture need not load

    digest = hashlib.sha256()
    for file in files:
        digest.update(json.dumps(file).encode() + b"\n")
    return digest.hexdigest()
