"""Audio of one video file, cut to the frames of another; a failure never loses the frames.

AAC and MP3, which every browser plays in MP4, are copied without loss; anything else becomes AAC. Audio is decoded by
`audio_child` in a separate process: if that crashes, hangs or takes too much memory, the result is silent, and one line
is logged. Packets are written to files in `writing`.
"""

import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, Literal

import av

from posegen.errors import DiskFullError, logger
from posegen.media import audio_child
from posegen.media.audio_child import AudioCut, add_encoder, copied_packets
from posegen.media.files import output_errors
from posegen.media.probing import OPEN_OPTIONS, inspect, open_video

_PROGRAM = Path(audio_child.__file__)
_MEMORY = 2 << 30
"""Bytes of address space allowed for the process."""
_PATIENCE = 60.0
"""Timeout of the process in seconds, in addition to the length of the audio."""
_MAX_TRACKS = 8
"""Maximum number of tracks that the process may fail on."""
_LOOK = 5.0
"""Seconds of audio that are tried before the work begins."""

Container = Literal["mp4", "matroska"]


@dataclass(frozen=True)
class Sound:
    """Audio track of a video that goes into a result."""

    track: int | None
    """Number from 0; None if the result is silent."""
    is_copied: bool
    codec: str
    """FFmpeg's name, such as aac."""
    rate: int = 0
    """Samples per second of the encoded audio; `layout` is its channel layout."""
    layout: str = ""
    begin: int = 0
    """Offset in the records at which the encoded packets begin."""
    losses: tuple[str, ...] = ()
    """One line for each track that cannot be used, and for parts lost from the used one."""

    def describe(self) -> str:
        """Describe in one line how the audio is handled."""
        if self.track is None:
            return "none: " + ("; ".join(self.losses) or "the driving video has no sound")
        how = f"{self.codec}, copied" if self.is_copied else f"{self.codec}, encoded as AAC"
        number = f", track {self.track + 1}" if self.track or self.losses else ""
        return "; ".join([f"{how}{number}", *self.losses])


SILENT = Sound(None, False, "")


def check_sound(
    source: Path, start: float | int = 0.0, seconds: float | int | None = None, container: Container = "mp4"
) -> Sound:
    """Find the audio of `source` for a result that begins at `start` and lasts `seconds`, by trying its first seconds.

    It takes a fraction of a second; the last few results are cached. Raises `PosegenError` if `source` is not a video.
    """
    info = inspect(source).info
    if not info.has_audio:
        return SILENT
    state = source.stat()
    length = min(_LOOK, info.duration if seconds is None else float(seconds))
    return _checked(source, (state.st_ino, state.st_size, state.st_mtime_ns), float(start), length, container)


@functools.lru_cache(maxsize=8)
def _checked(source: Path, state: tuple[int, int, int], start: float, length: float, container: Container) -> Sound:
    """Check uncached; `state` identifies the content of the file."""
    with tempfile.TemporaryFile() as records:
        return _ask(source, _cut(source, start, length), container, records, check_only=True)


class AudioTrack:
    """Audio of `source` from `start` (seconds after its first *frame*), as a stream of the output `container`.

    `packets_until` yields the packets before a time of the output, so that the audio ends with the frames to within one
    packet (about 20 ms). If the audio of the source breaks off, the part before is used, with a warning.
    """

    def __init__(self, sound: Sound, source: Path, cut: AudioCut, records: IO[bytes], container: Any) -> None:
        """Take the `records` that the process wrote. Use `open_sound` instead of calling this directly."""
        self._source, self._sound, self._records = source, sound, records
        self._resources = contextlib.ExitStack()
        self._resources.enter_context(records)
        assert sound.track is not None
        if sound.is_copied:
            opened, _ = self._resources.enter_context(open_video(source))
            stream = opened.streams.audio[sound.track]
            self._output = container.add_stream_from_template(stream)
            self._pieces = copied_packets(self._demux(opened, stream), stream, self._output, cut)
        else:
            self._output = add_encoder(container, sound.rate, sound.layout)
            self._pieces = self._encoded()
        self._next = next(self._pieces, None)

    @property
    def stream(self) -> Any:
        """Output stream that the packets belong to."""
        return self._output

    def packets_until(self, end: float) -> Iterator[Any]:
        """Yield the packets, not yet yielded, that begin before `end` seconds of the output."""
        while self._next is not None and self._next[0] < end:
            yield self._next[1]
            self._next = next(self._pieces, None)

    def close(self) -> None:
        """Close the source."""
        self._resources.close()

    def _encoded(self) -> Iterator[tuple[float, Any]]:
        """Yield (seconds of the output, packet) for each packet that the process encoded."""
        self._records.seek(self._sound.begin)
        for record, content in _read(self._records):
            if "packet" in record:
                packet = av.Packet(content)
                packet.time_base, packet.stream = Fraction(*record["base"]), self._output
                for name, value in record["packet"].items():
                    setattr(packet, name, value)
                yield float(record["packet"]["pts"] * packet.time_base), packet

    def _demux(self, container: Any, stream: Any) -> Iterator[Any]:
        try:
            yield from container.demux(stream)
        except av.error.FFmpegError as error:
            _report_break(self._source, error.strerror or str(error))


def open_sound(
    source: Path, start: float | int, seconds: float | int | None, target: Path, output: Any
) -> AudioTrack | None:
    """Add the audio of `source` as a new stream to the container `output`, which becomes the file `target`.

    Returns None and logs a line if no audio can be used. Raises `PosegenError` if `source` is not a video,
    `DiskFullError` if the disk of `target` is full.
    """
    info = inspect(source).info
    if not info.has_audio:
        logger.info("%s has no sound: the result is silent", source)
        return None
    length = max(0.0, info.duration - start) if seconds is None else float(seconds)
    cut, container = _cut(source, start, length), output.format.name
    with contextlib.ExitStack() as stack:
        with output_errors(target):
            records = stack.enter_context(tempfile.TemporaryFile(dir=target.parent))
        sound = _ask(
            source, cut, "matroska" if "matroska" in container else "mp4", records, check_only=False, target=target
        )
        for loss in sound.losses:
            logger.warning("%s: %s", source, loss)
        if sound.track is None:
            logger.warning("%s: its sound cannot be used: the result is silent", source)
            return None
        stack.pop_all()
        cut = _cut(source, start, length, sound.track)
        return AudioTrack(sound, source, cut, records, output)


def _cut(source: Path, start: float | int, length: float, track: int | None = None) -> AudioCut:
    found = inspect(source)
    shifts = found.sounds[track] if track is not None and found.sounds else ()
    return AudioCut((found.origin or 0.0) + start, length, shifts)


def _report_break(source: Path, reason: str) -> None:
    logger.warning("%s: its sound breaks off (%s); the result is silent from there", source, reason)


def _ask(
    source: Path,
    cut: AudioCut,
    container: Container,
    records: IO[bytes],
    *,
    check_only: bool,
    target: Path | None = None,
) -> Sound:
    """Let the process try one track after another until one can be used; its packets are left in `records`.

    A track on which the process crashes is skipped.
    """
    request: dict[str, Any] = {
        "source": os.fspath(source),
        "options": OPEN_OPTIONS,
        "zero": cut.zero,
        "end": cut.end,
        "shifts": inspect(source).sounds,
        "format": container,
        "check_only": check_only,
        "memory": _MEMORY,
        "skipped": [],
    }
    losses: list[str] = []
    while True:
        before = set(request["skipped"])
        records.seek(0)
        records.truncate()
        failure = _run(request, records, _PATIENCE + cut.end, target or source)
        records.seek(0)
        trying, used, is_done = None, None, False
        for record, _ in _read(records):
            trying = record.get("trying", trying)
            if "unusable" in record:
                used = None
                losses.append(f"sound track {record['unusable'] + 1} is left out: {record['why']}")
                request["skipped"].append(record["unusable"])
            elif "copied" in record:
                used = Sound(record["copied"], True, record["codec"])
            elif "encoded" in record:
                used = Sound(
                    record["encoded"], False, record["codec"], record["rate"], record["layout"], begin=records.tell()
                )
            elif "breaks_off" in record and not check_only:
                _report_break(source, record["breaks_off"])
            is_done = is_done or "done" in record
        if is_done or trying is None or trying in before or len(before) > _MAX_TRACKS:
            losses += [] if is_done else [f"the sound is left out: {failure}"]
            return replace(used if is_done and used else SILENT, losses=tuple(losses))
        losses.append(f"sound track {trying + 1} is left out: {failure}")
        request["skipped"].append(trying)


def _run(request: dict[str, Any], records: IO[bytes], patience: float, target: Path) -> str:
    """Run the process; return a description of how it failed, for use if it did. Raises `DiskFullError`."""
    command = [sys.executable, "-P", os.fspath(_PROGRAM)]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(request).encode(),
            stdout=records,
            stderr=subprocess.DEVNULL,
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"reading it took more than {patience:.0f} s"
    except OSError as error:
        return f"the process that reads it cannot be started ({error.strerror})"
    if done.returncode == audio_child.DISK_FULL:
        raise DiskFullError(f"{target}: the disk is full; free some space and run again")
    how = f"by signal {-done.returncode}" if done.returncode < 0 else f"with exit code {done.returncode}"
    return f"the process that reads it was ended {how}"


def _read(records: IO[bytes]) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield the records from the current position up to the first incomplete one."""
    while line := records.readline():
        try:
            record = json.loads(line)
        except ValueError:
            return
        content = records.read(record.get("size", 0))
        if len(content) < record.get("size", 0):
            return
        yield record, content
