"""
Write a text, and go on from a saved state
==========================================

``pydoc`` is a small Mamba that comes with vimnp. It has read Python's documentation, byte by
byte, and knows its shape better than its sense.
"""

import tempfile
from pathlib import Path

import numpy as np

import vimnp

model = vimnp.load("pydoc")
print(model.generate("The with statement", max_new_tokens=120).text)

# %%
# With a temperature and a seed, the same text comes again on every run and for every number of
# threads.

print(model.generate("class Path", max_new_tokens=120, temperature=0.7, seed=1).text)

# %%
# What a prompt leaves behind is its state, of the same size whatever its length. It can be
# saved, and another process can go on from it.

prompt = model.tokenizer.encode("The for statement is used to iterate over")
state = model.new_state()
model(prompt, state=state, last_only=True)

file = Path(tempfile.mkdtemp()) / "prompt.state"
state.save(file)
print(f"{file.stat().st_size / 1024:.0f} KB after {len(prompt)} tokens")

# %%
# However a text is cut into calls, its logits have the same bits.

rest = model.tokenizer.encode(" the elements")
cut = model(rest, state=model.load_state(file))
whole = model([*prompt, *rest])
assert np.array_equal(cut, whole[len(prompt) :])
