"""Public names for video files, used by the rest of posegen.

`probing` inspects files, `reading` yields frames, `writing` makes files; no code outside `media` opens a codec.
"""

from posegen.media.probing import VideoInfo, probe_video, video_is_complete
from posegen.media.reading import count_frames, iterate_frames, read_frames, sample_frames, shown_frames
from posegen.media.writing import VideoWriter

__all__ = [
    "VideoInfo",
    "VideoWriter",
    "count_frames",
    "iterate_frames",
    "probe_video",
    "read_frames",
    "sample_frames",
    "shown_frames",
    "video_is_complete",
]
