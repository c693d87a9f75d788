"""Sizes of the language models that can be compared; weights are random, whatever they are."""

from __future__ import annotations

from vimnp.models.mamba.config import MambaConfig

SIZES = {
    # state-spaces/mamba-130m
    "130m": MambaConfig(d_model=768, n_layer=24, vocab_size=50277, padded_vocab_size=50280),
    "tiny": MambaConfig(d_model=64, n_layer=2, vocab_size=269, padded_vocab_size=272),
}
"""By the names that ``--size`` takes. The smaller one shows that everything runs."""
