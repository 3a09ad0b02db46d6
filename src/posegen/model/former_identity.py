"""Recognises models by the identities of earlier versions: a folder's path with its files' names, sizes and times."""

from pathlib import Path

from posegen.model.sources import model_identity


def is_former_identity(text: str, identity: str) -> bool:
    """Return True if `text`, noted by an earlier version, is an unchanged folder that now has this identity."""
    folder = _noted_folder(text)
    return folder is not None and _former_identity(folder) == text and model_identity(str(folder)) == identity


def _noted_folder(text: str) -> Path | None:
    """Return the folder at the beginning of the text, if it still exists; its name may have spaces."""
    start = text.rfind("/")  # names of files follow, not paths
    spaces = [index for index, letter in enumerate(text) if letter == " " and index > start]
    return next((Path(text[:index]) for index in spaces if Path(text[:index]).is_dir()), None)


def _former_identity(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    states = [(path.name, path.stat()) for path in files]
    return f"{folder.resolve()} " + " ".join(f"{name}:{at.st_size}:{at.st_mtime_ns}" for name, at in states)
