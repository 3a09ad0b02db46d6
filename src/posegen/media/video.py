"""Video files: the names that the rest of posegen uses.

`probing` says what is in a file, `reading` yields frames, `writing` makes files; nobody outside `media` opens a codec.
"""

from posegen.media.probing import VideoInfo, probe_video, video_is_complete
from posegen.media.reading import count_frames, iterate_frames, read_frames, sample_frames
from posegen.media.writing import VideoWriter

__all__ = [
    "VideoInfo",
    "VideoWriter",
    "count_frames",
    "iterate_frames",
    "probe_video",
    "read_frames",
    "sample_frames",
    "video_is_complete",
]
