"""Settings of `posegen prepare`; the recipe defines the content of the data set."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from posegen.config.base import Settings
from posegen.errors import PosegenError


@dataclass(frozen=True)
class PrepareConfig(Settings):
    """Turn raw video into training data: find clips, filter them, extract conditions, write captions, pack shards."""

    inputs: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Videos: files, folders, globs, lists (.txt, .json) or URLs supported by fsspec."""
    output: str
    """Folder or URL of the data set: train-*.tar, val-same-*.tar, index.parquet; the same command resumes."""
    recipe: str | None = None
    """Recipe of clips, filters and estimators: its name or the path of a TOML file. A named recipe makes the data for
    the training recipe of the same name; see docs/prepare.md."""
    ray: str | None = None
    """Address of a Ray cluster ("auto", or HOST:PORT); by default all cores of this machine."""
    refilter: bool = False
    """Only apply thresholds (and manual answers) again to existing scores; newly kept clips get their conditions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.inputs and not self.refilter:
            raise PosegenError("name at least one video, folder, glob, list or URL")
