"""`posegen screen` in a real browser: clips are played, kept, dropped and tagged by keyboard, and resumed."""

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("starlette", reason="tests of local pages need the extra `evaluate`")

from asgi_client import AsgiClient
from page_checks import low_contrasts

from posegen.config import ScreenConfig
from posegen.errors import PosegenError
from posegen.media.video import VideoWriter, probe_video
from posegen.prepare.answers import FILE, Answer, read_answers
from posegen.progress import NullProgress
from posegen.serve.local_page import start_page
from posegen.serve.screening import ScreenPage, open_screening, screen

SIZE = (96, 128)


@pytest.fixture
def folder(tmp_path):
    """A data set of five clips of one video (one dropped), one of a missing video, and a source that failed."""
    video = tmp_path / "a video 'ü'.mp4"
    random = np.random.default_rng(0)
    with VideoWriter(video, 10, SIZE) as writer:
        for _ in range(60):
            writer.write(np.kron(random.integers(0, 256, (6, 8, 3)), np.ones((16, 16, 1))).astype(np.uint8))
    picture = cv2.imencode(".jpg", np.full((30, 40, 3), 90, np.uint8))[1].tobytes()
    rows = [
        {"clip": f"c{number}", "source": str(video if number < 5 else tmp_path / "gone.mp4"), "start": number * 1.0,
         "end": number + 1.0, "width": 128, "height": 96, "fps": 10.0, "kept": number != 2,
         "dropped_by": ["blur"] if number == 2 else [], "sharpness": 0.1 * number, "thumbnail": picture}
        for number in range(6)
    ]  # fmt: skip  # a table, read in rows
    rows.append({**rows[0], "clip": "", "kept": False, "dropped_by": ["error"], "sharpness": None})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "index.parquet", row_group_size=2)
    return tmp_path


def answers_in(folder):
    return read_answers((folder / FILE).read_bytes())


@pytest.mark.timeout(900)
@pytest.mark.parametrize("width", [1280, 375])
def test_clips_are_screened_by_keyboard(browser, folder, width):
    opened = open_screening(ScreenConfig(folder, show="all", tags=("hands", "dark"), port=0))
    server, _ = start_page(opened.application, "127.0.0.1", 0)
    with server:
        screen_all(browser, server, folder, width)


def screen_all(browser, server, folder, width):
    context = browser.new_context(viewport={"width": width, "height": 800})
    context.set_default_timeout(120_000)
    page, troubles = context.new_page(), []
    page.on("pageerror", lambda error: troubles.append(str(error)))

    def at(done, moment):
        page.wait_for_function(
            "([done, moment]) => document.getElementById('at').textContent.startsWith(`${done} of 6`) && "
            "document.getElementById('name').textContent.includes(moment)",
            arg=[done, moment],
        )

    page.goto(f"http://127.0.0.1:{server.port}/")
    at(0, "0.0–1.0 s")
    page.wait_for_function("() => document.getElementById('video').readyState >= 2")
    assert page.locator("#video").evaluate("(video) => [video.videoWidth, video.videoHeight]") == [128, 96]
    assert page.locator("#video").evaluate("(video) => video.duration") == pytest.approx(1.0, abs=0.15)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    page.keyboard.press("k")
    at(1, "1.0–2.0 s")
    page.keyboard.press("2")
    page.keyboard.press("t")
    page.keyboard.type("odd kdu")  # keys do not answer while a tag is typed
    page.keyboard.press("Enter")
    page.keyboard.press("d")
    at(2, "2.0–3.0 s")
    assert page.inner_text("#verdict") == "dropped by blur"
    assert answers_in(folder) == {"c0": Answer(True), "c1": Answer(False, ("dark", "odd kdu"))}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert not low_contrasts(page)
    page.focus("#tags button")
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.dataset.tag") == "hands"  # focus stays
    page.focus("#keep")
    page.keyboard.press("u")
    at(1, "1.0–2.0 s")
    assert answers_in(folder) == {"c0": Answer(True)}
    page.keyboard.press("s")
    at(2, "2.0–3.0 s")
    page.reload()  # resumes
    at(2, "2.0–3.0 s")
    for place, moment in ((3, "3.0–4.0 s"), (4, "4.0–5.0 s"), (5, "5.0–6.0 s")):
        page.click("#keep")
        at(place, moment)
    page.wait_for_function("() => document.getElementById('still').naturalWidth === 40")  # its video is not there
    page.click("#drop")
    page.wait_for_selector("text=All clips are looked at")
    assert page.evaluate("() => document.activeElement.id") == "undo-last"
    assert answers_in(folder)["c1"] == Answer(None)
    assert answers_in(folder)["c5"] == Answer(False)
    assert not troubles
    context.close()


def test_requests_that_do_not_fit_are_refused(folder):
    page = open_screening(ScreenConfig(folder, port=0))
    assert isinstance(page, ScreenPage)
    assert [row.clip for row in page.rows] == ["c0", "c1", "c3", "c4", "c5"]
    client = AsgiClient(page.application)
    assert client.post("/say", json={"row": 2, "keep": True}).status_code == 404  # not among those that are shown
    assert client.post("/say", json={"row": 0, "keep": "yes"}).status_code == 400
    assert client.post("/say", json={"row": 0, "keep": True, "tags": ["x" * 99]}).status_code == 400
    assert client.post("/say", data="row=0&keep=true").status_code == 400
    assert client.get("/video/5").status_code == 400
    assert client.get("/video/../../etc/passwd").status_code == 404
    assert page.answers.all() == {}
    assert client.post("/say", json={"row": 0, "keep": None, "tags": ["x"]}).json["clip"]["name"] == "c1"
    cut = page.cut(page.rows[3])
    assert probe_video(cut).num_frames == 10


def test_a_data_set_at_a_url_is_refused_before_anything_is_made(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PosegenError, match=r"s3:/bucket/set is not a local folder: copy .* index\.parquet"):
        ScreenConfig(Path("s3://bucket/set"))
    assert not list(tmp_path.iterdir())


def test_a_folder_without_an_index_is_refused(tmp_path, folder):
    with pytest.raises(PosegenError, match=r"no index\.parquet"):
        open_screening(ScreenConfig(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()
    (tmp_path / "man.png").touch()
    with pytest.raises(PosegenError, match=r"man\.png: no index\.parquet there: give the folder"):
        screen(ScreenConfig(tmp_path / "man.png"), NullProgress())
