"""What the system says of a path that leads nowhere: Windows has words of its own."""

from __future__ import annotations

import ctypes
import errno
import os
import sys

if sys.platform == "win32":
    NO_FILE, NO_FOLDER = ctypes.FormatError(2), ctypes.FormatError(3)
else:
    NO_FILE = NO_FOLDER = os.strerror(errno.ENOENT)
