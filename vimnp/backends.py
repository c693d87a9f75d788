"""Which backend a network runs on: NumPy's matrix products, or all of it compiled."""

from __future__ import annotations

import os

from vimnp.errors import ConfigError

VARIABLE = "VIMNP_BACKEND"
BACKENDS = ("numpy", "native")


def resolve_backend(backend: str | None = None, scan: str = "fused") -> str:
    """The backend to use: as asked, else ``VIMNP_BACKEND``, else "numpy".

    Parameters
    ----------
    backend : {"numpy", "native"}, optional
    scan : str
        The mode that it is to run.

    Returns
    -------
    str

    Raises
    ------
    ConfigError
        If there is no such backend, or it does not have this scan mode.
    """
    name = "backend" if backend is not None else VARIABLE
    if backend is None:
        backend = os.environ.get(VARIABLE, "numpy")
    if backend not in BACKENDS:
        raise ConfigError(f"{name} is {backend!r}; expected one of {BACKENDS}")
    if backend == "native" and scan != "fused":
        raise ConfigError(
            f"scan is {scan!r}, and {name} is 'native', which has 'fused' only: "
            "take backend 'numpy' for the other modes"
        )
    return backend
