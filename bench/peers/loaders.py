"""Load a network from its weights file, ready to run with so many threads.

What a loader imports, a user of that run-time imports as well, and nothing else: these imports are
part of the cold start, and that is why they stand inside the functions.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import checkout  # noqa: F401  (finds tests.support)
import numpy as np

if TYPE_CHECKING:
    from torch import nn

Run: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""Maps pixels, float32 (3, side, side), to logits, float32 (1000,)."""

Load: TypeAlias = Callable[..., Run]
"""Takes the weights file, the number of threads and the scan mode, which only vimnp has."""


def load_vimnp(
    path: Path, num_threads: int, scan: str, *, backend: str, precision: str = "float32"
) -> Run:
    """Vim from ``vimnp convert``'s format, multiplied in a precision that need not be the file's.

    The numpy backend's products have the threads of ``OPENBLAS_NUM_THREADS``, which
    ``processes.py`` sets.
    """
    import vimnp

    return vimnp.VisionMamba.from_npz(
        path, scan=scan, num_threads=num_threads, backend=backend, precision=precision
    )


def load_vmamba(path: Path, num_threads: int, scan: str, *, backend: str) -> Run:
    """VMamba from ``vimnp convert``'s format; `scan` is not used."""
    import vimnp

    return vimnp.VMamba.from_npz(path, num_threads=num_threads, backend=backend)


def load_onnx(path: Path, num_threads: int, scan: str) -> Run:
    """An ONNX model of "pixels" and "logits", ONNX Runtime's other settings untouched."""
    from onnx_session import session

    return session(path, num_threads)


def load_openvino(path: Path, num_threads: int, scan: str) -> Run:
    """An ONNX model of "pixels" and "logits", with the settings of ``openvino_model.py``."""
    from openvino_model import session

    return session(path, num_threads)


def load_torch(
    path: Path,
    num_threads: int,
    scan: str,
    *,
    build: Callable[[dict[str, Any]], nn.Module],
    channels_last: bool = False,
) -> Run:
    """A PyTorch module, as it is (not compiled), in inference mode.

    Parameters
    ----------
    path : Path
        Holds what ``weights_files.py`` saved: "config", which `build` takes, and "state_dict".
    num_threads : int
    scan : str
        Not used.
    build : callable
        Makes the module.
    channels_last : bool
        Whether the convolutions' weights, and with them what they compute, are laid out with the
        channels last.
    """
    import torch  # before a module of vimnp: OpenMP then waits as it does without vimnp

    torch.set_num_threads(num_threads)
    if torch.get_num_interop_threads() != 1:  # may be set only once
        torch.set_num_interop_threads(1)
    saved = torch.load(path, weights_only=True)
    with torch.device("meta"):  # no initial values, which the file's would replace
        module = build(saved["config"])
    module.load_state_dict(saved["state_dict"], assign=True)
    module.eval()
    if channels_last:
        module.to(memory_format=torch.channels_last)

    def run(pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(pixels)[None])[0].numpy()

    return run


# ---- PyTorch's modules ---------------------------------------------------------------------------


def vim_step_by_step(config: dict[str, Any]) -> nn.Module:
    from peers.vim_torch import StepByStepVisionMamba
    from vimnp.config import VimConfig

    return StepByStepVisionMamba(VimConfig.from_dict(config))


def vim_two_stage(config: dict[str, Any]) -> nn.Module:
    """The tests' torch_vim: its loop keeps every state, and the outputs of all follow at once."""
    from tests.support.torch_vim import VisionMamba
    from vimnp.config import VimConfig

    return VisionMamba(VimConfig.from_dict(config))


def deit(config: dict[str, Any]) -> nn.Module:
    from peers.deit_torch import Sizes, VisionTransformer

    return VisionTransformer(Sizes(**config))


def resnet(config: dict[str, Any]) -> nn.Module:
    from peers.resnet_torch import ResNet

    return ResNet()


def vmamba_step_by_step(config: dict[str, Any]) -> nn.Module:
    from peers.scans_torch import step_by_step_scan
    from peers.vmamba.vmamba_torch import VMamba
    from vimnp.models.vmamba.config import VMambaConfig

    return VMamba(VMambaConfig.from_dict(config), step_by_step_scan)


def vmamba_associative(config: dict[str, Any]) -> nn.Module:
    from peers.scans_torch import associative_scan
    from peers.vmamba.vmamba_torch import VMamba
    from vimnp.models.vmamba.config import VMambaConfig

    return VMamba(VMambaConfig.from_dict(config), associative_scan)


def convnext(config: dict[str, Any]) -> nn.Module:
    from peers.vmamba.classifier_sizes import ConvNeXtSizes
    from peers.vmamba.convnext_torch import ConvNeXt

    return ConvNeXt(ConvNeXtSizes(**config))


def swin(config: dict[str, Any]) -> nn.Module:
    from peers.vmamba.classifier_sizes import SwinSizes
    from peers.vmamba.swin_torch import Swin

    side = config.pop("side")
    return Swin(SwinSizes(**config), side)
