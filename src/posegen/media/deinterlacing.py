"""Deinterlaces frames, whose odd and even lines show two different times, with FFmpeg's bwdif.

Frames that are not marked as interlaced pass unchanged, at no cost until the first that is.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any

import av
from av.video.frame import VideoFrame

_SETTINGS = "mode=send_frame:parity=auto:deint=interlaced"
"""One output frame for each input frame, showing its earlier field; the frames give the order of the fields."""


def deinterlaced(frames: Iterator[tuple[int, VideoFrame]]) -> Iterator[tuple[int, VideoFrame]]:
    """Yield (index, frame) in order; missing lines are filled from the frame and its neighbours.

    From the first interlaced frame on, each is held back until the next one arrives.
    """
    graph: Any = None
    shape, waiting = None, deque[int]()
    for index, frame in frames:
        if graph is None and not frame.interlaced_frame:
            yield index, frame
            continue
        if shape != (frame.width, frame.height, frame.format.name):
            yield from _finished(graph, waiting)
            shape = (frame.width, frame.height, frame.format.name)
            graph = _graph(frame)
        waiting.append(index)
        graph.vpush(frame)
        yield from _ready(graph, waiting)
    yield from _finished(graph, waiting)


def _graph(frame: VideoFrame) -> Any:
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    graph.link_nodes(source, graph.add("bwdif", _SETTINGS), graph.add("buffersink")).configure()
    return graph


def _finished(graph: Any, waiting: deque[int]) -> Iterator[tuple[int, VideoFrame]]:
    """Yield the frames that are still held back."""
    if graph is not None:
        graph.vpush(None)
        yield from _ready(graph, waiting)


def _ready(graph: Any, waiting: deque[int]) -> Iterator[tuple[int, VideoFrame]]:
    while True:
        try:
            frame = graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        yield waiting.popleft(), frame
