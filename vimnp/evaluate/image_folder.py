"""Labelled pictures, laid out as ImageNet is: a folder for each class."""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from vimnp.errors import ConfigError, excerpt
from vimnp.storage.files import open_regular
from vimnp.storage.folders import Walked, walk
from vimnp.storage.json_text import parse_json
from vimnp.weights.metadata import Metadata

_LAYOUT = "expected a folder that holds a folder of pictures for each class"
_MENDING = "say with --classes FILE which class each folder holds"


class Sample(NamedTuple):
    """A labelled picture.

    Parameters
    ----------
    path : str
        From the folder on, with slashes; it begins with the class's folder.
    target : int
        Index of the true class.
    """

    path: str
    target: int


@dataclasses.dataclass(frozen=True)
class ImageFolder:
    """Labelled pictures in a folder for each class.

    Parameters
    ----------
    path : pathlib.Path
        The folder that holds those of the classes.
    classes : dict of str to int
        The index of each folder's class.
    samples : tuple of Sample
        Every picture, in the order of the names.
    assumption : str or None
        What was taken for granted of the classes, in a sentence.
    """

    path: Path
    classes: dict[str, int]
    samples: tuple[Sample, ...]
    assumption: str | None = None


def find_pictures(
    path: str | os.PathLike[str],
    metadata: Metadata,
    classes: str | os.PathLike[str] | None = None,
) -> ImageFolder:
    """Find the pictures of each class.

    A class's pictures are all regular files in its folder and the folders in that, whatever their
    names; links are followed, and each folder is walked through once. Hidden files and folders, and
    files outside the folders, are left out.

    Parameters
    ----------
    path : path-like
        A folder with a folder for each class, or for some classes.
    metadata : Metadata
        Of the network: its classes, and their labels.
    classes : path-like, optional
        A file that says which class a folder holds: see :func:`read_classes`. Without it, all
        folders are named as labels, or as indices; or there are as many as classes, and they are
        in the order of their names, as ImageNet's are.

    Returns
    -------
    ImageFolder
        Every picture with its class, and what was assumed of the classes.

    Raises
    ------
    ConfigError
        If there are no such folders or no pictures in them, a folder has no class or two folders
        have the same one, the file cannot be read, or a link leads back to a folder above it or to
        one of another class.
    OSError
        If one of the folders cannot be read.
    """
    path = Path(path)
    try:
        with os.scandir(path) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
            folders = sorted(entry.name for entry in visible if entry.is_dir())
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: {reason}; {_LAYOUT}") from None
    if not folders:
        raise ConfigError(f"{path}: there is no folder in it; {_LAYOUT}")
    if classes is None:
        by_folder, assumption = _classes_by_name(path, folders, metadata)
    else:
        by_folder, assumption = _classes_by_file(path, folders, metadata, classes), None
    walked: Walked = {}

    def check_link(name: str, first: str) -> None:
        _check_link(path, name, first)

    samples = tuple(
        Sample(file, target)
        for folder, target in by_folder.items()
        for file in walk(path, folder, walked=walked, on_again=check_link)
    )
    if not samples:
        raise ConfigError(f"{path}: there is no picture in its folders; {_LAYOUT}")
    return ImageFolder(path, by_folder, samples, assumption)


def _check_link(root: Path, name: str, first: str) -> None:
    """Refuse a folder that was walked through already, unless it is one of the same class."""
    if name.startswith(f"{first}/"):
        raise ConfigError(
            f"{root / name}: leads back to a folder above it; expected no such link: remove it"
        )
    if name.split("/")[0] != first.split("/")[0]:
        raise ConfigError(
            f"{root / name}: is the folder {first!r} as well, which is of another class; expected "
            "each folder in one class: remove the link"
        )


def spread(samples: Sequence[Sample], limit: int) -> tuple[Sample, ...]:
    """Choose some pictures, as many of each class as of the others.

    The first of each class, then the second of each, and so on; where the last round does not
    reach all classes, it takes classes at equal distances. The same samples give the same choice.

    Parameters
    ----------
    samples : sequence of Sample
    limit : int
        How many to choose; all of them where there are fewer.

    Returns
    -------
    tuple of Sample
        In their order.

    Raises
    ------
    ConfigError
        If `limit` is less than 1.
    """
    if limit < 1:
        raise ConfigError(f"limit is {limit}; expected a whole number from 1 up")
    by_class: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_class[sample.target].append(sample)
    chosen: set[Sample] = set()
    for places in zip_longest(*by_class.values()):
        candidates = [sample for sample in places if sample is not None]
        number = min(limit - len(chosen), len(candidates))
        chosen.update(candidates[i * len(candidates) // number] for i in range(number))
    return tuple(sample for sample in samples if sample in chosen)


# ---- Which class a folder holds ------------------------------------------------------------------


def read_classes(path: str | os.PathLike[str], num_classes: int) -> dict[str, int]:
    """Read which class each folder holds.

    Parameters
    ----------
    path : path-like
        UTF-8 text with one folder a line in the order of the classes, of which the first word
        counts, as in ``n01440764 tench, Tinca tinca``. Or JSON: an object from folder to index,
        ``{"n01440764": 0}``; an object from index to folder, or to a list that begins with it,
        ``{"0": ["n01440764", "tench"]}``; or a list of what such an object holds.
    num_classes : int
        How many classes the network has; the file may leave some out.

    Returns
    -------
    dict of str to int

    Raises
    ------
    ConfigError
        If the file cannot be read or holds nothing of the kind, a folder or a class is in it
        twice, or the network lacks a class.
    """
    try:
        with open(open_regular(path), encoding="utf-8-sig") as file:
            text = file.read()
    except (OSError, ValueError) as error:  # ValueError: not UTF-8
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: the classes cannot be read: {reason}") from None
    try:
        pairs = _from_json(text) if text.lstrip()[:1] in ("[", "{") else _from_lines(text)
        return _one_to_one(pairs, num_classes)
    except ValueError as error:
        raise ConfigError(
            f"{path}: {excerpt(error, 200)}; expected a folder a line in the order of the "
            f"{num_classes} classes, or a JSON object from folder to index, or from index to folder"
        ) from None


def _from_lines(text: str) -> list[tuple[str, int]]:
    lines = [line.split() for line in text.rstrip().split("\n")]
    if [] in lines:
        raise ValueError(f"line {lines.index([]) + 1} is empty")
    return [(words[0], index) for index, words in enumerate(lines)]


def _from_json(text: str) -> list[tuple[str, int]]:
    values = parse_json(text, object_pairs_hook=tuple)  # a dict would lose what is there twice
    pairs = values if isinstance(values, tuple) else enumerate(values)
    return [_folder_and_index(key, value) for key, value in pairs]


def _folder_and_index(key: str | int, value: object) -> tuple[str, int]:
    if type(value) is int and isinstance(key, str):
        return key, value
    folder = value[0] if isinstance(value, list) and value else value
    if not isinstance(folder, str):
        raise ValueError(f"{key!r} is given {value!r}")
    if isinstance(key, str) and not _is_index(key):
        raise ValueError(f"{key!r} is no index of a class")
    return folder, int(key)


def _is_index(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _one_to_one(pairs: Iterable[tuple[str, int]], num_classes: int) -> dict[str, int]:
    """Folders and their classes, each at most once."""
    folders: dict[int, str] = {}
    classes: dict[str, int] = {}
    for folder, index in pairs:
        if not 0 <= index < num_classes:
            raise ValueError(
                f"{folder!r} has class {index}, and the classes are 0 to {num_classes - 1}"
            )
        if folder in classes:
            raise ValueError(f"{folder!r} is there twice")
        if index in folders:
            raise ValueError(f"{folders[index]!r} and {folder!r} both have class {index}")
        folders[index], classes[folder] = folder, index
    return classes


def _classes_by_file(
    path: Path, folders: list[str], metadata: Metadata, file: str | os.PathLike[str]
) -> dict[str, int]:
    classes = read_classes(file, metadata.config.num_classes)
    for folder in folders:
        if folder not in classes:
            raise ConfigError(
                f"{path}: {file} does not name the folder {folder!r}; expected every folder in "
                "it: add it there, or move the folder away"
            )
    return {folder: classes[folder] for folder in folders}


def _classes_by_name(
    path: Path, folders: list[str], metadata: Metadata
) -> tuple[dict[str, int], str | None]:
    """The folders' classes, and what was assumed."""
    number, labels = metadata.config.num_classes, metadata.labels or ()
    others = sorted({*folders} - {*labels})
    unknown = [folder for folder in others if not _is_index(folder)]
    try:
        if not others:
            return _one_to_one(_labelled(folders, labels), number), None
        if not unknown and len(others) == len(folders):
            pairs = ((folder, int(folder)) for folder in folders)
            return _one_to_one(pairs, number), "that the folders' names are the classes' indices"
    except ValueError as error:
        raise ConfigError(
            f"{path}: {error}; expected a class of its own for every folder: {_MENDING}"
        ) from None
    if len(unknown) == len(folders) == number:
        first, last = folders[0], folders[-1]
        return {folder: index for index, folder in enumerate(folders)}, (
            f"that the folders are in the order of the classes: {first!r} holds "
            f"{_class_name(0, labels)}, {last!r} {_class_name(number - 1, labels)}"
        )
    raise ConfigError(
        f"{path}: the folder {(unknown or others)[0]!r} is named after no class; expected labels "
        f"of the weights, indices up to {number - 1}, or {number} folders in the order of the "
        f"classes and not {len(folders)}: {_MENDING}"
    )


def _labelled(folders: list[str], labels: Sequence[str]) -> Iterator[tuple[str, int]]:
    indices: dict[str, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        indices[label].append(index)
    for folder in folders:
        if len(indices[folder]) > 1:
            raise ValueError(f"{folder!r} is the label of several classes")
        yield folder, indices[folder][0]


def _class_name(index: int, labels: Sequence[str]) -> str:
    return f"class {index} ({labels[index]})" if labels else f"class {index}"
