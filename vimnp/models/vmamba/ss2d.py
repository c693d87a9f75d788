"""VMamba's cross-scan block by itself, for networks that are built around it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from vimnp.engine.settings import Backend, resolve_backend
from vimnp.errors import ConfigError, WeightsError
from vimnp.models.vmamba import network, parameters
from vimnp.models.vmamba.config import Grid, VMambaConfig
from vimnp.models.vmamba.network import NumpyVMamba, Pass
from vimnp.models.vmamba.parameters import CrossScan
from vimnp.models.vmamba.spellings import ONE_FILE, network_shape
from vimnp.ops.arguments import expect_array
from vimnp.runtime.threads import resolve_num_threads

if TYPE_CHECKING:
    from vimnp.engine.program import Program

_PIXELS = 4
"""Along a side of each token of a network's first stage, where such a block stands."""

_BLOCK = "layers.0.blocks.0.op."

_SIZES = {
    "in_proj.weight": 2,
    "out_norm.weight": 1,
    "dt_projs_weight": 3,
    "A_logs": 2,
}
"""The tensors that tell a block's sizes, and their dimensions."""


class SS2D:
    """VMamba's cross-scan block (``SS2D`` in ``classification/models/vmamba.py`` of the original).

    A grid of tokens goes through ``in_proj``, a depthwise convolution of 3x3 and four selective
    scans, row by row, column by column and both ways back; their sum through a LayerNorm, the gate
    where there is one, and ``out_proj`` (Liu et al. 2024). It is the block of ``forward_type`` v0
    and v2 and, without the gate, of ``v05_noz`` and its like. It may be called from several threads
    at once.

    Parameters
    ----------
    tensors : mapping of str to array of numbers, of these shapes
        The block's, by their names in the original's state dict: ``in_proj.weight`` (2D, C), or
        (D, C) without a gate, ``conv2d.weight`` (D, 1, 3, 3), ``conv2d.bias`` (D,) if there is one,
        ``x_proj_weight`` (4, R + 2N, D), ``dt_projs_weight`` (4, D, R), ``dt_projs_bias`` (4, D),
        ``A_logs`` (4D, N), ``Ds`` (4D,), ``out_norm.weight``, ``out_norm.bias`` (D,) and
        ``out_proj.weight`` (C, D). Names and shapes of the original's version in one file, and
        linear maps as convolutions of 1x1, do as well. They become float32.
    prefix : str
        What stands before the names, if this is the state dict of a whole network:
        ``"layers.0.blocks.0.op."``. What has other names is left alone.
    num_threads : int, optional
        See :func:`vimnp.threads.resolve_num_threads`. The result's bits do not depend on it.
    backend : {"auto", "numpy", "native"}, optional
        As for :class:`vimnp.VMamba`: all of the block in one compiled parallel region, or NumPy
        with kernels for the rest.

    Attributes
    ----------
    dim, d_inner, d_state, dt_rank : int
        C, D, N and R.
    gated : bool
        Whether ``in_proj`` makes a gate as well.
    backend : {"numpy", "native"}
        The one that runs.

    Raises
    ------
    ConfigError
        If the number of threads or the backend means nothing, or the backend lacks its kernels.
    WeightsError
        If a tensor is missing, unknown or no array of numbers, or its shape contradicts others.

    Examples
    --------
    >>> state_dict = {name: tensor.numpy() for name, tensor in torch_block.state_dict().items()}
    >>> block = vimnp.SS2D(state_dict)
    >>> block
    SS2D(dim=4, d_inner=8, d_state=2, with a gate)
    >>> block(np.zeros((7, 5, 4), np.float32)).shape  # a token for each place of a grid
    (7, 5, 4)
    """

    def __init__(
        self,
        tensors: Mapping[str, Any],
        *,
        prefix: str = "",
        num_threads: int | None = None,
        backend: Backend | None = None,
    ) -> None:
        found = _block_tensors(tensors, prefix)
        config = _infer_config(found)
        self.dim, self.d_inner = config.dims[0], config.d_inner[0]
        self.d_state, self.dt_rank = config.d_state, config.dt_rank[0]
        self.gated = config.gated
        self.num_threads = resolve_num_threads(num_threads)
        self.backend = resolve_backend(backend)

        def load(pack: Any) -> Any:
            return parameters.load_cross_scan(config, found.__getitem__, pack, _BLOCK)

        network = NativeBlock if self.backend == "native" else NumpyBlock
        self._network: NativeBlock | NumpyBlock = network(config, load, self.num_threads)

    def __repr__(self) -> str:
        gate = "with a gate" if self.gated else "without a gate"
        return f"SS2D(dim={self.dim}, d_inner={self.d_inner}, d_state={self.d_state}, {gate})"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Run the block.

        Parameters
        ----------
        x : ndarray of float32, shape (H, W, C) or (B, H, W, C)
            Tokens in their grid, of one picture or several.

        Returns
        -------
        ndarray of float32, of the same shape
            A network adds it to what it took the norm of.

        Raises
        ------
        TypeError
            If `x` is no array of float32.
        ValueError
            If its shape does not fit.
        """
        expect_array("x", x)
        if x.ndim not in (3, 4) or x.shape[-1] != self.dim or 0 in x.shape[-3:-1]:
            raise ValueError(
                f"x has shape {x.shape}; expected (H, W, {self.dim}) or (B, H, W, {self.dim}) with "
                "at least one token"
            )
        height, width = x.shape[-3:-1]
        out = np.empty(x.shape, np.float32)
        tokens = (-1, height * width, self.dim)
        self._network.run(x.reshape(tokens), out.reshape(tokens), (height, width))
        return out


class NumpyBlock(NumpyVMamba):
    """A VMamba of which this block alone runs: the first of the first stage.

    Parameters
    ----------
    config : VMambaConfig
    load : callable
        Gives the block's parameters, with the matrices laid out.
    num_threads : int
    """

    def run(self, x: np.ndarray, out: np.ndarray, grid: Grid) -> None:
        """Tokens (B, L, C) -> the same; each picture by itself."""
        op = cast("network.CrossScan", self._parameters)
        with self.threads_of_products():
            w = Pass(_of_grid(self._config, grid))
            s = w.stages[0]
            for tokens, of_picture in zip(x, out, strict=True):
                s.normed[...] = tokens
                s.residual[...] = 0
                self._cross_scan(w, s, op)
                of_picture[...] = s.residual


class NativeBlock:
    """The same as a program for each grid.

    Parameters
    ----------
    config, load, num_threads
        As for :class:`NumpyBlock`.
    """

    def __init__(self, config: VMambaConfig, load: Any, num_threads: int) -> None:
        from vimnp.engine.compiled import CompiledNetwork  # which the other backend does not need
        from vimnp.models.vmamba.program import build_block

        def build(op: CrossScan[Any], grid: Grid) -> Program:
            return build_block(_of_grid(config, grid), op)

        self._network = CompiledNetwork(load, build, config.d_inner[0], num_threads)

    def run(self, x: np.ndarray, out: np.ndarray, grid: Grid) -> None:
        """Tokens (B, L, C) -> the same."""
        at_once = self._network.inputs_at_once
        for begin in range(0, len(x), at_once):
            some = x[begin : begin + at_once]
            # Programs take pictures: (C, H, W).
            inputs = [np.ascontiguousarray(tokens.T).reshape(-1, *grid) for tokens in some]
            self._network.forward(inputs, out[begin : begin + at_once], output=grid)


def _block_tensors(tensors: Mapping[str, Any], prefix: str) -> dict[str, np.ndarray]:
    """The block's tensors by today's names and in the network's shapes, float32."""
    found: dict[str, np.ndarray] = {}
    for there, value in tensors.items():
        if not there.startswith(prefix):
            continue
        within = there.removeprefix(prefix)
        name = ONE_FILE.get(within, within)
        try:
            array = np.asarray(value, np.float32)
        except (TypeError, ValueError) as error:
            raise WeightsError(f"{there}: no array of numbers: {error}") from None
        found[name] = array.reshape(network_shape(name, array.shape))
    if not found:
        raise WeightsError(
            f"no tensor's name begins with {prefix!r}; expected such as in_proj.weight"
        )
    return found


def _infer_config(tensors: dict[str, np.ndarray]) -> VMambaConfig:
    """The configuration of a network whose first stage has this block, and little else."""
    for name, dimensions in _SIZES.items():
        if name not in tensors:
            raise WeightsError(f"{name}: missing; expected the tensors of a block, SS2D")
        shape = tensors[name].shape
        if len(shape) != dimensions or 0 in shape:
            raise WeightsError(
                f"{name}: has shape {shape}; expected {dimensions} dimensions, none empty"
            )
    rows, dim = tensors["in_proj.weight"].shape
    (d_inner,) = tensors["out_norm.weight"].shape
    if rows not in (d_inner, 2 * d_inner):
        raise WeightsError(
            f"in_proj.weight: has {rows} rows; expected {d_inner}, as out_norm.weight has, or with "
            f"a gate {2 * d_inner}"
        )
    try:
        config = VMambaConfig(
            dims=(dim, 1, 1, 1),
            depths=(1, 1, 1, 1),
            d_inner=(d_inner, 1, 1, 1),
            dt_rank=(tensors["dt_projs_weight"].shape[2], 1, 1, 1),
            d_state=tensors["A_logs"].shape[1],
            gated=rows != d_inner,
            conv_bias="conv2d.bias" in tensors,
            num_classes=0,
            img_size=(_PIXELS, _PIXELS),
        )
    except ConfigError as error:
        raise WeightsError(f"its tensors are of no block: {error}") from None
    _check_tensors(tensors, config)
    return config


def _check_tensors(tensors: dict[str, np.ndarray], config: VMambaConfig) -> None:
    expected = {
        name.removeprefix(_BLOCK): shape
        for name, shape in config.parameter_shapes().items()
        if name.startswith(_BLOCK)
    }
    for name in sorted(expected.keys() - tensors.keys()):
        raise WeightsError(f"{name}: missing; expected {', '.join(expected)}")
    for name in sorted(tensors.keys() - expected.keys()):
        raise WeightsError(f"{name}: not a tensor of a block; expected {', '.join(expected)}")
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise WeightsError(f"{name}: has shape {tensors[name].shape}; expected {shape}")


def _of_grid(config: VMambaConfig, grid: Grid) -> VMambaConfig:
    """The same network on pictures whose first stage has such a grid."""
    height, width = grid
    try:
        return dataclasses.replace(config, img_size=(_PIXELS * height, _PIXELS * width))
    except ConfigError as error:
        raise ValueError(f"x has {height}x{width} tokens, which are too many: {error}") from None
