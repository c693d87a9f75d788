"""VM-UNet as a program for the compiled backend: the steps of ``network.py``, in its order."""

from __future__ import annotations

import functools
from typing import Any, TypeAlias

from vimnp.engine.costs import Cost
from vimnp.engine.packing import PackedMatrix
from vimnp.engine.program import NO_LAYER, Program
from vimnp.models.precision import Precision
from vimnp.models.vmamba.outputs import Output, Stages
from vimnp.models.vmamba.program import BLOCK, StageArrays, VMambaProgram, costs_of
from vimnp.models.vmunet import parameters
from vimnp.models.vmunet.config import SCALE, VMUNetConfig
from vimnp.models.vmunet.outputs import shape_of

DecoderStage: TypeAlias = parameters.DecoderStage[PackedMatrix]
Expansion: TypeAlias = parameters.Expansion[PackedMatrix]
Parameters: TypeAlias = parameters.Parameters[PackedMatrix]


def build(
    config: VMUNetConfig, parameters: Parameters, output: Output, *, apart: bool = False
) -> Program:
    """Write the network down as a program, as :func:`vimnp.models.vmamba.program.build`."""
    return _VMUNet(config, parameters, output, apart).program()


def operation_costs(
    config: VMUNetConfig, backend: str = "numpy", precision: Precision = "float32"
) -> dict[str, Cost]:
    """Costs of a picture's logits, all blocks together, by the operations' names."""
    return costs_of(config, parameters.load_parameters, build, backend, precision)


class _VMUNet(VMambaProgram):
    """The arrays of a program, and its steps."""

    config: VMUNetConfig
    parameters: Any  # parameters.Parameters[PackedMatrix], which has no classifier

    def __init__(self, config: VMUNetConfig, parameters: Any, output: Output, apart: bool) -> None:
        super().__init__(config, parameters, output, apart)
        self.is_encoder = isinstance(output, Stages)
        if self.is_encoder:  # alone
            return
        residuals = [s.residual for s in self.stages]
        self.skips = {
            index: self.b.array(residual.rows, residual.channels)
            for index, residual in enumerate(residuals)
            if index
        }
        # Of the pixels; before that the lines of squares of tokens, even ones and odd ones.
        self.expanded = self.b.array(SCALE, residuals[0].rows * residuals[0].channels)

    def shape_of_out(self) -> tuple[int, int]:
        *rows, channels = shape_of(self.config, self.output)
        return (rows[0] if rows else 1), channels

    # ---- The encoder ----------------------------------------------------------------------------

    def begin_stage(self, index: int) -> None:
        """What a stage's first block begins with, and what the decoder adds."""
        super().begin_stage(index)
        if index and not self.is_encoder:
            self.b.copy("skip", self.stages[index].residual, self.skips[index])

    def end_last_stage(self, s: StageArrays) -> None:
        """What the decoder begins with: its first stage is as large as the encoder's last."""
        self.begin_block(s, self.parameters.decoder[0].blocks[0])

    # ---- The decoder ----------------------------------------------------------------------------

    def finish(self) -> None:
        """The decoder, and what each pixel shows."""
        for number, stage in enumerate(self.parameters.decoder):
            index = self.config.num_stages - 1 - number
            if number:
                self.expand(index + 1, stage)
            end = functools.partial(self.end_decoder_stage, index)
            self.blocks(self.stages[index], stage.blocks, end)
        self.classify()

    def end_decoder_stage(self, index: int) -> None:
        """What the encoder's stage began with is added, if another stage follows."""
        s = self.stages[index]
        if index:
            with self.step(s):
                self.b.add("skip", self.skips[index], s.residual)

    def expand(self, index: int, stage: DecoderStage) -> None:
        """A stage's tokens -> four times as many of the one before, and what its blocks begin with.

        A token becomes a square of two by two, whose lines are made one after the other: the even
        lines of the grid, and then the odd ones.
        """
        b, s, to = self.b, self.stages[index], self.stages[index - 1]
        assert stage.expansion is not None  # of all but the first stage of the decoder
        rows, columns = s.grid
        width = 2 * columns * to.residual.channels
        lines = [
            self.expanded.part(number, 1).reshaped(s.length, 2 * to.residual.channels)
            for number in range(2)
        ]
        b.layer = NO_LAYER
        with self.tokens(s), self.step(s, lines[0]):
            for line, out in zip(stage.expansion.lines, lines, strict=True):
                b.product("expand", s.residual, line.expand, out)
        with b.rows(rows):
            grid = to.residual.reshaped(2 * rows, width)
            for number, made in enumerate(lines):
                b.copy("expand", made.reshaped(rows, width), grid.every(2, begin=number))
        with b.rows(to.length, block=BLOCK):
            self.norm(to.residual, to.residual, stage.expansion.norm)
            self.begin_block(to, stage.blocks[0])

    def classify(self) -> None:
        """The first stage's tokens -> logits or features of squares of pixels."""
        b, s, final = self.b, self.stages[0], self.parameters.final
        b.layer = NO_LAYER
        tokens = self.expanded.reshaped(s.length, SCALE * s.residual.channels)
        pixels = tokens.reshaped(SCALE**2 * s.length, self.config.num_features)
        with b.rows(s.length, block=BLOCK):
            b.product("expand", s.residual, final.expand, tokens)
        with b.rows(pixels.rows, block=BLOCK):
            if self.output == "features":
                self.norm(pixels, b.out, final.norm)
                return
            self.norm(pixels, pixels, final.norm)
            b.product("head", pixels, final.head, b.out, bias=final.head_bias)
