"""The language models that state-spaces/mamba has published."""

from vimnp.models.mamba.config import MambaConfig


def _published(d_model: int, n_layer: int) -> MambaConfig:
    """One of them: all have GPT-NeoX's vocabulary, whose id 0 ends a text, in rows of eights."""
    return MambaConfig(
        d_model=d_model, n_layer=n_layer, vocab_size=50277, padded_vocab_size=50280, eos_ids=(0,)
    )


MAMBA_130M = _published(768, 24)
MAMBA_370M = _published(1024, 48)
MAMBA_790M = _published(1536, 48)
MAMBA_1_4B = _published(2048, 48)
MAMBA_2_8B = _published(2560, 64)

PUBLISHED = {
    "mamba-130m": MAMBA_130M,
    "mamba-370m": MAMBA_370M,
    "mamba-790m": MAMBA_790M,
    "mamba-1.4b": MAMBA_1_4B,
    "mamba-2.8b": MAMBA_2_8B,
}
"""By the names that the command knows them by."""
