"""Any network that there is a file of."""

from __future__ import annotations

import os

from vimnp.engine.choices import Backend, Scan
from vimnp.models.vim.model import VisionMamba
from vimnp.weights.file import BUNDLED_DIGITS

BUNDLED = {"digits": BUNDLED_DIGITS}


def load(
    path: str | os.PathLike[str],
    *,
    img_size: int | tuple[int, int] | None = None,
    scan: Scan = "fused",
    num_threads: int | None = None,
    backend: Backend | None = None,
) -> VisionMamba:
    """Load a network: from a weights file that ``vimnp convert`` wrote, or a bundled one.

    Parameters
    ----------
    path : path-like
        "digits" is the bundled network, which reads handwritten digits, 0 to 9; a file of that name
        is ``"./digits"``.
    img_size, scan, num_threads, backend
        As for :meth:`VisionMamba.from_npz`.

    Raises
    ------
    WeightsError, ConfigError
        As for :meth:`VisionMamba.from_npz`.
    """
    bundled = BUNDLED.get(path) if isinstance(path, str) else None
    return VisionMamba.from_npz(
        bundled or path, img_size=img_size, scan=scan, num_threads=num_threads, backend=backend
    )
