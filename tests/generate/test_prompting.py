"""Prompts of jobs: the user's own wins, one is written otherwise, it names the person, and a job keeps what it has."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from planned_jobs import identity, planned
from posegen.apps import cli
from posegen.conditions import vision_language
from posegen.conditions.subject_words import find_subjects
from posegen.config import DEFAULT_PROMPT, PromptConfig
from posegen.errors import PosegenError
from posegen.generate.job.job_folder import work_folder
from posegen.generate.prompting import prompt_for
from posegen.media.image import write_image

sys.path.append(str(Path(__file__).parents[1] / "conditions"))
from tiny_vision_language import save_tiny


class Listener:
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)

    def update(self, task, done, total):
        pass


def written(config):
    listener = Listener()
    return planned(config, listener), listener.lines


def test_the_users_text_wins_and_is_not_touched(config):
    video, lines = written(replace(config, prompt="Nobody at all.", sharing="off", anchor=None))
    assert video.settings.sampling.prompt == "Nobody at all."
    assert lines == []


def test_without_one_the_reference_image_is_described(config):
    video, [line] = written(replace(config, prompt=None))
    prompt = video.settings.sampling.prompt
    assert prompt.startswith("A realistic video of a person with ")
    assert "blue top" in prompt
    assert "Half-body shot" in prompt
    assert "from measured colours" in line
    assert identity(video)["prompt"] == prompt
    again, _ = written(replace(config, prompt=None, subject="businessman", framing="close-up"))
    assert find_subjects(again.settings.sampling.prompt, "businessman")
    assert "Close-up shot" in again.settings.sampling.prompt


def test_a_picture_without_a_person_gets_general_words(config, tmp_path):
    write_image(tmp_path / "wall.png", np.full((128, 96, 3), 128, np.uint8))
    video, [line] = written(
        replace(config, prompt=None, reference=tmp_path / "wall.png", person_check=False, subject="cat")
    )
    assert video.settings.sampling.prompt == f"{DEFAULT_PROMPT} The main subject is a cat."
    assert "no person is found" in line


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(save_tiny(tmp_path_factory.mktemp("qwen"), "qwen2_5_vl"))


def test_a_models_words_are_kept_for_the_job_and_name_the_person(config, model, monkeypatch):
    config = replace(config, prompt=None, prompt_model=model, subject="dancer")
    video, [line] = written(config)
    prompt = video.settings.sampling.prompt
    assert prompt.endswith("The main subject is a dancer.")  # a random model does not say so by itself
    assert model in line
    kept = json.loads((work_folder(config.output) / "prompt.json").read_text())
    assert kept["prompt"] == prompt
    monkeypatch.setattr(vision_language, "VisionLanguageModel", lambda *_: pytest.fail("asked again"))
    again, lines = written(config)
    assert (again.settings.sampling.prompt, lines) == (prompt, [])
    assert written(replace(config, dry_run=True))[0].settings.sampling.prompt == DEFAULT_PROMPT
    with pytest.raises(pytest.fail.Exception):
        written(replace(config, subject="singer"))


def test_the_command_prints_the_prompt_alone(media, capsys, model):
    reference = media / "man.png"
    assert cli.guarded(lambda: cli.dispatch(cli.parse(["prompt", "--reference", str(reference)]))) == 0
    said = capsys.readouterr()
    assert said.out.strip() == prompt_for(PromptConfig(reference))[0]
    assert "written from measured colours" in said.err
    arguments = ["prompt", "--reference", str(reference), "--prompt-model", model, "--subject", "man"]
    assert cli.guarded(lambda: cli.dispatch(cli.parse(arguments))) == 0
    assert find_subjects(capsys.readouterr().out, "man")


def test_bad_input_is_one_line(media, tmp_path, capsys):
    reference = str(media / "man.png")
    for extra, words in (
        (["--prompt-model", str(tmp_path / "nothing")], "there is no such folder"),
        (["--subject", " , "], "--subject is empty"),
    ):
        assert (
            cli.guarded(lambda extra=extra: cli.dispatch(cli.parse(["prompt", "--reference", reference, *extra]))) == 2
        )
        said = capsys.readouterr().err.strip()
        assert words in said
        assert "\n" not in said
    with pytest.raises(PosegenError, match=r"none\.png"):
        prompt_for(PromptConfig(tmp_path / "none.png"))
