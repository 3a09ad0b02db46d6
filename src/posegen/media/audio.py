"""The sound of one video file, cut to begin and end with the pictures of another; it never costs the pictures.

AAC and MP3, which every browser plays in MP4, are copied without loss; anything else becomes AAC. What decodes sound is
`audio_child`, a process of its own: if it dies, hangs or takes too much memory, the result is silent, and one line says
so. Putting packets into a file is `writing`'s business.
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
"""Bytes of address space that the process may take."""
_PATIENCE = 60.0
"""Seconds that the process may take, and as long as the sound itself beside."""
_MAX_TRACKS = 8
"""Tracks at which the process may fail."""
_LOOK = 5.0
"""Seconds of sound that are tried before the work begins."""

Container = Literal["mp4", "matroska"]


@dataclass(frozen=True)
class Sound:
    """Which sound of a video a result gets."""

    track: int | None
    """From 0; None where the result is silent."""
    is_copied: bool
    codec: str
    """FFmpeg's name, such as aac."""
    rate: int = 0
    """Samples per second, and below the channels, of what is encoded."""
    layout: str = ""
    begin: int = 0
    """Where the packets of what is encoded begin in the records."""
    losses: tuple[str, ...] = ()
    """One line for each track that cannot be used, and for what is lost of the one that is."""

    def describe(self) -> str:
        """What happens to the sound, in one line."""
        if self.track is None:
            return "none: " + ("; ".join(self.losses) or "the driving video has no sound")
        how = f"{self.codec}, copied" if self.is_copied else f"{self.codec}, encoded as AAC"
        number = f", track {self.track + 1}" if self.track or self.losses else ""
        return "; ".join([f"{how}{number}", *self.losses])


SILENT = Sound(None, False, "")


def check_sound(
    source: Path, start: float | int = 0.0, seconds: float | int | None = None, container: Container = "mp4"
) -> Sound:
    """Which sound of `source` a result will have that begins at `start` and lasts `seconds`, found from its beginning.

    It takes a fraction of a second; the last few answers are kept. Raises `PosegenError` if `source` is not a video.
    """
    info = inspect(source).info
    if not info.has_audio:
        return SILENT
    state = source.stat()
    length = min(_LOOK, info.duration if seconds is None else float(seconds))
    return _checked(source, (state.st_ino, state.st_size, state.st_mtime_ns), float(start), length, container)


@functools.lru_cache(maxsize=8)
def _checked(source: Path, state: tuple[int, int, int], start: float, length: float, container: Container) -> Sound:
    """`state` tells one content of the file from another."""
    with tempfile.TemporaryFile() as records:
        return _ask(source, _cut(source, start, length), container, records, check_only=True)


class AudioTrack:
    """Sound of `source` from `start` (seconds after its first *picture*), as a stream of the output `container`.

    `packets_until` gives what belongs before a moment of the output, so that the end is cut where the pictures end, to
    within one packet (about 20 ms). A source whose sound breaks off gives what there is, with a warning.
    """

    def __init__(self, sound: Sound, source: Path, cut: AudioCut, records: IO[bytes], container: Any) -> None:
        """`records` are what the process wrote about the sound. Use `open_sound`."""
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
        """The stream of the output that the packets belong to."""
        return self._output

    def packets_until(self, end: float) -> Iterator[Any]:
        """Yield the packets of all sound that begins before `end` seconds of the output and was not given yet."""
        while self._next is not None and self._next[0] < end:
            yield self._next[1]
            self._next = next(self._pieces, None)

    def close(self) -> None:
        """Close the source."""
        self._resources.close()

    def _encoded(self) -> Iterator[tuple[float, Any]]:
        """(seconds of the output, packet) for each packet that the process encoded."""
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
    """The sound of `source`, as a new stream of the container `output`, which becomes the file `target`.

    None, and a line in the log, where there is none that can be used. Raises `PosegenError` if `source` is not a video,
    `DiskFullError` where there is no room for the sound beside `target`.
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
    """Have the process try one track after the other until one can be used; its packets are left in `records`.

    A track at which it dies is passed over.
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
    """Let the process answer; what went wrong, if anything. Raises `DiskFullError`."""
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
    """The records from here on, up to one that was not written whole."""
    while line := records.readline():
        try:
            record = json.loads(line)
        except ValueError:
            return
        content = records.read(record.get("size", 0))
        if len(content) < record.get("size", 0):
            return
        yield record, content
