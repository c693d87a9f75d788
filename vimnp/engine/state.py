"""What a recurrent network carries from a token to the next: for each layer two small arrays."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from vimnp.errors import StateError
from vimnp.ops.kernels import aligned_empty, whole_lines


class StateSizes(NamedTuple):
    """What the size of a state follows from: a configuration's fields of these names."""

    n_layer: int
    d_conv: int
    d_inner: int
    d_state: int

    @classmethod
    def of(cls, config: Any) -> Self:
        """Those of a network with this configuration."""
        return cls(*(getattr(config, name) for name in cls._fields))

    @property
    def conv(self) -> tuple[int, int]:
        """Of a layer: the convolution's last inputs."""
        return self.d_conv - 1, self.d_inner

    @property
    def ssm(self) -> tuple[int, int]:
        """Of a layer: the states of its scan."""
        return self.d_state, self.d_inner


class Layout(NamedTuple):
    """Where the arrays of a sequence's state lie in its row of :attr:`State.memory`.

    Parameters
    ----------
    floats : int
        Length of the row.
    offsets : list of (int, int)
        For each layer, in floats from the row's beginning: of the convolution's inputs, and of the
        scan's states.
    """

    floats: int
    offsets: list[tuple[int, int]]


class State:
    """What a network knows of some sequences: all that it needs to go on from their ends.

    A model makes one (``model.new_state()``), reads it, and leaves in it what it knows after the
    last token that it was given. It can be copied, cut into rows and joined, and saved. It cannot
    be shortened: whoever wants to go back keeps a copy.

    Parameters
    ----------
    sizes : vimnp.engine.state.StateSizes
        Of the network.
    batch : int
        Sequences, a row each.
    digest : str
        Tells the weights that the state is for from all others.

    Attributes
    ----------
    memory : ndarray of float32, shape (batch, floats)
        C-contiguous, and begins at a cache line. :meth:`layout` says what lies where in a row;
        what lies between the arrays is zero.
    conv : tuple of ndarray, shape (batch, d_conv - 1, d_inner)
        Of each layer a view: the last inputs of the convolution, the newest last.
    ssm : tuple of ndarray, shape (batch, d_state, d_inner)
        Of each layer a view: the states of the scan.
    ids : list of list of int
        The tokens that each row has seen, to be read only.

    Examples
    --------
    >>> model = vimnp.load("pydoc", num_threads=1)
    >>> state = model.new_state(2)  # before the first token of two sequences
    >>> _ = model(np.zeros((2, 3), int), state=state)
    >>> state
    State(2 of 3, 3 tokens, 155648 bytes)
    >>> len(state[0]), len(vimnp.State.join([state, state[0]]))
    (1, 3)
    >>> size = state.save("state.npz")
    >>> np.array_equal(model.load_state("state.npz").memory, state.memory)
    True
    """

    def __init__(self, sizes: StateSizes, batch: int = 1, *, digest: str = "") -> None:
        memory = aligned_empty(batch, self.layout(sizes).floats)
        memory.fill(0)
        self._hold(sizes, digest, memory, [[] for _ in range(batch)])

    def _hold(
        self, sizes: StateSizes, digest: str, memory: np.ndarray, ids: list[list[int]]
    ) -> None:
        self.sizes, self.digest, self.memory, self.ids = sizes, digest, memory, ids
        offsets = self.layout(sizes).offsets
        self.conv = tuple(_part(memory, offset, sizes.conv) for offset, _ in offsets)
        self.ssm = tuple(_part(memory, offset, sizes.ssm) for _, offset in offsets)
        # Empty while a pass has the state, and after one that was interrupted. A list's pop and
        # append need no lock: of several threads, one gets what is in it.
        self._whole = [True]

    @staticmethod
    def layout(sizes: StateSizes) -> Layout:
        """Lay out the arrays of a row: each begins at a cache line.

        Parameters
        ----------
        sizes : vimnp.engine.state.StateSizes
            Of the network.

        Returns
        -------
        vimnp.engine.state.Layout
            The row's length, and where each layer's arrays begin, in floats.
        """
        conv, ssm = (whole_lines(rows * channels) for rows, channels in (sizes.conv, sizes.ssm))
        of_layer = conv + ssm
        offsets = [(layer * of_layer, layer * of_layer + conv) for layer in range(sizes.n_layer)]
        return Layout(sizes.n_layer * of_layer, offsets)

    @property
    def batch(self) -> int:
        """How many sequences it is of."""
        return len(self.memory)

    def __len__(self) -> int:
        return self.batch

    def __repr__(self) -> str:
        lengths = ", ".join(f"{len(row)}" for row in self.ids)
        broken = "" if self._whole else "; a pass was interrupted"
        return f"State({self.batch} of {lengths} tokens, {self.memory.nbytes} bytes{broken})"

    # ---- Copies ---------------------------------------------------------------------------------

    def copy(self) -> State:
        """Copy it, to go another way from here.

        Raises
        ------
        StateError
            If a pass with this one was interrupted.
        """
        return State.join([self])

    def __getitem__(self, row: int) -> State:
        """Copy one row, as a state of one sequence.

        Parameters
        ----------
        row : int
            From 0 on, or from -1 back.

        Raises
        ------
        IndexError
            If there is no such row.
        StateError
            If a pass with this one was interrupted.
        """
        self.check_whole()
        return self._of_rows(self.sizes, self.digest, [self.memory[row]], [self.ids[row]])

    @staticmethod
    def join(states: Sequence[State]) -> State:
        """Join the rows of several, one after the other, as a copy.

        Parameters
        ----------
        states : sequence of State
            One at least, of the same weights.

        Raises
        ------
        StateError
            If there are none, they are of different weights, or a pass with one was interrupted.
        """
        if not states:
            raise StateError("there are no states to join; expected one or more")
        first = states[0]
        for state in states:
            state.check_weights(first.sizes, first.digest)
            state.check_whole()
        rows = [row for state in states for row in state.memory]
        return State._of_rows(first.sizes, first.digest, rows, [i for s in states for i in s.ids])

    @classmethod
    def _of_rows(
        cls, sizes: StateSizes, digest: str, rows: list[np.ndarray], ids: list[list[int]]
    ) -> Self:
        state = cls.__new__(cls)
        memory = aligned_empty(len(rows), cls.layout(sizes).floats)
        for target, row in zip(memory, rows, strict=True):
            target[...] = row
        state._hold(sizes, digest, memory, [list(row) for row in ids])
        return state

    def __copy__(self) -> State:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> State:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        self.check_whole()
        return State._of_rows, (self.sizes, self.digest, list(self.memory), self.ids)

    # ---- In use ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def advance(self, ids: np.ndarray) -> Iterator[None]:
        """Give the state to a network, which within this takes it past some tokens.

        Whatever interrupts it leaves some layers before a token and others behind it: nobody can
        go on from there, so that the state is refused from then on. Meanwhile it is refused, too:
        one pass at a time has a state.

        Parameters
        ----------
        ids : ndarray of integers, shape (batch, length)
            The tokens.

        Raises
        ------
        StateError
            If a pass was interrupted, or has the state at the moment.
        """
        try:
            self._whole.pop()
        except IndexError:
            raise _interrupted() from None
        yield
        for seen, more in zip(self.ids, ids.tolist(), strict=True):
            seen.extend(more)
        self._whole.append(True)

    def check_whole(self) -> None:
        """Raise StateError if a pass was interrupted, or has the state at the moment."""
        if not self._whole:
            raise _interrupted()

    def check_weights(self, sizes: StateSizes, digest: str) -> None:
        """Raise StateError unless this is a state of these weights.

        Parameters
        ----------
        sizes : vimnp.engine.state.StateSizes
            Of their network.
        digest : str
            Tells them from all others.
        """
        if self.sizes != sizes:
            raise StateError(
                f"the state is of a network of {_sizes_in_words(self.sizes)}; expected one of "
                f"{_sizes_in_words(sizes)}: take a state that this model has made "
                "(model.new_state())"
            )
        if self.digest != digest:
            raise StateError(
                f"the state is of other weights ({self.digest[:12]}...); expected one of these "
                f"({digest[:12]}...): take a state that this model has made (model.new_state())"
            )

    # ---- Files ----------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> int:
        """Write a file that ``model.load_state(path)`` reads, whole or not at all.

        Parameters
        ----------
        path : path-like
            Usually of a name that ends in ``.npz``, which it is. An existing file is replaced.

        Returns
        -------
        int
            Size of the file in bytes.

        Raises
        ------
        StateError
            If a pass with this one was interrupted.
        OSError
            If the file cannot be written.
        """
        from vimnp.engine.state_file import Stored, write_state

        self.check_whole()
        conv, ssm = (np.stack(parts, axis=1) for parts in (self.conv, self.ssm))
        return write_state(path, Stored(self.digest, self.ids, conv, ssm))

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], sizes: StateSizes, *, digest: str, num_ids: int
    ) -> Self:
        """Read what :meth:`save` has written.

        Parameters
        ----------
        path : path-like
            The file.
        sizes : vimnp.engine.state.StateSizes
            Of the network that it is to be of.
        digest : str
            Of the weights that it is to be of.
        num_ids : int
            Tokens that there are: the ids are smaller.

        Raises
        ------
        StateError
            If the file is missing, damaged, hostile, or of other weights.
        """
        from vimnp.engine.state_file import read_state

        shapes = ((sizes.n_layer, *sizes.conv), (sizes.n_layer, *sizes.ssm))
        stored = read_state(path, shapes, digest=digest, num_ids=num_ids)
        state = cls(sizes, len(stored.ids), digest=digest)
        for views, read in ((state.conv, stored.conv), (state.ssm, stored.ssm)):
            for layer, view in enumerate(views):
                view[...] = read[:, layer]
        state.ids = stored.ids
        return state


def _interrupted() -> StateError:
    return StateError(
        "a pass with this state was interrupted, or is not over: it may be half before a token and "
        "half behind it; expected one that no pass has: take a copy that was made before "
        "(state.copy()), or give the ids to a new one (model.new_state())"
    )


def _part(memory: np.ndarray, offset: int, shape: tuple[int, int]) -> np.ndarray:
    """A view of an array of every row."""
    return memory[:, offset : offset + shape[0] * shape[1]].reshape(len(memory), *shape)


def _sizes_in_words(sizes: StateSizes) -> str:
    return ", ".join(f"{name} {size}" for name, size in zip(sizes._fields, sizes, strict=True))
