"""Use the pipeline as any other of diffusers: one segment, with a callback, from conditions that posegen extracts.

python examples/one_segment.py person.png dance.mp4 folder [MODEL]
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import posegen
from posegen.conditions.folder import open_conditions
from posegen.model.sources import load_pipeline


def main() -> None:
    reference, driving, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    model = sys.argv[4] if len(sys.argv) > 4 else "mini"
    pipeline = load_pipeline(model, torch.device("cpu"), torch.float32)
    extracted = posegen.extract(driving, folder / "conditions", size="256x144", model=model)
    conditions, _ = open_conditions(extracted.folder)
    count, (height, width) = pipeline.config.segment_length, extracted.size
    result = pipeline(
        np.array(Image.open(reference).convert("RGB").resize((width, height))),
        conditions.skeleton_frames(0, count),
        conditions.hand_frames(0, count),
        "a person dances in front of a steady background",
        generator=torch.Generator().manual_seed(7),
        output_type="pil",
        callback_on_step_end=lambda pipe, step, timestep, tensors: print(f"step {step + 1}"),
    )
    for number, image in enumerate(result.frames[0]):
        image.save(folder / f"{number:04d}.png")


if __name__ == "__main__":
    main()
