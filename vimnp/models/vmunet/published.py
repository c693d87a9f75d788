"""The networks that JCruan519/VM-UNet trains, and their names."""

from __future__ import annotations

from vimnp.models.vmamba.published import name_among
from vimnp.models.vmunet.config import VMUNetConfig

PUBLISHED = {"vmunet": VMUNetConfig()}
"""That of its trainings, on ISIC 2017 and 2018 and on Synapse."""


def name_of(config: VMUNetConfig) -> str | None:
    """The published network that has these sizes; None if there is none."""
    return name_among(PUBLISHED, config)
