"""Vim-tiny in vimnp beside what else would classify a picture on the same CPU.

``python bench/peers`` measures and writes; ``command.py`` says how, ``networks.py`` what.
"""
