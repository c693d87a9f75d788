"""VMamba as users call it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Hashable, Iterable
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from vimnp.counts import checked_count
from vimnp.errors import ConfigError
from vimnp.models.vision import VisionModel
from vimnp.models.vmamba import parameters
from vimnp.models.vmamba.config import VMambaConfig
from vimnp.models.vmamba.outputs import Output, Stages, places, shape_of
from vimnp.models.vmamba.published import PUBLISHED, name_of
from vimnp.weights.family import ReadTensor

if TYPE_CHECKING:
    from vimnp.engine.costs import Cost
    from vimnp.engine.network import Network
    from vimnp.engine.packing import PackMatrix
    from vimnp.models.vision import Pictures


class VMamba(VisionModel):
    """A VMamba (MzeroMiko/VMamba, ``VSSM`` in ``classification/models/vmamba.py``) at inference.

    The network is that of Liu et al., "VMamba: Visual State Space Model", 2024. Shapes: B pictures,
    C channels of a stage's tokens, h and w tokens down and across, H and W pixels.

    Made by :meth:`from_npz` or :meth:`random`. One model may be called from several threads at
    once, and from a signal handler while it runs. It can be pickled and copied as a
    :class:`vimnp.VisionMamba` can. It takes pictures of any size, since no tensor depends on it:
    ``from_npz(path, img_size=512)``.

    Parameters
    ----------
    metadata : vimnp.weights.Metadata
        Configuration, preprocessing and labels.
    read : callable
        Gives each tensor by its name in the PyTorch state dict.
    scan : {"fused"}
        There is one way to scan in four directions.
    num_threads, backend, precision
        As for :class:`vimnp.VisionMamba`.

    Attributes
    ----------
    config : VMambaConfig
        Sizes and options of the network.
    metadata : vimnp.weights.Metadata
        What the weights file says of itself.
    backend : {"numpy", "native"}
        The one that runs.
    num_threads : int
        The most that it uses.

    Raises
    ------
    ConfigError
        If the number of threads, the backend or the precision means nothing, the backend lacks its
        kernels, or the weights are of another family.
    TypeError
        If there are no `metadata` or no `read`.

    Examples
    --------
    >>> config = vimnp.VMambaConfig(dims=(8, 16, 32, 64), depths=(1, 1, 1, 1), img_size=(64, 64))
    >>> model = vimnp.VMamba.random(config=config, num_threads=1)
    >>> [grid.shape for grid in model.feature_maps(np.zeros((3, 64, 64), np.float32))]
    [(8, 16, 16), (16, 8, 8), (32, 4, 4), (64, 2, 2)]
    """

    configuration = VMambaConfig
    scans: ClassVar[tuple[str, ...]] = ("fused",)

    config: VMambaConfig

    def __repr__(self) -> str:
        config = self.config
        height, width = config.img_size
        head = f"{config.num_classes} classes" if config.num_classes else "no head"
        return (
            f"{type(self).__name__}({height}x{width} pixels, dims {config.dims}, "
            f"depths {config.depths}, {head}; {self.runs})"
        )

    def feature_maps(
        self, images: Pictures, stages: Iterable[int] | None = None
    ) -> list[np.ndarray]:
        """Compute each stage's tokens where they lie in the picture, as detectors read them.

        They have gone through the stage's blocks, and not through the downsampling. Of a backbone
        (``out_norms``) they have gone through the stage's own norm as well, as
        ``Backbone_VSSM`` of the original gives them.

        Parameters
        ----------
        images
            As for calling the model.
        stages : iterable of int, optional
            Indices of stages, from 0 to 3, in ascending order: the others are left out, and what
            comes after the last is not computed. All of them by default.

        Returns
        -------
        list of ndarray of float32, shape (C, h, w), or (B, C, h, w) for a batch or a list
            One for each stage; C, h and w are those of ``config.dims`` and ``config.grids``.

        Raises
        ------
        ConfigError
            If there is no such stage, or they do not ascend.
        ImageError
            As for calling the model.
        """
        everything = range(self.config.num_stages)
        asked = Stages(self._checked_stages(everything if stages is None else stages))
        found = self._forward_all(images, asked)
        maps = []
        for stage, begin, end in places(self.config, asked):
            shape = (*self.config.grids[stage], self.config.dims[stage])
            grid = found[..., begin:end].reshape(*found.shape[:-1], *shape)
            maps.append(np.ascontiguousarray(np.moveaxis(grid, -1, -3)))
        return maps

    def _checked_stages(self, stages: Iterable[int]) -> tuple[int, ...]:
        last = self.config.num_stages - 1
        found = tuple(checked_count("stages", stage, last, least=0) for stage in stages)
        if not found or list(found) != sorted(set(found)):
            raise ConfigError(f"stages is {found}; expected one or more, in ascending order")
        return found

    # ---- What the class says of itself to VisionModel -------------------------------------------

    def _load(self, read: ReadTensor, pack: PackMatrix[Any]) -> Any:
        return parameters.load_parameters(self.config, read, pack)

    def _lay_out(self, plain: Any, pack: PackMatrix[Any]) -> Any:
        return parameters.lay_out(self.config, plain, pack)

    def _make_network(self, load: parameters.Load, num_threads: int) -> Network:
        if self.backend == "numpy":
            return self._numpy_network()(self.config, load, num_threads)
        from vimnp.engine.compiled import CompiledNetwork

        build = functools.partial(self._program().build, self.config)
        return CompiledNetwork(load, build, max(self.config.d_inner), num_threads)

    # Each backend's modules load where it runs: every process would pay for both.

    @staticmethod
    def _numpy_network() -> Any:
        """The class of the network in NumPy."""
        from vimnp.models.vmamba.network import NumpyVMamba

        return NumpyVMamba

    @staticmethod
    def _program() -> Any:
        """The module with ``build`` and ``operation_costs``."""
        from vimnp.models.vmamba import program

        return program

    def _shape_of(self, output: Hashable) -> tuple[int, ...]:
        return shape_of(self.config, cast("Output", output))

    @classmethod
    def _resized(
        cls, config: VMambaConfig, read: ReadTensor, img_size: int | tuple[int, int]
    ) -> tuple[VMambaConfig, ReadTensor]:
        """Every picture's size will do: no tensor depends on it."""
        sides: Any = (img_size, img_size) if isinstance(img_size, Integral) else img_size
        return dataclasses.replace(config, img_size=sides), read

    @classmethod
    def _default_config(cls) -> VMambaConfig:
        return PUBLISHED["vmamba-tiny"]

    def costs(self) -> dict[str, Cost]:
        """Count what a picture's logits take, by operation.

        Returns
        -------
        dict of str to vimnp.costs.Cost
            Arithmetic, exponentials and bytes of each operation, by the name that a profile has.
        """
        found: dict[str, Cost] = self._program().operation_costs(
            self.config, self.backend, self.precision
        )
        return found

    def _network_name(self) -> str | None:
        """The published network that has these sizes; None if there is none."""
        return name_of(self.config)

    def _facts(self) -> dict[str, str]:
        config = self.config
        grids = ", ".join(f"{height}x{width}" for height, width in config.grids)
        return {
            "network": self._network_name() or "none that was published",
            "tokens": f"{grids} in the {_number(config.num_stages)} stages",
            "blocks": f"{config.depths}, dims {config.dims}, d_inner {config.d_inner}, "
            f"d_state {config.d_state}",
        }


def _number(stages: int) -> str:
    return "four" if stages == 4 else str(stages)
