"""JPEG files, opened for their pixels alone."""

from __future__ import annotations

from PIL import JpegImagePlugin


class JpegFile(JpegImagePlugin.JpegImageFile):
    """A JPEG file's picture; of several, as MPO files hold them, the first."""

    def _read_dpi_from_exif(self) -> None:
        """Nothing here needs the resolution, and pillow would warn of damaged EXIF data."""
