"""Makes the good files that `broken_inputs.py` damages: small ones of every kind that a command reads."""

import contextlib
import itertools
import json
import shutil
import sys
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np

import posegen
from warm_start import run_posegen

TESTS = Path(__file__).resolve().parents[1] / "tests"
DEMO = Path(posegen.__file__).parent / "demo"
SIZE, FRAMES, FPS = (128, 96), 12, 12
"""Height and width of the videos, their frames, and frames per second."""
PICTURES = ("png", "jpg", "webp", "bmp", "tif", "gif", "avif")
VIDEOS = {
    "mp4": "libx264", "mkv": "libx264", "webm": "libvpx-vp9", "mov": "mpeg4", "avi": "mpeg4", "ts": "libx264",
    "mpg": "mpeg2video", "gif": "gif",
}  # fmt: skip
SOUNDS = {"mp4": "aac", "mkv": "pcm_s16le", "mov": "alac"}
RECIPE = """name = "tiny"
[model]
start = "scratch:mini"
layers = 2
heads = 2
[vae]
precision = "fp32"
steps = 2
num_frames = 5
batch_size = 2
crop = 16
learning_rate = 1e-3
checkpoint_every = 1
validation_clips = 1
log_every = 1
[base]
precision = "fp32"
steps = 1
num_frames = 9
batch_size = 2
log_every = 1
validation_clips = 1
sample_steps = 1
"""
PREPARE = """[clips]
num_frames = 5
fps = 8.0
size = [96, 64]
[filters]
skip = ["overlay", "bars"]
[filters.thresholds]
person_area = {minimum = 0.01}
[conditions]
least_seen = 0.1
[output]
clips_per_shard = 2
validation = 0.3
[compute]
timeout = 100.0
workers = 1
"""
BENCHMARK = """name: two clips
fps: 12
clips:
- name: one
  reference: reference.png
  truth: one.mp4
  prompt: A woman in a room
- name: two
  reference: reference.png
  truth: two
  aligned: true
"""


def steps(good: Path) -> dict[str, Callable[[], object]]:
    """Functions that make the good files, by name, in an order in which each finds the files it needs."""
    made, model, dance = good / "made", good / "model", good / "videos" / "dance.mp4"
    reference, shards = good / "pictures" / "reference.png", good / "train" / "shards"
    benchmark, ours = good / "evaluation", f"ours={good / 'methods' / 'ours'}"
    commands: dict[str, tuple[object, ...]] = {
        "conditions": ("extract", "--driving", dance, "--output", made / "conditions", "--size", "96x64"),
        "job": (
            "generate", "--reference", reference, "--driving", dance, "--model", model, "--output",
            made / "job" / "result.mp4", "--size", "96x64", "--steps", 1, "--dtype", "float32", "--prompt", "A woman",
        ),
        "trained": (
            "train", "vae", "--recipe", good / "train" / "recipe.toml", "--output", made / "run", "--data", shards,
            "--validation", shards, "--cache", made / "cache",
        ),
        "encoded": (
            "train", "base", "--recipe", good / "train" / "recipe.toml", "--output", made / "run", "--data", shards,
            "--validation", shards, "--cache", made / "cache", "--init", model, "--encode-only",
        ),
        "synthetic": (
            "synth", "--output", made / "synthetic", "--clips", 2, "--frames", 3, "--size", "64x64",
            "--clips-per-shard", 1, "--workers", 0,
        ),
        "scored": (
            "evaluate", "--benchmark", benchmark, "--methods", ours, "--output", made / "report", "--cache",
            made / "scores", "--no-people", "--no-embedded", "--no-videos", "--protocol", "native",
        ),
    }  # fmt: skip
    files = (_pictures, _videos, _sounds, _model, _lora, _keypoints, _training, _prepare, _evaluation, _screening)
    found: dict[str, Callable[[], object]] = {step.__name__.strip("_"): partial(step, good) for step in files}
    found |= {name: partial(run_posegen, *arguments) for name, arguments in commands.items()}
    return found | {"interrupted": partial(_interrupted, good), "asked": partial(_asked, good)}


def frames() -> list[np.ndarray]:
    """Frames of the demo's person, (height, width, 3), 0..255."""
    from posegen.media.video import iterate_frames

    found = iterate_frames(DEMO / "driving.mp4", Fraction(FPS), 2.0, 2.0 + FRAMES / FPS + 0.5)
    first = itertools.islice(found, FRAMES)
    small = [cv2.resize(frame, SIZE[::-1], interpolation=cv2.INTER_AREA) for frame in first]
    assert len(small) == FRAMES
    return small


def write_video(path: Path, codec: str, sound: str | None = None) -> None:
    """A video of the frames above in the container of the path's suffix."""
    with av.open(path, "w") as container:
        video = container.add_stream(codec, rate=25 if codec == "mpeg2video" else FPS)
        video.height, video.width = SIZE
        video.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        video.codec_context.thread_count = 1
        track = container.add_stream(sound, rate=44_100, layout="mono") if sound else None
        for image in frames():
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode(None))
        if track is not None:
            tone = (8000 * np.sin(np.arange(44_100) * 0.06)).astype(np.int16)[None]
            samples = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
            samples.sample_rate = 44_100
            container.mux(track.encode(samples))
            container.mux(track.encode(None))


def _pictures(good: Path) -> None:
    from PIL import Image

    folder = good / "pictures"
    folder.mkdir(exist_ok=True)
    with Image.open(DEMO / "reference.png") as image:
        small = image.convert("RGB").resize((144, 256))
        for suffix in PICTURES:
            small.save(folder / f"reference.{suffix}")


def _videos(good: Path) -> None:
    (good / "videos").mkdir(exist_ok=True)
    for suffix, codec in VIDEOS.items():
        write_video(good / "videos" / f"dance.{suffix}", codec)


def _sounds(good: Path) -> None:
    (good / "sounds").mkdir(exist_ok=True)
    for suffix, codec in SOUNDS.items():
        write_video(good / "sounds" / f"dance.{suffix}", "libx264", codec)


def _model(good: Path) -> None:
    from disturbed_runs import small_model

    small_model(good / "model")


def _lora(good: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from posegen.model.lora import TARGETS

    weights = load_file(next((good / "model" / "transformer").glob("*.safetensors")))
    pairs = {}
    for name, weight in weights.items():
        layer = name.removesuffix(".weight")
        if layer.startswith("blocks.") and layer.endswith(TARGETS) and weight.ndim == 2:
            pairs[f"transformer.{layer}.lora_A.weight"] = torch.full((2, weight.shape[1]), 0.01)
            pairs[f"transformer.{layer}.lora_B.weight"] = torch.full((weight.shape[0], 2), 0.01)
    (good / "lora").mkdir(exist_ok=True)
    save_file(pairs, good / "lora" / "style.safetensors")


def _keypoints(good: Path) -> None:
    with _importable(TESTS / "conditions"):
        import keypoint_writers  # type: ignore[import-not-found]
    points, scores = keypoint_writers.people(FRAMES, SIZE)
    for name, (writer, _) in keypoint_writers.WRITERS.items():
        folder = good / "keypoints" / name.replace(" ", "-")
        folder.mkdir(parents=True, exist_ok=True)
        writer(folder / "keypoints", points, scores, SIZE)


def _training(good: Path) -> None:
    with _importable(TESTS):
        from serving_files import write_index  # type: ignore[import-not-found]
        from tiny_shards import write_shards  # type: ignore[import-not-found]
    folder = good / "train"
    for split in ("train", "val-same"):
        write_shards(folder / "shards", split, shards=1, clips=2)
        write_index(folder / "shards", split)
    (folder / "recipe.toml").write_text(RECIPE)


def _prepare(good: Path) -> None:
    folder = good / "prepare"
    folder.mkdir(exist_ok=True)
    (folder / "recipe.toml").write_text(PREPARE)
    (folder / "list.txt").write_text("gone.mp4\n# remark\nother.mp4\n")
    (folder / "list.json").write_text(json.dumps(["gone.mp4", "other.mp4"]))


def _evaluation(good: Path) -> None:
    from posegen.media.image import write_image

    folder = good / "evaluation"
    folder.mkdir(exist_ok=True)
    (folder / "two").mkdir(exist_ok=True)
    (folder / "benchmark.yaml").write_text(BENCHMARK)
    shutil.copy(good / "pictures" / "reference.png", folder)
    shutil.copy(good / "videos" / "dance.mp4", folder / "one.mp4")
    for number, frame in enumerate(frames()):
        write_image(folder / "two" / f"{number:04d}.png", frame)
    for method in ("ours", "theirs"):
        (good / "methods" / method).mkdir(parents=True, exist_ok=True)
        shutil.copy(good / "videos" / "dance.mp4", good / "methods" / method / "one.mp4")
        shutil.copytree(folder / "two", good / "methods" / method / "two", dirs_exist_ok=True)


def _screening(good: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from posegen.prepare.answers import FILE, Answer, Answers

    folder = good / "screening"
    folder.mkdir(exist_ok=True)
    picture = cv2.imencode(".jpg", np.full((30, 40, 3), 90, np.uint8))[1].tobytes()
    rows = [
        {"clip": f"c{number}", "source": str(good / "videos" / "dance.mp4"), "start": 0.2 * number,
         "end": 0.2 * number + 0.2, "width": SIZE[1], "height": SIZE[0], "fps": float(FPS), "kept": number != 2,
         "dropped_by": ["blur"] if number == 2 else [], "sharpness": 0.1 * number, "thumbnail": picture}
        for number in range(4)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), folder / "index.parquet")
    Answers(folder / FILE).say("c0", Answer(True))


@contextlib.contextmanager
def _importable(folder: Path):
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _interrupted(good: Path) -> None:
    """Leaves of a finished training what one that was killed after its first step has."""
    stage = good / "made" / "run" / "vae"
    (stage / "finished.json").unlink()
    shutil.rmtree(stage / "model")
    shutil.rmtree(max((stage / "checkpoints").iterdir()))


def _asked(good: Path) -> None:
    """Answers of one person in a study."""
    from posegen.config import StudyConfig
    from posegen.evaluate.study.study_database import ASPECTS
    from posegen.progress import NullProgress
    from posegen.serve.rating_study import open_study

    methods = tuple(f"{name}={good / 'methods' / name}" for name in ("ours", "theirs"))
    folder = good / "made" / "study"
    folder.mkdir()
    study, *_ = open_study(StudyConfig(good / "evaluation", methods, folder), NullProgress())
    person = study.enter("Ann")
    while (question := study.next_question(person)) is not None:
        pair = question.kind == "pair"
        study.answer(person, question.token, {"choice": "left"} if pair else dict.fromkeys(ASPECTS, 3))
