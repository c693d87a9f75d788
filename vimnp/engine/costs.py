"""What an operation has to compute and to move: arithmetic, exponentials and bytes.

Counted from the operations' definitions:

- A floating-point operation is an addition, a multiplication (so a multiply-add is two) or a
  division.
- Exponentials, logarithms and square roots are counted apart: each takes as long as ten or so.
- Bytes are those of arrays which an operation reads or writes, each once: float32, but for matrices
  that are stored small. What stays in a cache never comes from memory, so that bytes a second may
  exceed what memory gives.
"""

from __future__ import annotations

from typing import NamedTuple

_FLOAT = 4  # bytes


class Cost(NamedTuple):
    """What an operation computes and moves, or several together.

    Parameters
    ----------
    flops : int
        Additions, multiplications and divisions.
    exponentials : int
        And logarithms and square roots.
    bytes : int
        Read and written.
    """

    flops: int = 0
    exponentials: int = 0
    bytes: int = 0

    def plus(self, other: Cost) -> Cost:
        """Sum this cost and another.

        Parameters
        ----------
        other : Cost
            Of another operation.
        """
        return Cost(
            self.flops + other.flops,
            self.exponentials + other.exponentials,
            self.bytes + other.bytes,
        )

    def times(self, number: int) -> Cost:
        """Count the same operation several times.

        Parameters
        ----------
        number : int
            How often, from 0 up.
        """
        return Cost(*(number * part for part in self))


def moved(floats: int) -> Cost:
    """So many numbers read or written."""
    return Cost(bytes=_FLOAT * floats)


def product(rows: int, inputs: int, outputs: int, bits: float = 8 * _FLOAT) -> Cost:
    """Arithmetic, and the matrix read, of so many bits a weight."""
    return Cost(2 * rows * inputs * outputs, 0, int(inputs * outputs * bits / 8))


def addition(floats: int) -> Cost:
    """Of what is read beside: the sum, and the other summand read."""
    return Cost(floats, 0, _FLOAT * floats)


def conv1d(results: int, taps: int, silu: bool) -> Cost:
    """The taps' products and the bias, then SiLU."""
    return Cost((2 * taps + 3 * silu) * results, results * silu, 0)


def conv2d(results: int, taps: int, silu: bool) -> Cost:
    """As of one dimension: taps outside the grid count, too."""
    return conv1d(results, taps, silu)


def gelu(floats: int) -> Cost:
    """``x / 2 * (1 + erf(x / sqrt(2)))``: erf counts as an exponential."""
    return Cost(4 * floats, floats, 0)


def norm(rows: int, channels: int, *, is_layer_norm: bool, adds: bool) -> Cost:
    """RMSNorm: square, sum, scale and weight. LayerNorm: mean, difference and bias, too."""
    flops = (7 if is_layer_norm else 4) + adds
    return Cost(flops * rows * channels, rows, 0)


def scan(steps: int, d_state: int) -> Cost:
    """For each state delta A, its exponential, h and y; softplus and D u beside.

    Softplus has an exponential and a logarithm.
    """
    return Cost(6 * steps * d_state + 6 * steps, steps * d_state + 2 * steps, 0)


def gate(floats: int) -> Cost:
    """silu(z), and the product with it."""
    return Cost(4 * floats, floats, 0)


def rotation(floats: int) -> Cost:
    """Two products and their sum; cosine and sine are read."""
    return Cost(3 * floats, 0, _FLOAT * 2 * floats)


def quantisation(floats: int) -> Cost:
    """A product with the row's factor, which is then rounded."""
    return Cost(floats)
