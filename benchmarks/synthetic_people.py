"""Frames per second and core of synthetic people with all modalities, and whether memory grows with the people made.

    python benchmarks/synthetic_people.py [--clips 12] [--people 60]

CPU time of this process, so that other work on the machine does not count; kernels are compiled and assets extracted
before. "end to end" is what `make_shards` does: set-up of people, scenes, drawing and compressed samples. Run it with
OMP_NUM_THREADS=1 and OPENBLAS_NUM_THREADS=1, or numpy's threads count more than once.
"""

import argparse
import time

import psutil

from posegen.synthetic.clip import SyntheticClip, SyntheticClipSettings
from posegen.synthetic.shard_writer import ShardSettings, samples
from results_file import write_result

TARGET_FPS = 8.0
"""At 256 x 256."""


def drawing(height: int, width: int, clips: int) -> dict[str, float]:
    """CPU seconds of set-up per clip, and frames per second of drawing and of everything."""
    settings = SyntheticClipSettings(height, width)
    next(SyntheticClip(1, 1, settings).frames())
    setup = total = 0.0
    for number in range(clips):
        start = time.process_time()
        clip = SyntheticClip(3000 + number, number, settings)
        setup += time.process_time() - start
        for _ in clip.frames():
            pass
        total += time.process_time() - start
    frames = clips * settings.num_frames
    return {
        "setup_seconds_per_clip": round(setup / clips, 3),
        "frames_per_second": round(frames / total, 1),
        "frames_per_second_without_setup": round(frames / (total - setup), 1),
    }


def end_to_end(clips: int) -> float:
    """Frames per hour and core of finished training samples at the default size."""
    settings = ShardSettings("train", clips, clips_per_shard=clips)
    start = time.process_time()
    count = sum(settings.clip.num_frames for _ in samples(settings, 0))
    return round(3600 * count / (time.process_time() - start))


def memory(people: int) -> list[int]:
    """MiB held after every tenth person."""
    process, held = psutil.Process(), []
    for number in range(people):
        for _ in SyntheticClip(5000 + number, number, SyntheticClipSettings(num_frames=2)).frames():
            pass
        if number % 10 == 9:
            held.append(round(process.memory_info().rss / 2**20))
    return held


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--people", type=int, default=60)
    arguments = parser.parse_args()
    square = drawing(256, 256, arguments.clips)
    figures: dict[str, object] = {
        "clips": arguments.clips,
        "256x256": square,
        "target_frames_per_second": TARGET_FPS,
        "target_reached": square["frames_per_second"] >= TARGET_FPS,
        "192x112": drawing(192, 112, arguments.clips),
        "192x112_end_to_end_frames_per_hour": end_to_end(arguments.clips),
        "memory_mib_after_every_tenth_person": memory(arguments.people),
    }
    write_result("synthetic_people", figures)
