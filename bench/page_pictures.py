"""Pictures of the page that `vimnp serve` has, for the docs: in light, and on a phone in the dark.

    python bench/page_pictures.py [--folder docs/images]

The bundled networks are looked at, with the digits that lie in the repository. Needs Chromium, its
driver and selenium, and what `vimnp serve` needs.
"""

from __future__ import annotations

import argparse
import base64
import io
import tempfile
from pathlib import Path

import checkout  # noqa: F401  (finds tests.support)
from PIL import Image

from tests.support.browser import Browser, browsing, write_camera
from tests.support.digits import SCANS
from tests.support.served_process import serving

_IMAGES = Path(__file__).parents[1] / "docs" / "images"
_DESK, _PHONE = (1100, 1000), (390, 1250)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=_IMAGES)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as rest,
        serving("--model", "digits", "--model", "pydoc") as server,
        browsing(write_camera(Path(rest) / "film.y4m", SCANS[2])) as browser,
    ):
        browser.open(server.url)
        browser.resize(*_DESK)
        show_picture(browser)
        write_text(browser)
        take(browser, folder / "page.png")
        browser.resize(*_PHONE, dark=True, phone=True)
        browser("open-camera").click()
        browser.until(lambda: "frames" in browser("rate").text and browser("map").is_displayed())
        take(browser, folder / "page_phone.png", height=_PHONE[1])


def show_picture(browser: Browser) -> None:
    browser("file").send_keys(str(SCANS[3]))
    browser.until(lambda: browser("map").is_displayed())


def write_text(browser: Browser) -> None:
    browser("prompt").send_keys("Return the ")
    browser.run("document.getElementById('temperature').value = 0")
    browser("write").click()
    browser.until(lambda: browser("text-time").text.startswith("128"))
    browser.run("document.activeElement.blur()")


def take(browser: Browser, path: Path, height: int | None = None) -> None:
    """Write the whole page, or its upper part."""
    browser.command("Emulation.setScrollbarsHidden", {"hidden": True})
    browser.run("scrollTo(0, 0)")
    width, whole = browser.run("return [innerWidth, document.documentElement.scrollHeight]")
    clip = {"x": 0, "y": 0, "width": width, "height": height or whole, "scale": 1}
    asked = {"captureBeyondViewport": True, "clip": clip}
    taken = base64.b64decode(browser.command("Page.captureScreenshot", asked)["data"])
    with Image.open(io.BytesIO(taken)) as image:
        # A page has few colours: the file is a third as large.
        few = image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2)
        few.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
