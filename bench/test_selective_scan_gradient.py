"""The scan that training uses, against PyTorch's own derivative of the plain one."""

from __future__ import annotations

import shutil

import pytest

torch = pytest.importorskip("torch", reason="the scan with a gradient is PyTorch's")
if shutil.which("cc") is None:
    pytest.skip("the scan with a gradient is compiled when it is used", allow_module_level=True)

from selective_scan_gradient import selective_scan  # noqa: E402

from tests.support import torch_vim  # noqa: E402

CHANNELS = 32  # two of the C code's blocks


def arguments(batch: int, length: int, states: int) -> list[torch.Tensor]:
    torch.manual_seed(0)
    u, delta = torch.randn(2, batch, length, CHANNELS)
    delta = torch.nn.functional.softplus(delta - 1)
    A = -torch.exp(torch.randn(CHANNELS, states))
    B, C = torch.randn(2, batch, length, states)
    return [tensor.requires_grad_() for tensor in (u, delta, A, B, C)]


def plain_scan(u, delta, A, B, C):
    """The same as torch_vim has it: channels before tokens."""
    first = [tensor.transpose(1, 2) for tensor in (u, delta)]
    y = torch_vim.selective_scan(*first, A, B.transpose(1, 2), C.transpose(1, 2))
    return y.transpose(1, 2)


# 16 tokens are a chunk of the C code.
@pytest.mark.parametrize(("length", "states"), [(1, 16), (15, 16), (16, 16), (50, 16), (50, 5)])
def test_scan_and_gradient_are_those_of_the_plain_scan(length, states):
    given = [tensor.detach() for tensor in arguments(2, length, states)]
    doubles = [tensor.double().requires_grad_() for tensor in given]
    expected = plain_scan(*doubles)
    floats = [tensor.requires_grad_() for tensor in given]
    y = selective_scan(*floats)
    torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-5)

    weight = torch.randn_like(y)
    derivatives = torch.autograd.grad((expected * weight.double()).sum(), doubles)
    for got, derivative in zip(
        torch.autograd.grad((y * weight).sum(), floats), derivatives, strict=True
    ):
        torch.testing.assert_close(got.double(), derivative, rtol=1e-4, atol=1e-4)


def test_a_step_size_that_forgets_everything_gives_no_nan():
    u, delta, A, B, C = arguments(1, 20, 16)
    y = selective_scan(u, delta + 1e4, A, B, C)
    assert torch.isfinite(y).all()
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(y.sum(), [u, A, B, C]))


def test_shapes_that_do_not_fit_are_refused():
    u, delta, A, B, C = arguments(1, 4, 16)
    with pytest.raises(ValueError, match="expected float32 tensors of fitting shapes"):
        selective_scan(u, delta[:, 1:], A, B, C)
    with pytest.raises(ValueError, match="expected a multiple of 16 channels, got 24"):
        selective_scan(u[..., :24], delta[..., :24], A[:24], B, C)
