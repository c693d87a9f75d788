"""The plain PyTorch network in bench/ against the recorded outputs of the original."""

import dataclasses
import json
import math

import numpy as np
import pytest

from vimnp.config import VimConfig

torch = pytest.importorskip("torch", reason="the PyTorch reference needs torch")

import torch_vim  # noqa: E402  (it imports torch)

NETWORKS = [
    "micro",
    "micro_stride8",
    "micro_headcls",
    "micro_nocls_mean",
    "micro_nodiv",
    "micro_layernorm",
    "micro_dstate8_rect",
    "micro_training_checkpoint",
    "vim_tiny_patch16_224",
]
SCANS = ["vim", "plain", "const", "constB", "grouped", "len1", "odd"]
OVERFLOWS = "odd"  # negative step sizes let its states grow to 1e68
CONVOLUTIONS = ["vim", "w2", "w3", "short"]
DTYPES = [torch.float32, torch.float64]
# The original's unfused path keeps the residual in float32 even when all else is float64.
FLOAT32_RESIDUAL = 3e-7

MICRO = VimConfig(img_size=(32, 48), patch_size=8, stride=8, depth=2, embed_dim=24, num_classes=5)
VARIANTS = {
    "default": {},
    "overlap": {"stride": 4},
    "head_token": {"use_middle_cls_token": False},
    "mean": {"if_cls_token": False},
    "last": {"if_cls_token": False, "final_pool_type": "none"},
    "summed": {"if_divide_out": False},
    "layer_norm": {"rms_norm": False},
    "no_positions": {"if_abs_pos_embed": False},
    "other_sizes": {"d_state": 5, "d_conv": 3, "expand": 3, "dt_rank": 7},
}


@pytest.fixture(params=VARIANTS)
def model(request):
    torch.manual_seed(0)
    config = dataclasses.replace(MICRO, **VARIANTS[request.param])
    return torch_vim.VisionMamba(config)


def relative_error(actual, expected):
    return np.abs(actual.numpy() - expected).max() / np.abs(expected).max()


def read_config(text):
    """The original's constructor arguments -> VimConfig, which has no fields for its switches."""
    fields = {field.name for field in dataclasses.fields(VimConfig)}
    values = {name: value for name, value in json.loads(text).items() if name in fields}
    side = values["img_size"]
    values["img_size"] = (side, side) if isinstance(side, int) else tuple(side)
    return VimConfig(**values)


def read_case(golden, case, dtype):
    """Arguments of one recorded operation: floating arrays as tensors, switches as they are."""
    with np.load(golden / "ops.npz") as file:
        found = {key.split("/")[1]: file[key] for key in file.files if key.split("/")[0] == case}
    outputs = {name: found.pop(name) for name in ("out", "out64", "last_state") if name in found}
    arguments = {
        name: torch.from_numpy(value).to(dtype) if value.ndim else bool(value)
        for name, value in found.items()
    }
    return arguments, outputs


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_the_originals(golden, name, dtype):
    with np.load(golden / f"{name}.npz") as file:
        config, images = read_config(str(file["config"])), torch.from_numpy(file["input"])
        truth = file["logits64"]
    # Some of these are training dumps, which hold more than tensors; the files are our own.
    checkpoint = torch.load(golden / f"{name}.pth", weights_only=False)
    model = torch_vim.VisionMamba(config).to(dtype)
    model.load_state_dict(checkpoint["model"])
    with torch.inference_mode():
        logits = model(images.to(dtype))
    assert logits.dtype == dtype
    float64_limit = FLOAT32_RESIDUAL if name == "micro_layernorm" else 1e-9
    assert relative_error(logits, truth) < (float64_limit if dtype == torch.float64 else 3e-6)


@pytest.mark.parametrize("case", SCANS)
def test_scan_is_the_originals(golden, case):
    arguments, expected = read_case(golden, f"scan_{case}", torch.float64)
    out, last_state = torch_vim.selective_scan(**arguments, return_last_state=True)
    np.testing.assert_allclose(out, expected["out64"], rtol=1e-9, atol=1e-11)
    recorded = expected["last_state"]  # in float32 only
    finite = np.isfinite(recorded)
    np.testing.assert_allclose(last_state[finite], recorded[finite], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", [case for case in SCANS if case != OVERFLOWS])
def test_scan_in_float32_is_close(golden, case):
    arguments, expected = read_case(golden, f"scan_{case}", torch.float32)
    out = torch_vim.selective_scan(**arguments)
    assert out.dtype == torch.float32
    assert relative_error(out, expected["out64"]) < 3e-6


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolution_is_the_originals(golden, case):
    arguments, expected = read_case(golden, f"conv_{case}", torch.float32)
    activation = "silu" if arguments.pop("silu") else None
    out = torch_vim.causal_conv1d(**arguments, activation=activation)
    assert relative_error(out, expected["out"]) < 1e-6


def test_scan_with_constant_matrices_is_a_convolution():
    """Equations 3a and 3b of Mamba: y = u * K with K_k = C . exp(delta A)^k delta B."""
    torch.manual_seed(0)
    channels, states, length, step = 3, 4, 9, 0.3
    A = -torch.rand(channels, states).double()
    B, C = torch.randn(2, channels, states).double()
    u = torch.randn(2, channels, length).double()
    powers = torch.exp(step * A[..., None] * torch.arange(length))  # (D, N, L)
    kernel = torch.einsum("dn,dnl->dl", step * B * C, powers)  # (D, L)
    expected = torch_vim.causal_conv1d(u, kernel.flip(-1))
    out = torch_vim.selective_scan(u, torch.full_like(u, step), A, B, C)
    torch.testing.assert_close(out, expected)


def test_state_dict_is_what_the_configuration_implies(model):
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert shapes == model.config.parameter_shapes()


def test_every_parameter_has_a_gradient(model):
    images = torch.randn(2, 3, *model.config.img_size)
    model(images).square().sum().backward()
    # The first token meets no earlier state, so A is idle where the head reads that one only.
    may_be_idle = f"layers.{model.config.depth - 1}.mixer.A"
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any() or name.startswith(may_be_idle), name


def test_step_sizes_start_between_their_bounds(model):
    for suffix in torch_vim.DIRECTIONS:
        bias = getattr(model.layers[0].mixer, f"dt_proj{suffix}").bias
        log_step = torch.nn.functional.softplus(bias.detach()).log()
        assert log_step.min() > math.log(torch_vim.DT_MIN) - 1e-3
        assert log_step.max() < math.log(torch_vim.DT_MAX) + 1e-3


def test_directions_mirror_each_other():
    """Swapping the directions' parameters and reversing time leaves the mixer's output."""
    torch.manual_seed(0)
    mixer = torch_vim.Mamba(MICRO).double()
    state = mixer.state_dict()
    mirrored = torch_vim.Mamba(MICRO).double()
    mirrored.load_state_dict({swap_direction(name): state[name] for name in state})
    hidden = torch.randn(2, 7, MICRO.embed_dim).double()
    torch.testing.assert_close(mirrored(hidden.flip(1)).flip(1), mixer(hidden))


def swap_direction(name):
    first, dot, rest = name.partition(".")
    if first in ("in_proj", "out_proj"):
        return name
    return (first.replace("_b", "") if "_b" in first else mark_backward(first)) + dot + rest


def mark_backward(name):
    return "A_b_log" if name == "A_log" else f"{name}_b"
