"""Which class somebody means: by its index, its label, or one of the label's names."""

from __future__ import annotations

from collections.abc import Sequence

from vimnp.counts import checked_count
from vimnp.errors import ConfigError

_BETWEEN_NAMES = ", "  # ImageNet's "tabby, tabby cat" is a label of two names


def class_index(target: int | str, labels: Sequence[str] | None, num_classes: int) -> int:
    """The index of a class.

    Parameters
    ----------
    target : int or str
        An index, a label, or one of the names in a label, which a comma and a space part.
    labels : sequence of str, optional
        The names of the classes by their index, where they are known.
    num_classes : int

    Raises
    ------
    ConfigError
        If there is no such class, or if several have the name.
    """
    if not isinstance(target, str):
        return checked_count("target", target, num_classes - 1, least=0)
    if labels is None:
        raise ConfigError(
            f"target is {target!r}, and the weights name no classes; expected an index, 0 to "
            f"{num_classes - 1}"
        )
    if target in labels:
        return labels.index(target)
    having = [i for i, label in enumerate(labels) if target in label.split(_BETWEEN_NAMES)]
    if len(having) > 1:
        each = " or ".join(f"{i} ({labels[i]!r})" for i in having)
        raise ConfigError(f"{len(having)} classes are called {target!r}; expected {each}")
    if not having:
        import difflib  # only here: `import vimnp` would load it

        near = difflib.get_close_matches(target, labels, n=3, cutoff=0.4)
        hint = " or ".join(map(repr, near or labels[:3]))
        raise ConfigError(f"there is no class {target!r}; expected one such as {hint}")
    return having[0]


def as_target(text: str, labels: Sequence[str] | None) -> int | str:
    """A class that is given as text, for :func:`class_index`.

    Digits are an index where they are no label. More than a count has stay what they are.
    """
    is_index = text.isdecimal() and len(text) <= 18 and text not in (labels or ())
    return int(text) if is_index else text
