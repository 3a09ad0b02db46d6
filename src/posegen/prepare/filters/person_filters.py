"""Filters about people: size of the person, number of people, visibility of face and head."""

import numpy as np

from posegen.prepare.filters.sampled_frames import SampledClip
from posegen.prepare.filters.sampled_people import People


class PersonAreaFilter:
    """`person_area`: share of the picture that the box of the largest person takes, mean over samples (0: nobody)."""

    name = "person_area"
    columns: tuple[str, ...] = ("person_area", "person_seen")

    def score(self, clip: SampledClip, found: People) -> dict[str, float]:
        """`person_seen` is the share of samples that show anybody."""
        areas = [person.area if person else 0.0 for person in found.largest]
        return {
            "person_area": float(np.mean(areas)),
            "person_seen": float(np.mean([person is not None for person in found.largest])),
        }


class OnePersonFilter:
    """`one_person`: share of all samples that show exactly one person of note."""

    name = "one_person"
    columns: tuple[str, ...] = ("one_person", "people")

    def score(self, clip: SampledClip, found: People) -> dict[str, float]:
        """`people` is the mean number of people of note."""
        counts = found.counts
        return {"one_person": float(np.mean([count == 1 for count in counts])), "people": float(np.mean(counts))}


class FaceFilter:
    """`face` and `head`: how surely they are seen, mean over all samples (0 where nobody is)."""

    name = "face"
    columns: tuple[str, ...] = ("face", "head")

    def score(self, clip: SampledClip, found: People) -> dict[str, float]:
        """Confidence of the largest person's face and head, 0..1."""
        return {
            "face": float(np.mean([person.face if person else 0.0 for person in found.largest])),
            "head": float(np.mean([person.head if person else 0.0 for person in found.largest])),
        }
