"""Every shell command of the README and the docs runs, small, or is read by its own program; none is left out."""

import argparse
import ast
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib import resources
from itertools import islice

import pytest
from packaging.requirements import Requirement
from pages import HISTORY, PAGES, REPOSITORY, commands, name_of, taken_apart
from printed_commands import READ_ONLY, RUN_ELSEWHERE, SMALLER_RECIPE, STORIES, options_of

from moving_skeleton import write_bvh
from posegen.apps import cli
from posegen.errors import PosegenError
from posegen.evaluate.study.study_database import ASPECTS
from posegen.media.video import VideoWriter, iterate_frames
from posegen.progress import NullProgress
from posegen.serve.rating_study import open_study

RUN = [entry for story in STORIES.values() for entry in story if not isinstance(entry, str)]
TABLE = {tuple(shlex.split(entry.printed)): entry for entry in (*RUN, *RUN_ELSEWHERE, *READ_ONLY)}
PRINTED = [command for page in PAGES if name_of(page) not in HISTORY for command in commands(page)]
DEMO = resources.files("posegen") / "demo"
RECIPES = REPOSITORY / "src" / "posegen" / "recipes"


def only_names(words):
    """Whether the words name a command of posegen, and perhaps options of it, without anything to run."""
    program, *rest = words
    if program != "posegen" or not rest or rest[0] not in cli._COMMANDS:
        return False
    return all(word in options_of(rest[0]) for word in rest[1:])


@pytest.mark.parametrize("command", PRINTED, ids=lambda command: f"{command.page}: {command}")
def test_every_printed_command_is_in_the_table(command):
    known = command.words in TABLE or (command.inline and only_names(command.words))
    assert known, (
        f"{command.page} prints a command that no test runs: {command}\n"
        "add it to tests/docs/printed_commands.py, small enough to run, or with the reason why it cannot be run"
    )


def test_the_table_holds_no_command_twice_and_none_that_no_page_prints():
    assert len(TABLE) == len(RUN) + len(RUN_ELSEWHERE) + len(READ_ONLY)
    printed = {command.words for command in PRINTED}
    left = [shlex.join(words) for words in TABLE if words not in printed]
    assert not left, "no page prints any more: " + "; ".join(left)


def test_every_difference_has_a_reason():
    for entry in RUN:
        assert entry.why or not (entry.changes or entry.exit_code), entry.printed


# ---- commands that run


def inputs_of_a_reader(folder, narrow):
    """What a reader has: a picture, a video, folders of videos; and a recipe in small."""
    shutil.copy(DEMO / "reference.png", folder / "person.png")
    shutil.copy(DEMO / "reference.png", folder / "me.png")
    shutil.copy(DEMO / "driving.mp4", folder / "dance.mp4")
    write_bvh(folder / "walk.bvh")
    text = (RECIPES / "mini.toml").read_text()
    for line, smaller in SMALLER_RECIPE.items():
        text, count = re.subn(line, smaller, text, flags=re.MULTILINE)
        assert count, f"the recipe mini has no line {line} any more"
    (folder / "small.toml").write_text(text)
    distill = (RECIPES / "mini-distill.toml").read_text()
    for line, smaller in SMALLER_RECIPE.items():
        distill = re.sub(line, smaller, distill, flags=re.MULTILINE)
    (folder / "distill.toml").write_text(distill)


def results_of_a_reader(folder, narrow):
    """A folder of videos to make a benchmark of, pairs, and results of two methods."""
    frames = list(islice(iterate_frames(DEMO / "driving.mp4"), 8))
    (folder / "pairs").mkdir()
    shutil.copy(DEMO / "reference.png", folder / "pairs" / "dance.png")
    for path in ("TikTok_dataset/00337.mp4", "pairs/dance.mp4"):
        write_video(folder / path, frames)
    for method, shift in (("ours", 8), ("theirs", 40)):
        shown = [(frame.astype(int) + shift).clip(0, 255).astype("uint8") for frame in frames]
        write_video(folder / "results" / method / "000.mp4", shown)


def write_video(path, frames):
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, 16, size=frames[0].shape[:2]) as writer:
        for frame in frames:
            writer.write(frame)


def somebody_answers(folder):
    """One person rates everything, through what the served page calls."""
    (words,) = (entry.printed for entry in RUN_ELSEWHERE if entry.printed.startswith("posegen study"))
    opened, _, _ = open_study(cli.parse(shlex.split(words)[1:]), NullProgress())
    person = opened.enter("a reader")
    while (question := opened.next_question(person)) is not None:
        ratings = dict.fromkeys(ASPECTS, 3)
        opened.answer(person, question.token, ratings if question.kind == "rate" else {"choice": "left"})


BY_HAND = {"somebody answers the study": somebody_answers}
GIVEN = {"score results": results_of_a_reader}


def run_command(arguments, process, capfd):
    """The exit code, and what it printed."""
    if process:
        command = [sys.executable, "-m", "posegen.apps.cli", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        return done.returncode, done.stdout + done.stderr
    code = cli.guarded(lambda: cli.dispatch(cli.parse(arguments)))
    return code, "".join(capfd.readouterr())


@pytest.mark.parametrize("story", STORIES)
def test_a_readers_commands_run_one_after_another(story, narrow, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    GIVEN.get(story, inputs_of_a_reader)(tmp_path, narrow)
    for entry in STORIES[story]:
        if isinstance(entry, str):
            BY_HAND[entry](tmp_path)
            continue
        words = [word.format(narrow=narrow) for word in entry.words()]
        code, said = run_command(words[1:], entry.process, capfd)
        assert code == entry.exit_code, f"{shlex.join(words)}\n{said}"
        assert entry.says in said.replace("\n", " "), f"{shlex.join(words)}\n{said}"
        for made in entry.makes:
            assert (tmp_path / made).stat().st_size, f"{shlex.join(words)} made no {made}"


# ---- commands that another test runs


@pytest.mark.parametrize("entry", RUN_ELSEWHERE, ids=lambda entry: entry.printed)
def test_a_command_that_runs_elsewhere_is_right_as_printed(entry, capfd):
    file, function = entry.test.split("::")
    tree = ast.parse((REPOSITORY / file).read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{entry.test} is gone"
    program, *words = shlex.split(entry.printed)
    if program == "posegen":  # the others are run there as they are printed
        read_by_posegen(words)


# ---- commands that are only read


class ReadError(Exception):
    """Ends a benchmark as soon as its arguments are read."""


def read_by_posegen(words):
    if "--help" not in words:
        cli.parse(words)
        return
    with pytest.raises(SystemExit) as asked_for_help:
        cli.parse(words)
    assert asked_for_help.value.code == 0


def read_by_a_benchmark(words, monkeypatch):
    """Run a script up to where it has read its arguments."""
    read = argparse.ArgumentParser.parse_args

    def read_and_end(parser, *rest, **keywords):
        read(parser, *rest, **keywords)
        raise ReadError

    script = REPOSITORY / words[0]
    monkeypatch.setattr(sys, "argv", [str(script), *words[1:]])
    monkeypatch.syspath_prepend(str(script.parent))
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", read_and_end)
    with pytest.raises(ReadError):
        runpy.run_path(str(script), run_name="__main__")


def read_by_torchrun(words):
    from torch.distributed.run import get_args_parser

    read = get_args_parser().parse_args(words)
    assert read.module
    assert read.training_script == "posegen.apps.cli"
    read_by_posegen(read.training_script_args)


def read_by_the_hub(words, tmp_path):
    """Offline it reads its words, and ends with 1 because the files are not there; bad words are 2."""
    done = subprocess.run(
        [sys.executable, "-m", "huggingface_hub.cli.hf", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
    )
    assert done.returncode == 1, done.stderr
    assert "offline" in done.stderr


def read_by_pip(words):
    """A package by its name, or the project in this folder with extras that it has."""
    assert words[0] == "install"
    if words[1] != "-e":
        assert Requirement(words[1]).name
        return
    wanted = Requirement(words[2].replace(".[", "posegen["))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert wanted.name == project["name"]
    assert wanted.extras <= project["optional-dependencies"].keys()


def read_by_pytest(words):
    """Files and folders of tests that are there, or that a command before has put into another repository."""
    copied = [shlex.split(entry.printed)[2] for entry in READ_ONLY if entry.printed.startswith("cp ")]
    for place in (word for word in words if "/" in word):
        assert (REPOSITORY / place).exists() or any(name.endswith(f"/{place}") for name in copied)


def read_by_make(words):
    subprocess.run(["make", "--dry-run", *words], cwd=REPOSITORY, check=True, capture_output=True, timeout=60)


def read_by_git(words):
    """A clone of a public repository."""
    assert words[0] == "clone"
    assert any(word.startswith("https://github.com/") for word in words)


def read_by_a_shell(words):
    """A file that `make` leaves, or a folder beside this one."""
    assert words in ([".venv/bin/activate"], ["../diffusers"])


def read_by_cp(words):
    assert (REPOSITORY / words[0]).is_file()


def read_by_pre_commit(words):
    assert words == ["install"]
    assert (REPOSITORY / ".pre-commit-config.yaml").is_file()


@pytest.mark.parametrize("entry", READ_ONLY, ids=lambda entry: entry.printed)
def test_a_command_that_cannot_run_here_is_read_by_its_program(entry, monkeypatch, tmp_path, capfd):
    program, *words = shlex.split(f"{entry.printed} {entry.completed}")
    readers = {"posegen": read_by_posegen, "torchrun": read_by_torchrun, "pip": read_by_pip,
               "make": read_by_make, "git": read_by_git, "source": read_by_a_shell, "cd": read_by_a_shell,
               "cp": read_by_cp, "pre-commit": read_by_pre_commit}  # fmt: skip  # a table, read in rows
    if words[:2] == ["-m", "pytest"]:
        read_by_pytest(words[2:])
    elif program == "python":
        read_by_a_benchmark(words, monkeypatch)
    elif program == "hf":
        read_by_the_hub(words, tmp_path)
    else:
        words = ["hand-normals" if word == "NAME" else word for word in words]
        readers[program](words)


@pytest.mark.parametrize("path", sorted(RECIPES.rglob("*.toml")), ids=lambda path: path.relative_to(RECIPES).as_posix())
def test_a_recipe_says_how_it_is_used_by_its_own_name(path):
    """The commands at its head, each on a line of its own."""
    script = "\n".join(re.findall(r"^# {3,}(\S.*)", path.read_text(encoding="utf-8"), re.MULTILINE))
    found = [words for _, words in taken_apart(script)]
    for program, *words in found:
        read_by_torchrun(words) if program == "torchrun" else read_by_posegen(words)
    assert {words[words.index("--recipe") + 1] for words in found if "--recipe" in words} == {path.stem}


def test_what_is_wrong_is_not_read(monkeypatch):
    with pytest.raises(PosegenError):
        read_by_posegen(["generate", "--colour", "red"])
    with pytest.raises(SystemExit):
        read_by_a_benchmark(["benchmarks/ablations.py", "--colour", "red"], monkeypatch)
