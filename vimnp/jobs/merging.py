"""The files of a job's parts: written one by one, and put together again."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from vimnp.errors import ConfigError, excerpt
from vimnp.jobs.embedding import Embed
from vimnp.jobs.operation import Row, Tabulated
from vimnp.jobs.prediction import Predict
from vimnp.jobs.rows import StoredRows, checked_row, header, is_header
from vimnp.jobs.shard import digest_of
from vimnp.storage.files import open_regular, whole_file
from vimnp.storage.journal import difference, is_same
from vimnp.storage.json_text import parse_json

_Each = TypeVar("_Each")

_OPERATIONS: tuple[type[Tabulated], ...] = (Predict, Embed)


def write_shard(
    path: str | os.PathLike[str],
    operation: Tabulated,
    rows: Iterable[Row],
    settings: dict[str, Any],
) -> None:
    """Write a part that is complete, whole or not at all.

    Parameters
    ----------
    path : path-like
    operation : Operation
        What the rows are results of.
    rows : iterable of Row
        In the order of the pictures.
    settings : dict
        What the rows depend on beside it, and those of :meth:`Shard.settings`.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with whole_file(path) as file:
        for line in itertools.chain([header(operation, settings)], rows):
            file.write(json.dumps(line).encode() + b"\n")  # ASCII: names need not be Unicode


class Merged(NamedTuple):
    """All rows of a job, in the order that they would have without parts."""

    operation: Tabulated
    rows: Sequence[Row]  # each is read when it is asked for
    settings: dict[str, Any]  # what they depend on beside the operation


def merge(paths: Sequence[str]) -> Merged:
    """Put all parts of a job together.

    Raises
    ------
    ConfigError
        If a file holds something else, parts are of other jobs or of other lists of pictures, one
        is missing or is there twice, or a picture is.
    OSError
        If a file cannot be read, or is no regular file.
    """
    first, *others = shards = [_read(path) for path in paths]
    by_number: dict[int, _Read] = {}
    for shard in shards:
        _expect_fit(first, shard)
        twin = by_number.setdefault(shard.number, shard)
        if twin is not shard:
            raise ConfigError(
                f"{shard.path}: is shard {shard.number} of {shard.of}, as {twin.path} is; "
                "expected each once"
            )
    number_missing = first.of - len(by_number)
    if number_missing:
        missing = (number for number in itertools.count(1) if number not in by_number)
        listed = ", ".join(map(str, itertools.islice(missing, min(number_missing, 10))))
        raise ConfigError(
            f"of {first.of} shards {number_missing} are missing: {listed}"
            f"{', ...' if number_missing > 10 else ''}; expected the files of all: run `vimnp` "
            "with --shard for these"
        )
    in_order = [by_number[number] for number in range(1, first.of + 1)]
    names = _interleaved([shard.names for shard in in_order])
    if len(names) != first.pictures or digest_of(names) != first.digest:
        raise ConfigError(
            f"{first.path} and {len(others)} others: not each of the {first.pictures:,} pictures "
            "is there once and in its place; expected files that `vimnp` with --shard wrote"
        )
    places = _interleaved([[(s.path, place) for place in s.places] for s in in_order])
    return Merged(first.operation, StoredRows(first.operation, places), first.settings)


class _Read(NamedTuple):
    """A part as it was read."""

    path: str
    number: int
    of: int
    pictures: int
    digest: str
    operation: Tabulated
    settings: dict[str, Any]
    names: list[str]  # of the pictures
    places: list[int]  # where their rows begin


def _read(path: str) -> _Read:
    try:
        with open(open_regular(path), "rb") as file:
            head = parse_json(_whole(file.readline()))
            match head:
                case {
                    "shard": [int(number), int(of)],
                    "pictures": int(pictures),
                    "pictures_sha256": str(digest),
                } if is_header(head) and 1 <= number <= of:
                    pass
                case _:
                    raise ValueError("its first line says of no shard")
            operation = _operation_of(head)
            names, places = [], []
            place = file.tell()
            for line in file:
                names.append(checked_row(operation, parse_json(_whole(line)))["file"])
                places.append(place)
                place += len(line)
    except ValueError as error:
        raise ConfigError(
            f"{path}: {excerpt(error)}; expected what `vimnp predict` or `vimnp embed` with "
            "--shard wrote"
        ) from None
    own = {"shard", "pictures", "pictures_sha256", *header(operation, {})}
    settings = {name: value for name, value in head.items() if name not in own}
    return _Read(path, number, of, pictures, digest, operation, settings, names, places)


def _whole(line: bytes) -> bytes:
    """Raise ValueError if there is no line, or it does not end."""
    if not line.endswith(b"\n"):
        raise ValueError("a line does not end" if line else "it is empty")
    return line


def _operation_of(head: dict[str, Any]) -> Tabulated:
    """The operation that a header speaks of. Raises ValueError if there is none."""
    for kind in _OPERATIONS:
        if head.get("operation") == kind.name:
            fields = {field.name: head.get(field.name) for field in dataclasses.fields(kind)}
            if any(type(value) is not int or value < 1 for value in fields.values()):
                raise ValueError(f"{' or '.join(fields)} is no whole number from 1 up")
            return kind(**fields)
    raise ValueError("its first line says of no operation that makes a table")


def _expect_fit(first: _Read, other: _Read) -> None:
    """Raise ConfigError if these are parts of two jobs."""
    expected, found = _alike(first), _alike(other)
    for name in [*expected, *found]:
        if not is_same(found.get(name), expected.get(name)):
            name, here, there = difference(name, found.get(name), expected.get(name))
            raise ConfigError(
                f"{other.path}: {name} is {here}, and {there} in {first.path}; expected shards of "
                "one job"
            )


def _alike(shard: _Read) -> dict[str, Any]:
    """What all parts of a job have the same."""
    of_the_list = {
        "shards": shard.of,
        "pictures": shard.pictures,
        "pictures_sha256": shard.digest,
    }
    return header(shard.operation, shard.settings) | of_the_list


def _interleaved(parts: Sequence[Sequence[_Each]]) -> list[_Each]:
    """The first of each part, the second of each, and so on."""
    longest = max(map(len, parts))
    return [part[turn] for turn in range(longest) for part in parts if turn < len(part)]
