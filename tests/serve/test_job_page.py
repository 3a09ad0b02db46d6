"""The page of the job server in a real browser: from two files to a video that plays, with a `kill -9` between."""

import re
import time

import pytest

pytest.importorskip("fastapi", reason="tests of the job server need the extra `serve`")

from test_serve_command import posegen_serve

from posegen.config import GenerateConfig, ServeConfig
from posegen.generate.long_video import generate_video
from posegen.serve.client import Client
from posegen.serve.job_fields import job_fields
from posegen.serve.job_page import BASIC, grouped_fields, page_settings

SMALL = {"size": "96x64", "steps": "12", "dtype": "float32"}


def test_every_field_is_on_the_page_once():
    shown = ["reference", "driving_video", *BASIC, *(name for _, names in grouped_fields() for name in names)]
    assert sorted(shown) == sorted(job_fields())
    assert set(page_settings(ServeConfig())["fields"]) == set(job_fields())


def contrast(one, other):
    """Contrast of two colours `rgb(r, g, b)` after WCAG 2."""

    def luminance(colour):
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


COLOURS = """() => {
  const kinds = 'h1, h2, label, p, button, a, input, select, textarea, li, summary, span, figcaption';
  const seen = (element) => element.checkVisibility() && element.textContent.trim() && !element.disabled;
  const clear = (element) => getComputedStyle(element).backgroundColor === 'rgba(0, 0, 0, 0)';
  return [...document.querySelectorAll(kinds)].filter(seen).map((element) => {
    let behind = element;
    while (behind && clear(behind)) behind = behind.parentElement;
    const ground = behind ? getComputedStyle(behind).backgroundColor : 'rgb(255, 255, 255)';
    return [element.outerHTML.slice(0, 80), getComputedStyle(element).color, ground];
  });
}"""


@pytest.mark.timeout(900)
def test_from_two_files_to_a_video(browser, tmp_path, media, narrow):
    inputs = (media / "man.png", media / "crossing.mp4")
    config = GenerateConfig(
        reference=inputs[0],
        driving=inputs[1],
        output=tmp_path / "command.mp4",
        model=narrow,
        device="cpu",
        person="1",
        size="96x64",
        steps=12,
        dtype="float32",
    )
    generate_video(config)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(180_000)
    page, troubles = context.new_page(), []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    with posegen_serve(tmp_path / "server", narrow) as (process, server):
        page.goto(f"{server}/")
        page.set_input_files("#driving_video", media / "README.md")
        page.wait_for_selector("#error-driving_video:not([hidden])")
        assert "not a video" in page.inner_text("#error-driving_video")
        page.set_input_files("#reference", inputs[0])
        page.click("#all > summary")
        for name in ("size", "steps"):
            page.fill(f"#{name}", SMALL[name])
        page.select_option("#dtype", SMALL["dtype"])
        page.set_input_files("#driving_video", inputs[1])
        page.wait_for_selector("[data-person='2'][aria-pressed='true']")  # who would be followed by itself
        page.focus("[data-person='1']")
        page.keyboard.press("Enter")
        page.wait_for_selector("#looking:not(:empty)")
        page.wait_for_selector("#looking:empty", state="attached")
        assert page.get_attribute("[data-person='1']", "aria-pressed") == "true"
        assert page.evaluate("() => document.activeElement.dataset.person") == "1"  # focus is where it was
        page.fill("#steps", "0")
        page.click("#go")
        page.wait_for_selector("#error-steps:not([hidden])")
        assert page.inner_text("#error-steps") == "steps 0 is out of range: it must be from 1 to 1000"
        assert page.evaluate("() => document.activeElement.id") == "steps"
        page.fill("#steps", SMALL["steps"])
        page.click("#go")
        page.wait_for_function("() => [...document.querySelectorAll('.job progress')].some((bar) => bar.value > 10)")
        page.reload()
        page.wait_for_function("() => [...document.querySelectorAll('.job progress')].some((bar) => bar.value > 20)")
        assert page.inner_text(".job .status") == "in progress"
        assert page.input_value("#person") == "1"
        process.kill()
        process.wait()
        port = int(server.rsplit(":", 1)[1])
    with posegen_serve(tmp_path / "server", narrow, port):
        page.wait_for_selector("[data-role='result']")  # the page has noticed nothing but a pause
        page.evaluate("() => document.querySelector(\"[data-role='result']\").play()")
        page.wait_for_function(
            "() => { const video = document.querySelector(\"[data-role='result']\"); "
            "return video.currentTime > 0.5 && video.videoWidth === 64; }"
        )
        (video,) = Client(server).videos()
        result = Client(server).download(video["id"], tmp_path / "page.mp4")
        assert result.read_bytes() == (tmp_path / "command.mp4").read_bytes()
        for width, scheme in ((390, "dark"), (390, "light"), (1280, "dark")):
            page.set_viewport_size({"width": width, "height": 844})
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("() => document.documentElement.scrollWidth") <= width
            low = [
                (what, round(found, 2))
                for what, *colours in page.evaluate(COLOURS)
                if (found := contrast(*colours)) < 4.5
            ]
            assert not low
        page.focus("text=copy settings")
        time.sleep(2)  # the list is refreshed meanwhile
        assert page.evaluate("() => document.activeElement.textContent") == "copy settings"
        page.click("text=delete")
        page.wait_for_selector("#nothing:not([hidden])")
    context.close()
    assert not troubles
