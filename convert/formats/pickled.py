"""The pickle inside a checkpoint, run on a machine of our own.

A pickle is a program for a stack machine. Python's machine with a strict ``find_class`` runs no
foreign code, but it still follows the program into a crash (the hash of a tuple that is nested a
million deep), an endless loop (the hash of a tuple of pairs of pairs of ...) or gigabytes of memory
(one memo index of 2^31). This one takes apart the bytes with ``pickletools`` and knows only
the instructions that ``torch.save`` writes: it imports nothing, sets no attribute, hashes only text
and numbers, and calls nothing but the functions in :data:`vimnp.convert.formats.tensors.ADMITTED`.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable, Container
from typing import Any

from vimnp.convert.formats.naming import quoted
from vimnp.convert.formats.tensors import ADMITTED, ADMITTED_AFTER, Discarded, load_storage
from vimnp.errors import CheckpointError, excerpt

SAVE_WEIGHTS = "save the weights alone: torch.save({'model': model.state_dict()}, ...)"

_MOST_INSTRUCTIONS = 1 << 18  # Vim-tiny's has 13 thousand, a training dump four times as many
_MOST_ARGUMENTS = 64  # a call copies them; a path has the most, one for each folder
# Numbers hash to themselves, so that larger ones can be chosen to collide, and a dict's time to be
# the square of its length. Optimizers count their tensors.
_LARGEST_KEY = 1 << 20


def load_pickle(code: bytes) -> object:
    """Run a checkpoint's pickle.

    Parameters
    ----------
    code : bytes
        The archive's ``data.pkl``.

    Returns
    -------
    object
        Dicts, lists, tuples, text, numbers, and in torch's place
        :class:`~vimnp.convert.formats.tensors.TensorRecord` and its like.

    Raises
    ------
    CheckpointError
        If the pickle is damaged, or uses a name or an instruction that is not admitted.
    """
    try:
        # Of a wrong escape in a text that is refused anyway
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            return _Machine().run(code)
    except CheckpointError:
        raise
    except Exception as error:  # damaged programs fail in many ways, in pickletools and here
        reason = excerpt(f"{type(error).__name__}: {error}")
        raise CheckpointError(f"its pickle is damaged ({reason}); fetch the file again") from None


def find_class(module: object, name: object, seen: Container[object] = ()) -> object:
    """Look up a global: one of ours, or a CheckpointError that names it in full.

    Parameters
    ----------
    module, name : object
        As the pickle has them.
    seen : container of tuple
        Those that were looked up before in the pickle, of which some have parts.
    """
    if not isinstance(module, str) or not isinstance(name, str):
        raise CheckpointError("its pickle asks for a global whose name is no text")
    for whole, parts in ADMITTED_AFTER.items():
        if whole in seen and (module, name) in parts:
            return parts[module, name]
    if (module, name) not in ADMITTED:
        raise CheckpointError(
            f"its pickle asks for {quoted(f'{module}.{name}')}, which is not admitted, expected "
            f"only tensors and plain values; {SAVE_WEIGHTS}"
        )
    return ADMITTED[module, name]


class _Machine:
    """The stack, the stacks below the marks, and the memo."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._seen: set[tuple[str, str]] = set()

    def run(self, code: bytes) -> object:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(code)):
            if count == _MOST_INSTRUCTIONS:  # each may make an object of a hundred bytes
                raise CheckpointError(
                    f"its pickle has more than {_MOST_INSTRUCTIONS} instructions; {SAVE_WEIGHTS}"
                )
            name = opcode.name
            if name in _PUSH_ARGUMENT:
                self._stack.append(argument)
            elif name in _PUSH_NEW:
                self._stack.append(_PUSH_NEW[name]())
            elif name in _STEPS:
                _STEPS[name](self, argument)
            elif name not in _NOTHING_TO_DO:
                raise CheckpointError(
                    f"its pickle uses the instruction {name}, which torch.save does not write; "
                    f"{SAVE_WEIGHTS}"
                )
        return self._stack.pop()

    def mark(self, _: object) -> None:
        self._below.append(self._stack)
        self._stack = []

    def put(self, index: int | None) -> None:
        self._memo[len(self._memo) if index is None else index] = self._stack[-1]

    def get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def make_tuple(self, _: object) -> None:
        items = self._pop_mark()
        self._stack.append(tuple(items))

    def make_tuple_1(self, _: object) -> None:
        self._stack[-1:] = [(self._stack[-1],)]

    def make_tuple_2(self, _: object) -> None:
        self._stack[-2:] = [(self._stack[-2], self._stack[-1])]

    def make_tuple_3(self, _: object) -> None:
        self._stack[-3:] = [(self._stack[-3], self._stack[-2], self._stack[-1])]

    def append(self, _: object) -> None:
        item = self._stack.pop()
        self._extend([item])

    def append_all(self, _: object) -> None:
        self._extend(self._pop_mark())

    def set_item(self, _: object) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._update([key, value])

    def set_items(self, _: object) -> None:
        self._update(self._pop_mark())

    def get_global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._push_global(module, name)

    def get_global_from_stack(self, _: object) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._push_global(module, name)

    def _push_global(self, module: Any, name: Any) -> None:
        self._stack.append(find_class(module, name, self._seen))
        self._seen.add((module, name))

    def load_persistent(self, _: object) -> None:
        self._stack.append(load_storage(self._stack.pop()))

    def call(self, _: object) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        # Of all that can lie on the stack only the functions in ADMITTED are callable.
        if type(arguments) is not tuple or not callable(function):
            raise CheckpointError(
                f"its pickle calls {quoted(function)}; expected one of the admitted functions"
            )
        if len(arguments) > _MOST_ARGUMENTS:
            raise CheckpointError(
                f"its pickle has a function that is called with {len(arguments)} values; expected "
                f"at most {_MOST_ARGUMENTS}"
            )
        self._stack.append(function(*arguments))

    def build(self, _: object) -> None:
        """Drop the state that the program would give to an object; no weight depends on it."""
        self._stack.pop()
        if not isinstance(self._stack[-1], dict | Discarded):
            raise CheckpointError(f"its pickle sets attributes of {quoted(self._stack[-1])}")

    def _pop_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._below.pop()
        return items

    def _extend(self, items: list[Any]) -> None:
        if type(self._stack[-1]) is not list:
            raise CheckpointError(f"its pickle appends to {quoted(self._stack[-1])}")
        self._stack[-1].extend(items)

    def _update(self, items: list[Any]) -> None:
        """Add items to the dict on the stack: key, value, key, value, ..."""
        target = self._stack[-1]
        if type(target) is not dict:
            raise CheckpointError(f"its pickle sets an item of {quoted(target)}; expected a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not str and not (type(key) is int and abs(key) <= _LARGEST_KEY):
                raise CheckpointError(
                    f"a dict's key is {quoted(key)}; expected text, or a number up to "
                    f"{_LARGEST_KEY}; {SAVE_WEIGHTS}"
                )
            target[key] = value


_NOTHING_TO_DO = {"PROTO", "FRAME", "STOP"}

_PUSH_ARGUMENT = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES"),
}

_PUSH_NEW: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}

_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.put,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "TUPLE": _Machine.make_tuple,
    "TUPLE1": _Machine.make_tuple_1,
    "TUPLE2": _Machine.make_tuple_2,
    "TUPLE3": _Machine.make_tuple_3,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.append_all,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "GLOBAL": _Machine.get_global,
    "STACK_GLOBAL": _Machine.get_global_from_stack,
    "BINPERSID": _Machine.load_persistent,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "BUILD": _Machine.build,
}
