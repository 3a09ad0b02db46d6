"""Measure how many denoising steps a small model needs, on new people: PSNR and sharpness over the person, and time.

    python benchmarks/few_steps.py [--models mini runs/mini/distill/model] [--steps 2 3 8] [--clips 8] [--data FOLDER]

Each number of steps is taken as the model is sampled by default (its pose guidance and strength), and without guidance.
Sharpness is relative to the true frames; `autoencoder` is that of the true frames through it, which no steps exceed.
Detail: correlation of what a blur takes away with that of the true frames; sharpness without it is noise. Seconds are
of the processor, for one segment from its conditions to its frames.
"""

import argparse
import os
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from mini_quality import SIZE, Model, load_clips
from posegen.data.clips import Clip, Drawing
from posegen.evaluate.metrics.pixel_formulas import psnr
from posegen.model.latents import decode_latents, encode_frames
from posegen.train.objective import sharpness_ratio
from results_file import write_result

BLUR = 1.5
"""Standard deviation in pixels of the blur that separates detail."""


def detail(frames: np.ndarray) -> np.ndarray:
    """Return brightness without what a blur leaves of it."""
    luma = frames.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.stack([frame - cv2.GaussianBlur(frame, (0, 0), BLUR) for frame in luma])


def scores(frames: np.ndarray, truth: np.ndarray, person: np.ndarray) -> dict[str, float]:
    """Return the scores of one clip over the person."""
    own, real = detail(frames)[person], detail(truth)[person]
    tensors = [torch.from_numpy(np.ascontiguousarray(each)) for each in (frames, truth, person)]
    return {
        "psnr": psnr(frames, truth, person),
        "sharpness": sharpness_ratio(*tensors),
        "detail": float((own * real).sum() / np.sqrt((own**2).sum() * (real**2).sum())),
    }


def mean_scores(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(float(np.mean([row[name] for row in rows])), 3) for name in rows[0]}


def measure(model: Model, clips: list[Clip]) -> dict[str, float]:
    """Return the mean scores and seconds of the model as it is set."""
    rows = []
    for clip in clips:
        truth, person = clip.frames(0, model.length), clip.person(0, model.length)
        began = time.process_time()
        frames = model.generate(clip, clip)
        rows.append({**scores(frames, truth, person), "seconds": time.process_time() - began})
    return mean_scores(rows)


def autoencoder(model: Model, clips: list[Clip]) -> dict[str, float]:
    rows = []
    for clip in clips:
        truth = clip.frames(0, model.length)
        decoded = decode_latents(model.pipeline.vae, encode_frames(model.pipeline.vae, truth))
        rows.append(scores(decoded, truth, clip.person(0, model.length)))
    return mean_scores(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["mini"])
    parser.add_argument("--steps", nargs="+", type=int, default=[2, 3, 8])
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--data", type=Path, default=Path(f"outputs/mini_quality_{SIZE[0]}x{SIZE[1]}"))
    arguments = parser.parse_args()
    figures: dict[str, object] = {"clips": arguments.clips, "load": f"{os.getloadavg()[0]:.1f}"}
    for name in arguments.models:
        model = Model(name, None, None, None, None)
        model.pipeline.merge_adapters()
        config = model.pipeline.config
        drawing = Drawing(config.draw_scale, config.skeleton_colors)
        clips = load_clips(arguments.data, "val-same", arguments.clips, drawing)
        found: dict[str, object] = {"few_steps": config.few_steps, "autoencoder": autoencoder(model, clips)}
        for steps in arguments.steps:
            model.steps = steps
            model.guidance, model.pose_guidance, model.pose_strength = None, None, None
            found[f"{steps} steps"] = measure(model, clips)
            print(name, steps, found[f"{steps} steps"], flush=True)
            if config.default_pose_guidance != 1.0 or config.default_guidance != 1.0:
                model.guidance, model.pose_guidance, model.pose_strength = 1.0, 1.0, 1.0
                found[f"{steps} steps without guidance"] = measure(model, clips)
                print(name, steps, "without guidance", found[f"{steps} steps without guidance"], flush=True)
        figures[name] = found
    write_result("few_steps", figures)


if __name__ == "__main__":
    main()
