"""Writes the report of an evaluation: one self-contained HTML page, and the tables as Markdown and CSV.

The page is `page/report.html` with style and script inlined; this file makes its data.
"""

import base64
import datetime
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
from markupsafe import Markup

from posegen.config import EvaluateConfig
from posegen.digests import content_digest
from posegen.errors import logger
from posegen.evaluate.evaluation import Evaluation, default_cache
from posegen.evaluate.footage import Footage
from posegen.evaluate.metrics.metric import ClipScores, Score
from posegen.evaluate.report import text_reports
from posegen.evaluate.report.score_tables import worst_first
from posegen.evaluate.scoring import TRUTH
from posegen.media.checksums import forget_checksum, state_of, write_checksum
from posegen.media.files import write_whole
from posegen.media.fitting import plan_fit
from posegen.media.image import read_image
from posegen.media.video import VideoWriter
from posegen.progress import Progress

_SIDE = 320
"""Longest side of a video in the page, pixels."""
_POINTS = 400
"""Maximum number of points of a curve in the page."""


def write_report(evaluation: Evaluation, config: EvaluateConfig, progress: Progress) -> list[Path]:
    """Write report.html, report.md, scores.csv and clips.csv into the output folder. Raises `OutputError`."""
    contents = {
        "report.html": html(evaluation, config, progress),
        "report.md": text_reports.markdown(evaluation),
        "scores.csv": text_reports.scores_csv(evaluation),
        "clips.csv": text_reports.clips_csv(evaluation),
    }
    for name, content in contents.items():
        write_whole(config.output / name, content.encode())
    return [config.output / name for name in contents]


def html(evaluation: Evaluation, config: EvaluateConfig, progress: Progress) -> str:
    """The page."""
    folder = resources.files("posegen.evaluate.report") / "page"
    data, videos = page_data(evaluation), {}
    if config.videos:
        videos = _videos(evaluation, config, progress)
        for clip in data["clips"]:
            clip["videos"] = list(videos.get(clip["name"], {}))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page = environment.from_string((folder / "report.html").read_text(encoding="utf-8"))
    media = {f"{clip}/{label}": content for clip, found in videos.items() for label, content in found.items()}
    return page.render(
        style=Markup((folder / "report.css").read_text(encoding="utf-8")),
        script=Markup((folder / "report.js").read_text(encoding="utf-8")),
        data=_for_script(data),
        media=media,
        evaluation=evaluation,
        text=text_reports,
        remarks=text_reports.all_remarks(evaluation),
        incomplete=[matched.method.name for matched in evaluation.methods if matched.missing],
        date=datetime.date.today().isoformat(),
        preview_seconds=config.preview_seconds,
    )


def page_data(evaluation: Evaluation) -> dict[str, Any]:
    """The script's data: values and curves of each clip, mean curves, and the worst clips of each score."""
    per_clip = [score for score in evaluation.scores if not score.frechet]
    clips = []
    for clip in evaluation.benchmark.clips:
        found = {row: evaluation.clips[row][clip.name] for row in evaluation.rows if clip.name in evaluation.clips[row]}
        if not found:
            continue
        result = next(evaluation.results[row][clip.name] for row in found)
        curves = {
            score.name: {row: _decimated(each, score) for row, each in found.items() if score.name in each.curves}
            for score in per_clip
        }
        clips.append(
            {
                "name": clip.name,
                "fps": float(result.footage.fps),
                "frames": max(evaluation.results[row][clip.name].num_frames for row in found),
                "values": {row: each.values for row, each in found.items()},
                "curves": {name: rows for name, rows in curves.items() if rows},
                "videos": [],
            }
        )
    return {
        "rows": evaluation.rows,
        "truth": TRUTH,
        "scores": [
            {"name": score.name, "heading": text_reports.heading(score), "digits": score.digits, "better": score.better}
            for score in per_clip
        ],
        "clips": clips,
        "worst": {
            score.name: {row: worst_first(score, evaluation.clips[row]) for row in evaluation.rows}
            for score in per_clip
        },
        "means": {score.name: means for score in per_clip if (means := _mean_curves(evaluation, score))},
    }


def _mean_curves(evaluation: Evaluation, score: Score) -> dict[str, list[list[float]]]:
    """Row -> [seconds, values]: the mean over clips in each second."""
    curves = {}
    for row in evaluation.rows:
        seconds: dict[int, list[float]] = {}
        for clip, found in evaluation.clips[row].items():
            fps = float(evaluation.results[row][clip].footage.fps)
            own: dict[int, list[float]] = {}
            for frame, value in zip(*found.curves.get(score.name, ([], [])), strict=True):
                own.setdefault(int(frame / fps), []).append(value)
            for second, values in own.items():
                seconds.setdefault(second, []).append(float(np.mean(values)))
        if len(seconds) > 1:
            ordered = sorted(seconds)
            curves[row] = [[float(each) for each in ordered], [float(np.mean(seconds[each])) for each in ordered]]
    return curves


def _decimated(found: ClipScores, score: Score) -> tuple[list[int], list[float]]:
    """Frame numbers and values, at most `_POINTS`, each the worst of its stretch."""
    numbers, values = found.curves[score.name]
    worst = np.argmax if score.better == "lower" else np.argmin
    stretches = np.array_split(np.arange(len(values)), min(len(values), _POINTS))
    chosen = [int(stretch[worst(np.asarray(values)[stretch])]) for stretch in stretches]
    return [numbers[each] for each in chosen], [round(values[each], 6) for each in chosen]


def _videos(evaluation: Evaluation, config: EvaluateConfig, progress: Progress) -> dict[str, dict[str, str]]:
    """Clip -> label -> data URL; the reference is an image, the others are small videos."""
    cache = config.cache or default_cache()
    videos: dict[str, dict[str, str]] = {}
    for done, clip in enumerate(evaluation.benchmark.clips, start=1):
        results = {row: evaluation.results[row].get(clip.name) for row in evaluation.rows if row != TRUTH}
        shown = {row: (result.footage, result.num_frames) for row, result in results.items() if result}
        if not shown:
            continue
        own = videos.setdefault(clip.name, {"reference": _image_url(clip.reference)})
        fps = next(iter(shown.values()))[0].fps
        if clip.driving is not None and not clip.driving.stills and clip.driving != clip.ground_truth:
            driving = clip.driving.at_rate(fps)
            own["driving"] = _video(driving, driving.num_frames, config.preview_seconds, cache)
        if clip.ground_truth is not None:
            own[TRUTH] = _video(clip.ground_truth, clip.ground_truth.num_frames, config.preview_seconds, cache)
        for row, (footage, count) in shown.items():
            own[row] = _video(footage, count, config.preview_seconds, cache)
        progress.update("videos of the report", done, len(evaluation.benchmark.clips))
    return videos


def _video(footage: Footage, num_frames: int, seconds: float, cache: Path) -> str:
    count = min(num_frames, max(1, round(seconds * float(footage.fps))))
    named = "\n".join([content_digest(footage.path), str(footage.fps), str(count), str(_SIDE), "preview 1"])
    path = cache / f"preview-{hashlib.sha256(named.encode()).hexdigest()[:40]}.mp4"
    state = state_of(path)
    if state != "intact":
        if state != "missing":
            logger.warning("%s is damaged or has no checksum: it is made again", path)
        path.parent.mkdir(parents=True, exist_ok=True)
        forget_checksum(path)
        scale = min(1.0, _SIDE / max(footage.size))
        height, width = (max(2, round(side * scale / 2) * 2) for side in footage.size)
        fit = plan_fit(footage.size, (height, width), "crop")
        with VideoWriter(path, footage.fps, size=(height, width), crf=26) as writer:
            for _, frame in zip(range(count), footage.frames(), strict=False):
                writer.write(fit.apply(frame))
        write_checksum(path)
    return f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _image_url(path: Path) -> str:
    image = read_image(path)
    scale = min(1.0, _SIDE / max(image.shape[:2]))
    small = cv2.resize(
        image, (round(image.shape[1] * scale), round(image.shape[0] * scale)), interpolation=cv2.INTER_AREA
    )
    _, coded = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])
    return f"data:image/jpeg;base64,{base64.b64encode(coded.tobytes()).decode()}"


def _for_script(data: Mapping[str, Any] | Sequence[Any]) -> Markup:
    """JSON that cannot close the script element around it."""
    content = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    return Markup(content)
