"""Importing this finds ``tests.support``, which benchmarks share with the tests.

A benchmark that is run as a script sees its own folder only. No test uses a benchmark.
"""

from __future__ import annotations

import sys
from pathlib import Path

# The last place to look in, so that an installed vimnp comes before the one that lies there.
sys.path.append(str(Path(__file__).parents[1]))
