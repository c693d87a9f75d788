"""Files that are none: a device without an end, and a pipe that nobody writes to."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

IRREGULAR = {"device": "a device", "pipe": "a pipe", "folder": "a folder"}


@pytest.fixture(params=IRREGULAR)
def irregular(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """Such a file, or a folder, and what is to be said of it."""
    if sys.platform == "win32" and request.param != "folder":
        pytest.skip("Windows has no such files")
    path = tmp_path / request.param
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    return path, f"{re.escape(str(path))}: .*{IRREGULAR[request.param]}; expected a regular file"
