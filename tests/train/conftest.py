"""Folders of tiny shards, and recipes of few steps for a mini of two narrow layers."""

from pathlib import Path

import pytest

from posegen.train.stage_settings import STAGES
from posegen.train.train_recipe import read_recipe
from posegen.train.training import TrainingPaths
from tiny_shards import write_shards

COMMON = """
precision = "fp32"
log_every = 1
validation_clips = 2
sample_steps = 1
"""
RECIPE = """
name = "tiny"
[model]
start = "scratch:mini"
layers = 2
heads = 2
[vae]
{common}
steps = 4
num_frames = 5
batch_size = 2
crop = 16
learning_rate = 1e-3
ema = 0.9
{vae}
[pretrain]
{common}
learning_rate = 1e-3
pose_share = 0.5
ema = 0.9
{pretrain}
[[pretrain.phases]]
steps = 3
num_frames = 1
windows = 2
batch_size = 4
[[pretrain.phases]]
steps = 3
num_frames = 9
batch_size = 2
[base]
{common}
steps = 4
num_frames = 9
batch_size = 4
{base}
[stitch]
{common}
steps = 4
num_frames = 9
batch_size = 2
from_base = true
{stitch}
[distill]
{common}
steps = 4
num_frames = 9
batch_size = 2
few_steps = 2
stitch_share = 0.5
face_weight = 2.0
teacher_steps = 2
adversarial = 0.5
discriminator_width = 8
ema = 0.5
{distill}
"""


@pytest.fixture(scope="session")
def shards(made_once):
    def make(folder):
        write_shards(folder, "train")
        write_shards(folder, "val-same", shards=1)

    return made_once("shards", make)


@pytest.fixture
def make_recipe(tmp_path):
    """A recipe file; text for a stage goes into its table."""

    def make(name: str = "recipe.toml", **stages: str) -> Path:
        texts = {stage: stages.get(stage, "") for stage in STAGES}
        path = tmp_path / name
        path.write_text(RECIPE.format(common=COMMON, **texts))
        return path

    return make


@pytest.fixture
def make_run(make_recipe, shards, tmp_path_factory):
    """A recipe, and places to train it in."""

    def make(output: Path, start: str | None = None, **stages: str):
        recipe = read_recipe(make_recipe(f"{output.name}.toml", **stages))
        return recipe, TrainingPaths(output, shards, shards, shards / "cache", start)

    return make


@pytest.fixture(scope="session")
def pretrained(shards, made_once):
    """A model that has been through `vae` and `pretrain`."""
    from posegen.train.training import train

    def make(folder):
        path = folder / "recipe.toml"
        path.write_text(RECIPE.format(common=COMMON, **dict.fromkeys(STAGES, "")))
        recipe, places = read_recipe(path), TrainingPaths(folder / "run", shards, shards, shards / "cache")
        train("vae", recipe, places)
        train("pretrain", recipe, places)

    return made_once("pretrained", make) / "run" / "pretrain" / "model"


@pytest.fixture(scope="session")
def based(pretrained, shards, made_once):
    """The model of an uninterrupted stage `base` that began from `pretrained`, with its run's files around it."""
    from posegen.train.training import train

    def make(folder):
        path = folder / "recipe.toml"
        path.write_text(RECIPE.format(common=COMMON, **dict.fromkeys(STAGES, "")))
        paths = TrainingPaths(folder / "run", shards, shards, shards / "cache", str(pretrained))
        train("base", read_recipe(path), paths)

    return made_once("based", make) / "run" / "base" / "model"
