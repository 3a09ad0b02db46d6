"""`posegen study` in a real browser: a person enters, rates and chooses; what the page is told stays blind."""

import av
import cv2
import numpy as np
import pytest

pytest.importorskip("starlette", reason="tests of local pages need the extra `evaluate`")

from asgi_client import AsgiClient
from page_checks import low_contrasts

from posegen.config import StudyConfig
from posegen.errors import PosegenError
from posegen.evaluate.benchmark_file import write_benchmark
from posegen.evaluate.study.study_database import ASPECTS
from posegen.evaluate.study.study_results import markdown, summarise
from posegen.media.image import write_image
from posegen.media.video import VideoWriter, probe_video, read_frames
from posegen.progress import NullProgress
from posegen.serve.local_page import start_page
from posegen.serve.rating_study import StudyPage, open_study

SIZE = (128, 96)


@pytest.fixture
def config(tmp_path):
    """Two clips; results of `secretours` are a video and a folder of frames, those of `secrettheirs` are videos."""
    random = np.random.default_rng(0)
    clips = []
    for clip in ("a", "b"):
        frames = [random.integers(0, 256, (*SIZE, 3), np.uint8)] * 12
        write_image(tmp_path / f"{clip}.png", frames[0])
        for method in ("truth", "secretours", "secrettheirs"):
            (tmp_path / method).mkdir(exist_ok=True)
            shown = [cv2.GaussianBlur(frame, (0, 0), 1 + len(method) / 9) for frame in frames]
            if (method, clip) == ("secretours", "b"):
                for number, frame in enumerate(shown):
                    (tmp_path / method / clip).mkdir(exist_ok=True)
                    write_image(tmp_path / method / clip / f"{number}.png", frame)
                continue
            with VideoWriter(tmp_path / method / f"{clip}.mp4", 16, SIZE) as writer:
                for frame in shown:
                    writer.write(frame)
        clips.append({"name": clip, "reference": f"{clip}.png", "truth": f"truth/{clip}.mp4"})
    write_benchmark(tmp_path / "benchmark.yaml", "study", "", clips)
    methods = tuple(f"{name}={tmp_path / name}" for name in ("secretours", "secrettheirs"))
    return StudyConfig(tmp_path, methods, tmp_path / "study", port=0, pairwise=True)


@pytest.fixture
def address(config):
    opened = open_study(config, NullProgress())
    server, _ = start_page(StudyPage(*opened).application, config.host, config.port)
    with server:
        yield f"http://127.0.0.1:{server.port}", opened[0]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("width", [1280, 375])
def test_a_person_answers_everything(browser, address, tmp_path, width):
    root, study = address
    context = browser.new_context(viewport={"width": width, "height": 800})
    context.set_default_timeout(120_000)
    page, seen, troubles = context.new_page(), [], []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("response", lambda response: seen.append((response.url, str(response.all_headers()))))
    page.goto(root)
    page.fill("#name", "Ann")
    page.click("text=begin")
    for place in range(6):
        page.wait_for_function(f"() => document.getElementById('at').textContent === '{place + 1} of 6'")
        page.wait_for_function("() => [...document.querySelectorAll('video')].every((video) => video.readyState >= 2)")
        page.wait_for_function("() => document.querySelector('#videos img').complete")
        assert page.locator("#videos img").evaluate("(image) => image.naturalWidth") == SIZE[1]
        assert page.locator("#send").is_disabled()
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        seen.append(("page", page.content()))
        page.screenshot(path=tmp_path / f"question{place}.png", full_page=True)
        pair = page.locator("video").count() == 2
        for scale in page.locator(".scale").all():
            scale.locator("label").nth(0 if pair else 4).click()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert not low_contrasts(page)
        if pair and width < 600:
            page.click("#large")
            assert min(video.bounding_box()["width"] for video in page.locator("video").all()) > 0.85 * width
            page.click("#large")
        page.click("#send")
        page.wait_for_function("() => ['title', 'thanks'].includes(document.activeElement.id)")
    page.wait_for_selector("text=Thank you")
    # going back to the page, or coming again under the same name, asks nothing twice
    page.reload()
    page.wait_for_selector("text=Thank you")
    stranger = browser.new_context().new_page()
    stranger.goto(root)
    stranger.fill("#name", "ann")
    stranger.click("text=begin")
    stranger.wait_for_selector("text=Thank you")
    assert len(study.ratings()) == 4 * len(ASPECTS)
    results = summarise(study.ratings(), study.choices())
    assert {found.value for found in results.means.values()} == {4.0}
    asked = summarise(study.ratings(), study.choices(), ["secretours", "unanswered"])
    assert asked.methods == ("secretours", "secrettheirs", "unanswered")
    assert "| unanswered | – | – | – | – | 0 |" in markdown(asked)
    assert len(study.choices()) == 2
    assert all(choice.better == choice.methods[0] for choice in study.choices())
    assert not any("secret" in text for pair in seen for text in pair)
    assert not troubles


@pytest.mark.parametrize(
    ("codec", "pixels", "suffix", "height", "played"),
    [
        ("mpeg4", "yuv420p", ".mp4", 127, False),  # what OpenCV's mp4v writes, odd sides too
        ("libx264", "yuv444p", ".mp4", 126, False),
        ("libx264", "yuv420p", ".mkv", 126, False),
        ("libx264", "yuv420p", ".mp4", 126, True),
        ("libvpx-vp9", "yuv420p", ".webm", 126, True),
    ],
)
def test_what_browsers_do_not_play_is_encoded_again(config, codec, pixels, suffix, height, played):
    result = config.benchmark / "secretours" / f"a{suffix}"
    frames = np.repeat(np.arange(12, dtype=np.uint8)[:, None, None, None] * 20, 3, axis=3)
    frames = np.broadcast_to(frames, (12, height, 94, 3))
    (config.benchmark / "secretours" / "a.mp4").unlink()
    with av.open(str(result), "w") as container:
        stream = container.add_stream(codec, rate=16, width=94, height=height, pix_fmt=pixels)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")))
        container.mux(stream.encode())
    _, videos, _ = open_study(config, NullProgress())
    shown = videos["a", "secretours"]
    assert (shown == result) == played
    info = probe_video(shown)
    assert info.height == 126
    assert played or (info.codec, info.pixel_format) == ("h264", "yuv420p")
    assert np.abs(read_frames(shown, 0, 12).mean(axis=(1, 2, 3)) - frames.mean(axis=(1, 2, 3))).max() < 6


def test_answers_that_do_not_fit_are_refused(config):
    opened = open_study(config, NullProgress())
    client = AsgiClient(StudyPage(*opened).application)
    assert client.get("/next").json == {"question": "who"}
    assert client.post("/enter", data={"name": "x"}).status_code == 400  # a form, as another site could send it
    assert client.post("/enter", json={"name": "Ann"}).status_code == 200
    question = client.get("/next").json["question"]
    media = f"/media/{question['token']}"
    whole = client.get(f"{media}/left").data
    part = client.get(f"{media}/left", headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.data) == (206, whole[5:10])
    assert client.get(f"{media}/right").status_code == 404
    assert client.get("/media/00/left").status_code == 400
    assert client.get("/media/../answers.sqlite").status_code in (400, 404)
    assert AsgiClient(StudyPage(*opened).application).get(f"{media}/left").status_code == 400  # somebody else
    answer = {"question": question["token"], "answer": dict.fromkeys(ASPECTS, 3)}
    assert client.post("/answer", json={**answer, "answer": dict.fromkeys(ASPECTS, 7)}).status_code == 400
    assert client.post("/answer", json=[1]).status_code == 400
    assert client.post("/answer", data=b"x" * 100_000, content_type="application/json").status_code in (400, 413)
    assert client.post("/answer", json=answer).status_code == 200
    assert client.post("/answer", json=answer).status_code == 409
    assert len(opened[0].ratings()) == len(ASPECTS)


def test_a_port_that_is_taken_is_named(config, address):
    port = int(address[0].rsplit(":", 1)[1])
    with pytest.raises(PosegenError, match="choose another port"):
        start_page(StudyPage(*open_study(config, NullProgress())).application, "127.0.0.1", port)


@pytest.mark.parametrize("host", ["foo.invalid", "192.0.2.1"])
def test_a_host_that_is_unknown_is_named(host, config, capfd):
    with pytest.raises(PosegenError, match=f"host {host} is unknown, or no address of this computer"):
        start_page(StudyPage(*open_study(config, NullProgress())).application, host, 0)
    assert capfd.readouterr().err == ""


def test_a_study_without_methods_is_refused(tmp_path):
    with pytest.raises(PosegenError, match="methods: name at least one"):
        StudyConfig(tmp_path, (), tmp_path / "study")
