"""Clips of several people with exact ground truth for `following.py`: rendered people are laid over one background.

Every person is rendered once as a sprite (colours, coverage, exact keypoints), and clips are made of sprites that are
moved, scaled, turned and mirrored in the picture. An affine map of the picture maps the keypoints exactly, so one
rendering serves many clips. Feet slide, and no shadow falls from one person on another: neither matters to estimators.
Person 0 of a clip is the one to follow: the largest at first.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from posegen.conditions.keypoints import BODY, FEET, HANDS, INDEX
from posegen.media.video import VideoWriter
from posegen.synthetic.assets import load_assets
from posegen.synthetic.clip import make_person
from posegen.synthetic.mocap import CLIPS, captured_motion
from posegen.synthetic.motion import procedural_motion
from posegen.synthetic.rig import forward_kinematics, rotation, skinning_transforms
from posegen.synthetic.rig_keypoints import VISIBLE, seen
from posegen.synthetic.scene import draw_background, draw_camera, draw_lights

MADE = 1
"""Seed of everybody and everything; `following.py --seed` sets another one, for other clips of the same names."""
SPRITE_FRAMES, SPRITE_FPS, SPRITE_SIZE = 60, 24.0, (480, 384)
WIDE, TALL, LARGE = (480, 854), (854, 480), (720, 1280)
SHOWN_POINTS = 7
"""Minimum number of body points inside the frame that nobody else hides, one of them a shoulder, with which a person
counts as shown. Points that the own body hides count: somebody seen from behind is shown.
"""

Curve = Callable[[np.ndarray], np.ndarray]
"""Maps time (0 to 1 through the clip) to a value."""


@dataclass(frozen=True)
class Sprite:
    """A person and a movement: motion capture or a style of legs; angles in radians."""

    movement: str
    framing: str = "full-body"
    turned: tuple[float, ...] = (0.0,)
    """Turn of the whole body at evenly spaced moments."""
    head: tuple[float, ...] = (0.0,)
    """Turn of the head and neck against the chest."""


SPRITES = {
    "stand": Sprite("stand"),
    "step": Sprite("step"),
    "march": Sprite("march"),
    "squat": Sprite("squat"),
    "walk": Sprite("walk", turned=(0.7,)),
    "dance_a": Sprite("dance_a"),
    "dance_b": Sprite("dance_b"),
    "kick": Sprite("kick"),
    "jump": Sprite("jump"),
    "turning": Sprite("step", turned=(0.0, 0.0, np.pi, np.pi, 2 * np.pi)),
    "head turned": Sprite("stand", turned=(0.0, 0.0, -0.5, -0.5, 0.0, 0.0), head=(0.0, 0.3, 1.5, 1.5, 0.0, -1.4)),
    "from behind": Sprite("stand", turned=(np.pi,), head=(0.0, 0.9, -0.9, 0.0)),
    "half body": Sprite("stand", "half-body"),
    "half body, head turned": Sprite("stand", "half-body", (0.2, -0.4), (0.0, 1.5, 1.5, 0.0, -1.5)),
    "three-quarter": Sprite("step", "three-quarter"),
}


@dataclass(frozen=True)
class Placed:
    """A sprite in a clip: x of the body's middle and y of the feet in fractions of the picture, height of the standing
    person in fractions of the picture's height, angle in degrees; the sprite starts at frame `first`, at `pace` frames
    a frame.
    """

    sprite: str
    x: Curve
    height: float = 0.8
    feet: float = 0.95
    angle: Curve = field(default=lambda time: 0 * time)
    mirrored: bool = False
    first: int = 0
    pace: float = 1.0


@dataclass(frozen=True)
class Clip:
    """A clip: people from back to front as numbers of `people` in `order`, and damage done to detections."""

    group: str
    people: tuple[Placed, ...]
    size: tuple[int, int] = WIDE
    fps: int = 24
    frames: int = 84
    order: tuple[int, ...] | None = None
    damage: dict[str, list[int]] = field(default_factory=dict)
    """Kind of damage to the followed person's detections (`following.py`), and the frames that suffer it."""


def along(*values: float) -> Curve:
    """Return a curve through values at evenly spaced moments, linear between."""
    return lambda time: np.interp(time, np.linspace(0, 1, len(values)), values)


def runs(*parts: tuple[int, int]) -> list[int]:
    """Return the frames of runs (first, length)."""
    return [first + number for first, length in parts for number in range(length)]


def all_clips() -> dict[str, Clip]:
    """Return the clips by name."""
    clips: dict[str, Clip] = {}

    def add(group: str, *people: Placed, **options: Any) -> None:
        number = sum(clip.group == group for clip in clips.values())
        clips[f"{group}-{number}".replace(" ", "_")] = Clip(group, people, **options)

    def behind(sprite: str, x: float, height: float = 0.42, to: float | None = None, first: int = 30) -> Placed:
        return Placed(sprite, along(x, x if to is None else to), height, 0.78, first=first, mirrored=x > 0.5)

    for number, sprite in enumerate(("stand", "dance_a", "squat", "march")):
        add("bystanders", Placed(sprite, along(0.5, 0.45, 0.55)), behind("step", 0.15), order=(1, 0),
            fps=(24, 30)[number % 2], size=(LARGE if number == 1 else WIDE))  # fmt: skip
    add(
        "bystanders",
        Placed("dance_b", along(0.4)),
        behind("stand", 0.75, 0.6),
        behind("step", 0.92, 0.5),
        order=(1, 2, 0),
    )
    add("bystanders", Placed("kick", along(0.55)), behind("walk", 0.0, 0.4, 1.0), order=(1, 0), fps=30)
    add("bystanders", Placed("step", along(0.5), 0.6), behind("march", 0.12, 0.3), behind("squat", 0.88, 0.3),
        size=TALL, order=(1, 2, 0))  # fmt: skip
    add("bystanders", Placed("jump", along(0.3), 0.7), behind("dance_a", 0.75, 0.6), order=(1, 0))

    for number, (first, second) in enumerate(
        (
            ("walk", "step"),
            ("march", "stand"),
            ("step", "walk"),
            ("stand", "march"),
            ("dance_a", "walk"),
            ("squat", "step"),
        )
    ):
        back = number % 2 == 1
        there = Placed(first, along(0.2, 0.85), 0.8, 0.95 - 0.04 * back, first=18)
        here = Placed(second, along(0.85, 0.15), 0.64, 0.91 + 0.04 * back, first=20, mirrored=True)
        add("crossing", there, here, order=(0, 1) if back else (1, 0), fps=(24, 30)[number % 2],
            size=LARGE if number == 2 else WIDE)  # fmt: skip
    add("crossing", Placed("stand", along(0.5)), Placed("walk", along(-0.15, 1.15), 0.76), order=(0, 1))
    add("crossing", Placed("step", along(0.3, 0.5, 0.3)), Placed("stand", along(0.7, 0.5, 0.7), 0.66, first=15),
        order=(0, 1))  # fmt: skip

    away = (0.5, 0.3, -0.3, -0.3, 0.3, 0.5)
    add("leaving", Placed("walk", along(*away)), fps=30)
    add("leaving", Placed("step", along(0.5, 0.8, 1.3, 1.3, 0.8, 0.5)), behind("stand", 0.25, 0.5), order=(1, 0),
        size=LARGE, frames=96)  # fmt: skip
    add("leaving", Placed("march", along(*away)), behind("dance_a", 0.7, 0.6), order=(1, 0), frames=96)
    add("leaving", Placed("stand", along(0.5, 0.9, 1.3, 1.3, 1.3, 0.8, 0.5)), behind("step", 0.2, 0.55),
        order=(1, 0), frames=120, fps=30)  # fmt: skip
    add("leaving", Placed("walk", along(0.6, 0.6, -0.4, -0.4, 0.2)), size=TALL)
    add("leaving", Placed("squat", along(0.6, 1.3, 1.3, 0.6)), behind("walk", 0.1, 0.5, 0.6), order=(1, 0), frames=96)

    quick = (0.2, 0.8, 0.2, 0.8, 0.2)
    add("fast", Placed("dance_a", along(0.5), pace=2.2))
    add("fast", Placed("step", along(*quick)), frames=72)
    add("fast", Placed("kick", along(0.2, 0.7, 0.3, 0.8, 0.2, 0.7), pace=1.5), behind("stand", 0.5, 0.45), order=(1, 0))
    add("fast", Placed("dance_b", along(0.5), pace=2.5), behind("squat", 0.15, 0.5), order=(1, 0), fps=30)
    add("fast", Placed("jump", along(0.3, 0.7, 0.3), pace=2.0))
    add("fast", Placed("march", along(0.1, 0.9, 0.1), pace=2.0), Placed("stand", along(0.5), 0.7, 0.9), order=(1, 0))

    add("turned", Placed("turning", along(0.5)))
    add("turned", Placed("head turned", along(0.5)), fps=30)
    add("turned", Placed("from behind", along(0.5)))
    add("turned", Placed("turning", along(0.4), pace=1.5), behind("step", 0.8, 0.5), order=(1, 0))
    add("turned", Placed("half body, head turned", along(0.5), 1.65, 1.8), size=LARGE)
    add("turned", Placed("head turned", along(0.35)), Placed("from behind", along(0.75), 0.62, 0.88), order=(1, 0))

    add("partial", Placed("half body", along(0.5), 1.65, 1.8), size=LARGE)
    add("partial", Placed("three-quarter", along(0.5), 1.25, 1.35), fps=30)
    add("partial", Placed("half body", along(0.35, 0.65), 2.2, 2.3), behind("stand", 0.1, 0.5), order=(1, 0))
    add("partial", Placed("stand", along(0.05, 0.05, 0.4), 0.9))
    add("partial", Placed("dance_a", along(0.98, 0.9, 0.98), 0.9), behind("step", 0.3, 0.5), order=(1, 0))
    add("partial", Placed("three-quarter", along(0.5), 1.1, 1.25), size=TALL)

    add("upside down", Placed("stand", along(0.5), 0.75, 0.92, angle=along(180)))
    add("upside down", Placed("step", along(0.3, 0.3, 0.5, 0.5, 0.7, 0.7), 0.75, 0.92,
                              angle=along(0, 0, 180, 180, 360, 360)), frames=96)  # fmt: skip
    add("upside down", Placed("jump", along(0.2, 0.3, 0.7, 0.8), 0.6, 0.9, angle=along(0, 0, 360, 360)),
        behind("stand", 0.5, 0.4), order=(1, 0))  # fmt: skip

    single = runs((5, 1), (11, 2), (20, 1), (33, 3), (47, 1), (60, 9), (75, 1))
    long_runs = runs((0, 6), (25, 1), (40, 5), (70, 2))
    damaged = {"damaged": {"upside_down": long_runs}}
    for kind in ("dropped", "doubled", "upside_down", "swapped", "hips_swapped", "outlier"):
        frames = long_runs if kind == "upside_down" else single
        add("damaged detections", Placed("step", along(0.5, 0.6)), behind("stand", 0.2, 0.55), order=(1, 0),
            damage={kind: frames})  # fmt: skip
    add("damaged detections", Placed("dance_a", along(0.3, 0.6)), Placed("stand", along(0.75), 0.74, 0.93, first=9),
        order=(1, 0), damage={"dropped": single})  # fmt: skip
    add("damaged detections", Placed("march", along(0.5)), fps=30, damage={
        "upside_down": damaged["damaged"]["upside_down"], "dropped": runs((12, 4), (55, 2)), "doubled": runs((30, 9)),
        "swapped": runs((60, 6)), "outlier": runs((20, 1), (50, 1))})  # fmt: skip
    return clips


@dataclass(frozen=True)
class Rendered:
    """A rendered sprite: colours and coverage (frames, H, W, 4) uint8, keypoints (pixel centres), what is visible."""

    pictures: np.ndarray
    keypoints: np.ndarray
    visible: np.ndarray

    @property
    def height(self) -> float:
        """Median height of the person in pixels, from the exact keypoints."""
        return float(np.median(np.ptp(self.keypoints[..., 1], axis=1)))

    @property
    def middle(self) -> np.ndarray:
        """Median middle of the hips, pixels."""
        return np.asarray(np.median(self.keypoints[:, [INDEX["left_hip"], INDEX["right_hip"]]].mean(1), axis=0))

    @property
    def feet(self) -> float:
        """Median lowest point, pixels."""
        return float(np.median(self.keypoints[..., 1].max(axis=1)))


def render_sprite(name: str, folder: Path) -> Rendered:
    """Render a sprite, or take it from the folder."""
    place = folder / f"sprite_{name.replace(' ', '_').replace(',', '')}_{MADE}"
    if not place.with_suffix(".npz").exists():
        pictures, keypoints, visible = zip(*_sprite_frames(name), strict=True)
        np.save(place.with_suffix(".npy"), np.stack(pictures))
        np.savez_compressed(place.with_suffix(".npz"), keypoints=np.stack(keypoints), visible=np.stack(visible))
    with np.load(place.with_suffix(".npz")) as data:
        return Rendered(np.load(place.with_suffix(".npy"), mmap_mode="r"), data["keypoints"], data["visible"])


def _sprite_frames(name: str) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    sprite, number = SPRITES[name], list(SPRITES).index(name)
    random = np.random.default_rng([70_000 + number, MADE])
    person, assets = make_person(71_000 + number + 100 * (MADE - 1), True), load_assets()
    frames, fps = SPRITE_FRAMES, SPRITE_FPS
    if sprite.movement in CLIPS:
        pose = captured_motion(random, person.body, frames, fps, sprite.movement, sprite.turned[0])
    else:
        pose = procedural_motion(random, person.body, frames, fps, sprite.movement)
    time = np.linspace(0, 1, frames)
    for bone, share in (("neck01", 0.2), ("neck02", 0.25), ("neck03", 0.2), ("head", 0.35)):
        pose.rotations[:, assets.bone(bone)] @= _upright_turn(share * along(*sprite.head)(time))
    turned, joints = forward_kinematics(person.body.bone_heads, pose.rotations, pose.root)
    if sprite.movement not in CLIPS:
        # the whole person, feet included, about the vertical axis through the pelvis
        turn = _upright_turn(along(*sprite.turned)(time))
        pivot = joints[:, :1] * (1, 1, 0)
        joints = np.einsum("tab,tjb->tja", turn, joints - pivot) + pivot
        turned = turn[:, None] @ turned
    transforms = skinning_transforms(person.body.bone_heads, turned, joints)
    height, width = SPRITE_SIZE
    camera = draw_camera(random, sprite.framing, person.body, joints, height, width)
    background = draw_background(random)
    lights = draw_lights(random, camera, background.outdoors)
    person.renderer.start_clip(camera, lights, background, number, joints.mean((0, 1)))
    for frame in range(frames):
        person.renderer.pose(transforms[frame], pose.actions[frame])
        picture = person.renderer.render()
        points = person.tracker.places(transforms[frame], joints[frame], pose.actions[frame])
        keypoints, visibility = seen(camera, points, picture.depth)
        # pixels at the rim hold some of the background: they are cut off
        coverage = np.clip(2 * picture.coverage[..., :1] - 1, 0, 1)
        coverage = cv2.erode(coverage, np.ones((2, 2), np.uint8))[..., None]
        layer = np.concatenate([picture.rgb, (255 * coverage).astype(np.uint8)], axis=2)
        yield layer, keypoints - np.float32(0.5), visibility == VISIBLE


def _upright_turn(angles: np.ndarray) -> np.ndarray:
    return rotation(np.stack([0 * angles, 0 * angles, angles], 1))


def empty_scene(seed: int, size: tuple[int, int]) -> np.ndarray:
    """Render a background without anybody."""
    random = np.random.default_rng([80_000 + seed, MADE])
    person = make_person(71_000, True)
    bones = len(load_assets().bones)
    pose = procedural_motion(random, person.body, 2, SPRITE_FPS, "stand")
    _, joints = forward_kinematics(person.body.bone_heads, pose.rotations, pose.root)
    camera = draw_camera(random, "full-body", person.body, joints, *size)
    background = draw_background(random)
    lights = draw_lights(random, camera, background.outdoors)
    person.renderer.start_clip(camera, lights, background, seed, joints.mean((0, 1)))
    far = np.tile(np.eye(3, 4), (bones, 1, 1))
    far[:, :, 3] = camera.eye - 500 * camera.ahead  # behind the camera
    person.renderer.pose(far, pose.actions[0])
    return np.asarray(person.renderer.render().rgb)


def _mirror(points: np.ndarray) -> np.ndarray:
    """Exchange left and right points (..., 133, ...) of axis 1."""
    order = np.arange(133)
    for name, index in INDEX.items():
        if name.startswith(("left", "right")):
            side, _, rest = name.partition("_")
            order[index] = INDEX[f"{'right' if side == 'left' else 'left'}_{rest}"]
    order[HANDS[0]], order[HANDS[1]] = np.arange(133)[HANDS[1]], np.arange(133)[HANDS[0]]
    return points[:, order]


class Layer:
    """A placed sprite: its picture and its exact keypoints in any frame of a clip."""

    def __init__(self, placed: Placed, rendered: Rendered, clip: Clip) -> None:
        height, width = clip.size
        time = np.linspace(0, 1, clip.frames)
        # to and fro over the rendered frames
        steps = np.rint(placed.first + placed.pace * np.arange(clip.frames)).astype(int) % (2 * SPRITE_FRAMES - 2)
        self.steps = np.where(steps < SPRITE_FRAMES, steps, 2 * SPRITE_FRAMES - 2 - steps)
        # a person cut off by the sprite's own frame is as tall as all keypoints, seen or not
        self.scale = placed.height * height / rendered.height
        self.height = placed.height * height
        middle, feet = rendered.middle, rendered.feet
        angles, xs = np.radians(placed.angle(time)), placed.x(time) * width
        self.matrices = []
        for angle, x in zip(angles, xs, strict=True):
            flip = np.diag([-1.0 if placed.mirrored else 1.0, 1.0])
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            linear = self.scale * turn @ flip
            at = np.array([x, placed.feet * height - (feet - middle[1]) * self.scale])
            self.matrices.append(np.concatenate([linear, (at - linear @ middle)[:, None]], axis=1))
        points = rendered.keypoints[self.steps]
        mapped = [points[index] @ matrix[:, :2].T + matrix[:, 2] for index, matrix in enumerate(self.matrices)]
        self.keypoints, self.visible = np.stack(mapped).astype(np.float32), rendered.visible[self.steps]
        if placed.mirrored:
            self.keypoints, self.visible = _mirror(self.keypoints), _mirror(self.visible)
        self.inside = ((self.keypoints >= 0) & (self.keypoints <= (width - 1, height - 1))).all(axis=2)
        self._pictures, self._size = rendered.pictures, (width, height)

    def picture(self, frame: int) -> np.ndarray:
        """Colours and coverage (H, W, 4) in the clip's pixels."""
        layer, matrix = np.asarray(self._pictures[self.steps[frame]]), self.matrices[frame]
        if self.scale < 0.7:  # average before it is sampled, or small people would flicker
            shrunk = cv2.resize(layer, None, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_AREA)
            ratio = np.array([layer.shape[1] / shrunk.shape[1], layer.shape[0] / shrunk.shape[0]])
            shift = 0.5 * ratio - 0.5  # pixel centres
            matrix = np.concatenate([matrix[:, :2] * ratio, (matrix[:, 2] + matrix[:, :2] @ shift)[:, None]], axis=1)
            layer = shrunk
        return np.asarray(cv2.warpAffine(layer, matrix, self._size, flags=cv2.INTER_LINEAR))


def make_clip(name: str, clip: Clip, folder: Path) -> None:
    """Write NAME.mp4 and NAME.npz with the ground truth of everybody, unless they are there.

    keypoints (people, frames, 133, 2), visible (people, frames, 133), shows (people, frames), heights (people,).
    """
    path = folder / f"{name}.npz"
    recipe = _recipe(clip)
    if path.exists() and str(np.load(path)["recipe"]) == recipe:
        return
    layers = [Layer(placed, render_sprite(placed.sprite, folder), clip) for placed in clip.people]
    order = clip.order or tuple(range(len(layers)))
    open_to_view = np.stack([layer.inside for layer in layers])
    back = empty_scene(sum(map(ord, name)), clip.size)
    with VideoWriter(folder / f"{name}.mp4", Fraction(clip.fps), size=clip.size, crf=18) as writer:
        for frame in range(clip.frames):
            canvas = back.astype(np.float32)
            pictures = [layer.picture(frame) for layer in layers]
            for place, number in enumerate(order):
                cover = pictures[number][..., 3:].astype(np.float32) / 255
                canvas += cover * (pictures[number][..., :3] - canvas)
                for hidden in order[:place]:
                    shown = np.flatnonzero(open_to_view[hidden, frame])
                    x, y = np.rint(layers[hidden].keypoints[frame, shown]).astype(int).T
                    open_to_view[hidden, frame, shown] = cover[y, x, 0] < 0.5
            writer.write(np.rint(canvas).astype(np.uint8))
    shoulders = [INDEX["left_shoulder"], INDEX["right_shoulder"]]
    shows = (open_to_view[..., BODY].sum(-1) >= SHOWN_POINTS) & open_to_view[..., shoulders].any(-1)
    sizes = [layer.height if seen.any() else 0 for layer, seen in zip(layers, open_to_view[:, 0, BODY], strict=True)]
    if not shows[0, 0] or sizes[0] < max(sizes):
        raise RuntimeError(f"{name}: the person to follow is not the largest at first: {sizes}")
    np.savez_compressed(
        path,
        keypoints=np.stack([layer.keypoints for layer in layers]),
        visible=open_to_view & np.stack([layer.visible for layer in layers]),
        shows=shows,
        heights=np.array([layer.height for layer in layers]),
        damage=json.dumps(clip.damage),
        group=clip.group,
        recipe=recipe,
    )


def _recipe(clip: Clip) -> str:
    """Return everything that a clip is made from, as text."""
    time = np.linspace(0, 1, 25)
    people = [
        {**{name: value for name, value in vars(placed).items() if not callable(value)},
         "sprite": asdict(SPRITES[placed.sprite]), "x": placed.x(time).tolist(), "angle": placed.angle(time).tolist()}
        for placed in clip.people
    ]  # fmt: skip
    rest = {name: value for name, value in vars(clip).items() if name != "people"}
    return json.dumps({"made": MADE, "people": people, **rest}, default=str)


POINTS = np.r_[BODY, FEET]
"""Points in which errors are measured."""
