"""Compares a result with its ground truth: a few readable scores, and a side-by-side video.

The driving video is the ground truth where it shows the same person in the same place as the reference image. The
person's masks are a file beside the conditions, written with the video.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from posegen.errors import PosegenError
from posegen.evaluate.metrics.pixel_formulas import frame_distances, motion_chance, motion_score, psnr
from posegen.generate.video_plan import VideoPlan
from posegen.media.data_files import read_npz
from posegen.media.files import write_whole
from posegen.media.video import VideoWriter, iterate_frames
from posegen.types import Frames, Image, Masks

PERSON = "person.npz"


@dataclass(frozen=True)
class Comparison:
    """PSNR in dB over frame and person, of the result and of the repeated reference image; and a score of movement.

    motion: share of frames whose nearest true frame is at most one frame away; motion_chance: the same for frames in
    random order.
    """

    frame: float
    person: float
    still_frame: float
    still_person: float
    motion: float
    motion_chance: float

    def lines(self) -> list[str]:
        """Lines for a reader."""
        return [
            f"PSNR against the true video: {self.frame:.1f} dB (reference image repeated: {self.still_frame:.1f}), "
            f"over the person {self.person:.1f} dB ({self.still_person:.1f})",
            f"frames whose nearest true frame is the right one, give or take one: {100 * self.motion:.0f} % "
            f"(by chance: {100 * self.motion_chance:.0f} %)",
        ]


def compare(generated: Frames, ground_truth: Frames, person: Masks, reference: Image) -> Comparison:
    """Compare a result, and the still reference image, with the ground truth, whose person `person` masks."""
    still = np.broadcast_to(reference, ground_truth.shape)
    distances = frame_distances(generated, ground_truth, np.asarray(person.any(axis=0)))
    return Comparison(
        psnr(generated, ground_truth),
        psnr(generated, ground_truth, person),
        psnr(still, ground_truth),
        psnr(still, ground_truth, person),
        motion_score(distances),
        motion_chance(distances),
    )


def compare_with_driving(video: VideoPlan, beside: Path) -> Comparison:
    """Compare a finished result with its driving video; its conditions must be a given folder.

    Also writes `beside`: reference, skeleton, result and ground truth from left to right. Raises `PosegenError` where
    the folder has no masks of the person.
    """
    config, conditions, settings = video.inputs.config, video.inputs.conditions, video.settings
    if conditions is None:
        raise ValueError("the conditions of the video were not given")
    height, width = conditions.size
    person = load_person(conditions.folder)
    generated = np.stack(list(iterate_frames(config.output)))
    driving = iterate_frames(config.movements, settings.fps, settings.start, settings.end)
    fit = conditions.cropping(settings.driving_fit)
    ground_truth = np.stack([fit.apply(frame) for frame in driving])
    reference = video.reference.image
    with VideoWriter(beside, settings.fps, size=(height, 4 * width)) as writer:
        for skeleton, frame, true_frame in zip(conditions.iterate_skeletons(), generated, ground_truth, strict=True):
            writer.write(np.hstack([reference, skeleton, frame, true_frame]))
    return compare(generated, ground_truth, person, reference)


def save_person(folder: Path, masks: Bool[np.ndarray, "frames height width"]) -> None:
    """Write the person's masks beside the conditions."""
    content = io.BytesIO()
    np.savez_compressed(content, packed=np.packbits(masks), shape=np.array(masks.shape))
    write_whole(folder / PERSON, content.getvalue())


def load_person(folder: Path) -> Masks:
    """Read the masks that `save_person` wrote. Raises `PosegenError` where there are none."""
    try:
        data = read_npz(folder / PERSON)
        shape = data["shape"].tolist()
        return np.unpackbits(data["packed"], count=int(np.prod(shape))).reshape(shape).astype(bool)
    except (ValueError, KeyError) as error:
        raise PosegenError(f"{folder / PERSON} cannot be read: {error}") from None
