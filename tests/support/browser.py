"""Chromium without a window, for the tests of the page; they skip where there is none."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

PATIENCE = 30  # seconds: other work may be going on beside the tests
CAMERA = 640, 480  # what the camera that is not there gives, width and height

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SWITCHES = (
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # which containers have little of
    "--no-first-run",
    # Whatever it would ask of others is not the page's.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=OptimizationHints,MediaRouter",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


class Browser:
    """A browser that looks at the page of a server.

    Parameters
    ----------
    driver : selenium.webdriver.Chrome
    """

    def __init__(self, driver: Any) -> None:
        from selenium.webdriver.common.keys import Keys

        self.driver, self.keys = driver, Keys
        self._requests: list[str] = []

    def open(self, url: str) -> None:
        """Open a page anew, and forget what was logged of others."""
        self.resize(1280, 900)
        self.driver.get("about:blank")
        self.console(), self.requests()
        self._requests.clear()
        self.driver.get(url)
        self.until(lambda: self("state").text != "connecting")

    def __call__(self, name: str) -> Any:
        """The element of this id."""
        return self.driver.find_element("id", name)

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def run(self, code: str, *arguments: object) -> Any:
        """What a function's body in JavaScript returns; it may await."""
        code = f"""
            const done = arguments[arguments.length - 1];
            (async () => {{ {code} }})().then(
                (value) => done([value]), (error) => done(`${{error}} ${{error.stack}}`));
        """
        found = self.driver.execute_async_script(code, *arguments)
        assert isinstance(found, list), found
        return found[0]

    def until(self, is_so: Callable[[], object]) -> None:
        """Wait for something to become true."""
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait

        ignored = [StaleElementReferenceException]
        WebDriverWait(self.driver, PATIENCE, 0.05, ignored).until(lambda _: is_so())

    def resize(self, width: int, height: int, dark: bool = False, phone: bool = False) -> None:
        """Take on a size in CSS pixels, a colour scheme, and fingers in place of a mouse."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.command("Emulation.setDeviceMetricsOverride", size)
        self.command("Emulation.setTouchEmulationEnabled", {"enabled": phone})
        self.command("Emulation.setEmulatedMedia", {"features": [scheme, still]})

    def command(self, name: str, parameters: dict[str, Any] | None = None) -> Any:
        """One of Chromium's own protocol."""
        return self.driver.execute_cdp_cmd(name, parameters or {})

    def console(self) -> list[str]:
        """What was logged since it was last asked for, but for mere hints."""
        entries = self.driver.get_log("browser")
        return [entry["message"] for entry in entries if entry["level"] != "DEBUG"]

    def requests(self) -> list[str]:
        """The addresses that were asked for since the page was opened."""
        messages = (
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        )
        self._requests += [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]
        return [*self._requests]


@contextlib.contextmanager
def browsing(camera: Path, *switches: str) -> Iterator[Browser]:
    """Start a browser whose camera shows a Y4M file over and over."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="it drives the browser")
    chromium = next(filter(None, map(shutil.which, _CHROMIUM)), None)
    chromedriver = shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("needs Chromium and its chromedriver, as of Debian's chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for switch in (*_SWITCHES, f"--use-file-for-fake-video-capture={camera}", *switches):
        options.add_argument(switch)
    if os.name == "posix" and os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # which root cannot have
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=chromedriver)
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.set_script_timeout(PATIENCE)
        driver.set_page_load_timeout(PATIENCE)
        yield Browser(driver)
    finally:
        driver.quit()


def write_camera(path: Path, picture: Path, frames: int = 10) -> Path:
    """A camera's film as Y4M: the same picture in grey, in the middle of every frame."""
    width, height = CAMERA
    grey = Image.open(picture).convert("L").resize((height, height), Image.Resampling.BICUBIC)
    light = np.zeros((height, width), np.uint8)
    begin = (width - height) // 2
    light[:, begin : begin + height] = np.asarray(grey)
    frame = b"FRAME\n" + light.tobytes() + bytes([128]) * (width * height // 2)
    head = f"YUV4MPEG2 W{width} H{height} F30:1 C420jpeg\n".encode()
    path.write_bytes(head + frames * frame)
    return path
