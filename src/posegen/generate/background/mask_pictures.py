"""Keeps the subject masks of background sharing beside the segments, and draws them for inspection.

They show what counts as the person, and what is taken. The masks are made in `model/sharing.py`.
"""

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from posegen.errors import logger
from posegen.media.checksums import state_of, write_checked
from posegen.types import Frames, SubjectMasks

PERSON, TAKEN = (255, 60, 60), (60, 200, 90)
"""Colours of the subject and of the background that is taken from the anchor."""
_TINT = 0.45
_COLUMNS = 5
_GAP = 4  # pixels between pictures


def masks_folder(output: Path) -> Path:
    """OUTPUT_masks/, beside the result."""
    return output.with_name(f"{output.stem}_masks")


def masks_path(segment: Path) -> Path:
    """Path of a segment's masks, beside its frames."""
    return segment.with_suffix(".masks.npz")


def keep_masks(path: Path, anchor: SubjectMasks, subject: SubjectMasks) -> None:
    """Write the anchor's mask and that of the segment that shares its background. Raises `OutputError`."""
    content = io.BytesIO()
    np.savez_compressed(content, anchor=anchor, subject=subject)
    write_checked(path, content.getvalue())


def kept_masks(path: Path) -> tuple[SubjectMasks, SubjectMasks] | None:
    """Read the masks that `keep_masks` wrote; None without any, or where they are damaged, which is logged."""
    state = state_of(path)
    if state != "intact":
        if state == "damaged":
            logger.warning("%s is damaged", path)
        return None
    try:
        with path.open("rb") as file, np.load(file) as data:
            return data["anchor"], data["subject"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def draw_sharing(
    anchor: Frames, anchor_mask: SubjectMasks, frames: Frames, mask: SubjectMasks
) -> UInt8[np.ndarray, "h w 3"]:
    """A picture of some moments from first to last, in three rows.

    The anchor with its subject in red; the segment with its subject in red; the segment with what it takes from the
    anchor in green, which is what neither of them calls subject. Masks have one value for each token: True = subject.
    """
    chosen = np.unique(np.linspace(0, len(mask) - 1, _COLUMNS).round().astype(int))
    rows = [
        [_tinted(source, where, int(number), colour) for number in chosen]
        for source, where, colour in (
            (anchor, anchor_mask, PERSON),
            (frames, mask, PERSON),
            (frames, ~(mask | anchor_mask), TAKEN),
        )
    ]
    gap = ((0, _GAP), (0, _GAP), (0, 0))
    return np.concatenate([np.concatenate([np.pad(picture, gap) for picture in row], axis=1) for row in rows])


def _tinted(
    frames: Frames, mask: SubjectMasks, number: int, colour: tuple[int, int, int]
) -> UInt8[np.ndarray, "h w 3"]:
    """The middle one of the frames that one latent frame stands for, tinted where its mask is True."""
    stride = 1 if len(mask) == 1 else (len(frames) - 1) // (len(mask) - 1)
    frame = frames[max(0, number * stride - stride // 2)]
    rows = np.arange(frame.shape[0]) * mask.shape[1] // frame.shape[0]
    columns = np.arange(frame.shape[1]) * mask.shape[2] // frame.shape[1]
    where = mask[number][rows][:, columns]
    tinted = (1 - _TINT) * frame + _TINT * np.array(colour)
    return np.where(where[..., None], tinted.round(), frame).astype(np.uint8)
