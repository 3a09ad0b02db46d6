"""Measure if the right person is followed, upright and whole, on synthetic clips of several people (exact keypoints).

    python benchmarks/following.py --keep clips [--against ../before] [--groups crossing leaving] [--name following]
    python benchmarks/following.py --keep clips --against ../before --speed-alone --name following_speed

`following_clips.py` makes 51 clips: people in the background, two who cross, leaving and returning, fast movement,
heads and bodies turned away, people cut by the frame, people who really are upside down, and ordinary clips whose
detections are damaged between estimator and tracker (dropped, doubled, upside down, left and right exchanged, one joint
far off). Every clip goes through `extract_conditions` in a process of its own checkout; `--against` measures another
checkout on the same files in the same sitting, and the figures stand side by side (`before` and `after`).

- right person: of the frames in which the person to follow (the largest at first) shows, the share in which the drawn
  body is nearer to them than to anybody else and within a quarter of their height; also wrong and missing shares
- upside down: drawn bodies whose trunk (else head) points away from the truth's by more than 120 degrees
- body error: distance of drawn points to visible true ones, percent of the standing height; wrong people count
- hands: drawn hands of visible true ones and of found ones; distance of a drawn hand's wrist to the forearm's end, in
  palms (longest line from the wrist to a knuckle)
- frames per second: of whole extractions at 720p, checkouts in turns, median over runs; CPU seconds beside it
"""

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from posegen.conditions import extraction
from posegen.conditions.estimators.interfaces import PoseEstimator
from posegen.conditions.extraction import extract_conditions
from posegen.conditions.keypoints import BODY, FEET, HANDS, INDEX, SEEN, PersonPose, PoseSequence
from posegen.errors import PosegenError
from posegen.media.fitting import plan_fit
from posegen.media.video import probe_video

ROOT = Path(__file__).resolve().parents[1]
SPEED_CLIPS = ("bystanders-1", "crossing-2", "leaving-1", "partial-0")
"""Clips of 1280x720 that are timed."""
NEAR = 0.25
"""Maximum mean distance of a drawn body to the right person, in standing heights."""
TURNED = 120.0
POINTS = np.r_[BODY, FEET]
TARGETS = {"right_percent": 99.0, "upside_down_frames": 0, "hand_to_forearm_palms_p95": 0.1, "body_p95_ratio": 0.5,
           "frames_per_second_ratio": 1.0}  # fmt: skip
_ENDS = {
    "hips": ("left_hip", "right_hip"),
    "shoulders": ("left_shoulder", "right_shoulder"),
    "head": ("nose", "left_ear", "right_ear"),
}


class Damaged:
    """Pose estimator whose detections of the followed person are damaged in the given frames."""

    def __init__(
        self, estimator: PoseEstimator, truth: np.ndarray, height: float, damage: dict[str, list[int]]
    ) -> None:
        self._estimator, self._truth, self._height = estimator, truth, height
        self._damage = {kind: set(frames) for kind, frames in damage.items()}
        self._frame = 0
        self.damaged = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._estimator, name)

    def estimate_batch(self, frames: Sequence[np.ndarray]) -> list[list[PersonPose]]:
        """Find the people in the next frames, and damage what was found."""
        result = []
        for found in self._estimator.estimate_batch(frames):
            everybody = list(found)
            for kind in [kind for kind, numbers in self._damage.items() if self._frame in numbers]:
                everybody = self._damaged(everybody, kind)
            result.append(everybody)
            self._frame += 1
        return result

    def _damaged(self, everybody: list[PersonPose], kind: str) -> list[PersonPose]:
        near = [mean_distance(person.keypoints, person.scores, self._truth[self._frame]) for person in everybody]
        if not near or min(near) > NEAR * self._height:
            return everybody
        place = int(np.argmin(near))
        person, random = everybody.pop(place), np.random.default_rng(self._frame)
        self.damaged += 1
        if kind == "dropped":
            return everybody
        keypoints, scores = person.keypoints.copy(), person.scores.copy()
        if kind == "doubled":
            shift = random.normal(0, 0.04 * self._height, 2) + random.normal(0, 0.01 * self._height, (133, 2))
            return [PersonPose((keypoints + shift).astype(np.float32), scores, person.hands), *everybody, person]
        if kind == "upside_down":
            seen = keypoints[BODY][scores[BODY] >= SEEN]
            keypoints = (2 * seen.mean(axis=0) - keypoints).astype(np.float32)
            scores = np.where(scores > 0, np.maximum(scores, 0.9), 0).astype(np.float32)
        elif kind in ("swapped", "hips_swapped"):
            for name, index in INDEX.items():
                side, _, rest = name.partition("_")
                if side == "left" and (kind == "swapped" or rest == "hip"):
                    both, exchanged = [index, INDEX[f"right_{rest}"]], [INDEX[f"right_{rest}"], index]
                    keypoints[both], scores[both] = keypoints[exchanged], scores[exchanged]
        elif kind == "outlier":
            joint = INDEX[("left_shoulder", "right_elbow", "left_knee")[self._frame % 3]]
            keypoints[joint] += 0.4 * self._height * np.array([1, 0.5], np.float32)
        else:
            raise ValueError(kind)
        return [*everybody, PersonPose(keypoints, scores, person.hands)]


def mean_distance(keypoints: np.ndarray, scores: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of the seen body points to the truth, pixels; left and right may be exchanged. Infinite without."""
    seen = np.flatnonzero(scores[BODY] >= SEEN)
    if not len(seen):
        return float("inf")
    distances = []
    for order in (np.arange(17), _exchanged()):
        distances.append(float(np.linalg.norm(keypoints[seen] - truth[order[seen]], axis=1).mean()))
    return min(distances)


def _exchanged() -> np.ndarray:
    return np.r_[0, [index + (1 if index % 2 else -1) for index in range(1, 17)]]


def extract(video: Path, truth: Any, folder: Path, small: bool = True) -> tuple[PoseSequence, int]:
    """Extract conditions of a clip; return its keypoints and the number of damaged detections.

    small: skeletons, which are not looked at, are drawn small.
    """
    info = probe_video(video)
    size = (info.height, info.width)
    target = (size[0] // 4 // 2 * 2, size[1] // 4 // 2 * 2) if small else size
    damage = json.loads(str(truth["damage"]))
    wrapped: list[Damaged] = []
    make = extraction.make_pose_estimator

    def damaged(*arguments: Any, **options: Any) -> Any:
        estimator = make(*arguments, **options)
        wrapped.append(Damaged(estimator, truth["keypoints"][0], float(truth["heights"][0]), damage))
        return wrapped[-1]

    if damage:
        extraction.make_pose_estimator = damaged
    try:
        conditions = extract_conditions(video, folder, plan_fit(size, target, "crop"), info.fps)
    finally:
        extraction.make_pose_estimator = make
    count = sum(estimator.damaged for estimator in wrapped)
    if damage and not count:
        raise RuntimeError(f"{video}: no detection was damaged, so nothing is measured")
    return conditions.pose, count


def measure(video: Path) -> dict[str, Any]:
    """Measure one clip: lists of figures for each frame, so that groups can be put together."""
    with np.load(video.with_suffix(".npz")) as data:
        truth = dict(data)
    with tempfile.TemporaryDirectory() as folder:
        try:
            pose, damaged = extract(video, truth, Path(folder))
        except PosegenError as error:
            frames = int(truth["shows"][0].sum())
            return {"group": str(truth["group"]), "failed": str(error), "shown": frames, "right": 0, "missing": frames}
    keypoints, visible, shows, heights = (truth[name] for name in ("keypoints", "visible", "shows", "heights"))
    height, figures = float(heights[0]), {"group": str(truth["group"]), "damaged_detections": damaged}
    counts = dict.fromkeys(
        ("shown", "right", "wrong", "missing", "drawn_while_away", "upside_down", "visible_hands",
         "visible_hands_drawn", "hands_found", "hands_drawn", "visible_points", "visible_points_drawn"), 0)  # fmt: skip
    errors: list[float] = []
    apart: list[float] = []
    bad: list[int] = []
    if len(pose) != shows.shape[1]:
        raise RuntimeError(f"{video}: {len(pose)} frames of keypoints for {shows.shape[1]} frames")
    for frame in range(len(pose)):
        person = pose[frame]
        points, scores, drawn = person.keypoints, person.scores, person.drawn
        away = [mean_distance(points, scores, everybody[frame]) for everybody in keypoints]
        present = np.isfinite(away[0])
        if not shows[0, frame]:
            counts["drawn_while_away"] += bool(present and min(away) < away[0])
        else:
            counts["shown"] += 1
            right = present and away[0] <= min(away) and away[0] <= NEAR * height
            counts["right"] += right
            counts["missing"] += not present
            counts["wrong"] += present and not right
            counted = visible[0, frame, POINTS] & (scores[POINTS] >= SEEN)
            counts["visible_points"] += int(visible[0, frame, POINTS].sum())
            counts["visible_points_drawn"] += int(counted.sum())
            distance = np.linalg.norm(points[POINTS] - keypoints[0, frame, POINTS], axis=1)[counted]
            errors += [round(float(value), 3) for value in 100 * distance / height]
            if not right:
                bad.append(frame)
        if present and upside_down(points, scores, keypoints[int(np.argmin(away)), frame]):
            counts["upside_down"] += 1
        for side, hand in enumerate(HANDS):
            found, shown = bool((scores[hand] > 0).any()), bool(drawn[hand].sum() >= 2)
            seen = bool(shows[0, frame] and visible[0, frame, hand].sum() >= 14)
            counts["hands_found"] += found
            counts["hands_drawn"] += shown
            counts["visible_hands"] += seen
            counts["visible_hands_drawn"] += seen and shown
            wrist = INDEX[("left_wrist", "right_wrist")[side]]
            if shown and scores[wrist] >= SEEN:
                knuckles = points[hand][[5, 9, 13, 17]] - points[hand.start]
                palm = max(float(np.linalg.norm(knuckles, axis=1).max()), 1.0)
                apart.append(round(float(np.linalg.norm(points[hand.start] - points[wrist])) / palm, 4))
    return figures | counts | {"errors": errors, "apart": apart, "frames_not_right": bad}


def upside_down(keypoints: np.ndarray, scores: np.ndarray, truth: np.ndarray) -> bool:
    """Return True if the drawn trunk, or else the head over the shoulders, is turned by more than `TURNED` degrees."""
    seen = scores >= SEEN
    for low, high in (("hips", "shoulders"), ("shoulders", "head"), ("hips", "head")):
        ends = [[INDEX[name] for name in _ENDS[part] if seen[INDEX[name]]] for part in (low, high)]
        if all(ends):
            drawn, true = (points[ends[1]].mean(axis=0) - points[ends[0]].mean(axis=0) for points in (keypoints, truth))
            cosine = float(drawn @ true) / max(float(np.linalg.norm(drawn) * np.linalg.norm(true)), 1e-6)
            return bool(np.degrees(np.arccos(np.clip(cosine, -1, 1))) > TURNED)
    return False


def timed(video: Path) -> dict[str, float]:
    """Wall and CPU seconds, and frames, of one whole extraction at full size."""
    with np.load(video.with_suffix(".npz")) as data:
        truth = dict(data)
    with tempfile.TemporaryDirectory() as folder:
        began, worked = time.perf_counter(), time.process_time()
        pose, _ = extract(video, truth, Path(folder), small=False)
        return {"frames": len(pose), "seconds": time.perf_counter() - began, "cpu": time.process_time() - worked}


def summary(clips: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures over clips, each frame and point counting once."""

    def total(name: str) -> int:
        return int(sum(clip.get(name, 0) for clip in clips))

    def share(part: str, whole: str) -> float | None:
        return round(100 * total(part) / total(whole), 2) if total(whole) else None

    errors = np.concatenate([clip.get("errors", []) for clip in clips])
    apart = np.concatenate([clip.get("apart", []) for clip in clips])

    def percentile(values: np.ndarray, at: float) -> float | None:
        return round(float(np.percentile(values, at)), 3) if len(values) else None

    return {
        "clips": len(clips),
        "failed": [clip["failed"] for clip in clips if "failed" in clip],
        "frames_shown": total("shown"),
        "right_percent": share("right", "shown"),
        "wrong_percent": share("wrong", "shown"),
        "missing_percent": share("missing", "shown"),
        "somebody_else_drawn_while_away_frames": total("drawn_while_away"),
        "upside_down_frames": total("upside_down"),
        "body_error_median": percentile(errors, 50),
        "body_error_p95": percentile(errors, 95),
        "visible_points_drawn_percent": share("visible_points_drawn", "visible_points"),
        "visible_hands_drawn_percent": share("visible_hands_drawn", "visible_hands"),
        "found_hands_drawn_percent": share("hands_drawn", "hands_found"),
        "hand_to_forearm_palms_median": percentile(apart, 50),
        "hand_to_forearm_palms_p95": percentile(apart, 95),
    }


def run_in(checkout: Path, videos: list[Path], mode: str) -> dict[str, Any]:
    """Run this file with the package of a checkout on the clips; return the figures of each."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    command = [sys.executable, str(Path(__file__).resolve()), f"--only-{mode}", *map(str, videos)]
    said = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    answer = json.loads(said.splitlines()[-1])
    if Path(answer["package"]).resolve().parents[1] != (checkout / "src").resolve():
        raise RuntimeError(f"the package of {checkout} was to be measured, not {answer['package']}")
    return dict(answer["clips"])


def answer_for(videos: list[str], mode: str) -> None:
    """Measure in this process, and print the figures as one line."""
    import posegen

    figures = {}
    for name in videos:
        figures[Path(name).stem] = measure(Path(name)) if mode == "measure" else timed(Path(name))
        shown = ("shown", "right", "wrong", "missing", "upside_down", "failed", "seconds")
        print(Path(name).stem, *(f"{key} {figures[Path(name).stem].get(key)}" for key in shown), file=sys.stderr)
    print(json.dumps({"package": posegen.__file__, "clips": figures}, default=int))


def speed(checkouts: dict[str, Path], videos: list[Path], runs: int) -> dict[str, Any]:
    """Frames per second of each checkout, in turns."""
    rates: dict[str, list[float]] = {name: [] for name in checkouts}
    cpu: dict[str, list[float]] = {name: [] for name in checkouts}
    for number in range(runs):
        for name in sorted(checkouts, reverse=number % 2 == 1):
            clips = run_in(checkouts[name], [videos[0], *videos], "speed").values()  # the first one warms up
            frames = sum(clip["frames"] for clip in clips)
            rates[name].append(frames / sum(clip["seconds"] for clip in clips))
            cpu[name].append(sum(clip["cpu"] for clip in clips) / frames)
    return {
        name: {
            "frames_per_second": round(statistics.median(rates[name]), 2),
            "cpu_milliseconds_per_frame": round(1000 * statistics.median(cpu[name]), 1),
            "runs": [round(rate, 2) for rate in rates[name]],
        }
        for name in checkouts
    }


def main() -> None:
    logging.getLogger("posegen").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="folder in which the clips are kept")
    parser.add_argument("--against", type=Path, help="another checkout, measured on the same clips")
    parser.add_argument("--groups", nargs="*", help="only these groups of clips")
    parser.add_argument("--seed", type=int, default=1, help="other people, clothes, rooms; keep them in another folder")
    parser.add_argument("--runs", type=int, default=3, help="of each checkout, for the speed; 0: none")
    parser.add_argument("--speed-alone", action="store_true", help="only time the clips; nothing else is measured")
    parser.add_argument("--name", default="following", help="of the result file")
    parser.add_argument("--only-measure", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--only-speed", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    for mode in ("measure", "speed"):
        if (videos := getattr(arguments, f"only_{mode}")) is not None:
            answer_for(videos, mode)
            return
    with tempfile.TemporaryDirectory() as name:
        folder = (arguments.keep or Path(name)).resolve()
        compare(arguments, folder)


def compare(arguments: argparse.Namespace, folder: Path) -> None:
    """Make the clips, measure this checkout and the other one, print a table and write the result."""
    import following_clips
    from following_clips import (
        all_clips,
        make_clip,
    )  # the renderer is of this checkout, the measured package may not be
    from results_file import write_result

    following_clips.MADE = arguments.seed
    clips = all_clips()
    if arguments.groups:
        clips = {name: clip for name, clip in clips.items() if clip.group in arguments.groups}
    folder.mkdir(parents=True, exist_ok=True)
    for name, clip in clips.items():
        make_clip(name, clip, folder)
    checkouts = {"after": ROOT}
    if arguments.against:
        checkouts = {"before": arguments.against.resolve(), "after": ROOT}
    timed_clips = [folder / f"{name}.mp4" for name in SPEED_CLIPS if name in clips]
    if arguments.speed_alone:
        speeds = speed(checkouts, timed_clips, arguments.runs)
        print(*speeds.items(), sep="\n")
        write_result(arguments.name, {"clips": list(SPEED_CLIPS), "speed_720p": speeds}, show=False)
        return
    videos = [folder / f"{name}.mp4" for name in clips]
    figures: dict[str, Any] = {"clips": len(clips), "frames": sum(clip.frames for clip in clips.values())}
    for name, checkout in checkouts.items():
        found = run_in(checkout, videos, "measure")
        groups = dict.fromkeys(clip.group for clip in clips.values())
        figures[name] = {
            "all": summary(list(found.values())),
            **{group: summary([clip for clip in found.values() if clip["group"] == group]) for group in groups},
            "frames_not_right": {clip: figure["frames_not_right"] for clip, figure in found.items()
                                 if figure.get("frames_not_right")},
        }  # fmt: skip
    if arguments.runs and timed_clips:
        figures["speed_720p"] = speed(checkouts, timed_clips, arguments.runs)
    figures["targets"] = TARGETS
    figures["reached"] = reached(figures)
    show(figures, list(checkouts))
    write_result(arguments.name, figures, show=False)


def reached(figures: dict[str, Any]) -> dict[str, bool]:
    """Return which targets are reached; those that compare need a checkout to compare with."""
    overall = figures["after"]["all"]
    result = {
        "right_percent": overall["right_percent"] >= TARGETS["right_percent"],
        "upside_down_frames": overall["upside_down_frames"] <= TARGETS["upside_down_frames"],
        "every_found_hand_drawn": overall["found_hands_drawn_percent"] in (None, 100.0),
        "hand_to_forearm_palms_p95": (overall["hand_to_forearm_palms_p95"] or 0)
        <= TARGETS["hand_to_forearm_palms_p95"],
    }
    if "before" in figures:
        ratio = overall["body_error_p95"] / figures["before"]["all"]["body_error_p95"]
        result["body_p95_ratio"] = ratio <= TARGETS["body_p95_ratio"]
        if "speed_720p" in figures:
            rates = [figures["speed_720p"][name]["frames_per_second"] for name in ("before", "after")]
            result["frames_per_second_ratio"] = rates[1] >= TARGETS["frames_per_second_ratio"] * rates[0]
    return result


def show(figures: dict[str, Any], names: list[str]) -> None:
    """Print a table: a row for each group and checkout."""
    columns = {"right_percent": "right %", "wrong_percent": "wrong %", "missing_percent": "missing %",
               "somebody_else_drawn_while_away_frames": "other drawn", "upside_down_frames": "upside down",
               "body_error_median": "error", "body_error_p95": "p95", "visible_points_drawn_percent": "points %",
               "visible_hands_drawn_percent": "hands %", "found_hands_drawn_percent": "of found %",
               "hand_to_forearm_palms_p95": "palms p95"}  # fmt: skip
    print(f"{'':22}{'':8}" + "".join(f"{title:>12}" for title in columns.values()))
    for group in [key for key, value in figures[names[0]].items() if isinstance(value, dict) and "clips" in value]:
        for name in names:
            row = figures[name][group]
            print(
                f"{group:22}{name:8}" + "".join(f"{row[key] if row[key] is not None else '-':>12}" for key in columns)
            )
    for name, value in figures.get("speed_720p", {}).items():
        print(name, value)
    print(figures["reached"])


if __name__ == "__main__":
    main()
