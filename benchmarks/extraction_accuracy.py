"""Measure errors of extracted body and hand keypoints on synthetic clips whose exact keypoints are known.

    python benchmarks/extraction_accuracy.py [--clips 4] [--frames 10] [--keep FOLDER]

Clips of full and half bodies at 1280x720 and 720x1280, and people seen from behind (reported apart), are rendered and
written as H.264, then go through the same function as every driving video. Errors are in percent of the person's
height: the vertical extent of all true keypoints, also those outside the picture (median over the clip). Only points
that are visible in the ground truth and reported by the estimator (score at least 0.3) count; their share is beside it.
The ground truth has joints where a regression of COCO's annotators' marks puts them, so part of an error is another
definition of a hip. Where two ways can run here, their agreement is given: hands found from true wrists or MediaPipe's
own, and normals of drawn hands against those of the rendered surface. `--keep` keeps the rendered clips, so that
another run need not make them again.
"""

import argparse
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from posegen.conditions.estimators.mediapipe import MediaPipePose
from posegen.conditions.extraction import estimate_pose
from posegen.conditions.finishing import finish_pose
from posegen.conditions.folder import HAND_NORMALS
from posegen.conditions.hands import CapsuleHandNormals, palm_length
from posegen.conditions.keypoints import BODY, FEET, HAND_DRAWN, HANDS, INDEX, SEEN, PersonPose, PoseSequence
from posegen.data.clips import Drawing
from posegen.errors import PosegenError
from posegen.evaluate.filming import FilmFormat, film
from posegen.media.video import iterate_frames
from posegen.synthetic.clip import SyntheticClip, SyntheticClipSettings
from posegen.synthetic.rig_keypoints import VISIBLE
from results_file import write_result

FPS = Fraction(24)
SIZES = {"tall": (1280, 720), "wide": (720, 1280)}
GROUPS = {"full-body": "full-body", "half-body": "half-body", "from behind": "full-body"}
"""Names of groups of clips, and their framing."""
TARGETS = {"body": 2.5, "hands": 4.0}
HAND_POINTS = np.r_[HANDS[0], HANDS[1]]
PARTS = {"body": np.r_[BODY], "feet": np.r_[FEET], "hands": HAND_POINTS}


@dataclass(frozen=True)
class Filmed:
    """A clip as a video, the truth, which points the camera sees, and the folder with the true hand normals."""

    video: Path
    folder: Path
    truth: PoseSequence
    visible: np.ndarray

    @property
    def height(self) -> float:
        """Height of the person, in pixels."""
        return float(np.median(np.ptp(self.truth.keypoints[..., 1], axis=1)))


def filmed(folder: Path, group: str, number: int, frames: int) -> Filmed:
    """Render a clip, or take it from the folder."""
    size = SIZES["tall" if number % 2 == 0 else "wide"]
    place = folder / f"{group.replace(' ', '_')}_{number}_{frames}"
    if not (place / "truth.npz").exists():
        seed = 100 * list(GROUPS).index(group) + number
        clip = SyntheticClip(
            20_000 + seed, seed, SyntheticClipSettings(*size, num_frames=frames, fps=float(FPS)), GROUPS[group]
        )
        if group == "from behind":
            turn_around(clip)
        rendered = list(clip.frames())
        film(rendered, place.with_suffix(".mp4"), place, FilmFormat(FPS, size, size, Drawing(), crf=16))
        visible = np.stack([frame.visibility == VISIBLE for frame in rendered])
        np.savez(place / "truth.npz", keypoints=np.stack([frame.keypoints for frame in rendered]), visible=visible)
    with np.load(place / "truth.npz") as data:
        # the renderer counts from the picture's corner, estimators from the first pixel's centre
        keypoints, visible = data["keypoints"].astype(np.float32) - 0.5, data["visible"]
    truth = PoseSequence(
        keypoints, visible.astype(np.float32), np.full((frames, 2, 21, 3), np.nan, np.float32), size, FPS
    )
    return Filmed(place.with_suffix(".mp4"), place, truth, visible)


def turn_around(clip: SyntheticClip) -> None:
    """Film it from the other side."""
    camera, centre = clip._camera, clip._joints.mean((0, 1))
    half_turn = np.diag([-1.0, -1.0, 1.0])
    clip._camera = replace(
        camera, eye=centre + half_turn @ (camera.eye - centre), right=half_turn @ camera.right,
        up=half_turn @ camera.up, ahead=half_turn @ camera.ahead,
    )  # fmt: skip


def embedded(clip: Filmed) -> PoseSequence:
    """Estimate as `posegen extract` does, without finishing. Other ways can stand beside it: functions of a clip."""
    estimator = MediaPipePose()
    try:
        return estimate_pose(clip.video, estimator, FPS)[0]
    finally:
        estimator.close()


def finished(pose: PoseSequence) -> PoseSequence:
    """Measure what is drawn of what the embedded estimator finds."""
    return finish_pose(pose, guesses_faces=True)[0]


def drawn_hands(found: list[PoseSequence], drawn: list[PoseSequence]) -> dict[str, float]:
    """Percent of the found hands that skeleton and hand normals show, hands that only one of them shows, and the
    distance of the forearm's end to the hand's root in palm lengths, at the 95th percentile.
    """
    were, both, one, apart = [], [], [], []
    for before, after in zip(found, drawn, strict=True):
        for side, (hand, wrist) in enumerate(zip(HANDS, ("left_wrist", "right_wrist"), strict=True)):
            skeleton = (after.scores[:, hand] >= HAND_DRAWN).any(axis=1)
            normals = np.isfinite(after.hands[:, side]).any(axis=(1, 2))
            were.append(np.isfinite(before.hands[:, side]).all(axis=(1, 2)))
            both.append(skeleton & normals)
            one.append(skeleton ^ normals)
            shown = skeleton & (after.scores[:, INDEX[wrist]] >= SEEN)
            way = after.keypoints[shown, hand.start] - after.keypoints[shown, INDEX[wrist]]
            palms = [palm_length(joints) for joints in after.hands[shown, side]]
            apart.append(np.linalg.norm(way, axis=1) / np.array(palms))
    every = np.concatenate(were)
    return {
        "found_hands_that_are_drawn_percent": round(100 * float(np.concatenate(both)[every].mean()), 1),
        "hands_in_one_of_the_two_videos_only": int(np.concatenate(one).sum()),
        "forearm_to_hand_in_palms_percentile_95": round(float(np.percentile(np.concatenate(apart), 95)), 3),
    }


def hands_at_true_wrists(clip: Filmed) -> PoseSequence:
    """MediaPipe's hands, looked for at the truth's wrists: what a better body estimator would bring."""
    estimator = MediaPipePose(single_image=True)
    people = []
    for index, frame in enumerate(iterate_frames(clip.video)):
        inside = (clip.truth.keypoints[index] >= 0) & (clip.truth.keypoints[index] < clip.truth.size[::-1])
        scores = inside.all(axis=-1).astype(np.float32)
        scores[HAND_POINTS] = 0
        people.append(estimator.add_hands(frame, PersonPose(clip.truth.keypoints[index], scores)))
    estimator.close()
    stacked = (np.stack([getattr(person, name) for person in people]) for name in ("keypoints", "scores", "hands"))
    return PoseSequence(*stacked, clip.truth.size, FPS)


def errors(clip: Filmed, found: PoseSequence) -> dict[str, np.ndarray]:
    """For each part the errors of the counted points, percent of the height, and (last) how many should be there."""
    away = 100 * np.linalg.norm(found.keypoints - clip.truth.keypoints, axis=-1) / clip.height
    counted = clip.visible & (found.scores >= SEEN)
    return {part: away[:, points][counted[:, points]] for part, points in PARTS.items()}


def summary(clips: list[Filmed], poses: list[PoseSequence]) -> dict[str, object]:
    """Mean, median and 95th percentile of the errors of each part over clips, and how many of the seen are found."""
    figures: dict[str, object] = {}
    for part, points in PARTS.items():
        values = np.concatenate([errors(clip, pose)[part] for clip, pose in zip(clips, poses, strict=True)])
        should = sum(int(clip.visible[:, points].sum()) for clip in clips)
        if not len(values):
            continue
        figures[part] = {
            "mean_percent_of_height": round(float(values.mean()), 3),
            "median": round(float(np.median(values)), 3),
            "percentile_95": round(float(np.percentile(values, 95)), 3),
            "found_of_visible_percent": round(100 * len(values) / should, 1),
            "points": len(values),
        }
    return figures


def by_keypoint(clips: list[Filmed], poses: list[PoseSequence]) -> dict[str, list[float]]:
    """Mean error of each body point, and its mean offset (x, y): percent of height. Systematic ones show here."""
    table = {}
    for name, point in INDEX.items():
        offsets = [
            100 * (pose.keypoints[seen, point] - clip.truth.keypoints[seen, point]) / clip.height
            for clip, pose in zip(clips, poses, strict=True)
            for seen in [clip.visible[:, point] & (pose.scores[:, point] >= SEEN)]
        ]
        every = np.concatenate(offsets)
        if len(every):
            table[name] = [round(float(value), 2) for value in (np.linalg.norm(every, axis=1).mean(), *every.mean(0))]
    return table


def agreement(clips: list[Filmed], first: list[PoseSequence], second: list[PoseSequence]) -> dict[str, float]:
    """Mean distance of points that both see, percent of height."""
    figures = {}
    for part, points in PARTS.items():
        apart = []
        for clip, one, other in zip(clips, first, second, strict=True):
            both = (one.scores[:, points] >= SEEN) & (other.scores[:, points] >= SEEN)
            distance = np.linalg.norm(one.keypoints[:, points] - other.keypoints[:, points], axis=-1)[both]
            apart.append(100 * distance / clip.height)
        if len(every := np.concatenate(apart)):
            figures[part] = round(float(every.mean()), 3)
    return figures


def sides_swapped(clips: list[Filmed], poses: list[PoseSequence]) -> float:
    """Percent of the frames in which left and right shoulder lie nearer to each other's truth than to their own."""
    left, right = INDEX["left_shoulder"], INDEX["right_shoulder"]
    swapped = []
    for clip, pose in zip(clips, poses, strict=True):
        true, found = clip.truth.keypoints, pose.keypoints
        own = sum(np.linalg.norm(found[:, point] - true[:, point], axis=1) for point in (left, right))
        other = sum(np.linalg.norm(found[:, a] - true[:, b], axis=1) for a, b in ((left, right), (right, left)))
        seen = (pose.scores[:, [left, right]] >= SEEN).all(axis=1)
        swapped.append((other < own)[seen])
    return round(100 * float(np.concatenate(swapped).mean()), 1)


def hidden_faces(clips: list[Filmed], poses: list[PoseSequence]) -> float:
    """Percent of the noses and eyes that are hidden, but reported."""
    points = [INDEX[name] for name in ("nose", "left_eye", "right_eye")]
    hidden = np.concatenate([~clip.visible[:, points] for clip in clips])
    reported = np.concatenate([pose.scores[:, points] >= SEEN for pose in poses])
    return round(100 * float(reported[hidden].mean()), 1) if hidden.any() else 0.0


def hand_normals(clips: list[Filmed], poses: list[PoseSequence]) -> dict[str, float]:
    """Drawn hands against the rendered surface: overlap of the hands' pixels, and angle between normals where both
    have one.
    """
    shared, either, angles = 0, 0, []
    for clip, pose in zip(clips, poses, strict=True):
        for index, true in enumerate(iterate_frames(clip.folder / HAND_NORMALS)):
            drawn = CapsuleHandNormals().estimate(pose[index], clip.truth.size)
            both = drawn.any(axis=-1) & true.any(axis=-1)
            if drawn.any():  # of hands that were found; the others are in the shares above
                shared += int(both.sum())
                either += int((drawn.any(axis=-1) | true.any(axis=-1)).sum())
                one, other = (_unit(picture[both] / 127.5 - 1) for picture in (drawn, true))
                angles.append(np.degrees(np.arccos(np.clip((one * other).sum(axis=1), -1, 1))))
    if not either:
        return {}
    every = np.concatenate(angles)
    return {
        "overlap_percent_iou": round(100 * shared / either, 1),
        "mean_degrees_between_normals": round(float(every.mean()), 1),
        "median_degrees": round(float(np.median(every)), 1),
    }


def _unit(normals: np.ndarray) -> np.ndarray:
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)


def seen_clips(folder: Path, group: str, count: int, frames: int) -> Iterator[tuple[Filmed, PoseSequence]]:
    """Clips in which the embedded estimator sees the person, with what it finds."""
    for number in range(count):
        clip = filmed(folder, group, number, frames)
        try:
            yield clip, embedded(clip)
        except PosegenError as error:
            print(f"{group} {number}: {error}")


def main() -> None:
    logging.getLogger("posegen").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=4, help="of each group; from behind half as many")
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    figures: dict[str, object] = {"frames_of_each_clip": arguments.frames, "sizes": SIZES, "targets": TARGETS}
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.keep or Path(name)
        front: list[tuple[Filmed, PoseSequence]] = []
        for group in GROUPS:
            count = arguments.clips if group != "from behind" else max(1, arguments.clips // 2)
            pairs = list(seen_clips(folder, group, count, arguments.frames))
            clips, poses = [clip for clip, _ in pairs], [pose for _, pose in pairs]
            done = [finished(pose) for pose in poses]
            figures[group] = {
                "clips": count,
                "clips_with_a_person_found": len(pairs),
                **summary(clips, poses),
                "sides_swapped_percent_of_frames": sides_swapped(clips, poses),
                "hidden_faces_drawn_percent": hidden_faces(clips, done),
                "finished": {**summary(clips, done), "drawn": drawn_hands(poses, done)},
            }
            if group != "from behind":
                front += pairs
        clips, poses = [clip for clip, _ in front], [pose for _, pose in front]
        overall = summary(clips, poses)
        at_wrists = [hands_at_true_wrists(clip) for clip in clips]
        figures |= {
            "full-body and half-body": overall,
            "targets_reached": {
                part: overall[part]["mean_percent_of_height"] <= most for part, most in TARGETS.items()
            },
            "each body point: mean error, mean offset x, y": by_keypoint(clips, poses),
            "agreement": {
                "hands looked for at own and at true wrists": agreement(clips, poses, at_wrists).get("hands"),
                "hands looked for at true wrists, against the truth": summary(clips, at_wrists).get("hands"),
                "drawn hand normals, against the rendered surface": hand_normals(clips, poses),
            },
        }
        write_result("extraction_accuracy", figures)


if __name__ == "__main__":
    main()
