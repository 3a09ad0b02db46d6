"""Measure a small model on synthetic people and movements it was never trained on: the table of its card.

    python benchmarks/mini_quality.py [--model mini|FOLDER] [--clips 24] [--only quality speed] [--data FOLDER]
        [--sheets docs]

val-same: the reference is another moment of the same clip, so the clip is the ground truth. val-cross: it is another
person. Baselines for val-same: the reference image repeated, and the model with another clip's skeletons and hands.
Clips are made with a seed of their own; all conditions are the renderer's, so no estimator's errors are in the scores.
Figures are means over clips, in brackets their 95 % intervals (Student's t). PSNR of a clip pools the
squared errors of all its frames. The autoencoder's last frames are compared with its first ones on clips that run
forwards and, beside that, also backwards: people begin calmer than they go on, and calm frames are easier. Movement:
for each generated frame, which true frame is nearest, wherever the person is in any frame of the clip; chance is the
same in any order of the frames, "decoded" the true frames through the autoencoder. Identity: ten candidate references;
"real frames" is the test on clips that were not generated, against references of the same scene and of another scene
(other light, other background).
"""

import argparse
import datetime
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from posegen.data.clips import Clip, Drawing, keypoint_scores
from posegen.data.shards import open_shards
from posegen.devices import choose_dtype
from posegen.evaluate.filming import FilmFormat, film
from posegen.evaluate.metrics.appearance import describe_appearance, identify
from posegen.evaluate.metrics.intervals import mean_interval
from posegen.evaluate.metrics.pixel_formulas import (
    frame_distances,
    motion_chance,
    motion_score,
    psnr,
    psnr_per_frame,
)
from posegen.media.image import write_image
from posegen.model.latents import decode_latents, encode_frames, to_pixels
from posegen.model.pipeline import PoseGenPipeline
from posegen.model.sources import describe_model, load_pipeline
from posegen.synthetic.clip import SyntheticClip, SyntheticClipSettings
from posegen.synthetic.shard_writer import ShardSettings, make_shards, place_of
from posegen.train.objective import stutter
from results_file import figures_of, processor_name, write_result

PARTS = ("quality", "speed")
SEED = 1234
CPU = torch.device("cpu")
SIZE = (256, 144)
"""Height and width of all clips."""
ALL = 24
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
    """The first `count` of 24 clips, or of `count` if that is more."""
    clip = SyntheticClipSettings(*SIZE)
    make_shards(folder, ShardSettings(split, max(count, ALL), SEED, clips_per_shard=4, clip=clip), workers=2)
    return [Clip(sample, drawing) for shard in open_shards(folder, split) for sample in shard.samples][:count]


class Model:
    """A pipeline and how it is sampled."""

    def __init__(
        self,
        name: str,
        steps: int | None,
        guidance: float | None,
        pose_guidance: float | None,
        pose_strength: float | None,
    ) -> None:
        self.pipeline: PoseGenPipeline = load_pipeline(name, CPU, choose_dtype("auto", CPU))
        self.steps, self.guidance = steps, guidance
        self.pose_guidance, self.pose_strength = pose_guidance, pose_strength
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
            pose_guidance_scale=self.pose_guidance,
            pose_strength=self.pose_strength,
            output_type="uint8",
        ).frames[0]


def evenness(model: Model, frames: np.ndarray) -> float:
    """Ratio of the change of frames where a new latent begins to that elsewhere; 1 = no stutter."""
    return float(stutter(to_pixels(frames), model.pipeline.temporal_stride))


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def interval(values: Sequence[float]) -> list[float]:
    return [round(bound, 3) for bound in mean_interval(values)]


def bracket(values: Sequence[float]) -> str:
    low, high = mean_interval(values)
    return f"[{low:.2f}, {high:.2f}]"


def autoencoder(model: Model, clips: list[Clip], figures: dict[str, object]) -> list[Row]:
    """PSNR of decoded latents, frame by frame."""
    curves, backwards, whole, motion, even = [], [], [], [], []
    vae = model.pipeline.vae
    for clip in clips:
        truth = clip.frames(0, model.length)
        decoded = decode_latents(vae, encode_frames(vae, truth))
        curves.append(psnr_per_frame(decoded, truth))
        turned = np.ascontiguousarray(truth[::-1])
        backwards.append(psnr_per_frame(decode_latents(vae, encode_frames(vae, turned)), turned))
        whole.append(psnr(decoded, truth))
        even.append(evenness(model, decoded))
        motion.append(motion_score(frame_distances(decoded, truth, clip.person(0, model.length).any(axis=0))))
    curve, turned_curve = np.mean(curves, axis=0), np.mean(backwards, axis=0)
    forwards, back = (float(each[:4].mean() - each[-4:].mean()) for each in (curve, turned_curve))
    figures["autoencoder_psnr"] = {"mean": round(mean(whole), 2), "interval": interval(whole)}
    figures["autoencoder_stutter"] = round(mean(even), 2)
    figures["autoencoder_motion"] = round(mean(motion), 3)
    figures["autoencoder_psnr_by_frame"] = [round(float(value), 2) for value in curve]
    figures["autoencoder_psnr_by_frame_backwards"] = [round(float(value), 2) for value in turned_curve]
    return [
        Row("autoencoder, PSNR of whole held-out segments", ">= 27 dB", f"{mean(whole):.2f} dB {bracket(whole)}",
            mean(whole) >= 27),
        Row("autoencoder, last four frames below the first four", "<= 1 dB", f"{forwards:.2f} dB", forwards <= 1),
        Row("... mean of clips forwards and backwards: the same frames at both ends", "<= 1 dB",
            f"{(forwards + back) / 2:.2f} dB (backwards {back:.2f})", (forwards + back) / 2 <= 1),
    ]  # fmt: skip


def same_person(model: Model, clips: list[Clip], figures: dict[str, object], sheets: list[np.ndarray]) -> list[Row]:
    """Generated against truth and baselines, over the frame and over the person; movement."""
    names = ("generated", "still", "other_conditions")
    frame: dict[str, list[float]] = {name: [] for name in names}
    person: dict[str, list[float]] = {name: [] for name in names}
    motion, chance, stitched, kept, even, true_even = [], [], [], [], [], []
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
        even.append(evenness(model, videos["generated"]))
        true_even.append(evenness(model, truth))
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
    figures["val_same_stutter"] = {"generated": round(mean(even), 2), "truth": round(mean(true_even), 2)}
    figures["stitch"] = {"psnr_middle": round(mean(stitched), 2), "psnr_given_frames": round(mean(kept), 2)}
    over_frame, over_person = (above_baselines(values) for values in (frame, person))
    figures["val_same_above_baselines"] = {
        region: {"mean": round(mean(values), 2), "interval": interval(values)}
        for region, values in (("frame", over_frame), ("person", over_person))
    }
    return [
        Row("val-same, PSNR over the frame above the better baseline", ">= 3 dB",
            f"{mean(over_frame):+.2f} dB {bracket(over_frame)} ({means(frame)})", mean(over_frame) >= 3),
        Row("val-same, PSNR over the person above the better baseline", ">= 2 dB",
            f"{mean(over_person):+.2f} dB {bracket(over_person)} ({means(person)})", mean(over_person) >= 2),
        Row("val-same, nearest true frame within one frame", ">= 70 %",
            f"{mean(motion):.0%} {bracket(motion)} (chance {mean(chance):.0%}, "
            f"decoded {figures['autoencoder_motion']:.0%})", mean(motion) >= 0.7),
    ]  # fmt: skip


def above_baselines(values: dict[str, list[float]]) -> list[float]:
    """Difference of each clip's result from the baseline that is better on the whole."""
    better = max(("still", "other_conditions"), key=lambda name: mean(values[name]))
    return [ours - theirs for ours, theirs in zip(values["generated"], values[better], strict=True)]


def means(values: dict[str, list[float]]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {mean(numbers):.2f}" for name, numbers in values.items())


def appearance(frames: np.ndarray, keypoints: np.ndarray, visibility: np.ndarray):
    scores = np.stack([keypoint_scores(row) for row in visibility]).astype(np.float32)
    return describe_appearance(frames, keypoints.astype(np.float32), scores)


def real_appearance(clip: Clip):
    return appearance(clip.array("frames"), clip.array("keypoints"), clip.array("visibility"))


def candidates_of(number: int, total: int) -> list[int]:
    """The right reference and nine others, the same for everyone."""
    others = np.random.default_rng([SEED, number]).permutation([other for other in range(total) if other != number])
    return [number, *(int(other) for other in others[: CANDIDATES - 1])]


def recognised(people: list, references: list) -> list[float]:
    """Return whether each person's nearest candidate is the right one."""
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
    """Test whether generated people look like their references, and real frames in the same way."""
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
    references = reference_appearances(clips)
    hits = recognised(people, references)
    ceiling = recognised([real_appearance(clip) for clip in same], reference_appearances(same))
    # the person of each clip is the reference of the clip before
    elsewhere = recognised([real_appearance(clip) for clip in clips[1:]], references)
    figures["val_cross_identified"] = {"score": round(mean(hits), 3), "interval": interval(hits),
                                       "chance": 1 / CANDIDATES, "real_frames": round(mean(ceiling), 3),
                                       "real_frames_of_another_scene": round(mean(elsewhere), 3)}  # fmt: skip
    return [
        Row("val-cross, right reference among ten by appearance", ">= 80 %",
            f"{mean(hits):.0%} {bracket(hits)} (chance 10 %, real frames {mean(ceiling):.0%}, "
            f"of another scene {mean(elsewhere):.0%})", mean(hits) >= 0.8)
    ]  # fmt: skip


def speed(name: str, options: list[str], figures: dict[str, object]) -> list[Row]:
    """Seconds of whole commands on two cores: a clip of ten seconds whose conditions are given, and the demo."""
    fps, frames = 16, 161
    description = describe_model(name)
    place = place_of(ShardSettings("val-same", 1, SEED), 0)
    clip = SyntheticClip(place.identity_seed, place.seed, SyntheticClipSettings(*SIZE, frames, float(fps)), "half-body")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        drawing = Drawing(description.draw_scale, description.skeleton_colors)
        form = FilmFormat(Fraction(fps), SIZE, SIZE, drawing)
        film(clip.frames(), folder / "driving.mp4", folder / "conditions", form)
        write_image(folder / "reference.png", clip.reference().rgb)
        generating, _ = run_command(
            "generate", "--reference", folder / "reference.png", "--driving", folder / "driving.mp4", "--conditions",
            folder / "conditions", "--output", folder / "out.mp4", "--prompt", clip.caption, "--no-person-check",
            "--retarget", "off", "--model", name, *options,
        )  # fmt: skip
        demo, said = run_command("demo", "--output", folder / "demo.mp4", "--model", name, *options)
    figures["seconds_for_ten_seconds"], figures["seconds_for_the_demo"] = round(generating, 1), round(demo, 1)
    figures["demo_says"] = [line for line in said.splitlines() if "true" in line]
    return [
        Row("a clip of ten seconds, two cores", "< 120 s", f"{generating:.0f} s", generating < 120),
        Row("the whole demo (twelve seconds), two cores", "< 180 s", f"{demo:.0f} s", demo < 180),
    ]


def run_command(*arguments: object) -> tuple[float, str]:
    """Seconds of a posegen command in a process of its own, start-up included, and what it said."""

    def two_cores() -> None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])

    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "posegen.apps.cli", *map(str, arguments)],
        check=True, stderr=subprocess.PIPE, text=True, preexec_fn=two_cores,
        env={name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"},
    )  # fmt: skip
    return time.monotonic() - began, done.stderr


def sheet(reference: np.ndarray, *videos: np.ndarray) -> np.ndarray:
    """Rows of a contact sheet: each video at five moments, after the reference."""
    moments = np.linspace(0, len(videos[0]) - 1, 5).round().astype(int)
    return np.concatenate([np.concatenate([reference, *video[moments]], axis=1) for video in videos])


def write_sheets(folder: Path, name: str, sheets: list[np.ndarray]) -> None:
    columns = [np.concatenate(sheets[start::2]) for start in (0, 1)]
    folder.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.ascontiguousarray(np.concatenate(columns, axis=1)))
    picture.save(folder / f"{name}.jpg", quality=80, optimize=True)


def quality(arguments: argparse.Namespace, figures: dict[str, object]) -> list[Row]:
    """All that is no time; pictures go to `--sheets`."""
    model = Model(
        arguments.model, arguments.steps, arguments.guidance, arguments.pose_guidance, arguments.pose_strength
    )
    config = model.pipeline.config
    drawing = Drawing(config.draw_scale, config.skeleton_colors)
    same = load_clips(arguments.data, "val-same", arguments.clips, drawing)
    cross = load_clips(arguments.data, "val-cross", arguments.clips, drawing)
    figures |= {
        "clips": arguments.clips,
        "steps": config.default_steps if arguments.steps is None else arguments.steps,
        "guidance": config.default_guidance if arguments.guidance is None else arguments.guidance,
        "pose_guidance": config.default_pose_guidance if arguments.pose_guidance is None else arguments.pose_guidance,
        "pose_strength": config.default_pose_strength if arguments.pose_strength is None else arguments.pose_strength,
        "other_work_on_the_machine": f"load average {os.getloadavg()[0]:.1f}",
    }
    same_sheets: list[np.ndarray] = []
    cross_sheets: list[np.ndarray] = []
    rows = [
        *autoencoder(model, same, figures),
        *same_person(model, same, figures, same_sheets),
        *other_person(model, cross, same, figures, cross_sheets),
    ]
    write_sheets(arguments.sheets, "mini_val_same", same_sheets)
    write_sheets(arguments.sheets, "mini_val_cross", cross_sheets)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--data", type=Path, default=Path(f"outputs/mini_quality_{SIZE[0]}x{SIZE[1]}"))
    parser.add_argument("--clips", type=int, default=ALL)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--pose-guidance", type=float)
    parser.add_argument("--pose-strength", type=float, help="of what is measured, not of the timed commands")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS,
                        help="the other figures stay what they are in the result file")  # fmt: skip
    parser.add_argument("--sheets", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    if arguments.clips < CANDIDATES:
        parser.error(f"--clips: at least {CANDIDATES}, one for each candidate")
    options = [
        f"--{name.replace('_', '-')}={value}"
        for name in ("steps", "guidance", "pose_guidance")
        if (value := getattr(arguments, name)) is not None
    ]
    figures, rows = figures_of("mini_quality"), []
    measured = dict(figures.get("measured", {}))
    if "quality" in arguments.only:
        rows += quality(arguments, figures)
    if "speed" in arguments.only:
        rows += speed(arguments.model, options, figures)
    origin = f"{datetime.date.today()}, {processor_name()}: {' '.join(sys.argv[1:]) or 'no options'}"
    figures["measured"] = measured | dict.fromkeys(arguments.only, origin)
    table = {row["what"]: row for row in figures.get("table", [])}
    figures["table"] = list((table | {row.what: vars(row) | {"reached": bool(row.reached)} for row in rows}).values())
    write_result("mini_quality", figures)
    for row in rows:
        print(f"{'reached' if row.reached else 'MISSED ':<8} {row.what}: {row.value} (target {row.target})")


if __name__ == "__main__":
    main()
