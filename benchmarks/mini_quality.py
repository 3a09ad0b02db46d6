"""What a small model is worth, on synthetic people and movements that it was never trained on: the table of its card.

    python benchmarks/mini_quality.py [--model mini|FOLDER] [--clips 24] [--data FOLDER] [--sheets docs]

val-same: the reference is another moment of the same clip, so the clip is the truth. val-cross: it is another
person. Baselines for val-same: the reference image repeated, and the model with another clip's skeletons and hands.
Clips are made with a seed of their own; all conditions are the renderer's, so no estimator's errors are in the scores.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from posegen.config import GenerateConfig
from posegen.data.clips import Clip, Drawing, keypoint_scores
from posegen.data.shards import open_shards
from posegen.evaluate.appearance import describe_appearance, identify
from posegen.evaluate.filming import film
from posegen.evaluate.scores import (
    bootstrap_interval,
    frame_distances,
    motion_chance,
    motion_score,
    psnr,
    psnr_per_frame,
)
from posegen.media.image import write_image
from posegen.pipeline.latents import decode_latents, encode_frames
from posegen.pipeline.long_video import generate_video
from posegen.pipeline.models import describe_model, load_pipeline
from posegen.pipeline.pipeline import PoseGenPipeline
from posegen.synthetic.clip import Clip as SyntheticClip
from posegen.synthetic.clip import ClipSettings
from posegen.synthetic.shards import ShardSettings, make_shards, place_of
from results_file import write_result

SEED = 1234
CANDIDATES = 10
SHOWN = 6


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    target: str
    value: str
    reached: bool


def load_clips(folder: Path, split: str, count: int, drawing: Drawing) -> list[Clip]:
    make_shards(folder, split, count, seed=SEED)
    return [Clip(sample, drawing) for shard in open_shards(folder, split) for sample in shard.samples]


class Model:
    """A pipeline and how it is sampled."""

    def __init__(self, name: str, steps: int | None, guidance: float | None) -> None:
        self.pipeline: PoseGenPipeline = load_pipeline(name, torch.device("cpu"), torch.bfloat16)
        self.steps, self.guidance = steps, guidance
        self.length = self.pipeline.config.segment_length
        self.head, self.tail = self.pipeline.config.head, self.pipeline.config.tail

    def generate(self, clip: Clip, conditions: Clip, given: bool = False) -> np.ndarray:
        """The person of one clip with the movement of another; `given`: head and tail are the truth's."""
        truth = clip.frames(0, self.length)
        return self.pipeline(
            clip.reference,
            conditions.skeletons(0, self.length),
            conditions.hands(0, self.length),
            clip.caption,
            head_frames=truth[: self.head] if given else None,
            tail_frames=truth[-self.tail :] if given else None,
            num_inference_steps=self.steps,
            guidance_scale=self.guidance,
        )


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def interval(values: Sequence[float]) -> list[float]:
    return [round(bound, 3) for bound in bootstrap_interval(values)]


def autoencoder(model: Model, clips: list[Clip], figures: dict[str, object]) -> list[Row]:
    """PSNR of decoded latents, frame by frame."""
    curves = []
    for clip in clips:
        truth = clip.frames(0, model.length)
        curves.append(
            psnr_per_frame(decode_latents(model.pipeline.vae, encode_frames(model.pipeline.vae, truth)), truth)
        )
    curve = np.mean(curves, axis=0)
    drop = float(curve[:4].mean() - curve[-4:].mean())
    figures["autoencoder_psnr"] = round(float(curve.mean()), 2)
    figures["autoencoder_psnr_by_frame"] = [round(float(value), 2) for value in curve]
    return [
        Row("autoencoder, PSNR of whole held-out segments", ">= 27 dB", f"{curve.mean():.2f} dB", curve.mean() >= 27),
        Row("autoencoder, last four frames below the first four", "<= 1 dB", f"{drop:.2f} dB", drop <= 1),
    ]


def same_person(model: Model, clips: list[Clip], figures: dict[str, object], sheets: list[np.ndarray]) -> list[Row]:
    """Generated against truth and baselines, over the frame and over the person; movement."""
    names = ("generated", "still", "other_conditions")
    frame: dict[str, list[float]] = {name: [] for name in names}
    person: dict[str, list[float]] = {name: [] for name in names}
    motion, chance, stitched, kept = [], [], [], []
    for number, clip in enumerate(clips):
        truth, mask = clip.frames(0, model.length), clip.person(0, model.length)
        videos = {
            "generated": model.generate(clip, clip),
            "still": np.broadcast_to(clip.reference, truth.shape),
            "other_conditions": model.generate(clip, clips[(number + 1) % len(clips)]),
        }
        for name, video in videos.items():
            frame[name].append(psnr(video, truth))
            person[name].append(psnr(video, truth, mask))
        distances = frame_distances(videos["generated"], truth, mask.any(axis=0))
        motion.append(motion_score(distances))
        chance.append(motion_chance(distances))
        if number < SHOWN:
            sheets.append(sheet(clip.reference, truth, clip.skeletons(0, model.length), videos["generated"]))
        if number % 3 == 0:
            between = model.generate(clip, clip, given=True)
            inner = slice(model.head, model.length - model.tail)
            stitched.append(psnr(between[inner], truth[inner]))
            kept.append(psnr(np.delete(between, inner, axis=0), np.delete(truth, inner, axis=0)))
    for region, values in (("frame", frame), ("person", person)):
        figures[f"val_same_psnr_{region}"] = {name: round(mean(values[name]), 2) for name in names}
        figures[f"val_same_psnr_{region}_interval"] = interval(values["generated"])
    figures["val_same_motion"] = {"score": round(mean(motion), 3), "interval": interval(motion),
                                  "chance": round(mean(chance), 3)}  # fmt: skip
    figures["stitch"] = {"psnr_middle": round(mean(stitched), 2), "psnr_given_frames": round(mean(kept), 2)}
    over_frame, over_person = (
        mean(values["generated"]) - max(mean(values["still"]), mean(values["other_conditions"]))
        for values in (frame, person)
    )
    return [
        Row("val-same, PSNR over the frame above the better baseline", ">= 3 dB",
            f"{over_frame:+.2f} dB ({mean(frame['generated']):.2f}; still {mean(frame['still']):.2f}, "
            f"other conditions {mean(frame['other_conditions']):.2f})", over_frame >= 3),
        Row("val-same, PSNR over the person above the better baseline", ">= 2 dB",
            f"{over_person:+.2f} dB ({mean(person['generated']):.2f}; still {mean(person['still']):.2f}, "
            f"other conditions {mean(person['other_conditions']):.2f})", over_person >= 2),
        Row("val-same, nearest true frame within one frame", ">= 70 %",
            f"{100 * mean(motion):.0f} % (chance {100 * mean(chance):.0f} %)", mean(motion) >= 0.7),
    ]  # fmt: skip


def appearance(frames: np.ndarray, keypoints: np.ndarray, visibility: np.ndarray):
    scores = np.stack([keypoint_scores(row) for row in visibility]).astype(np.float32)
    return describe_appearance(frames, keypoints.astype(np.float32), scores)


def candidates_of(number: int, total: int) -> list[int]:
    """The right reference and nine others, the same for everyone."""
    others = np.random.default_rng([SEED, number]).permutation([other for other in range(total) if other != number])
    return [number, *(int(other) for other in others[: CANDIDATES - 1])]


def recognised(people: list, references: list) -> list[float]:
    """Whether each person's nearest candidate is the right one."""
    hits = []
    for number, person in enumerate(people):
        candidates = candidates_of(number, len(references))
        hits.append(float(identify(person, [references[candidate] for candidate in candidates]) == 0))
    return hits


def reference_appearances(clips: list[Clip]) -> list:
    return [
        appearance(
            clip.reference[None], clip.array("reference_keypoints")[None], clip.array("reference_visibility")[None]
        )
        for clip in clips
    ]


def other_person(
    model: Model, clips: list[Clip], same: list[Clip], figures: dict[str, object], sheets: list[np.ndarray]
) -> list[Row]:
    """Whether the generated person looks like its reference; and how well real frames do in the same test."""
    people = []
    for number, clip in enumerate(clips):
        generated = model.generate(clip, clip)
        people.append(
            appearance(generated, *(clip.array(name)[: model.length] for name in ("keypoints", "visibility")))
        )
        if number < SHOWN:
            sheets.append(
                sheet(clip.reference, clip.frames(0, model.length), clip.skeletons(0, model.length), generated)
            )
    hits = recognised(people, reference_appearances(clips))
    real = [appearance(clip.frames(0, model.length), clip.array("keypoints")[: model.length],
                       clip.array("visibility")[: model.length]) for clip in same]  # fmt: skip
    ceiling = recognised(real, reference_appearances(same))
    figures["val_cross_identified"] = {"score": round(mean(hits), 3), "interval": interval(hits),
                                       "chance": 1 / CANDIDATES, "real_frames": round(mean(ceiling), 3)}  # fmt: skip
    return [
        Row("val-cross, right reference among ten by appearance", ">= 80 %",
            f"{100 * mean(hits):.0f} % (chance 10 %, real frames {100 * mean(ceiling):.0f} %)", mean(hits) >= 0.8)
    ]  # fmt: skip


def speed(name: str, figures: dict[str, object]) -> list[Row]:
    """Seconds for a clip of ten seconds, from files to a file."""
    fps, frames = 16, 161
    description = describe_model(name)
    place = place_of(ShardSettings("val-same", 1, SEED), 0)
    clip = SyntheticClip(place.identity_seed, place.seed, ClipSettings(192, 112, frames, float(fps)), "half-body")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        drawing = Drawing(description.draw_scale, description.skeleton_colors)
        film(
            clip.frames(), folder / "driving.mp4", folder / "conditions", Fraction(fps), (192, 112), (192, 112), drawing
        )
        write_image(folder / "reference.png", clip.reference().rgb)
        began = time.monotonic()
        generate_video(
            GenerateConfig(
                folder / "reference.png", folder / "driving.mp4", folder / "out.mp4", model=name, prompt=clip.caption,
                conditions=folder / "conditions", person_check=False,
            )
        )  # fmt: skip
        seconds = time.monotonic() - began
    figures["seconds_for_ten_seconds"] = round(seconds, 1)
    return [Row("a clip of ten seconds, on this machine", "< 120 s", f"{seconds:.0f} s", seconds < 120)]


def sheet(reference: np.ndarray, *videos: np.ndarray) -> np.ndarray:
    """Rows of a contact sheet: each video at five moments, after the reference."""
    moments = np.linspace(0, len(videos[0]) - 1, 5).round().astype(int)
    return np.concatenate([np.concatenate([reference, *video[moments]], axis=1) for video in videos])


def write_sheets(folder: Path, name: str, sheets: list[np.ndarray]) -> None:
    columns = [np.concatenate(sheets[start::2]) for start in (0, 1)]
    write_image(folder / f"{name}.jpg", np.ascontiguousarray(np.concatenate(columns, axis=1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--data", type=Path, default=Path("outputs/mini_quality"))
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--sheets", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    model = Model(arguments.model, arguments.steps, arguments.guidance)
    config = model.pipeline.config
    drawing = Drawing(config.draw_scale, config.skeleton_colors)
    same = load_clips(arguments.data, "val-same", arguments.clips, drawing)
    cross = load_clips(arguments.data, "val-cross", arguments.clips, drawing)
    figures: dict[str, object] = {
        "clips": arguments.clips,
        "steps": arguments.steps or config.default_steps,
        "guidance": arguments.guidance or config.default_guidance,
    }
    same_sheets: list[np.ndarray] = []
    cross_sheets: list[np.ndarray] = []
    rows = [
        *autoencoder(model, same, figures),
        *same_person(model, same, figures, same_sheets),
        *other_person(model, cross, same, figures, cross_sheets),
        *speed(arguments.model, figures),
    ]
    write_sheets(arguments.sheets, "mini_val_same", same_sheets)
    write_sheets(arguments.sheets, "mini_val_cross", cross_sheets)
    figures["table"] = [vars(row) | {"reached": bool(row.reached)} for row in rows]
    write_result("mini_quality", figures)
    for row in rows:
        print(f"{'reached' if row.reached else 'MISSED ':<8} {row.what}: {row.value} (target {row.target})")


if __name__ == "__main__":
    main()
