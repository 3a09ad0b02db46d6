"""Messages of `posegen prepare` as frozen dataclasses: tasks of stages, calls of isolated processes, and results.

Between processes of one machine they are pickled. Between machines and on the disk they are JSON: `to_text` and
`from_text` for what travels, `as_kept` and `from_kept` for what files hold. What is done with them is not known here.
"""

import dataclasses
import functools
import json
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from posegen.prepare.store import note_damaged
from posegen.prepare.video_sources import Video

Result = TypeVar("Result")
Message = TypeVar("Message")

# -- parts ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Window:
    """One clip of a video: seconds after its first frame, and the perceptual hash of four of its frames."""

    start: float
    end: float
    hash: tuple[int, int, int, int]


# -- tasks of stages -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VideoTask:
    """A video to look through."""

    video: Video


@dataclass(frozen=True)
class ClipsTask:
    """A few clips of one video, to be scored or to be made into samples."""

    video: Video
    windows: tuple[Window, ...]
    number: int = 0
    """Position among the scoring tasks of the video, from 0."""


@dataclass(frozen=True)
class ShardTask:
    """The clips of one shard."""

    shard: str
    """File name."""
    keys: tuple[str, ...]
    """Names of the clips, in order."""
    hashes: tuple[str, ...]
    """SHA-256 of each clip's sample."""
    sha256: str = ""
    """SHA-256 of the packed shard; empty before it is packed."""


# -- results -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Failure:
    """The reason why there is no result."""

    failed: str
    """The reason, in one line."""
    again: bool = False
    """The next run is to try again."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """Limits that a clip ran into: a run with higher ones tries again."""
    asked: tuple[str, ...] | None = None
    """Scores that were asked for, sorted; None where none were."""


@dataclass(frozen=True)
class Look:
    """The contents of a video. Sizes are as it is shown."""

    width: int
    height: int
    fps: float
    duration: float
    rotation: int
    hdr: bool
    cuts: tuple[float, ...]
    windows: tuple[Window, ...]


@dataclass(frozen=True)
class ScoredClip:
    """Scores of one clip by column, and a picture of it."""

    scores: Mapping[str, float]
    thumbnail: str
    """JPEG in base64."""
    asked: tuple[str, ...]
    """Scores that were asked for, sorted; filters may measure more."""


@dataclass(frozen=True)
class MadeSample:
    """A finished sample: the SHA-256 of its file, and its caption."""

    sha256: str
    caption: str


@dataclass(frozen=True)
class EncodedClip:
    """The files into which a clip was encoded."""

    sample: str
    """SHA-256 of the sample that was encoded."""
    identity: dict[str, Any]
    """The encoders, as `LatentCache.identity` describes them."""
    files: tuple[str, ...]
    """SHA-256 of each file, in the order of the plan's encodings."""


@dataclass(frozen=True)
class ClipsDone:
    """The number of clips of a task that are done, and by name the reasons why some are left out."""

    clips: int
    failed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ShardEntry:
    """The entry of a shard in the index of its split."""

    file: str
    samples: int
    bytes: int
    sha256: str


# -- calls of an isolated process ----------------------------------------------------------------------------------


class Call(Generic[Result]):
    """A request to an isolated process that returns a `Result`."""


@dataclass(frozen=True)
class LoadModels(Call[None]):
    """Load models ahead of the first call that needs them: "scorer", "maker", "encoder", or "none"."""

    models: str


@dataclass(frozen=True)
class LookThrough(Call[Look]):
    """Look through a video."""

    path: Path


@dataclass(frozen=True)
class LookAndScore(Call[Look]):
    """Look through a video and score its first clips while they pass."""

    path: Path
    video: str
    """The video's identifier."""


@dataclass(frozen=True)
class ScoreClip(Call[ScoredClip]):
    """Score one clip: the part of a video from `start` to `end`, in seconds."""

    path: Path
    start: float
    end: float


@dataclass(frozen=True)
class MakeSample(Call[MadeSample]):
    """Make and keep the sample of one clip."""

    path: Path
    key: str
    """The clip's name."""
    source: str
    """The video, as the sample is to name it."""
    start: float
    end: float


@dataclass(frozen=True)
class EncodeClip(Call[EncodedClip]):
    """Encode and keep the latents of the sample with this SHA-256."""

    key: str
    sha256: str


# -- JSON ----------------------------------------------------------------------------------------------------------

_TRAVELLING: dict[str, Any] = {
    kind.__name__: kind for kind in (VideoTask, ClipsTask, ShardTask, Failure, Look, ClipsDone, ShardEntry)
}


def to_text(message: Any) -> str:
    """Write a task or a result of a stage as JSON that names its class."""
    return json.dumps({"kind": type(message).__name__, **dataclasses.asdict(message)})


def from_text(text: str) -> Any:
    """Read what `to_text` wrote."""
    content = json.loads(text)
    return from_kept(_TRAVELLING[content.pop("kind")], content)


def as_kept(message: Any) -> dict[str, Any]:
    """Return a result as files hold it: without fields that have their default."""
    content = dataclasses.asdict(message)
    for item in dataclasses.fields(message):
        default = item.default if item.default_factory is dataclasses.MISSING else item.default_factory()
        if content[item.name] == default:
            del content[item.name]
    return content


def from_kept(kind: type[Message], content: Mapping[str, Any]) -> Message:
    """Read a message of class `kind` from a JSON object; keys that it does not know are ignored."""
    hints = _hints(kind)  # type: ignore[arg-type]  # mypy takes a type[T] for unhashable
    return kind(**{name: _value(hint, content[name]) for name, hint in hints.items() if name in content})


def result_or_failure(kind: type[Message], content: Any, name: str) -> Message | Failure | None:
    """Read a kept result of class `kind`, or the failure that was kept instead; None for None.

    None, too, for the content of another kind of file, as after files were exchanged; `name` is then noted as damaged.
    """
    if content is None:
        return None
    try:
        return from_kept(Failure, content) if "failed" in content else from_kept(kind, content)
    except (TypeError, KeyError, ValueError, AttributeError, StopIteration):
        note_damaged(f"{name}: does not hold a {kind.__name__}")
        return None


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {item.name: hints[item.name] for item in dataclasses.fields(kind)}


def _value(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    if get_origin(hint) is types.UnionType:
        hint = next(kind for kind in get_args(hint) if kind is not types.NoneType)
    if dataclasses.is_dataclass(hint):
        return from_kept(hint, value)  # type: ignore[arg-type]
    if get_origin(hint) is tuple:  # all tuples here are of values of one type
        return tuple(_value(get_args(hint)[0], each) for each in value)
    return value
