"""Settings of `posegen screen`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from posegen.config.base import Settings
from posegen.config.checks import check_range, check_token
from posegen.errors import PosegenError


@dataclass(frozen=True)
class ScreenConfig(Settings):
    """Look at prepared clips and keep, drop or tag them by keyboard; `posegen prepare --refilter` takes the answers."""

    folder: Annotated[Path, tyro.conf.Positional]
    """A data set that `posegen prepare` made (with index.parquet), in a local folder; answers are kept in it, in
    screening.sqlite. Of one at a URL, copy index.parquet into a folder, and screening.sqlite back beside it."""
    show: Literal["kept", "dropped", "all"] = "kept"
    """Clips that the filters keep, those that they drop, or all."""
    tags: tuple[str, ...] = ("hands", "face", "dark", "text", "camera", "other people")
    """Tags on the keys 1 to 9; others can be typed."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other computers of your network take part."""
    port: int = 8422
    """Port to listen on; 0 takes any that is free."""
    token: str | None = None
    """What the address must hold; by default made anew where other computers reach the page, and none on this one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("--port", self.port, 0, 65535)
        check_token(self.token)
        if re.match(r"[a-z0-9+]{2,}:/", str(self.folder)):  # a path has lost one of the two slashes
            raise PosegenError(
                f"{self.folder} is no local folder: copy the data set's index.parquet into one, and screening.sqlite "
                "back beside it when you are done"
            )
        if len(self.tags) > 9:
            raise PosegenError(f"--tags: {len(self.tags)} tags, but only 9 keys; others can be typed on the page")
