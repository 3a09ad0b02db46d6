"""Measure errors of retargeting on synthetic pairs of people who make the same movement.

    python benchmarks/retargeting.py [--pairs 36] [--first 100] [--media FOLDER --sheet docs/retargeting.jpg]

Both people of a pair are filmed from the same direction, each by a camera that suits them; the reference's picture is
then scaled and shifted at random. What is known of the reference is one frame: of the person standing, arms a little
away from the body; of the same movement; or of another movement. In a quarter of the pairs the reference is a character
with limbs and a head that no human has. The ground truth is the keypoints of the second person making the first one's
movement, in the place where they stood, which a picture of another movement does not tell. All keypoints are exact;
those outside a picture are not seen. Errors are in percent of the reference person's standing height, over body, feet
and hands; bone lengths are compared frame by frame with the true ones, and their median over the clip is taken.
Settings were chosen on pairs 0 to 47. Beside `full` and `align`: `box`, plain alignment of the boxes around all body
points; `known lengths`, `full` with each bone's true ratio instead of an estimate; and what is left of each error when
the clip is shifted once to where it fits best, since one picture does not tell where another movement takes place.
`--sheet` draws real videos and references, with the embedded estimator, to be looked at.
"""

import argparse
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from posegen.conditions import retargeting
from posegen.conditions.keypoints import BODY, FEET, HANDS, SEEN, PersonPose, PoseSequence
from posegen.conditions.proportions import GROUPS, bone_vectors, compare
from posegen.conditions.retargeting import align, retarget
from posegen.config import DEFAULT_PROMPT, PreviewConfig
from posegen.generate.preview.preview_job import look_ahead
from posegen.generate.preview.preview_pictures import driven_picture, over, placed_picture
from posegen.media.image import write_image
from posegen.progress import NullProgress
from posegen.synthetic.assets import load_assets
from posegen.synthetic.body import Body, rest_body
from posegen.synthetic.clip import _move
from posegen.synthetic.identity import draw_identity
from posegen.synthetic.motion import still_pose
from posegen.synthetic.rig import Pose, forward_kinematics, skinning_transforms
from posegen.synthetic.rig_keypoints import KeypointTracker
from posegen.synthetic.scene import Camera, draw_camera
from results_file import write_result

SIZE, FPS, FRAMES = (832, 480), 16, 65
FRAMINGS = ("full-body", "half-body", "three-quarter")
REFERENCES = ("standing", "same movement", "another movement")
BUILDS: dict[str, dict[str, float]] = {
    "adult": {}, "child": {"age": 0.35}, "toddler": {"age": 0.15}, "tall": {"height": 0.98}, "short": {"height": 0.05},
    "heavy": {"weight": 0.95, "muscle": 0.4}, "long-legged": {"proportions": 1.0, "height": 0.8},
}  # fmt: skip
"""Changes of a person drawn at random, by name."""
CHARACTERS: dict[str, dict[str, float]] = {
    "short-limbed character": {"leg": 0.6, "arm": 0.72, "head": 1.6},
    "long-limbed character": {"leg": 1.35, "arm": 1.3, "head": 0.85},
}
"""Bodies that no human has: lengths of limbs, and size of the head."""
_PARTS = {
    "leg": ("lowerleg01", "lowerleg02", "upperleg02", "foot"),
    "arm": ("upperarm02", "lowerarm01", "lowerarm02", "wrist"),
}
"""Bones whose distance from the bone before them is changed."""
POINTS = np.r_[BODY, FEET, HANDS[0], HANDS[1]]
TARGET_RATIO, TARGET_BONES = 0.5, 0.05
WAYS = ("off", "box", "align", "full", "known lengths")


@dataclass(frozen=True)
class Pair:
    """One pair: clip of the driving person, the reference's keypoints, and the truth, in pixels of one picture."""

    name: str
    kind: str
    shown: str
    driving: PoseSequence
    reference: PersonPose
    truth: PoseSequence
    person_height: float


def body_of(seed: int, build: str) -> Body:
    identity = draw_identity(seed, len(load_assets().change_names))
    body = rest_body(replace(identity, phenotype={**identity.phenotype, **BUILDS.get(build, {})}))
    return stretched(body, CHARACTERS[build]) if build in CHARACTERS else body


def stretched(body: Body, changes: dict[str, float]) -> Body:
    """The body with limbs of other lengths and another head: bones moved apart, and the surface with them."""
    assets, heads = load_assets(), body.bone_heads
    moved = np.zeros_like(heads)
    for bone, parent in enumerate(assets.parents):
        if parent >= 0:
            name = assets.bones[bone].split(".")[0]
            factor = next((changes[part] for part, names in _PARTS.items() if name in names), 1.0)
            moved[bone] = moved[parent] + (factor - 1) * (heads[bone] - heads[parent])
    vertices = body.vertices + assets.weights @ moved
    head = assets.weights[:, assets.bone("head")][:, None]
    neck = heads[assets.bone("head")]
    vertices = vertices + head * (changes["head"] - 1) * (body.vertices - neck)
    return Body(vertices.astype(np.float32), body.normals, (heads + moved).astype(np.float32))


def moved(body: Body, seed: int, framing: str) -> Pose:
    return _move(np.random.default_rng([seed, 3]), body, framing, FRAMES, FPS)[1]


def joints_of(body: Body, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    return forward_kinematics(body.bone_heads, pose.rotations, pose.root)


def filmed(body: Body, pose: Pose, camera: Camera) -> tuple[np.ndarray, float]:
    """Pixels (frames, 133, 2), and the person's height in pixels."""
    turned, joints = joints_of(body, pose)
    transforms = skinning_transforms(body.bone_heads, turned, joints)
    tracker = KeypointTracker(body)
    points = [tracker.places(transforms[t], joints[t], pose.actions[t]) for t in range(FRAMES)]
    pixels, depth = camera.project(np.stack(points))
    return pixels - 0.5, float(np.ptp(body.vertices[:, 2]) * camera.focal / np.median(depth))


def sequence(pixels: np.ndarray) -> PoseSequence:
    inside = ((pixels >= 0) & (pixels <= (SIZE[1] - 1, SIZE[0] - 1))).all(axis=-1)
    hands = np.full((len(pixels), 2, 21, 3), np.nan, np.float32)
    return PoseSequence(pixels.astype(np.float32), inside.astype(np.float32), hands, SIZE, Fraction(FPS))


def make_pair(number: int) -> Pair:
    random = np.random.default_rng([number, 77])
    names = list(BUILDS)
    first, second = (str(name) for name in random.choice(names, 2))
    if number % 4 == 3:
        second = str(random.choice(list(CHARACTERS)))
    framing = FRAMINGS[number % len(FRAMINGS)]
    bodies = [body_of(50_000 + 2 * number + who, build) for who, build in enumerate((first, second))]
    movements = [moved(body, 60_000 + number, framing) for body in bodies]
    cameras = [
        draw_camera(np.random.default_rng([number, 5]), framing, body, joints_of(body, movement)[1], *SIZE)
        for body, movement in zip(bodies, movements, strict=True)
    ]
    driving, _ = filmed(bodies[0], movements[0], cameras[0])
    truth, height = filmed(bodies[1], movements[1], cameras[1])
    shown = REFERENCES[number // len(FRAMINGS) % len(REFERENCES)]
    pose = still_pose(bodies[1], FRAMES)
    if shown == "another movement":
        pose = moved(bodies[1], 70_000 + number, "half-body")  # stands and gestures, or steps
    other = truth if shown == "same movement" else filmed(bodies[1], pose, cameras[1])[0]
    zoom = float(np.exp(random.uniform(-0.22, 0.22)))
    middle = np.array([SIZE[1], SIZE[0]]) / 2
    shift = middle * (1 - zoom) + random.uniform(-0.08, 0.08, 2) * SIZE[1]
    reference = sequence(other * zoom + shift)[int(random.integers(FRAMES))]
    kind = "character" if second in CHARACTERS else "human"
    return Pair(
        f"{framing}, {first} to {second}",
        kind,
        shown,
        sequence(driving),
        reference,
        sequence(truth * zoom + shift),
        height * zoom,
    )


def error(points: np.ndarray, pair: Pair, shifted: bool = False) -> float:
    """Mean distance in percent of the person's height, of what the driving clip shows and is in the true picture.

    shifted: after the one shift of the whole clip that makes it small.
    """
    use = ((pair.driving.scores >= SEEN) & (pair.truth.scores >= SEEN))[:, POINTS]
    away = (points - pair.truth.keypoints)[:, POINTS][use]
    if shifted:
        away = away - np.median(away, axis=0)
    return float(100 * np.linalg.norm(away, axis=-1).mean() / pair.person_height)


def box_aligned(pair: Pair) -> np.ndarray:
    """The driving clip's keypoints, moved and scaled so that the usual box of its body becomes the reference's."""
    boxes = np.array([box for box in (pair.driving[frame].box for frame in range(FRAMES)) if box[2] > box[0]])
    low, high = np.median(boxes[:, :2], axis=0), np.median(boxes[:, 2:], axis=0)
    wanted_low, wanted_high = np.array(pair.reference.box[:2]), np.array(pair.reference.box[2:])
    scale = np.linalg.norm(wanted_high - wanted_low) / np.linalg.norm(high - low)
    return pair.driving.keypoints * scale + (wanted_low + wanted_high) / 2 - scale * (low + high) / 2


def with_known_lengths(pair: Pair) -> np.ndarray:
    """`full`, told by how much the bones of the true clip are longer than those of the driving clip."""
    estimated = compare(pair.driving, pair.reference)
    ratios = dict(estimated.ratios)
    for name, bones in GROUPS.items():
        found = []
        for bone in bones:
            (ours, seen), (true, known) = (
                bone_vectors(clip.keypoints, clip.scores >= SEEN, bone) for clip in (pair.driving, pair.truth)
            )
            use = seen & known & (np.linalg.norm(ours, axis=1) > 0.02 * pair.person_height)
            if use.any():
                found.append(np.linalg.norm(true[use], axis=1).sum() / np.linalg.norm(ours[use], axis=1).sum())
        if found:
            ratios[name] = float(np.mean(found))
    retargeting.compare = lambda *_: replace(estimated, ratios=ratios)
    try:
        return retarget(pair.driving, pair.reference).pose.keypoints
    finally:
        retargeting.compare = compare


def bone_errors(pose: PoseSequence, pair: Pair) -> dict[str, float]:
    """Relative error of the length of each group of bones that driving clip and reference show."""
    found = {}
    for name, bones in GROUPS.items():
        ratios = []
        for bone in bones:
            vectors, _ = bone_vectors(pose.keypoints, pair.driving.scores >= SEEN, bone)
            _, seen = bone_vectors(pair.driving.keypoints, pair.driving.scores >= SEEN, bone)
            true, _ = bone_vectors(pair.truth.keypoints, pair.truth.scores >= SEEN, bone)
            _, known = bone_vectors(pair.reference.keypoints[None], (pair.reference.scores >= SEEN)[None], bone)
            lengths = np.linalg.norm(true, axis=1)
            use = seen & (lengths > 0.01 * pair.person_height)
            if use.any() and known.all():
                ratios.append(np.linalg.norm(vectors[use], axis=1) / lengths[use])
        if ratios:
            found[name] = float(np.median(np.concatenate(ratios)) - 1)
    return found


def same_clip(pair: Pair) -> float:
    """Mean displacement, in percent of the picture's height, if the reference is a frame of the driving video."""
    frame = int(pair.driving.scores[:, BODY].sum(axis=1).argmax())
    moved = retarget(pair.driving, pair.driving[frame])
    seen = pair.driving.scores[:, POINTS] >= SEEN
    away = np.linalg.norm(moved.pose.keypoints - pair.driving.keypoints, axis=-1)[:, POINTS]
    return float(100 * away[seen].mean() / SIZE[0])


def summary(rows: list[dict]) -> dict[str, object]:
    means, shifted = ({way: round(float(np.mean([row[kind][way] for row in rows])), 2) for way in WAYS}
                      for kind in ("errors", "shifted"))  # fmt: skip
    medians = {way: round(float(np.median([row["errors"][way] for row in rows])), 2) for way in WAYS}
    return {
        "pairs": len(rows), "mean_error_percent_of_height": means, "median_error_percent_of_height": medians,
        "mean_error_after_the_best_shift": shifted,
        **{f"{of}_over_{way}".replace(" ", "_"): round(means[of] / means[way], 3)
           for of, way in (("full", "box"), ("full", "align"), ("known lengths", "align"))},
    }  # fmt: skip


def bones(rows: list[dict]) -> dict[str, object]:
    """Over all pairs: the middle and the largest deviation of each group of bones, and how many lie within 5 %."""
    result, every = {}, []
    for name in GROUPS:
        deviations = np.abs([row["bones"][name] for row in rows if name in row["bones"]])
        if not len(deviations):
            continue
        every.extend(deviations)
        result[name] = {"median_percent": round(100 * float(np.median(deviations)), 1),
                        "mean_percent": round(100 * float(np.mean(deviations)), 1),
                        "pairs": len(deviations)}  # fmt: skip
    share = float((np.array(every) <= TARGET_BONES).mean())
    return {
        "groups": result,
        "median_percent": round(100 * float(np.median(every)), 1),
        "within_5_percent": round(share, 2),
    }


def sheet(media: Path, path: Path) -> None:
    """Both real driving videos on both references: the reference; then, four times, a driving frame and the result."""
    rows = []
    for driving in ("driving_dance_full_body.mp4", "driving_presenter_half_body.mp4"):
        for reference in ("reference_man_half_body.png", "reference_elf_half_body.jpeg"):
            config = PreviewConfig(reference=media / reference, driving=media / driving, output=Path("none.mp4"))
            found = look_ahead(
                replace(config, size="384x224", prompt=DEFAULT_PROMPT), NullProgress(), samples=24, quick=True
            )
            print(driving, reference, *found.notes, *found.warnings, sep="\n  ")
            rows.append(np.hstack([over(found.plan.reference.image, found.plan.reference.person), *(
                picture for number in (2, 9, 16, 22)
                for picture in (driven_picture(found, number), placed_picture(found, number))
            )]))  # fmt: skip
    write_image(path, np.vstack(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=36)
    parser.add_argument("--first", type=int, default=100)
    parser.add_argument("--media", type=Path)
    parser.add_argument("--sheet", type=Path, default=Path("docs/retargeting.jpg"))
    arguments = parser.parse_args()
    if arguments.media:
        sheet(arguments.media, arguments.sheet)
        return
    rows = []
    for number in range(arguments.first, arguments.first + arguments.pairs):
        pair = make_pair(number)
        full, aligned = retarget(pair.driving, pair.reference), align(pair.driving, pair.reference.box, pair.reference)
        if full is None or aligned is None:
            print(f"{number} {pair.name}: the reference's picture shows nobody, left out")
            continue
        results = dict(zip(WAYS, (pair.driving.keypoints, box_aligned(pair), aligned.pose.keypoints,
                                  full.pose.keypoints, with_known_lengths(pair)), strict=True))  # fmt: skip
        row = {"kind": pair.kind, "shown": pair.shown, "bones": bone_errors(full.pose, pair), "same": same_clip(pair),
               "errors": {way: error(points, pair) for way, points in results.items()},
               "shifted": {way: error(points, pair, shifted=True) for way, points in results.items()}}  # fmt: skip
        print(number, pair.name, pair.shown, {way: round(value, 2) for way, value in row["errors"].items()}, flush=True)
        rows.append(row)
    overall = summary(rows)
    write_result(
        "retargeting",
        {
            "all": overall,
            **{
                f"reference {verb} {value}": summary([row for row in rows if row[key] == value])
                for key, verb in (("kind", "is a"), ("shown", "shows"))
                for value in sorted({row[key] for row in rows})
            },
            "bone_lengths_against_truth": bones(rows),
            "bone_lengths_where_the_reference_stands": bones([row for row in rows if row["shown"] == "standing"]),
            "same_clip_displacement_percent_of_picture": round(float(np.mean([row["same"] for row in rows])), 2),
            "target_ratio": TARGET_RATIO,
            "target_reached_against_box": overall["full_over_box"] <= TARGET_RATIO,
            "target_reached_against_align": overall["full_over_align"] <= TARGET_RATIO,
        },
    )


if __name__ == "__main__":
    main()
