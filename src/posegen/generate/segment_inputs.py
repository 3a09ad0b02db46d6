"""Encodes what segments are made from: prompt, image features and reference of the job; any frames' conditions.

Sampling is `denoise.py`'s concern, and which frames make a segment `segments.py`'s.
"""

import numpy as np
import torch
from jaxtyping import Int

from posegen.conditions.folder import Conditions
from posegen.generate.planning.resolved_settings import SamplingSettings
from posegen.generate.segments import Segment, reflect_indices
from posegen.model.background_store import Branch
from posegen.model.denoise import Conditioning, forward_passes
from posegen.model.latents import encode_frames
from posegen.model.pipeline import PoseGenPipeline
from posegen.types import Image, PreservedFrames


class SegmentInputs:
    """Everything that the transformer is told about a segment."""

    def __init__(
        self, pipeline: PoseGenPipeline, sampling: SamplingSettings, reference: Image, conditions: Conditions
    ) -> None:
        """Encode what all segments have in common; `reference` and `conditions` have the size of the result."""
        self.pipeline, self.sampling, self.conditions = pipeline, sampling, conditions
        self.text = pipeline.encode_text(sampling.prompt)
        self.negative_text = pipeline.encode_text(sampling.negative_prompt) if sampling.guidance != 1.0 else None
        self.image = pipeline.encode_image(reference)
        self.reference_latents = encode_frames(pipeline.vae, reference[None])
        self._black: dict[int, torch.Tensor] = {}

    def passes(self) -> list[tuple[int, Branch]]:
        """Step and branch of guidance of each forward pass of a segment, in order."""
        return forward_passes(self.pipeline.scheduler.config.shift, self.sampling)

    def indices(self, segment: Segment) -> Int[np.ndarray, " frames"]:
        """The driving video's frames of a segment; past its end they are reflected."""
        return reflect_indices(segment.start, segment.stop, self.conditions.num_frames)

    def conditioning(
        self, segment: Segment, head: PreservedFrames | None = None, tail: PreservedFrames | None = None
    ) -> Conditioning:
        """Encode the conditions of a segment, with preserved frames at its ends."""
        sampling, indices = self.sampling, self.indices(segment)
        first, last = int(indices.min()), int(indices.max()) + 1
        skeleton = self.conditions.skeleton_frames(first, last)[indices - first]
        hands = self.conditions.hand_frames(first, last)[indices - first] if sampling.hands else None
        strength, guided = sampling.pose_strength, sampling.pose_guidance.scale != 1.0
        unposed = None
        if (strength != 1.0 or guided) and head is tail is None:
            unposed = self._black_latents(len(indices))
        return Conditioning(
            pose=self.pipeline.encode_pose(skeleton, hands, head, tail, strength, guided, unposed),
            reference_latents=self.reference_latents if sampling.reference_tokens else None,
            text=self.text,
            negative_text=self.negative_text,
            image=self.image,
        )

    def _black_latents(self, num_frames: int) -> torch.Tensor:
        """Condition latents without a pose or preserved frames, encoded once."""
        if num_frames not in self._black:
            black = np.zeros((num_frames, *self.conditions.size, 3), np.uint8)
            self._black[num_frames], _ = self.pipeline.encode_conditions(black, None)
        return self._black[num_frames]

    def noise(self, num_frames: int) -> torch.Tensor:
        """Starting noise: the same for every segment of a job, as in the published code."""
        return self.pipeline.noise(num_frames, self.conditions.size, self.sampling.seed)
