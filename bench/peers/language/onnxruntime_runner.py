"""Mamba in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx_session
from onnxruntime import InferenceSession, OrtValue

from peers.language.graph_runner import GraphRunner, Pass, States


class OnnxRuntimeRunner(GraphRunner):
    """With its settings untouched but for the threads."""

    def load(self, path: str) -> InferenceSession:
        return onnx_session.load(path, self.num_threads)

    def empty(self, model: InferenceSession, batch: int) -> States:
        return {
            given.name: _zeros(np.float32, batch, *given.shape[1:])
            for given in model.get_inputs()
            if given.name != "ids"
        }

    def bind(self, model: InferenceSession, num_ids: int, before: States, after: States) -> Pass:
        binding = model.io_binding()
        for name, value in before.items():
            binding.bind_ortvalue_input(name, value)
            binding.bind_ortvalue_output(f"next.{name}", after[name])
        (shape,) = (given.shape for given in model.get_outputs() if given.name == "logits")
        batch = next(iter(before.values())).shape()[0]
        given, logits = _zeros(np.int64, num_ids), _zeros(np.float32, batch, shape[1])
        binding.bind_ortvalue_input("ids", given)
        binding.bind_ortvalue_output("logits", logits)

        def run(ids: np.ndarray) -> np.ndarray:
            given.update_inplace(ids.astype(np.int64))
            model.run_with_iobinding(binding)
            return logits.numpy().copy()

        return run


def _zeros(dtype: type, *shape: int) -> OrtValue:
    return OrtValue.ortvalue_from_numpy(np.zeros(shape, dtype))
