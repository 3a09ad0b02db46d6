"""Settings of `posegen prepare`; what a data set is made of is in its recipe."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from posegen.config.base import Settings
from posegen.errors import PosegenError


@dataclass(frozen=True)
class PrepareConfig(Settings):
    """Turn raw video into training data: clips are found, judged by filters, given conditions and captions, packed."""

    inputs: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Videos: files, folders, globs, lists (.txt, .json) or URLs that fsspec knows."""
    output: str
    """Folder or URL of the data set: train-*.tar, val-same-*.tar, index.parquet; the same command again goes on."""
    recipe: str | None = None
    """What clips are like, what filters keep, who finds conditions: a recipe's name or the path of a TOML file. The
    recipe of a name makes what the training recipe of that name takes; see docs/prepare.md."""
    ray: str | None = None
    """Address of a Ray cluster ("auto", or HOST:PORT); by default all cores of this machine."""
    refilter: bool = False
    """Only apply the thresholds (and manual answers) again to scores that are there; clips that are kept now and were
    not before get their conditions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.inputs and not self.refilter:
            raise PosegenError("name at least one video, folder, glob, list or URL")
