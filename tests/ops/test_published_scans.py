"""Networks that others trained and published, run by their own code with our scan in its place.

PyPI has them with their weights: opensr-mamba 0.0.1 (VMamba's SS2D; MIT) makes pictures of
satellites sharper, and typeseg 0.2.7 (Mamba's first block, both ways; Apache-2.0) says in which
language the parts of a text are written. `pip install --no-deps` takes them, and nothing else.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import vimnp

TEXT = """def mean(values):
    return sum(values) / len(values)

SELECT name, count(*) FROM pupils GROUP BY name;
{"answer": 3, "scores": [0.25, 0.75]}
"""


def expect_close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Within `tolerance` of the largest that is expected."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def module(monkeypatch: pytest.MonkeyPatch, name: str, **contents: object) -> None:
    """Puts a module in the place of one that is not installed."""
    made = ModuleType(name)
    vars(made).update(contents)
    monkeypatch.setitem(sys.modules, name, made)


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """What opensr-mamba imports, and does not need: of timm two functions and a layer that does
    nothing when a network is used, and of mamba_ssm the scan, which wants a GPU."""
    torch = pytest.importorskip("torch", reason="needs PyTorch")

    class DropPath(torch.nn.Identity):
        def __init__(self, probability: float) -> None:
            super().__init__()

    layers = {
        "DropPath": DropPath,
        "to_2tuple": lambda size: size if isinstance(size, tuple) else (size, size),
        "trunc_normal_": torch.nn.init.trunc_normal_,
    }
    module(monkeypatch, "timm.layers", **layers)
    module(monkeypatch, "timm", layers=sys.modules["timm.layers"])
    module(monkeypatch, "timm.models")
    module(monkeypatch, "timm.models.layers", **layers)
    module(monkeypatch, "mamba_ssm")
    module(monkeypatch, "mamba_ssm.ops")
    interface = "mamba_ssm.ops.selective_scan_interface"
    module(monkeypatch, interface, selective_scan_fn=scan_of_torch_arrays)
    monkeypatch.setattr(torch.nn.Module, "cuda", lambda network: network)


def scan_of_torch_arrays(*tensors: Any, z: None, return_last_state: bool, **options: Any) -> Any:
    """``selective_scan_fn`` of mamba_ssm, as SS2D calls it."""
    assert (z, return_last_state) == (None, False)
    options["delta_bias"] = options["delta_bias"].numpy()
    out = vimnp.selective_scan(*(tensor.numpy() for tensor in tensors), **options)
    return sys.modules["torch"].from_numpy(out)


@pytest.mark.usefixtures("stand_ins")
def test_opensr_mamba() -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    pytest.importorskip("einops", reason="needs PyPI's einops, as opensr-mamba does")
    opensr = pytest.importorskip("opensr_mamba", reason="needs PyPI's opensr-mamba")
    plain = pytest.importorskip("tests.support.torch_vim").selective_scan
    rng = np.random.default_rng(0)
    for network in opensr.load_models(img_size=12):
        blocks = [part for part in network.modules() if hasattr(part, "selective_scan")]
        assert len(blocks) == 8
        assert all(block.selective_scan is scan_of_torch_arrays for block in blocks)
        channels = network.conv_first.in_channels
        # Rows and columns of different lengths, which the scans' directions must not mix up.
        picture = torch.from_numpy(rng.random((1, channels, 8, 12), np.float32))
        with torch.no_grad():
            # Their code for "no attention maps" fails in their own networks.
            found, _ = network(picture, save_attention_maps=True)
            for block in blocks:
                block.selective_scan = plain
            expected, _ = network(picture, save_attention_maps=True)
        expect_close(found.numpy(), expected.numpy(), 1e-6)


def test_typeseg() -> None:
    pytest.importorskip("typeseg", reason="needs PyPI's typeseg")
    from typeseg import _mamba_kernel, _runtime, _tokenize

    def scan(
        library: ModuleType,
        u: np.ndarray,
        delta: np.ndarray,
        B: np.ndarray,
        C: np.ndarray,
        A: np.ndarray,
        D: np.ndarray,
    ) -> np.ndarray:
        assert library is np
        u, delta, B, C = (array.T[None].astype(np.float32) for array in (u, delta, B, C))
        return vimnp.selective_scan(u, delta, A, B, C, D)[0].T

    options = dict(_runtime._manifest()["mamba"])
    weights = _runtime._weights(options.pop("file"))
    tokens = _tokenize.text_to_bytes(TEXT)
    found = _mamba_kernel.mamba_forward(np, weights, tokens, scan=scan, **options)
    expected = _mamba_kernel.mamba_forward(np, weights, tokens, **options)
    expect_close(found, expected, 1e-5)
    # What the network was trained for: the text begins with Python.
    labels = _runtime._manifest()["labels"]
    assert labels[found[: TEXT.index("SELECT")].mean(0).argmax()] == "python"
