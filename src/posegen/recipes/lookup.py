"""Finds a recipe by name, among those that come with posegen, or by the path of a user's own TOML file.

Only finds and parses it: what a recipe may say is checked where recipes are read (`train/`, `prepare/`).
"""

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

from posegen.errors import PosegenError
from posegen.media.data_files import read_toml

Purpose = Literal["train", "prepare"]
SUFFIX = ".toml"


def recipe_names(purpose: Purpose) -> list[str]:
    """Names of the recipes that come with posegen, sorted."""
    return sorted(_folder(purpose))


def load_recipe(recipe: str | Path, purpose: Purpose) -> dict[str, Any]:
    """Parse a recipe, by name or by the path of a TOML file.

    A path ends in ".toml", or names a file where there is no recipe of that name. Raises `PosegenError` that names the
    recipe and, if there is none, those that there are.
    """
    with resources.as_file(_find(str(recipe), purpose)) as path:
        if not path.exists():
            raise _unknown(recipe, purpose)
        return read_toml(path)


def _find(recipe: str, purpose: Purpose) -> Traversable:
    if not recipe.endswith(SUFFIX) and recipe in (known := _folder(purpose)):
        return known[recipe]
    if not recipe or (not recipe.endswith(SUFFIX) and not Path(recipe).is_file()):
        raise _unknown(recipe, purpose)
    return Path(recipe)


def _folder(purpose: Purpose) -> dict[str, Traversable]:
    """The files of a purpose, by name."""
    folder = resources.files("posegen.recipes")
    if purpose == "prepare":
        folder = folder / "prepare"
    return {file.name.removesuffix(SUFFIX): file for file in folder.iterdir() if file.name.endswith(SUFFIX)}


def _unknown(recipe: str | Path, purpose: Purpose) -> PosegenError:
    names = ", ".join(recipe_names(purpose))
    return PosegenError(f"{recipe}: no such recipe: posegen comes with {names}; or give the path of a TOML file")
