"""How a network is given its tensors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

ReadTensor = Callable[[str], np.ndarray]
"""Gives a tensor by its name in the PyTorch state dict, float32."""
