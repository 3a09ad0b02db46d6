"""Describes a model before any of its weights is loaded: what planning, checks and estimates need to know of it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from posegen.conditions.skeleton import Colors
from posegen.config import NEGATIVE_PROMPT
from posegen.media.fitting import choose_size

FLOW_SHIFT = 5.0
"""The shift of Wan's schedule towards noise, where a model states none."""


@dataclass(frozen=True)
class ModelDescription:
    """What planning needs to know of a model."""

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
    flow_shift: float = FLOW_SHIFT
    negative_prompt: str = NEGATIVE_PROMPT
    trained_size: tuple[int, int] | None = None

    def size_for(self, source: tuple[int, int]) -> tuple[int, int]:
        """(height, width) to generate at for a reference of the size `source`: like it, unless one size is known."""
        return self.trained_size or choose_size(source, self.default_area, self.size_multiple)

    @property
    def size_multiple(self) -> int:
        """Height and width are multiples of this many pixels."""
        return self.spatial_stride * self.patch

    @property
    def dim(self) -> int:
        """Width of the transformer."""
        return self.num_attention_heads * self.attention_head_dim

    def tokens(self, size: tuple[int, int]) -> tuple[int, int]:
        """(video tokens, reference tokens) of a segment of `size` = (height, width) pixels."""
        per_frame = (size[0] // self.size_multiple) * (size[1] // self.size_multiple)
        frames = (self.segment_length - 1) // self.temporal_stride + 1
        return frames * per_frame, per_frame


def make_description(name: str, settings: Mapping[str, Any]) -> ModelDescription:
    """Take from `settings` what a description has; a model is trained and draws in OpenPose's colours unless stated."""
    values = {"trained": True, "skeleton_colors": "openpose", **settings, "name": name}
    if values.get("trained_size") is not None:
        values["trained_size"] = tuple(values["trained_size"])
    known = {field.name for field in fields(ModelDescription)}
    return ModelDescription(**{key: value for key, value in values.items() if key in known})
