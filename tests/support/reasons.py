"""What the system says of a path that leads nowhere: Windows has words of its own."""

from __future__ import annotations

import ctypes
import errno
import os
import sys

if sys.platform == "win32":
    # Python leaves out the full stop that a sentence of the system's may end in.
    NO_FILE, NO_FOLDER = (ctypes.FormatError(code).rstrip(".") for code in (2, 3))
else:
    NO_FILE = NO_FOLDER = os.strerror(errno.ENOENT)
