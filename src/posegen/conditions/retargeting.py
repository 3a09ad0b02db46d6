"""Retargets the driving person's skeleton to the reference person's proportions and position.

`full` scales every bone, from the neck outwards, by the ratio of its lengths in the reference and in the clip
(`proportions.py`); directions, and so the movement, are preserved, and a person who walks to the camera still grows.
`align` moves and scales the whole skeleton at once, box to box. All points are pixels of the result. The new points are
drawn in `retargeted_conditions.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from posegen.conditions.frame_edges import settle_edges
from posegen.conditions.keypoints import BODY_NAMES, FACE, HANDS, INDEX, SEEN, PersonPose, PoseSequence
from posegen.conditions.person_in_frame import Box
from posegen.conditions.placing import core_points, outside_frame, shift_into_frame, shift_to
from posegen.conditions.proportions import Proportions, compare

_CHAINS = tuple(
    (f"{side}_{joint}", f"{side}_{parent}" if parent != "hips" else "hips", group)
    for side in ("left", "right")
    for joint, parent, group in (
        ("elbow", "shoulder", "upper arms"),
        ("wrist", "elbow", "forearms"),
        ("hip", "hips", "hips"),
        ("knee", "hip", "thighs"),
        ("ankle", "knee", "shanks"),
        ("big_toe", "ankle", "feet"),
        ("small_toe", "ankle", "feet"),
        ("heel", "ankle", "feet"),
    )
)
"""Joint, its parent, and the group whose ratio the bone between them has; in the order of evaluation."""
_FEET = tuple(f"{side}_{part}" for side in ("left", "right") for part in ("ankle", "big_toe", "small_toe", "heel"))
_TRUNK = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
"""Points by which boxes are aligned: with arms, a gesture would widen the box."""
_OFTEN = 0.5
"""Minimum fraction of the frames in which feet, or a point of the trunk, must be seen to be used."""
_REAL_SCALE_CHANGE = 1.15
"""Ratio of sizes within a clip below which differences count as measuring errors."""
_CONTACT = 0.015
"""Distance in heights within which feet count as equally low."""


_TOLD_OUTSIDE = 0.05
"""Fraction of the frames with head or shoulders outside the frame from which it is reported."""


@dataclass(frozen=True)
class Retargeted:
    """Clip retargeted to the reference.

    pose: in pixels of the result; points outside the frame are drawn as far as `frame_edges.py` says. hands: for each
    frame and hand (scale, x, y) such that a point p of the hand is now at scale · p + (x, y). report: for the user.
    """

    pose: PoseSequence
    hands: Float[np.ndarray, "frames 2 3"]
    report: str


def retarget(pose: PoseSequence, reference: PersonPose) -> Retargeted | None:
    """Retarget `pose` to the reference's proportions and position, both in pixels of the result.

    A part that the reference or the clip does not show is scaled like its neighbour, or like the whole. Returns None if
    the two have no bone in common, or neither shoulders nor a nose.
    """
    proportions, pair = compare(pose, reference), _skeletons(pose, reference)
    if proportions is None or pair is None:
        return None
    source, target = pair
    anchor_scale = _anchor_scale(proportions)
    ratios = {name: ratio / anchor_scale for name, ratio in proportions.ratios.items()}
    whole = proportions.whole / anchor_scale
    bent = np.empty((len(pose), len(BODY_NAMES), 2))  # relative to the root; face and hands follow at the end
    for part in pose.pieces():
        bent[part] = _bend(source.part(part), ratios)[:, : len(BODY_NAMES)]
    on_feet = _stands(source, target)
    way = _on_ground(source, bent, ratios) if on_feet else whole * source.root
    bent += way[:, None]
    height = whole * proportions.height
    near = np.abs(np.log(proportions.scale / anchor_scale)) <= 0.5 * np.log(_REAL_SCALE_CHANGE)
    away = np.linalg.norm(source.root - target.root[0], axis=1) / height
    shift = shift_to(bent, source.seen, target.points[0], target.seen[0], away, near, height)
    if shift is None:
        return None
    inward = _shift_inward(bent + shift, source.seen, pose.size, reference, on_feet)
    shift = shift + inward

    def carried(part: slice) -> tuple[np.ndarray, np.ndarray]:
        piece = source.part(part)
        moved = _bend(piece, ratios) + way[part, None] + shift
        return moved, _hands_moved(piece, moved, ratios["forearms"])

    report = _describe(proportions, anchor_scale, on_feet) + _describe_inward(inward, pose.size)
    return _in_pieces(pose, carried, report)


def align(pose: PoseSequence, box: Box, reference: PersonPose | None = None) -> Retargeted | None:
    """Move and scale the whole clip so that the person's usual box becomes `box`.

    With a `reference`, the parts of head, trunk and legs that both show fill the same box. Returns None if no person is
    seen.
    """
    often = (pose.scores >= SEEN).mean(axis=0) >= _OFTEN * min(1.0, float((pose.scores >= SEEN).any(axis=1).mean()))
    names = [INDEX[name] for name in _TRUNK if often[INDEX[name]]]
    if reference is not None:
        common = [index for index in names if reference.scores[index] >= SEEN]
        if len(common) >= 2:
            names = common
            places = reference.keypoints[names]
            box = (*map(float, places.min(axis=0)), *map(float, places.max(axis=0)))  # type: ignore[assignment]
    frames = (pose.scores[:, names] >= SEEN).all(axis=1) if names else np.zeros(len(pose), bool)
    if len(names) < 2 or not frames.any():
        return None
    points = pose.keypoints[frames][:, names].astype(np.float64)
    low, high = np.median(points.min(axis=1), axis=0), np.median(points.max(axis=1), axis=0)
    size, wanted = high - low, np.array(box[2:]) - np.array(box[:2])
    scale = float(np.linalg.norm(wanted) / max(float(np.linalg.norm(size)), 1.0))
    shift = (np.array(box[:2]) + np.array(box[2:])) / 2 - scale * (low + high) / 2
    body = pose.keypoints[:, : len(BODY_NAMES)] * scale + shift
    inward = _shift_inward(body, pose.scores >= SEEN, pose.size, reference, on_feet=False)
    shift = shift + inward
    hands = np.array([scale, *shift])
    report = f"the driving skeleton is aligned with the reference by its box: scaled by {scale:.2f}"
    report += _describe_inward(inward, pose.size)
    return _in_pieces(pose, lambda part: (pose.keypoints[part] * scale + shift, hands), report)


def _outside(
    moved: PoseSequence, scores: Float[np.ndarray, "frames 133"]
) -> tuple[Bool[np.ndarray, "frames 2"], Bool[np.ndarray, "frames 2"]]:
    """Return masks of where nose and middle of the shoulders are outside the frame, and of where they are known."""
    outside, known = np.zeros((len(moved), 2), bool), np.zeros((len(moved), 2), bool)
    for part in moved.pieces():
        points, seen = core_points(moved.keypoints[part].astype(np.float64), scores[part] >= SEEN)
        known[part] = seen[:, :2]
        outside[part] = outside_frame(points[:, :2], moved.size) & known[part]
    return outside, known


def share_outside(moved: PoseSequence, scores: Float[np.ndarray, "frames 133"]) -> float:
    """Return the fraction of the frames in which head or shoulders of the retargeted person are outside the frame.

    scores: of the driving person, in whose frames they are seen.
    """
    outside, known = _outside(moved, scores)
    return float(outside.any(axis=1).sum()) / max(int(known.any(axis=1).sum()), 1)


def describe_outside(moved: PoseSequence, scores: Float[np.ndarray, "frames 133"]) -> str | None:
    """Describe in one line how often head and shoulders are outside the frame; None if rarely. As `share_outside`."""
    outside, known = _outside(moved, scores)
    shares = outside.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    named = [
        f"the {name} in {100 * share:.0f} %"
        for name, share in zip(("head", "shoulders"), shares.tolist(), strict=True)
        if share > _TOLD_OUTSIDE
    ]
    if not named:
        return None
    return (
        f"the person moves out of the result's frame: {' and '.join(named)} of the frames (preview shows where; a "
        "reference that shows more around the person, --fit pad or another --size leaves more room)"
    )


def _shift_inward(
    body: Float[np.ndarray, "frames body 2"],
    seen: Bool[np.ndarray, "frames 133"],
    size: tuple[int, int],
    reference: PersonPose | None,
    on_feet: bool,
) -> Float[np.ndarray, " 2"]:
    """Return the further shift that keeps head and torso in the frame, where the reference shows them there."""
    points, shown = core_points(body, seen)
    if reference is not None:
        there, known = core_points(reference.keypoints[None].astype(np.float64), (reference.scores >= SEEN)[None])
        shown = shown & known & ~outside_frame(there, size)
    return shift_into_frame(points, shown, size, on_feet)


def _describe_inward(inward: Float[np.ndarray, " 2"], size: tuple[int, int]) -> str:
    parts = [
        f"{100 * abs(by) / side:.0f} % {more if by > 0 else less}"
        for by, side, less, more in ((inward[0], size[1], "left", "right"), (inward[1], size[0], "up", "down"))
        if abs(by) >= 0.005 * side
    ]
    return f"; shifted by {' and '.join(parts)} to stay in the frame" if parts else ""


@dataclass(frozen=True)
class _Skeleton:
    """Joints of a clip by name (frames, 2), masks of where they are seen, and the root of all joints.

    points: as in the clip; only parts being computed with are in float64. root: the middle of the shoulders, or the
    nose of a person without shoulders (`by_nose`); known in every frame. hips: the middle of the hips; seen if one of
    them is.
    """

    points: Float[np.ndarray, "frames 133 2"]
    seen: Bool[np.ndarray, "frames 133"]
    root: Float[np.ndarray, "frames 2"]
    hips: Float[np.ndarray, "frames 2"]
    hips_seen: Bool[np.ndarray, " frames"]
    by_nose: bool

    @classmethod
    def of(cls, keypoints: np.ndarray, scores: np.ndarray, by_nose: bool) -> "_Skeleton | None":
        """Build the skeleton of a clip; None if its root is never seen."""
        points, seen = keypoints, scores >= SEEN
        shoulders, shoulders_seen = _middle(points, seen, "shoulder")
        hips, hips_seen = _middle(points, seen, "hip")
        nose, nose_seen = points[:, INDEX["nose"]].astype(np.float64), seen[:, INDEX["nose"]]
        if not (nose_seen if by_nose else shoulders_seen).any():
            return None
        if by_nose:
            return cls(points, seen, _over_gaps(nose, nose_seen), hips, hips_seen, True)
        both = shoulders_seen & nose_seen
        if both.any():  # for frames in which only the head is seen
            below = _over_gaps(shoulders - nose, both)
            shoulders = np.where(shoulders_seen[:, None], shoulders, nose + below)
            shoulders_seen = shoulders_seen | nose_seen
        return cls(points, seen, _over_gaps(shoulders, shoulders_seen), hips, hips_seen, False)

    def joint(self, name: str) -> tuple[Float[np.ndarray, "frames 2"], Bool[np.ndarray, " frames"]]:
        """Return the positions of a joint, and a mask of the frames in which it is seen."""
        if name == "hips":
            return self.hips, self.hips_seen
        return self.points[:, INDEX[name]].astype(np.float64), self.seen[:, INDEX[name]]

    def part(self, frames: slice) -> "_Skeleton":
        """Return some of the frames, with points in float64."""
        points, seen = self.points[frames].astype(np.float64), self.seen[frames]
        return _Skeleton(points, seen, self.root[frames], self.hips[frames], self.hips_seen[frames], self.by_nose)


def _skeletons(pose: PoseSequence, reference: PersonPose) -> tuple[_Skeleton, _Skeleton] | None:
    """Build the skeletons of the clip and the reference with the same root; None if they have none in common."""
    for by_nose in (False, True):
        source = _Skeleton.of(pose.keypoints, pose.scores, by_nose)
        target = _Skeleton.of(reference.keypoints[None], reference.scores[None], by_nose)
        if source is not None and target is not None:
            return source, target
    return None


def _middle(points: np.ndarray, seen: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the middle of a left and a right joint; an unseen one is estimated by its usual offset from the other."""
    (left, left_seen), (right, right_seen) = (
        (points[:, INDEX[f"{side}_{name}"]].astype(np.float64), seen[:, INDEX[f"{side}_{name}"]])
        for side in ("left", "right")
    )
    both = left_seen & right_seen
    across = _over_gaps(right - left, both) if both.any() else np.zeros_like(left)
    middle = np.where(left_seen[:, None], left + across / 2, right - across / 2)
    return middle, left_seen | right_seen


def _over_gaps(values: Float[np.ndarray, "frames 2"], known: Bool[np.ndarray, " frames"]) -> np.ndarray:
    """Interpolate unknown values in time."""
    frames = np.arange(len(values))
    return np.stack([np.interp(frames, frames[known], values[known, axis]) for axis in (0, 1)], axis=1)


def _bend(source: _Skeleton, ratios: dict[str, float]) -> Float[np.ndarray, "frames 133 2"]:
    """Return all points relative to the root, with every bone scaled by its ratio.

    Children of unseen joints are attached to the nearest seen ancestor.
    """
    root = source.root
    moved = ratios["neck"] * (source.points - root[:, None])
    origins = {"root": (root, np.zeros_like(root))}  # position of a joint, and its new position

    def add(name: str, parent: str, ratio: float) -> None:
        place, seen = source.joint(name)
        base, goes = origins[parent]
        here = goes + ratio * (place - base)
        if name != "hips":
            moved[:, INDEX[name]] = here
        origins[name] = (np.where(seen[:, None], place, base), np.where(seen[:, None], here, goes))

    if source.by_nose:
        origins["nose"] = origins["root"]
        moved[:, INDEX["nose"]] = 0
    else:
        add("nose", "root", ratios["neck"])
    head = [
        *(INDEX[f"{side}_{part}"] for side in ("left", "right") for part in ("eye", "ear")),
        *range(FACE.start, FACE.stop),
    ]
    base, goes = origins["nose"]
    moved[:, head] = goes[:, None] + ratios["head"] * (source.points[:, head] - base[:, None])
    for side in ("left", "right"):
        add(f"{side}_shoulder", "root", ratios["shoulders"])
    add("hips", "root", ratios["torso"])
    for name, parent, group in _CHAINS:
        add(name, parent, ratios[group])
    for hand, wrist in zip(HANDS, ("left_wrist", "right_wrist"), strict=True):
        base, goes = origins[wrist]
        moved[:, hand] = goes[:, None] + ratios["forearms"] * (source.points[:, hand] - base[:, None])
    return moved


def _anchor_scale(proportions: Proportions) -> float:
    """Return the size, relative to its median, at which the driving person equals the reference."""
    low, high = np.percentile(proportions.scale, [5, 95])
    return float(np.clip(proportions.whole, low, high)) if high / low > _REAL_SCALE_CHANGE else 1.0


def _stands(source: _Skeleton, target: _Skeleton) -> bool:
    """Return True if both show feet on the ground, and hips above them."""
    feet = [INDEX[name] for name in _FEET]
    shown = source.seen[:, feet].any(axis=1) & source.hips_seen
    somewhere = source.seen.any(axis=1)
    return bool(target.seen[0, feet].any() and target.hips_seen[0] and shown.sum() >= max(1, _OFTEN * somewhere.sum()))


def _on_ground(
    source: _Skeleton, moved: Float[np.ndarray, "frames body 2"], ratios: dict[str, float]
) -> Float[np.ndarray, "frames 2"]:
    """Return the root's path that keeps standing feet on the ground: scaled with the legs, at the feet's height."""
    legs = (ratios["thighs"] + ratios["shanks"]) / 2
    carried, ground, shown = _ground(source)
    feet = [INDEX[name] for name in _FEET]
    by_feet = legs * ground - (carried * moved[:, feet, 1]).sum(axis=1)
    by_neck = legs * source.root[:, 1]
    frames = np.arange(len(ground))
    off = np.interp(frames, frames[shown], (by_feet - by_neck)[shown])
    hips = np.where(source.hips_seen[:, None], source.hips, source.root)
    x = legs * hips[:, 0] - ratios["torso"] * (hips - source.root)[:, 0]
    return np.stack([x, by_neck + off], axis=1)


def _ground(skeleton: _Skeleton) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the weight on each foot point (frames, 8), the row of the ground below, and a mask of frames with feet."""
    feet = [INDEX[name] for name in _FEET]
    seen, rows = skeleton.seen[:, feet], skeleton.points[:, feet, 1].astype(np.float64)
    shown = seen.any(axis=1)
    lowest = np.where(seen, rows, -np.inf).max(axis=1, initial=-np.inf)
    height = np.maximum(lowest - skeleton.root[:, 1], 1.0) / 0.82
    lowest = np.where(shown, lowest, 0)
    weights = np.where(seen, np.exp(np.minimum(rows - lowest[:, None], 0) / (_CONTACT * height[:, None])), 0)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
    return weights, (weights * rows).sum(axis=1), np.asarray(shown)


def _hands_moved(
    source: _Skeleton, moved: Float[np.ndarray, "frames 133 2"], ratio: float
) -> Float[np.ndarray, "frames 2 3"]:
    """Return `Retargeted.hands` for hands that are scaled by the ratio."""
    hands = np.empty((len(moved), 2, 3))
    for side, hand in enumerate(HANDS):
        hands[:, side, 0] = ratio
        hands[:, side, 1:] = moved[:, hand.start] - ratio * source.points[:, hand.start]
    return hands


def _in_pieces(
    pose: PoseSequence, carried: Callable[[slice], tuple[np.ndarray, np.ndarray]], report: str
) -> Retargeted:
    """Assemble the result from pieces, of which one at a time is in float64.

    carried: returns the points of some frames (n, 133, 2), and their `Retargeted.hands`.
    """
    height, width = pose.size
    keypoints, scores, joints = (
        np.empty(values.shape, np.float32) for values in (pose.keypoints, pose.scores, pose.hands)
    )
    hands = np.empty((len(pose), 2, 3))
    for part in pose.pieces():
        points, hands[part] = carried(part)
        outside = (points < -0.5).any(axis=-1) | (points[..., 0] > width - 0.5) | (points[..., 1] > height - 0.5)
        keypoints[part] = points
        scores[part] = np.where(outside, -np.abs(pose.scores[part]), pose.scores[part])
        moved = pose.hands[part] * hands[part, :, None, :1]
        moved[..., :2] += hands[part, :, None, 1:]
        joints[part] = moved
    return Retargeted(settle_edges(PoseSequence(keypoints, scores, joints, pose.size, pose.fps)), hands, report)


def _describe(proportions: Proportions, anchor_scale: float, on_feet: bool) -> str:
    whole = proportions.whole / anchor_scale
    line = f"the driving skeleton is carried to the reference's proportions: scaled by {whole:.2f}"
    parts = [
        f"{name} {100 * (proportions.ratios[name] / proportions.whole - 1):+.0f} %"
        for name in proportions.ratios
        if name in proportions.known and abs(np.log(proportions.ratios[name] / proportions.whole)) > 0.05
    ]
    line += f", {', '.join(parts)} beside that" if parts else ""
    return line + (", feet on the ground" if on_feet else "")
