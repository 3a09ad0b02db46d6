"""Settings of `posegen jobs`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from posegen.config.base import Settings
from posegen.config.checks import check_range


@dataclass(frozen=True)
class JobsConfig(Settings):
    """List the jobs whose finished segments are kept beside results, or remove them."""

    folder: Annotated[Path, tyro.conf.Positional] = Path()
    """Folder of results, in which OUTPUT.posegen folders are searched."""
    clean: Annotated[
        Literal["finished", "unfinished", "all"] | None, tyro.conf.arg(metavar="{finished,unfinished,all}")
    ] = None
    """Remove these jobs, and conditions that no remaining job of a result uses. Results and running jobs are kept."""
    older_than: float | None = None
    """Only include jobs whose files have not changed for this number of days."""
    yes: bool = False
    """Remove without asking."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.older_than is not None:
            check_range("--older-than", self.older_than, 0, 100_000)
