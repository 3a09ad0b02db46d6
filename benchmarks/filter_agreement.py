"""Measure precision and recall of the embedded filters and the cut finder on clips with known answers.

    python benchmarks/filter_agreement.py [--renderings FOLDER] [--people 12] [--videos VIDEO...] [--wrong FOLDER]

Thresholds were set while looking at the first seeds only; the second ones are other people in other scenes, and new
ones whenever a filter was changed after its mistakes on the second had been looked at. Clips are encoded as H.264 and
go through the same sampling as any video. `--wrong` keeps frames of clips that are judged wrongly, to be looked at.
Where the background is even ("even backgrounds", by the scene without the person) nobody could tell that a camera
moves: such clips must not be dropped for it if it stands still, and are no case if it moves. Real videos (`--videos`)
have no known answer for most filters: their scores are written as they are.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from filter_test_set import CUTS, FPS, cases, render, shows_movement
from posegen.errors import PosegenError
from posegen.media.video import VideoWriter
from posegen.prepare.filters.clip_filters import (
    DEFAULT_THRESHOLDS,
    ClipScorer,
    FilterSettings,
    Threshold,
    judge,
    make_scorer,
)
from posegen.prepare.filters.sampled_frames import sample_clip
from posegen.prepare.prepare_recipe import ClipSettings
from posegen.prepare.stages.scenes import look_through
from results_file import figures_of, write_result

SEEDS = {"set on": 5000, "measured on": 13000, "text measured on": 15000, "people measured on": 25000}
ONLY = {"text measured on": ["overlay"], "people measured on": ["one_person"]}
"""Filters that were changed after their mistakes on the second set had been looked at."""
TIMES = {"people measured on": 3}
"""Sets of more people: what a filter misses there hangs on how two people happen to stand, and a dozen tell little."""
CRF = 20
JUDGED = DEFAULT_THRESHOLDS | {CUTS: Threshold("cuts", maximum=0.0)}
ANY_SHAPE = ClipSettings(num_frames=1, fps=float(FPS), sizes=((16, 16),), most_cropped=1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--renderings", type=Path, default=Path(tempfile.gettempdir()) / "posegen-filter-test-set")
    parser.add_argument("--people", type=int, default=12, help="rendered people of each of the two sets")
    parser.add_argument("--sets", nargs="+", default=list(SEEDS), choices=list(SEEDS))
    parser.add_argument("--videos", nargs="*", type=Path, default=[])
    parser.add_argument("--wrong", type=Path)
    parser.add_argument("--filters", nargs="+", choices=list(JUDGED),
                        help="only clips with an answer for these; the others' figures stay what they are")  # fmt: skip
    arguments = parser.parse_args()
    asked = arguments.filters or list(JUDGED)
    settings = FilterSettings(skip=tuple(name for name in DEFAULT_THRESHOLDS if name not in asked))
    scorer = None if asked == [CUTS] else make_scorer(settings, "cpu")
    figures: dict[str, object] = {}
    for name in arguments.sets:
        people = range(SEEDS[name], SEEDS[name] + arguments.people * TIMES.get(name, 1))
        filters = [each for each in asked if each in ONLY.get(name, asked)]
        figures[name] = agreement(scorer, people, arguments.renderings, arguments.wrong, filters)
    if arguments.filters:
        figures = merged(figures_of("filter_agreement"), figures)
    figures["thresholds"] = {
        name: {key: value for key, value in vars(threshold).items() if value is not None}
        for name, threshold in DEFAULT_THRESHOLDS.items()
    }
    if arguments.videos and scorer:
        figures["real videos"] = {video.name: real(scorer, video) for video in arguments.videos}
    if scorer:
        scorer.close()
    write_result("filter_agreement", figures)


def merged(before: dict, now: dict) -> dict[str, object]:
    """Figures of an earlier run with those of some filters anew."""
    for name, found in now.items():
        old = before.setdefault(name, {"people": found["people"], "clips": found["clips"], "filters": {}})
        assert old["people"] == found["people"], "measured on other people"
        old["filters"] |= found["filters"]
        old["even backgrounds"] = found["even backgrounds"]
    return before


def agreement(
    scorer: ClipScorer | None, seeds: range, folder: Path, wrong: Path | None, filters: list[str]
) -> dict[str, object]:
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    mistakes: dict[str, list[str]] = defaultdict(list)
    total = 0
    for seed in seeds:
        for case in cases(seed, folder):
            total += 1
            if not set(filters) & set(case.bad):
                continue
            scores = scores_of(scorer, case.frames)
            _, dropped = judge(scores, {name: JUDGED[name] for name in filters})
            for name, bad in case.bad.items():
                if name not in filters:
                    continue
                found = name in dropped
                counts[name]["dropped" if found else "kept", "right" if found == bad else "wrong"] += 1
                if found != bad:
                    threshold = JUDGED[name]
                    mistakes[name].append(f"{seed} {case.name}: {threshold.column} {scores[threshold.column]:.4f}")
                    if wrong is not None:
                        keep_picture(wrong / f"{name} {seed} {case.name.replace('/', '-')}.jpg", case.frames)
    even = [seed for seed in seeds if not shows_movement(render(seed, folder))]
    return {"people": len(seeds), "clips": total, "even backgrounds": even, "filters": {
        name: {**quality(counts[name]), "wrong": mistakes[name]} for name in filters if counts[name]
    }}  # fmt: skip


def quality(count: dict) -> dict[str, float]:
    """Precision and recall of dropping."""
    right, wrong = count["dropped", "right"], count["dropped", "wrong"]
    missed, kept = count["kept", "wrong"], count["kept", "right"]
    return {
        "precision": round(right / max(1, right + wrong), 3),
        "recall": round(right / max(1, right + missed), 3),
        "to drop": right + missed,
        "to keep": kept + wrong,
    }


def scores_of(scorer: ClipScorer | None, frames: np.ndarray) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        height, width = (side // 2 * 2 for side in frames.shape[1:3])
        with VideoWriter(path, FPS, size=(height, width), crf=CRF) as writer:
            for frame in frames:
                writer.write(np.ascontiguousarray(frame[:height, :width]))
        scores = {} if scorer is None else scorer(sample_clip(path, 0.0, 1e6))
        return scores | {"cuts": float(len(look_through(path, ANY_SHAPE).cuts))}


def real(scorer: ClipScorer, video: Path) -> dict[str, object]:
    """Scores, verdict and speed for the whole of a real video, as one clip of 5 s after the other."""
    scores, seconds, start = [], 0.0, time.process_time()
    while seconds < 1e6:
        try:
            clip = sample_clip(video, seconds, seconds + 5)
        except PosegenError:  # it has ended
            break
        scores.append(scorer(clip))
        seconds += 5
    spent = time.process_time() - start
    mean = {column: round(float(np.mean([each[column] for each in scores])), 4) for column in scores[0]}
    return {"scores": mean, "dropped by": judge(mean, DEFAULT_THRESHOLDS)[1], "processor seconds": round(spent, 2)}


def keep_picture(path: Path, frames: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    chosen = [frames[number] for number in (0, len(frames) // 2, -1)]
    cv2.imwrite(str(path), cv2.cvtColor(np.hstack(chosen), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
