"""Compare a small model on its training clips and on new people: does it need more clips, or more steps?

    python benchmarks/mini_generalization.py [--model mini|FOLDER] [--clips 16]

The validation loss of `posegen train base` (flow matching, by noise level; true conditions, and those of another clip)
on clips of the training data of the recipe mini (seed 0), on clips of the training split of another seed, and on
val-same. The loss at high noise is where limbs and layout are decided.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from posegen.data.latent_cache import LatentCache
from posegen.data.shards import open_shards
from posegen.model.sources import load_pipeline
from posegen.synthetic.clip import SyntheticClipSettings
from posegen.synthetic.shard_writer import ShardSettings, make_shards
from posegen.train.diffusion import DiffusionStage
from posegen.train.train_recipe import Recipe, read_recipe
from results_file import write_result

CPU = torch.device("cpu")
SETS = {"trained on": ("train", 0), "new people": ("train", 5), "val-same": ("val-same", 5)}
"""Split and seed of the clips."""


class LossesOnly(DiffusionStage):
    """Validation without sample videos."""

    def _sample(self, *_: object) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1, 1, 3), np.uint8)


def losses(model: str, recipe: Recipe, folder: Path, split: str, clips: int) -> dict[str, float]:
    """Mean losses over the clips of a folder, by noise level and kind of conditions."""
    settings = recipe.stage("base")
    phase = replace(settings.phases[-1], batch_size=8, mirror=False)
    settings = replace(settings, phases=(phase,), validation_clips=clips, compile=False)
    shards = open_shards(folder, split, phase.num_frames)
    pipeline = load_pipeline(model, CPU, torch.float32)
    cache = LatentCache(folder / "cache", pipeline, torch.float32)
    stage = LossesOnly(pipeline, settings, recipe.model, shards, shards, cache)
    stage.prepare(lambda *_: None, 0, 1, CPU)
    stage.ready()
    stage.module.eval()
    found = stage.validate(stage.module, CPU)
    return {name: round(value, 4) for name, value in found.scalars.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--clips", type=int, default=16)
    arguments = parser.parse_args()
    recipe = read_recipe("mini")
    figures: dict[str, object] = {"clips": arguments.clips}
    with tempfile.TemporaryDirectory() as folder:
        for name, (split, seed) in SETS.items():
            place = Path(folder) / f"{split}-{seed}"
            clip = SyntheticClipSettings(256, 144)
            make_shards(place, ShardSettings(split, arguments.clips, seed, clips_per_shard=8, clip=clip), workers=2)
            figures[name] = found = losses(arguments.model, recipe, place, split, arguments.clips)
            print(f"{name}: {found['loss_true']} (noise level 0.9: {found['loss_true_0.9']})", flush=True)
    write_result("mini_generalization", figures)


if __name__ == "__main__":
    main()
