"""Render synthetic people and train a small model on them: a folder for `generate`. Hours on a CPU.

python examples/train_a_mini.py folder [CLIPS [RECIPE [HEIGHTxWIDTH]]]
"""

import sys
from pathlib import Path

import posegen
from posegen.config import parse_size
from posegen.synthetic.clip import SyntheticClipSettings
from posegen.synthetic.shard_writer import ShardSettings, make_shards


def main() -> None:
    given = dict(enumerate(sys.argv[1:]))
    folder, clips, recipe = Path(given[0]), int(given.get(1, 64)), given.get(2, "mini-cpu")
    clip = SyntheticClipSettings(*parse_size(given.get(3, "192x112")))
    for split, count in (("train", clips), ("val-same", max(1, clips // 16))):
        make_shards(folder / split, ShardSettings(split, count, clip=clip), workers=0)
    paths = {"data": str(folder / "train"), "validation": str(folder / "val-same"), "cache": folder / "cache"}
    for stage in ("vae", "pretrain", "base", "stitch"):
        model = posegen.train(stage, recipe, folder / "run", **paths)
        print(f"{stage}: {model}")


if __name__ == "__main__":
    main()
