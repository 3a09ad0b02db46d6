"""Simulate preparing 33 and 10,000 hours of video with the measured service times.

    python benchmarks/prepare_cost.py [--gpu-score 0.02] [--gpu-sample 0.3]

Service times of one core come from results/prepare_speed.json (embedded backends). Models on a GPU were not measured
here: their times, in seconds for each second of video, are assumptions, given by the options and told in the result.
The simulation does what the engine does: videos wait in order; each core looks through one at a time, and without GPUs
scores its first clips meanwhile; the others go to the scorers, in tasks of 16 clips: with GPUs at once, else when all
videos are looked through. Clips that are kept are made into samples when all are judged. Videos
have lengths drawn from a log-normal distribution with a median of 4 minutes, the largest being tens of times longer.
"""

import argparse
import heapq
import json
from pathlib import Path

import numpy as np

from posegen.prepare.prepare_videos import clips_together
from posegen.prepare.stages.stage_work import CLIPS_PER_TASK
from results_file import RESULTS, write_result

CLIP = 81 / 16
TASK = CLIPS_PER_TASK * CLIP
"""Seconds of video in a task."""
KEPT = 0.3
"""Share of the clips that is kept: an assumption; PoseGen's own is not published."""


def video_lengths(hours: float, seed: int = 0) -> np.ndarray:
    """Seconds of each video, so many that they make up the hours."""
    random, lengths, total = np.random.default_rng(seed), [], 0.0
    while total < 3600 * hours:
        lengths.append(min(float(random.lognormal(np.log(240), 1.0)), 4 * 3600.0))
        total += lengths[-1]
    return np.array(lengths)


def finish_times(ready: list[tuple[float, float]], workers: int) -> tuple[list[float], float]:
    """When each of the tasks (ready at, takes), in order of readiness, is done; and how long workers were busy."""
    free = [0.0] * workers
    done, busy = [], 0.0
    for moment, takes in sorted(ready):
        begin = max(moment, heapq.heappop(free))
        heapq.heappush(free, begin + takes)
        done.append(begin + takes)
        busy += takes
    return done, busy


def simulate(hours: float, cpus: int, gpus: int, cost: dict[str, float]) -> dict[str, float | str]:
    """Hours on the clock, and what is busy for which share of the time."""
    lengths = video_lengths(hours)
    meanwhile = np.minimum(lengths, 0 if gpus else CLIP * clips_together(len(lengths), cpus))
    takes = meanwhile * cost["filters"] + (lengths - meanwhile) * cost["look"]
    looked, look_busy = finish_times([(0.0, each) for each in takes.tolist()], cpus)
    left = [
        (end, min(TASK, length - at)) for length, first, end in zip(lengths, meanwhile, looked, strict=True)
        for at in np.arange(first, length, TASK)
    ]  # fmt: skip
    scorers = gpus or cpus
    begin = 0.0 if gpus else max(looked)  # without GPUs both stages share the cores, one after the other
    scored, score_busy = finish_times([(max(end, begin), piece * cost["score"]) for end, piece in left], scorers)
    judged = max([*scored, max(looked)])
    pieces = [min(TASK, length - at) for length in lengths for at in np.arange(0, length, TASK)]
    kept = [(judged, piece * KEPT * cost["sample"]) for piece in pieces]
    made, sample_busy = finish_times(kept, scorers)
    end = max(made)
    shares = {"look": max(looked), "score": judged - (0.0 if gpus else begin), "samples": end - judged}
    return {
        "hours_on_the_clock": round(end / 3600, 2),
        "hours_until_judged": round(judged / 3600, 2),
        "slowest_stage": max(shares, key=lambda name: shares[name]),
        "cores_busy_looking": round(look_busy / cpus / end, 2),
        "scorers_busy": round((score_busy + sample_busy) / scorers / end, 2),
        "kept_hours": round(hours * KEPT, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpu-score", type=float, default=0.02, help="seconds of a GPU for a second of video")
    parser.add_argument("--gpu-sample", type=float, default=0.3, help="the same for pose, normals and caption")
    arguments = parser.parse_args()
    speeds = json.loads(Path(RESULTS, "prepare_speed.json").read_text())["figures"]["real_time_per_core"]
    cpu = {stage: 1 / speeds[stage] for stage in ("look", "score", "filters", "sample")}
    gpu = {**cpu, "score": arguments.gpu_score, "sample": arguments.gpu_sample}
    plans = [(33, 2, 0), (33, 32, 0), (33, 32, 4), (10_000, 256, 0), (10_000, 1024, 0), (10_000, 256, 32)]
    figures: dict[str, object] = {
        "seconds_per_second_of_video": {
            "core": {name: round(value, 3) for name, value in cpu.items()},
            "gpu, assumed": {"score": arguments.gpu_score, "sample": arguments.gpu_sample},
        },
        "assumed_share_kept": KEPT,
    }
    for hours, cpus, gpus in plans:
        name = f"{hours} h of raw video, {cpus} cores, {gpus} GPUs"
        figures[name] = simulate(float(hours), cpus, gpus, gpu if gpus else cpu)
    write_result("prepare_cost", figures)


if __name__ == "__main__":
    main()
