"""Protocols of pose estimators and hand-normal estimators."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from posegen.conditions.keypoints import PersonPose
from posegen.types import Frame


@runtime_checkable
class PoseEstimator(Protocol):
    """Finds the people in a frame. Frames of a clip come in order; `name` and `version` identify it in manifests."""

    name: str
    version: str
    batch_size: int
    """Best number of frames per call."""
    finds_hands: bool
    """True if `estimate` finds the hands as well."""
    keeps_everybody: bool
    """True if people without nose and shoulders are kept, as those of a file; those of a model are mostly errors."""

    def estimate(self, frame: Frame) -> list[PersonPose]:
        """Find all people in an RGB frame, with feet, and with hands if it is a whole-body model; [] without any."""

    def estimate_batch(self, frames: Sequence[Frame]) -> list[list[PersonPose]]:
        """Find all people in the next frames of the clip."""

    def add_hands(self, frame: Frame, person: PersonPose) -> PersonPose:
        """Add the hands that are found to the person."""

    def close(self) -> None:
        """Free what it holds."""


@runtime_checkable
class SecondLook(Protocol):
    """Looks again at one person where they are expected; the frames may come in any order."""

    name: str
    version: str

    def look_again(self, frame: Frame, box: tuple[float, float, float, float]) -> list[PersonPose]:
        """Find the people around a box (left, top, right, bottom), all in pixels of the RGB frame."""

    def add_hands(self, frame: Frame, person: PersonPose) -> PersonPose:
        """Add the hands that are found to the person."""

    def close(self) -> None:
        """Free what it holds."""


@runtime_checkable
class HandNormalEstimator(Protocol):
    """Makes the hand-normal map of a person: camera-space normals as (n + 1) / 2 · 255, black outside the hands.

    Axes: x right, y up, z towards the camera, so a surface that faces the camera is (128, 128, 255). One kind draws
    the person's three-dimensional hands, at any size; the other uses pixels, and makes maps of the frame's size.
    """

    name: str
    version: str
    batch_size: int
    """Best number of frames per call."""
    needs_frames: bool
    """True if it uses pixels."""

    def estimate(self, person: PersonPose, size: tuple[int, int], frame: Frame | None = None) -> Frame:
        """Make the map of (height, width) pixels, for a person in the same pixels; `frame` has that size, too."""

    def estimate_batch(
        self, people: Sequence[PersonPose], size: tuple[int, int], frames: Sequence[Frame]
    ) -> list[Frame]:
        """Make the maps of several frames; `frames` is empty for an estimator that does not use pixels."""

    def close(self) -> None:
        """Free what it holds."""
