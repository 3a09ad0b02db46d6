"""The corpus of `broken_inputs.py`: which good file is damaged how, and the command that reads it.

`{good}` in an argument is the folder of good files, `{in}` that of the case's damaged copies, `{out}` an empty folder
for results, `{url}` the address of `{in}` over HTTP on this machine, and `{port}` a port that is taken.
"""

import random
import re
import shutil
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import broken_inputs_damages as damages
from broken_inputs_damages import Damage
from broken_inputs_good import PICTURES, SOUNDS, VIDEOS

REFUSED, EITHER, ACCEPTED = "refused", "either", "accepted"


@dataclass(frozen=True)
class Case:
    """One broken input. file: in the folder of good files, as is `copied`, a folder or file around it of which the case
    gets a copy; expected: whether the command must refuse it."""

    kind: str
    damage: str
    command: tuple[str, ...]
    file: str
    copied: str
    break_it: Damage | None
    expected: str
    names_file: bool = True

    @property
    def name(self) -> str:
        """Unique, and stable between runs."""
        return f"{self.kind} / {self.damage} / {' '.join(self.command[:2])}"

    def place(self, good: Path, inputs: Path) -> Path:
        """Copy what is damaged, damage it, and return where it is."""
        target = inputs / Path(self.copied).name
        if self.copied:
            if (good / self.copied).is_dir():
                shutil.copytree(good / self.copied, target)
            else:
                shutil.copy(good / self.copied, target)
        broken = self.broken(inputs)
        if self.break_it is not None:
            self.break_it(broken, random.Random(zlib.crc32(self.name.encode())))
        return broken

    def broken(self, inputs: Path) -> Path:
        """Path of the damaged file."""
        return inputs / Path(self.copied).name / Path(self.file).relative_to(self.copied) if self.copied else inputs


@dataclass(frozen=True)
class _Subject:
    """A kind of file, and the command that reads it. copied: if it is a folder around the file."""

    kind: str
    file: str
    command: tuple[str, ...]
    copied: str = ""
    damaged: str = REFUSED
    """What is expected where no content is left."""
    partly: str = EITHER
    names_file: bool = True

    def cases(self, refused: Mapping[str, Damage], partial: Mapping[str, Damage]) -> Iterator[Case]:
        for found, expected in ((refused, self.damaged), (partial, self.partly)):
            for name, damage in found.items():
                yield Case(self.kind, name, self.command, self.file, self.copied or self.file, damage, expected,
                           self.names_file)  # fmt: skip


_SMALL = ("--size", "96x64", "--steps", "1", "--dtype", "float32", "--prompt", "A woman")
_REFERENCE, _DRIVING = ("--reference", "{good}/pictures/reference.png"), ("--driving", "{good}/videos/dance.mp4")
_MODEL, _RESULT = ("--model", "{good}/model"), ("--output", "{out}/result.mp4")
_PLAN = (*_SMALL, "--dry-run")
_METHODS = ("ours={good}/methods/ours", "theirs={good}/methods/theirs")
_SCORING = ("--output", "{out}/report", "--no-people", "--no-embedded", "--no-videos", "--protocol", "native")
_SHORT = ("empty", "text", "folder", "pipe", "missing")


def some(found: Mapping[str, Damage], *names: str) -> dict[str, Damage]:
    """Those damages."""
    return {name: found[name] for name in names}


def all_cases(good: Path) -> list[Case]:
    """The corpus, in one order."""
    cases = [
        *_pictures(good), *_videos(good), *_conditions(), *_keypoints(good), *_recipes(), *_lists(), *_shards(),
        *_evaluation(), *_models(good), *_jobs(good), *_trained(good), *_screening(), *_options(),
    ]  # fmt: skip
    names = [case.name for case in cases]
    double = {name for name in names if names.count(name) > 1}
    if double:
        raise ValueError(f"cases with one name: {sorted(double)}")
    return cases


def _pictures(good: Path) -> Iterator[Case]:
    swapped = {"a video's content": damages.other_content(good / "videos" / "dance.mp4")}
    for suffix in PICTURES:
        file, kind = f"pictures/reference.{suffix}", f"picture {suffix}"
        prompt = _Subject(kind, file, ("prompt", "--reference", f"{{in}}/reference.{suffix}", "--framing", "half-body"))
        yield from prompt.cases(damages.REFUSED | swapped, damages.PARTIAL)
        plan = _Subject(kind, file, ("generate", "--reference", f"{{in}}/reference.{suffix}", *_DRIVING, *_MODEL,
                                     *_RESULT, *_PLAN))  # fmt: skip
        yield from plan.cases(some(damages.REFUSED, *_SHORT[:2]), some(damages.PARTIAL, "half", "bits"))
        if suffix in damages.HUGE_PICTURE:
            yield from prompt.cases({"huge size": damages.HUGE_PICTURE[suffix]}, {})


def _videos(good: Path) -> Iterator[Case]:
    swapped = {"a picture's content": damages.other_content(good / "pictures" / "reference.png")}
    for suffix in VIDEOS:
        file, kind = f"videos/dance.{suffix}", f"video {suffix}"
        video = f"{{in}}/dance.{suffix}"
        plan = _Subject(kind, file, ("generate", "--driving", video, *_REFERENCE, *_MODEL, *_RESULT, *_PLAN))
        yield from plan.cases(damages.REFUSED | (swapped if suffix != "gif" else {}), damages.PARTIAL)
        extract = _Subject(kind, file, ("extract", "--driving", video, "--output", "{out}/conditions", "--no-hands",
                                        "--size", "96x64"))  # fmt: skip
        if suffix in ("mp4", "webm", "ts"):
            yield from extract.cases(some(damages.REFUSED, "empty"), damages.PARTIAL)
    whole = _Subject("video mp4", "videos/dance.mp4", ("preview", "--driving", "{in}/dance.mp4", *_REFERENCE, *_MODEL,
                                                       *_RESULT, *_SMALL))  # fmt: skip
    yield from whole.cases(some(damages.REFUSED, *_SHORT), some(damages.PARTIAL, "half", "bits", "middle lost"))
    for suffix in SOUNDS:
        sound = _Subject(f"sound {suffix}", f"sounds/dance.{suffix}", (
            "generate", "--driving", f"{{in}}/dance.{suffix}", *_REFERENCE, *_MODEL, *_RESULT, *_PLAN))  # fmt: skip
        yield from sound.cases(some(damages.REFUSED, "noise"), damages.PARTIAL)


def _conditions() -> Iterator[Case]:
    plan = ("generate", *_REFERENCE, *_DRIVING, *_MODEL, *_RESULT, "--steps", "1", "--dtype", "float32", "--prompt",
            "A woman", "--no-person-check", "--conditions", "{in}/conditions")  # fmt: skip
    folder = "made/conditions"
    for file in ("skeleton.mkv", "hands.mkv", "keypoints.npz", "manifest.json"):
        dry = _Subject(f"conditions {file}", f"{folder}/{file}", (*plan, "--dry-run"), folder, EITHER)
        full = _Subject(f"conditions {file}", f"{folder}/{file}", (*plan, "--seed", "1"), folder)
        partial = damages.PARTIAL
        if file.endswith(".npz"):
            partial = partial | damages.NPZ_PARTIAL | damages.NPZ_REFUSED
        elif file.endswith(".json"):
            partial = partial | {f"value {number}": damages.json_value for number in range(6)}
            yield from dry.cases(damages.JSON_REFUSED, {})
        yield from dry.cases(some(damages.REFUSED, *_SHORT), partial)
        renamed = {f"{name}, full": damage for name, damage in some(damages.PARTIAL, "half", "bits").items()}
        yield from full.cases({}, renamed)
    whole = _Subject("conditions folder", folder, (*plan, "--dry-run"), folder)
    yield from whole.cases(damages.FOLDER_REFUSED, {})
    for name, option in (("skeleton.mkv", "pose"), ("hands.mkv", "normals")):
        more = () if option == "normals" else ("--no-hands",)
        command = ("extract", *_DRIVING, "--output", "{out}/conditions", "--size", "96x64", f"--{option}", "file",
                   f"--{option}-file", f"{{in}}/{name}", *more)  # fmt: skip
        subject = _Subject(f"{option} video", f"{folder}/{name}", command)
        yield from subject.cases(damages.REFUSED, damages.PARTIAL)


_ALL_DAMAGES = ("coco-results", "openpose-folder", "dwpose-npz", "mediapipe", "own")
"""Forms that get every damage; others get the ones that change single values."""


def _keypoints(good: Path) -> Iterator[Case]:
    for folder in sorted(path for path in (good / "keypoints").iterdir() if path.is_dir()):
        found = sorted(path for path in folder.rglob("*") if path.is_file())
        file = found[len(found) // 2]
        inside = file.parent != folder
        copied = str(file.parent.relative_to(good)) if inside else ""
        read = f"{{in}}/{file.parent.name}" if inside else f"{{in}}/{file.name}"
        command = ("extract", *_DRIVING, "--output", "{out}/conditions", "--no-hands", "--size", "96x64", "--pose",
                   "file", "--pose-file", read)  # fmt: skip
        gone = EITHER if inside else REFUSED  # a folder with gaps is one
        subject = _Subject(f"keypoints {folder.name}", str(file.relative_to(good)), command, copied, gone)
        single = {f"value {number}": damages.json_value for number in range(3)}
        if file.suffix == ".npz":
            single = damages.NPZ_PARTIAL | damages.NPZ_REFUSED
        if folder.name in _ALL_DAMAGES:
            refused = damages.REFUSED | (damages.JSON_REFUSED if file.suffix == ".json" else {})
            yield from subject.cases(refused, damages.PARTIAL | single)
        else:
            yield from subject.cases(some(damages.REFUSED, "text"), some(damages.PARTIAL, "half", "bits") | single)
        if inside:
            whole = _Subject(f"keypoints {folder.name}", copied, command, copied)
            yield from whole.cases(damages.FOLDER_REFUSED, {})


def _recipes() -> Iterator[Case]:
    lines = {f"line {number}": damages.line_of_text for number in range(14)}
    train = _Subject("training recipe", "train/recipe.toml", ("train", "base", "--recipe", "{in}/recipe.toml",
                                                              "--dry-run"))  # fmt: skip
    yield from train.cases(damages.REFUSED | damages.TEXT_REFUSED, damages.PARTIAL | lines)
    prepare = _Subject("prepare recipe", "prepare/recipe.toml", (
        "prepare", "{good}/no such video.mp4", "--recipe", "{in}/recipe.toml", "--output", "{out}/set"),
        partly=REFUSED)  # fmt: skip
    left = {name: damage for name, damage in damages.REFUSED.items() if name != "empty"}  # all have defaults
    yield from prepare.cases(left | damages.TEXT_REFUSED, {})
    unnamed = _Subject(prepare.kind, prepare.file, prepare.command, partly=REFUSED, names_file=False)
    yield from unnamed.cases({}, damages.PARTIAL | lines)


def _lists() -> Iterator[Case]:
    for suffix in ("txt", "json"):
        more = damages.JSON_REFUSED if suffix == "json" else {}
        # a list without a video that is there cannot give a data set, whatever else is said
        for place in ("{in}", "{url}"):
            command = ("prepare", f"{place}/list.{suffix}", "--output", "{out}/set", "--recipe",
                       "{good}/prepare/recipe.toml")  # fmt: skip
            subject = _Subject(f"list {suffix}{' over HTTP' if place == '{url}' else ''}", f"prepare/list.{suffix}",
                               command)  # fmt: skip
            gone = damages.REFUSED if place == "{in}" else some(damages.REFUSED, "missing", "empty", "zeros", "noise")
            if suffix == "txt":  # anything but bytes that are no text is a list of names
                gone = {name: damage for name, damage in gone.items() if name not in ("text", "web page")}
            yield from subject.cases(gone | more, {})
    for suffix in ("txt", "json"):
        command = ("prepare", f"{{in}}/list.{suffix}", "--refilter", "--output", "{out}/set")
        yield from _Subject(f"list {suffix}, refilter", f"prepare/list.{suffix}", command, names_file=False).cases(
            some(damages.REFUSED, "empty", "zeros"), some(damages.PARTIAL, "bits"))  # fmt: skip


def _shards() -> Iterator[Case]:
    folder = "train/shards"
    command = ("train", "vae", "--recipe", "{good}/train/recipe.toml", "--output", "{out}/run", "--data", "{in}/shards",
               "--validation", "{good}/train/shards", "--cache", "{out}/cache")  # fmt: skip
    shard = _Subject("shard", f"{folder}/train-000000.tar", command, folder)
    yield from shard.cases(damages.REFUSED, damages.PARTIAL | damages.TAR_PARTIAL)
    index = _Subject("index of shards", f"{folder}/train.json", command, folder, EITHER)
    values = {f"value {number}": damages.json_value for number in range(4)}
    yield from index.cases(some(damages.REFUSED, "empty", "text") | damages.JSON_REFUSED, values)
    remote = tuple(argument.replace("{in}", "{url}") for argument in command)
    subject = _Subject("index of shards over HTTP", f"{folder}/train.json", remote, folder)
    yield from subject.cases(some(damages.REFUSED, "missing", "empty", "noise", "text") | damages.JSON_REFUSED, values)
    content = _Subject("shard over HTTP", f"{folder}/train-000000.tar", remote, folder)
    yield from content.cases(some(damages.REFUSED, "missing", "empty", "noise"), some(damages.PARTIAL, "half", "bits"))
    made = ("synth", "--output", "{in}/synthetic", "--clips", "2", "--frames", "3", "--size", "64x64",
            "--clips-per-shard", "1", "--workers", "0")  # fmt: skip
    synthetic = _Subject("synthetic shard", "made/synthetic/train-000000.tar", made, "made/synthetic", EITHER, EITHER)
    yield from synthetic.cases(some(damages.REFUSED, *_SHORT), some(damages.PARTIAL, "half", "bits"))
    entry = _Subject("index of synthetic shards", "made/synthetic/train.json", made, "made/synthetic", EITHER, EITHER)
    yield from entry.cases(some(damages.REFUSED, *_SHORT) | damages.JSON_REFUSED, some(damages.PARTIAL, "half", "bits"))


def _evaluation() -> Iterator[Case]:
    lines = {f"line {number}": damages.line_of_text for number in range(10)}
    scoring = ("evaluate", "--benchmark", "{in}/evaluation", "--methods", _METHODS[0], *_SCORING, "--cache",
               "{out}/scores")  # fmt: skip
    description = _Subject("benchmark.yaml", "evaluation/benchmark.yaml", scoring, "evaluation")
    yield from description.cases(damages.REFUSED | damages.YAML_REFUSED, damages.PARTIAL | lines)
    ablation = ("ablate", "hand-normals", "--benchmark", "{in}/evaluation", "--output", "{out}/ablation", *_MODEL)
    yield from _Subject("benchmark.yaml", "evaluation/benchmark.yaml", ablation, "evaluation").cases(
        some(damages.REFUSED, *_SHORT) | damages.YAML_REFUSED, {})  # fmt: skip
    asking = ("study", "--benchmark", "{in}/evaluation", "--methods", *_METHODS, "--output", "{out}/study", "--results")
    yield from _Subject("benchmark.yaml", "evaluation/benchmark.yaml", asking, "evaluation").cases(
        some(damages.REFUSED, *_SHORT) | damages.YAML_REFUSED, {})  # fmt: skip
    for kind, file in (("benchmark reference", "reference.png"), ("benchmark truth", "one.mp4"),
                       ("frame of a truth", "two/0005.png")):  # fmt: skip
        subject = _Subject(kind, f"evaluation/{file}", scoring, "evaluation", EITHER)
        unnamed = kind == "frame of a truth"  # one that is missing is seen by the number of frames only
        gone = {name: damage for name, damage in damages.REFUSED.items() if name != "missing" or not unnamed}
        yield from subject.cases(gone, some(damages.PARTIAL, "half", "bits", "no header"))
    results = ("evaluate", "--benchmark", "{good}/evaluation", "--methods", "ours={in}/ours", *_SCORING, "--cache",
               "{out}/scores")  # fmt: skip
    for kind, file in (("result of a method", "one.mp4"), ("frame of a result", "two/0005.png")):
        subject = _Subject(kind, f"methods/ours/{file}", results, "methods/ours")
        unnamed = kind == "frame of a result"
        gone = {name: damage for name, damage in damages.REFUSED.items() if name != "missing" or not unnamed}
        yield from subject.cases(gone, some(damages.PARTIAL, "half", "bits", "no header"))
    yield from _Subject("folder of a method", "methods/ours", results, "methods/ours").cases(damages.FOLDER_REFUSED, {})
    answers = ("study", "--benchmark", "{good}/evaluation", "--methods", *_METHODS, "--output", "{in}/study",
               "--results")  # fmt: skip
    database = _Subject("answers of a study", "made/study/answers.sqlite", answers, "made/study")
    gone = {name: damage for name, damage in damages.REFUSED.items() if name not in ("missing", "empty")}
    yield from database.cases(gone, damages.PARTIAL | damages.SQLITE_PARTIAL)
    for kind, file in (("tiktok", "one.mp4"), ("pairs", "reference.png")):
        making = ("benchmark", kind, "--source", "{in}/evaluation", "--output", "{out}/benchmark")
        subject = _Subject(f"source of a benchmark ({kind})", f"evaluation/{file}", making, "evaluation", EITHER)
        yield from subject.cases(damages.REFUSED, some(damages.PARTIAL, "half", "bits", "no header"))


def _models(good: Path) -> Iterator[Case]:
    plan = ("generate", *_REFERENCE, *_DRIVING, "--model", "{in}/model", *_RESULT, *_PLAN)
    full = ("generate", *_REFERENCE, *_DRIVING, "--model", "{in}/model", *_RESULT, "--steps", "1", "--dtype", "float32",
            "--prompt", "A woman", "--no-person-check", "--conditions", "{good}/made/conditions")  # fmt: skip
    values = {f"value {number}": damages.json_value for number in range(5)}
    for path in sorted((good / "model").rglob("*.json")):
        file = str(path.relative_to(good))
        first = file in ("model/model_index.json", "model/transformer/config.json", "model/vae/config.json")
        subject = _Subject(f"model {path.relative_to(good / 'model')}", file, full, "model", EITHER)
        gone = damages.REFUSED | damages.JSON_REFUSED if first else some(damages.REFUSED, "empty", "text")
        yield from subject.cases(gone, values if first else some(damages.PARTIAL, "half") | some(values, "value 0"))
        if first:
            dry = _Subject(subject.kind, file, plan, "model", EITHER)
            yield from dry.cases({f"{name}, dry run": damage for name, damage in some(gone, *_SHORT).items()}, {})
    for path in sorted((good / "model").rglob("*.safetensors")):
        file = str(path.relative_to(good))
        subject = _Subject(f"model {path.relative_to(good / 'model')}", file, full, "model")
        if path.parent.name == "transformer":
            yield from subject.cases(
                damages.REFUSED | damages.SAFETENSORS_REFUSED, damages.PARTIAL | damages.SAFETENSORS_PARTIAL
            )
        else:
            yield from subject.cases(some(damages.REFUSED, "missing", "text"), some(damages.PARTIAL, "half"))
    folder = ("demo", "--model", "{in}/model", "--output", "{out}/demo.mp4")
    yield from _Subject("model folder", "model", folder, "model").cases(damages.FOLDER_REFUSED, {})
    styled = (*full, "--lora", "{in}/style.safetensors")
    styled = tuple(argument.replace("{in}/model", "{good}/model") for argument in styled)
    lora = _Subject("LoRA file", "lora/style.safetensors", styled)
    yield from lora.cases(damages.REFUSED | damages.SAFETENSORS_REFUSED, damages.PARTIAL | damages.SAFETENSORS_PARTIAL)


def _jobs(good: Path) -> Iterator[Case]:
    listing = ("jobs", "{in}/job")
    again = ("generate", *_REFERENCE, *_DRIVING, *_MODEL, "--output", "{in}/job/result.mp4", *_SMALL)
    for path in sorted((good / "made" / "job" / "result.posegen").rglob("*")):
        if not path.is_file() or path.name == "lock" or path.stat().st_size == 0:
            continue
        file = str(path.relative_to(good))
        kind = f"job's {re.sub('job-[0-9a-f]+/', '', file.partition('.posegen/')[2])}"
        if path.suffix == ".json":
            subject = _Subject(kind, file, listing, "made/job", EITHER, ACCEPTED)
            values = {f"value {number}": damages.json_value for number in range(3)}
            yield from subject.cases(damages.REFUSED | damages.JSON_REFUSED, values)
        resumed = _Subject(kind, file, again, "made/job", EITHER, EITHER)
        yield from resumed.cases(some(damages.REFUSED, "empty", "folder"), some(damages.PARTIAL, "half", "bits"))
    whole = _Subject("result of a job", "made/job/result.mp4", again, "made/job", EITHER, EITHER)
    yield from whole.cases(some(damages.REFUSED, *_SHORT), some(damages.PARTIAL, "half", "bits"))
    removal = ("jobs", "{in}/job", "--clean", "all", "--yes")
    manifest = next((good / "made" / "job" / "result.posegen").glob("job-*/manifest.json"), None)
    if manifest is not None:
        file = str(manifest.relative_to(good))
        subject = _Subject("job manifest, removal", file, removal, "made/job", EITHER, EITHER)
        yield from subject.cases(damages.REFUSED | damages.JSON_REFUSED, {})


def _trained(good: Path) -> Iterator[Case]:
    shards = ("--data", "{good}/train/shards", "--validation", "{good}/train/shards")
    again = ("train", "vae", "--recipe", "{good}/train/recipe.toml", "--output", "{in}/run", *shards, "--cache",
             "{out}/cache")  # fmt: skip
    checkpoints = sorted(path for path in (good / "made" / "run" / "vae").rglob("state.json"))
    for path in sorted(checkpoints[-1].parent.iterdir()) if checkpoints else ():
        subject = _Subject(f"checkpoint {path.name}", str(path.relative_to(good)), again, "made/run", EITHER, EITHER)
        yield from subject.cases(some(damages.REFUSED, *_SHORT), some(damages.PARTIAL, "half", "bits"))
    log = _Subject("training log", "made/run/vae/metrics.jsonl", again, "made/run", EITHER, EITHER)
    yield from log.cases(some(damages.REFUSED, "text", "noise", "folder"), some(damages.PARTIAL, "half", "bits"))
    encode = ("train", "base", "--recipe", "{good}/train/recipe.toml", "--output", "{out}/run", *shards, "--cache",
              "{in}/cache", "--init", "{good}/model")  # fmt: skip
    cached = sorted(path for path in (good / "made" / "cache").rglob("*.safetensors"))
    if cached:
        subject = _Subject("cached latents", str(cached[0].relative_to(good)), encode, "made/cache", EITHER, ACCEPTED)
        yield from subject.cases(some(damages.REFUSED, *_SHORT), some(damages.PARTIAL, "half", "bits"))
    scores = sorted(path for path in (good / "made" / "scores").rglob("*") if path.is_file())
    command = ("evaluate", "--benchmark", "{good}/evaluation", "--methods", _METHODS[0], *_SCORING, "--cache",
               "{in}/scores")  # fmt: skip
    for path in {path.suffix: path for path in scores}.values():
        subject = _Subject(f"cached scores {path.suffix}", str(path.relative_to(good)), command, "made/scores",
                           EITHER, ACCEPTED)  # fmt: skip
        yield from subject.cases(some(damages.REFUSED, *_SHORT), some(damages.PARTIAL, "half", "bits"))


def _screening() -> Iterator[Case]:
    command = ("screen", "{in}/screening", "--port", "{port}")  # a page that could be opened ends for want of a port
    index = _Subject("index.parquet", "screening/index.parquet", command, "screening")
    yield from index.cases(damages.REFUSED, {})
    # what can still be opened is refused for want of the port: the line names that, not the file
    partly = _Subject("index.parquet", "screening/index.parquet", command, "screening", names_file=False)
    yield from partly.cases({}, damages.PARTIAL)
    answers = _Subject("screening.sqlite", "screening/screening.sqlite", command, "screening", names_file=False)
    yield from answers.cases(damages.REFUSED, damages.PARTIAL | damages.SQLITE_PARTIAL)


_WRONG_OPTIONS: tuple[tuple[str, ...], ...] = (
    ("generate",),
    ("generate", *_REFERENCE, *_DRIVING, *_RESULT, "--size", "0x0"),
    ("generate", *_REFERENCE, *_DRIVING, *_RESULT, "--size", "999999x999999"),
    ("generate", *_REFERENCE, *_DRIVING, *_RESULT, "--fps", "0/0"),
    ("generate", *_REFERENCE, *_DRIVING, *_RESULT, "--steps", "99999999999999999999"),
    ("generate", *_REFERENCE, *_DRIVING, *_RESULT, "--guidance", "nan"),
    ("generate", *_REFERENCE, *_DRIVING, *_RESULT, "--seed", "-1"),
    ("generate", *_REFERENCE, *_DRIVING, *_RESULT, "--start", "5", "--end", "3"),
    ("generate", *_REFERENCE, *_DRIVING, *_RESULT, "--start", "1000"),
    ("generate", *_REFERENCE, *_DRIVING, *_RESULT, "--model", "no-such-model"),
    ("generate", *_REFERENCE, *_DRIVING, *_RESULT, "--device", "abacus"),
    ("generate", *_REFERENCE, *_DRIVING, *_RESULT, "--lora", ":"),
    ("generate", *_REFERENCE, *_DRIVING, *_RESULT, "--memory-budget", "much"),
    ("generate", *_REFERENCE, *_DRIVING, "--output", "{out}/result.avi"),
    ("generate", *_REFERENCE, *_DRIVING, "--output", "{good}/videos/dance.mp4/result.mp4"),
    ("generate", *_REFERENCE, *_DRIVING, "--output", "{good}/videos/dance.mp4"),
    ("generate", *_REFERENCE, *_DRIVING, "--output", "{out}/" + 300 * "a" + ".mp4"),
    ("generate", *_REFERENCE, *_DRIVING, *_RESULT, "--prompt", ""),
    ("generate", *_REFERENCE, *_DRIVING, *_RESULT, "--anchor", "77", *_SMALL),
    ("generate", "--reference", "/dev/null", *_DRIVING, *_RESULT),
    ("generate", *_REFERENCE, "--driving", "/dev/null", *_RESULT),
    ("generate", *_REFERENCE, "--driving", "{good}", *_RESULT),
    ("extract", *_DRIVING, "--output", "/dev/null/conditions"),
    ("extract", *_DRIVING, "--output", "{out}/c", "--start", "900"),
    ("extract", *_DRIVING, "--output", "{out}/c", "--pose", "file"),
    ("extract", *_DRIVING, "--output", "{out}/c", "--pose", "vitpose", "--pose-weights", "{good}/model"),
    ("extract", *_DRIVING, "--output", "{out}/c", "--pose", "sapiens1", "--pose-weights", "{good}/prepare/list.txt"),
    ("preview", *_REFERENCE, *_DRIVING, "--output", "{good}/prepare/list.txt/x.mp4", *_MODEL, *_SMALL),
    ("prompt", *_REFERENCE, "--subject", " , "),
    ("prompt", *_REFERENCE, "--prompt-model", "{good}/model"),
    ("prompt", *_REFERENCE, "--framing", "sideways"),
    ("synth", "--output", "{good}/prepare/list.txt"),
    ("synth", "--output", "{out}/s", "--frames", "-3"),
    ("synth", "--output", "{out}/s", "--size", "axb"),
    ("synth", "--output", "{out}/s", "--contact-sheet", "{out}/sheet.doc"),
    ("prepare", "{good}/videos/nothing*.mp4", "--output", "{out}/set"),
    ("prepare", "nosuchkind://host/a.mp4", "--output", "{out}/set"),
    ("prepare", "http://127.0.0.1:{port}0/a.mp4", "--output", "{out}/set"),
    ("prepare", "--refilter", "--output", "{out}/set"),
    ("train", "base", "--recipe", "mini"),
    ("train", "base", "--recipe", "no-such-recipe", "--dry-run"),
    ("train", "nothing", "--recipe", "mini", "--dry-run"),
    ("train", "vae", "--recipe", "{good}/train/recipe.toml", "--output", "{out}/run", "--data", "{good}/pictures"),
    ("train", "base", "--recipe", "{good}/train/recipe.toml", "--output", "{out}/run", "--data", "{good}/train/shards",
     "--validation", "{good}/train/shards", "--cache", "{out}/cache", "--init", "{good}/pictures"),
    ("evaluate", "--benchmark", "{good}/evaluation", "--methods", "ours", "--output", "{out}/report"),
    ("evaluate", "--benchmark", "{good}/evaluation", "--methods", "ours={good}/nowhere", "--output", "{out}/report"),
    ("evaluate", "--benchmark", "{good}/evaluation", "--methods", _METHODS[0], "--output", "{good}/prepare/list.txt"),
    ("evaluate", "--benchmark", "{good}/evaluation", "--methods", _METHODS[0], "--output", "{out}/report", "--lpips",
     "{good}/prepare/list.txt"),
    ("evaluate", "--benchmark", "{good}/evaluation", "--methods", _METHODS[0], "--output", "{out}/report",
     "--inception", "{good}/lora/style.safetensors"),
    ("evaluate", "--benchmark", "{good}/evaluation", "--methods", _METHODS[0], "--output", "{out}/report", "--i3d",
     "{good}/pictures/reference.png"),
    ("evaluate", "--benchmark", "{good}/evaluation", "--methods", _METHODS[0], "--output", "{out}/report", "--arcface",
     "{good}/prepare/list.json"),
    ("evaluate", "--benchmark", "{good}/evaluation", "--methods", _METHODS[0], "--output", "{out}/report", "--resnet3d",
     "{good}/prepare/list.json"),
    ("benchmark", "pairs", "--output", "{out}/b"),
    ("benchmark", "pairs", "--source", "{good}/prepare", "--output", "{out}/b"),
    ("benchmark", "val-same", "--output", "{out}/b", "--fps", "1000"),
    ("ablate", "nothing", "--output", "{out}/a"),
    ("ablate", "sharing", "--output", "{out}/a", "--model", "{good}/pictures"),
    ("study", "--benchmark", "{good}/evaluation", "--methods", "a=b", "--output", "{out}/study"),
    ("study", "--benchmark", "{good}/evaluation", "--methods", *_METHODS, "--output", "{out}/study", "--port",
     "{port}"),
    ("screen", "{good}/pictures"),
    ("screen", "{good}/screening", "--token", "?"),
    ("jobs", "{good}/nowhere"),
    ("jobs", "{good}/prepare/list.txt"),
    ("jobs", "{good}/made/job", "--clean", "all"),
    ("models", "--all"),
    ("setup", "everything"),
    ("demo", "--output", "{good}/prepare/list.txt/demo.mp4"),
    ("demo", "--output", "{out}/demo.mp4", "--model", "{good}/pictures"),
    ("demo", "--output", "{out}/demo.mp4", "--steps", "0"),
    ("no-such-command",),
    (),
)  # fmt: skip


def _options() -> Iterator[Case]:
    for number, command in enumerate(_WRONG_OPTIONS):
        yield Case("options", f"wrong option {number}", command, "", "", None, REFUSED, False)
