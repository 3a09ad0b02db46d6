"""Fields of a job in the HTTP API: made from the settings of `posegen generate` and `posegen preview`.

Names, defaults, ranges and documentation have their only home there. What differs is listed here: five settings are
files that are uploaded, and some belong to the server's owner.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from posegen.config import GenerateConfig, PreviewConfig, ServeConfig
from posegen.config.base import alternatives_of, ranges
from posegen.config.field_docs import field_docs
from posegen.config.limits import Range
from posegen.errors import PosegenError, with_python_names

FileKind = Literal["image", "video", "conditions", "pose", "normals"]
REQUIRED = ("driving",)
"""Settings that a command may do without, as with a motion file, which is no field of the API yet."""
UPLOADED: dict[str, tuple[str, FileKind]] = {
    "reference": ("reference", "image"),
    "driving": ("driving_video", "video"),
    "conditions": ("driving_conditions", "conditions"),
    "pose_file": ("pose_file", "pose"),
    "normals_file": ("normals_file", "normals"),
}
"""Settings that are files: their name in the API, and the kind of file."""
LEFT_OUT = {
    "output": "the server keeps the result",
    "device": "the server's owner chooses devices",
    "dry_run": "a preview shows the plan",
    "prompt_model": "the server's owner chooses weights",
    "pose_weights": "the server's owner chooses weights",
    "detector_weights": "the server's owner chooses weights",
    "normals_weights": "the server's owner chooses weights",
    "parts_weights": "the server's owner chooses weights",
    "trust_torchscript": "code of clients is never run",
}
"""Settings that are no fields, and why."""
NOT_OFFERED = ("sapiens1",)
"""Choices that jobs do not have: TorchScript files can run any code."""
OF_SERVER = ("pose_weights", "detector_weights", "normals_weights", "parts_weights")
"""Settings that jobs which need them take from those of the server."""
_OPTION = re.compile(r"(?<![\w-])--(?:no-)?([a-z][a-z0-9]*(?:-[a-z0-9]+)*)")
_CONDITIONS = (
    "A ZIP of the folder that `posegen extract` made from the driving video for the same model; by default they are "
    "extracted."
)
_LORA = "A LoRA file of the server's folder of LoRA files: NAME or NAME:STRENGTH. Repeat the field for each file."
_MODEL = "Model that makes the video, one of GET /v1/models."
_WORDS = (
    ("reference image", "reference"),
    ("driving video", "driving_video"),
    ("a part inside the video", "start"),
    ("height and width must be multiples", "size"),
)
"""Words of errors that tell which field is meant where no setting is named."""


class FieldError(PosegenError):
    """A field of a request cannot be used; `field` is its name, None where there is no single one."""

    def __init__(self, message: str, field: str | None, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.message, self.field, self.code = message, field, code

    def __str__(self) -> str:
        """Return the message: it is in the words of the API already."""
        return self.message


@dataclass(frozen=True)
class JobField:
    """A field of the API. kind: its type in JSON schema, or `file`; choices: all values that it can have, if few."""

    name: str
    setting: str
    kind: Literal["file", "string", "boolean", "integer", "number", "list"]
    description: str
    default: Any = None
    required: bool = False
    choices: tuple[str, ...] = ()
    limits: Range | None = None
    file: FileKind | None = None

    def schema(self) -> dict[str, Any]:
        """Return its JSON schema (OpenAPI 3.1)."""
        text = self.description
        if self.kind == "file":
            return {
                "description": f"{text} A file, or the id of an earlier upload (POST /v1/uploads).",
                "anyOf": [
                    {"type": "string", "contentMediaType": "application/octet-stream"},
                    {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                ],
            }
        if self.kind == "list":
            return {"type": "array", "items": {"type": "string"}, "description": text, "default": []}
        schema: dict[str, Any] = {"type": self.kind, "description": text}
        if self.default is not None:
            schema["default"] = self.default
        if self.choices:
            schema["enum"] = list(self.choices)
        if self.limits is not None:
            schema |= {"minimum": self.limits.low, "maximum": self.limits.high}
            if self.limits.unit:
                schema["description"] = f"{text} In {self.limits.unit}."
        return schema


def job_fields(kind: Any = GenerateConfig) -> dict[str, JobField]:
    """Return the fields of videos (`GenerateConfig`) or previews (`PreviewConfig`) by name."""
    return _fields_of(kind)


@cache
def _fields_of(kind: Any) -> dict[str, JobField]:
    docs, limits = field_docs(kind), ranges(kind)
    types = alternatives_of(kind)
    made = {}
    for each in fields(kind):
        if each.name in LEFT_OUT:
            continue
        name, file = UPLOADED.get(each.name, (each.name, None))
        allowed = [one for one in types[each.name] if one is not type(None)]
        choices = tuple(str(choice) for one in allowed if get_origin(one) is Literal for choice in get_args(one))
        choices = tuple(choice for choice in choices if choice not in NOT_OFFERED)
        text = {"conditions": _CONDITIONS, "lora": _LORA, "model": _MODEL}.get(each.name) or for_api(docs[each.name])
        made[name] = JobField(
            name=name,
            setting=each.name,
            kind="file" if file else _kind_of(allowed, bool(choices)),
            description=text,
            default=None if each.default is MISSING else each.default,
            required=each.default is MISSING or each.name in REQUIRED,
            choices=choices,
            limits=limits.get(each.name),
            file=file,
        )
    return made


def _kind_of(allowed: Sequence[Any], choices: bool) -> Literal["string", "boolean", "integer", "number", "list"]:
    if choices:
        return "string"
    if bool in allowed:
        return "boolean"
    if int in allowed:
        return "integer"
    if float in allowed:
        return "number"
    return "list" if any(get_origin(one) is tuple for one in allowed) else "string"


def for_api(text: str) -> str:
    """Return a text with settings named as fields of the API: `--driving` becomes driving_video."""
    parts = text.split("`")
    for at in range(1, len(parts), 2):  # an option with its value between backquotes
        if parts[at].startswith("--"):
            parts[at] = for_api_words(parts[at])
    return "`".join(part if at % 2 else for_api_words(part) for at, part in enumerate(parts))


def for_api_words(text: str) -> str:
    """Return a text without backquotes with settings named as fields of the API."""
    for setting, (name, _) in UPLOADED.items():
        text = re.sub(rf"(?<![\w-])--{setting.replace('_', '-')}(?![\w-])", name, text)
    return with_python_names(text)


def read_fields(given: Mapping[str, Sequence[str]], kind: type[GenerateConfig]) -> dict[str, Any]:
    """Convert texts of a form to values by field. Raises `FieldError`: an unknown, repeated or unreadable field."""
    known = {name: field for name, field in job_fields(kind).items() if field.kind != "file"}
    values: dict[str, Any] = {}
    for name, texts in given.items():
        if name not in known:
            raise FieldError(_unknown(name, job_fields(kind)), name, "unknown_field")
        field = known[name]
        if field.kind == "list":
            values[name] = list(texts)
            continue
        if len(texts) > 1:
            raise FieldError(f"{name} is given {len(texts)} times: give it once", name)
        values[name] = _value(field, texts[0])
    return values


def _unknown(name: str, known: Mapping[str, JobField]) -> str:
    if name in LEFT_OUT:
        return f"{name} is not a field of the API: {LEFT_OUT[name]}"
    if name in UPLOADED:
        return f"{name} is called {UPLOADED[name][0]} here"
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return f"there is no field {name!r:.80}: {hint}"


def _value(field: JobField, text: str) -> Any:
    word = text.strip()
    if field.kind == "boolean":
        if word.lower() in ("true", "1"):
            return True
        if word.lower() in ("false", "0"):
            return False
        raise FieldError(f"{field.name} {word!r:.80}: true or false is expected", field.name)
    if field.kind in ("integer", "number"):
        try:
            if not word.isascii() or "_" in word or len(word) > 60:
                raise ValueError
            return int(word) if field.kind == "integer" else float(word)
        except ValueError:
            what = "a whole number" if field.kind == "integer" else "a number"
            raise FieldError(f"{field.name} {word!r:.80}: {what} is expected", field.name) from None
    if field.choices and word not in field.choices:
        raise FieldError(f"{field.name} {word!r:.80}: one of {', '.join(field.choices)} is expected", field.name)
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise FieldError(f"{field.name} holds characters that are no text: remove them", field.name)
    return text


def make_config(
    kind: type[GenerateConfig],
    values: Mapping[str, Any],
    files: Mapping[str, Path],
    output: Path,
    server: ServeConfig,
    device: str = "auto",
) -> GenerateConfig:
    """Build the settings of a job from the values and files of its fields. Raises `FieldError`."""
    known = job_fields(kind)
    for name, field in known.items():
        if field.required and name not in files:
            raise FieldError(
                f"{name} is missing: {field.description[0].lower()}{field.description[1:]}", name, "missing"
            )
    settings: dict[str, Any] = {known[name].setting: value for name, value in values.items()}
    settings |= {known[name].setting: path for name, path in files.items()}
    model = settings.setdefault("model", server.models[0])
    if model not in server.models:
        raise FieldError(f"model {model!r:.80} is unknown: this server has {', '.join(server.models)}", "model")
    settings["lora"] = tuple(_lora(text, server) for text in settings.get("lora", ()))
    settings |= {name: getattr(server, name) for name in OF_SERVER if _wants(name, settings)}
    try:
        return kind(**settings, output=output, device=device)
    except PosegenError as error:
        raise explain(error) from None


def _wants(name: str, settings: Mapping[str, Any]) -> bool:
    choice = settings.get("pose" if name in ("pose_weights", "detector_weights") else "normals", "mediapipe")
    return choice not in ("mediapipe", "file")


def _lora(text: str, server: ServeConfig) -> str:
    """Return FILE:STRENGTH for a name of the server's folder of LoRA files. Raises `FieldError` for any other."""
    if server.loras is None:
        raise FieldError("lora: this server has no folder of LoRA files", "lora")
    names = sorted(path.name for path in server.loras.iterdir() if path.suffix == ".safetensors" and path.is_file())
    name = next((name for name in names if text == name or text.startswith(f"{name}:")), None)
    if name is None:
        raise FieldError(f"lora {text!r:.80}: this server has {', '.join(names) or 'none'}", "lora")
    return f"{server.loras / name}{text.removeprefix(name)}"


@dataclass(frozen=True)
class SentFile:
    """A file that a job uses: its path on the server, the field that it was sent for, and its name there."""

    path: Path
    field: str
    name: str

    def renamed(self, text: str) -> str:
        """Return a text with the client's name of the file instead of the server's."""
        return text.replace(str(self.path), self.name).replace(self.path.name, self.name)


def for_client(text: str, files: Sequence[SentFile]) -> str:
    """Return a text in the words of the API: its fields, and files by the names under which they were sent."""
    for file in files:
        text = file.renamed(text)
    return for_api(text)


def explain(error: PosegenError, files: Sequence[SentFile] = ()) -> FieldError:
    """Return an error in the words of the API, with the field that it is about."""
    if isinstance(error, FieldError):
        return error
    text, field = str(error.args[0]) if error.args else "", None
    for file in files:
        if str(file.path) in text or file.path.name in text:
            text, field = file.renamed(text), field or file.field
    if field is None:  # what is named first is what it is about
        known = job_fields(PreviewConfig)
        named = [(option.start(), option[1].replace("-", "_")) for option in _OPTION.finditer(text)]
        places = [(place, UPLOADED.get(name, (name,))[0]) for place, name in named]
        places += [(text.find(words), name) for words, name in _WORDS if words in text]
        field = min(((place, name) for place, name in places if name in known), default=(0, None))[1]
    return FieldError(for_api(text), field)
