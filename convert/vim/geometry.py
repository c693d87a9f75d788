"""Stride and size of the picture, of which the weights tell only the number of patches."""

from __future__ import annotations

import math

from vimnp.convert.formats.naming import quoted
from vimnp.errors import CheckpointError
from vimnp.models.vim.published import PUBLISHED

_LARGEST_STRIDE = 1024
_USUAL_SIDE = 224
# (patch_size, patches) -> (stride, img_size). The simplest reading of 729 patches of 16x16 would be
# a stride of 16; but fine-tuned networks begin as published ones, where it is 8.
_PUBLISHED = {
    (network.patch_size, network.num_patches): (network.stride, network.img_size)
    for network in PUBLISHED.values()
}


def infer_geometry(
    patch_size: int,
    patches: int | None,
    stride: int | None,
    img_size: tuple[int, int] | None,
    telling: str = "pos_embed",
) -> tuple[int, tuple[int, int]]:
    """Find what is not given of stride and picture size.

    Parameters
    ----------
    patch_size : int
        From the weights, 1 or more.
    patches : int, optional
        Number of patches that the weights are made for; None if they do not tell.
    stride, img_size : optional
        As the user gives them, if so.
    telling : str
        The tensor that tells the number of patches, for messages.

    Returns
    -------
    stride : int
    img_size : (height, width)

    Raises
    ------
    CheckpointError
        If they do not go together, or the number of patches allows no or more than one answer.
    """
    if stride is not None and not 1 <= stride <= _LARGEST_STRIDE:
        raise CheckpointError(f"stride is {stride}; expected a number from 1 to {_LARGEST_STRIDE}")
    if patches is None:
        return stride or patch_size, img_size or (_USUAL_SIDE, _USUAL_SIDE)
    if img_size is None:
        if stride is None and (patch_size, patches) in _PUBLISHED:
            return _PUBLISHED[patch_size, patches]
        stride = stride or patch_size
        side = patch_size + (_square_grid(patches, telling) - 1) * stride
        return stride, (side, side)
    if stride is None:
        stride = _find_stride(patch_size, patches, img_size, telling)
    found = _count_patches(patch_size, stride, img_size)
    if found != patches:
        raise CheckpointError(
            f"img_size={img_size[0]}x{img_size[1]} and stride={stride} give {found} patches of "
            f"{patch_size}x{patch_size} pixels, but {quoted(telling)} is made for {patches}; "
            "say others with --set img_size=HxW and --set stride=N"
        )
    return stride, img_size


def _count_patches(patch_size: int, stride: int, img_size: tuple[int, int]) -> int:
    return math.prod(max(0, (side - patch_size) // stride + 1) for side in img_size)


def _square_grid(patches: int, telling: str) -> int:
    rows = math.isqrt(patches)
    if rows * rows != patches:
        raise CheckpointError(
            f"{quoted(telling)} is made for {patches} patches, which fill no square picture; "
            "say its size with --set img_size=HxW"
        )
    return rows


def _find_stride(patch_size: int, patches: int, img_size: tuple[int, int], telling: str) -> int:
    """The stride that gives the number of patches: patch_size if it does, else the one that fits.

    Larger ones would skip pixels, which no network does. Several can give the same number where
    they leave a margin; then the one without a margin is meant.
    """
    strides = range(1, patch_size + 1)
    fitting = [s for s in strides if _count_patches(patch_size, s, img_size) == patches]
    if patch_size in fitting:
        return patch_size
    exact = [s for s in fitting if all((side - patch_size) % s == 0 for side in img_size)]
    best = exact if len(exact) == 1 else fitting
    if len(best) != 1:
        found = f"every stride from {best[0]} to {best[-1]} gives" if best else "no stride gives"
        raise CheckpointError(
            f"{found} the {patches} patches of {patch_size}x{patch_size} pixels that "
            f"{quoted(telling)} is made for at img_size={img_size[0]}x{img_size[1]}; "
            "say both, with --set img_size=HxW and --set stride=N"
        )
    return best[0]
