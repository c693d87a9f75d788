"""MedMamba as a program for the compiled backend: the steps of ``network.py``, in its order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from vimnp.engine.costs import Cost
from vimnp.engine.packing import PackedMatrix
from vimnp.engine.program import Array, Filter, Program
from vimnp.models.medmamba import parameters
from vimnp.models.medmamba.config import MedMambaConfig
from vimnp.models.precision import Precision
from vimnp.models.vmamba.outputs import Output
from vimnp.models.vmamba.parameters import Parameters
from vimnp.models.vmamba.program import BLOCK, StageArrays, VMambaProgram, costs_of

Branch: TypeAlias = parameters.Branch[PackedMatrix]


def build(
    config: MedMambaConfig,
    parameters: Parameters[PackedMatrix],
    output: Output,
    *,
    apart: bool = False,
) -> Program:
    """Write the network down as a program, as :func:`vimnp.models.vmamba.program.build`."""
    return _MedMamba(config, parameters, output, apart).program()


def operation_costs(
    config: MedMambaConfig, backend: str = "numpy", precision: Precision = "float32"
) -> dict[str, Cost]:
    """Costs of a picture's logits, all blocks together, by the operations' names."""
    return costs_of(config, parameters.load_parameters, build, backend, precision)


class _MedMamba(VMambaProgram):
    """The arrays of a program, and its steps."""

    def __init__(
        self,
        config: MedMambaConfig,
        parameters: Parameters[PackedMatrix],
        output: Output,
        apart: bool,
    ) -> None:
        super().__init__(config, parameters, output, apart)
        most = max(s.residual.rows * s.residual.channels for s in self.stages)
        # Of the convolutions' inputs and results, in turn, and then of both halves' sums.
        self.convolved = [self.b.array(1, most // 2) for _ in range(2)]
        self.both = self.b.array(1, most)

    def block(self, s: StageArrays, block: Any, end: Callable[[], None]) -> None:
        """Convolutions and cross-scan of a half each; in their last stage what follows."""
        b, half = self.b, s.normed.channels
        both = self.both.reshaped(s.length, 2 * half)
        left, right = both.columns(0, half), both.columns(half, 2 * half)
        convolved = self.convolve_all(s, block.branch)
        self.cross_scan(s, block.op)
        last = block.branch.convolutions[-1]
        with self.tokens(s):
            with self.step(s):
                self.norm(s.y, s.y, block.op.out_norm, s.z if self.config.gated else None)
            with self.step(s, right):
                b.product("out_proj", s.y, block.op.out_proj, right)
                b.product("conv", convolved, last.kernel, left, bias=last.bias, activation="relu")
            with self.step(s):
                b.add("shuffle", both, s.residual, groups=2)
            end()

    def convolve_all(self, s: StageArrays, branch: Branch) -> Array:
        """The first half of the channels through a norm and the convolutions of 3x3 tokens.

        That of 1x1 belongs to another stage.
        """
        b, half = self.b, s.normed.channels
        x, out = (array.reshaped(s.length, half) for array in self.convolved)
        with b.columns(half, s.length, block=BLOCK):  # the norm: a filter of a single tap
            filter = Filter(branch.factor, branch.summand, x)
            b.conv2d(s.residual.columns(0, half), filter, grid=s.grid, silu=False)
        for convolution in branch.convolutions[:-1]:
            with b.rows(s.length, block=BLOCK):
                b.conv(
                    "conv",
                    x,
                    convolution.kernel,
                    out,
                    grid=s.grid,
                    kernel=(3, 3),
                    stride=1,
                    padding=1,
                    bias=convolution.bias,
                    activation="relu",
                )
            x, out = out, x
        return x
