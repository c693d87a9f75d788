"""MedMamba as users call it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from vimnp.models.medmamba import parameters
from vimnp.models.medmamba.config import MedMambaConfig
from vimnp.models.medmamba.published import PUBLISHED, name_of
from vimnp.models.vmamba.model import VMamba
from vimnp.weights.family import ReadTensor

if TYPE_CHECKING:
    from vimnp.engine.costs import Cost
    from vimnp.engine.network import Network
    from vimnp.engine.packing import PackMatrix


class MedMamba(VMamba):
    """A MedMamba (YubiaoYue/MedMamba, ``VSSM`` in ``MedMamba.py``) at inference.

    Parameters, attributes, methods and errors are those of :class:`vimnp.VMamba`.

    Attributes
    ----------
    config : MedMambaConfig
    """

    configuration = MedMambaConfig

    config: MedMambaConfig

    # ---- What the class says of itself to VisionModel -------------------------------------------

    def _load(self, read: ReadTensor, pack: PackMatrix[Any]) -> Any:
        return parameters.load_parameters(self.config, read, pack)

    def _lay_out(self, plain: Any, pack: PackMatrix[Any]) -> Any:
        return parameters.lay_out(self.config, plain, pack)

    def _make_network(self, load: Any, num_threads: int) -> Network:
        if self.backend == "numpy":
            from vimnp.models.medmamba.network import NumpyMedMamba

            return NumpyMedMamba(self.config, load, num_threads)
        from vimnp.engine.compiled import CompiledNetwork
        from vimnp.models.medmamba.program import build

        build_it = functools.partial(build, self.config)
        return CompiledNetwork(load, build_it, max(self.config.d_inner), num_threads)

    @classmethod
    def _default_config(cls) -> MedMambaConfig:
        return PUBLISHED["medmamba-tiny"]

    def costs(self) -> dict[str, Cost]:
        """What a picture's logits take, by operation: arithmetic, exponentials and bytes."""
        from vimnp.models.medmamba.program import operation_costs

        return operation_costs(self.config, self.backend, self.precision)

    def _network_name(self) -> str | None:
        return name_of(self.config)
