"""Draws a few clips of a folder of shards into one image: frames, skeletons, hands, masks, captions.

Each clip is a block: the reference and three frames side by side; below them skeletons, hand normals and masks (person
grey, face yellow, left hand red, right hand blue); below that the caption.
"""

import textwrap
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from posegen.data.clips import LEFT_HAND_BIT, PERSON_BIT, RIGHT_HAND_BIT, Clip, Drawing
from posegen.data.shards import open_shards
from posegen.media.image import write_image
from posegen.synthetic.clip import FACE

CLIPS, BLOCKS_A_ROW = 8, 4
_HEIGHT = 224
"""Maximum height of each image in pixels."""
_MASK_COLOURS = (
    (PERSON_BIT, (110, 110, 110)),
    (FACE, (240, 210, 70)),
    (LEFT_HAND_BIT, (230, 60, 50)),
    (RIGHT_HAND_BIT, (60, 110, 240)),
)
_FONT_SIZE, _LINE = 12, 15


def write_contact_sheet(folder: Path, split: str, target: Path) -> None:
    """Draw clips from all over the folder's shards. Raises `PosegenError` for a folder that cannot be used."""
    samples = [sample for shard in open_shards(folder, split) for sample in shard.samples]
    chosen = np.unique(np.linspace(0, len(samples) - 1, CLIPS).round().astype(int))
    blocks = [_block(Clip(samples[number], Drawing(draw_scale=4))) for number in chosen]
    height = max(len(block) for block in blocks)
    blocks = [np.pad(block, ((0, height - len(block)), (0, 8), (0, 0))) for block in blocks]
    rows = [np.concatenate(blocks[at : at + BLOCKS_A_ROW], axis=1) for at in range(0, len(blocks), BLOCKS_A_ROW)]
    width = rows[0].shape[1]
    write_image(target, np.concatenate([np.pad(row, ((0, 8), (0, width - row.shape[1]), (0, 0))) for row in rows]))


def _block(clip: Clip) -> np.ndarray:
    last = clip.sample.num_frames - 1
    numbers = [0, last // 2, last]
    empty = np.zeros_like(clip.reference)
    masks = np.zeros((last + 1, *empty.shape), np.uint8)
    for bit, colour in _MASK_COLOURS:
        masks[(clip.array("masks") & bit) > 0] = colour
    rows = (
        [clip.reference, *(clip.frames(number, number + 1)[0] for number in numbers)],
        [empty, *(clip.skeletons(number, number + 1)[0] for number in numbers)],
        [empty, *(clip.hands(number, number + 1)[0] for number in numbers)],
        [empty, *(masks[number] for number in numbers)],
    )
    images = np.concatenate([np.concatenate([_fitted(image) for image in row], axis=1) for row in rows])
    return np.concatenate([images, _text(f"{clip.sample.key}: {clip.caption}", images.shape[1])])


def _fitted(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    if height <= _HEIGHT:
        return image
    return cv2.resize(image, (max(1, round(width * _HEIGHT / height)), _HEIGHT), interpolation=cv2.INTER_AREA)


def _text(text: str, width: int) -> np.ndarray:
    lines = textwrap.wrap(text, max(20, int(width / (_FONT_SIZE * 0.55))))
    image = Image.new("RGB", (width, _LINE * (len(lines) + 1)))
    font = ImageFont.load_default(_FONT_SIZE)
    ImageDraw.Draw(image).multiline_text((4, 2), "\n".join(lines), font=font, fill="white", spacing=2)
    return np.array(image)
