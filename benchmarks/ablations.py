"""Run all ablations on a model, each by its own command, and compare the variants clip by clip.

    python benchmarks/ablations.py [--clips 4] [--seconds 12] [--output outputs/ablations]

Every variant is compared with PoseGen as it is published (no pose guidance), on the same clip: mean difference with a
95 % interval over clips. It resumes where it stopped, and writes the numbers and the image of each ablation to
benchmarks/results/ablations/.
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

from posegen.evaluate.ablations import ABLATIONS
from posegen.evaluate.metrics.intervals import mean_interval
from posegen.media.image import read_image, write_image
from results_file import RESULTS, write_result

BASELINES = {"sharing": "paper", "long-method": "interleaved", "retargeting": "full"}
"""The method as it is, where the first variant is another."""


def run(name: str, arguments: argparse.Namespace) -> Path:
    folder = arguments.output / name
    command = [
        sys.executable, "-m", "posegen.apps.cli", "ablate", name, "--output", str(folder),
        "--cache", str(arguments.output / "cache"), "--clips", str(arguments.clips),
        "--seconds", str(arguments.seconds), "--model", arguments.model, "--pose-guidance", "1",
        "--pose-strength", "1",
    ]  # fmt: skip
    subprocess.run(command, check=True)
    return folder


def values_of(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """variant -> score -> clip -> value."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    with (folder / "report" / "clips.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["value"]:
                found.setdefault(row["method"], {}).setdefault(row["score"], {})[row["clip"]] = float(row["value"])
    return found


def differences(folder: Path, baseline: str) -> dict[str, dict[str, object]]:
    """variant -> score -> mean difference to the baseline over the clips that both have, and its interval."""
    values = values_of(folder)
    result: dict[str, dict[str, object]] = {}
    for variant, scores in values.items():
        if variant in (baseline, "truth"):
            continue
        for score, clips in scores.items():
            pairs = sorted(clips.keys() & values[baseline].get(score, {}).keys())
            apart = [clips[clip] - values[baseline][score][clip] for clip in pairs]
            if apart:
                low, high = mean_interval(apart)
                result.setdefault(variant, {})[score] = {
                    "mean": round(sum(apart) / len(apart), 4), "interval": [round(low, 4), round(high, 4)],
                    "clips": len(apart),
                }  # fmt: skip
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--output", type=Path, default=Path("outputs/ablations"))
    parser.add_argument("--only", nargs="+", choices=list(ABLATIONS), default=list(ABLATIONS))
    arguments = parser.parse_args()
    kept = RESULTS / "ablations"
    kept.mkdir(parents=True, exist_ok=True)
    figures: dict[str, object] = {"model": arguments.model, "clips": arguments.clips, "seconds": arguments.seconds}
    for name in arguments.only:
        folder = run(name, arguments)
        content = json.loads((folder / "ablation.json").read_text())
        baseline = BASELINES.get(name, next(iter(content["variants"])))
        (kept / f"{name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        write_image(kept / f"{name}.jpg", read_image(folder / "ablation.jpg"))
        if (folder / "grid.md").is_file():
            shutil.copy(folder / "grid.md", kept / f"{name}_grid.md")
        figures[name] = {
            "baseline": baseline,
            "scores": {
                variant: {score: round(cell["value"], 4) for score, cell in cells.items()}
                for variant, cells in content["scores"].items()
            },
            "differences": differences(folder, baseline),
        }
    write_result("ablations", figures)


if __name__ == "__main__":
    main()
