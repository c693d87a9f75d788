"""The networks that JCruan519/VM-UNet trains, and their names."""

from __future__ import annotations

from vimnp.models.vmunet.config import VMUNetConfig

PUBLISHED = {"vmunet": VMUNetConfig()}
"""That of its trainings on ISIC 2017 and 2018, the encoder from VMamba-S's first blocks."""
