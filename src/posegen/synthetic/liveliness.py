"""Lively movement: people who turn, come near, move fast and hold both arms alike.

Calm clips face the camera and stay where they are, as in most talking-head videos; a model that was trained on nothing
else smears backs, profiles and fast arms. Everything is drawn from its own random numbers, so that calm clips stay the
same. A person who turns pivots on the spot: feet are not stepped round.
"""

from dataclasses import dataclass

import numpy as np

from posegen.synthetic.body import Body
from posegen.synthetic.rig import Pose, rotation

STYLES = ("calm", "lively")
_LEGS_UNSEEN = ("close-up", "half-body")
"""Framings in which nobody sees that feet do not step when the person comes near."""
_BIG_POSES = ("up", "out", "cross", "chest", "forwards", "wave", "flex", "face", "clap")


@dataclass(frozen=True)
class Liveliness:
    """Tempo, poses, turns and way of a person; the defaults are a calm clip.

    tempo: durations of arm movements as a share of calm ones; arms: poses that arms choose from, all if empty; alike:
    both arms hold the same pose; heading: half widths in radians between which the person turns; facing: their middle
    (0 is towards the camera, pi away from it); spin: radians per second of steady turning; approach: metres towards
    the camera and away from it.
    """

    tempo: float = 1.0
    arms: tuple[str, ...] = ()
    alike: bool = False
    heading: float = 0.0
    facing: float = 0.0
    spin: float = 0.0
    approach: float = 0.0


CALM = Liveliness()


def draw_liveliness(random: np.random.Generator, framing: str) -> Liveliness:
    """Draw how lively a clip of a framing (`scene.FRAMINGS`) is."""
    kind = str(random.choice(("still", "swing", "away", "spin"), p=(0.5, 0.25, 0.1, 0.15)))
    heading, spin_rate, side = random.uniform(0.4, 1.3), random.uniform(0.7, 2.2), random.choice((-1.0, 1.0))
    facing = {"still": 0.0, "swing": random.normal(0, 0.4), "away": np.pi + random.normal(0, 0.4)}
    near = random.random() < 0.4 and framing in _LEGS_UNSEEN
    return Liveliness(
        tempo=float(random.uniform(0.4, 0.8)) if random.random() < 0.45 else 1.0,
        arms=_BIG_POSES if random.random() < 0.5 else (),
        alike=bool(random.random() < 0.35),
        heading={"swing": heading, "away": 0.5 * heading}.get(kind, 0.0),
        facing=float(facing.get(kind, random.uniform(-np.pi, np.pi))),
        spin=float(side * spin_rate) if kind == "spin" else 0.0,
        approach=float(random.uniform(0.25, 0.8)) if near else 0.0,
    )


def move_about(pose: Pose, body: Body, heading: np.ndarray, nearer: np.ndarray) -> None:
    """Turn a whole movement by `heading` (T,) radians about the vertical, and move it `nearer` (T,) metres, in place.

    The camera is where y is negative, so that is the way to come near.
    """
    upright = np.zeros((len(heading), 3))
    upright[:, 2] = heading
    turn, origin = rotation(upright), body.bone_heads[0]
    pose.rotations[:, 0] = turn @ pose.rotations[:, 0]
    pose.root[:] = np.einsum("tab,tb->ta", turn, pose.root + origin) - origin
    pose.root[:, 1] -= nearer
