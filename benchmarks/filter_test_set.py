"""Clips with known faults: rendered people, changed in one way at a time.

Used by `filter_agreement.py`. Renderings are kept in a folder, because they take the time; everything else is drawn
anew from seeds. A case names the filters for which its answer is known; where it is in doubt, it is no case of that
filter.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from posegen.data.clips import PERSON_BIT
from posegen.synthetic.clip import SyntheticClip, SyntheticClipSettings
from posegen.synthetic.scene import FRAMINGS

FPS, NUM_FRAMES = 8, 20
CUTS = "cut finder"
"""No filter: clips are placed between the cuts that it finds."""
LEAST_SEEN = 1.0
"""Grey levels, standard deviation: a background with less is even to any eye, and coding leaves none of it."""
SIZES = ((360, 640), (640, 360))
FACE_POINTS = slice(0, 3)  # nose and eyes
TEXTS = (
    "SUBSCRIBE FOR MORE", "@dance.studio_91", "Part 3: the chorus", "www.example-videos.net", "follow me  ♥ 24.1K",
    "And then I told her the truth", "LIVE  •  BREAKING NEWS", "How to learn this in 10 minutes", "LOVE STORY",
    "2023/07/14 18:22",
)  # fmt: skip


@dataclass
class Case:
    """A clip: RGB frames (F, H, W, 3) at `FPS`; `bad`: filter name -> whether that filter must drop it."""

    name: str
    frames: np.ndarray
    bad: dict[str, bool] = field(default_factory=dict)


@dataclass
class Rendered:
    """One identity in one scene: the clip, the same from behind, and the empty scene."""

    frames: np.ndarray
    person: np.ndarray  # (F, H, W) bool
    keypoints: np.ndarray  # (F, 133, 2)
    visibility: np.ndarray
    behind: np.ndarray
    empty: np.ndarray
    framing: str


def render(seed: int, folder: Path) -> Rendered:
    """Render, or read what was rendered before."""
    path = folder / f"{seed}.npz"
    framing = FRAMINGS[seed % len(FRAMINGS)]
    if not path.exists():
        height, width = SIZES[seed // len(FRAMINGS) % 2]
        clip = SyntheticClip(seed, seed, SyntheticClipSettings(height, width, NUM_FRAMES, float(FPS)), framing)
        frames = list(clip.frames())
        transforms = clip._transforms
        centre = clip._joints.mean((0, 1))
        turn = np.diag([-1.0, -1.0, 1.0])
        clip._transforms = np.einsum("ij,tbjk->tbik", turn, transforms)
        clip._transforms[..., 3] += centre - turn @ centre
        person = clip._start()
        behind = [clip._frame(person, number).rgb for number in range(8)]
        clip._transforms = transforms.copy()
        clip._transforms[..., 2, 3] -= 1000
        empty = clip._frame(clip._start(), 0).rgb
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(
            path, frames=np.stack([frame.rgb for frame in frames]), behind=np.stack(behind), empty=empty,
            person=np.stack([(frame.masks & PERSON_BIT) > 0 for frame in frames]),
            keypoints=np.stack([frame.keypoints for frame in frames]),
            visibility=np.stack([frame.visibility for frame in frames]),
        )  # fmt: skip
    with np.load(path) as data:
        return Rendered(**{name: data[name] for name in data.files}, framing=framing)


def cases(seed: int, folder: Path) -> Iterator[Case]:
    """Everything that is made from one rendered person."""
    random = np.random.default_rng([seed, 11])
    source = render(seed, folder)
    other = render(seed + 1, folder)
    good = source.frames
    sound = {"static_camera": False, "background_jitter": False, CUTS: False, "overlay": False, "bars": False,
             "blur": False, "video_quality": False}  # fmt: skip
    yield Case("clean", good, {**sound, **_people(source), "image_quality": False})
    yield Case("small person", _placed(source.frames, source.empty, 0.45, random), {"person_area": True})
    height, width = good.shape[1:3]
    crop = _crop_around(source, 0.6)
    if crop is not None:
        yield Case("large person", crop, {"person_area": False, CUTS: False})
    missing = dict.fromkeys(("person_area", "one_person", "face", "head"), True)
    yield Case("nobody", np.stack([_grain(source.empty, random) for _ in range(NUM_FRAMES)]),
               {**missing, "overlay": False, CUTS: False})  # fmt: skip
    yield Case("two people", _composite(source, other, random), {"one_person": True, "overlay": False})
    yield Case("from behind", source.behind, {"face": True, CUTS: False})
    headless = _headless(source)
    if headless is not None:
        yield Case("headless", headless, {"face": True, "head": True})
    for sigma in (0.4, 2.5, 4.0):
        scale = min(height, width) / 360
        yield Case(f"blur {sigma}", np.stack([cv2.GaussianBlur(frame, (0, 0), sigma * scale) for frame in good]),
                   {"blur": sigma > 1, CUTS: False})  # fmt: skip
    tiny = (max(2, width // 6), max(2, height // 6))
    reduced = [cv2.resize(frame, tiny, interpolation=cv2.INTER_AREA) for frame in good]
    enlarged = [cv2.resize(frame, (width, height), interpolation=cv2.INTER_CUBIC) for frame in reduced]
    yield Case("enlarged six times", np.stack(enlarged), {"blur": True})
    told = shows_movement(source)
    for strength in (0.004, 0.01):
        yield Case(f"shaken {strength}", _moved(good, _shake(random, strength)),
                   {**({"background_jitter": True} if told else {}), CUTS: False, "overlay": False})  # fmt: skip
    for share in (0.004, 0.06, 0.15):
        yield Case(f"pan {share}", _moved(good, _pan(random, share)),
                   {**({"static_camera": share > 0.02} if told or share < 0.02 else {}), CUTS: False})  # fmt: skip
    for zoom in (0.01, 0.15):
        yield Case(f"zoom {zoom}", _moved(good, [(0, 0, 0, 1 + zoom * each) for each in _ramp()]),
                   {**({"static_camera": zoom > 0.08} if told or zoom < 0.08 else {}), CUTS: False})  # fmt: skip
    fitted = np.stack([_fill(frame, (height, width)) for frame in other.frames])
    where = int(random.integers(5, 15))
    yield Case("cut", np.concatenate([good[:where], fitted[: NUM_FRAMES - where]]), {CUTS: True})
    closer = np.stack(
        [_fill(frame[height // 6 : -height // 4, width // 5 : -width // 5], (height, width)) for frame in good]
    )
    yield Case("cut to a close-up", np.concatenate([good[:where], closer[where:]]), {CUTS: True})
    for number in range(4):
        text, frames = _with_text(good, source.person, random, number)
        yield Case(f"text {number}: {text}", frames, {"overlay": True, CUTS: False})
    yield Case("text on clothes", _text_on_person(source, random), {"overlay": False})
    yield Case("black bars", _barred(good, random), {"bars": True, CUTS: False})
    noise = random.normal(0, 1, (2, *good.shape[1:]))
    for sigma in (3, 22):
        yield Case(f"noise {sigma}", np.stack([
            np.clip(frame + sigma * np.roll(noise[number % 2], number * 37, axis=1), 0, 255).astype(np.uint8)
            for number, frame in enumerate(good)]), {"image_quality": sigma > 10, CUTS: False})  # fmt: skip
    yield Case("dark", (good * 0.12).astype(np.uint8), {"image_quality": True})
    yield Case("overexposed", np.clip(good * 2.2 + 60.0, 0, 255).astype(np.uint8), {"image_quality": True})
    yield Case("pale", (good * 0.14 + 110).astype(np.uint8), {"image_quality": True})
    yield Case("slide show", good[np.arange(NUM_FRAMES) // 7 * 7], {"video_quality": True})
    light = 1 + 0.12 * random.choice([-1, 1], NUM_FRAMES)[:, None, None, None]
    light[::2] = 2 - light[1::2]
    yield Case("flicker", np.clip(good * light, 0, 255).astype(np.uint8), {"video_quality": True, CUTS: False})


def shows_movement(source: Rendered) -> bool:
    """Return whether the scene can be seen beside the person; before an even wall nobody could tell of a camera
    that moves, so there is no right answer. By the scene without the person, not by what a filter sees."""
    smooth = cv2.GaussianBlur(source.empty, (0, 0), 1.5).astype(np.float32)
    return float(smooth[~source.person.any(axis=0)].std(axis=0).max()) > LEAST_SEEN


def _people(source: Rendered) -> dict[str, bool]:
    """Facts about the people of a clip as it was rendered; nothing that is in doubt."""
    areas = []
    for mask in source.person:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        areas.append(np.ptp(rows) * np.ptp(columns) / mask.size if len(rows) else 0.0)
    known = {"one_person": False}
    if abs(np.mean(areas) / 0.3 - 1) > 0.15:
        known["person_area"] = bool(np.mean(areas) < 0.3)
    seen = (source.visibility[:, FACE_POINTS] == 2).all(axis=1).mean()
    if seen > 0.95:
        known |= {"face": False, "head": False}
    return known


def _placed(frames: np.ndarray, empty: np.ndarray, scale: float, random: np.random.Generator) -> np.ndarray:
    """The whole picture small, in a larger plain one."""
    height, width = frames.shape[1:3]
    result = np.empty_like(frames)
    result[:] = np.median(empty.reshape(-1, 3), axis=0).astype(np.uint8)
    size = (round(width * scale), round(height * scale))
    left, top = int(random.integers(0, width - size[0])), height - size[1]
    for number, frame in enumerate(frames):
        result[number, top : top + size[1], left : left + size[0]] = cv2.resize(
            frame, size, interpolation=cv2.INTER_AREA
        )
    return np.stack([_grain(frame, random) for frame in result])


def _crop_around(source: Rendered, share: float) -> np.ndarray | None:
    """A part of the picture that the person fills; None where it does not at that size."""
    height, width = source.frames.shape[1:3]
    rows, columns = np.nonzero(source.person.any(axis=0))
    size = (round(height * share), round(width * share))
    top = int(np.clip(rows.min() - 0.05 * height, 0, height - size[0]))
    left = int(np.clip(columns.mean() - size[1] / 2, 0, width - size[1]))
    inside = source.person[:, top : top + size[0], left : left + size[1]]
    boxes = [np.ptp(np.nonzero(mask.any(1))[0]) * np.ptp(np.nonzero(mask.any(0))[0]) / mask.size for mask in inside]
    if np.mean(boxes) < 0.36:
        return None
    parts = source.frames[:, top : top + size[0], left : left + size[1]]
    return np.stack([cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC) for part in parts])


def _headless(source: Rendered) -> np.ndarray | None:
    """Enlarge what is below the shoulders; None where that is too little."""
    height, width = source.frames.shape[1:3]
    top = round(float(source.keypoints[:, 5:7, 1].max())) + 4
    if height - top < 0.4 * height:
        return None
    across = round(width * (height - top) / height)
    left = int(np.clip(source.keypoints[:, 5:7, 0].mean() - across / 2, 0, width - across))
    parts = source.frames[:, top:, left : left + across]
    return np.stack([cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC) for part in parts])


def _composite(source: Rendered, other: Rendered, random: np.random.Generator) -> np.ndarray:
    """A second person, between as large and half as large, beside the first."""
    height, width = source.frames.shape[1:3]
    scale = float(random.uniform(0.6, 0.9)) * height / other.frames.shape[1]
    rows, columns = np.nonzero(other.person.any(axis=0))
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    size = (max(8, round((right - left) * scale)), max(8, round((bottom - top) * scale)))
    taken = source.person.any(axis=(0, 1))
    middle = float(np.flatnonzero(taken).mean())
    at = 0 if middle > width / 2 else width - size[0]
    if taken.mean() > 0.6:  # a close-up: half of the picture each
        at = round(-0.25 * size[0]) if at == 0 else round(width - 0.75 * size[0])
    result = source.frames.copy()
    for number in range(len(result)):
        shown = cv2.resize(other.frames[number, top:bottom, left:right], size, interpolation=cv2.INTER_AREA)
        mask = cv2.resize(other.person[number, top:bottom, left:right].astype(np.float32), size)[..., None]
        low, high = max(0, at), min(width, at + size[0])
        tall = min(size[1], height)
        window = result[number, height - tall :, low:high]
        part, share = shown[:tall, low - at : high - at], mask[:tall, low - at : high - at]
        window[:] = (part * share + window * (1 - share)).astype(np.uint8)
    return result


def _moved(frames: np.ndarray, path: list[tuple[float, float, float, float]]) -> np.ndarray:
    """The camera moves: (x, y) in diagonals, degrees, scale for each frame; enlarged, so that no edge shows."""
    height, width = frames.shape[1:3]
    diagonal, moved = np.hypot(height, width), []
    room = 1 + 2.2 * max(max(abs(x), abs(y)) * diagonal / min(height, width) + abs(turn) / 50 for x, y, turn, _ in path)
    for frame, (x, y, turn, scale) in zip(frames, path, strict=True):
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn, room * scale)
        matrix[:, 2] += np.array([x, y]) * diagonal
        moved.append(
            cv2.warpAffine(frame, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        )
    return np.stack(moved)


def _ramp() -> np.ndarray:
    return np.linspace(0, 1, NUM_FRAMES)


def _shake(random: np.random.Generator, strength: float) -> list[tuple[float, float, float, float]]:
    return [(float(x), float(y), 20 * float(turn), 1.0) for x, y, turn in random.normal(0, strength, (NUM_FRAMES, 3))]


def _pan(random: np.random.Generator, share: float) -> list[tuple[float, float, float, float]]:
    angle = random.uniform(0, 2 * np.pi)
    return [(share * float(np.cos(angle) * t), share * float(np.sin(angle) * t), 0.0, 1.0) for t in _ramp() - 0.5]


def _fill(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The middle of a picture at another size (H, W)."""
    scale = max(size[0] / frame.shape[0], size[1] / frame.shape[1])
    large = cv2.resize(frame, (round(frame.shape[1] * scale + 0.5), round(frame.shape[0] * scale + 0.5)))
    top, left = (large.shape[0] - size[0]) // 2, (large.shape[1] - size[1]) // 2
    return large[top : top + size[0], left : left + size[1]]


def _grain(frame: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return np.clip(frame + random.normal(0, 1.0, frame.shape), 0, 255).astype(np.uint8)


def _with_text(
    frames: np.ndarray, person: np.ndarray, random: np.random.Generator, kind: int
) -> tuple[str, np.ndarray]:
    """A subtitle, a watermark in a corner, a title, or a subtitle for a part of the clip only."""
    height, width = frames.shape[1:3]
    text = str(random.choice(TEXTS))
    share = {0: 0.055, 1: 0.055, 2: 0.09, 3: 0.06}[kind]
    font = ImageFont.load_default(max(11.0, share * height * random.uniform(0.9, 1.3)))
    left, _, right, _ = font.getbbox(text, stroke_width=2)
    while right - left > 0.94 * width:
        text = text.rsplit(" ", 1)[0] if " " in text else text[:-2]
        left, _, right, _ = font.getbbox(text, stroke_width=2)
    x = {0: (width - right) / 2, 1: 0.03 * width if random.random() < 0.5 else width * 0.97 - right,
         2: (width - right) / 2, 3: 0.05 * width}[kind]  # fmt: skip
    y = {0: 0.86, 1: 0.04, 2: 0.08, 3: 0.8}[kind] * height
    colour = tuple(
        int(level) for level in random.choice([[255, 255, 255], [255, 230, 60], [20, 20, 20], [235, 40, 90]])
    )
    edge = (0, 0, 0) if sum(colour) > 300 else (255, 255, 255)
    begin, end = (0, NUM_FRAMES) if kind < 3 else (4, 16)
    result = frames.copy()
    for number in range(begin, end):
        picture = Image.fromarray(result[number])
        ImageDraw.Draw(picture).text((x, y), text, font=font, fill=colour, stroke_width=0 if kind == 1 else 2,
                                     stroke_fill=edge)  # fmt: skip
        result[number] = np.asarray(picture)
    if kind == 1:  # a watermark lets the picture through, but can be read
        result = (0.8 * result + 0.2 * frames).astype(np.uint8)
        result = np.where(_too_pale(result, frames), np.clip(result.astype(int) - 90, 0, 255), result).astype(np.uint8)
    return text, result


def _too_pale(drawn: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Mask of pixels where the drawing hardly differs from what is below: nobody could read it there."""
    changed = np.abs(drawn.astype(int) - frames).max(axis=-1, keepdims=True)
    return np.broadcast_to((changed > 0) & (changed < 60), frames.shape)


def _text_on_person(source: Rendered, random: np.random.Generator) -> np.ndarray:
    """Letters on the chest, which go where the person goes (and sway, as cloth does)."""
    result = source.frames.copy()
    shoulders = source.keypoints[:, 5:7]
    size = float(np.linalg.norm(shoulders[:, 0] - shoulders[:, 1], axis=-1).mean())
    font = ImageFont.load_default(max(10.0, size / 5))
    for number, frame in enumerate(result):
        picture = Image.fromarray(frame)
        x, y = shoulders[number].mean(axis=0) + size * (np.array([-0.35, 0.3]) + random.normal(0, 0.02, 2))
        x += 0.25 * size * np.sin(number * 1.3)
        ImageDraw.Draw(picture).text((float(x), float(y)), "TEAM 07", font=font, fill=(255, 255, 255))
        result[number] = np.where(source.person[number][..., None], np.asarray(picture), frame)
    return result


def _barred(frames: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Letterbox or pillarbox: the picture smaller, black beside it."""
    height, width = frames.shape[1:3]
    share = float(random.uniform(0.06, 0.25))
    result = np.zeros_like(frames)
    if random.random() < 0.5:
        edge = round(height * share / 2)
        result[:, edge : height - edge] = frames[:, edge : height - edge]
    else:
        edge = round(width * share / 2)
        result[:, :, edge : width - edge] = frames[:, :, edge : width - edge]
    return result
