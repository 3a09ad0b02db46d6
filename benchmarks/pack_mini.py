"""Put a trained mini into the package: bfloat16, checked for size, with its model card.

    python benchmarks/pack_mini.py runs/mini [runs/longer ...] [--vae runs/autoencoder] [--before training.json]

Takes the model of the last stage of the last run that has both adapters (distill, or else stitch), with the autoencoder
of another if it was trained further after that. The card's figures come from the runs' own files
and from benchmarks/results/mini_quality.json; run it again after that benchmark.
"""

import argparse
import json
import re
import shutil
from pathlib import Path
from typing import Any

import torch

from posegen.model.mini import FOLDER, SETTINGS
from posegen.model.sources import cast, load_pipeline

MOST_BYTES = 48_000_000
RESULTS = Path(__file__).parent / "results"
SAMPLING = {"default_pose_guidance": 2.0, "pose_guidance_until": 0.97, "default_pose_strength": 1.2}
"""Chosen on clips that are neither in the training nor in the card: guidance in the first of eight steps, which decides
where limbs are. In more steps, or stronger, limbs are firmer still, but colours and edges are lost."""
LONG_WAY = """8 steps without classifier-free guidance, with pose guidance of 2 in the first step and a pose strength of
1.2. Pose guidance is not part of PoseGen; its values were chosen on clips that are not in the table below."""
FEW_STEPS = """{steps} steps without any guidance, for which the weights were distilled (the stage `distill`): each
replaces several steps of the model before, with its pose guidance of 2 in the first one and its pose strength of 1.2.
More steps (`--steps 8`) give sharper and less accurate frames."""
STAGES = ("vae", "pretrain", "base", "stitch", "distill")
CARD = """# The mini

A small model with the structure of Wan2.1-I2V-14B and PoseGen's reference tokens, hand embedding and two adapters
(`base`, `stitch`). It runs on any CPU: {parameters:.1f} M parameters, {megabytes:.0f} MB.

**Data.** {clips} clips of synthetic people (`posegen synth --size 256x144`, 33 frames at 16 frames/s), each also
mirrored{parts}. No real person was filmed, and no real video was used.

**Training.** `posegen train` with `--recipe mini` on {hardware}: {training}. {minutes:.0f} minutes in all, by
`training.json` beside this file.

**Sampling.** {sampling}

**Licence.** Apache-2.0, as posegen.

## Quality
{quality}

## Limits
- It was trained on synthetic people only. Real photographs come out as synthetic-looking people at best.
- It makes 256x144 pixels (height x width), which is the default of `generate`. Taller images are a little worse; wide
  ones show torn and doubled bodies.
- A segment has 33 frames. Fingers and facial features are a few pixels wide and are not preserved.
- The text and image encoders are random projections that were never trained, so the prompt has little effect.
- The autoencoder is small and encodes four frames as one latent, so fast movement is blurred.
- It does better on the clips it was trained on than on new people: {generalization}.
"""


def records(runs: list[Path]) -> list[dict[str, Any]]:
    """Steps, hours and last validation of each stage that went into the model, in order; some were stopped by hand."""
    found = []
    for run in runs:
        for stage in STAGES:
            file = run / stage / "metrics.jsonl"
            if file.is_file() and (run == runs[-1] or stage in ("vae", "pretrain", "stitch")):
                lines = [json.loads(line) for line in file.read_text().splitlines()]
                validations = [line for line in lines if any(key.startswith("validation/") for key in line)]
                entry = {"stage": stage, **_length(run / stage, lines)}
                found.append(entry | ({"validation": validations[-1]} if validations else {}))
    return found


def _length(stage: Path, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Steps and hours of a stage, by its own record or, if it was stopped, by its last figures."""
    finished = stage / "finished.json"
    if finished.is_file():
        return dict(json.loads(finished.read_text()))
    last = [line for line in lines if "train/seconds" in line][-1]
    return {
        "steps": last["step"],
        "bad_steps": int(last["train/bad_steps"]),
        "hours": round(last["train/seconds"] / 3600, 3),
        "stopped": True,
    }


def history(runs: list[Path], vae: Path | None, before: Path | None) -> list[dict[str, Any]]:
    """The records of the model that the runs began with, of the runs, and of the autoencoder's own."""
    earlier = json.loads(before.read_text()) if before else []
    return earlier + records(runs) + ([entry for entry in records([vae]) if entry["stage"] == "vae"] if vae else [])


def generalization() -> str:
    """The losses of clips that were trained on and of new people, and the file that they are from."""
    file = RESULTS / "mini_generalization.json"
    if not file.is_file():
        return "`python benchmarks/mini_generalization.py` measures by how much"
    losses = json.loads(file.read_text())["figures"]
    known, new = (losses[kind]["loss_true"] for kind in ("trained on", "new people"))
    return (
        f"before its last two stages, their validation losses were {known:.2f} and {new:.2f}\n"
        f"  (`python benchmarks/{file.stem}.py`, in `benchmarks/results/{file.name}`). More clips should help"
    )


def card(
    trained: list[dict[str, Any]], few_steps: int | None, megabytes: float, parameters: float, clips: int, parts: str,
    hardware: str,
) -> str:  # fmt: skip  # two rows
    """The model card, from the stages' records and the benchmark's result."""
    finished = [(entry["stage"], entry) for entry in trained]
    training = ", ".join(f"{stage} {entry['steps']} steps ({60 * entry['hours']:.1f} min)" for stage, entry in finished)
    quality = "Not measured yet: `python benchmarks/mini_quality.py`."
    if (RESULTS / "mini_quality.json").is_file():
        result = json.loads((RESULTS / "mini_quality.json").read_text())
        figures, machine = result["figures"], result["machine"]
        lines = [f"| {row['what']} | {row['target']} | {row['value']} | {'yes' if row['reached'] else '**no**'} |"
                 for row in figures["table"]]  # fmt: skip
        quality = "\n".join(
            [f"`python benchmarks/mini_quality.py --clips {figures['clips']}` on {machine}, in",
             f"`benchmarks/results/mini_quality.json`: {figures['clips']} clips of each kind, of people it was not "
             "trained on. Brackets", "are 95 % intervals.", "",
             "| what | target | value | reached |", "|---|---|---|---|", *lines]
        )  # fmt: skip
    return CARD.format(
        parameters=parameters / 1e6, megabytes=megabytes, clips=clips, parts=parts, training=training,
        minutes=60 * sum(entry["hours"] for _, entry in finished), hardware=hardware, quality=quality,
        generalization=generalization(), sampling=FEW_STEPS.format(steps=few_steps) if few_steps else LONG_WAY,
    )  # fmt: skip  # two rows


def pack(runs: list[Path], vae: Path | None, before: Path | None, clips: int, parts: str, hardware: str) -> None:
    stage = next(stage for stage in ("distill", "stitch") if (runs[-1] / stage / "model").is_dir())
    pipeline = load_pipeline(str(runs[-1] / stage / "model"), torch.device("cpu"), torch.float32)
    if vae is not None:
        latents = {name: list(pipeline.vae.config[name]) for name in ("latents_mean", "latents_std")}
        pipeline.vae = load_pipeline(str(vae / "vae" / "model"), torch.device("cpu"), torch.float32).vae
        pipeline.vae.register_to_config(**latents)  # the transformer knows no others
    pipeline = cast(pipeline, torch.bfloat16)
    few_steps = pipeline.config.few_steps
    sampling = {"default_steps": few_steps} if few_steps else SAMPLING
    pipeline.register_to_config(**{**SETTINGS, **sampling, "trained": True})
    trained = history(runs, vae, before)
    shutil.rmtree(FOLDER, ignore_errors=True)
    pipeline.save_pretrained(FOLDER)
    for path in FOLDER.rglob("*.json"):  # libraries note where a model was loaded from: nobody else's business
        path.write_text(re.sub(r'\n *"_name_or_path": "[^"]*",', "", path.read_text()))
    (FOLDER / "training.json").write_text(json.dumps(trained, indent=1) + "\n")
    modules = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    parameters = sum(parameter.numel() for part in modules for parameter in part.parameters())
    size = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file())
    if size > MOST_BYTES:
        raise SystemExit(f"{size / 1e6:.1f} MB is more than {MOST_BYTES / 1e6:.0f} MB")
    (FOLDER / "README.md").write_text(card(trained, few_steps, size / 1e6, parameters, clips, parts, hardware))
    print(f"{FOLDER}: {size / 1e6:.1f} MB, {parameters / 1e6:.1f} M parameters")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--vae", type=Path, help="a run whose stage vae trained the autoencoder further")
    parser.add_argument("--before", type=Path, help="training.json of the model that the first run began with")
    parser.add_argument("--clips", type=int, required=True, help="clips it was trained on")
    parser.add_argument("--parts", default="", help="stages that saw fewer clips")
    parser.add_argument("--hardware", required=True, help="what it was trained on")
    arguments = parser.parse_args()
    parts = f" ({arguments.parts})" if arguments.parts else ""
    pack(arguments.runs, arguments.vae, arguments.before, arguments.clips, parts, arguments.hardware)
