"""Show every score for the ground truth and for seven ways to spoil it: the order must be the sensible one.

    python benchmarks/score_orders.py [--clips 4] [--frames 48] [--benchmark FOLDER]

Clips are synthetic people of the split val-same (or those of a benchmark with ground truth), scored by `posegen
evaluate` with the scores that need no weights. The ways: the reference image repeated, noise, blur, one frame late,
colours that drift, another person (another clip's video, brought to the length), and one jump (the second half of the
video shifted by 6 % of the width). Figures: the mean over clips of each score and way, and the ways that score better
than the ground truth. Scores without ground truth may be won by a still image, and by true videos at another time or of
another person; nothing else may be better than the ground truth, or methods are not ranked by the score. Fréchet
distances compare sets of clips, so "another person" is no distance away: each video belongs to another clip of the set.
"""

import argparse
import itertools
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from posegen.config import BenchmarkConfig, EvaluateConfig
from posegen.evaluate.benchmark_file import BenchmarkClip, read_benchmark, write_benchmark
from posegen.evaluate.evaluation import Evaluation, evaluate
from posegen.evaluate.making import make_benchmark
from posegen.evaluate.scoring import TRUTH
from posegen.media.image import read_image
from posegen.media.video import VideoWriter
from posegen.progress import NullProgress
from results_file import write_result

Video = np.ndarray
COPY, STILL, LATE, OTHER = "copy of the ground truth", "reference repeated", "one frame late", "another person"


def noisy(frames: Video) -> Video:
    """Add Gaussian noise with a deviation of 12 grey levels."""
    return clipped(frames + np.random.default_rng(0).normal(0, 12, frames.shape))


def blurred(frames: Video) -> Video:
    """Blur by 1.5 % of the width."""
    return np.stack([cv2.GaussianBlur(frame, (0, 0), 0.015 * frame.shape[1]) for frame in frames])


def late(frames: Video) -> Video:
    """Show every frame one frame late."""
    return np.concatenate([frames[:1], frames[:-1]])


def drifting(frames: Video) -> Video:
    """Make colours warmer and brighter, up to 24 grey levels at the end."""
    share = np.linspace(0, 1, len(frames)).reshape(-1, 1, 1, 1)
    return clipped(frames + share * np.array([24, 12, -12]))


def jumping(frames: Video) -> Video:
    """Shift the second half sideways."""
    shift, half = round(0.06 * frames.shape[2]), len(frames) // 2
    return np.concatenate([frames[:half], np.roll(frames[half:], shift, axis=2)])


def clipped(frames: np.ndarray) -> Video:
    """Round to 8 bits."""
    return np.clip(np.round(frames), 0, 255).astype(np.uint8)


WAYS: dict[str, Callable[[Video], Video]] = {
    COPY: lambda frames: frames,
    "noise": noisy,
    "blur": blurred,
    LATE: late,
    "colour drift": drifting,
    "one jump": jumping,
}


def like(other: Video, frames: Video) -> Video:
    """Bring another clip's video to the length and size of this one."""
    chosen = other[np.linspace(0, len(other) - 1, len(frames)).round().astype(int)]
    return np.stack([cv2.resize(frame, frames.shape[2:0:-1], interpolation=cv2.INTER_AREA) for frame in chosen])


def write(path: Path, frames: Video, fps: Fraction) -> None:
    """Write a video without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, fps, (frames.shape[1], frames.shape[2]), codec="ffv1") as writer:
        for frame in frames:
            writer.write(frame)


def spoil(clips: list[BenchmarkClip], count: int, folder: Path) -> EvaluateConfig:
    """Write the ground truth's first frames, and all ways to spoil them, as results of methods."""
    found = []
    for clip in clips:
        if clip.ground_truth is None:
            raise SystemExit(f"{clip.name} has no ground truth")
        found.append(np.stack(list(itertools.islice(clip.ground_truth.frames(), count))))
    entries = []
    for number, (clip, frames) in enumerate(zip(clips, found, strict=True)):
        assert clip.ground_truth is not None
        fps = clip.ground_truth.fps
        results = {name: way(frames) for name, way in WAYS.items()}
        reference = cv2.resize(read_image(clip.reference), frames.shape[2:0:-1], interpolation=cv2.INTER_AREA)
        results[STILL] = np.repeat(reference[None], len(frames), axis=0)
        results[OTHER] = like(found[(number + 1) % len(found)], frames)
        write(folder / "truth" / f"{clip.name}.mkv", frames, fps)
        for name, result in results.items():
            write(folder / name / f"{clip.name}.mkv", result, fps)
            seam = folder / name / f"{clip.name}.seams.json"
            seam.write_text(f"[{len(frames) // 2 - 1}]")
        truth = str(folder / "truth" / f"{clip.name}.mkv")
        entries.append({"name": clip.name, "reference": str(clip.reference.resolve()), "truth": truth})
    write_benchmark(folder / "benchmark.yaml", "orders", "", entries)
    methods = tuple(f"{name}={folder / name}" for name in (*WAYS, STILL, OTHER))
    return EvaluateConfig(folder, methods, folder / "report", protocol="native", cache=folder / "cache")


def orders(evaluation: Evaluation) -> dict[str, object]:
    """Return for each score its means, and the ways that beat the ground truth by what is printed."""
    table: dict[str, object] = {}
    for score in evaluation.scores:
        means = {
            row: round(cell.value, score.digits)
            for row in evaluation.rows
            if row != TRUTH and (cell := evaluation.cells.get((row, score.name))) is not None
        }
        sign = 1 if score.better == "higher" else -1
        best = means.get(COPY)
        beating = [name for name, mean in means.items() if best is not None and sign * mean > sign * best]
        without_truth = (TRUTH, score.name) in evaluation.cells
        table[score.name] = {
            "better": score.better,
            "unit": score.unit,
            "means": means,
            "better_than_ground_truth": beating,
            "sensible": not set(beating) - ({STILL, LATE, OTHER} if without_truth else set()),
            "ranked": score.ranked,
        }
    return table


def main() -> None:
    """Run it and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--benchmark", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = options.benchmark
        if source is None:
            source = folder / "val-same"
            make_benchmark(
                BenchmarkConfig("val-same", source, clips=options.clips, seconds=options.frames / 16), NullProgress()
            )
        clips = list(read_benchmark(source).clips)[: options.clips]
        evaluation = evaluate(spoil(clips, options.frames, folder / "ways"), NullProgress())
        write_result("score_orders", {"clips": len(clips), "frames": options.frames, "scores": orders(evaluation)})


if __name__ == "__main__":
    main()
