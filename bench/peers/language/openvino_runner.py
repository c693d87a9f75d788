"""Mamba in OpenVINO."""

from __future__ import annotations

import numpy as np
import openvino_model
from openvino import CompiledModel, Tensor

from peers.language.graph_runner import GraphRunner, Pass, States


class OpenVinoRunner(GraphRunner):
    """With the settings of ``openvino_model.py``."""

    def load(self, path: str) -> CompiledModel:
        return openvino_model.load(path, self.num_threads)

    def empty(self, model: CompiledModel, batch: int) -> States:
        return {
            given.any_name: _zeros(batch, *(size.get_length() for size in given.partial_shape[1:]))
            for given in model.inputs
            if given.any_name != "ids"
        }

    def bind(self, model: CompiledModel, num_ids: int, before: States, after: States) -> Pass:
        request = model.create_infer_request()
        for name, value in before.items():
            request.set_tensor(name, value)
            request.set_tensor(f"next.{name}", after[name])

        def run(ids: np.ndarray) -> np.ndarray:
            request.set_tensor("ids", Tensor(ids.astype(np.int64)))
            request.infer()
            return request.get_tensor("logits").data.copy()

        return run


def _zeros(*shape: int) -> Tensor:
    return Tensor(np.zeros(shape, np.float32))
