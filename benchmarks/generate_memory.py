"""Peak memory and time per frame of `posegen generate` by the length of the driving video: neither may grow with it.

    python benchmarks/generate_memory.py [--lengths 30 600] [--fps 4] [--steps 1]

The inputs are the bundled driving video, repeated, with poses estimated as for any video. Peak memory is that of a
whole process (ru_maxrss). Time is CPU time per frame beyond that of a video of one segment, so that starting and
loading do not count, nor what else the machine does.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import posegen
from posegen.media.video import VideoWriter, iterate_frames, probe_video
from posegen.pipeline.models import describe_model
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


def measure(driving: Path, folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    output = folder / f"{driving.stem}_result.mp4"
    command = [
        sys.executable, "-m", "posegen.apps.cli", "generate", "--reference", str(DEMO / "reference.png"),
        "--driving", str(driving), "--output", str(output), "--steps", str(arguments.steps),
        "--fps", str(arguments.fps), "--no-person-check",
    ]  # fmt: skip
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "generate failed"
    return {
        "frames": sum(1 for _ in iterate_frames(output)),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_memory_MiB": round(usage.ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs=2, default=(30, 600), help="seconds of the two videos")
    parser.add_argument("--fps", type=int, default=4)
    parser.add_argument("--steps", type=int, default=1)
    arguments = parser.parse_args()
    segment = describe_model("mini").segment_length
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = measure(repeated(segment / arguments.fps, folder / "one.mp4"), folder, arguments)
        figures: dict[str, object] = {"steps": arguments.steps, "fps": arguments.fps, "one_segment": start}
        peaks, times = [], []
        for seconds in arguments.lengths:
            measured = measure(repeated(seconds, folder / f"{seconds}s.mp4"), folder, arguments)
            beyond = (measured["cpu_seconds"] - start["cpu_seconds"]) / (measured["frames"] - start["frames"])
            figures[f"{seconds}_s_video"] = measured | {"cpu_ms_per_frame_beyond_one_segment": round(1000 * beyond, 1)}
            print(seconds, json.dumps(figures[f"{seconds}_s_video"]), flush=True)
            peaks.append(measured["peak_memory_MiB"])
            times.append(beyond)
    figures["peak_long_over_short"] = round(peaks[1] / peaks[0], 3)
    figures["time_per_frame_long_over_short"] = round(times[1] / times[0], 3)
    write_result("generate_memory", figures)


if __name__ == "__main__":
    main()
