"""Stride and size of the picture, of which the weights tell only the number of patches."""

from __future__ import annotations

import math

from vimnp.errors import CheckpointError

_LARGEST_STRIDE = 1024
_USUAL_SIDE = 224
# (patch_size, patches) -> (stride, side) where the simplest reading would be wrong:
# vim_t_midclstok_ft_78p3acc.pth and vim_s_midclstok_ft_81p6acc.pth.
_PUBLISHED = {(16, 729): (8, 224)}


def infer_geometry(
    patch_size: int,
    patches: int | None,
    stride: int | None,
    img_size: tuple[int, int] | None,
) -> tuple[int, tuple[int, int]]:
    """Find what is not given of stride and picture size.

    Parameters
    ----------
    patch_size : int
        From the weights, 1 or more.
    patches : int, optional
        Number of patches, from the position embedding; None if there is none.
    stride, img_size : optional
        As the user gives them, if so.

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
            stride, side = _PUBLISHED[patch_size, patches]
        else:
            stride = stride or patch_size
            side = patch_size + (_square_grid(patches) - 1) * stride
        return stride, (side, side)
    if stride is None:
        stride = _find_stride(patch_size, patches, img_size)
    found = _count_patches(patch_size, stride, img_size)
    if found != patches:
        raise CheckpointError(
            f"img_size={img_size[0]}x{img_size[1]} and stride={stride} give {found} patches of "
            f"{patch_size}x{patch_size} pixels, but 'pos_embed' is made for {patches}"
        )
    return stride, img_size


def _count_patches(patch_size: int, stride: int, img_size: tuple[int, int]) -> int:
    return math.prod(max(0, (side - patch_size) // stride + 1) for side in img_size)


def _square_grid(patches: int) -> int:
    rows = math.isqrt(patches)
    if rows * rows != patches:
        raise CheckpointError(
            f"'pos_embed' is made for {patches} patches, which fill no square picture; "
            "say its size with --set img_size=HxW"
        )
    return rows


def _find_stride(patch_size: int, patches: int, img_size: tuple[int, int]) -> int:
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
            f"{found} the {patches} patches of {patch_size}x{patch_size} pixels that 'pos_embed' "
            f"is made for at img_size={img_size[0]}x{img_size[1]}; "
            "say both, with --set img_size=HxW and --set stride=N"
        )
    return best[0]
