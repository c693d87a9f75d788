"""JSON that anybody may have written: parsed only if it is not nested too deeply.

CPython's parser calls itself for every bracket. On a thread with a small stack that ends the
process before a RecursionError could: so the brackets are counted first.
"""

from __future__ import annotations

import json
import re
from typing import Any

DEEPEST = 64  # what vimnp writes and reads is nested less than ten deep

# A whole string, in which brackets count for nothing, or a bracket. A string that does not end
# reaches to the end of the text, so that each character is looked at once.
_TOKEN = re.compile(r'"[^"\\]*(?:\\.?[^"\\]*)*"?|[\[{]|[\]}]', re.DOTALL)


def parse_json(text: str | bytes, **options: Any) -> Any:
    """``json.loads`` of text that need not be trusted.

    Parameters
    ----------
    text : str or bytes
        Bytes are UTF-8.
    **options
        Passed on to ``json.loads``.

    Raises
    ------
    ValueError
        If it is not JSON, not UTF-8, or nested more than :data:`DEEPEST` deep.
    """
    if isinstance(text, bytes):
        text = text.decode()
    depth = 0
    for token in _TOKEN.finditer(text):
        if token[0] in "[{":
            depth += 1
            if depth > DEEPEST:
                raise ValueError(f"nested more than {DEEPEST} deep")
        elif token[0] in "]}":
            depth -= 1
    return json.loads(text, **options)
