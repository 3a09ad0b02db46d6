"""Reads and writes image files: inside posegen always upright 8-bit sRGB without alpha.

Formats are those that Pillow reads without other programs; `fitting` fits images to a model's size.
"""

import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from posegen.errors import PosegenError, logger
from posegen.media.files import AtomicFile, check_input, output_errors

MIN_SIDE = 64
"""Minimum side of an image in pixels: smaller ones show no person."""

_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_READ = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF")
"""Pillow's names of the formats that are read: others have decoders that start other programs."""
_ROWS = 256
"""Rows that are taken from Pillow at a time."""
_QUALITY: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}
_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"}
# what Pillow's decoders raise on damaged files
_DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    struct.error,
    zlib.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    RuntimeError,
    MemoryError,
)


def read_image(path: str | os.PathLike[str]) -> UInt8[np.ndarray, "h w 3"]:
    """Read an image as sRGB 0..255, rotated by its EXIF orientation, alpha over white, colour profile applied.

    16-bit values are scaled, not clipped; of an animation the first frame is taken. Raises `PosegenError`: no such
    file, not an image, HEIC, damaged, a side below `MIN_SIDE`, larger than Pillow's limit against decompression bombs.
    """
    path = Path(path)
    check_input(path, "a picture")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata; what matters below is raised
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            Image.init()
            with Image.open(path, formats=[name for name in _READ if name in Image.OPEN]) as image:
                _check_size(path, image)
                return _as_rgb(path, image)
    except PosegenError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PosegenError(f"{path}: more than {Image.MAX_IMAGE_PIXELS} pixels; scale it down first") from error
    except UnidentifiedImageError as error:
        raise PosegenError(f"{path}: {_what_instead(path)}") from error
    except _DECODING_ERRORS as error:
        raise PosegenError(f"{path}: the picture is damaged or cut off ({error})") from error


def write_image(path: str | os.PathLike[str], image: UInt8[np.ndarray, "h w 3"]) -> None:
    """Write an RGB image in the format of the suffix (.png is lossless); it appears only when complete.

    Raises `PosegenError` for an unknown suffix, `OutputError` if it cannot be written.
    """
    path = Path(path)
    file_format = _FORMATS.get(path.suffix.lower())
    if file_format is None:
        raise PosegenError(f"{path}: pictures are written as {', '.join(_FORMATS)}")
    file = AtomicFile(path)
    try:
        with output_errors(path):
            Image.fromarray(image).save(file.temporary, format=file_format, **_QUALITY.get(file_format, {}))
    except BaseException:
        file.discard()
        raise
    file.commit()


def animated_gif(frames: UInt8[np.ndarray, "f h w 3"], fps: int | float, max_height: int) -> bytes:
    """Encode a video as an endless GIF, at most `max_height` pixels high: for pages that cannot show videos."""
    height, width = frames.shape[1:3]
    scale = min(1.0, max_height / height)
    size = max(1, round(scale * width)), max(1, round(scale * height))
    first, *others = (Image.fromarray(frame).resize(size, Image.Resampling.BOX).quantize() for frame in frames)
    out = io.BytesIO()
    first.save(out, "GIF", save_all=True, append_images=others, duration=1000 / fps, loop=0)
    return out.getvalue()


def _check_size(path: Path, image: Image.Image) -> None:
    if min(image.size) < MIN_SIDE:
        size = f"{image.height}x{image.width} (height x width)"
        raise PosegenError(f"{path}: {size} is too small; each side must be at least {MIN_SIDE} pixels")


def _as_rgb(path: Path, image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    profile = image.info.get("icc_profile")
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _deep_grey(path, image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(background, image).convert("RGB")
    if profile and image.mode in ("RGB", "CMYK"):
        image = _to_srgb(path, image, profile)
    if image.mode != "RGB":
        image = image.convert("RGB")
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _ROWS):  # at once, Pillow would need three times the picture's memory
        bottom = min(top + _ROWS, image.height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return pixels


def _deep_grey(path: Path, image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    """Convert grey with more than 8 bits; Pillow's own conversion would clip at 255."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise PosegenError(f"{path}: grey values outside 0..65535 or with fractions; save it as 8- or 16-bit PNG")
    grey = np.round(values / 257.0).astype(np.uint8)
    return np.repeat(grey[:, :, np.newaxis], 3, axis=2)


def _to_srgb(path: Path, image: Image.Image, profile: bytes) -> Image.Image:
    """Apply the embedded colour profile; a broken profile is reported and ignored."""
    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if image.mode == "RGB" and "srgb" in ImageCms.getProfileDescription(embedded).lower():
            return image
        converted = ImageCms.profileToProfile(image, embedded, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        logger.warning("%s: its colour profile cannot be used (%s); colours may be off", path, error)
        return image
    return image if converted is None else converted  # nothing is returned where it was done in place


def _what_instead(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return "HEIC pictures cannot be read; save it as JPEG or PNG"
    return "not a picture that can be read (PNG, JPEG, WebP, TIFF, GIF, BMP, AVIF)"
