"""What steers a job's segments: text, image features and reference of the job; conditions and noise of any frames.

Sampling is `denoise.py`'s concern, and which frames make a segment `segments.py`'s.
"""

import numpy as np
import torch
from jaxtyping import Int

from posegen.conditions.folder import Conditions
from posegen.generate.request import Request
from posegen.generate.segments import Segment, reflect_indices
from posegen.model.background_store import Branch
from posegen.model.denoise import Conditioning, forward_passes
from posegen.model.latents import encode_frames
from posegen.model.pipeline import PoseGenPipeline
from posegen.types import PreservedFrames


class SegmentInputs:
    """Everything that the transformer is told about a segment."""

    def __init__(self, pipeline: PoseGenPipeline, request: Request, conditions: Conditions) -> None:
        """Encode what all segments have in common."""
        self.pipeline, self.request, self.conditions = pipeline, request, conditions
        self.text = pipeline.encode_text(request.prompt)
        self.negative_text = pipeline.encode_text(request.negative_prompt) if request.guidance != 1.0 else None
        self.image = pipeline.encode_image(request.fitted_reference)
        self.reference_latents = encode_frames(pipeline.vae, request.fitted_reference[None])
        self._black: dict[int, torch.Tensor] = {}

    def passes(self) -> list[tuple[int, Branch]]:
        """Step and branch of guidance of each forward pass of a segment, in order."""
        request = self.request
        return forward_passes(
            self.pipeline.scheduler.config.shift, request.steps, request.guidance, request.pose_guidance
        )

    def indices(self, segment: Segment) -> Int[np.ndarray, " frames"]:
        """The driving video's frames of a segment; past its end they are reflected."""
        return reflect_indices(segment.start, segment.stop, self.conditions.num_frames)

    def conditioning(
        self, segment: Segment, head: PreservedFrames | None = None, tail: PreservedFrames | None = None
    ) -> Conditioning:
        """Of a segment, with preserved frames at its ends."""
        indices = self.indices(segment)
        first, last = int(indices.min()), int(indices.max()) + 1
        skeleton = self.conditions.skeleton_frames(first, last)[indices - first]
        hands = self.conditions.hand_frames(first, last)[indices - first] if self.request.config.hands else None
        strength, guided = self.request.pose_strength, self.request.pose_guidance.scale != 1.0
        unposed = None
        if (strength != 1.0 or guided) and head is tail is None:
            unposed = self._black_latents(len(indices))
        return Conditioning(
            pose=self.pipeline.encode_pose(skeleton, hands, head, tail, strength, guided, unposed),
            reference_latents=self.reference_latents if self.request.config.reference_tokens else None,
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
        return self.pipeline.noise(num_frames, self.conditions.size, self.request.config.seed)
