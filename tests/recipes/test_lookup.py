"""Recipes are found by name from anywhere, a user's own by its path, and a slip lists what there is."""

import pytest

from posegen.apps import cli
from posegen.config import TrainConfig
from posegen.errors import PosegenError
from posegen.recipes.lookup import load_recipe, recipe_names
from posegen.train.train_recipe import read_recipe

NAMES = recipe_names("train")
OWN = 'name = "own"\n[model]\nstart = "mini"\n[base]\nsteps = 1\nnum_frames = 9\nbatch_size = 1\n'


@pytest.mark.parametrize("name", NAMES)
def test_a_name_finds_the_recipe_from_any_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_recipe(name).name == name


def test_the_help_lists_every_name(capfd):
    with pytest.raises(SystemExit):
        cli.parse(["train", "--help"])
    said = capfd.readouterr().out
    assert all(name in said for name in NAMES)


def test_a_path_finds_a_users_own_also_beside_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in ("mini.toml", "mini", "plain"):
        (tmp_path / file).write_text(OWN)
    assert read_recipe("mini.toml").name == "own"
    assert read_recipe(tmp_path / "mini.toml").name == "own"
    assert read_recipe("plain").name == "own"
    assert read_recipe("mini").name == "mini"  # a file without an ending does not hide what comes with posegen


@pytest.mark.parametrize("recipe", ["minni", "recipes/mini.toml", "", "."])
def test_what_is_neither_lists_the_names(recipe):
    with pytest.raises(PosegenError) as caught:
        load_recipe(recipe, "train")
    assert "\n" not in str(caught.value)
    assert all(name in str(caught.value) for name in NAMES)


def test_bytes_that_are_no_text_are_one_line(tmp_path):
    (tmp_path / "own.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PosegenError, match=r"own\.toml is not a recipe in TOML"):
        read_recipe(tmp_path / "own.toml")


@pytest.mark.parametrize(("stage", "recipe"), [("vae", "mini-cpu"), ("base", "mini-cpu"), ("vae", "mini-autoencoder")])
def test_a_dry_run_needs_a_name_only(stage, recipe, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert cli.guarded(lambda: cli.dispatch(cli.parse(["train", stage, "--recipe", recipe, "--dry-run"]))) == 0
    said = capfd.readouterr().out
    known = (stage, recipe) == ("vae", "mini-cpu")  # its batches are crops, which need no clip to be measured
    assert ("GB" in said, "unknown" in said) == (known, not known)
    assert not list(tmp_path.iterdir())


def test_a_training_needs_an_output():
    with pytest.raises(PosegenError, match="output"):
        TrainConfig("vae", "mini-cpu")
