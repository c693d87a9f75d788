"""``python bench/peers/int8``, from any folder."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[2])  # bench: this package, and what all benchmarks share

from peers.int8.command import main  # noqa: E402  (from there)

sys.exit(main())
