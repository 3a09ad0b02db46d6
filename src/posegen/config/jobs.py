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
    """Folder of results, in which OUTPUT.posegen folders are looked for."""
    clean: Annotated[
        Literal["finished", "unfinished", "all"] | None, tyro.conf.arg(metavar="{finished,unfinished,all}")
    ] = None
    """Remove such jobs, and conditions that none of a result's jobs is left to use. Results stay, and running jobs."""
    older_than: float | None = None
    """Only jobs whose files have not changed for so many days."""
    yes: bool = False
    """Remove without asking."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.older_than is not None:
            check_range("--older-than", self.older_than, 0, 100_000)
