"""VMamba in vimnp beside what else would run it, or a network as good, on the same CPU.

``python bench/peers/vmamba`` measures and writes; ``command.py`` says how, ``networks.py`` what.
"""
