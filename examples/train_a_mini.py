"""Render synthetic people and train the smallest recipe on them: a model folder for `generate`.

python examples/train_a_mini.py folder [CLIPS [RECIPE]]
"""

import sys
from pathlib import Path

import posegen
from posegen.synthetic.shard_writer import ShardSettings, make_shards


def main() -> None:
    folder, clips = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 64
    recipe = sys.argv[3] if len(sys.argv) > 3 else "mini-cpu"
    for split, count in (("train", clips), ("val-same", max(1, clips // 16))):
        make_shards(folder / split, ShardSettings(split, count), workers=1)
    paths = {"data": str(folder / "train"), "validation": str(folder / "val-same"), "cache": folder / "cache"}
    for stage in ("vae", "pretrain", "base", "stitch"):
        model = posegen.train(stage, recipe, folder / "run", **paths)
        print(f"{stage}: {model}")


if __name__ == "__main__":
    main()
