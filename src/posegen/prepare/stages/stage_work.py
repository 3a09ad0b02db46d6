"""The work of a data set: recipe, folders and plan, which every stage has, and the names under which results are kept.

Everything kept is under the data set's `work/`, written whole or not at all: `work/clips-X/VIDEO.json`,
`work/scores-X/VIDEO-N.json` (until it is complete, one file for each of its clips beside it),
`work/samples-X/CLIP.tar` with `CLIP.json`, and the files that `latent_stage.py` describes; X is the fingerprint of
the settings that they depend on.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from posegen.prepare.prepare_recipe import LatentPlan, PrepareRecipe
from posegen.prepare.required_weights import WeightSizes
from posegen.prepare.stages.messages import ClipsTask, Failure, Look
from posegen.prepare.store import Store
from posegen.prepare.video_sources import Video

Scorer = Callable[[Any], dict[str, float]]
"""A sampled clip -> its scores, by column."""
CLIPS_PER_TASK = 16
"""Clips of one video that a worker takes at a time; names of what is kept depend on it."""
WHOLE_VIDEO = 10
"""A whole video may take this many times as long as a clip."""


@dataclass(frozen=True)
class Work:
    """The settings and folders that every stage needs; picklable."""

    recipe: PrepareRecipe
    output: Store
    make_scorer: Callable[[PrepareRecipe, str], Scorer]
    device: str = "cpu"
    plan: LatentPlan | None = None
    """The encodings made for a training, if any."""
    weights: WeightSizes = field(default_factory=WeightSizes)
    """Sizes of the models of filters and conditions."""
    together: int = 0
    """Clips of each video that are scored while it is looked through, which decodes them once instead of twice."""

    @property
    def clips(self) -> Store:
        """Folder of the clips found in videos."""
        return self.output / f"work/clips-{self.recipe.fingerprint('clips')}"

    @property
    def scores(self) -> Store:
        """Folder of the scores that filters give to clips."""
        return self.output / f"work/scores-{self.recipe.fingerprint('scores')}"

    @property
    def samples(self) -> Store:
        """Folder of finished samples."""
        return self.output / f"work/samples-{self.recipe.fingerprint('samples')}"

    @property
    def latents(self) -> Store:
        """Folder of encoded clips."""
        content = json.dumps([self.recipe.fingerprint("samples"), dataclasses.asdict(self.needed_plan)], sort_keys=True)
        return self.output / f"work/latents-{hashlib.sha256(content.encode()).hexdigest()[:12]}"

    @property
    def needed_plan(self) -> LatentPlan:
        """The plan of a work that has one. Raises ValueError otherwise."""
        if self.plan is None:
            raise ValueError("this data set is not encoded for a training: it has no plan")
        return self.plan


def clip_key(video: str, start: float) -> str:
    """Return a clip's name: its video's identifier, and where it begins in milliseconds."""
    return f"{video}-{round(1000 * start):09d}"


def scores_name(video: str, number: int) -> str:
    """Return the name under which the scores of one task's clips are kept."""
    return f"{video}-{number:05d}"


def tasks_of(video: Video, look: Look | Failure) -> list[ClipsTask]:
    """Split the clips of a video into scoring tasks of a few clips each; none for a video that failed."""
    windows = look.windows if isinstance(look, Look) else ()
    return [
        ClipsTask(video, windows[first : first + CLIPS_PER_TASK], number)
        for number, first in enumerate(range(0, len(windows), CLIPS_PER_TASK))
    ]


def default_scorer(recipe: PrepareRecipe, device: str) -> Scorer:
    """Load the recipe's filters."""
    from posegen.prepare.filters.clip_filters import make_scorer

    return make_scorer(recipe.filters, device)
