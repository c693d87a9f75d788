"""The selective scan with a gradient for PyTorch, in C: what makes training on a CPU bearable.

``scan_gradient.c`` is compiled by the system's compiler (``CC``, or cc) for this very processor, at
the first call, into a temporary folder. PyTorch's own operations would take one step of Python for
each token, forwards and backwards.
"""

from __future__ import annotations

import ctypes
import functools
import os
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

SOURCE = Path(__file__).with_name("scan_gradient.c")
# So the compiler may reorder sums over channels, which vectors need.
FLAGS = ("-O3", "-march=native", "-ffast-math", "-fPIC", "-shared")


@functools.cache
def compiled(states: int) -> ctypes.CDLL:
    """Compile the scan for a number of states per channel.

    Raises
    ------
    SystemExit
        If there is no compiler, or it refuses the source.
    """
    compiler = os.environ.get("CC", "cc")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "scan_gradient.so")
        command = [compiler, *FLAGS, f"-DSTATES={states}", str(SOURCE), "-o", str(target), "-lm"]
        try:
            subprocess.run(command, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(f"{SOURCE.name} needs a C compiler: {error}") from None
        library = ctypes.CDLL(str(target))  # stays loaded when its file is gone
    library.scan_starts.argtypes = [ctypes.c_long]
    library.scan_starts.restype = ctypes.c_long
    sizes = [ctypes.c_long] * 3
    library.scan.argtypes = [*sizes, *[ctypes.c_void_p] * 7]
    library.scan_gradient.argtypes = [*sizes, *[ctypes.c_void_p] * 12]
    library.scan.restype = library.scan_gradient.restype = None
    return library


def _addresses(*tensors: Tensor) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u, delta, A, B, C):
        arrays = [tensor.contiguous() for tensor in (u, delta, A, B, C)]
        library, sizes = compiled(A.shape[0]), u.shape
        y = torch.empty(sizes)
        starts = torch.empty(sizes[0], library.scan_starts(sizes[1]), *A.shape)
        library.scan(*sizes, *_addresses(*arrays, y, starts))
        ctx.save_for_backward(*arrays, starts)
        return y

    @staticmethod
    def backward(ctx, grad_y):
        u, delta, A, B, C, starts = ctx.saved_tensors
        grad_y = grad_y.contiguous()
        written = [
            torch.empty_like(u),
            torch.empty_like(delta),
            A.new_empty(len(u), *A.shape),  # of each sequence
            torch.zeros_like(B),
            torch.zeros_like(C),
        ]
        read = [u, delta, A, B, C, starts, grad_y]
        compiled(A.shape[0]).scan_gradient(*u.shape, *_addresses(*read, *written))
        written[2] = written[2].sum(0)
        return tuple(written)


def selective_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Run the selective state space model over a sequence; gradients go to all five arguments.

    Parameters
    ----------
    u, delta : Tensor, shape (batch, length, channels), float32
        Input and step size, the latter after its softplus.
    A : Tensor, shape (channels, states), float32
    B, C : Tensor, shape (batch, length, states), float32

    Returns
    -------
    Tensor, shape (batch, length, channels)

    Raises
    ------
    ValueError
        If the shapes do not fit, the channels do not fill the C code's blocks, or a tensor is not
        of float32.
    """
    channels, states = A.shape
    fits = u.shape == delta.shape and u.shape[2] == channels
    fits = fits and B.shape == C.shape == (*u.shape[:2], states)
    if not fits or any(tensor.dtype != torch.float32 for tensor in (u, delta, A, B, C)):
        raise ValueError("expected float32 tensors of fitting shapes")
    width = compiled(states).scan_width()
    if channels % width:
        raise ValueError(f"expected a multiple of {width} channels, got {channels}")
    return _Scan.apply(u, delta, A.t(), B, C)
