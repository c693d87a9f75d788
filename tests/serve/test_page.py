"""The page in a browser."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vimnp
from tests.support.browser import Browser, browsing, write_camera
from tests.support.digits import SCANS
from tests.support.served_process import Server, serving

pytest.importorskip("starlette", reason="needs the extra serve: starlette")
pytest.importorskip("uvicorn", reason="needs the extra serve: uvicorn")
pytest.importorskip("python_multipart", reason="needs the extra serve: python-multipart")
pytest.importorskip("selenium", reason="needs the extra browser: selenium")

ODD_NAME = "my/digits, größer #2?"
_PHONE = 360, 740


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    models = ("--model", "digits", "--model", "pydoc", "--model", f"{ODD_NAME}=digits")
    with serving(*models, "--max-tokens", 1 << 20) as found:
        yield found


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A camera in front of which somebody holds a 7."""
    return write_camera(tmp_path_factory.mktemp("camera") / "seven.y4m", SCANS[7])


@pytest.fixture(scope="module")
def started(film: Path) -> Iterator[Browser]:
    with browsing(film) as browser:
        yield browser


@pytest.fixture
def page(started: Browser, server: Server) -> Iterator[Browser]:
    """The page, which asks nobody else and has nothing to complain of."""
    started.open(server.url)
    yield started
    assert started.console() == []
    asked = started.requests()
    assert len(asked) >= 5
    own = (server.url, f"blob:{server.url}", "data:", "about:")
    assert [url for url in asked if not url.startswith(own)] == []


def choose(page: Browser, picture: Path) -> None:
    page("file").send_keys(str(picture))


def classes(page: Browser) -> list[tuple[str, str]]:
    """Labels and shares, as the list shows them."""
    texts = [each.text.splitlines() for each in page.all("#classes:not(.stale) button")]
    return [(label, share) for label, share in texts]


def best(page: Browser) -> str | None:
    return next((label for label, _ in classes(page)), None)


def map_of(page: Browser) -> np.ndarray:
    """The heat map's pixels, (448, 448, 3)."""
    encoded = page.run("return document.getElementById('map').toDataURL()").partition(",")[2]
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
        return np.asarray(image.convert("RGB"), np.int32)


# ---- Pictures -----------------------------------------------------------------------------------


def test_a_file_is_classified_as_the_network_does_it(page: Browser) -> None:
    choose(page, SCANS[3])
    page.until(lambda: classes(page))
    expected = vimnp.load("digits").predict(SCANS[3], top_k=5)
    assert classes(page) == [(each.label, f"{100 * each.score:.1f} %") for each in expected]
    page.until(lambda: page("said").get_property("textContent").startswith("3, "))


def test_what_speaks_for_a_class_is_red_where_the_network_says_so(page: Browser) -> None:
    choose(page, SCANS[3])
    page.until(lambda: page("map").is_displayed())
    assert_red_where_it_speaks(page, "3")
    other = next(each for each in page.all("#classes button") if each.text.startswith("5"))
    other.click()
    assert_red_where_it_speaks(page, "5")
    assert other.get_attribute("aria-pressed") == "true"
    other.click()
    assert_red_where_it_speaks(page, "3")


def assert_red_where_it_speaks(page: Browser, label: str) -> None:
    page.until(lambda: f" {label} " in page("why-text").text)
    assert page("map").get_attribute("aria-label") == page("why-text").text
    expected = vimnp.load("digits").explain(SCANS[3], label).map
    row, column = np.divmod(np.argmax(expected), 4)
    patch = map_of(page)[112 * row : 112 * (row + 1), 112 * column : 112 * (column + 1)]
    red, green, blue = patch.mean(axis=(0, 1))
    assert red > max(green, blue) + 30


def test_the_heat_map_can_be_switched_off(page: Browser) -> None:
    page("why").click()
    choose(page, SCANS[4])
    page.until(lambda: best(page) == "4")
    assert not page("map").is_displayed()
    assert not page.all("#classes button:enabled")
    page("why").click()
    page.until(lambda: page("map").is_displayed())


def test_another_network_looks_at_the_same_picture(page: Browser) -> None:
    choose(page, SCANS[3])
    page.until(lambda: page("map").is_displayed())
    page("model").send_keys("my")
    page.until(lambda: best(page) == "3" and page("map").is_displayed())
    assert page("model").get_property("value") == ODD_NAME
    asked = [url for url in page.requests() if "%232" in url]
    assert [url.partition("127.0.0.1:")[2].partition("/")[2] for url in asked] == [
        f"{kind}/my/digits%2C%20gr%C3%B6%C3%9Fer%20%232%3F" for kind in ("models", "explain")
    ]


def test_a_picture_is_dropped_and_pasted(page: Browser) -> None:
    give = """
        const bytes = Uint8Array.from(atob(arguments[1]), (c) => c.charCodeAt(0));
        const files = new DataTransfer();
        files.items.add(new File([bytes], "digit.png", { type: "image/png" }));
        const event = arguments[0] === "paste"
          ? new ClipboardEvent("paste", { clipboardData: files, bubbles: true })
          : new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true });
        document.getElementById("stage").dispatchEvent(event);
        return event.defaultPrevented;
    """
    for how, digit in ("drop", 6), ("paste", 0):
        data = base64.b64encode(SCANS[digit].read_bytes()).decode()
        prevented = page.driver.execute_script(give, how, data)
        assert prevented == (how == "drop")  # or the browser would leave the page for the picture
        page.until(lambda digit=digit: best(page) == str(digit))


def test_the_heat_map_lies_over_what_the_network_sees(page: Browser) -> None:
    """The picture is scaled to 256 pixels, and 224 of them are cut out."""
    seen = page.run(
        "return (await import('./heat_map.js')).seen([640, 480], [224, 224], 0.875)",
    )
    assert seen == [110, 30, 420, 420]


# ---- The camera ---------------------------------------------------------------------------------


def test_a_camera_is_watched(page: Browser) -> None:
    page("open-camera").click()
    page.until(lambda: best(page) == "7" and "frames a second" in page("rate").text)
    page.until(lambda: " 7 " in page("why-text").text and page("map").is_displayed())
    first = page("rate").text, page("time").text
    page.until(lambda: (page("rate").text, page("time").text) != first)
    video = page.run("return document.getElementById('video').srcObject.active")
    assert video
    page("open-camera").click()
    assert page("open-camera").text == "Open the camera"
    assert page.run("return document.getElementById('video').srcObject") is None
    assert not page("video").is_displayed()
    assert classes(page) == []


def test_a_file_takes_the_place_of_the_camera(page: Browser) -> None:
    page("open-camera").click()
    page.until(lambda: best(page) == "7")
    choose(page, SCANS[2])
    page.until(lambda: best(page) == "2" and page("map").is_displayed())
    assert page("shown").is_displayed()
    assert not page("video").is_displayed()
    assert page("open-camera").get_attribute("aria-pressed") == "false"


def test_frames_are_sent_as_large_as_the_network_needs(page: Browser) -> None:
    page("open-camera").click()
    page.until(lambda: best(page) == "7")
    size = page.run("""
        const { frame } = await import("./camera.js");
        const { width, height } = frame(document.getElementById("video"), 64);
        return [width, height];
    """)
    assert size == [85, 64]


def test_a_camera_goes_on_when_the_server_is_back(page: Browser) -> None:
    page("open-camera").click()
    page.until(lambda: best(page) == "7")
    page.run("""
        window.real = window.fetch;
        window.fetch = () => Promise.reject(new TypeError("no connection"));
    """)
    page.until(lambda: page("state").text == "not reachable")
    assert page("problem").text == "The server cannot be reached."
    page.run("window.fetch = window.real")
    page.until(lambda: page("state").text == "ready" and not page("problem").is_displayed())
    assert page("video").is_displayed()


# ---- Text ---------------------------------------------------------------------------------------


def test_a_text_is_written_as_the_network_writes_it(page: Browser) -> None:
    prompt = "Return the "
    page("prompt").send_keys(prompt)
    page.run("document.getElementById('temperature').value = 0")
    page.run("document.getElementById('tokens').value = 40")
    page("write").click()
    page.until(lambda: page("text-time").text.startswith("40 tokens"))
    page.until(lambda: not page("stop").is_enabled())
    written = page("ended").get_property("textContent")
    generated = vimnp.load("pydoc").generate(prompt, max_new_tokens=40, temperature=0)
    assert written == generated.text
    assert page("begun").get_property("textContent") == prompt
    assert page("text-said").get_property("textContent") == written


def test_a_text_is_stopped(page: Browser) -> None:
    page("prompt").send_keys("class ")
    page.run("""
        const tokens = document.getElementById("tokens");
        tokens.max = tokens.value = 1 << 20;
        document.getElementById("temperature").value = 0;
    """)
    page("prompt").send_keys(page.keys.CONTROL, page.keys.ENTER)
    page.until(lambda: len(page("ended").get_property("textContent")) > 10)
    page("stop").click()
    page.until(lambda: not page("stop").is_enabled())
    written = page("ended").get_property("textContent")
    assert page("text-said").get_property("textContent") == "Stopped."
    page.run("await new Promise((resolve) => setTimeout(resolve, 200))")
    assert page("ended").get_property("textContent") == written
    assert not page("text-problem").is_displayed()


# ---- Everybody can use it -----------------------------------------------------------------------

# Of every text that is seen: its contrast to what it stands on, by WCAG 2.2's formula.
_CONTRASTS = """
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
      .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (element) => {
      for (let e = element; e; e = e.parentElement) {
        const found = rgba(getComputedStyle(e).backgroundColor);
        if (found[3] > 127) return found;
      }
      return [255, 255, 255];
    };
    const found = [];
    for (const element of document.querySelectorAll("body *")) {
      const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
      if (!own && !["INPUT", "TEXTAREA", "SELECT"].includes(element.tagName)) continue;
      if (element.type === "checkbox") continue;  // it has no text
      const aside = ".unseen-label, noscript, .skip, :disabled";
      if (!element.checkVisibility() || element.closest(aside)) continue;
      const [a, b] = [light(rgba(getComputedStyle(element).color)), light(ground(element))];
      const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      found.push([contrast, element.outerHTML.slice(0, 80)]);
    }
    return found;
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_texts_can_be_read_in_light_and_dark(page: Browser, dark: bool) -> None:
    page.resize(1280, 900, dark=dark)
    choose(page, SCANS[3])
    page.until(lambda: page("map").is_displayed())
    page.run("""
        const hidden = "#key-form, .problem, #rate, #camera-note, #unseen";
        for (const element of document.querySelectorAll(hidden)) {
          element.hidden = false;
          if (!element.textContent) element.textContent = "Something to read.";
        }
    """)
    ground = page.run("return getComputedStyle(document.body).backgroundColor")
    lightness = sum(map(int, ground.removeprefix("rgb(").removesuffix(")").split(",")))
    assert (lightness < 200) == dark
    found = page.run(_CONTRASTS)
    assert len(found) > 25
    assert [each for each in found if each[0] < 4.5] == []


def test_nothing_is_too_wide_or_too_small_on_a_phone(page: Browser) -> None:
    page.resize(*_PHONE, phone=True)
    choose(page, SCANS[3])
    page.until(lambda: page("map").is_displayed())
    page.run("document.getElementById('key-form').hidden = false")
    width = page.run("return document.documentElement.scrollWidth")
    assert width <= _PHONE[0]
    for element in page.all("button, select, textarea, main input:not([type=checkbox]), .switch"):
        if element.is_displayed():
            assert element.rect["height"] >= 32
            assert element.rect["x"] >= 0
            assert element.rect["x"] + element.rect["width"] <= _PHONE[0]
    tops = [page(f"{name}-card").rect["y"] for name in ("picture", "classes", "why", "text")]
    assert tops == sorted(tops)


def test_keys_reach_everything_and_everything_has_a_name(page: Browser) -> None:
    choose(page, SCANS[3])
    page.until(lambda: page("map").is_displayed())
    reached = []
    body = page.all("body")[0]
    body.send_keys(page.keys.TAB)
    while (active := page.driver.switch_to.active_element) not in (body, *reached):
        reached.append(active)
        active.send_keys(page.keys.TAB)
    ids = [each.get_attribute("id") for each in reached]
    expected = ["model", "choose", "open-camera", "why", "text-model", "prompt", "tokens"]
    assert [each for each in ids if each in expected] == expected
    assert (
        sum(each.get_attribute("class") == "" and each.tag_name == "button" for each in reached) > 5
    )
    nodes = page.command("Accessibility.getFullAXTree")["nodes"]
    focusable = [
        node
        for node in nodes
        if not node["ignored"]
        and node["role"]["value"] != "RootWebArea"
        and any(p["name"] == "focusable" and p["value"]["value"] for p in node["properties"])
        and node["role"]["value"] != "main"
    ]
    assert len(focusable) >= len(reached) - 1
    assert [node for node in focusable if not node.get("name", {}).get("value")] == []


# ---- Safety, and what goes wrong ----------------------------------------------------------------


def test_the_content_security_policy_is_in_force(started: Browser, server: Server) -> None:
    started.open(server.url)
    blocked = started.run("""
        const found = [];
        addEventListener("securitypolicyviolation", (e) => found.push(e.effectiveDirective));
        const script = document.createElement("script");
        script.textContent = "window.wasRun = true";
        document.body.append(script);
        document.body.insertAdjacentHTML("beforeend", "<p style='color: red'>red</p>");
        await fetch("https://other.example/").catch(() => {});
        await new Promise((resolve) => setTimeout(resolve, 100));
        return [found.sort(), window.wasRun === true];
    """)
    assert blocked == [["connect-src", "script-src-elem", "style-src-attr"], False]


def test_a_file_that_is_no_picture_is_told_of(
    started: Browser, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "words.png").write_text("These are words.")
    started.open(server.url)
    choose(started, tmp_path / "words.png")
    started.until(lambda: started("problem").is_displayed())
    assert "picture" in started("problem").text
    assert started("stage").text.startswith("Drop a picture")
    choose(started, SCANS[3])
    started.until(lambda: best(started) == "3")
    assert not started("problem").is_displayed()


def test_what_only_the_network_can_read_is_classified_all_the_same(
    page: Browser, tmp_path: Path
) -> None:
    """No browser but Safari draws TIFF."""
    with Image.open(SCANS[6]) as image:
        image.save(tmp_path / "six.tiff")
    choose(page, tmp_path / "six.tiff")
    page.until(lambda: best(page) == "6" and page("map").is_displayed())
    assert page("unseen").is_displayed()
    assert not page("shown").is_displayed()


def test_a_busy_server_is_asked_again(page: Browser) -> None:
    page.run("""
        const real = window.fetch;
        let refused = 0;
        const busy = async () =>
          new Response("{}", { status: 503, headers: { "Retry-After": "0.1" } });
        window.fetch = (...request) => {
          refused += 1;
          return refused > 2 ? real(...request) : busy();
        };
    """)
    choose(page, SCANS[9])
    page.until(lambda: best(page) == "9")
    assert page("state").text == "ready"


def test_a_key_is_asked_for_and_a_server_that_ends_is_told_of(started: Browser) -> None:
    with serving("--api-key", "open sesame") as own:
        started.open(own.url)
        started.until(lambda: started("key-form").is_displayed())
        assert started("state").text == "locked"
        assert not started("picture-card").is_displayed()
        assert not started("problem").is_displayed()
        started("key").send_keys("wrong", started.keys.ENTER)
        started.until(lambda: started("problem").text == "This is not the server's key.")
        started("key").send_keys("open sesame", started.keys.ENTER)
        started.until(lambda: started("picture-card").is_displayed())
        assert not started("key-form").is_displayed()
        assert not started("text-card").is_displayed()
        choose(started, SCANS[8])
        started.until(lambda: best(started) == "8")
    choose(started, SCANS[1])
    started.until(lambda: started("state").text == "not reachable")
    assert started("problem").text == "The server cannot be reached."


def test_where_browsers_open_no_camera_the_page_says_why(film: Path) -> None:
    """Another name than localhost, without HTTPS."""
    rules = "--host-resolver-rules=MAP camera.test 127.0.0.1"
    with serving("--allow-host", "camera.test") as own, browsing(film, rules) as browser:
        browser.open(own.url.replace("127.0.0.1", "camera.test"))
        assert not browser("open-camera").is_displayed()
        assert "HTTPS" in browser("camera-note").text
        choose(browser, SCANS[5])
        browser.until(lambda: best(browser) == "5")
