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
    patch_size: int | tuple[int, int],
    patches: int | None,
    stride: int | None,
    img_size: tuple[int, int] | None,
    telling: str = "pos_embed",
) -> tuple[int, tuple[int, int]]:
    """Find what is not given of stride and picture size.

    Parameters
    ----------
    patch_size : int or (height, width)
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
    patch = patch_size if isinstance(patch_size, tuple) else (patch_size, patch_size)
    if stride is not None and not 1 <= stride <= _LARGEST_STRIDE:
        raise CheckpointError(f"stride is {stride}; expected a number from 1 to {_LARGEST_STRIDE}")
    if patches is None:
        return stride or min(patch), img_size or (_USUAL_SIDE, _USUAL_SIDE)
    if img_size is None:
        if stride is None and (patch_size, patches) in _PUBLISHED:
            return _PUBLISHED[patch_size, patches]
        stride = stride or min(patch)
        side = _find_square(patch, patches, stride, telling)
        return stride, (side, side)
    if stride is None:
        stride = _find_stride(patch, patches, img_size, telling)
    found = _count_patches(patch, stride, img_size)
    if found != patches:
        raise CheckpointError(
            f"img_size={img_size[0]}x{img_size[1]} and stride={stride} give {found} patches of "
            f"{patch[0]}x{patch[1]} pixels, but {quoted(telling)} is made for {patches}; "
            "say others with --set img_size=HxW and --set stride=N"
        )
    return stride, img_size


def _count_patches(patch: tuple[int, int], stride: int, img_size: tuple[int, int]) -> int:
    return math.prod(
        max(0, (side - length) // stride + 1) for side, length in zip(img_size, patch, strict=True)
    )


def _find_square(patch: tuple[int, int], patches: int, stride: int, telling: str) -> int:
    """Side of the square picture with so many patches, which leave no margin one way or both."""
    shorter, longer = sorted(patch)
    apart = longer - shorter
    for side, more in ((longer, apart // stride), (shorter, -(-apart // stride))):
        # The longer side fits into it `few` times, and the shorter one `more` times more.
        few = (math.isqrt(more * more + 4 * patches) - more) // 2
        if few * (few + more) == patches:
            fitting = few if side == longer else few + more
            return side + (fitting - 1) * stride
    raise CheckpointError(
        f"{quoted(telling)} is made for {patches} patches, which fill no square picture; "
        "say its size with --set img_size=HxW"
    )


def _find_stride(
    patch: tuple[int, int], patches: int, img_size: tuple[int, int], telling: str
) -> int:
    """The stride that gives the number of patches: their shorter side if it does, or what fits.

    Larger ones than the longer side would skip pixels, which no network does. Several can give the
    same number where they leave a margin; then the one without a margin is meant.
    """
    strides = range(1, max(patch) + 1)
    fitting = [s for s in strides if _count_patches(patch, s, img_size) == patches]
    if min(patch) in fitting:
        return min(patch)
    exact = [
        s
        for s in fitting
        if all((side - length) % s == 0 for side, length in zip(img_size, patch, strict=True))
    ]
    best = exact if len(exact) == 1 else fitting
    if len(best) != 1:
        found = f"every stride from {best[0]} to {best[-1]} gives" if best else "no stride gives"
        raise CheckpointError(
            f"{found} the {patches} patches of {patch[0]}x{patch[1]} pixels that "
            f"{quoted(telling)} is made for at img_size={img_size[0]}x{img_size[1]}; "
            "say both, with --set img_size=HxW and --set stride=N"
        )
    return best[0]
