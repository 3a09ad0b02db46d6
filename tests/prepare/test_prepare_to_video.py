"""The commands as README pairs them: raw video is prepared, trained on, and the model makes a video."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from prepared_clips import PERSON, RECIPE, person_video, write_recipe

import posegen
from posegen.apps import cli
from posegen.data.shards import open_shards
from posegen.media.video import VideoWriter, iterate_frames, probe_video

TRAINING = """
name = "tiny"
[model]
start = "{model}"
[data]
sizes = [[96, 64], [64, 96]]
[base]
steps = 4
num_frames = 5
batch_size = 2
precision = "fp32"
log_every = 1
validate_every = 4
validation_clips = 2
sample_steps = 1
"""


def wide_video(path: Path, start: float, seconds: float = 0.75) -> None:
    """A part of the demo's driving video in the middle of a wide picture."""
    with VideoWriter(path, 16, size=(112, 192)) as writer:
        for frame in iterate_frames(PERSON, 16, start, start + seconds):
            small = cv2.resize(frame, (63, 112), interpolation=cv2.INTER_AREA)
            writer.write(np.pad(small, ((0, 0), (64, 65), (0, 0)), mode="edge"))


def run(*arguments: object) -> None:
    assert cli.guarded(lambda: cli.dispatch(cli.parse([str(argument) for argument in arguments]))) == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")
def test_raw_video_becomes_a_model_that_makes_a_video(narrow, tmp_path):
    for number in range(2):
        person_video(tmp_path / "videos" / f"tall {number}.mp4", start=3.0 * number, seconds=0.75)
        wide_video(tmp_path / "videos" / f"wide {number}.mp4", start=3.0 * number)
    sizes = RECIPE.replace("size = [96, 64]", "sizes = [[96, 64], [64, 96]]")
    data, runs, video = tmp_path / "data", tmp_path / "runs", tmp_path / "video.mp4"
    run("prepare", tmp_path / "videos", "--output", data, "--recipe", write_recipe(tmp_path, sizes))
    shards = open_shards(data, "train")
    assert {sample.size for shard in shards for sample in shard.samples} == {(96, 64), (64, 96)}
    assert len({shard.path for shard in shards}) == len(shards)  # each holds one size as it is

    training = tmp_path / "training.toml"
    training.write_text(TRAINING.format(model=narrow))
    run("train", "base", "--recipe", training, "--output", runs, "--data", data, "--validation", data,
        "--cache", tmp_path / "cache")  # fmt: skip  # short arguments, read in rows
    records = [json.loads(line) for line in (runs / "base" / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if "train/loss" in record] == [1, 2, 3, 4]

    reference = Path(posegen.__file__).parent / "demo" / "reference.png"
    run(
        "generate",
        "--reference",
        reference,
        "--driving",
        tmp_path / "videos" / "tall 0.mp4",
        "--output",
        video,
        "--model",
        runs / "base" / "model",
        "--size",
        "96x64",
        "--steps",
        1,
        "--sharing",
        "off",
    )
    made = probe_video(video)
    assert (made.height, made.width, made.num_frames) == (96, 64, 12)
