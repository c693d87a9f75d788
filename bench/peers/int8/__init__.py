"""Vim-tiny in int8 beside itself in float32, and beside DeiT-tiny in both, on the same CPU.

``python bench/peers/int8`` measures and writes; ``command.py`` says how, ``networks.py`` what.
"""
