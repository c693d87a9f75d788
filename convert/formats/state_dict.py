"""Where the weights stand in what a checkpoint holds."""

from __future__ import annotations

import os
import re
from typing import TypeVar

from vimnp.convert.formats.naming import listing, quoted
from vimnp.convert.formats.tensors import TensorRecord
from vimnp.errors import CheckpointError

Tensor = TypeVar("Tensor")

# As the training scripts of DeiT, of timm and of VM-UNet write.
_WEIGHTS = ("model", "state_dict", "model_state_dict")
_AVERAGED = ("model_ema", "state_dict_ema")
# What stands before every name where a model was saved inside of what runs it.
_WRAPPERS = re.compile(r"(?:module\.|_orig_mod\.)*")  # DistributedDataParallel, torch.compile


def find_state_dict(content: object, use_ema: bool) -> dict[str, TensorRecord]:
    """Pick the state dict out of a checkpoint's content.

    Parameters
    ----------
    content : object
        What :func:`vimnp.convert.formats.pickled.load_pickle` returned.
    use_ema : bool
        Take the exponential moving average of the weights, not the weights themselves.

    Returns
    -------
    dict of str to TensorRecord
        By the names of a single process's model.

    Raises
    ------
    CheckpointError
        If there is no such state dict, or it holds something else than tensors.
    """
    if not isinstance(content, dict):
        raise CheckpointError(f"it holds {quoted(content)}; expected a dict of weights")
    for name in _AVERAGED if use_ema else _WEIGHTS:
        if isinstance(content.get(name), dict):
            return _only_tensors(content[name])
    if use_ema:
        raise CheckpointError(
            f"it holds {listing(content) or 'nothing'}; expected 'model_ema' for the averaged "
            "weights: convert it without them"
        )
    if not any(isinstance(value, TensorRecord) for value in content.values()):
        raise CheckpointError(
            f"it holds {listing(content) or 'nothing'}; expected the weights, either under "
            "'model', 'state_dict' or 'model_state_dict' or directly"
        )
    return _only_tensors(content)


def find_training(content: object) -> dict[object, object]:
    """The training's configuration, where a checkpoint has one beside the weights; or nothing."""
    found = content.get("config") if isinstance(content, dict) else None
    return found if isinstance(found, dict) else {}


def _only_tensors(weights: dict[object, object]) -> dict[str, TensorRecord]:
    tensors = {}
    for name, value in weights.items():
        if not isinstance(name, str) or not isinstance(value, TensorRecord):
            raise CheckpointError(
                f"among its weights {quoted(name)} is {quoted(value)}; expected a tensor"
            )
        tensors[name] = value
    return without_wrappers(tensors)


def without_wrappers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name tensors as the model itself does, where all come from a parallel or compiled one."""
    common = os.path.commonprefix(list(tensors))  # noqa: RUF071  letter by letter is right here
    match = _WRAPPERS.match(common)
    wrappers = match[0] if match else ""
    return {name.removeprefix(wrappers): value for name, value in tensors.items()}
