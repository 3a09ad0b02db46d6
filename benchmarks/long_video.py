"""Check PoseGen's claims about long video on the mini: steady background, no ghosts, no drift, no flicker.

    python benchmarks/long_video.py [--only background drift] [--clips 20] [--few 20] [--long-clips 20] [--seconds 10]
        [--long-seconds 60]

Synthetic people who are in no training data, with exact conditions; reference and ground truth are of the same clip.
Makes every clip with background sharing, with sharing but without subject masks, and without sharing; longer clips by
interleaving and by a chain of segments. "Hidden" is the background that the reference's person covers: what a segment
must invent. `--few`: number of clips without masks, and shared everywhere. It resumes where it stopped (everything is
kept in --data). With `--only`, the other figures stay what they are in the result file.
"""

import argparse
import datetime
import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from posegen.conditions.folder import open_conditions
from posegen.config import GenerateConfig
from posegen.data.clips import Drawing
from posegen.evaluate.comparison import load_person
from posegen.evaluate.filming import FilmFormat, film
from posegen.evaluate.metrics.appearance import describe_appearance
from posegen.evaluate.metrics.intervals import mean_interval
from posegen.evaluate.metrics.pixel_formulas import psnr
from posegen.evaluate.metrics.steadiness import (
    background_difference,
    mean_background,
    windowed_appearance_distance,
    windowed_background_difference,
)
from posegen.generate.job.job_folder import work_folder
from posegen.generate.long_video import generate_video
from posegen.generate.planning.job_inputs import read_inputs
from posegen.generate.planning.resolved_settings import resolve_settings
from posegen.generate.seams import SeamReport, watch_seams
from posegen.generate.segments import SegmentPlan
from posegen.media.image import read_image, write_image
from posegen.media.video import iterate_frames
from posegen.model.sources import describe_model
from posegen.synthetic.clip import PERSON, SyntheticClip, SyntheticClipSettings
from posegen.synthetic.shard_writer import ShardSettings, place_of
from results_file import figures_of, processor_name, write_result

SEED, FPS, SIZE = 11, 16, (256, 144)
PARTS = ("background", "drift")
END = 4 * FPS
"""Frames at the end over which drift is measured."""


def make_inputs(folder: Path, number: int, count: int, seconds: int) -> GenerateConfig:
    """Driving video, exact conditions, a reference of the same clip two seconds after its end, and the prompt."""
    model = describe_model("mini")
    frames = seconds * FPS
    place = place_of(ShardSettings("val-same", count, SEED), number)
    settings = SyntheticClipSettings(*SIZE, frames + 2 * FPS, float(FPS))
    clip = SyntheticClip(place.identity_seed, place.seed, settings)
    if not (folder / "reference_person.png").is_file():
        made = clip.frames()
        drawing = Drawing(model.draw_scale, model.skeleton_colors)
        driven = itertools.islice(made, frames)
        form = FilmFormat(Fraction(FPS), SIZE, SIZE, drawing, crf=10)
        film(driven, folder / "driving.mp4", folder / "conditions", form)
        reference = next(itertools.islice(made, 2 * FPS - 1, None))
        write_image(folder / "reference.png", reference.rgb)
        (folder / "prompt.txt").write_text(clip.caption)
        person = np.where(reference.masks & PERSON, 255, 0).astype(np.uint8)
        write_image(folder / "reference_person.png", np.repeat(person[..., None], 3, axis=-1))
    return GenerateConfig(
        reference=folder / "reference.png", driving=folder / "driving.mp4", conditions=folder / "conditions",
        output=folder / "result.mp4", prompt=(folder / "prompt.txt").read_text(), person_check=False, retarget="off",
        pose_guidance=1.0, pose_strength=1.0,  # as PoseGen is published
    )  # fmt: skip


def make_video(config: GenerateConfig, name: str, **changes: object) -> tuple[np.ndarray, dict]:
    """The frames of one way of making it, and what the job has measured."""
    config = replace(config, output=config.output.with_name(f"{name}.mp4"), **changes)
    report = config.output.with_suffix(".json")
    if not report.is_file():
        generate_video(config)
        job = next(work_folder(config.output).glob("job-*/report.json"))
        report.write_text(job.read_text())
    return np.stack(list(iterate_frames(config.output))), json.loads(report.read_text())


def colour_corrected(frames: np.ndarray, person: np.ndarray, parts: Sequence[range]) -> np.ndarray:
    """The video as a correction of colour drift would make it: each segment's background has the first one's mean.

    Means are those of pixels that both show as background; between the middles of two segments the offset goes over
    linearly. Not a part of the product: it is measured here whether it should be.
    """
    backgrounds = [mean_background(frames[part.start : part.stop], person[part.start : part.stop]) for part in parts]
    offsets = [np.nan_to_num(np.nanmean(backgrounds[0] - background, axis=(0, 1))) for background in backgrounds]
    middles = [part.start + len(part) / 2 for part in parts]
    places = np.arange(len(frames))
    offset = np.stack([np.interp(places, middles, [row[channel] for row in offsets]) for channel in range(3)], axis=-1)
    return np.clip(np.rint(frames + offset[:, None, None]), 0, 255).astype(np.uint8)


def seam_flicker(frames: np.ndarray, plan: SegmentPlan) -> list[float]:
    """Flicker at the seams of a video that was not made in segments: the part that movement alone gives."""
    report = SeamReport(plan)
    for _ in watch_seams(iter(frames), report):
        """Only the report is wanted."""
    return report.flicker()


def nan_mean(values: list[float]) -> float:
    """NaN if there is nothing to take the mean of."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def seams_over_mean(report: dict) -> float:
    """Like seam flicker, but over the mean step elsewhere, not the median: alike for a model that moves in jerks."""
    change = np.asarray(report["change"])
    inside = np.isin(np.arange(len(change)), report["seam_frames"])
    return float(change[inside].mean() / change[~inside].mean())


def summary(values: list[float]) -> dict[str, object]:
    values = [value for value in values if np.isfinite(value)]
    low, high = mean_interval(values)
    return {"mean": round(float(np.mean(values)), 3), "interval": [round(low, 3), round(high, 3)], "n": len(values)}


WAYS: dict[str, dict[str, object]] = {
    "shared": {},
    "shared_without_masks": {"sharing_mask": False},
    "not_shared": {"sharing": "off"},
    "shared_everywhere": {"sharing_steps": 8, "sharing_layers": 6},
    "shared_everywhere_without_masks": {"sharing_steps": 8, "sharing_layers": 6, "sharing_mask": False},
}
"""The last two share at all of the mini's steps and layers: far more than PoseGen does, to see what masks do."""


def background_claims(arguments: argparse.Namespace) -> tuple[dict[str, object], list[np.ndarray]]:
    measured: dict[str, dict[str, list[float]]] = {way: {} for way in WAYS}
    floor, flicker, sheets = [], [], []
    for number in range(arguments.clips):
        config = make_inputs(arguments.data / f"clip{number:02d}", number, arguments.clips, arguments.seconds)
        plan = resolve_settings(read_inputs(config)).plan
        truth, person = np.stack(list(iterate_frames(config.driving))), load_person(config.conditions)
        hidden = read_image(config.reference.with_name("reference_person.png"))[..., 0] > 127
        parts = [range(base.start, min(base.stop, len(truth))) for base in plan.base_segments]
        floor.append(float(np.nanmean(background_difference(truth, person, parts))))  # shadows, and the file's loss
        flicker.append(float(np.nanmean(seam_flicker(truth, plan))))
        rows = [truth]
        for way, changes in WAYS.items():
            if number >= arguments.few and way not in ("shared", "not_shared"):
                continue
            frames, report = make_video(config, way, **changes)
            rows.append(frames)
            corrected = colour_corrected(frames, person, parts)
            values = {
                "hidden_background_difference": nan_mean(background_difference(frames, person | ~hidden, parts)),
                "background_difference_corrected": float(np.nanmean(background_difference(corrected, person, parts))),
                "psnr_frame_corrected": psnr(corrected, truth),
                "background_difference": float(np.nanmean(background_difference(frames, person, parts))),
                "psnr_person": psnr(frames, truth, person),
                "psnr_frame": psnr(frames, truth),
                "seam_flicker": float(np.nanmean([value for value in report["seam_flicker"] if value is not None])),
                "worst_seam_flicker": max(value for value in report["seam_flicker"] if value is not None),
                "seams_over_mean_elsewhere": seams_over_mean(report),
                "background_colour_drift": report["background_colour_drift"],
            }
            for name, value in values.items():
                measured[way].setdefault(name, []).append(value)
        if number < min(4, arguments.few):
            middles = [part.start + len(part) // 2 for part in parts]
            sheets.append(np.concatenate([np.concatenate(list(row[middles]), axis=1) for row in rows]))
        print(
            number,
            {way: round(each[-1], 2) for way, values in measured.items()
             if len(each := values.get("background_difference", [])) > number},
            flush=True,
        )  # fmt: skip
    ratios = {
        part: [a / b for a, b in zip(measured["shared"][part], measured["not_shared"][part], strict=True)]
        for part in ("background_difference", "hidden_background_difference")
    }
    masks = {
        way: [a - b for a, b in zip(measured[way]["psnr_person"][: arguments.few],
                                    measured[f"{way}_without_masks"]["psnr_person"], strict=True)]
        for way in ("shared", "shared_everywhere")
    }  # fmt: skip
    return {way: {name: summary(values) for name, values in rows.items()} for way, rows in measured.items()} | {
        "background_difference_of_the_truth": summary(floor),
        "seam_flicker_of_the_truth": summary(flicker),
        **{f"{part}_shared_over_not": summary(values) for part, values in ratios.items()},
        **{f"psnr_person_{way}_with_masks_minus_without": summary(values) for way, values in masks.items()},
    }, sheets


MOMENTS, MOST_SHOWN = 9, 3
LONG_METHODS = ("interleaved", "autoregressive")


def drift_claims(arguments: argparse.Namespace) -> tuple[dict[str, object], dict[str, object], list[np.ndarray]]:
    ends: dict[str, dict[str, list[float]]] = {method: {} for method in LONG_METHODS}
    curves: dict[str, object] = {}
    sheets = []
    for number in range(arguments.long_clips):
        config = make_inputs(arguments.data / f"long{number:02d}", number, arguments.long_clips, arguments.long_seconds)
        conditions, _ = open_conditions(config.conditions)
        person = load_person(conditions.folder)
        points, scores = conditions.pose.keypoints, conditions.pose.scores
        truth = np.stack(list(iterate_frames(config.driving)))
        moments = np.linspace(FPS // 2, len(truth) - FPS // 2, MOMENTS).round().astype(int)
        rows = [truth[moments]]
        reference = describe_appearance(truth[:END], points[:END], scores[:END])
        for method, measured in ends.items():
            frames, report = make_video(config, method, long_method=method)
            looks = windowed_appearance_distance(frames, points, scores, reference, END)
            background = windowed_background_difference(frames, person, END)
            curves[f"{number}_{method}"] = {"appearance": [round(value, 2) for value in looks],
                                            "background": [round(value, 2) for value in background]}  # fmt: skip
            values = {
                "appearance_at_the_end": looks[-1],
                "background_at_the_end": background[-1],
                "appearance_of_all_seconds": float(np.mean(looks)),
                "background_of_all_seconds": float(np.mean(background[1:])),
                "psnr_frame_at_the_end": psnr(frames[-END:], truth[-END:]),
                "seam_flicker": float(np.nanmean([v for v in report["seam_flicker"] if v is not None])),
            }
            for name, value in values.items():
                measured.setdefault(name, []).append(value)
            rows.append(frames[moments])
        if number % 4 == 0:
            sheets.append(np.concatenate([np.concatenate(list(row), axis=1) for row in rows]))
        print(number, {m: {n: round(v[-1], 2) for n, v in r.items()} for m, r in ends.items()}, flush=True)
    figures: dict[str, object] = {m: {n: summary(v) for n, v in rows.items()} for m, rows in ends.items()}
    ours, chain = ends.values()
    differences = {name: [a - b for a, b in zip(ours[name], chain[name], strict=True)] for name in ours}
    figures["interleaved_minus_autoregressive"] = {
        name: {**summary(values), "share_of_clips_below": round(float(np.mean(np.array(values) < 0)), 3)}
        for name, values in differences.items()
    }
    return figures, curves, sheets[:MOST_SHOWN]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("clips", 20), ("few", 20), ("long_clips", 20), ("seconds", 10), ("long_seconds", 60)):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    parser.add_argument("--data", type=Path, default=Path("outputs/long_video"))
    parser.add_argument("--sheets", type=Path, default=Path("docs"))
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    arguments = parser.parse_args()
    figures = figures_of("long_video")
    origin = f"{datetime.date.today()}, {processor_name()}: {' '.join(sys.argv[1:]) or 'no options'}"
    if "background" in arguments.only:
        found, sheets = background_claims(arguments)
        figures |= {"clips": arguments.clips, "seconds": arguments.seconds, **found, "background_measured": origin}
        if sheets:
            write_image(arguments.sheets / "long_video_background.jpg", np.concatenate(sheets, axis=1))
    if "drift" in arguments.only:
        figures["at_the_end"], figures["curves"], sheets = drift_claims(arguments)
        if sheets:
            write_image(arguments.sheets / "long_video_60_seconds.jpg", np.concatenate(sheets))
        figures |= {
            "long_clips": arguments.long_clips,
            "long_seconds": arguments.long_seconds,
            "drift_measured": origin,
        }
    write_result("long_video", figures)


if __name__ == "__main__":
    main()
