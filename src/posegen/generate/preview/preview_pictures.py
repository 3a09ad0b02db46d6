"""Draws a preview: an image, and a short video of the sampled frames.

`look_ahead.py` finds what is drawn. Rows of the picture: reference, driving frames with skeletons, the same
skeletons on the reference, hand normals; everybody with their numbers, if there are several; then the segments in time,
and what to expect in words.
"""

import textwrap
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from posegen.conditions.drawings import drawn
from posegen.conditions.extraction import fit_pose
from posegen.conditions.keypoints import PersonPose
from posegen.conditions.person_choice import draw_numbered_boxes
from posegen.conditions.skeleton import draw_skeleton
from posegen.generate.preview.look_ahead import Preview
from posegen.generate.reference_pose import FittedReference
from posegen.media.fitting import plan_fit
from posegen.media.image import write_image
from posegen.media.video import VideoWriter
from posegen.types import Frame

COLUMNS = 7
_SECONDS = 6
_WIDTH, _HEIGHT, _GAP, _FONT, _LINE = 250, 300, 6, 15, 20
_INK, _PAPER, _WARNING = (30, 30, 34), (250, 250, 248), (176, 52, 20)
_KINDS = {"base": (92, 134, 190), "stitch": (160, 186, 216), "chain": (92, 134, 190), "window": (160, 186, 216)}
_ANCHOR, _ALONE = (40, 120, 80), (200, 110, 60)


def write_preview(preview: Preview, picture: Path, video: Path) -> None:
    """Write the picture (PNG) and the video (MP4). Raises `OutputError` if a file cannot be written."""
    write_image(picture, _sheet(preview))
    rate = Fraction(max(1, round(len(preview.numbers) / _SECONDS)))
    height, width = preview.plan.settings.size
    with VideoWriter(video, rate, size=(height, 3 * width)) as writer:
        for number in range(len(preview.numbers)):
            writer.write(
                np.hstack([driven_picture(preview, number), placed_picture(preview, number), _hands(preview, number)])
            )


def _sheet(preview: Preview) -> Frame:
    plan, (height, width) = preview.plan, preview.plan.settings.size
    chosen = np.unique(np.linspace(0, len(preview.numbers) - 1, COLUMNS - 1).round().astype(int)).tolist()
    reference = plan.reference.image
    rows = [
        [reference, *(driven_picture(preview, number) for number in chosen)],
        [over(reference, plan.reference.person), *(placed_picture(preview, number) for number in chosen)],
        [_reference_people(plan.reference), *(_hands(preview, number) for number in chosen)],
    ]
    scale = min(_WIDTH / width, _HEIGHT / height)
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    across = (COLUMNS - (6 - len(chosen))) * (small[0] + _GAP) + _GAP
    across = max(across, 700)
    lines = _lines(preview, across // 8)
    people = _people_row(preview, across - 2 * _GAP)
    above = 3 * (small[1] + _GAP) + _GAP
    below = above + (0 if people is None else people.shape[0] + _GAP)
    sheet = Image.new("RGB", (across, below + 90 + _LINE * len(lines) + 2 * _GAP), _PAPER)
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            place = (_GAP + column * (small[0] + _GAP), _GAP + row * (small[1] + _GAP))
            sheet.paste(Image.fromarray(picture).resize(small, Image.Resampling.LANCZOS), place)
    if people is not None:
        sheet.paste(Image.fromarray(people), (_GAP, above))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT)
    label = (2 * _GAP, _GAP + 2 * (small[1] + _GAP) + 8)
    draw.text(label, "hand normals", font=font, fill=_INK, stroke_width=2, stroke_fill=_PAPER)
    for column, number in enumerate(chosen):
        moment = f"{preview.numbers[number] / float(plan.settings.fps):.1f} s"
        place = (2 * _GAP + (column + 1) * (small[0] + _GAP), 2 * _GAP)
        draw.text(place, moment, font=font, fill="white", stroke_width=2, stroke_fill="black")
    _draw_plan(draw, preview, below, across, font)
    for number, (line, colour) in enumerate(lines):
        draw.text((2 * _GAP, below + 90 + number * _LINE), line, font=font, fill=colour)
    return np.asarray(sheet)


def _reference_people(reference: FittedReference) -> Frame:
    """Return the whole reference image with its people numbered; blank if it shows one person or none."""
    people, size = reference.found.people, reference.fit.target
    if len(people) < 2:
        return np.full((*size, 3), 250, np.uint8)
    whole = plan_fit(reference.fit.source, size, "pad")
    boxes = {number: fit_pose(person, whole).box for number, person in enumerate(people, 1)}
    return draw_numbered_boxes(whole.apply(reference.source, 250), boxes, reference.found.number)


def _people_row(preview: Preview, width: int) -> Frame | None:
    """Return the people in the driving video, each in the frame that shows them best; None for fewer than two."""
    if not preview.people:
        return None
    columns = min(len(preview.people), COLUMNS - 1)
    side = (width - (columns - 1) * _GAP) // columns
    pictures = []
    for person, frame in preview.people:
        picture = Image.fromarray(frame)
        draw = ImageDraw.Draw(picture)
        line = max(2, max(picture.size) // 160)
        colour = _ANCHOR if person.number == preview.followed else _ALONE
        draw.rectangle(person.box, outline=colour, width=line)
        label = f"{person.number}{' (followed)' if person.number == preview.followed else ''}"
        picture.thumbnail((side, _HEIGHT))
        place, scale = (person.box[0], person.box[1]), picture.size[0] / frame.shape[1]
        at = (max(place[0] * scale + 3, 3), max(place[1] * scale - 24, 3))
        ImageDraw.Draw(picture).text(
            at, label, font=ImageFont.load_default(20), fill="white", stroke_width=3, stroke_fill=colour
        )
        pictures.append(picture)
    rows = [pictures[start : start + columns] for start in range(0, len(pictures), columns)]
    heights = [max(picture.size[1] for picture in row) for row in rows]
    sheet = Image.new("RGB", (width, sum(heights) + _GAP * (len(rows) - 1)), _PAPER)
    top = 0
    for row, height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row):
            sheet.paste(picture, (column * (side + _GAP), top))
        top += height + _GAP
    return np.asarray(sheet)


def _draw_plan(
    draw: ImageDraw.ImageDraw,
    preview: Preview,
    top: int,
    across: int,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """Segments as bars over time: base segments above, others below."""
    plan, left = preview.plan.settings.plan, 2 * _GAP
    scale = (across - 2 * left) / max(plan.num_frames, 1)
    for segment in plan.segments:
        row = 0 if segment.kind == "base" else 1
        colour = _KINDS[segment.kind]
        colour = _ANCHOR if segment == preview.anchor else _ALONE if segment in preview.alone else colour
        stop = min(segment.stop, plan.num_frames)
        first = left + segment.start * scale
        box = (first, top + 26 * row, max(first + 1, left + stop * scale - 1), top + 26 * row + 22)
        draw.rectangle(box, fill=colour, outline=_PAPER)
        if box[2] - box[0] > 30:
            draw.text((box[0] + 4, box[1] + 2), str(segment.index), font=font, fill="white")
    parts = ["segments over time: base above, stitch below" if len(plan.segments) > 1 else "one segment"]
    parts += ["green: the anchor of the background"] if preview.anchor else []
    parts += ["orange: shares no background"] if preview.alone else []
    draw.text((left, top + 56), "; ".join(parts), font=font, fill=_INK)


def _lines(preview: Preview, width: int) -> list[tuple[str, tuple[int, int, int]]]:
    """Warnings, then notes and the plan, wrapped."""
    told = [(f"! {line}", _WARNING) for line in preview.warnings]
    told += [(line, _INK) for line in (*preview.notes, *preview.plan.description.split("\n"))]
    return [(part, colour) for line, colour in told for part in textwrap.wrap(line, width, subsequent_indent="    ")]


def driven_picture(preview: Preview, number: int) -> Frame:
    """A sampled frame of the driving video with its skeleton."""
    return over(preview.frames[number], preview.pose[number], _given(preview, number))


def placed_picture(preview: Preview, number: int) -> Frame:
    """The reference with the skeleton of a sampled frame, as the result will have it."""
    return over(preview.plan.reference.image, preview.placed[number], _given(preview, number))


def _hands(preview: Preview, number: int) -> Frame:
    return preview.hand_maps[number]


def _given(preview: Preview, number: int) -> Frame | None:
    return None if preview.skeletons is None else preview.skeletons[number]


def over(picture: Frame, person: PersonPose | None, skeleton: Frame | None = None) -> Frame:
    """The picture, a little dimmed, with the person's skeleton over it, or the one that was given."""
    if skeleton is None:
        if person is None:
            return picture
        skeleton = draw_skeleton(person.keypoints, person.scores, picture.shape[:2])
    return np.where(drawn(skeleton)[..., None], skeleton, np.rint(0.75 * picture).astype(np.uint8))
