"""The page of the job server in a real browser: from two files to a video that plays, with a `kill -9` between."""

import time

import pytest

pytest.importorskip("fastapi", reason="tests of the job server need the extra `serve`")

from page_checks import low_contrasts
from test_serve_command import posegen_serve

from posegen.config import GenerateConfig, ServeConfig
from posegen.generate.long_video import generate_video
from posegen.serve.client import Client
from posegen.serve.job_fields import job_fields
from posegen.serve.job_page import BASIC, grouped_fields, page_settings

SMALL = {"size": "96x64", "steps": "30", "dtype": "float32"}


def test_every_field_is_on_the_page_once():
    shown = ["reference", "driving_video", *BASIC, *(name for _, names in grouped_fields() for name in names)]
    assert sorted(shown) == sorted(job_fields())
    assert set(page_settings(ServeConfig())["fields"]) == set(job_fields())


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
        steps=30,
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
        page.wait_for_function("() => [...document.querySelectorAll('.job progress')].some((bar) => bar.value > 3)")
        page.reload()
        page.wait_for_selector(".job .status")
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
            assert not low_contrasts(page)
        page.focus("text=copy settings")
        time.sleep(2)  # the list is refreshed meanwhile
        assert page.evaluate("() => document.activeElement.textContent") == "copy settings"
        page.click("text=delete")
        page.wait_for_selector("#nothing:not([hidden])")
    context.close()
    assert not troubles
