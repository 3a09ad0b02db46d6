"""Reads and checks the values of settings: sizes, frame rates, amounts of memory, LoRA files, ranges."""

import math
import re
from fractions import Fraction
from pathlib import Path
from typing import Literal

from posegen.config.choices import MAX_FPS, MAX_SIDE, CameraMode, PersonChoice, Viewpoint
from posegen.errors import PosegenError

_PLACES: tuple[Literal["largest", "left", "right"], ...] = ("largest", "left", "right")


def parse_size(text: str) -> tuple[int, int]:
    """Read "HxW" as (height, width) in pixels. Raises `PosegenError` for anything else or a size out of bounds."""
    match = re.fullmatch(r"(\d{1,6})\s*[xX×]\s*(\d{1,6})", text.strip())
    if match is None:
        raise PosegenError(f"--size {text!r} is not a size: write HEIGHTxWIDTH in pixels, like 256x144")
    height, width = int(match[1]), int(match[2])
    if not (64 <= height <= MAX_SIDE and 64 <= width <= MAX_SIDE):
        raise PosegenError(f"--size {height}x{width}: both sides must be between 64 and {MAX_SIDE} pixels")
    return height, width


def parse_fps(text: str, setting: str = "--fps") -> Fraction:
    """Read a frame rate ("16", "29.97", "30000/1001"); raises `PosegenError`, naming the setting, outside 1..240."""
    try:
        fps = Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        raise PosegenError(f"{setting} {text!r} is not a frame rate: write it like 16, 29.97 or 30000/1001") from None
    if not 1 <= fps <= MAX_FPS:
        raise PosegenError(f"{setting} {text}: the frame rate must be between 1 and {MAX_FPS:g} frames per second")
    return fps.limit_denominator(100_000)


def parse_motion_fps(text: str) -> Fraction:
    """Read the frame rate of a motion file; raises `PosegenError` for anything else than a rate of 0.1 to 10,000."""
    try:
        fps = Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        raise PosegenError(
            f"--motion-fps {text!r} is not a frame rate: write it like 30, 29.97 or 30000/1001"
        ) from None
    check_range("--motion-fps", float(fps), 0.1, 10_000.0)
    return fps.limit_denominator(100_000)


def parse_lora(text: str) -> tuple[Path, float]:
    """Read FILE or FILE:STRENGTH as (path, strength). Raises `PosegenError` for an invalid strength."""
    file, colon, strength = text.rpartition(":")
    if not colon or not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?(inf|nan)", strength, re.IGNORECASE):
        file, strength = text, "1"
    if not file:
        raise PosegenError(f"--lora {text!r}: write FILE or FILE:STRENGTH")
    check_range(f"--lora {file}: the strength", float(strength), -100, 100)
    return Path(file), float(strength)


def parse_person(text: str, setting: str = "--person") -> PersonChoice:
    """Read "largest", "left", "right", a number from 1, or a point "X,Y" in pixels; raises `PosegenError` else."""
    word = text.strip().lower()
    for place in _PLACES:
        if word == place:
            return place
    if re.fullmatch(r"[1-9]\d{0,3}", word):
        return int(word)
    if point := re.fullmatch(r"(\d{1,6}(?:\.\d+)?)\s*,\s*(\d{1,6}(?:\.\d+)?)", word):
        return float(point[1]), float(point[2])
    raise PosegenError(
        f"{setting} {text!r:.80} is not a choice: write largest, left, right, a number from 1 (`posegen preview` shows "
        "them), or a point on the person as X,Y in pixels"
    )


def parse_camera(text: str) -> CameraMode:
    """Read `--camera` of a driving video. Raises `PosegenError` for what only fits motion in space, and all else."""
    match text.strip().lower():
        case "auto":
            return "auto"
        case "follow":
            return "follow"
        case "still":
            return "still"
    raise PosegenError(
        f"--camera {text!r:.40}: for a driving video write auto, follow or still (front and AZIMUTH,ELEVATION are for "
        "--motion)"
    )


def parse_viewpoint(text: str) -> Viewpoint:
    """Read `--camera` of a motion file. Raises `PosegenError` for what only fits a driving video, and all else."""
    word = text.strip().lower()
    if word == "auto":
        return "auto"
    if word == "front":
        return "front"
    number = r"([-+]?\d{1,3}(?:\.\d+)?)"
    if angles := re.fullmatch(rf"{number}\s*,\s*{number}", word):
        azimuth, elevation = float(angles[1]), float(angles[2])
        check_range("--camera: the azimuth", azimuth, -360, 360)
        check_range("--camera: the elevation", elevation, -89, 89)
        return azimuth, elevation
    raise PosegenError(
        f"--camera {text!r:.40}: for a motion file write front, auto, or AZIMUTH,ELEVATION in degrees, like 30,10 "
        "(follow and still are about the camera of a driving video)"
    )


def chosen_person(text: str) -> int | None:
    """Read `--person` of a motion file: a number from 1, None for the default. Raises `PosegenError` for others."""
    person = parse_person(text)
    if person == "largest":
        return None
    if isinstance(person, int):
        return person
    raise PosegenError(f"--person {text!r:.40}: of a motion file, people are chosen by number, from 1")


def parse_bytes(text: str) -> int:
    """Read an amount of memory ("8GB", "500 MB", "1.5GiB") in bytes. Raises `PosegenError` for anything else."""
    return parse_amount(text, "--memory-budget", "memory")


def parse_amount(text: str, setting: str, kind: str = "data") -> int:
    """Read an amount of memory or data in bytes. Raises `PosegenError`, naming the setting, for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", text.strip().lower())
    if match is None or (match[3] and not match[2]):
        raise PosegenError(f"{setting} {text!r} is not an amount of {kind}: write it like 8GB or 500MB")
    return round(float(match[1]) * (1024 if match[3] else 1000) ** " kmgt".index(match[2] or " "))


def check_range(name: str, value: int | float, low: int | float, high: int | float) -> None:
    """Raise `PosegenError` unless a number lies between two bounds, both included."""
    if not math.isfinite(value) or not low <= value <= high:
        shown, minimum, maximum = (f"{n:g}" if isinstance(n, float) else str(n) for n in (value, low, high))
        raise PosegenError(f"{name} {shown} is out of range: it must be from {minimum} to {maximum}")


def check_methods(methods: tuple[str, ...]) -> None:
    """Raise `PosegenError` if no method is named."""
    if not methods:
        raise PosegenError("--methods: name at least one, like --methods ours=results/ours")


def check_subject(subject: str | None) -> None:
    """Raise `PosegenError` for a subject without a word."""
    if subject is not None and not subject.strip(" ,"):
        raise PosegenError("--subject is empty: give the word that names the person, or omit the option")


def check_token(token: str | None) -> None:
    """Raise `PosegenError` for a token that is too short, or not allowed in a URL."""
    if token is not None and not re.fullmatch(r"[A-Za-z0-9._~-]{8,200}", token):
        raise PosegenError("--token must have 8 to 200 characters that a URL can hold: letters, digits, and . _ ~ -")
