"""Scenes of clips: framing and camera, lights, and the background's parameters, drawn from one seed.

Everything a caption may want to say is kept as words. Backgrounds are painted by `backdrop.py`.
"""

from dataclasses import dataclass

import numpy as np

from posegen.synthetic.assets import load_assets
from posegen.synthetic.body import Body
from posegen.synthetic.identity import Colour, article, linear, named_colour

FRAMINGS = ("close-up", "half-body", "three-quarter", "full-body")
"""How the camera frames a person. `config.Framing`, which is measured on keypoints, has other words: three-quarter is
measured as half-body, and no camera here is distant."""
FRAMING_SHARES = (0.2, 0.35, 0.2, 0.25)
"""Share of clips with each framing."""
SETTINGS = ("room", "studio", "park", "street", "beach", "city")
WALLS = ("painted", "brick", "wood-panelled", "tiled", "striped", "flowered", "concrete")
FLOORS = ("wooden", "tiled", "carpeted", "chequered")
GROUNDS = {"park": "grass", "street": "pavement", "beach": "sand", "city": "terrace"}


@dataclass(frozen=True)
class Camera:
    """A pinhole camera, standing still. Axes are unit vectors; focal length and centre in pixels."""

    eye: np.ndarray
    right: np.ndarray
    up: np.ndarray
    ahead: np.ndarray
    focal: float
    height: int
    width: int

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World points (..., 3) -> pixels (..., 2) with x right and y down, and depth in metres (...)."""
        relative = points - self.eye
        depth = relative @ self.ahead
        safe = np.maximum(depth, 1e-3)
        x = self.width / 2 + self.focal * (relative @ self.right) / safe
        y = self.height / 2 - self.focal * (relative @ self.up) / safe
        return np.stack([x, y], -1), depth


@dataclass(frozen=True)
class Lights:
    """A key light with shadows, a sky, a fill light; colours are linear."""

    key: np.ndarray
    key_colour: np.ndarray
    sky: np.ndarray
    ground: np.ndarray
    fill: np.ndarray
    fill_colour: np.ndarray
    softness: float
    exposure: float
    words: str


@dataclass(frozen=True)
class Background:
    """The parameters of `backdrop.py`'s kernel, and words for the caption."""

    setting: str
    wall: int
    floor: int
    wall_distance: float
    sides: tuple[float, float]
    wall_colours: tuple[Colour, Colour]
    floor_colours: tuple[Colour, Colour]
    sky_colours: tuple[Colour, Colour]
    pictures: np.ndarray
    """(N, 8): x, z, half width, half height, window (1) or picture (0), frame colour."""
    boxes: np.ndarray
    """(M, 8): furniture against the wall: x, y, half width, half depth, height, colour."""
    words: str

    @property
    def outdoors(self) -> bool:
        """True where there is a sky."""
        return self.setting not in ("room", "studio")


def draw_camera(
    random: np.random.Generator, framing: str, body: Body, joints: np.ndarray, height: int, width: int
) -> Camera:
    """A camera for a framing. `joints` (T, J, 3) is where the person will be; full-body shots hold all of it."""
    assets = load_assets()
    if framing not in FRAMINGS:
        raise ValueError(f"framing must be one of {', '.join(FRAMINGS)}, not {framing!r}")
    tall = float(np.ptp(body.vertices[:, 2]))
    head = joints[:, assets.bone("head")].mean(0)
    portrait = max(height / width, 1.0)
    azimuth, elevation = random.normal(0, 0.3), random.normal(0.03, 0.06)
    sideways = np.array([np.cos(azimuth), np.sin(azimuth), 0])
    if framing == "full-body":
        low, high = joints.min((0, 1)), joints.max((0, 1))
        top = max(tall, float(high[2]) + 0.12)
        across = joints @ sideways
        reach = float(np.ptp(across)) + 0.25
        centre = np.array([0, (low + high)[1] / 2, top / 2])
        centre += sideways * (float(across.max() + across.min()) / 2 - centre @ sideways)
        span = max(top * 1.14, min(reach * height / width, tall * 2.0))
    else:
        drop, size, lower = {
            "close-up": (0.0, 0.60 * portrait**0.3, 0.05),
            "half-body": (0.30, 1.08 * portrait**0.45, 0.10),
            "three-quarter": (0.48, 1.45 * portrait**0.3, 0.10),
        }[framing]
        span = size * random.uniform(0.94, 1.12)
        centre = np.array([head[0], head[1], head[2] - drop * (span / size) - lower * span * (portrait - 1)])
    centre = centre + sideways * random.normal(0, 0.02) + np.array([0, 0, random.normal(0, 0.015)])
    distance = random.uniform(2.2, 4.2) * max(span / 1.3, 0.5)
    away = [np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)]
    eye = centre + distance * np.array(away)
    eye[2] = max(eye[2], 0.25)
    ahead = _unit(centre - eye)
    right = _unit(np.cross(ahead, [0, 0, 1.0]))
    return Camera(eye, right, np.cross(right, ahead), ahead, height * distance / span, height, width)


def draw_lights(random: np.random.Generator, camera: Camera, outdoors: bool) -> Lights:
    """Lights that suit a camera: the key light from its side of the person."""
    facing = float(np.arctan2(-camera.ahead[0], camera.ahead[1]))
    turn, rise = random.uniform(-1.2, 1.2) + facing, random.uniform(0.35, 1.05)
    warmth, strength, sky = random.uniform(-0.12, 0.14), random.uniform(0.75, 1.5), random.uniform(0.3, 0.58)
    if outdoors:
        strength, sky = strength * 1.2, sky * 1.15
    from_side = facing + random.uniform(0.6, 1.8) * (1 if turn < facing else -1)
    words = "bright" if strength > 1.4 else "soft" if strength < 0.95 else "even"
    return Lights(
        key=_direction(turn, rise),
        key_colour=np.array([1 + warmth, 1, 1 - warmth]) * strength,
        sky=np.array([1 - warmth * 0.6, 1, 1 + warmth * 0.6]) * sky,
        ground=np.array([1, 0.94, 0.88]) * sky * random.uniform(0.4, 0.7),
        fill=_direction(from_side, 0.25),
        fill_colour=np.array([0.9, 1, 1.1]) * random.uniform(0.08, 0.3),
        softness=float(random.uniform(1.2, 4.0)),
        exposure=float(random.uniform(0.85, 1.15)),
        words=f"{'warm' if warmth > 0.06 else 'cool' if warmth < -0.06 else 'neutral'} {words} light",
    )


def draw_background(random: np.random.Generator) -> Background:
    """A room, a studio or one of the places outdoors."""
    setting = str(random.choice(SETTINGS, p=[0.40, 0.10, 0.16, 0.14, 0.08, 0.12]))
    wall, floor = int(random.choice(len(WALLS), p=[0.3, 0.12, 0.12, 0.1, 0.12, 0.1, 0.14])), int(random.integers(4))
    wall_name, first = _muted(random, 0.75)
    _, second = _muted(random, 0.85)
    _, floor_first = _muted(random, 0.6)
    _, floor_second = _muted(random, 0.7)
    brown = np.array([0.55, 0.38, 0.24]) * random.uniform(0.5, 1.35)
    if wall == 1:
        first, second = linear(np.array([0.62, 0.34, 0.26]) * random.uniform(0.6, 1.3)), linear((0.7, 0.68, 0.64))
        wall_name = "red"
    if wall == 2:
        first, wall_name = linear(brown), "brown"
    if floor == 0:
        floor_first = linear(brown[::1] * random.uniform(0.8, 1.2))
    distance = float(random.uniform(0.8, 2.2))
    pictures = _pictures(random) if setting == "room" else np.zeros((0, 8), np.float32)
    words = ""
    if setting == "room":
        words = f"a room with {article(wall_name)} {WALLS[wall]} wall and a {FLOORS[floor]} floor"
        if (pictures[:, 4] > 0.5).any():
            words += ", a window behind"
    elif setting == "studio":
        words = f"a studio with a plain {wall_name} backdrop"
    else:
        first, second, floor_first, words, distance = _outdoors(random, setting, first, second)
    sky_words, sky = _sky(random)
    if setting not in ("room", "studio"):
        words += f" under {sky_words}"
    return Background(
        setting=setting,
        wall=wall,
        floor=floor,
        wall_distance=distance,
        sides=(-float(random.uniform(1.4, 3)), float(random.uniform(1.4, 3))),
        wall_colours=(first, second),
        floor_colours=(floor_first, floor_second),
        sky_colours=sky,
        pictures=pictures,
        boxes=_furniture(random, distance) if setting == "room" else np.zeros((0, 8), np.float32),
        words=words,
    )


def _outdoors(
    random: np.random.Generator, setting: str, first: Colour, second: Colour
) -> tuple[Colour, Colour, Colour, str, float]:
    """Two colours, the ground's colour, words and the distance of what stands behind."""
    tint = random.uniform(0.7, 1.3)
    if setting == "park":
        green = linear(np.array([0.34, 0.42, 0.2]) * tint)
        leaves = linear(np.array([0.24, 0.36, 0.16]) * random.uniform(0.7, 1.5))
        return linear((0.35, 0.45, 0.38)), leaves, green, "a park with grass and trees", random.uniform(7, 14)
    if setting == "street":
        return (
            first,
            second,
            linear(np.array([0.5, 0.49, 0.47]) * tint),
            "a street in front of a building",
            random.uniform(3, 7),
        )
    if setting == "beach":
        sea = linear(np.array([0.18, 0.42, 0.52]) * random.uniform(0.7, 1.3))
        return sea, second, linear(np.array([0.76, 0.68, 0.52]) * tint), "a sandy beach by the sea", 30.0
    return first, second, linear(np.array([0.55, 0.54, 0.53]) * tint), "a terrace before a city skyline", 20.0


def _sky(random: np.random.Generator) -> tuple[str, tuple[Colour, Colour]]:
    kind = int(random.choice(3, p=[0.55, 0.25, 0.2]))
    high = ((0.35, 0.52, 0.85), (0.62, 0.66, 0.72), (0.45, 0.45, 0.7))[kind]
    low = ((0.8, 0.86, 0.92), (0.82, 0.84, 0.86), (0.95, 0.68, 0.48))[kind]
    scale = random.uniform(0.8, 1.15)
    words = ("a blue sky", "an overcast sky", "an evening sky")[kind]
    return words, (linear(np.array(high) * scale), linear(np.array(low) * scale))


def _muted(random: np.random.Generator, lightness: float) -> tuple[str, Colour]:
    """A named colour mixed with grey, as rooms are."""
    name, colour = named_colour(random)
    keep = random.uniform(0.35, 0.9)
    grey = linear((lightness, lightness, lightness))[0] * random.uniform(0.5, 1.2)
    red, green, blue = (float(np.clip(channel * keep + grey * (1 - keep), 0, 1)) for channel in colour)
    return name, (red, green, blue)


def _pictures(random: np.random.Generator) -> np.ndarray:
    count = int(random.integers(0, 4))
    rows = [
        (
            random.uniform(-1.6, 1.6),
            random.uniform(1.2, 1.9),
            random.uniform(0.18, 0.5),
            random.uniform(0.2, 0.5),
            float(random.random() < 0.4),
            *named_colour(random)[1],
        )
        for _ in range(count)
    ]
    return np.array(rows, np.float32).reshape(-1, 8)


def _furniture(random: np.random.Generator, wall: float) -> np.ndarray:
    rows = []
    for _ in range(int(random.integers(0, 4))):
        width, depth = random.uniform(0.2, 0.7), random.uniform(0.2, 0.4)
        height = float(random.choice([0.45, 0.75, 1.1, 1.7])) * random.uniform(0.8, 1.2)
        colour = (
            _muted(random, 0.5)[1]
            if random.random() < 0.5
            else linear(np.array([0.5, 0.35, 0.22]) * random.uniform(0.6, 1.4))
        )
        x = random.uniform(0.65, 1.5) * random.choice([-1, 1])
        rows.append((x, wall - depth / 2 - 0.01, width / 2, depth / 2, height, *colour))
    return np.array(rows, np.float32).reshape(-1, 8)


def _direction(turn: float, rise: float) -> np.ndarray:
    return np.array([np.sin(turn) * np.cos(rise), -np.cos(turn) * np.cos(rise), np.sin(rise)])


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
