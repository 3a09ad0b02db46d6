"""Protocols: the size, windows and quirks with which videos are compared, as data; some by name, others from a file.

A score without these says nothing, so every table prints them. Formulas of scores are in `metrics/`.

Sources of the named ones: DisCo is its public evaluation code (github.com/Wangt-CN/DisCo, `tool/metrics`), whose first
release passed windows through GIFs of 256 colours, and whose present one uses the frames themselves, as all protocols
here do. HumanVid is what its authors say in their paper and repository; its evaluation code is not public.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from posegen.config.limits import PositiveFloat, PositiveInt, check_limits
from posegen.config.toml_settings import build
from posegen.errors import PosegenError
from posegen.media.data_files import read_toml

Size = tuple[int, int]
_SUFFIX = ".toml"


@dataclass(frozen=True)
class Protocol:
    """The rules by which videos are compared."""

    name: str
    size: Size | None
    """(H, W) to which every frame is brought; None: the ground truth's own size."""
    window: PositiveInt
    """Frames of a window of a video distance."""
    stride: PositiveInt
    """Frames between the starts of two windows."""
    zero_to_one: bool
    """LPIPS sees 0..1 (as published code feeds it) instead of the -1..1 that it was made for."""
    weighted: bool
    """A mean counts every frame alike, so a long clip counts more; otherwise every clip counts alike."""
    pose_rate: PositiveFloat = 8.0
    """Times per second at which keypoints and faces are looked for."""
    fit: Literal["crop", "stretch"] = "crop"
    """crop: the largest central part of the size's shape, then reduced; stretch: the whole frame."""
    turned: bool = False
    """Exchange height and width of `size` for clips that lie (landscape) where it stands, and the reverse."""
    other_sizes: Literal["resize", "refuse"] = "resize"
    """Results of another size than the ground truth: brought to it bilinearly, as DisCo does, or refused."""
    ssim: Literal["grey", "colour"] = "grey"
    """SSIM of grey frames, or the mean over red, green and blue."""
    frame_step: PositiveInt = 1
    """Every so many-th frame is compared."""
    max_frames: int = 0
    """Compared frames of a clip, from its start; 0: all."""
    l1_digits: Literal[4, 5] = 4
    """Published L1 (divided by height x width once more) is printed in units of 10^-4 or 10^-5."""
    about: str = ""

    def __post_init__(self) -> None:
        check_limits(self)
        if self.size is not None and min(self.size) < 16:
            raise PosegenError(f"size must be [height, width] of at least 16 pixels, not {list(self.size)}")
        if self.max_frames < 0:
            raise PosegenError(f"max_frames must be 0 (all) or more, not {self.max_frames}")

    def frames_of(self, count: int | None) -> int | None:
        """Return how many of `count` frames are compared; None if the number is unknown."""
        if count is None:
            return None
        taken = -(-count // self.frame_step)
        return min(taken, self.max_frames) if self.max_frames else taken

    def size_of(self, own: Size) -> Size:
        """Return (H, W) at which a clip is compared whose ground truth (or result, without one) has the size `own`."""
        if self.size is None:
            return own
        lies, wanted_lies = own[1] > own[0], self.size[1] > self.size[0]
        return self.size[::-1] if self.turned and lies != wanted_lies and own[0] != own[1] else self.size

    def fitted(
        self, frame: UInt8[np.ndarray, "height width 3"], like: Size | None = None
    ) -> UInt8[np.ndarray, "new_height new_width 3"]:
        """Return a frame at the size at which it is compared; `like`: size of the ground truth.

        A frame that has that size already is taken as it is; one of another size than the ground truth is first brought
        to it (OpenCV's bilinear, as DisCo's metrics do). Then the frame is reduced with smoothing (Pillow's bilinear),
        by `crop` as DisCo's loader of validation frames does: its RandomResizedCrop with scale and ratio 1 falls back
        to the central square.
        """
        like = like or (frame.shape[0], frame.shape[1])
        size = self.size_of(like)
        if frame.shape[:2] == size:
            return frame
        if frame.shape[:2] != like:
            frame = cv2.resize(frame, like[::-1], interpolation=cv2.INTER_LINEAR)
        if like == size:
            return frame
        top, left, height, width = self._part(like, size)
        part = Image.fromarray(frame[top : top + height, left : left + width])
        return np.asarray(part.resize(size[::-1], Image.Resampling.BILINEAR))

    def place(
        self, points: Float[np.ndarray, "*n 2"], own: Size, like: Size | None = None
    ) -> Float[np.ndarray, "*n 2"]:
        """Move points (x, y) of a frame of the size `own` as `fitted` moves the frame."""
        like = like or own
        size = self.size_of(like)
        if own == size:
            return points
        if own != like:
            points = (points + 0.5) * (like[1] / own[1], like[0] / own[0]) - 0.5
        if like == size:
            return points
        top, left, height, width = self._part(like, size)
        return (points - (left, top) + 0.5) * (size[1] / width, size[0] / height) - 0.5

    def _part(self, own: Size, size: Size) -> tuple[int, int, int, int]:
        return (0, 0, *own) if self.fit == "stretch" else central_part(own, size)

    def describe(self, own: Size) -> str:
        """Return the resolution beside a score, WIDTH×HEIGHT; `own` as in `size_of`."""
        height, width = self.size_of(own)
        return f"{width}×{height}"

    def rules(self) -> list[str]:
        """Return lines for a reader, with everything that a number depends on."""
        size = "the ground truth's own size" if self.size is None else "{1}×{0}".format(*self.size)
        if self.turned:
            size += ", or turned for clips that lie"
        part = "" if self.size is None else f" ({'central part' if self.fit == 'crop' else 'whole frame, stretched'})"
        other = "brought to it bilinearly" if self.other_sizes == "resize" else "refused"
        frames = "all frames" if self.frame_step == 1 else f"every {self.frame_step}th frame"
        if self.max_frames:
            frames += f", at most {self.max_frames}"
        lines = [
            f"compared at {size}{part}; results of another size than the ground truth are {other}",
            f"{frames}; windows of {self.window} frames, stride {self.stride}; every "
            f"{'measurement' if self.weighted else 'clip'} counts alike",
            f"SSIM on {self.ssim}; LPIPS sees {'0 to 1' if self.zero_to_one else '-1 to 1'}",
        ]
        return [*lines, self.about] if self.about else lines


DISCO = Protocol("disco", (256, 256), window=16, stride=1, zero_to_one=True, weighted=True)
PROTOCOLS = {
    each.name: each
    for each in (
        DISCO,
        replace(DISCO, name="disco-native", size=None, l1_digits=5),
        replace(
            DISCO,
            name="humanvid",
            size=(896, 512),
            turned=True,
            frame_step=3,
            max_frames=24,
            l1_digits=5,
            about="HumanVid's size and frames (every third of the first 72) with DisCo's formulas; its code is not "
            "public: how frames are brought to the size is posegen's choice",
        ),
        Protocol("native", None, window=16, stride=8, zero_to_one=False, weighted=False, other_sizes="refuse"),
    )
}


def central_part(own: Size, size: Size) -> tuple[int, int, int, int]:
    """Return (top, left, height, width) of the largest central part of a frame with the shape of `size`, (H, W)."""
    height, width = own
    if height * size[1] >= width * size[0]:
        height = round(width * size[0] / size[1])
    else:
        width = round(height * size[1] / size[0])
    return (own[0] - height) // 2, (own[1] - width) // 2, height, width


def find_protocol(name: str) -> Protocol:
    """Return the protocol of that name, or of a TOML file with the fields of `Protocol`.

    A file may name another protocol as `like` and give only what differs. Raises `PosegenError` for another name, or a
    file that is wrong.
    """
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    path = Path(name)
    if not name.endswith(_SUFFIX):
        known = ", ".join(PROTOCOLS)
        raise PosegenError(f"--protocol {name}: there is no such protocol; use one of {known}, or a {_SUFFIX} file")
    if not path.is_file():
        raise PosegenError(f"--protocol {name}: there is no such file")
    table = dict(read_toml(path))
    if "size" not in table and "like" not in table:
        raise PosegenError(f'{name}: lacks size: [height, width], or "own" for the size of the ground truth')
    base = table.pop("like", None)
    if base is not None and base not in PROTOCOLS:
        raise PosegenError(f"{name}: like = {base!r:.80} is none of {', '.join(PROTOCOLS)}")
    if base is not None:
        own = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(PROTOCOLS[base]).items()}
        table = {**{key: value for key, value in own.items() if value is not None}, "name": path.stem, **table}
    return _built({"name": path.stem, **table}, name)


def _built(table: dict[str, object], file: str) -> Protocol:
    if table.get("size") == "own":
        table = {key: value for key, value in table.items() if key != "size"}
    own_size = "size" not in table
    try:
        found = build(Protocol, {**table, **({"size": [16, 16]} if own_size else {})}, "")
    except PosegenError as error:
        raise PosegenError(f"{file}: {str(error).replace('the recipe', 'the protocol')}") from None
    protocol: Protocol = replace(found, size=None) if own_size else found
    return protocol


def reduced(frame: UInt8[np.ndarray, "height width 3"], side: int) -> UInt8[np.ndarray, "side side 3"]:
    """A frame at side x side for an embedded network: averaged where it is larger."""
    area = cv2.INTER_AREA if min(frame.shape[:2]) >= side else cv2.INTER_LINEAR
    return cv2.resize(frame, (side, side), interpolation=area)
