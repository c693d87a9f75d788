"""The networks: a folder for each family, and what all of them offer."""

from __future__ import annotations

import os

from vimnp.engine.settings import Backend, Scan
from vimnp.models.vim import tensors as vim_tensors
from vimnp.models.vim.config import VimConfig
from vimnp.models.vim.model import VisionMamba
from vimnp.weights.family import Family, register, register_module
from vimnp.weights.file import BUNDLED_DIGITS, WeightsFile

BUNDLED = {"digits": BUNDLED_DIGITS}

NETWORKS = {"vim": VisionMamba}
"""Each family's network, by the family's name in weights files."""

register(Family("vim", VimConfig, vim_tensors.tensors))
register_module("mamba", "vimnp.models.mamba")  # no picture's network has to wait for it


def load(
    path: str | os.PathLike[str],
    *,
    img_size: int | tuple[int, int] | None = None,
    scan: Scan = "fused",
    num_threads: int | None = None,
    backend: Backend | None = None,
) -> VisionMamba:
    """Load a network: from a weights file that ``vimnp convert`` wrote, or a bundled one.

    The file says which family the network is of.

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
    with WeightsFile(bundled or path) as file:
        network = NETWORKS[file.metadata.config.family.name]
        return network.from_weights(
            file, img_size=img_size, scan=scan, num_threads=num_threads, backend=backend
        )
