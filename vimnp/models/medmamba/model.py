"""MedMamba as users call it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vimnp.models.medmamba import parameters
from vimnp.models.medmamba.config import MedMambaConfig
from vimnp.models.medmamba.published import PUBLISHED, name_of
from vimnp.models.vmamba.model import VMamba
from vimnp.weights.family import ReadTensor

if TYPE_CHECKING:
    from vimnp.engine.packing import PackMatrix


class MedMamba(VMamba):
    """A MedMamba (YubiaoYue/MedMamba, ``VSSM`` in ``MedMamba.py``) at inference.

    The network is that of Yue & Li, "MedMamba: Vision Mamba for Medical Image Classification",
    2024. Parameters, attributes, methods and errors are those of :class:`vimnp.VMamba`.

    Attributes
    ----------
    config : MedMambaConfig
        Sizes and options of the network.
    """

    configuration = MedMambaConfig

    config: MedMambaConfig

    # ---- What the class says of itself to VisionModel -------------------------------------------

    def _load(self, read: ReadTensor, pack: PackMatrix[Any]) -> Any:
        return parameters.load_parameters(self.config, read, pack)

    def _lay_out(self, plain: Any, pack: PackMatrix[Any]) -> Any:
        return parameters.lay_out(self.config, plain, pack)

    @staticmethod
    def _numpy_network() -> Any:
        from vimnp.models.medmamba.network import NumpyMedMamba

        return NumpyMedMamba

    @staticmethod
    def _program() -> Any:
        from vimnp.models.medmamba import program

        return program

    @classmethod
    def _default_config(cls) -> MedMambaConfig:
        return PUBLISHED["medmamba-tiny"]

    def _network_name(self) -> str | None:
        return name_of(self.config)
