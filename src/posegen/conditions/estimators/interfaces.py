"""What a pose estimator and a hand-normal estimator are: small classes behind one protocol each."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from posegen.conditions.keypoints import PersonPose
from posegen.types import Frame


@runtime_checkable
class PoseEstimator(Protocol):
    """Finds the people of a frame. Frames of a clip come in order; `name` and `version` identify it in manifests."""

    name: str
    version: str
    batch_size: int
    """Frames that are best given at once."""
    finds_hands: bool
    """Whether `estimate` finds the hands as well."""
    keeps_everybody: bool
    """Whether people without nose and shoulders are kept: those of a file are, those of a model are mostly errors."""

    def estimate(self, frame: Frame) -> list[PersonPose]:
        """Bodies (and feet, and hands if it is a whole-body model) of all people of an RGB frame; nobody is []."""

    def estimate_batch(self, frames: Sequence[Frame]) -> list[list[PersonPose]]:
        """The same for the next frames of the clip."""

    def add_hands(self, frame: Frame, person: PersonPose) -> PersonPose:
        """The same person with hands, as far as they are found."""

    def close(self) -> None:
        """Free what it holds."""


@runtime_checkable
class HandNormalEstimator(Protocol):
    """Makes the hand-normal map of a person: camera-space normals as (n + 1) / 2 · 255, black outside the hands.

    Axes: x right, y up, z towards the camera, so a surface that faces the camera is (128, 128, 255). One kind draws
    the person's three-dimensional hands, at any size; the other looks at the picture, and makes maps of its size.
    """

    name: str
    version: str
    batch_size: int
    """Frames that are best given at once."""
    needs_frames: bool
    """Whether it looks at the picture."""

    def estimate(self, person: PersonPose, size: tuple[int, int], frame: Frame | None = None) -> Frame:
        """The map of (height, width) pixels, for a person in the same pixels; `frame` has that size, too."""

    def estimate_batch(
        self, people: Sequence[PersonPose], size: tuple[int, int], frames: Sequence[Frame]
    ) -> list[Frame]:
        """The maps of several frames; `frames` is empty for an estimator that does not look at them."""

    def close(self) -> None:
        """Free what it holds."""
