"""Whether a state dict is a Vision Mamba of the supported kind, by its names and shapes."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from vimnp.config import CHANNELS, VimConfig
from vimnp.convert.naming import listing, quoted
from vimnp.errors import CheckpointError

Shapes = Mapping[str, tuple[int, ...]]

# Names that give away an unsupported kind of Vision Mamba, and what that kind is.
_UNSUPPORTED = (
    (r"rope\.", "a network with rotary position embedding (if_rope), which is not supported yet"),
    (r"cls_token_(head|tail)$", "a network with two class tokens (use_double_cls_token)"),
    (r"layers\.[0-9]+\.mixer\.gamma$", "a network with layer scale (init_layer_scale)"),
)
_BACKWARD = ("layers.0.mixer.A_b_log", "layers.0.mixer.conv1d_b.weight")


def refuse_other_networks(shapes: Shapes) -> None:
    """Raise CheckpointError, naming what was seen, for anything but ``bimamba_type="v2"``."""
    if not any(re.match(r"layers\.[0-9]+\.mixer\.", name) for name in shapes):
        common = VimConfig(depth=1).parameter_shapes()  # a ViT has some of these as well
        telling = [name for name in shapes if name not in common]
        raise CheckpointError(
            f"no Vision Mamba: it has {listing(telling or shapes) or 'no tensor at all'}; "
            "expected names such as 'layers.0.mixer.in_proj.weight'"
        )
    for pattern, what in _UNSUPPORTED:
        seen = [name for name in shapes if re.match(pattern, name)]
        if seen:
            raise CheckpointError(f"{what}: it has {listing(seen)}; expected a network without")
    for name in _BACKWARD:
        if name not in shapes:
            raise CheckpointError(
                f"{quoted(name)} is missing, so its layers have no backward direction of their "
                "own; expected bimamba_type v2"
            )
    patches = shapes.get("patch_embed.proj.weight", ())
    if len(patches) == 4 and patches[1] != CHANNELS:
        raise CheckpointError(
            f"'patch_embed.proj.weight' takes {patches[1]} channels; expected {CHANNELS} (RGB)"
        )


def check_tensors(shapes: Shapes, config: VimConfig) -> None:
    """Raise CheckpointError unless the tensors are exactly those of the configuration."""
    expected = config.parameter_shapes()
    problems = [
        _problem("missing", expected.keys() - shapes.keys()),
        _problem("not part of a Vision Mamba", shapes.keys() - expected.keys()),
    ]
    if any(problems):
        raise CheckpointError(
            "its tensors are not those of a Vision Mamba of "
            f"{config.depth} layers: {'; '.join(filter(None, problems))}"
        )
    wrong = [name for name, shape in expected.items() if shapes[name] != shape]
    if wrong:
        raise CheckpointError(
            f"{len(wrong)} tensors have another shape than expected: {quoted(wrong[0])} has "
            f"{shapes[wrong[0]]}, expected {expected[wrong[0]]}"
        )


def _problem(what: str, names: Collection[str]) -> str:
    return f"{len(names)} {what} ({listing(sorted(names))})" if names else ""
