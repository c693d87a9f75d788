"""VM-UNet as users call it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np

from vimnp.errors import ConfigError
from vimnp.models.vmamba.model import VMamba
from vimnp.models.vmamba.outputs import Output
from vimnp.models.vmunet import parameters
from vimnp.models.vmunet.config import VMUNetConfig
from vimnp.models.vmunet.outputs import as_maps, shape_of
from vimnp.models.vmunet.published import PUBLISHED, name_of
from vimnp.weights.family import ReadTensor

if TYPE_CHECKING:
    from vimnp.engine.packing import PackMatrix
    from vimnp.models.vision import Pictures


class VMUNet(VMamba):
    """A VM-UNet (JCruan519/VM-UNet, ``VSSM`` in ``models/vmunet/vmamba.py``) at inference.

    The network is that of Ruan et al., "VM-UNet: Vision Mamba UNet for Medical Image
    Segmentation", 2024. It says of each pixel what it shows. Its encoder is a VMamba, and its
    :meth:`~vimnp.VMamba.feature_maps` are the encoder's. Parameters, attributes and errors are
    those of :class:`vimnp.VMamba`.

    Attributes
    ----------
    config : VMUNetConfig
        Sizes and options of the network.
    """

    configuration = VMUNetConfig

    config: VMUNetConfig

    def __call__(self, images: Pictures) -> np.ndarray:
        """Compute the logits of each pixel.

        The original's ``VMUNet`` of one class gives their sigmoid.

        Parameters
        ----------
        images
            As for :meth:`vimnp.VMamba.__call__`.

        Returns
        -------
        ndarray of float32, shape (classes, H, W), or (B, classes, H, W) for a batch
            H and W are those of ``config.img_size``.

        Raises
        ------
        ImageError
            As for calling a :class:`vimnp.VMamba`.
        """
        return as_maps(self.config, super().__call__(images))

    def features(self, images: Pictures) -> np.ndarray:
        """Compute what goes into the last convolution, of each pixel.

        Parameters
        ----------
        images
            As for calling the model.

        Returns
        -------
        ndarray of float32, shape (channels, H, W), or (B, channels, H, W) for a batch
            As many channels as ``config.num_features``.

        Raises
        ------
        ImageError
            As for calling the model.
        """
        return as_maps(self.config, super().features(images))

    def segment(self, images: Pictures) -> np.ndarray:
        """Predict the class of each pixel.

        Parameters
        ----------
        images
            As for calling the model.

        Returns
        -------
        ndarray of intp, shape (H, W), or (B, H, W) for a batch
            The likeliest class; of a network of one class, 1 where its sigmoid is above a half, and
            0 elsewhere.

        Raises
        ------
        ImageError
            As for calling the model.
        """
        logits = self(images)
        if self.config.num_classes == 1:
            return (logits[..., 0, :, :] > 0).astype(np.intp)
        return logits.argmax(axis=-3)

    def predict(self, images: Any, top_k: int = 5) -> NoReturn:
        """Raise ConfigError: pictures have no class here.

        Parameters
        ----------
        images, top_k
            As for :meth:`vimnp.VisionMamba.predict`.

        Raises
        ------
        ConfigError
            Always; :meth:`segment` gives the pixels' classes.
        """
        raise ConfigError(
            "this network has a class for each pixel, and none for the picture: call "
            "model.segment(...) for the pixels' classes, or the model for their logits"
        )

    # ---- What the class says of itself to VisionModel -------------------------------------------

    def _load(self, read: ReadTensor, pack: PackMatrix[Any]) -> Any:
        return parameters.load_parameters(self.config, read, pack)

    def _lay_out(self, plain: Any, pack: PackMatrix[Any]) -> Any:
        return parameters.lay_out(self.config, plain, pack)

    @staticmethod
    def _numpy_network() -> Any:
        from vimnp.models.vmunet.network import NumpyVMUNet

        return NumpyVMUNet

    @staticmethod
    def _program() -> Any:
        from vimnp.models.vmunet import program

        return program

    def _shape_of(self, output: Hashable) -> tuple[int, ...]:
        return shape_of(self.config, cast("Output", output))

    @classmethod
    def _default_config(cls) -> VMUNetConfig:
        return PUBLISHED["vmunet"]

    def _network_name(self) -> str | None:
        return name_of(self.config)

    def _facts(self) -> dict[str, str]:
        return {
            **super()._facts(),
            "decoder": f"{self.config.depths_decoder} blocks, a map of the picture",
        }
