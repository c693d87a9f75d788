"""The networks that YubiaoYue/MedMamba has published, and their names."""

from __future__ import annotations

from vimnp.models.medmamba.config import MedMambaConfig
from vimnp.models.vmamba.published import name_among

PUBLISHED = {
    "medmamba-tiny": MedMambaConfig(),
    "medmamba-small": MedMambaConfig(depths=(2, 2, 8, 2)),
    "medmamba-base": MedMambaConfig(dims=(128, 256, 512, 1024), depths=(2, 2, 12, 2)),
}
"""By the names that the command knows them by. Their trainings differ in the classes."""


def name_of(config: MedMambaConfig) -> str | None:
    """The published network that has these sizes; None if there is none."""
    return name_among(PUBLISHED, config)
