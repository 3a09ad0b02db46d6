"""Settings of all commands that extract conditions: the part of the driving video, and the estimators."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from posegen.config.base import Settings
from posegen.config.checks import parse_person
from posegen.config.choices import NormalsChoice, PoseChoice
from posegen.config.limits import Range
from posegen.errors import PosegenError


@dataclass(frozen=True, kw_only=True)
class EstimatorConfig(Settings):
    """Part of the driving video to use, and estimators of the person's keypoints and hand normals."""

    start: Annotated[float | None, Range(0, 1_000_000, "seconds")] = None
    """Seconds of the driving video at which to begin."""
    end: Annotated[float | None, Range(0, 1_000_000, "seconds")] = None
    """Seconds of the driving video at which to stop."""
    person: str = "largest"
    """The person to follow in the driving video: largest, left, right, a number (`posegen preview` shows them), or a
    point X,Y of its first frame, in pixels."""
    pose: PoseChoice = "mediapipe"
    """Pose estimator: the included MediaPipe, ViTPose or Sapiens (with a detector), or a file of keypoints."""
    pose_weights: str | None = None
    """Weights of ViTPose or Sapiens2 (model folder or hub name; ViTPose's own .pth) or Sapiens-1 (TorchScript file)."""
    pose_file: Path | None = None
    """Keypoints for `--pose file`: JSON of OpenPose, MMPose, AlphaPose, COCO, DWPose or MediaPipe (a file or a folder),
    NPZ, or a finished skeleton video."""
    detector_weights: str | None = None
    """Weights of the RT-DETR or D-FINE that detects people for ViTPose and Sapiens: model folder or hub name."""
    normals: NormalsChoice = "mediapipe"
    """Source of hand normals: hands drawn around MediaPipe's joints, Sapiens from the frames, or a finished video."""
    normals_weights: str | None = None
    """Weights of Sapiens' surface normals: model folder or hub name, or a TorchScript file of Sapiens-1."""
    parts_weights: str | None = None
    """Weights of Sapiens' body parts, which locate the hands: the same kinds as for the normals."""
    trust_torchscript: bool = False
    """Confirm that you trust the source of your TorchScript files (Sapiens-1), which can run any code on this
    machine."""
    normals_file: Path | None = None
    """Video of hand normals, black outside the hands, for `--normals file`."""
    smoothing: bool = True
    """Smooth and repair the keypoints over time: jitter, swapped sides, outliers, short gaps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise PosegenError(f"--start {self.start:g} must be before --end {self.end:g}")
        parse_person(self.person)
        for option, choice, file in (("pose", self.pose, self.pose_file), ("normals", self.normals, self.normals_file)):
            if (choice == "file") != (file is not None):
                raise PosegenError(f"--{option} file and --{option}-file FILE belong together: give both, or neither")
        weights = (
            ("--pose", self.pose, "--pose-weights", self.pose_weights),
            ("--pose", self.pose, "--detector-weights", self.detector_weights),
            ("--normals", self.normals, "--normals-weights", self.normals_weights),
            ("--normals", self.normals, "--parts-weights", self.parts_weights),
        )
        for option, choice, belonging, given in weights:
            if given is not None and choice in ("mediapipe", "file"):
                raise PosegenError(
                    f"{belonging} does not apply to {option} {choice}: choose another {option}, or omit it"
                )
        if self.pose == "sapiens1" and self.pose_weights is None:
            raise PosegenError("--pose sapiens1 needs --pose-weights: a TorchScript file (..._torchscript.pt2)")
        if self.normals == "sapiens1" and (self.normals_weights is None or self.parts_weights is None):
            raise PosegenError("--normals sapiens1 needs --normals-weights and --parts-weights: TorchScript files")
        for option, choice in (("--pose", self.pose), ("--normals", self.normals)):
            if choice == "sapiens1" and not self.trust_torchscript:
                raise PosegenError(
                    f"{option} sapiens1 loads TorchScript files, which can run any code on this machine: add "
                    "--trust-torchscript if you trust their source"
                )

    def _check_hands(self, hands: bool) -> None:
        if not hands and self.normals != "mediapipe":
            raise PosegenError(f"--no-hands and --normals {self.normals} contradict each other: omit one of them")
