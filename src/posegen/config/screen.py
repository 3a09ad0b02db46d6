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
    """View prepared clips and keep, drop or tag them by keyboard; `posegen prepare --refilter` applies the answers."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Local folder of a data set made by `posegen prepare` (with index.parquet); answers are kept in it, in
    screening.sqlite. For a data set at a URL, copy index.parquet into a folder, and screening.sqlite back beside it."""
    show: Literal["kept", "dropped", "all"] = "kept"
    """Clips to show: those that the filters keep, those that they drop, or all."""
    tags: tuple[str, ...] = ("hands", "face", "dark", "text", "camera", "other people")
    """Tags on the keys 1 to 9; other tags can be typed."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other computers of your network take part."""
    port: int = 8422
    """Port to listen on; 0 chooses a free one."""
    token: str | None = None
    """Token that the address must contain; by default a new one if other computers can reach the page, else none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("--port", self.port, 0, 65535)
        check_token(self.token)
        if re.match(r"[a-z0-9+]{2,}:/", str(self.folder)):  # a path has lost one of the two slashes
            raise PosegenError(
                f"{self.folder} is not a local folder: copy the data set's index.parquet into one and screening.sqlite "
                "back beside it when you are done"
            )
        if len(self.tags) > 9:
            raise PosegenError(f"--tags: {len(self.tags)} tags exceed the 9 keys; other tags can be typed on the page")
