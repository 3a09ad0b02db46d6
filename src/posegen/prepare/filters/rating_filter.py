"""The filters `qalign_image` and `qalign_video`: Q-Align's rating of sampled frames, by a vision-language model."""

import numpy as np

from posegen.conditions.visual_rating import RatingModel
from posegen.prepare.filters.sampled_frames import SampledClip
from posegen.prepare.filters.sampled_people import People

_SHOWN = 8
"""Samples of a clip that the model is shown, evenly spaced."""


class QAlignFilter:
    """`qalign_image` and `qalign_video`, 0 to 1 as Q-Align's authors scale them."""

    def __init__(self, model: RatingModel, image: bool, video: bool) -> None:
        """`image`, `video`: which of the two is asked for."""
        self.model, self._image, self._video = model, image, video
        self.name = "image_quality" if image else "video_quality"
        self.columns: tuple[str, ...] = ("qalign_image",) * image + ("qalign_video",) * video

    def score(self, clip: SampledClip, found: People) -> dict[str, float]:
        """Return the mean rating of samples, and the rating of the clip."""
        chosen = np.unique(np.linspace(0, len(clip) - 1, min(len(clip), _SHOWN)).round().astype(int))
        frames = [clip.frames[number] for number in chosen]
        scores = {}
        if self._image:
            scores["qalign_image"] = float(np.mean([self.model.rate(frame) for frame in frames]))
        if self._video:
            scores["qalign_video"] = self.model.rate_video(frames)
        return scores
