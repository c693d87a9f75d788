"""Mamba language models: their state dicts told from others, and their configuration inferred."""
