"""``python -m vimnp``."""

import sys

from vimnp.cli import main

sys.exit(main())
