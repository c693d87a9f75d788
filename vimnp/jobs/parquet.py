"""pyarrow, which reads and writes Parquet where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from vimnp.errors import ConfigError

_Result = TypeVar("_Result")


def import_pyarrow(others: str) -> tuple[Any, Any]:
    """The modules ``pyarrow`` and ``pyarrow.parquet``.

    Parameters
    ----------
    others : str
        What other tables may be taken, as in ".jsonl or .csv".

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ConfigError(
            "pyarrow is missing, which writes Parquet: pip install 'vimnp[parquet]', or take a "
            f"name that ends in {others}"
        ) from None
    return pyarrow, pyarrow.parquet


def as_unicode(make: Callable[[], _Result], others: str) -> _Result:
    """What `make` makes of names. Raises ConfigError if one is no Unicode, as Parquet has it."""
    try:
        return make()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"{error.object!r}: no Unicode, as Parquet has it; expected another table for such "
            f"names: {others}"
        ) from None
