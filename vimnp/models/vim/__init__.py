"""Vision Mamba (hustvl/Vim)."""
