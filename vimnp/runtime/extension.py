"""The compiled kernels: found or not, switched off or not, and for which instruction set.

This is the one place that knows. Where an operation falls back to plain NumPy, a warning says so.
"""

from __future__ import annotations

import functools
import importlib
import os
import warnings
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from vimnp.errors import ConfigError
from vimnp.runtime.threads import sleeping_openmp
from vimnp.version import __version__

if TYPE_CHECKING:
    from vimnp._scan import Kernels

FORCE_FALLBACK = {
    "causal_conv1d": "CAUSAL_CONV1D_FORCE_FALLBACK",
    "fused_add_norm": "FUSED_ADD_NORM_FORCE_FALLBACK",
    "selective_scan": "SELECTIVE_SCAN_FORCE_FALLBACK",
}
_MENDING = (
    "Install vimnp from a wheel, or build it: `pip install -e .` in a checkout that is to be run "
    "from its own folder, `pip install .` for one that is not."
)


def _import_extension() -> ModuleType | None:
    try:
        with sleeping_openmp():
            _scan = importlib.import_module("vimnp._scan")
    except ImportError as error:
        problem = f"the compiled kernels are missing ({error})"
    else:
        # Beside a checkout that is not built, an import may still find those of another copy.
        home, here = Path(str(_scan.__file__)).parent, Path(__file__).parents[1]
        if home.resolve() != here.resolve():
            problem = f"{here} has no compiled kernels, only the copy of vimnp in {home} has"
        elif _scan.version != __version__:
            problem = f"the compiled kernels are those of vimnp {_scan.version}, not {__version__}"
        else:
            return _scan
    warnings.warn(
        f"vimnp runs in plain NumPy, many times slower: {problem}. {_MENDING}",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


_scan = _import_extension()


class Choice(NamedTuple):
    """The kernels that run each operation; None where it is plain NumPy."""

    causal_conv1d: Kernels | None
    fused_add_norm: Kernels | None
    selective_scan: Kernels | None

    @property
    def instruction_set(self) -> str | None:
        """Of those that are compiled; None if none is."""
        return next((kernels.name for kernels in self if kernels is not None), None)


def choose() -> Choice:
    """As the environment says now: for a model, which keeps to it.

    Raises
    ------
    ConfigError
        As :func:`for_operation`.
    """
    return Choice(*map(for_operation, Choice._fields))


def for_operation(operation: str) -> Kernels | None:
    """The compiled kernels, or None where `operation` falls back to plain NumPy.

    Parameters
    ----------
    operation : {"causal_conv1d", "fused_add_norm", "selective_scan"}

    Raises
    ------
    ConfigError
        If ``VIMNP_ISA`` or the operation's ``..._FORCE_FALLBACK`` has a value that means nothing.
    """
    if _scan is None:
        return None
    if is_forced(FORCE_FALLBACK[operation]):
        _warn_forced(operation)
        return None
    return kernels()


def for_network() -> Kernels:
    """The compiled kernels, for the backend that can do nothing without them.

    Raises
    ------
    ConfigError
        If they are missing or one of them is switched off, or a variable means nothing.
    """
    if _scan is None:
        raise ConfigError(
            f"backend 'native' needs the compiled kernels, which are missing. {_MENDING}"
        )
    for operation in _forced():
        raise ConfigError(
            f"backend 'native' has no part in NumPy, which {FORCE_FALLBACK[operation]}=TRUE asks "
            "for: unset it, or use backend 'numpy'"
        )
    return _select_instruction_set(_wanted())


def can_run_network() -> bool:
    """Whether the kernels are there and none of them is switched off: as :func:`for_network` needs.

    Raises
    ------
    ConfigError
        If a switch means nothing.
    """
    return _scan is not None and not _forced()


def loaded() -> ModuleType | None:
    """The compiled extension, with the kernels of every instruction set; None if it is missing."""
    return _scan


def has_pool() -> bool:
    """Whether the kernels' threads are a pool of our own (``csrc/pool.h``), and not OpenMP's."""
    return _scan is not None and bool(_scan.POOL)


def kernels() -> Kernels | None:
    """The kernels of the instruction set in use, None where they are missing.

    Raises
    ------
    ConfigError
        If ``VIMNP_ISA`` is none that this machine and this build have.
    """
    return None if _scan is None else _select_instruction_set(_wanted())


def usable_instruction_sets() -> list[str]:
    """Names of those that this machine has, fastest first; none in plain NumPy."""
    sets = {} if _scan is None else _scan.instruction_sets()
    return [name for name, usable in sets.items() if usable]


def instruction_set() -> str | None:
    """The instruction set in use, None in plain NumPy."""
    found = kernels()
    return None if found is None else found.name


def is_forced(variable: str) -> bool:
    """Whether this ``..._FORCE_FALLBACK`` is TRUE. Raises ConfigError if it is not FALSE either.

    Not set or empty, it is FALSE.
    """
    value = (os.environ.get(variable) or "FALSE").upper()
    if value not in ("TRUE", "FALSE"):
        raise ConfigError(f"{variable} is {os.environ[variable]!r}; expected TRUE or FALSE")
    return value == "TRUE"


def _forced() -> list[str]:
    """The operations that are switched off. Raises ConfigError if any switch means nothing."""
    return [operation for operation, name in FORCE_FALLBACK.items() if is_forced(name)]


@functools.cache  # once for each operation
def _warn_forced(operation: str) -> None:
    warnings.warn(
        f"vimnp runs {operation} in plain NumPy, many times slower, because "
        f"{FORCE_FALLBACK[operation]}=TRUE. Unset it to use the compiled kernel.",
        RuntimeWarning,
        stacklevel=5,
    )


def _wanted() -> str | None:
    """Not set or empty, the variable asks for nothing."""
    return os.environ.get("VIMNP_ISA") or None


@functools.cache
def _select_instruction_set(wanted: str | None) -> Kernels:
    assert _scan is not None
    usable = usable_instruction_sets()
    name = usable[0] if wanted is None else wanted
    if name not in usable:
        reason = (
            "this machine lacks it"
            if name in _scan.instruction_sets()
            else "this build does not have it"
        )
        raise ConfigError(f"VIMNP_ISA is {name!r}: {reason}; expected one of {', '.join(usable)}")
    found: Kernels = _scan.Kernels(name)
    return found
