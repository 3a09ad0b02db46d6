"""One clip of a video -> one sample for training: frames, pose, hand normals, masks, reference picture, caption.

It has the arrays that synthetic samples have (`data/clips.py`), but its frames are a video. A real video has no
ground truth: `visibility` is from the estimator's scores, and the person's mask is a widened hull of the keypoints.
Bytes are a function of video, clip and settings alone.
"""

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from posegen.conditions.camera import person_mask
from posegen.conditions.drawings import drawn
from posegen.conditions.estimators.choosing import make_normal_estimator, make_pose_estimator, make_second_look
from posegen.conditions.estimators.interfaces import PoseEstimator
from posegen.conditions.extraction import fit_pose
from posegen.conditions.finishing import finish_pose
from posegen.conditions.followed_pose import Attention, estimate_pose
from posegen.conditions.framing import choose_framing
from posegen.conditions.hand_maps import make_hand_maps
from posegen.conditions.keypoints import HANDS, PersonPose, PoseSequence
from posegen.conditions.prompt_template import SHOTS, describe_reference, with_subject
from posegen.conditions.tracking import shoulders_seen
from posegen.config import DEFAULT_PROMPT, Framing
from posegen.data.clips import LEFT_HAND_BIT, OUTSIDE, PERSON_BIT, RIGHT_HAND_BIT, VIDEO, VISIBLE
from posegen.errors import PosegenError
from posegen.media.fitting import Fit, plan_fit
from posegen.media.packed import pack_frames
from posegen.media.timing import as_rate
from posegen.media.video import iterate_frames, probe_video
from posegen.prepare.prepare_recipe import ConditionSettings, PrepareRecipe

_REFERENCE_DRAWS = 1
"""Part of the seed that chooses the reference frame; the other part is the clip's name."""


@dataclass(frozen=True)
class Finished:
    """A sample as it is kept: a tar of its parts, and its caption."""

    content: bytes
    caption: str

    @property
    def sha256(self) -> str:
        """SHA-256 of the content, in hexadecimal digits."""
        return hashlib.sha256(self.content).hexdigest()


class SampleMaker:
    """Makes samples; models that look at single frames are kept from one to the next.

    Raises `PosegenError` where weights are missing.
    """

    def __init__(self, recipe: PrepareRecipe, device: str = "auto") -> None:
        self._clips, self._conditions, self._device = recipe.clips, recipe.conditions, device
        self._frames = recipe.output.frames
        self._estimator: PoseEstimator | None = self._make_estimator()
        self._normals = make_normal_estimator(recipe.conditions.estimators(0.0, 1.0), device)
        self._captions = _captions(recipe.conditions, device)

    def make(self, path: Path, key: str, source: str, start: float, end: float) -> Finished:
        """Make the sample of a part of a video, `start` to `end` in seconds.

        Raises `PosegenError` if nobody is followed through it.
        """
        info, rate = probe_video(path), as_rate(self._clips.fps)
        shown = (info.height, info.width)
        fit = plan_fit(shown, self._clips.size_for(shown), "crop")
        pose = self._pose(path, start, end)
        fitted = [fit_pose(pose[index], fit) for index in range(len(pose))]
        frames = np.stack([fit.apply(frame) for frame in iterate_frames(path, rate, start, end)])
        if len(frames) != self._clips.num_frames:
            raise PosegenError(f"{len(frames)} frames are there instead of {self._clips.num_frames}")
        assert self._normals is not None
        again = iterate_frames(path, rate, start, end)
        maps = np.stack(list(make_hand_maps(pose, iter(fitted), fit, self._normals, again)))
        visibility = np.stack([_visibility(person, self._conditions, fit.target) for person in fitted])
        number = _reference(visibility, key)
        caption = self._caption(frames[number], fitted[number], pose, fit)
        keypoints = np.stack([_known_places(person, self._conditions) for person in fitted])
        arrays = {
            "normals": np.where(drawn(maps)[..., None], maps, np.uint8(128)),
            "masks": np.stack([_masks(person, image) for person, image in zip(fitted, maps, strict=True)]),
            "keypoints": keypoints,
            "visibility": visibility,
            "reference": frames[number],
            "reference_keypoints": keypoints[number],
            "reference_visibility": visibility[number],
        }
        height, width = fit.target
        description = {
            "num_frames": len(frames),
            "height": height,
            "width": width,
            "fps": self._clips.fps,
            "source": source,
            "start": start,
            "end": end,
            "identity": key.partition("-")[0],
            "reference_frame": number,
            "caption": caption,
            "reference_caption": caption,
            "subject": "person",
        }
        video = pack_frames(frames, self._clips.fps, self._frames)
        return Finished(_packed(key, arrays, video, description, caption), caption)

    def _pose(self, path: Path, start: float, end: float) -> PoseSequence:
        self._estimator = self._estimator or self._make_estimator()
        try:
            rate = as_rate(self._clips.fps)
            estimator, chosen = self._estimator, self._conditions.estimators(0.0, 1.0)
            attention = Attention(second_look=lambda: make_second_look(chosen, estimator))
            pose, tracking = estimate_pose(path, estimator, rate, True, start=start, end=end, attention=attention)
        finally:
            if self._conditions.pose == "mediapipe":  # it follows a person from frame to frame
                self._estimator.close()
                self._estimator = None
        share = 1 - tracking.missing / tracking.num_frames
        if share < self._conditions.least_seen:
            raise PosegenError(f"the person is followed in {100 * share:.0f} % of the frames only")
        return finish_pose(pose, tracking.cuts, guesses_faces=self._conditions.pose == "mediapipe")[0]

    def _make_estimator(self) -> PoseEstimator:
        """Load the pose estimator; sizes and frames matter to keypoint files only, which are not used here."""
        return make_pose_estimator(self._conditions.estimators(0.0, 1.0), (0, 0), (), 0, self._device)

    def _caption(
        self, image: UInt8[np.ndarray, "height width 3"], person: PersonPose, pose: PoseSequence, fit: Fit
    ) -> str:
        everybody = [fit_pose(pose[index], fit) for index in range(len(pose))]
        try:
            keypoints = np.stack([each.keypoints for each in everybody])
            scores = np.stack([each.scores for each in everybody])
            framing: Framing = choose_framing(keypoints, scores, fit.target)
        except PosegenError:
            framing = "half-body"
        if self._captions is not None:
            return with_subject(self._captions.describe(image, SHOTS[framing]), None)
        if not shoulders_seen(person):
            return DEFAULT_PROMPT
        return describe_reference(image, person.keypoints.astype(np.float64), person.scores.astype(np.float64), framing)


def _captions(settings: ConditionSettings, device: str) -> Any:
    """Load the vision-language model that writes captions, if the recipe names one."""
    if settings.caption_model is None:
        return None
    import torch

    from posegen.conditions.vision_language import VisionLanguageModel
    from posegen.devices import choose_device

    place = choose_device(device)
    dtype = torch.float32 if place.type == "cpu" else torch.bfloat16
    return VisionLanguageModel(settings.caption_model, place, dtype, "[conditions] caption_model")


def _least_scores(settings: ConditionSettings) -> Float[np.ndarray, " 133"]:
    least = np.full(133, settings.body_threshold)
    for hand in HANDS:
        least[hand] = settings.hand_threshold
    return least


def _known_places(person: PersonPose, settings: ConditionSettings) -> Float[np.ndarray, "133 2"]:
    """Return the keypoints, (0, 0) where they are not known: a place outside the frame means that it is."""
    known = np.abs(person.scores) >= _least_scores(settings)
    return np.where(known[:, None], person.keypoints, 0).astype(np.float32)


def _visibility(person: PersonPose, settings: ConditionSettings, size: tuple[int, int]) -> UInt8[np.ndarray, " 133"]:
    """Return the visibility of keypoints: `VISIBLE` where the score is high enough and the point in the picture."""
    x, y = person.keypoints[:, 0], person.keypoints[:, 1]
    inside = (x >= 0) & (y >= 0) & (x <= size[1] - 1) & (y <= size[0] - 1)
    return np.where((person.scores >= _least_scores(settings)) & inside, VISIBLE, OUTSIDE).astype(np.uint8)


def _reference(visibility: UInt8[np.ndarray, "frames 133"], key: str) -> int:
    """Choose a random frame, always the same for one clip, among those that show most of the body."""
    seen = (visibility[:, :17] == VISIBLE).sum(axis=1)
    candidates = np.flatnonzero(seen >= seen.max() - 1)
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    return int(np.random.default_rng([seed, _REFERENCE_DRAWS]).choice(candidates))


def _masks(person: PersonPose, hand_map: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width"]:
    """Return mask bits: roughly the person, and each hand."""
    bits = np.where(person_mask(person.keypoints, person.scores, hand_map.shape[:2]), PERSON_BIT, 0).astype(np.uint8)
    hands = drawn(hand_map)
    if hands.any():
        left = _nearer_left(person, np.argwhere(hands)[:, ::-1].astype(np.float32))
        bits[hands] |= np.where(left, LEFT_HAND_BIT, RIGHT_HAND_BIT).astype(np.uint8)
    return bits


def _nearer_left(person: PersonPose, places: Float[np.ndarray, "pixels 2"]) -> Bool[np.ndarray, " pixels"]:
    """Return whether pixels (x, y) are nearer to the left hand than to the right one, if both are seen."""
    found = np.array([person.scores[hand].max() > 0 for hand in HANDS])
    if not found.all():
        return np.full(len(places), bool(found[0]))
    left, right = (
        np.linalg.norm(places[:, None] - person.keypoints[hand][None], axis=-1).min(axis=1) for hand in HANDS
    )
    return np.asarray(left <= right)


def _packed(key: str, arrays: dict[str, np.ndarray], video: bytes, description: dict[str, Any], caption: str) -> bytes:
    """Pack the sample's parts as a tar, the same bytes every time."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    parts = {
        "json": json.dumps(description, sort_keys=True).encode(),
        VIDEO: video,
        "npz": buffer.getvalue(),
        "txt": caption.encode(),
    }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for suffix, content in parts.items():
            member = tarfile.TarInfo(f"{key}.{suffix}")
            member.size, member.mode = len(content), 0o444
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()
