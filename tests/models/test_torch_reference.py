"""The plain PyTorch network against the recorded outputs of the original, and against plain_vim
where there are none.
"""

import dataclasses
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import golden_cases, plain_vim
from tests.support.configurations import EXPANDS, configurations, patch_sizes
from tests.support.options import OPTIONS
from vimnp.config import VimConfig

torch = pytest.importorskip("torch", reason="the PyTorch reference needs torch")

from tests.support import torch_vim  # noqa: E402  (it imports torch)

SCANS = ["vim", "plain", "const", "constB", "grouped", "len1", "odd"]
OVERFLOWS = "odd"  # negative step sizes let its states grow to 1e68
CONVOLUTIONS = ["vim", "w2", "w3", "short"]
DTYPES = [torch.float32, torch.float64]

SMALL = VimConfig(img_size=(8, 12), patch_size=4, stride=4, depth=2, embed_dim=12, num_classes=5)
MICRO = VimConfig(img_size=(32, 48), patch_size=8, stride=8, depth=2, embed_dim=24, num_classes=5)


@pytest.fixture(params=OPTIONS)
def model(request):
    torch.manual_seed(0)
    config = dataclasses.replace(MICRO, **OPTIONS[request.param])
    return torch_vim.VisionMamba(config)


def relative_error(actual, expected):
    return np.abs(actual.numpy() - expected).max() / np.abs(expected).max()


def perturb(model):
    """Make every tensor matter, the rotary tables too: fresh ones are often all ones or zeros."""
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor += 0.3 * torch.randn_like(tensor)
    return model


def reader(model):
    """The model's own tensors, as plain_vim reads them."""
    state = model.state_dict()
    return lambda name: state[name].numpy()


def assert_is_plain(config, seed=0):
    """Logits, features and tokens in float64 are plain_vim's."""
    torch.manual_seed(seed)
    model = perturb(torch_vim.VisionMamba(config).double())
    images = torch.randn(2, config.channels, *config.img_size).double()
    stages = {
        plain_vim.logits: model,
        plain_vim.features: model.forward_features,
        plain_vim.tokens: model.forward_tokens,
    }
    for plain, stage in stages.items():
        expected = np.array([plain(config, reader(model), image.numpy()) for image in images])
        with torch.inference_mode():
            actual = stage(images)
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-10)


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
@pytest.mark.parametrize("name", golden_cases.NETWORKS)
def test_logits_are_the_originals(golden, name, dtype):
    config = golden_cases.original_config(golden, name)
    with np.load(golden / f"{name}.npz") as file:
        images, truth = torch.from_numpy(file["input"]), file["logits64"]
    # Some of these are training dumps, which hold more than tensors; the files are our own.
    checkpoint = torch.load(golden / f"{name}.pth", weights_only=False)
    model = torch_vim.VisionMamba(config).to(dtype)
    model.load_state_dict(checkpoint["model"])
    with torch.inference_mode():
        logits = model(images.to(dtype))
    assert logits.dtype == dtype
    limit = 3e-6 if dtype == torch.float32 else golden_cases.FLOAT32_RESIDUAL.get(name, 1e-9)
    assert relative_error(logits, truth) < limit


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
    config = model.config
    images = torch.randn(2, config.channels, *config.img_size)
    model(images).square().sum().backward()
    layers = list(range(config.depth))
    # With if_bidirectional, the last of an odd number of layers takes no part.
    idle = layers.pop() if config.if_bidirectional and config.depth % 2 else None
    # A direction's first token meets no earlier state, so A is idle where the head reads that one
    # only.
    reads_an_end = config.pooled_tokens in ((0,), (config.num_tokens - 1,))
    may_be_idle = f"layers.{layers[-1]}.mixer.A" if reads_an_end else "none"
    for name, parameter in model.named_parameters():
        is_backward = re.search(r"_b\.|_b_log$|_b$", name)
        if name.startswith(f"layers.{idle}.") or (is_backward and not config.use_fast_path):
            assert parameter.grad is None, name
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any() or name.startswith(may_be_idle), name


def test_step_sizes_start_between_their_bounds(model):
    for suffix in model.config.direction_suffixes:
        bias = getattr(model.layers[0].mixer, f"dt_proj{suffix}").bias
        log_step = torch.nn.functional.softplus(bias.detach()).log()
        assert log_step.min() > math.log(torch_vim.DT_MIN) - 1e-3
        assert log_step.max() < math.log(torch_vim.DT_MAX) + 1e-3


@pytest.mark.parametrize("name", OPTIONS)
def test_each_option_is_plain_vims(name):
    assert_is_plain(dataclasses.replace(SMALL, **OPTIONS[name]))


any_small = configurations(
    img_size=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    patch_size=patch_sizes(1, 4),
    stride=st.integers(2, 5),
    depth=st.integers(1, 4),
    embed_dim=st.integers(1, 8),
    d_state=st.integers(1, 3),
    d_conv=st.integers(1, 4),
    expand=EXPANDS,
    dt_rank=st.none() | st.integers(1, 3),
    num_classes=st.integers(0, 4),
)


@settings(deadline=None, max_examples=100)
@given(config=any_small, seed=st.integers(0, 1000))
def test_every_combination_is_plain_vims(config, seed):
    assert_is_plain(config, seed)


# Pairs of networks with the same tensors: what an option changes, and where it changes nothing.
BIDIRECTIONAL_ROPE = {"if_rope": True, "if_bidirectional": True, "depth": 4}
DIFFERENT = [
    ({}, {"use_middle_cls_token": False}),
    ({"if_cls_token": False}, {"if_cls_token": False, "final_pool_type": "none"}),
    ({"if_cls_token": False}, {"if_cls_token": False, "final_pool_type": "max"}),
    ({}, {"if_divide_out": False}),
    ({}, {"if_bidirectional": True}),
    ({"bimamba_type": "v1"}, {"bimamba_type": "v1", "if_bidirectional": True}),
    ({"if_rope": True}, {"if_rope": True, "if_rope_residual": True}),
    ({"if_rope": True}, {"if_rope": True, "use_middle_cls_token": False}),
    (BIDIRECTIONAL_ROPE, BIDIRECTIONAL_ROPE | {"if_rope_residual": True}),
]
EQUAL = [
    ({"bimamba_type": "v1"}, {"bimamba_type": "v1", "if_divide_out": False}),
    ({"bimamba_type": "none"}, {"bimamba_type": "none", "if_divide_out": False}),
    ({}, {"final_pool_type": "none"}),
    ({}, {"final_pool_type": "all"}),
    ({"if_cls_token": False}, {"if_cls_token": False, "use_double_cls_token": True}),
    ({"if_cls_token": False}, {"if_cls_token": False, "use_middle_cls_token": False}),
    (
        {"use_double_cls_token": True},
        {"use_double_cls_token": True, "use_middle_cls_token": False},
    ),
    ({}, {"if_rope_residual": True}),
    ({}, {"pt_hw_seq_len": 3}),
    # One layer, or one pair: before it there is no residual yet, after it nothing is rotated.
    *(
        ({"if_rope": True} | shallow, {"if_rope": True, "if_rope_residual": True} | shallow)
        for shallow in ({"depth": 1}, {"if_bidirectional": True})
    ),
]


def logits_of_both(changes, others):
    """Logits of two networks with the same tensors."""
    torch.manual_seed(0)
    first = perturb(torch_vim.VisionMamba(dataclasses.replace(SMALL, **changes)))
    second = torch_vim.VisionMamba(dataclasses.replace(SMALL, **others))
    second.load_state_dict(first.state_dict())
    images = torch.randn(2, 3, *SMALL.img_size)
    with torch.inference_mode():
        return first(images), second(images)


@pytest.mark.parametrize(("changes", "others"), DIFFERENT)
def test_an_option_changes_the_logits(changes, others):
    first, second = logits_of_both(changes, others)
    assert (first - second).abs().max() > 1e-2


@pytest.mark.parametrize(("changes", "others"), EQUAL)
def test_an_option_has_no_effect_where_it_does_not_apply(changes, others):
    first, second = logits_of_both(changes, others)
    assert torch.equal(first, second)


def test_max_is_the_largest_of_all():
    tokens = {"if_cls_token": False}
    largest, each = logits_of_both(
        tokens | {"final_pool_type": "max"}, tokens | {"final_pool_type": "all"}
    )
    assert each.shape == (2, SMALL.num_patches, SMALL.num_classes)
    torch.testing.assert_close(largest, each.max(dim=1).values)


def test_a_rotary_table_by_hand():
    """2 rows and 3 columns of patches spread over 6 positions: 0, 3 down and 0, 2, 4 across."""
    config = VimConfig(
        img_size=(4, 6), patch_size=2, stride=2, embed_dim=8, if_rope=True, pt_hw_seq_len=6
    )
    rope = torch_vim.RotaryEmbedding(config)
    frequencies = torch.tensor([1.0, 1.0, 0.01, 0.01])  # 1 / 10000**(0 / 4), 1 / 10000**(2 / 4)
    places = [(0, 0), (0, 2), (0, 4), (3, 0), (3, 2), (3, 4)]
    angles = torch.stack([torch.cat((y * frequencies, x * frequencies)) for y, x in places])
    torch.testing.assert_close(rope.freqs_cos, angles.cos())
    torch.testing.assert_close(rope.freqs_sin, angles.sin())


@pytest.mark.parametrize("changes", [{}, {"use_middle_cls_token": False}, {"if_cls_token": False}])
def test_which_tokens_are_rotated(changes):
    """With a class token all but the first of the sequence, wherever the class token stands."""
    sizes = {"img_size": (2, 3), "patch_size": 1, "stride": 1, "embed_dim": 4}
    config = VimConfig(if_rope=True, **sizes, **changes)
    rope = torch_vim.RotaryEmbedding(config)
    angles = torch.arange(6) * math.pi / 2  # quarter turns tell the patches apart
    rope.freqs_cos[:] = angles.cos()[:, None]
    rope.freqs_sin[:] = angles.sin()[:, None]
    tokens = torch.tensor([[1.0, 2.0, 3.0, 4.0]]).repeat(config.num_tokens, 1)
    turned = {
        0: [1.0, 2.0, 3.0, 4.0],
        1: [-2.0, 1.0, -4.0, 3.0],
        2: [-1.0, -2.0, -3.0, -4.0],
        3: [2.0, -1.0, 4.0, -3.0],
    }
    expected = [turned[patch % 4] for patch in range(6)]
    if config.if_cls_token:
        expected.insert(0, [1.0, 2.0, 3.0, 4.0])
    torch.testing.assert_close(rope(tokens[None])[0], torch.tensor(expected))


def test_an_idle_layer_is_idle():
    """The third of three layers, where they go in pairs."""
    torch.manual_seed(0)
    config = dataclasses.replace(SMALL, if_bidirectional=True, depth=3)
    model = perturb(torch_vim.VisionMamba(config))
    images = torch.randn(1, 3, *config.img_size)
    with torch.inference_mode():
        before = model(images)
        for parameter in model.layers[2].parameters():
            parameter.fill_(math.nan)
        assert torch.equal(model(images), before)


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
