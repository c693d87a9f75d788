"""The language model in NumPy, step by step: what each gives, and that the BLAS does not decide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vimnp
from tests.support import golden_mamba
from vimnp.engine.trace import Trace
from vimnp.models.mamba.network import NumpyMamba, Pass, multiply
from vimnp.models.mamba.outputs import Output
from vimnp.ops.kernels import aligned_empty
from vimnp.runtime import blas
from vimnp.weights import Metadata

MICRO = vimnp.MambaConfig(d_model=24, n_layer=2, vocab_size=40, d_state=5)

STEPS = {
    "_in_proj": {"norm": "normed", "xz": "xz"},
    "_conv1d": {"conv": "u"},
    "_x_proj": {"B": "B", "C": "C"},
    "_scan": {"y": "y"},
    "_out_proj": {"out": "hidden"},
}
"""What the original has recorded of the first mixer, and the array that a step leaves it in."""


OF_LARGEST = 4e-6
"""Of an array's largest value, what a number of it may be off. y reaches 34, as a sum over states
whose terms are larger and cancel: by instruction set it is 1.3e-6 to 1.9e-6 of that off, C without
vectors among them, and 1e-5 would be less than three units in the last place."""


class Watched(NumpyMamba):
    """Keeps what the steps of a pass have left in its arrays."""

    def watch(self) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
        """Recorded names -> arrays of the first mixer; and the residual stream after each norm."""
        seen: dict[str, np.ndarray] = {}
        stream: list[np.ndarray] = []

        def watched(step: Callable[..., None], names: dict[str, str]) -> Callable[..., None]:
            def run(w: Pass, *arguments: Any) -> None:
                step(w, *arguments)
                for name, array in names.items():
                    if w.layer == 0:
                        seen[name] = getattr(w, array).copy()

            return run

        def norm(w: Pass, residual: np.ndarray, *arguments: Any) -> None:
            NumpyMamba._add_norm(self, w, residual, *arguments)
            if residual.shape == w.residual.shape:
                stream.append(residual.copy())

        for step, names in STEPS.items():
            setattr(self, step, watched(getattr(self, step), names))
        self._add_norm = norm  # type: ignore[method-assign]
        return seen, stream


@pytest.mark.parametrize("case", golden_mamba.CASES)
def test_every_step_is_the_originals(
    golden: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vimnp.models.mamba.network.NumpyMamba", Watched)
    config = golden_mamba.CASES[case]
    with golden_mamba.weights(golden, case) as read:
        model = vimnp.MambaLM(Metadata(config=config, preprocessing=None), read, backend="numpy")
    assert isinstance(model._network, Watched)
    seen, stream = model._network.watch()
    with golden_mamba.recorded(golden, case) as recorded:
        model(recorded["p7_ids"])
        np.testing.assert_allclose(stream, recorded["p7_stream64"], atol=2e-5, rtol=1e-5)
        for name, found in seen.items():
            key = f"p7_layer0_{name}64"
            if case != "falcon":  # of which HF has recorded no step
                truth = recorded[key]
                atol = max(1e-5, OF_LARGEST * np.abs(truth).max())
                np.testing.assert_allclose(found, truth, atol=atol, rtol=0, err_msg=key)


# ---- Products ------------------------------------------------------------------------------------


@given(
    rows=st.integers(1, 9),
    inputs=st.sampled_from([1, 2, 5, 16, 33, 64, 96, 257]),
    outputs=st.sampled_from([1, 3, 8, 16, 40, 96, 300, 1025]),
    shift=st.integers(0, 17),
)
def test_no_row_depends_on_those_beside_it(
    rows: int, inputs: int, outputs: int, shift: int
) -> None:
    """Nor on where it lies in memory, or how far apart rows lie."""
    rng = np.random.default_rng(inputs)
    matrix = rng.standard_normal((inputs, outputs), np.float32)
    x = aligned_empty(rows, inputs + shift)
    x[...] = rng.standard_normal(x.shape)
    found, alone = np.empty((rows, outputs + shift), np.float32), aligned_empty(1, outputs)
    with blas.one_thread():
        multiply(x[:, shift:], matrix, found[:, shift:])
        for row in range(rows):
            multiply(x[row : row + 1, shift:].copy(), matrix, alone)
            np.testing.assert_array_equal(found[row, shift:], alone[0])


# ---- Where the time goes -------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_every_operation_has_a_name(backend: Any) -> None:
    try:
        model = vimnp.MambaLM.random(MICRO, backend=backend)
    except vimnp.ConfigError:
        pytest.skip("needs the compiled kernels")
    trace = Trace(1000)
    logits = model._forward_all([1, 2, 3], trace=trace)
    np.testing.assert_array_equal(logits[0], model([1, 2, 3]))
    names = {span.operation for span in trace.spans} - {"wait", "dt_proj"}
    assert names == {*model.costs()}
    of_layers = {span.layer for span in trace.spans if span.operation == "scan"}
    assert of_layers == {0, 1}
    assert {span.layer for span in trace.spans if span.operation == "head"} == {None}


def test_the_arrays_of_a_pass_lie_apart_and_at_cache_lines() -> None:
    output = Output("logits", 2, 3)
    memory = aligned_empty(Pass.floats(MICRO, output))
    w = Pass(MICRO, output, memory)
    arrays = [w.residual, w.normed, w.hidden, w.xz, w.u, w.x_dbl, w.delta]
    for number, array in enumerate(arrays):
        assert array.ctypes.data % 64 == 0
        array.fill(number)
    for number, array in enumerate(arrays):
        assert (array == number).all()
    assert [rows.stop - rows.start for rows in w.sequences] == [3, 3]


def test_a_pass_of_many_tokens_leaves_its_memory_to_others() -> None:
    model = vimnp.MambaLM.random(MICRO, backend="numpy")
    for length in (1, 50, 1):
        model(np.arange(length) % 40)
    assert len(model._network._spares) == 1
