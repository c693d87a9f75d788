"""How a network runs: the backend, NumPy's matrix products or all of it compiled; scan, threads."""

from __future__ import annotations

import os
from typing import Literal, NamedTuple, TypeAlias

from vimnp.errors import ConfigError
from vimnp.runtime import extension

Scan: TypeAlias = Literal["fused", "sequential", "fixlen", "fused_fixlen"]
"""How to scan; see :func:`vimnp.ops.selective_scan_bidirectional`."""

Backend: TypeAlias = Literal["auto", "numpy", "native"]
"""What multiplies the matrices; see :class:`vimnp.VisionMamba`."""

VARIABLE = "VIMNP_BACKEND"
BACKENDS = ("numpy", "native")
AUTO = "auto"
CHOICES = (AUTO, *BACKENDS)

MATRIX_DTYPES = ("float32", "bfloat16", "int8", "int4")
"""What a language model's matrices may be stored as in memory."""


class Way(NamedTuple):
    """How a network runs.

    Parameters
    ----------
    backend : {"numpy", "native"}
    scan : str
    threads : int
        Of the kernels, at most.
    instruction_set : str or None
        Of the kernels; None in plain NumPy.
    """

    backend: str
    scan: str
    threads: int
    instruction_set: str | None

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        kernels = self.instruction_set or "plain NumPy"
        return f"{self.backend} backend, {self.scan} scan, {threads}, {kernels}"


def asked_backend(backend: str | None = None) -> str:
    """What is asked for: the argument, else ``VIMNP_BACKEND``, else "auto".

    Parameters
    ----------
    backend : {"auto", "numpy", "native"}, optional

    Returns
    -------
    str

    Raises
    ------
    ConfigError
        If there is no such backend.
    """
    asked = backend if backend is not None else os.environ.get(VARIABLE) or AUTO
    if asked not in CHOICES:
        raise ConfigError(f"{_source(backend)} is {asked!r}; expected one of {CHOICES}")
    return asked


def resolve_backend(backend: str | None = None, scan: str = "fused") -> str:
    """The backend to use: as asked; of "auto", "native" wherever it can do what is wanted.

    It can where the compiled kernels are there, no ``..._FORCE_FALLBACK`` asks for NumPy, and the
    scan is "fused".

    Parameters
    ----------
    backend : {"auto", "numpy", "native"}, optional
        None stands for ``VIMNP_BACKEND``, or where that is not set or empty for "auto".
    scan : str
        The mode that it is to run.

    Returns
    -------
    {"numpy", "native"}

    Raises
    ------
    ConfigError
        If there is no such backend, it does not have this scan mode, or a variable that "auto"
        looks at means nothing.
    """
    asked = asked_backend(backend)
    if asked == AUTO:
        return "native" if scan == "fused" and extension.can_run_network() else "numpy"
    if asked == "native" and scan != "fused":
        raise ConfigError(
            f"scan is {scan!r}, and {_source(backend)} is 'native', which has 'fused' only: "
            "take backend 'numpy' for the other modes"
        )
    return asked


def _source(backend: str | None) -> str:
    return VARIABLE if backend is None else "backend"
