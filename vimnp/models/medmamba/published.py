"""The networks that YubiaoYue/MedMamba has published, and their names."""

from __future__ import annotations

from vimnp.models.medmamba.config import MedMambaConfig

PUBLISHED = {
    "medmamba-tiny": MedMambaConfig(),
    "medmamba-small": MedMambaConfig(depths=(2, 2, 8, 2)),
    "medmamba-base": MedMambaConfig(dims=(128, 256, 512, 1024), depths=(2, 2, 12, 2)),
}
"""By the names that the command knows them by. Their trainings differ in the classes."""


def name_of(config: MedMambaConfig) -> str | None:
    """The published network that has these sizes; None if there is none."""
    for name, published in PUBLISHED.items():
        same = ("dims", "depths", "d_inner", "dt_rank", "d_state", "channels")
        if all(getattr(config, field) == getattr(published, field) for field in same):
            return name
    return None
