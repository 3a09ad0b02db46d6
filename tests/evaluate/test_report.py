"""An evaluation from files to a report, and the report in a real browser: offline, from disk, on desktop and phone."""

import contextlib
import csv
import io

import cv2
import numpy as np
import pytest
import torch
from transformers import ViTConfig, ViTModel

from posegen.conditions.estimators.mediapipe import MediaPipePose
from posegen.config import EvaluateConfig
from posegen.errors import PosegenError
from posegen.evaluate.benchmark_file import write_benchmark
from posegen.evaluate.evaluation import evaluate, tabulate
from posegen.evaluate.metrics.dino_and_q_align import DinoMetric
from posegen.evaluate.metrics.metric import ClipScores
from posegen.evaluate.metrics.person_motion import HandRegions, PeopleMetrics
from posegen.evaluate.metrics.pixel_metrics import Flicker, FrameDifferences
from posegen.evaluate.protocols import find_protocol
from posegen.evaluate.report.html_report import write_report
from posegen.evaluate.report.text_reports import how_measured, scores_csv
from posegen.media.image import write_image
from posegen.media.video import VideoWriter
from posegen.progress import NullProgress

SIZE, FRAMES, FPS = (128, 96), 40, 16
NAMES = ("walk", "<b>wave</b> & co", "turn")


def numbered(frame_number, seed):
    """A picture that says which frame it is: in its lowest rows stands a bar as long as the number."""
    random = np.random.default_rng(seed)
    ground = cv2.resize(random.integers(60, 200, (6, 5, 3), np.uint8), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    ground[-16:] = 0
    ground[-16:, : 2 * (frame_number + 1)] = 255
    return ground


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report on three clips: one method is exact but lacks a clip, one blurs, one is noisy and worst in `turn`."""
    root = tmp_path_factory.mktemp("evaluation")
    random = np.random.default_rng(0)
    clips = []
    for seed, (file, name) in enumerate(zip(("one", "two", "three"), NAMES, strict=True)):
        ground_truth = [numbered(number, seed) for number in range(FRAMES)]
        noise = 30 if name == "turn" else 10
        videos = {
            "exact": ground_truth,
            "blurred": [cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in ground_truth],
            "noisy": [
                np.clip(frame + random.normal(0, noise, frame.shape), 0, 255).astype(np.uint8) for frame in ground_truth
            ],
        }
        write_image(root / f"{file}.png", ground_truth[0])
        for method, frames in {"truth": ground_truth, **videos}.items():
            if (method, name) == ("exact", "turn"):
                continue
            (root / method).mkdir(exist_ok=True)
            called = file if method == "truth" else name.replace("/", "∕")
            with VideoWriter(root / method / f"{called}.mp4", FPS, SIZE, crf=1) as writer:
                for frame in frames:
                    writer.write(frame)
        clips.append({"name": name.replace("/", "∕"), "reference": f"{file}.png", "truth": f"truth/{file}.mp4"})
    write_benchmark(root / "benchmark.yaml", "three <clips>", "for a test </script>", clips)
    config = EvaluateConfig(
        root,
        tuple(f"{name}={root / name}" for name in ("exact", "blurred", "noisy")),
        root / "report",
        protocol="native",
        allow_missing=True,
        embedded=False,
        people=False,
        cache=root / "cache",
    )
    evaluation = evaluate(config, NullProgress())
    return evaluation, write_report(evaluation, config, NullProgress())


def test_without_allow_missing_nothing_is_scored(report, tmp_path):
    root = report[1][0].parents[1]
    with pytest.raises(PosegenError, match="turn is missing"):
        evaluate(EvaluateConfig(root, (f"exact={root / 'exact'}",), tmp_path, cache=tmp_path), NullProgress())


def test_tables_say_what_was_measured(report):
    evaluation, (_, markdown, scores, clips) = report
    assert evaluation.best["PSNR"] == ["blurred"]  # exact lacks a clip
    assert evaluation.cells["exact", "PSNR"].value > 40
    text = markdown.read_text()
    row = next(line for line in text.splitlines() if line.startswith("| exact"))
    assert "| 2/3 |" in row
    assert "**" not in row
    assert "] (2 of 3 clips) |" in row
    assert "**" in next(line for line in text.splitlines() if line.startswith("| blurred"))
    assert "96×128 (width × height); samples (frame): 80 to 120; network: none" in text
    assert "1 of 3 clips are not scored: turn" in text
    rows = list(csv.DictReader(io.StringIO(scores.read_text())))
    found = {(each["method"], each["score"]): each for each in rows}
    assert float(found["noisy", "PSNR"]["value"]) == evaluation.cells["noisy", "PSNR"].value
    assert (found["noisy", "PSNR"]["resolution"], found["noisy", "PSNR"]["samples"]) == ("96×128", "120")
    per_clip = [each for each in csv.DictReader(io.StringIO(clips.read_text())) if each["score"] == "PSNR"]
    assert len(per_clip) == 8


def test_sizes_are_those_at_which_each_score_was_measured(report, tmp_path):
    evaluation = report[0]
    ViTModel(
        ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32)
    ).save_pretrained(tmp_path)
    dino = DinoMetric(str(tmp_path), torch.device("cpu"))
    names = ("PSNR", "PSNR of hands", "seam flicker", "pose error", "background drift", "DINO consistency")
    scores = {
        row: {clip: ClipScores(dict.fromkeys(names, 1.0)) for clip in found}
        for row, found in evaluation.results.items()
    }
    with contextlib.closing(MediaPipePose(single_image=True)) as estimator:
        metrics = [FrameDifferences(), HandRegions(), Flicker(), PeopleMetrics(estimator), dino]
        tables = tabulate(
            evaluation.benchmark, find_protocol("disco"), list(evaluation.methods), evaluation.results, metrics, scores
        )
    fitted, own = "256×256 (central part of each frame); ", "96×128 (width × height); "
    expected = dict(zip(names, (fitted, fitted, fitted, own, own, own), strict=True))
    for score in tables.scores:
        assert how_measured(tables, score).startswith(expected[score.name]), score.name
    for row in csv.DictReader(io.StringIO(scores_csv(tables))):
        assert expected[row["score"]].startswith(row["resolution"]), row


def opened(browser, path, **options):
    """The page, opened from disk without a network; what went wrong; and whom it asked."""
    context = browser.new_context(offline=True, **options)
    context.set_default_timeout(200_000)
    page, troubles, asked = context.new_page(), [], []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    return page, troubles, asked


def frames_shown(page):
    """Which frame each player shows, read from the bar in its picture, once two looks 0.2 s apart see the same."""
    before = None
    for _ in range(100):
        page.wait_for_function(SETTLED)
        shown = frames_at_once(page)
        if shown == before:
            return shown
        before = shown
        page.wait_for_timeout(200)
    pytest.fail(f"the players never settle: {before}")


def frames_at_once(page):
    return page.evaluate("""() => [...document.querySelectorAll('video')].map((video) => {
        const canvas = document.createElement('canvas');
        canvas.width = video.videoWidth; canvas.height = video.videoHeight;
        const context = canvas.getContext('2d');
        context.drawImage(video, 0, 0);
        const row = context.getImageData(0, canvas.height - 8, canvas.width, 1).data;
        let white = 0;
        for (let x = 0; x < canvas.width; x += 1) white += row[4 * x] > 127;
        return white / 2 - 1;
    })""")


SETTLED = "() => [...document.querySelectorAll('video')].every((v) => v.readyState >= 2 && !v.seeking)"


@pytest.mark.timeout(900)
def test_the_page_in_a_browser(report, browser, tmp_path):
    page, troubles, asked = opened(browser, report[1][0], viewport={"width": 1280, "height": 900})
    assert "(2 of 3 clips)" in page.inner_text("tr[data-row=exact] td small >> nth=0")
    assert "of 3 clips" not in page.inner_text("tr[data-row=blurred]")
    assert page.inner_text("h1") == "three <clips>"
    assert page.inner_text("tr[data-row=blurred] td.best >> nth=0")
    assert page.locator("tr[data-row=exact] td.best").count() == 0
    assert page.inner_text("tr[data-row=exact] td.incomplete") == "2/3"
    # worst first, by the score and method that are chosen
    page.select_option("#by-score", "PSNR")
    page.select_option("#by-method", "noisy")
    assert page.locator("#clips-body th").all_inner_texts()[0] == "turn"
    page.screenshot(path=tmp_path / "desktop.png", full_page=True)
    # drill down: players show the same frame wherever one goes
    page.click("#clips-body tr:has-text('wave')")
    page.wait_for_function(SETTLED)
    assert page.locator("#videos figcaption").all_inner_texts() == ["reference", "truth", "exact", "blurred", "noisy"]
    for frame in (17, 3, FRAMES - 1):
        page.evaluate("(frame) => seek(frame)", frame)
        assert frames_shown(page) == pytest.approx([frame] * 4, abs=0.6)
    page.click("#back")
    page.wait_for_function(SETTLED)
    assert page.input_value("#seek") == str(FRAMES - 2)
    page.evaluate("() => seek(0)")
    page.select_option("#speed", "0.25")
    page.click("#play")
    page.wait_for_function("() => Number(document.getElementById('seek').value) > 3")
    page.click("#play")
    shown = frames_shown(page)
    assert max(shown) - min(shown) < 0.6
    # a tap on a curve goes to its moment
    box = page.locator("#curves svg >> nth=0").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.98, box["y"] + box["height"] / 2)
    assert int(page.input_value("#seek")) > FRAMES - 4
    page.screenshot(path=tmp_path / "drilled.png", full_page=True)
    assert not troubles
    assert [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] == []
    assert sum(url.startswith("file:") for url in asked) == 1


@pytest.mark.timeout(900)
def test_the_page_on_a_phone(report, browser, tmp_path):
    phone = {"viewport": {"width": 375, "height": 740}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
    page, troubles, _ = opened(browser, report[1][0], **phone)
    page.tap("#clips-body tr >> nth=1")
    page.wait_for_function(SETTLED)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 375
    first, second = (page.locator("#videos figure").nth(number).bounding_box() for number in (0, 1))
    assert first["y"] == pytest.approx(second["y"], abs=1)  # beside each other
    assert page.locator("#play").bounding_box()["height"] >= 36
    page.screenshot(path=tmp_path / "phone.png", full_page=True)
    assert not troubles
