"""Symbolic links, which Windows lets few users make."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest


def _can_be_made() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, "link")
        try:
            link.symlink_to("target")
        except OSError:
            return False
        return link.is_symlink()  # wine says that it has made one, and has not


needs_links = pytest.mark.skipif(not _can_be_made(), reason="this user can make no symbolic links")
