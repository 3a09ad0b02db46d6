"""Writes what a preview found as JSON values, pictures and short videos, for a page or a program to show."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from posegen.generate.preview.look_ahead import Preview
from posegen.generate.preview.preview_pictures import driven_picture, placed_picture
from posegen.media.image import write_image
from posegen.media.video import VideoWriter
from posegen.serve.job_fields import SentFile, for_client

_SECONDS = 6
"""Length of the videos."""


def write_findings(preview: Preview, folder: Path, files: Sequence[SentFile]) -> dict[str, Any]:
    """Write pictures and videos into `folder`; return everything else, with their names. Raises `OutputError`."""
    plan, settings = preview.plan, preview.plan.settings
    height, width = settings.size
    rate = Fraction(max(1, round(len(preview.numbers) / _SECONDS)))
    videos = {
        "driving": driven_picture,
        "placed": placed_picture,
        "hands": lambda found, number: found.hand_maps[number],
    }
    for name, draw in videos.items():
        with VideoWriter(folder / f"{name}.mp4", rate, size=(height, width)) as writer:
            for number in range(len(preview.numbers)):
                writer.write(draw(preview, number))
    write_image(folder / "reference.jpg", plan.reference.source)
    people = []
    for person, frame in preview.people:
        name = f"person_{person.number}.jpg"
        write_image(folder / name, frame)
        people.append(
            {
                "number": person.number,
                "followed": person.number == preview.followed,
                "frames": person.frames,
                "place": person.place,
                "picture": name,
                "box": _share(person.box, frame.shape[:2]),
            }
        )
    found = plan.reference.found
    return {
        "width": width,
        "height": height,
        "fps": float(settings.fps),
        "frames": settings.num_frames,
        "seconds": round(float(settings.num_frames / settings.fps), 3),
        "steps": settings.sampling.steps,
        "memory_bytes": plan.needs.memory,
        "prompt": settings.sampling.prompt,
        "plan": for_client(plan.description, files),
        "warnings": [for_client(line, files) for line in preview.warnings],
        "notes": [for_client(line, files) for line in preview.notes],
        "segments": [
            {
                "kind": segment.kind,
                "start": segment.start,
                "stop": max(segment.start, min(segment.stop, settings.num_frames)),
                "anchor": segment == preview.anchor,
                "alone": segment in preview.alone,
            }
            for segment in settings.plan.segments
        ],
        "people": people,
        "reference_people": [
            {
                "number": number,
                "chosen": number == (found.number or 1),
                "box": _share(person.box, plan.reference.source.shape[:2]),
            }
            for number, person in enumerate(found.people, 1)
        ],
        "videos": {name: f"{name}.mp4" for name in videos},
        "reference": "reference.jpg",
    }


def _share(box: tuple[float, ...], size: tuple[int, ...]) -> list[float]:
    """Return (left, top, right, bottom) as shares of the picture's width and height."""
    height, width = size
    shares = (box[0] / width, box[1] / height, box[2] / width, box[3] / height)
    return [round(min(1.0, max(0.0, float(share))), 4) for share in shares]
