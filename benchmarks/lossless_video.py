"""Measure CPU time and bytes of a lossless skeleton video, as FFV1 and as H.264 of RGB.

    python benchmarks/lossless_video.py CONDITIONS/skeleton.mkv [--frames 96]

The frames are brought to 1280x720 first, without softening their edges.
"""

import argparse
import tempfile
import time
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from posegen.media.video import VideoWriter, iterate_frames
from results_file import write_result

SIZE = (1280, 720)


def measure(frames: list[np.ndarray], codec: Literal["ffv1", "h264rgb"], path: Path) -> dict[str, object]:
    start = time.process_time()
    with VideoWriter(path, Fraction(24), size=SIZE, codec=codec) as writer:
        for frame in frames:
            writer.write(frame)
    written = time.process_time()
    read = list(iterate_frames(path))
    done = time.process_time()
    return {
        "write_ms_a_frame": round(1000 * (written - start) / len(frames), 2),
        "read_ms_a_frame": round(1000 * (done - written) / len(frames), 2),
        "kB_a_frame": round(path.stat().st_size / len(frames) / 1000, 1),
        "without_loss": all(np.array_equal(one, other) for one, other in zip(read, frames, strict=True)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--frames", type=int, default=96)
    arguments = parser.parse_args()
    shown = islice(iterate_frames(arguments.video), arguments.frames)
    frames = [cv2.resize(frame, SIZE[::-1], interpolation=cv2.INTER_NEAREST) for frame in shown]
    with tempfile.TemporaryDirectory() as name:
        figures = {codec: measure(frames, codec, Path(name) / f"{codec}.mkv") for codec in ("ffv1", "h264rgb")}
    write_result("lossless_video", {"size": SIZE, "frames": len(frames), **figures})


if __name__ == "__main__":
    main()
