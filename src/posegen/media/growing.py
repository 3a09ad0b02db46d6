"""Video that can be watched while it is being written: a fragmented MP4, each fragment complete on disk.

Nothing is encoded here: `writing` passes copies of the packets for another file. A fragment begins at each key frame,
so players (VLC, mpv, ffplay, a browser) show everything up to the last key frame but one.
"""

import contextlib
from collections import deque
from pathlib import Path
from typing import Any

import av

from posegen.errors import logger
from posegen.media.files import AtomicFile, output_errors, remove_leftovers

_OPTIONS = {
    # the index waits for the first fragment, since only then it is known how far frames are shown after their decoding
    "movflags": "+frag_keyframe+delay_moov+default_base_moof",
    "flush_packets": "1",
    "max_interleave_delta": "1000000",  # microseconds that frames wait for audio that ended before them
}


class GrowingVideo:
    """Second file for the packets of `streams`, which are being written to another container.

    It appears at `path` with its first fragment, replacing what an earlier run left there; the path is logged then. A
    process that is killed leaves a playable file.
    """

    def __init__(self, path: Path, streams: list[Any]) -> None:
        """Take the `streams` of the other container. Raises `OutputError` if `path` cannot be written."""
        self.path = path
        remove_leftovers(path)
        self._file: AtomicFile | None = AtomicFile(path)
        self._streams = streams
        self._copies: dict[int, Any] = {}
        self._waiting: deque[Any] = deque()
        self._container: Any = None

    @property
    def is_shown(self) -> bool:
        """True once there is something to watch."""
        return self._file is None

    def add(self, packet: Any) -> None:
        """Write a packet that the other container has received. Raises `OSError` as PyAV does."""
        self._waiting.append(packet)
        if self._container is None and packet.stream.type != "video":
            return  # encoders describe their streams with the first frame at the latest
        if self._container is None and self._file is not None:
            self._open(self._file)
        while self._waiting:
            waiting = self._waiting.popleft()
            waiting.stream = self._copies[waiting.stream.index]
            self._container.mux(waiting)
        self._show()

    def _open(self, file: AtomicFile) -> None:
        with output_errors(self.path):
            self._container = av.open(f"file:{file.temporary}", "w", format="mp4", container_options=dict(_OPTIONS))
        for stream in self._streams:
            self._copies[stream.index] = self._container.add_stream_from_template(stream, opaque=True)

    def _show(self) -> None:
        """Move the file into place once it holds a fragment; writing continues in the same file."""
        if self._file is not None and self._file.temporary.stat().st_size:
            self._file.commit()
            self._file = None
            logger.info("watch it grow: %s", self.path)

    def close(self) -> None:
        """End the file and keep what was written. Errors are ignored: the part on disk is playable."""
        with contextlib.suppress(av.error.FFmpegError, OSError):
            if self._container is not None:
                self._container.close()
                self._show()
        if self._file is not None:
            self._file.discard()

    def remove(self) -> None:
        """End and remove the file, including one left by an earlier run."""
        self.close()
        self.path.unlink(missing_ok=True)
