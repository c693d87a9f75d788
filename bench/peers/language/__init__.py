"""Mamba language models in vimnp beside what else would run them on the same CPU.

``python bench/peers/language`` measures and writes; ``command.py`` says how, ``networks.py`` what.
"""
