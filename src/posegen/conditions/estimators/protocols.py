"""What a pose estimator and a hand-normal estimator are: small classes behind one protocol each."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from posegen.conditions.keypoints import PersonPose

Frame = UInt8[np.ndarray, "height width 3"]


@runtime_checkable
class PoseEstimator(Protocol):
    """Finds the people of a frame. Frames of a clip come in order; `name` and `version` identify it in manifests."""

    name: str
    version: str

    def estimate(self, frame: Frame) -> list[PersonPose]:
        """Bodies (and feet) of all people of an RGB frame; nobody is an empty list."""

    def add_hands(self, frame: Frame, person: PersonPose) -> PersonPose:
        """The same person with hands, as far as they are found."""

    def close(self) -> None:
        """Free what it holds."""


@runtime_checkable
class HandNormalEstimator(Protocol):
    """Makes the hand-normal map of a person: camera-space normals as (n + 1) / 2 · 255, black outside the hands.

    Axes: x right, y up, z towards the camera, so a surface that faces the camera is (128, 128, 255).
    """

    name: str
    version: str

    def estimate(self, person: PersonPose, size: tuple[int, int]) -> Frame:
        """The map of (height, width) pixels, for a person in the same pixels."""
