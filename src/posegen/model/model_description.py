"""Describes a model before any of its weights is loaded, for planning, checks and estimates."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from posegen.conditions.skeleton import Colors
from posegen.config import NEGATIVE_PROMPT
from posegen.media.fitting import choose_size

FLOW_SHIFT = 5.0
"""Default shift of Wan's schedule towards noise."""


@dataclass(frozen=True)
class ModelDescription:
    """Properties of a model needed for planning."""

    name: str
    segment_length: int
    head: int
    tail: int
    default_area: int
    draw_scale: int
    max_text_tokens: int
    trained: bool
    skeleton_colors: Colors
    num_attention_heads: int
    attention_head_dim: int
    ffn_dim: int
    num_layers: int
    weights_bytes: int
    spatial_stride: int = 8
    temporal_stride: int = 4
    patch: int = 2
    default_steps: int = 25
    default_guidance: float = 5.0
    default_pose_guidance: float = 1.0
    pose_guidance_until: float = 0.0
    default_pose_strength: float = 1.0
    few_steps: int = 0
    """Steps that the weights were distilled for; 0 if they were not."""
    flow_shift: float = FLOW_SHIFT
    negative_prompt: str = NEGATIVE_PROMPT
    trained_size: tuple[int, int] | None = None

    def size_for(self, source: tuple[int, int]) -> tuple[int, int]:
        """Return (height, width) to generate at for a reference of size `source`: like it, or the only trained size."""
        return self.trained_size or choose_size(source, self.default_area, self.size_multiple)

    @property
    def size_multiple(self) -> int:
        """Number of pixels of which height and width must be multiples."""
        return self.spatial_stride * self.patch

    @property
    def dim(self) -> int:
        """Width of the transformer."""
        return self.num_attention_heads * self.attention_head_dim

    def tokens(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return (video tokens, reference tokens) of a segment of `size` = (height, width) pixels."""
        per_frame = (size[0] // self.size_multiple) * (size[1] // self.size_multiple)
        frames = (self.segment_length - 1) // self.temporal_stride + 1
        return frames * per_frame, per_frame


def make_description(name: str, settings: Mapping[str, Any]) -> ModelDescription:
    """Make a description from `settings`; by default a model is trained and draws in OpenPose's colours."""
    values = {"trained": True, "skeleton_colors": "openpose", **settings, "name": name}
    if values.get("trained_size") is not None:
        values["trained_size"] = tuple(values["trained_size"])
    known = {field.name for field in fields(ModelDescription)}
    return ModelDescription(**{key: value for key, value in values.items() if key in known})
