"""What a program is: stages of operations on arrays, as data.

A stage is split among the threads and ends when all of it is done; a part of it goes through the
stage's operations back to back, while its data is in the cache. A network's family writes its
programs down with a :class:`vimnp.engine.builder.Builder`; the compiled interpreter
(``csrc/interpreter.h``) goes through them.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np

from vimnp.engine.costs import Cost
from vimnp.engine.packing import PackedMatrix
from vimnp.ops.limits import MAX_KERNEL as MAX_KERNEL

if TYPE_CHECKING:  # most networks have sequences, and no walk
    from vimnp.ops.walks import Walk

INPUT, OUT, STATE, PRIVATE, FIRST_BUFFER = range(5)
"""Buffers that the caller of a pass gives, and that of which each thread has one of its own.

Those from `FIRST_BUFFER` on are the workspace's.
"""

CHUNK = 32
"""Tokens that a kernel takes through its phases together (``CHUNK`` in ``csrc/operands.h``)."""
PATCHES = 60
"""Patches that a thread gathers before it multiplies them (``csrc/program.h``)."""
SHARED = 32
"""Inputs that share a scale in a matrix of int8 or int4 (``csrc/operands.h``)."""
ROWS_AT_ONCE = 120
"""Rows that a product with such a matrix quantises before it multiplies them."""
FLOATS_OF_BLOCK = 18
"""Room for as many inputs of a row, quantised, with halves of the numbers."""
FLOATS_OF_ROW_HEAD = 4
"""Of a row that is quantised with one scale (``struct quantised_row``)."""
MOST_DIRECTIONS = 4
MOST_BUFFERS = 32
NO_LAYER = -1

Activation: TypeAlias = Literal["gelu", "relu"]
"""What may follow a product: the exact GELU, or ReLU; a norm, the former."""
Split: TypeAlias = Literal["rows", "columns"]
Rows: TypeAlias = tuple[int, int]


def floats_of_row(inputs: int) -> int:
    """From a row that is quantised with one scale to the next (``csrc/operands.h``)."""
    return FLOATS_OF_ROW_HEAD + -(-inputs // SHARED) * SHARED // 2


class ProgramError(ValueError):
    """Operands that do not fit each other or their stage: a mistake in a family's program."""


def expect(fits: bool, problem: str) -> None:
    """Raise ProgramError with this problem unless it `fits`."""
    if not fits:
        raise ProgramError(problem)


class Array(NamedTuple):
    """Rows of float32 in a buffer, in the order in which an operation passes them.

    Parameters
    ----------
    buffer : int
    offset : int
        Of the first row, in floats from the buffer's beginning.
    stride : int
        Floats from a row to the next; negative where the operation goes backwards.
    rows, channels : int
    """

    buffer: int
    offset: int
    stride: int
    rows: int
    channels: int

    def backward(self) -> Array:
        """The same rows, the last one first."""
        last = self.offset + (self.rows - 1) * self.stride
        return Array(self.buffer, last, -self.stride, self.rows, self.channels)

    def first(self, rows: int) -> Array:
        """So many rows from the first on."""
        return self.part(0, rows)

    def part(self, begin: int, rows: int) -> Array:
        """So many rows from one on."""
        expect(0 <= begin <= begin + rows <= self.rows, f"rows {begin} to {begin + rows}")
        offset = self.offset + begin * self.stride
        return Array(self.buffer, offset, self.stride, rows, self.channels)

    def every(self, stride: int, *, begin: int = 0) -> Array:
        """The rows from `begin` on that lie so many apart."""
        expect(0 <= begin < self.rows and stride >= 1, f"no row {begin} of {self.rows}")
        rows = -(-(self.rows - begin) // stride)
        offset = self.offset + begin * self.stride
        return Array(self.buffer, offset, stride * self.stride, rows, self.channels)

    def columns(self, begin: int, end: int) -> Array:
        """Some neighbouring channels of every row."""
        expect(
            0 <= begin <= end <= self.channels,
            f"channels {begin} to {end} of {self.channels} are asked for",
        )
        return Array(self.buffer, self.offset + begin, self.stride, self.rows, end - begin)

    def reshaped(self, rows: int, channels: int) -> Array:
        """The first numbers of what lies without a gap, in rows of another length."""
        lies_together = self.rows == 1 or self.stride == self.channels
        fits = lies_together and rows * channels <= self.rows * self.channels
        expect(fits, f"{rows} rows of {channels} are asked of {self}")
        return Array(self.buffer, self.offset, channels, rows, channels)


# Tasks, and what they stand in, are plain namespaces: to define a NamedTuple takes a third of a
# millisecond, which every process would pay at its start.


class Embed(SimpleNamespace):
    """Patches of a picture -> tokens, ``offset + patch @ patch_proj``, or the offset alone.

    Around the picture there are `padding` zeros.
    """

    picture: tuple[int, int, int]  # channels, height, width
    patch: tuple[int, int]  # height, width
    stride: int
    padding: int
    grid_columns: int  # patches that lie in a row
    patches: np.ndarray  # (rows,) of intc: the number of each token's patch, or -1
    patch_proj: PackedMatrix
    offset: np.ndarray  # (rows, channels), or (channels,) for every row
    pixels: Array
    out: Array


class Lookup(SimpleNamespace):
    """Tokens by their ids -> their embeddings, columns of the table."""

    table: PackedMatrix
    ids: Array
    out: Array


class Rotate(SimpleNamespace):
    """Pairs of neighbouring channels, rotated in place."""

    tokens: Array
    cos: np.ndarray  # (rows, channels)
    sin: np.ndarray


class Norm(SimpleNamespace):
    """``residual += hidden`` where there is one; out = its RMSNorm, or with a bias LayerNorm.

    Then the activation, or where there is a gate the product with ``silu(gate)``.
    """

    residual: Array
    hidden: Array | None
    out: Array
    weight: np.ndarray
    bias: np.ndarray | None
    epsilon: float
    gate: Array | None
    activation: Activation | None


class Product(SimpleNamespace):
    """``out = activation(add + x @ weights + bias)``, in the outputs from `column` on."""

    x: Array
    weights: PackedMatrix
    out: Array
    add: Array | None
    bias: np.ndarray | None
    activation: Activation | None
    column: int
    is_quantised: bool  # x has rows that Quantise has written


class Quantise(SimpleNamespace):
    """Rows of x -> the whole numbers that products with these weights multiply."""

    x: Array
    weights: PackedMatrix
    out: Array


class Filter(NamedTuple):
    """A depthwise convolution with what it writes."""

    weight: np.ndarray  # (taps, channels)
    bias: np.ndarray | None
    out: Array


class Conv1d(SimpleNamespace):
    """x -> a causal convolution by the first filter, and an anti-causal one by the second.

    With a state, a single filter goes on from the inputs that it holds, and leaves the last ones.
    """

    x: Array
    filters: tuple[Filter, ...]
    silu: bool
    state: Array | None  # (taps - 1, channels)
    coarse: bool  # SiLU to four digits


class Conv2d(SimpleNamespace):
    """Tokens of a grid -> their depthwise convolution, with zeros around the grid."""

    x: Array
    filter: Filter  # (kernel * kernel, channels), line by line
    grid: tuple[int, int]  # lines, columns
    kernel: int
    silu: bool
    coarse: bool  # SiLU to four digits


class TokenPatches(SimpleNamespace):
    """Windows of a grid of tokens, from left to right and top to bottom; outside there are zeros.

    A patch has the tokens of its window one after the other, line by line, or column by column.
    """

    x: Array
    grid: tuple[int, int]  # lines, columns
    kernel: tuple[int, int]
    stride: int
    padding: int  # zeros before the first line and column
    windows: tuple[int, int]  # lines of them, columns
    columns_first: bool


class Patches(SimpleNamespace):
    """Patches of a grid of tokens as rows."""

    patches: TokenPatches
    out: Array


class Conv(SimpleNamespace):
    """``out = activation(patches @ weights + bias)``: a dense convolution of a grid of tokens."""

    patches: TokenPatches
    weights: PackedMatrix
    bias: np.ndarray | None
    activation: Activation | None
    out: Array


class ScanDirection(NamedTuple):
    """One direction of a scan, every array in the order in which it passes the tokens.

    Either `dt` is given and projected, some tokens at a time, or `delta` is there already. With a
    `state` it goes on from there, and leaves the last one in its place. With a `walk` the arrays'
    rows stand at the tokens' places, and the walk says the order: of the directions of one scan,
    each may have its own.
    """

    u: Array
    dt: Array | None
    dt_proj: PackedMatrix | None
    delta: Array | None
    B: Array
    C: Array
    z: Array | None
    out: Array
    delta_bias: np.ndarray
    A: np.ndarray  # (d_state, channels)
    D: np.ndarray | None
    state: Array | None = None  # (d_state, channels)
    walk: Walk | None = None

    def straightened(self) -> ScanDirection:
        """Without the walk, where it passes row after row, or all of them backwards."""
        step = None if self.walk is None else self.walk.step()
        if step is None:
            return self
        names = ("u", "dt", "delta", "B", "C", "z", "out")
        arrays = {name: array for name in names if (array := getattr(self, name)) is not None}
        if step < 0:
            arrays = {name: array.backward() for name, array in arrays.items()}
        return self._replace(walk=None, **arrays)


class Scan(SimpleNamespace):
    """The sum of some directions' scans; the last one's z gates it."""

    directions: tuple[ScanDirection, ...]
    scale: float
    coarse: bool  # decays, softplus and SiLU to four digits


class Reduction(SimpleNamespace):
    """Over the rows of x: their mean, the largest of each column, their copies, or sums with out's.

    What is added may have its channels in groups, from which they are taken in turn.
    """

    kind: Literal["mean", "largest", "copy", "add"]
    x: Array
    out: Array
    groups: int  # of what is added


Task: TypeAlias = (
    Embed
    | Lookup
    | Rotate
    | Norm
    | Product
    | Quantise
    | Conv1d
    | Conv2d
    | Patches
    | Conv
    | Scan
    | Reduction
)


class Operation(SimpleNamespace):
    """A task, those of its rows that it is to do, and the name and layer of its time."""

    task: Task
    rows: Rows
    label: str
    layer: int


class Stage(SimpleNamespace):
    """Operations whose parts run back to back.

    Parameters
    ----------
    split : {"rows", "columns"}
        What the threads split.
    length : int
        Of that.
    rows, block : int
        A part takes its rows so many at a time. Where columns are split, those are all rows.
    prepared : int
        So many of the operations, the first, each thread does for itself before its first part.
    operations : tuple of Operation
    """

    split: Split
    length: int
    rows: int
    block: int
    prepared: int
    operations: tuple[Operation, ...]


class Program(SimpleNamespace):
    """A network's way from an input to what is asked for.

    Parameters
    ----------
    stages : tuple of Stage
    inputs : tuple of int
        Shape of an input.
    ids : int, optional
        How many there are, where the input is ids and not pixels.
    out : tuple of int
        Rows and channels of what is made of it.
    buffers : tuple of int
        Floats of each buffer of the workspace, beginning with `FIRST_BUFFER`.
    state : int
        Floats of what is carried from a pass to the next.
    scratch, private : int
        Floats that each thread has of its own: for what operations keep, and for arrays.
    labels : tuple of str
        Names of the operations, "wait" first.
    costs : dict of str to Cost
        Of all operations of a name.
    elements : int
        Tokens times channels of all scans: how much there is to split.
    """

    stages: tuple[Stage, ...]
    inputs: tuple[int, ...]
    ids: int | None
    out: tuple[int, int]
    buffers: tuple[int, ...]
    state: int
    scratch: int
    private: int
    labels: tuple[str, ...]
    costs: dict[str, Cost]
    elements: int
