"""The defaults of every command pass the checks of that command: nothing but what is required need be given."""

import json
import shutil
from importlib import resources
from pathlib import Path
from typing import get_args

import pytest

from planned_jobs import resolved
from posegen import config as settings
from posegen.apps import cli
from posegen.apps.input_checks import check_inputs
from posegen.config import AblateConfig, BenchmarkConfig, parse_fps, parse_size
from posegen.errors import PosegenError
from posegen.evaluate.ablations import ABLATIONS, benchmark_of
from posegen.evaluate.making import synthetic_sizes
from posegen.media.fitting import check_size
from posegen.model.mini import FOLDER
from posegen.model.sources import NAMES, describe_model
from posegen.prepare.prepare_recipe import read_prepare_recipe
from posegen.recipes.lookup import recipe_names
from posegen.synthetic.clip import SyntheticClipSettings
from posegen.synthetic.shard_writer import ShardSettings
from posegen.train.stage_settings import STAGES
from posegen.train.train_recipe import read_recipe
from posegen.train.training import TrainingPaths, dry_run

DEMO = resources.files("posegen") / "demo"
ON = f"--reference {DEMO}/reference.png --driving {DEMO}/driving.mp4 --output {{}}/x.mp4"
SCORED = "--benchmark {}/set --methods a={}/results --output {}/report"
REQUIRED = {
    "generate": ON,
    "preview": ON,
    "motion": f"{DEMO}/driving.mp4",
    "extract": f"--driving {DEMO}/driving.mp4 --output {{}}/c",
    "prompt": f"--reference {DEMO}/reference.png",
    "synth": "--output {}/people",
    "prepare": "{} --output {}/data",
    "train": "base --recipe mini --output {}/run",
    "evaluate": SCORED,
    "benchmark": "val-same --output {}/bench",
    "ablate": "sharing --output {}/ablation",
    "study": SCORED,
    "screen": "{}",
    "serve": "--folder {}/server",
    "jobs": "",
    "models": "",
    "setup": "",
    "demo": "",
}
"""What each command cannot do without."""


def test_every_command_is_looked_at():
    assert set(REQUIRED) == {get_args(command)[1].name for command in get_args(cli.Command)}


def check_further(config: cli.CommandConfig) -> None:
    """The checks of the functions that do the work, as far as they need no model and no clip."""
    match config:
        case settings.GenerateConfig():
            resolved(config)
        case settings.SynthConfig():
            clip = SyntheticClipSettings(*parse_size(config.size), config.frames, float(parse_fps(config.fps)))
            ShardSettings(config.split, config.clips, config.seed, config.clips_per_shard, clip)
            assert describe_model("mini").size_for((clip.height, clip.width)) == (clip.height, clip.width)
        case settings.PrepareConfig():
            read_prepare_recipe(config.recipe)


@pytest.mark.parametrize("command", REQUIRED)
def test_the_defaults_of_a_command_pass_its_checks(command, tmp_path):
    (tmp_path / "set").mkdir()
    clip = {"name": "a", "reference": f"{DEMO}/reference.png", "driving": f"{DEMO}/driving.mp4"}
    (tmp_path / "set" / "benchmark.yaml").write_text(json.dumps({"name": "a", "clips": [clip]}))
    (tmp_path / "results").mkdir()
    config = cli.parse([command, *REQUIRED[command].replace("{}", str(tmp_path)).split()])
    check_inputs(config)
    check_further(config)


@pytest.fixture(scope="module")
def upright(tmp_path_factory) -> str:
    """A model folder without weights that knows one size of another shape than the mini's."""
    folder = tmp_path_factory.mktemp("model") / "upright"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "trained_size": [192, 112]}))
    return str(folder)


@pytest.mark.parametrize("model", [*NAMES, "upright"])
def test_synthetic_clips_have_the_shape_of_every_model(model, upright, tmp_path):
    model = upright if model == "upright" else model
    configs = [BenchmarkConfig(kind, tmp_path, model=model) for kind in ("val-same", "val-cross")]
    configs += [benchmark_of(AblateConfig(name, tmp_path, model=model)) for name in ABLATIONS]
    for config in configs:
        clips, size = synthetic_sizes(config)
        check_size(size, describe_model(model).size_multiple)
        assert clips == size
        assert clips[0] > clips[1]


def test_a_size_of_another_shape_is_named(tmp_path):
    with pytest.raises(PosegenError, match="size 384x224: mini makes 256x144"):
        synthetic_sizes(BenchmarkConfig("val-same", tmp_path, size="384x224"))


@pytest.mark.parametrize("name", [name for name in recipe_names("train") if "14b" not in name])
def test_every_stage_of_a_recipe_passes_its_dry_run(name):
    """Those of the 14B are measured in `tests/train/test_laws.py`."""
    recipe, nothing = read_recipe(name), Path("no/such/folder")
    for stage in STAGES:
        if getattr(recipe, stage) is not None:
            assert recipe.name in dry_run(stage, recipe, TrainingPaths(None, nothing, nothing, nothing))
