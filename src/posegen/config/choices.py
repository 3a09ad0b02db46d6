"""Values shared by several settings: names of choices, limits, default prompts."""

from typing import Literal

FitMode = Literal["crop", "pad"]
SharingPreset = Literal["paper", "release", "off"]
SharingStore = Literal["auto", "memory", "disk", "recompute"]
SharingPrecision = Literal["auto", "same", "bf16", "int10", "fp8"]
LongMethod = Literal["interleaved", "autoregressive", "freenoise", "independent"]
Framing = Literal["close-up", "half-body", "full-body", "distant"]
"""How much of a person is seen, as the `release` preset of background sharing tells it. Synthetic clips have their own
words in `synthetic/scene.py`, since their cameras are never distant."""
FramingChoice = Literal["auto", "close-up", "half-body", "full-body", "distant"]
ClipStyle = Literal["calm", "lively"]
Split = Literal["train", "val-same", "val-cross"]
DataType = Literal["auto", "float32", "bfloat16"]
PoseChoice = Literal["mediapipe", "vitpose", "sapiens2", "sapiens1", "file"]
RetargetMode = Literal["full", "align", "off"]
CameraMode = Literal["auto", "follow", "still"]
"""Treatment of the motion of a driving video's camera."""
Viewpoint = Literal["auto", "front"] | tuple[float, float]
"""Place of the camera that films motion in space: by itself, or (azimuth, elevation) in degrees from the front."""
NormalsChoice = Literal["mediapipe", "sapiens2", "sapiens1", "file"]
PersonChoice = Literal["largest", "left", "right"] | int | tuple[float, float]
"""One of several people in a picture: by size or place, by number (from 1), or by a point (x, y) in pixels."""

MAX_SIDE = 8192
"""Maximum side in pixels; a larger size is treated as a typing error."""
MAX_FPS = 240.0

NEGATIVE_PROMPT = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，"
    "丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，"
    "杂乱的背景，三条腿，背景人很多，倒着走"
)
"""Wan's usual negative prompt (garish, static, blurred, subtitles, deformed hands, crowd, walking backwards ...)."""

DEFAULT_PROMPT = "A realistic video of a person in front of a steady background. The camera does not move."
