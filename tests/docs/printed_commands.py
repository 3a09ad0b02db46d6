"""Every command that the pages print, and how the tests run it: as printed -> the same command, small.

`STORIES` run in order, each in one folder, as a reader would: later commands take what earlier ones left.
`RUN_ELSEWHERE` names the test that runs a command already; the command as printed is parsed here. `READ_ONLY` are
commands that need what no test has; the program's own parser reads their words. Each entry says why it is not run as
printed.
"""

import shlex
from dataclasses import dataclass, field, fields
from typing import get_args

from posegen.apps import cli


@dataclass(frozen=True)
class Small:
    """A command that is run."""

    printed: str
    changes: dict[str, str] = field(default_factory=dict)
    """Options that are given another value, or given at all."""
    why: str = ""
    exit_code: int = 0
    says: str = ""
    """What it must say, on either stream."""
    makes: tuple[str, ...] = ()
    """Files that it must leave, not empty."""
    process: bool = False
    """Run in a process of its own, as a shell does; the others run in that of the tests, where PyTorch is loaded."""

    def words(self) -> list[str]:
        """The words of the same command, small."""
        words = shlex.split(self.printed)
        for option, value in self.changes.items():
            if option in words[:-1]:
                words[words.index(option) + 1] = value
            elif option == words[-1]:  # named by the page without a value
                words.append(value)
            else:
                words += [option, value] if value else [option]
        return words


@dataclass(frozen=True)
class Elsewhere:
    """A command that another test runs."""

    printed: str
    test: str
    """FILE::FUNCTION."""
    why: str


@dataclass(frozen=True)
class ReadOnly:
    """A command whose words are read by its program, and which is not run."""

    printed: str
    why: str
    completed: str = ""
    """What is missing where the page names only a part of a command."""


VAL_SAME = "--benchmark outputs/val-same --methods ours=results/ours theirs=results/theirs"
TRAIN_MINI = "--recipe mini --output runs/mini --data data/train --validation data/val-same"
FEW_STEPS = "a segment of a few denoising steps shows what the command does"
ONE_STEP = {"--recipe": "small.toml", "--cache": "data/cache"}
WHY_ONE_STEP = "the printed recipe with one step of two small clips in each phase, and a narrow transformer"
FOURTEEN_B = "the 14B base and eight GPUs"

SMALLER_RECIPE = {
    r"^steps = \d+": "steps = 1",
    r"^num_frames = (?:17|33)": "num_frames = 9",
    r"^of_frames = 33": "of_frames = 9",
    r"^batch_size = \d+": "batch_size = 2",
    r"^crop = 128": "crop = 32",
    r"^fit_clips = 48": "fit_clips = 2",
    r"^validation_clips = 8": "validation_clips = 1",
    r"^encoders = 14": "encoders = 1",  # processes, each of which would load the model
    r"^compile = true": "compile = false",  # minutes of compiling for one step
    r'^start = "scratch:mini"': 'start = "scratch:mini"\nlayers = 2\nheads = 1',
}
"""Lines of the recipe `mini`, and what stands for them in `small.toml`. Each must occur."""

STORIES: dict[str, tuple[Small | str, ...]] = {
    # a string: something that the reader does without a command
    "make a video": (
        Small("posegen extract --driving dance.mp4 --output folder",
              {"--end": "0.5", "--size": "128x80"}, "eight small frames",
              makes=("folder/keypoints.npz", "folder/skeleton.mkv", "folder/hands.mkv", "folder/overlay.mp4")),
        Small("posegen prompt --reference me.png", says="wearing a light blue top"),
        Small("posegen preview", {"--reference": "person.png", "--driving": "dance.mp4", "--output": "result.mp4",
                                  "--end": "0.5", "--size": "128x80", "--model": "{narrow}"},
              "the page says: with the options of `generate`", makes=("result_preview.png", "result_preview.mp4")),
        Small("posegen preview --reference person.png --driving dance.mp4 --output result.mp4",
              {"--end": "0.5", "--size": "128x80", "--model": "{narrow}"}, "half a second",
              makes=("result_preview.png", "result_preview.mp4")),
        Small("posegen generate --reference person.png --driving dance.mp4 --output result.mp4",
              {"--end": "0.5", "--size": "128x80", "--steps": "1", "--model": "{narrow}"}, FEW_STEPS,
              makes=("result.mp4",)),
        Small("posegen generate --reference person.png --driving dance.mp4 --output result.mp4 --prompt "
              "'A realistic video of a woman in a red dress in a living room. The camera does not move.'",
              {"--end": "0.5", "--size": "128x80", "--steps": "1", "--model": "{narrow}"}, FEW_STEPS,
              makes=("result.mp4",)),
        Small("posegen motion walk.bvh", says="left_wrist = LeftHand", makes=("walk_motion.mp4",)),
        Small("posegen generate --reference person.png --motion walk.bvh --output result.mp4",
              {"--end": "0.5", "--size": "128x80", "--steps": "1", "--model": "{narrow}"}, FEW_STEPS,
              says="camera: at the person's front", makes=("result.mp4",)),
        Small("posegen jobs", says="result.mp4", process=True),
        Small("posegen jobs --clean finished", {"--yes": ""}, "nobody is there to be asked", says="freed",
              process=True),
        Small("posegen preview --reference me.png --driving dance.mp4 --output result.mp4 --pose sapiens2",
              why="without the weights, which the page has fetched before: it must ask for the same ones",
              exit_code=2, says="facebook/sapiens2-pose-1b"),
    ),
    "score results": (
        Small("posegen benchmark val-same --output outputs/val-same --clips 4",
              {"--clips": "1", "--seconds": "0.5"},
              "one clip of eight frames, at the command's own size",
              makes=("outputs/val-same/benchmark.yaml",)),
        Small("posegen benchmark tiktok --source TikTok_dataset --output outputs/tiktok",
              makes=("outputs/tiktok/benchmark.yaml",)),
        Small("posegen benchmark tiktok --source FOLDER --output benchmarks/tiktok",
              {"--source": "TikTok_dataset"}, "the folder's name", makes=("benchmarks/tiktok/benchmark.yaml",)),
        Small("posegen benchmark pairs --source FOLDER --output benchmarks/mine", {"--source": "pairs"},
              "the folder's name", makes=("benchmarks/mine/benchmark.yaml",)),
        Small(f"posegen evaluate {VAL_SAME} --output report", {"--cache": "scores"},
              "scores of other runs are not to be taken", makes=("report/report.html", "report/scores.csv")),
        "somebody answers the study",
        Small(f"posegen study {VAL_SAME} --output study --results", makes=("study/study.md",)),
    ),
    "train the mini": (
        Small("posegen synth --output data/train --clips 1344",
              {"--clips": "2", "--size": "64x64", "--frames": "9", "--workers": "0"}, "two tiny clips, in this process",
              makes=("data/train/train-000000.tar",)),
        Small("posegen synth --output data/val-same --clips 16 --split val-same",
              {"--clips": "1", "--size": "64x64", "--frames": "9", "--workers": "0"}, "one tiny clip, in this process",
              makes=("data/val-same/val-same-000000.tar",)),
        Small("posegen synth --output data/val-cross --split val-cross --clips 20",
              {"--clips": "1", "--size": "64x64", "--frames": "9", "--workers": "0"}, "one tiny clip, in this process",
              makes=("data/val-cross/val-cross-000000.tar",)),
        *(Small(f"posegen train {stage} {TRAIN_MINI}", ONE_STEP, WHY_ONE_STEP,
                makes=(f"runs/mini/{stage}/model/model_index.json",))
          for stage in ("vae", "pretrain", "base", "stitch")),
        Small("posegen synth --output data/lively --style lively --clips 200",
              {"--clips": "1", "--size": "64x64", "--frames": "9", "--workers": "0"}, "one tiny clip, in this process",
              makes=("data/lively/train-000000.tar",)),
        Small(f"posegen train distill {TRAIN_MINI.replace('mini --out', 'mini-distill --out')}",
              {"--recipe": "distill.toml", "--cache": "data/cache"}, WHY_ONE_STEP,
              makes=("runs/mini/distill/model/model_index.json",)),
        Small("posegen generate --model",
              {"--model": "runs/mini/stitch/model", "--reference": "person.png", "--driving": "dance.mp4",
               "--output": "result.mp4", "--end": "0.5", "--steps": "1"},
              "the page says that it takes what a stage leaves", makes=("result.mp4",)),
    ),
    "train at 14B": (
        Small("posegen train base --recipe wan2.1-i2v-14b --dry-run --processes 8",
              says="on each of 8 device(s)"),
        Small("posegen train distill --recipe wan2.1-i2v-14b-distill --dry-run", says="stage distill"),
        Small("posegen train base --recipe wan2.1-i2v-14b --data data/real --validation data/real "
              "--output runs/real", {"--dry-run": ""}, FOURTEEN_B, says="wan2.1-i2v-14b, stage base"),
        Small("posegen train base --recipe wan2.1-i2v-14b --data https://host/real --validation "
              "https://host/real --output runs/real", {"--dry-run": ""}, f"{FOURTEEN_B}; "
              "tests/data/test_remote_shards.py reads shards at a URL", says="wan2.1-i2v-14b, stage base"),
    ),
}  # fmt: skip  # a table, read in rows

PREPARE = "tests/prepare/test_prepare_runs.py"
SERVED = "http://127.0.0.1:8420/v1/videos"
RUN_ELSEWHERE = (
    *(Elsewhere(f"curl {words}", "tests/serve/test_serve_command.py::test_the_command_serves_and_stops",
                "it needs the server of that test")
      for words in (
          f"-s {SERVED} -F reference=@person.png -F driving_video=@dance.mp4 -F seed=7",
          f"-s {SERVED}/video_...",
          f"-sN {SERVED}/video_.../events",
          f"-sN -o so_far.mp4 {SERVED}/video_.../growing",
          f"-s -X POST {SERVED}/video_.../pause",
          f"-s -o result.mp4 {SERVED}/video_.../content",
          f"-s {SERVED}",
          f"-s -X DELETE {SERVED}/video_...",
      )),
    Elsewhere("posegen ablate hand-normals --output ablations/hand-normals",
              "tests/evaluate/test_ablations.py::test_one_command_makes_scores_and_goes_on", "several videos"),
    Elsewhere(f"posegen study {VAL_SAME} --output study",
              "tests/serve/test_study_page.py::test_a_person_answers_everything", "it serves until it is interrupted"),
    Elsewhere("posegen serve", "tests/serve/test_serve_command.py::test_the_command_serves_and_stops",
              "it serves until it is interrupted"),
    Elsewhere("posegen screen data/real", "tests/serve/test_screen_page.py::test_clips_are_screened_by_keyboard",
              "it serves until it is interrupted"),
    Elsewhere("posegen synth --output data/people --clips 200 --contact-sheet data/people.jpg",
              "tests/apps/test_synth.py::test_the_contact_sheet_shows_what_is_in_the_shards", "it draws every frame"),
    Elsewhere("posegen --help", "tests/apps/test_cli.py::test_help_is_fast_and_every_command_explains_itself",
              "a real process"),
    Elsewhere("posegen generate --help", "tests/apps/test_cli.py::test_help_is_fast_and_every_command_explains_itself",
              "a real process"),
    Elsewhere("posegen prepare videos/ --output data/real --recipe wan2.1-i2v-14b",
              f"{PREPARE}::test_every_clip_is_in_the_index_with_its_reason", "it starts Ray"),
    Elsewhere("posegen prepare videos/ list.txt https://host/clip.mp4 --output data/real --recipe prepare.toml",
              f"{PREPARE}::test_every_clip_is_in_the_index_with_its_reason", "it starts Ray"),
    Elsewhere("posegen prepare videos/ --output /shared/real --ray HOST:6379",
              f"{PREPARE}::test_two_nodes_with_a_killed_worker_make_the_same", "a cluster"),
    Elsewhere("posegen prepare --output data/real --recipe stricter.toml --refilter",
              f"{PREPARE}::test_other_thresholds_compute_no_score_again", "it starts Ray"),
)  # fmt: skip  # a table, read in rows

SET_UP = "it sets up an environment: minutes, and a network"
MEASURED = "it measures for minutes to hours"
READ_ONLY = (
    ReadOnly("make demo", SET_UP),
    ReadOnly("make test", SET_UP),
    ReadOnly("make setup", SET_UP),
    ReadOnly("make docs", "a page for people, checked by its own strictness"),
    ReadOnly("python tools/list_files.py", "it writes docs/files.md, which tests/docs/test_files_page.py checks"),
    ReadOnly("make lint", "it runs before every change lands"),
    ReadOnly("make cell PYTHON=python3.12 VERSIONS=lowest", SET_UP),
    ReadOnly("make types", "it runs before every change lands"),
    ReadOnly("make browser", "a download"),
    ReadOnly("pip install pre-commit", "a download"),
    ReadOnly("pre-commit install", "it changes the clone's hooks"),
    ReadOnly("python -m pytest tests/model -k sharing", "tests in tests"),
    ReadOnly("git clone --depth 1 --branch v0.42.1 https://github.com/huggingface/diffusers ../diffusers",
             "a download"),
    ReadOnly("cp tests/model/diffusers_model_tests.py "
             "../diffusers/tests/models/transformers/test_models_transformer_posegen.py", "another repository"),
    ReadOnly("cd ../diffusers", "another repository"),
    ReadOnly("python -m pytest -W ignore "
             "tests/models/transformers/test_models_transformer_posegen.py", "another repository's tests"),
    ReadOnly("source .venv/bin/activate", SET_UP),
    *(ReadOnly(f"pip install -e '.[{extras}]'", SET_UP)
      for extras in ("evaluate,synthetic", "synthetic", "prepare", "remote", "s3", "motion", "serve")),
    ReadOnly("hf download facebook/sapiens2-pose-1b", "a download"),
    ReadOnly("hf download PekingU/rtdetr_r50vd_coco_o365", "a download"),
    ReadOnly("posegen generate --reference person.png --driving dance.mp4 --output result.mp4 "
             "--model wan2.1-i2v-14b-720p", FOURTEEN_B),
    ReadOnly("posegen generate --reference person.png --driving dance.mp4 --output out.mp4 --model wan2.1-i2v-14b-720p "
             "--lora style.safetensors:0.8 --lora film-grain.safetensors", FOURTEEN_B),
    ReadOnly("torchrun --nproc-per-node 8 -m posegen.apps.cli train base --recipe wan2.1-i2v-14b "
             "--output runs/14b", FOURTEEN_B),
    ReadOnly("posegen ablate NAME", "NAME stands for each of them", "--output folder"),
    ReadOnly("posegen ablate pose-guidance", "several videos; hand-normals is run", "--output folder"),
    ReadOnly("posegen synth --size 256x144", "a part of a command of long ago", "--output folder"),
    *(ReadOnly(f"python benchmarks/{words}", MEASURED) for words in (
        "ablations.py --clips 4 --seconds 5.1",
        "mini_quality.py --clips 24",
        "mini_generalization.py",
        "wan_14b.py",
        "sharing_cost.py",
        "long_video.py",
        "long_video.py --only drift",
        "generate_memory.py",
        "pose_memory.py",
        "prepare_speed.py",
        "prepare_cost.py",
        "filter_agreement.py",
        "make_demo_inputs.py",
        "serve_load.py",
    )),
)  # fmt: skip  # a table, read in rows

SNIPPETS = {
    ("README.md", 0): ({'model="mini", steps=8': 'steps=1, model=NARROW, end=0.5, size="128x80"'}, "result.mp4"),
    ("docs/api/index.md", 0): ({'model="mini"': 'steps=1, model=NARROW, end=0.5, size="128x80"'}, "out.mp4"),
}
"""(page, which of its Python snippets) -> (printed -> small, the video that it makes of half a second)."""

NEEDED_OPTIONS = {
    "generate": "--reference a.png --driving b.mp4 --output c.mp4",
    "preview": "--reference a.png --driving b.mp4 --output c.mp4",
    "extract": "--driving b.mp4 --output folder",
    "motion": "walk.bvh",
    "prompt": "--reference a.png",
    "synth": "--output folder",
    "prepare": "videos --output folder",
    "train": "base --recipe recipe.toml --output folder",
    "evaluate": "--benchmark folder --methods ours=folder --output report",
    "benchmark": "val-same --output folder",
    "ablate": "sharing --output folder",
    "study": "--benchmark folder --methods ours=folder --output study",
    "screen": "folder",
    "serve": "",
    "jobs": "",
    "demo": "",
}
"""What each command cannot do without."""

OPTIONS_OF_OTHERS = {
    ("docs/results/prepare.md", "--only workers"): "benchmarks/prepare_speed.py",
    ("docs/results/conditions.md", "--against ../before"): "benchmarks/following.py",
    ("docs/results/conditions.md", "--keep FOLDER"): "benchmarks/following.py",
}
"""Options in prose that are not posegen's: (page, option) -> the file that reads it."""


def options_of(name: str) -> set[str]:
    """The options of a command of posegen, by its own settings class."""
    settings = next(
        arguments[0] for command in get_args(cli.Command) if (arguments := get_args(command))[1].name == name
    )
    flags = set()
    for setting in fields(settings):
        option = setting.name.replace("_", "-")
        flags |= {f"--{option}", f"--no-{option}"} if setting.type in (bool, "bool") else {f"--{option}"}
    return flags
