"""Finds a built-in recipe by name, or a user's own TOML file by path.

The recipe is parsed but not validated: `train/` and `prepare/` check its keys and values.
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
    """Return the names of the built-in recipes, sorted."""
    return sorted(_folder(purpose))


def load_recipe(recipe: str | Path, purpose: Purpose) -> dict[str, Any]:
    """Parse a recipe, by name or by the path of a TOML file.

    Text that ends in ".toml", or that names a file and no built-in recipe, is a path. Raises `PosegenError` for an
    unknown recipe (the message lists the built-in ones) or a file that cannot be parsed.
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
    """Return the built-in files for a purpose, by name."""
    folder = resources.files("posegen.recipes")
    if purpose == "prepare":
        folder = folder / "prepare"
    return {file.name.removesuffix(SUFFIX): file for file in folder.iterdir() if file.name.endswith(SUFFIX)}


def _unknown(recipe: str | Path, purpose: Purpose) -> PosegenError:
    names = ", ".join(recipe_names(purpose))
    return PosegenError(f"{recipe}: no such recipe: use one of {names}, or the path of a TOML file")
