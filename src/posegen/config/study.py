"""Settings of `posegen study`."""

from dataclasses import dataclass
from pathlib import Path

from posegen.config.base import Settings
from posegen.config.checks import check_methods, check_range, check_token


@dataclass(frozen=True)
class StudyConfig(Settings):
    """Run a user study: a local page on which people rate blinded videos 0 to 5 and choose the better of two."""

    benchmark: Path
    """A benchmark description (YAML), or a folder with benchmark.yaml."""
    methods: tuple[str, ...]
    """NAME=FOLDER of each method, as for `posegen evaluate`; participants do not see the names."""
    output: Path
    """Folder for answers.sqlite and, with --results, ratings.csv, choices.csv and study.md."""
    results: bool = False
    """Write the results of the answers so far, and stop."""
    pairwise: bool = False
    """Also ask which of two videos of the same clip is better: many more questions with several methods."""
    per_person: int | None = None
    """Number of questions for each person; those with the fewest answers come first. By default all."""
    allow_missing: bool = False
    """Ask about the available results if some are missing or too short."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other computers of your network take part."""
    port: int = 8421
    """Port to listen on; 0 chooses a free one."""
    token: str | None = None
    """Token that the address must contain; by default a new one if other computers can reach the page, else none."""
    seed: int = 0
    """Same seed, same selection of questions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("--port", self.port, 0, 65535)
        check_token(self.token)
        check_range("--seed", self.seed, 0, 2**63 - 1)
        check_methods(self.methods)
        if self.per_person is not None:
            check_range("--per-person", self.per_person, 1, 100_000)
