"""Identifies faces with an ArcFace network from the user's ONNX file, aligned by the pose estimator's points.

Published numbers align five points of a face detector of their own. Here the same five points (eyes, nose, corners of
the mouth) come from the pose estimator, so the numbers are close to published ones but not the same: the table says so.
"""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from skimage.transform import SimilarityTransform

from posegen.conditions.keypoints import INDEX, MOUTH, SEEN, PersonPose
from posegen.digests import content_digest
from posegen.errors import PosegenError
from posegen.extras import require_extra
from posegen.media.files import check_input

_SIDE, _FEATURES = 112, 512
_POINTS = (INDEX["right_eye"], INDEX["left_eye"], INDEX["nose"], *MOUTH)
_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Points where ArcFace expects them in its 112 x 112 pixels; the person's right eye is at the left of the image."""
_SMALLEST = 6.0
"""Minimum distance of the eyes in pixels; smaller faces are not identified."""


class ArcFace:
    """A face network (`person_motion.FaceNetwork`). Raises `PosegenError` for a file of something else."""

    name = "ArcFace (user's ONNX), aligned by five points of the pose estimator"

    def __init__(self, path: Path) -> None:
        check_input(path, "an ArcFace network (.onnx)")
        require_extra("evaluate", "an ONNX network")
        import onnxruntime

        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=onnxruntime.get_available_providers())
        except Exception as error:  # its errors have no common class
            raise PosegenError(f"{path}: not an ONNX network ({str(error).splitlines()[0][:120]})") from None
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shapes = [list(each.shape) for each in (*inputs, *outputs)]
        if len(shapes) != 2 or shapes[0][1:] != [3, _SIDE, _SIDE] or shapes[1][-1] != _FEATURES:
            raise PosegenError(
                f"{path}: not an ArcFace network: it takes and gives {shapes}, not [N, 3, 112, 112] and [N, 512]; give "
                "the file that is usually called w600k_r50.onnx"
            )
        self._input = inputs[0].name
        self.identity = f"ArcFace 2 {content_digest(path)}"

    def embed(
        self, frame: UInt8[np.ndarray, "height width 3"], person: PersonPose
    ) -> Float[np.ndarray, " features"] | None:
        """The face as a unit vector; None where eyes, nose or mouth are not seen, or too small."""
        face = aligned_face(frame, person)
        if face is None:
            return None
        pixels = (face.astype(np.float32).transpose(2, 0, 1)[None] - 127.5) / 127.5
        (features,) = self._session.run(None, {self._input: pixels})
        vector = np.asarray(features, np.float64).ravel()
        length = float(np.linalg.norm(vector))
        if not np.isfinite(length) or length == 0:
            raise PosegenError("the ArcFace network gives no numbers: its file is damaged, get it again")
        return vector / length


def aligned_face(
    frame: UInt8[np.ndarray, "height width 3"], person: PersonPose
) -> UInt8[np.ndarray, "112 112 3"] | None:
    """The face, turned and scaled so that its five points lie where ArcFace wants them (least squares, no shear)."""
    rows = list(_POINTS)
    points = person.keypoints[rows].astype(np.float64)
    if (person.scores[rows] < SEEN).any() or np.linalg.norm(points[0] - points[1]) < _SMALLEST:
        return None
    moved = SimilarityTransform.from_estimate(points, _TEMPLATE)
    return cv2.warpAffine(frame, np.asarray(moved.params)[:2], (_SIDE, _SIDE), flags=cv2.INTER_LINEAR)
