"""Peak memory and time of `posegen generate` for a 10 s and a 60 s driving video: it must not grow with the length.

    python benchmarks/generate_memory.py [--steps 2]

The long inputs are the bundled driving video, repeated. Peak memory is that of a whole process (ru_maxrss).
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import posegen
from posegen.media.video import VideoWriter, iterate_frames, probe_video
from results_file import write_result

DEMO = Path(posegen.__file__).parent / "demo"


def repeated(seconds: float, path: Path) -> Path:
    info = probe_video(DEMO / "driving.mp4")
    left = round(seconds * info.fps)
    with VideoWriter(path, info.fps, size=(info.height, info.width)) as writer:
        while left > 0:
            for frame in iterate_frames(info.path):
                writer.write(frame)
                left -= 1
                if left == 0:
                    break
    return path


def measure(driving: Path, folder: Path, steps: int) -> dict[str, float]:
    command = [
        sys.executable, "-m", "posegen.apps.cli", "generate", "--reference", str(DEMO / "reference.png"),
        "--driving", str(driving), "--output", str(folder / f"{driving.stem}_result.mp4"), "--steps", str(steps),
    ]  # fmt: skip
    start = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "generate failed"
    return {"seconds": round(time.monotonic() - start, 1), "peak_memory_MiB": round(usage.ru_maxrss / 1024)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2)
    steps = parser.parse_args().steps
    figures: dict[str, object] = {"steps": steps}
    with tempfile.TemporaryDirectory() as name:
        peaks = []
        for seconds in (10, 60):
            measured = measure(repeated(seconds, Path(name) / f"{seconds}s.mp4"), Path(name), steps)
            figures[f"{seconds}_s_video"] = measured
            peaks.append(measured["peak_memory_MiB"])
    figures["peak_60_over_10"] = round(peaks[1] / peaks[0], 3)
    write_result("generate_memory", figures)


if __name__ == "__main__":
    main()
