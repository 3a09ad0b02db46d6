"""One clip from its seeds: a person, a movement, a scene, and an iterator over frames with all modalities.

Frames are made one at a time: memory does not grow with length. `shard_writer.py` numbers and stores clips.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from posegen.errors import PosegenError
from posegen.synthetic import body as body_parts
from posegen.synthetic.assets import assets_file, load_assets
from posegen.synthetic.body import Body, add_surface, rest_body
from posegen.synthetic.caption import caption
from posegen.synthetic.clothes import add_clothes, cut_clothes
from posegen.synthetic.geometry import FigureBuilder
from posegen.synthetic.hair import add_hair
from posegen.synthetic.identity import Identity, draw_identity
from posegen.synthetic.kernels import compile_kernels
from posegen.synthetic.liveliness import CALM, STYLES, Liveliness, draw_liveliness
from posegen.synthetic.mocap import CLIPS, captured_motion
from posegen.synthetic.motion import procedural_motion
from posegen.synthetic.render import Renderer
from posegen.synthetic.rig import Pose, forward_kinematics, skinning_transforms
from posegen.synthetic.rig_keypoints import KeypointTracker, seen
from posegen.synthetic.scene import FRAMING_SHARES, FRAMINGS, draw_background, draw_camera, draw_lights
from posegen.synthetic.skin import bake_skin

PERSON, LEFT_HAND, RIGHT_HAND, FACE = 1, 2, 4, 8
"""Bits of `RenderedFrame.masks`."""
_DETAILED_FROM = 384
"""Height in pixels from which garments are modelled finer."""


def prepare() -> None:
    """Extract the assets and compile the kernels into the cache, which the first clip of a machine would wait for.

    Raises `OutputError` where the cache folder cannot be written.
    """
    assets_file()
    compile_kernels()


@dataclass(frozen=True)
class SyntheticClipSettings:
    """Size and length of clips, in pixels and frames; `style` says whether people turn, come near and move fast."""

    height: int = 192
    width: int = 112
    num_frames: int = 33
    fps: float = 16.0
    style: str = "calm"

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 32:
            raise PosegenError(f"synthetic clips need at least 32 x 32 pixels, not {self.height} x {self.width}")
        if self.num_frames < 1 or self.fps <= 0:
            raise PosegenError(f"a clip needs frames and a rate, not {self.num_frames} at {self.fps} per second")
        if self.style not in STYLES:
            raise PosegenError(f"the style must be one of {', '.join(STYLES)}, not {self.style!r}")


@dataclass(frozen=True)
class RenderedFrame:
    """One frame with its ground truth."""

    rgb: UInt8[np.ndarray, "H W 3"]
    normals: Float[np.ndarray, "H W 3"]
    """Camera space, unit: x right, y up, z towards the camera. Zero in the sky and other places without a surface."""
    depth: Float[np.ndarray, "H W"]
    """Metres to the person, 1e6 beside it."""
    masks: UInt8[np.ndarray, "H W"]
    """Bits `PERSON`, `LEFT_HAND`, `RIGHT_HAND`, `FACE`."""
    keypoints: Float[np.ndarray, "133 2"]
    """Pixels, COCO-WholeBody; exact also where hidden or outside the picture."""
    visibility: UInt8[np.ndarray, " 133"]
    """`keypoints.OUTSIDE`, `HIDDEN` or `VISIBLE`."""


@dataclass(frozen=True)
class Person:
    """The parts of a person that do not move."""

    identity: Identity
    body: Body
    renderer: Renderer
    tracker: KeypointTracker


@functools.lru_cache(maxsize=1)
def make_person(identity_seed: int, detailed: bool = False) -> Person:
    """Build a person; the last one is kept, so that clips of one identity share it."""
    assets = load_assets()
    identity = draw_identity(identity_seed, len(assets.change_names))
    body = rest_body(identity)
    cut = cut_clothes(identity)
    builder = FigureBuilder()
    add_clothes(builder, body, identity, cut, detailed)
    add_surface(builder, body, "body", body_parts.SKIN, -cut.covered)
    for side in ("left", "right"):
        add_surface(builder, body, f"{side}-eye", body_parts.EYE)
        for lashes in ("upper", "lower"):
            add_surface(builder, body, f"{side}-{lashes}-lashes", body_parts.LASH)
    for group, material in (
        ("upper-teeth", body_parts.TEETH),
        ("lower-teeth", body_parts.TEETH),
        ("tongue", body_parts.TONGUE),
    ):
        add_surface(builder, body, group, material)
    add_hair(builder, body, identity)
    renderer = Renderer(builder.build(), identity, bake_skin(identity))
    return Person(identity, body, renderer, KeypointTracker(body))


class SyntheticClip:
    """A person moving in a scene; the same seeds and settings give the same pixels."""

    def __init__(
        self, identity_seed: int, seed: int, settings: SyntheticClipSettings | None = None, framing: str | None = None
    ):
        """Draw movement and scene from `seed`; `framing` is one of `scene.FRAMINGS`, drawn too where it is None."""
        self.settings = settings or SyntheticClipSettings()
        self._seed = seed
        self._detailed = self.settings.height >= _DETAILED_FROM
        self.identity_seed = identity_seed
        person = make_person(identity_seed, self._detailed)
        random = np.random.default_rng([seed, 3])
        drawn = str(random.choice(FRAMINGS, p=FRAMING_SHARES))
        self.framing = framing or drawn
        frames = self.settings.num_frames + round(self.settings.fps)  # a second more: the reference is one of all
        lively = CALM
        if self.settings.style == "lively":
            lively = draw_liveliness(np.random.default_rng([seed, 5]), self.framing)
        self.movement, pose = _move(random, person.body, self.framing, frames, self.settings.fps, lively)
        self._actions = pose.actions
        turned, self._joints = forward_kinematics(person.body.bone_heads, pose.rotations, pose.root)
        self._transforms = skinning_transforms(person.body.bone_heads, turned, self._joints)
        self._camera = draw_camera(
            random, self.framing, person.body, self._joints, self.settings.height, self.settings.width
        )
        self._background = draw_background(random)
        self._lights = draw_lights(random, self._camera, self._background.outdoors)
        self._reference_frame = int(random.integers(frames))
        self.subject = person.identity.subject
        self.caption = caption(person.identity, self._background, self._lights, self.framing)

    def frames(self) -> Iterator[RenderedFrame]:
        """The frames of the clip, in order."""
        person = self._start()
        for number in range(self.settings.num_frames):
            yield self._frame(person, number)

    def reference(self) -> RenderedFrame:
        """One frame of the same clip, possibly of the second after its end."""
        return self._frame(self._start(), self._reference_frame)

    def _start(self) -> Person:
        person = make_person(self.identity_seed, self._detailed)
        centre = self._joints.mean((0, 1))
        person.renderer.start_clip(self._camera, self._lights, self._background, self._seed, centre)
        return person

    def _frame(self, person: Person, number: int) -> RenderedFrame:
        transforms, actions = self._transforms[number], self._actions[number]
        person.renderer.pose(transforms, actions)
        picture = person.renderer.render()
        points = person.tracker.places(transforms, self._joints[number], actions)
        keypoints, visibility = seen(self._camera, points, picture.depth)
        bits = (picture.coverage > 0.5) * np.array([PERSON, LEFT_HAND, RIGHT_HAND, FACE], np.uint8)
        masks = np.bitwise_or.reduce(bits.astype(np.uint8), axis=2)
        return RenderedFrame(picture.rgb, picture.normals, picture.depth, masks, keypoints, visibility)


def _move(
    random: np.random.Generator, body: Body, framing: str, frames: int, fps: float, lively: Liveliness = CALM
) -> tuple[str, Pose]:
    """A movement that suits the framing, and its name: motion capture only where the legs are seen."""
    if framing == "full-body" and random.random() < 0.4:
        short_enough = [name for name in CLIPS if name != "walk" or frames / fps <= 3.5]
        name = str(random.choice(short_enough))
        return name, captured_motion(random, body, frames, fps, name, float(random.normal(0, 0.6)))
    styles, shares = (("stand", "step", "march", "squat"), (0.35, 0.35, 0.15, 0.15))
    if framing != "full-body":
        shares = (0.6, 0.4, 0.0, 0.0)
    legs = str(random.choice(styles, p=shares))
    return legs, procedural_motion(random, body, frames, fps, legs, lively)
