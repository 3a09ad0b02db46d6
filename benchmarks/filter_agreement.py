"""How often the embedded filters agree with what is known of clips: precision and recall of dropping, for each filter.

    python benchmarks/filter_agreement.py [--renderings FOLDER] [--people 12] [--videos VIDEO...] [--wrong FOLDER]

Thresholds were set while looking at the first seeds only; the second ones are other people in other scenes. Clips are
encoded as H.264 and go through the same sampling as any video. `--wrong` keeps frames of clips that are judged wrongly,
to be looked at. Real videos (`--videos`) have no known answer for most filters: their scores are written as they are.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from filter_test_set import FPS, cases
from posegen.data.prepare.filters import DEFAULT_THRESHOLDS, FilterSettings, Scorer, judge, make_scorer
from posegen.data.prepare.sampling import sample_clip
from posegen.media.video import VideoWriter
from results_file import write_result

SEEDS = {"set on": 5000, "measured on": 7000}
CRF = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--renderings", type=Path, default=Path(tempfile.gettempdir()) / "posegen-filter-test-set")
    parser.add_argument("--people", type=int, default=12, help="rendered people of each of the two sets")
    parser.add_argument("--sets", nargs="+", default=list(SEEDS), choices=list(SEEDS))
    parser.add_argument("--videos", nargs="*", type=Path, default=[])
    parser.add_argument("--wrong", type=Path)
    arguments = parser.parse_args()
    scorer = make_scorer(FilterSettings(), "cpu")
    assert isinstance(scorer, Scorer)
    figures: dict[str, object] = {
        name: agreement(
            scorer, range(SEEDS[name], SEEDS[name] + arguments.people), arguments.renderings, arguments.wrong
        )
        for name in arguments.sets
    }
    figures["thresholds"] = {
        name: {key: value for key, value in vars(threshold).items() if value is not None}
        for name, threshold in DEFAULT_THRESHOLDS.items()
    }
    figures["real videos"] = {video.name: real(scorer, video) for video in arguments.videos}
    scorer.close()
    write_result("filter_agreement", figures)


def agreement(scorer: Scorer, seeds: range, folder: Path, wrong: Path | None) -> dict[str, object]:
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    mistakes: dict[str, list[str]] = defaultdict(list)
    total = 0
    for seed in seeds:
        for case in cases(seed, folder):
            total += 1
            scores = scores_of(scorer, case.frames)
            _, dropped = judge(scores, DEFAULT_THRESHOLDS)
            for name, bad in case.bad.items():
                found = name in dropped
                counts[name]["dropped" if found else "kept", "right" if found == bad else "wrong"] += 1
                if found != bad:
                    threshold = DEFAULT_THRESHOLDS[name]
                    mistakes[name].append(f"{seed} {case.name}: {threshold.column} {scores[threshold.column]:.4f}")
                    if wrong is not None:
                        keep_picture(wrong / f"{name} {seed} {case.name.replace('/', '-')}.jpg", case.frames)
    return {"people": len(seeds), "clips": total, "filters": {
        name: {**quality(counts[name]), "wrong": mistakes[name]} for name in DEFAULT_THRESHOLDS
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


def scores_of(scorer: Scorer, frames: np.ndarray) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        height, width = (side // 2 * 2 for side in frames.shape[1:3])
        with VideoWriter(path, FPS, size=(height, width), crf=CRF) as writer:
            for frame in frames:
                writer.write(np.ascontiguousarray(frame[:height, :width]))
        return scorer(sample_clip(path, 0.0, 1e6))


def real(scorer: Scorer, video: Path) -> dict[str, object]:
    """Scores, verdict and speed for the whole of a real video, as one clip of 5 s after the other."""
    scores, seconds, start = [], 0.0, time.process_time()
    while seconds < 1e6:
        try:
            clip = sample_clip(video, seconds, seconds + 5)
        except Exception:
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
