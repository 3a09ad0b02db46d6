"""Peak memory and time per frame of `posegen generate` by the length of the driving video: neither may grow with it.

    python benchmarks/generate_memory.py [--lengths 30 600] [--fps 16] [--steps 1] [--model narrow]

The inputs are the bundled driving video, repeated, with poses estimated as for any video. "narrow" is a model with the
mini's layers, a sixth of its width and random weights: what it costs is enough to be measured, and little beside what
could grow. Every video is made by a process of its own, whose peak memory is ru_maxrss, the pose estimator's included.
Time is CPU time, so that it does not count what else the machine does: of the segments from the end of the first one
to the result, which leaves out starting and loading, and of the conditions from their first frame on.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

import posegen
from posegen.config import DEFAULT_PROMPT, GenerateConfig
from posegen.generate.long_video import generate_video
from posegen.media.video import VideoWriter, iterate_frames, probe_video
from posegen.model.autoencoder import AutoencoderLightVideo
from posegen.model.mini import build_mini
from results_file import write_result

DEMO = Path(posegen.__file__).parent / "demo"
MOST_GROWTH = 1.05


def narrow(folder: Path) -> Path:
    """Save the narrow model."""
    model = build_mini(heads=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model.register_modules(
            vae=AutoencoderLightVideo(32, encoder_channels=[8, 16, 16], decoder_channels=[16, 16, 8])
        )
    model.save_pretrained(folder)
    return folder


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


class Watch:
    """Notes the CPU time at which each task began and ended."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}
        self.ended: dict[str, float] = {}

    def say(self, line: str) -> None:
        pass

    def update(self, task: str, done: int, total: int) -> None:
        self.began.setdefault(task, time.process_time())
        if done == total:
            self.ended.setdefault(task, time.process_time())


def generate(driving: Path, output: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Make one video in this process, and what it cost."""
    watch = Watch()
    config = GenerateConfig(
        reference=DEMO / "reference.png", driving=driving, output=output, model=arguments.model, fps=str(arguments.fps),
        steps=arguments.steps, prompt=DEFAULT_PROMPT, person_check=False,
    )  # fmt: skip
    video = generate_video(config, watch).plan
    num_frames = video.settings.num_frames
    end = time.process_time()
    conditions = 1000 * (watch.ended["conditions"] - watch.began["conditions"]) / num_frames
    segments = sorted(moment for task, moment in watch.ended.items() if task.startswith("segment"))
    made = 1000 * (end - segments[0]) / ((len(segments) - 1) * video.inputs.model.segment_length)
    return {
        "frames": num_frames,
        "segments": len(segments),
        "cpu_seconds": round(end, 1),
        "cpu_ms_per_frame_of_conditions": round(conditions, 2),
        "cpu_ms_per_frame_of_segments": round(made, 2),
        "cpu_ms_per_frame": round(conditions + made, 2),
    }


def measure(driving: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Make one video in a process of its own."""
    output = driving.with_name(f"{driving.stem}_result.mp4")
    command = [
        sys.executable, __file__, "--one", str(driving), str(output), "--fps", str(arguments.fps), "--steps",
        str(arguments.steps), "--model", arguments.model,
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        assert child.stdout is not None
        figures = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, "generate failed"
    return {**json.loads(figures), "peak_memory_MiB": round(usage.ru_maxrss / 1024)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs=2, default=(30, 600), help="seconds of the two videos")
    parser.add_argument("--fps", type=int, default=16)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--model", default="narrow", help="name or folder of another model")
    parser.add_argument("--one", type=Path, nargs=2, help="only make one video: driving video and output")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(generate(*arguments.one, arguments)))
        return
    figures: dict[str, object] = {"model": arguments.model, "steps": arguments.steps, "fps": arguments.fps,
                                  "threads": torch.get_num_threads()}  # fmt: skip
    measured = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.model == "narrow":
            arguments.model = str(narrow(folder / "narrow"))
        for seconds in arguments.lengths:
            measured.append(measure(repeated(seconds, folder / f"{seconds}s.mp4"), arguments))
            figures[f"{seconds}_s_video"] = measured[-1]
            print(seconds, json.dumps(measured[-1]), flush=True)
    for kind in (
        "peak_memory_MiB",
        "cpu_ms_per_frame",
        "cpu_ms_per_frame_of_conditions",
        "cpu_ms_per_frame_of_segments",
    ):
        figures[f"{kind}_long_over_short"] = round(measured[1][kind] / measured[0][kind], 3)
    figures["aim_at_most"] = MOST_GROWTH
    write_result("generate_memory", figures)


if __name__ == "__main__":
    main()
