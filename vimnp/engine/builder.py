"""How a program is built: taken down in the order of the network, checked and counted.

The builder checks that operands fit each other and their stage, so that the compiled interpreter
can trust a program, and counts what each operation computes and moves.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np

from vimnp.engine import costs
from vimnp.engine.costs import Cost
from vimnp.engine.packing import PackedMatrix
from vimnp.engine.program import (
    CHUNK,
    FIRST_BUFFER,
    FLOATS_OF_BLOCK,
    INPUT,
    MAX_KERNEL,
    MOST_BUFFERS,
    MOST_DIRECTIONS,
    NO_LAYER,
    OUT,
    PATCHES,
    PRIVATE,
    ROWS_AT_ONCE,
    SHARED,
    STATE,
    Activation,
    Array,
    Conv,
    Conv1d,
    Conv2d,
    Embed,
    Filter,
    Lookup,
    Norm,
    Operation,
    Patches,
    Product,
    Program,
    ProgramError,
    Quantise,
    Reduction,
    Rotate,
    Rows,
    Scan,
    ScanDirection,
    Split,
    Stage,
    Task,
    TokenPatches,
    expect,
    floats_of_row,
)
from vimnp.ops.kernels import whole_lines


class Builder:
    """Takes down a program: arrays, stages, and the operations of each stage.

    Parameters
    ----------
    inputs : tuple of int
        Shape of an input.
    out : tuple of int
        Rows and channels of what the program makes of it.
    state : int
        Floats of what a pass goes on from, and leaves for the next.
    coarse : bool
        Exponentials, softplus and SiLU of scans and of depthwise convolutions have four digits, in
        less time (``csrc/coarse.h``): for networks in int8, whose products err by more.

    Raises
    ------
    ProgramError
        By every method, if operands do not fit each other or the stage.
    """

    def __init__(
        self,
        inputs: tuple[int, ...],
        out: tuple[int, int],
        *,
        state: int = 0,
        coarse: bool = False,
    ) -> None:
        self.input = Array(INPUT, 0, inputs[-1], int(np.prod(inputs[:-1])), inputs[-1])
        self.out = Array(OUT, 0, out[1], out[0], out[1])
        self.layer = NO_LAYER
        self._inputs, self._out_shape, self._state = inputs, out, state
        self._coarse = coarse
        self._ids: int | None = None
        self._buffers: list[int] = []
        self._stages: list[Stage] = []
        self._operations: list[Operation] | None = None
        self._split: Split = "rows"
        self._length = self._rows = self._elements = self._scratch = self._private = 0
        self._prepared = 0
        self._labels = {"wait": 0}
        self._costs: dict[str, Cost] = {}
        self._read: set[tuple[str, Array]] = set()
        self._quantised: dict[int, PackedMatrix] = {}

    def program(self) -> Program:
        """What was taken down."""
        expect(self._operations is None, "a stage is still open")
        return Program(
            stages=tuple(self._stages),
            inputs=self._inputs,
            ids=self._ids,
            out=self._out_shape,
            buffers=tuple(self._buffers),
            state=self._state,
            scratch=self._scratch,
            private=self._private,
            labels=tuple(self._labels),
            costs=self._costs,
            elements=self._elements,
        )

    def array(self, rows: int, channels: int) -> Array:
        """An array of the workspace, in a buffer of its own."""
        number = FIRST_BUFFER + len(self._buffers)
        expect(number < MOST_BUFFERS, f"more than {MOST_BUFFERS} buffers")
        self._buffers.append(whole_lines(rows * channels))
        return Array(number, 0, channels, rows, channels)

    def quantised(self, rows: int, weights: PackedMatrix) -> Array:
        """An array for rows as products with such a matrix multiply them: :meth:`quantise`.

        It pays where the columns of a product are split, because each thread would quantise all
        rows. Only matrices of int8_per_channel read such rows.
        """
        expect(weights.dtype == "int8_per_channel", f"rows are quantised for {weights.dtype}")
        array = self.array(rows, floats_of_row(weights.inputs))
        self._quantised[array.buffer] = weights
        return array

    def private(self, rows: int, channels: int) -> Array:
        """An array of which each thread has one of its own.

        What writes it comes first in a stage, and each thread does all of it before its first part.
        It costs less than a stage where there is little to do.
        """
        array = Array(PRIVATE, self._private, channels, rows, channels)
        self._private += whole_lines(rows * channels)
        return array

    def state(self, offset: int, rows: int, channels: int) -> Array:
        """An array of what passes hand on to the next, so many floats from its beginning."""
        expect(0 <= offset <= self._state - rows * channels, f"the state has {self._state} floats")
        return Array(STATE, offset, channels, rows, channels)

    @contextlib.contextmanager
    def rows(self, length: int, *, block: int | None = None) -> Iterator[None]:
        """A stage whose rows are split among the threads.

        Parameters
        ----------
        length : int
            Rows.
        block : int, optional
            As for :meth:`columns`. All rows of a part by default.
        """
        with self._stage("rows", length, length, block or length):
            yield

    @contextlib.contextmanager
    def columns(self, length: int, rows: int, *, block: int | None = None) -> Iterator[None]:
        """A stage whose columns are split.

        Parameters
        ----------
        length : int
            Columns.
        rows : int
        block : int, optional
            A part passes so many rows at a time, so that what an operation has written of them is
            in the cache when the next one reads it. All by default.
        """
        with self._stage("columns", length, rows, block or rows):
            yield

    @property
    def is_within_stage(self) -> bool:
        """Whether a stage is open."""
        return self._operations is not None

    @contextlib.contextmanager
    def _stage(self, split: Split, length: int, rows: int, block: int) -> Iterator[None]:
        expect(not self.is_within_stage, "a stage is opened within another one")
        expect(length >= 1 and rows >= 1 and block >= 1, f"a stage of {length} and {rows} rows")
        self._block = block
        self._operations = []
        self._split, self._length, self._rows, self._prepared = split, length, rows, 0
        self._read.clear()
        yield
        expect(bool(self._operations), "a stage has no operation")
        operations = tuple(self._operations)
        expect(self._prepared < len(operations), "a stage has private arrays alone")
        stage = Stage(
            split=split,
            length=length,
            rows=rows,
            block=block,
            prepared=self._prepared,
            operations=operations,
        )
        self._stages.append(stage)
        self._operations = None

    # ---- Operations ----

    def embed(
        self,
        out: Array,
        patch_proj: PackedMatrix,
        offset: np.ndarray,
        patches: np.ndarray,
        *,
        patch: tuple[int, int],
        stride: int,
        padding: int = 0,
    ) -> None:
        """The input's patches, (channels, height, width), to tokens.

        Parameters
        ----------
        out : Array
        patch_proj : PackedMatrix
            From a patch, (channels * height * width,).
        offset : ndarray of float32, shape (rows, channels) or (channels,)
            What is added to each, or to all.
        patches : ndarray of intc, shape (rows,)
            The number of each row's patch, from left to right and top to bottom; -1 where it has
            none, and is the offset alone.
        patch : tuple of int
            Height and width in pixels.
        stride : int
            Pixels from a patch to the next.
        padding : int
            Zeros on every side of the picture.
        """
        channels, height, width = self._inputs
        down, across = _windows((height, width), patch, stride, (padding, padding))
        self._expect_matrix(patch_proj, channels * patch[0] * patch[1], out.channels)
        if offset.ndim == 1:
            self._expect_shape(offset, (out.channels,), "offset")
        else:
            self._expect_shape(offset, (out.rows, out.channels), "offset")
        self._expect_shape(patches, (out.rows,), "patches")
        expect(patches.dtype == np.intc, "patches are not of intc")
        expect(patches.min() >= -1 and patches.max() < down * across, "a patch is no patch")
        self._expect_split("rows", out)
        task = Embed(
            picture=(channels, height, width),
            patch=patch,
            stride=stride,
            padding=padding,
            grid_columns=across,
            patches=patches,
            patch_proj=patch_proj,
            offset=offset,
            pixels=self.input,
            out=out,
        )
        self._reserve(PATCHES * patch_proj.inputs, patch_proj, PATCHES)
        rows = int((patches >= 0).sum())
        floats = out.rows * out.channels
        cost = costs.product(rows, patch_proj.inputs, patch_proj.outputs, patch_proj.bits)
        cost = cost.plus(Cost(flops=floats)).plus(costs.moved(floats + offset.size))
        self._add("embed", task, cost, [self.input])

    def lookup(self, table: PackedMatrix, out: Array) -> None:
        """The input, ids (sequences, length), to embeddings: columns of a matrix, one for each row.

        Parameters
        ----------
        table : PackedMatrix
            Embeddings are its outputs: the head's matrix, where the two are tied.
        out : Array
        """
        self._expect_matrix(table, out.channels, table.outputs)
        expect(table.dtype != "int8_per_channel", "no embeddings are looked up in int8_per_channel")
        ids = self.input.rows * self.input.channels
        expect(ids == out.rows, f"{ids} ids for {out.rows} rows")
        self._expect_split("rows", out)
        self._ids = table.outputs
        cost = costs.moved(2 * out.rows * out.channels)
        self._add("embed", Lookup(table=table, ids=self.input, out=out), cost, [self.input])

    def rotate(self, tokens: Array, cos: np.ndarray, sin: np.ndarray, rows: Rows) -> None:
        """Rotate these rows in place; `sin` is negative for the first channel of a pair."""
        for name, table in (("cos", cos), ("sin", sin)):
            self._expect_shape(table, (tokens.rows, tokens.channels), name)
        expect(tokens.channels % 2 == 0, "channels have no partner")
        self._expect_split("rows", tokens)
        floats = self._number(rows, tokens) * tokens.channels
        cost = costs.rotation(floats).plus(costs.moved(2 * floats))
        self._add("rotate", Rotate(tokens=tokens, cos=cos, sin=sin), cost, rows=rows)

    def norm(
        self,
        residual: Array,
        out: Array,
        weight: np.ndarray,
        bias: np.ndarray | None,
        epsilon: float,
        *,
        add: Array | None = None,
        gate: Array | None = None,
        activation: Activation | None = None,
        rows: Rows | None = None,
    ) -> None:
        """``residual += add``, and its norm into `out`, which may be private, or the residual.

        Parameters
        ----------
        residual : Array
            Any array; without `add` it is only read.
        out : Array
        weight, bias : ndarray of float32, shape (channels,)
            With a bias it is LayerNorm, without RMSNorm.
        epsilon : float
        add : Array, optional
        gate : Array, optional
            The norm is multiplied by ``silu(gate)``.
        activation : {"gelu"}, optional
            What the norm goes through; not with a gate.
        rows : tuple of int, optional
            As for :meth:`product`.
        """
        channels = residual.channels
        self._expect_shape(weight, (channels,), "weight")
        if bias is not None:
            self._expect_shape(bias, (channels,), "bias")
        expect(activation in (None, "gelu"), f"the activation {activation!r}; expected 'gelu'")
        expect(gate is None or activation is None, "a norm has a gate and an activation")
        operands = [residual, out, *(array for array in (add, gate) if array is not None)]
        self._expect_alike(operands)
        if out.buffer == PRIVATE:
            expect(add is None, "what each thread adds for itself, the residual has several times")
            expect(gate is None, "a gate belongs to rows, which each thread would pass")
            self._prepare(residual)
        else:
            self._expect_split("rows", *operands)
        number = self._number(rows, residual)
        cost = costs.norm(number, channels, is_layer_norm=bias is not None, adds=add is not None)
        cost = cost.plus(costs.moved(number * channels * (4 if add is not None else 2)))
        if gate is not None:
            cost = cost.plus(costs.gate(number * channels)).plus(costs.moved(number * channels))
        cost = cost.plus(self._cost_of_activation(activation, number * channels))
        task = Norm(
            residual=residual,
            hidden=add,
            out=out,
            weight=weight,
            bias=bias,
            epsilon=epsilon,
            gate=gate,
            activation=activation,
        )
        self._add("norm", task, cost, rows=rows)

    def product(
        self,
        label: str,
        x: Array,
        weights: PackedMatrix,
        out: Array,
        *,
        add: Array | None = None,
        bias: np.ndarray | None = None,
        activation: Activation | None = None,
        column: int = 0,
        rows: Rows | None = None,
    ) -> None:
        """``out = activation(add + x @ weights + bias)``.

        Parameters
        ----------
        label : str
            Under which its time and costs are booked.
        x, out : Array
            What is read may be what :meth:`quantise` has written.
        weights : PackedMatrix
        add : Array, optional
            May be `out`.
        bias : ndarray of float32, shape (outputs,), optional
        activation : {"gelu", "relu"}, optional
        column : int
            Where columns are split, those from this one on are computed. They begin with the
            vector that it lies in, or the next: a product writes whole vectors, and the one before
            belongs to whom the columns before belong.
        rows : tuple of int, optional
            The first of the rows that are computed, and the one after the last.
        """
        is_quantised = x.buffer in self._quantised
        if is_quantised:
            self._expect_quantised(x, weights)
        self._expect_matrix(weights, weights.inputs if is_quantised else x.channels, out.channels)
        self._expect_rows_alike(x, out)
        if add is not None:
            self._expect_alike([add, out])
        if bias is not None:
            self._expect_shape(bias, (out.channels,), "bias")
        self._expect_activation(activation)
        outputs = out.channels
        if self._split == "columns":
            expect(0 <= column <= column + self._length <= outputs, f"no column {column}")
            expect(out.rows == self._rows, f"{label}: {out.rows} rows in a stage of {self._rows}")
            outputs = self._length
        else:
            expect(column == 0, f"{label}: columns are asked for, but rows are split")
            self._expect_split("rows", out)
        packing = weights.packing
        first = -(-column // packing.width) * packing.width
        number = self._number(rows, out)
        if not is_quantised:
            self._reserve(0, weights, number)
        cost = costs.product(number, weights.inputs, outputs, weights.bits)
        cost = cost.plus(costs.moved(number * outputs))
        for summand in (add, bias):
            if summand is not None:
                cost = cost.plus(costs.addition(number * outputs))
        cost = cost.plus(self._cost_of_activation(activation, number * outputs))
        read = [x if rows is None else x.first(number)]
        task = Product(
            x=x,
            weights=weights,
            out=out,
            add=add,
            bias=bias,
            activation=activation,
            column=first,
            is_quantised=is_quantised,
        )
        self._add(label, task, cost, read, rows=rows)

    def quantise(
        self, x: Array, weights: PackedMatrix, out: Array, *, rows: Rows | None = None
    ) -> None:
        """Rows of x -> the whole numbers that products with a matrix multiply.

        Parameters
        ----------
        x : Array
        weights : PackedMatrix
            Such a matrix: all that are to read the rows have its factors.
        out : Array
            Made by :meth:`quantised` for it.
        rows : tuple of int, optional
            As for :meth:`product`.
        """
        self._expect_room_for(out, weights)
        self._expect_matrix(weights, x.channels, weights.outputs)
        self._expect_rows_alike(x, out)
        self._expect_split("rows", x, out)
        number = self._number(rows, x)
        floats = number * x.channels
        cost = costs.quantisation(floats).plus(costs.moved(floats + number * out.channels))
        self._quantised[out.buffer] = weights
        task = Quantise(x=x, weights=weights, out=out)
        self._add("quantise", task, cost, rows=rows)

    def conv1d(
        self,
        x: Array,
        filters: Sequence[Filter],
        *,
        silu: bool = True,
        state: Array | None = None,
    ) -> None:
        """Causal depthwise convolution, with a second filter an anti-causal one beside.

        Parameters
        ----------
        x : Array
        filters : one or two Filter
        silu : bool
        state : Array, optional
            The inputs (taps - 1, channels) before the first, which a single filter goes on from;
            it leaves the last ones. Without, they are zeros.
        """
        expect(1 <= len(filters) <= 2, f"{len(filters)} filters")
        taps = len(filters[0].weight)
        for filter in filters:
            self._expect_shape(filter.weight, (taps, x.channels), "weight")
            if filter.bias is not None:
                self._expect_shape(filter.bias, (x.channels,), "bias")
            self._expect_alike([x, filter.out])
        if state is not None:
            expect(len(filters) == 1, "a convolution in both directions carries nothing")
            self._expect_array(state, taps - 1, x.channels)
        # One sequence of several in a stage is no part of its rows, which then pass all at once.
        self._expect_split("columns", x, whole=state is None or self._passes_in_blocks())
        results = len(filters) * x.rows * x.channels
        cost = costs.conv1d(results, taps, silu).plus(costs.moved(results))
        if state is not None:
            cost = cost.plus(costs.moved(2 * state.rows * state.channels))
        coarse = self._coarse
        task = Conv1d(x=x, filters=tuple(filters), silu=silu, state=state, coarse=coarse)
        self._add("conv1d", task, cost, [x], rows=(0, x.rows))

    def conv2d(self, x: Array, filter: Filter, *, grid: tuple[int, int], silu: bool = True) -> None:
        """Depthwise convolution of a grid of tokens, with zeros around it.

        Where the stage passes blocks of rows, those tokens are written whose windows are complete.

        Parameters
        ----------
        x : Array
            Token (y, x) of the grid is row y * columns + x.
        filter : Filter
            Its weight has a row for each tap, of as many lines as columns, line by line.
        grid : tuple of int
            Lines and columns.
        silu : bool
        """
        kernel = next((k for k in range(1, MAX_KERNEL + 1, 2) if k * k == len(filter.weight)), None)
        if kernel is None:
            raise ProgramError(
                f"a filter has {len(filter.weight)} taps; expected the square of an odd number, "
                f"{MAX_KERNEL} at most"
            )
        self._expect_shape(filter.weight, (kernel * kernel, x.channels), "weight")
        if filter.bias is not None:
            self._expect_shape(filter.bias, (x.channels,), "bias")
        self._expect_grid(x, grid)
        self._expect_alike([x, filter.out])
        expect(filter.out != x, "a convolution in two dimensions is written over what it reads")
        self._expect_split("columns", x, filter.out)
        results = x.rows * x.channels
        cost = costs.conv2d(results, kernel * kernel, silu).plus(costs.moved(results))
        coarse = self._coarse
        task = Conv2d(x=x, filter=filter, grid=grid, kernel=kernel, silu=silu, coarse=coarse)
        self._add("conv2d", task, cost, [x], rows=(0, x.rows))

    def patches(
        self,
        x: Array,
        out: Array,
        *,
        grid: tuple[int, int],
        kernel: tuple[int, int],
        stride: int,
        padding: int | tuple[int, int] = 0,
        columns_first: bool = False,
    ) -> None:
        """Windows of a grid of tokens, to a row each.

        Parameters
        ----------
        x : Array
            Token (y, x) of the grid is row y * columns + x.
        out : Array
            Patches from left to right and top to bottom, (patches, taps * channels).
        grid : tuple of int
            Lines and columns.
        kernel : tuple of int
            Lines and columns of a window.
        stride : int
            Tokens from a window to the next.
        padding : int or tuple of int
            Lines and columns of zeros on every side, or before the first and after the last.
        columns_first : bool
            A patch has its tokens column by column; line by line by default.
        """
        found = self._token_patches(x, out, grid, kernel, stride, padding, columns_first)
        inputs = kernel[0] * kernel[1] * x.channels
        expect(out.channels == inputs, f"a patch has {inputs} numbers, not {out.channels}")
        cost = costs.moved(2 * out.rows * out.channels)
        self._add("patches", Patches(patches=found, out=out), cost)

    def conv(
        self,
        label: str,
        x: Array,
        weights: PackedMatrix,
        out: Array,
        *,
        grid: tuple[int, int],
        kernel: tuple[int, int],
        stride: int,
        padding: int | tuple[int, int] = 0,
        bias: np.ndarray | None = None,
        activation: Activation | None = None,
    ) -> None:
        """Dense convolution of a grid of tokens: the product of its :meth:`patches`.

        Parameters
        ----------
        label : str
            Under which its time and costs are booked.
        x : Array
        weights : PackedMatrix
            From a patch: its inputs are (lines * columns * channels,), line by line.
        out : Array
            A row for each patch.
        grid, kernel, stride, padding
            As of :meth:`patches`.
        bias : ndarray of float32, shape (outputs,), optional
        activation : {"gelu", "relu"}, optional
        """
        found = self._token_patches(x, out, grid, kernel, stride, padding, columns_first=False)
        self._expect_matrix(weights, kernel[0] * kernel[1] * x.channels, out.channels)
        if bias is not None:
            self._expect_shape(bias, (out.channels,), "bias")
        self._expect_activation(activation)
        self._reserve(PATCHES * weights.inputs, weights, PATCHES)
        floats = out.rows * out.channels
        cost = costs.product(out.rows, weights.inputs, weights.outputs, weights.bits)
        cost = cost.plus(costs.moved(floats))
        if bias is not None:
            cost = cost.plus(costs.addition(floats))
        cost = cost.plus(self._cost_of_activation(activation, floats))
        task = Conv(patches=found, weights=weights, bias=bias, activation=activation, out=out)
        self._add(label, task, cost, [x])

    def _token_patches(
        self,
        x: Array,
        out: Array,
        grid: tuple[int, int],
        kernel: tuple[int, int],
        stride: int,
        padding: int | tuple[int, int],
        columns_first: bool,
    ) -> TokenPatches:
        before, after = (padding, padding) if isinstance(padding, int) else padding
        expect(min(*kernel, stride) >= 1, f"windows of {kernel}, {stride} apart")
        expect(min(before, after) >= 0, f"a padding of {padding}")
        windows = _windows(grid, kernel, stride, (before, after))
        self._expect_grid(x, grid)
        self._expect_input_is_read([x, out])
        number = windows[0] * windows[1]
        expect(number == out.rows, f"{out.rows} rows for {windows[0]} x {windows[1]} patches")
        expect(x.buffer != out.buffer, "patches are written over the tokens that they are made of")
        self._expect_split("rows", out)
        return TokenPatches(
            x=x,
            grid=grid,
            kernel=kernel,
            stride=stride,
            padding=before,
            windows=windows,
            columns_first=columns_first,
        )

    def scan(self, directions: Sequence[ScanDirection], *, scale: float = 1.0) -> None:
        """The sum of some selective scans, the last one's z gates it, times `scale`.

        Each direction takes all tokens of some channels before the next one does: the first one
        writes, and the others add.
        """
        expect(1 <= len(directions) <= MOST_DIRECTIONS, f"{len(directions)} directions")
        A = directions[0].A
        expect(A.ndim == 2, f"a parameter does not fit: A has the shape {A.shape}; expected two")
        d_state, channels = A.shape
        cost = Cost()
        for d in directions:
            self._expect_direction(d, d_state, channels)
            cost = cost.plus(self._cost_of(d))
        if directions[-1].z is None:
            cost = cost.plus(costs.moved(directions[-1].out.rows * channels))
        expect(
            all(d.z is None for d in directions[:-1]), "only the last direction completes the sum"
        )
        longest = max(d.u.rows for d in directions)
        self._elements += longest * channels
        straight = tuple(d.straightened() for d in directions)
        self._add("scan", Scan(directions=straight, scale=scale, coarse=self._coarse), cost)

    def _expect_direction(self, d: ScanDirection, d_state: int, channels: int) -> None:
        self._expect_shape(d.A, (d_state, channels), "A")
        self._expect_shape(d.delta_bias, (channels,), "delta_bias")
        if d.D is not None:
            self._expect_shape(d.D, (channels,), "D")
        of_channels = [d.u, d.out, *(a for a in (d.z, d.delta) if a is not None)]
        self._expect_alike(of_channels)
        self._expect_split("columns", d.u, whole=False)
        if d.state is not None:
            self._expect_array(d.state, d_state, channels)
        if d.walk is not None and not d.walk.is_of_every_row(d.u.rows):
            raise ProgramError(f"{d.walk} does not pass each of {d.u.rows} rows once")
        self._expect_rows_alike(d.u, d.B, d.C)
        expect(d.B.channels == d.C.channels == d_state, "B and C do not have d_state channels")
        expect((d.delta is None) != (d.dt_proj is None), "delta is given, or projected")
        expect((d.dt is None) == (d.dt_proj is None), "dt and its projection belong together")
        if d.dt is not None and d.dt_proj is not None:
            self._expect_rows_alike(d.u, d.dt)
            self._expect_matrix(d.dt_proj, d.dt.channels, channels)
            gathered = 0 if d.walk is None else d.dt.channels
            self._reserve(CHUNK * (channels + gathered), d.dt_proj, CHUNK)

    def _cost_of(self, d: ScanDirection) -> Cost:
        """The states, and dt_proj and the gate where the direction has them."""
        rows, channels = d.u.rows, d.u.channels
        cost = costs.scan(rows * channels, d.B.channels)
        cost = cost.plus(costs.moved(rows * (channels + 2 * d.B.channels)))  # u, B, C
        if d.dt_proj is not None:
            cost = cost.plus(costs.product(rows, d.dt_proj.inputs, channels, d.dt_proj.bits))
            cost = cost.plus(costs.moved(rows * d.dt_proj.inputs))
        else:
            cost = cost.plus(costs.moved(rows * channels))
        if d.z is not None:
            cost = cost.plus(costs.gate(rows * channels)).plus(costs.moved(2 * rows * channels))
        if d.state is not None:
            cost = cost.plus(costs.moved(2 * d.state.rows * channels))
        return cost

    def mean(self, label: str, x: Array, out: Array) -> None:
        """The mean of the rows of x, (1, channels)."""
        expect(x.rows >= 1 and (out.rows, out.channels) == (1, x.channels), "a mean is one row")
        expect(self._split == "rows" and self._rows == 1, "a mean is not split")
        floats = (x.rows + 1) * x.channels
        cost = Cost(flops=x.rows * x.channels).plus(costs.moved(floats))
        self._add(label, Reduction(kind="mean", x=x, out=out), cost, rows=(0, 1))

    def largest(self, label: str, x: Array, out: Array) -> None:
        """Of each column of x the largest number, (1, channels)."""
        expect(x.rows >= 1 and (out.rows, out.channels) == (1, x.channels), "it is one row")
        self._expect_split("columns", x)
        cost = costs.moved((x.rows + 1) * x.channels)
        self._add(label, Reduction(kind="largest", x=x, out=out), cost)

    def copy(self, label: str, x: Array, out: Array, rows: Rows | None = None) -> None:
        """The rows of x into those of `out`."""
        self._expect_alike([x, out])
        self._expect_split("rows", x)
        cost = costs.moved(2 * self._number(rows, x) * x.channels)
        self._add(label, Reduction(kind="copy", x=x, out=out), cost, rows=rows)

    def add(self, label: str, x: Array, out: Array, *, groups: int = 1) -> None:
        """``out += x``, the channels of x in turn from each of some groups that lie side by side.

        Parameters
        ----------
        label : str
            Under which its time and costs are booked.
        x, out : Array
        groups : int
            A divisor of the channels; with two of them, x has first the even channels of what is
            added and then the odd ones: the channel shuffle of ShuffleNet.
        """
        self._expect_alike([x, out])
        self._expect_split("rows", out)
        fits = groups >= 1 and x.channels % groups == 0
        expect(fits, f"{x.channels} channels are not {groups} groups")
        floats = x.rows * x.channels
        cost = Cost(flops=floats).plus(costs.moved(3 * floats))
        self._add(label, Reduction(kind="add", x=x, out=out, groups=groups), cost)

    # ---- Checks and counts ----

    def _add(
        self,
        label: str,
        task: Task,
        cost: Cost,
        read: Sequence[Array] = (),
        *,
        rows: Rows | None = None,
    ) -> None:
        """Take an operation down; what it has in `read` counts once for a stage and a label."""
        if self._operations is None:
            raise ProgramError(f"{label} stands in no stage")
        for array in read:
            if (label, array) not in self._read:
                self._read.add((label, array))
                cost = cost.plus(costs.moved(array.rows * array.channels))
        self._labels.setdefault(label, len(self._labels))
        self._costs[label] = self._costs.get(label, Cost()).plus(cost)
        rows = rows or (0, self._rows)
        self._operations.append(Operation(task=task, rows=rows, label=label, layer=self.layer))

    def _prepare(self, read: Array) -> None:
        """The next operation is each thread's own, and reads what other stages have written."""
        expect(self._operations is not None, "a private array is written in no stage")
        expect(self._prepared == len(self._operations or ()), "private arrays come first")
        expect(read.rows <= self._rows, f"{read.rows} rows in a stage of {self._rows}")
        self._prepared += 1

    def _reserve(self, floats: int, weights: PackedMatrix, rows: int) -> None:
        """Scratch of an operation, and behind it that of its product, for its rows quantised."""
        together = min(rows, ROWS_AT_ONCE)
        if weights.dtype == "int8_per_channel":
            floats += together * floats_of_row(weights.inputs)
        elif weights.dtype in ("int8", "int4"):
            floats += together * -(-weights.inputs // SHARED) * FLOATS_OF_BLOCK
        self._scratch = max(self._scratch, floats)

    def _cost_of_activation(self, activation: Activation | None, floats: int) -> Cost:
        if activation is None:
            return Cost()
        return costs.gelu(floats) if activation == "gelu" else Cost(flops=floats)

    def _expect_activation(self, activation: Activation | None) -> None:
        known = activation in (None, "gelu", "relu")
        expect(known, f"the activation {activation!r}; expected 'gelu' or 'relu'")

    def _expect_grid(self, x: Array, grid: tuple[int, int]) -> None:
        expect(min(grid) >= 1, f"a grid of {grid[0]} x {grid[1]}")
        expect(grid[0] * grid[1] == x.rows, f"{x.rows} rows for a grid of {grid[0]} x {grid[1]}")

    def _passes_in_blocks(self) -> bool:
        return self._block < self._rows

    def _expect_array(self, array: Array, rows: int, channels: int) -> None:
        found = (array.rows, array.channels)
        expect(found == (rows, channels), f"an array is {found}; expected ({rows}, {channels})")

    def _number(self, rows: Rows | None, array: Array) -> int:
        if rows is None:
            return array.rows
        expect(0 <= rows[0] <= rows[1] <= array.rows, f"rows {rows} of {array.rows}")
        return rows[1] - rows[0]

    def _expect_split(self, split: Split, *arrays: Array, whole: bool = True) -> None:
        expect(self._split == split, f"a stage of split {self._split} has one of {split}")
        for array in arrays:
            if split == "columns":
                fits = array.channels == self._length
                fits &= array.rows == self._rows if whole else array.rows <= self._rows
            else:
                fits = array.rows == self._length
            if not fits:  # no expect(): many a message would be made for nothing
                raise ProgramError(f"{array} is not split as its stage of {self._length} {split}")

    def _expect_alike(self, arrays: Sequence[Array]) -> None:
        shapes = {(array.rows, array.channels) for array in arrays}
        if len(shapes) != 1:
            raise ProgramError(f"arrays of the shapes {sorted(shapes)}; expected one shape")
        self._expect_input_is_read(arrays)

    def _expect_rows_alike(self, *arrays: Array) -> None:
        rows = {array.rows for array in arrays}
        if len(rows) != 1:
            raise ProgramError(f"arrays of {sorted(rows)} rows; expected as many of each")
        self._expect_input_is_read(arrays)

    def _expect_input_is_read(self, arrays: Sequence[Array]) -> None:
        expect(
            all(array.buffer != INPUT for array in arrays),
            "only an embedding reads the input, and nothing writes it",
        )

    def _expect_matrix(self, matrix: PackedMatrix, inputs: int, outputs: int) -> None:
        found = (matrix.inputs, matrix.outputs)
        if found != (inputs, outputs):
            raise ProgramError(
                f"a parameter does not fit: a matrix is {found}; expected ({inputs}, {outputs})"
            )

    def _expect_quantised(self, array: Array, weights: PackedMatrix) -> None:
        """Rows of whole numbers, for a matrix whose inputs have the same factors."""
        self._expect_room_for(array, weights)
        if self._quantised[array.buffer].factors is not weights.factors:
            raise ProgramError(f"{array} has no rows that were quantised for such a matrix")

    def _expect_room_for(self, array: Array, weights: PackedMatrix) -> None:
        """An array for rows of whole numbers, of such a matrix's size."""
        found = self._quantised.get(array.buffer)
        if found is None or found.inputs != weights.inputs:
            raise ProgramError(f"{array} has no rows that were quantised for such a matrix")
        expect(weights.dtype == "int8_per_channel", f"quantised rows for {weights.dtype}")
        expect(array.channels == floats_of_row(weights.inputs), f"{array} is a part of such rows")

    def _expect_shape(self, array: np.ndarray, shape: tuple[int, ...], name: str) -> None:
        if array.shape != shape:
            raise ProgramError(
                f"a parameter does not fit: {name} has the shape {array.shape}; expected {shape}"
            )


def _windows(
    size: tuple[int, int], kernel: tuple[int, int], stride: int, padding: tuple[int, int]
) -> tuple[int, int]:
    """Lines and columns of windows so far apart, of what has so many zeros before and after."""
    down, across = ((a + sum(padding) - b) // stride + 1 for a, b in zip(size, kernel, strict=True))
    expect(down >= 1 and across >= 1, f"windows of {kernel} in a grid of {size}")
    return down, across
