"""A sample of the corpus of `benchmarks/broken_inputs.py`: each broken input is refused in one line that names it."""

import random
import sys
from pathlib import Path

import pytest

from posegen.apps import failures
from posegen.apps.cli import dispatch, parse

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
MADE_HERE = (
    "pictures", "videos", "sounds", "model", "lora", "keypoints", "training", "prepare", "evaluation", "screening",
)  # fmt: skip  # a table, read in rows
"""Steps of making good files that run no command."""


@pytest.fixture(scope="module")
def good(made_once):
    from broken_inputs_good import steps

    def make(folder):
        for name, step in steps(folder).items():
            if name in MADE_HERE:
                step()

    return made_once("good-files", make)


def sample(good, count=45):
    """Refused cases of all kinds in turn, of those that need no other process."""
    from broken_inputs_cases import REFUSED, all_cases

    kinds = {}
    for case in all_cases(good):
        if case.expected == REFUSED and not any(
            "made/" in text or "{url}" in text for text in (case.file, *case.command)
        ):
            kinds.setdefault(case.kind, []).append(case)
    chance = random.Random(0)
    first = [chance.choice(cases) for cases in kinds.values()]
    return chance.sample(first, min(count, len(first)))


def test_a_sample_of_broken_inputs_is_refused_in_one_line(good, tmp_path, capfd, monkeypatch):
    from broken_inputs import arguments_of, faults_of, taken_port
    from limited_child import Ended

    monkeypatch.setattr(failures.platformdirs, "user_log_path", lambda name: tmp_path / "logs")
    wrong = {}
    with taken_port() as port:
        for number, case in enumerate(sample(good)):
            folder = tmp_path / str(number)
            for name in ("in", "out"):
                (folder / name).mkdir(parents=True)
            broken = case.place(good, folder / "in")
            arguments = arguments_of(case, good, folder, "", port)
            code = failures.guarded(lambda arguments=arguments: dispatch(parse(arguments)))
            ended = Ended(code, 0.0, 0, "", *capfd.readouterr())
            faults = list(faults_of(case, ended, broken, folder, folder / "out"))
            if faults:
                wrong[case.name] = (faults, ended.stderr)
    assert not wrong


def test_faults_are_found(good, tmp_path):
    """What the corpus looks for: a traceback, a wrong exit code, two lines, a file that is not named, half a result."""
    from broken_inputs import faults_of
    from broken_inputs_cases import all_cases
    from limited_child import Ended

    case = next(case for case in all_cases(good) if case.kind == "picture png")
    broken, out = tmp_path / "in" / "reference.png", tmp_path / "out"
    out.mkdir()

    def faults(code=2, stderr=f"posegen: {broken}: bad\n", stopped="", peak=0):
        return list(faults_of(case, Ended(code, 1.0, peak, stopped, "", stderr), broken, tmp_path, out))

    assert faults() == []
    assert faults(code=0) == ["exit code 0"]
    assert faults(code=1) == ["exit code 1"]
    assert faults(code=-9) == ["ended by signal 9"]
    assert faults(stderr="Traceback (most recent call last)\nposegen: reference.png\n") == ["traceback"]
    assert faults(stderr="posegen: reference.png (x); the traceback is in y\n") == ["unforeseen"]
    assert faults(stderr=f"posegen: a\nposegen: {broken}\n") == ["not one line"]
    assert faults(stderr="posegen: something is bad\n") == ["file not named"]
    assert faults(stopped="time") == ["over the limit of time"]
    assert faults(peak=1 << 40) == ["over the limit of memory"]
    (out / "result.mp4").touch()
    assert faults() == ["partial output: out/result.mp4"]


def test_children_are_limited(tmp_path):
    """By harmless stand-ins: a pause over a lowered limit of time, a few megabytes over one of memory."""
    import time

    from limited_child import run_limited

    ended = run_limited(lambda: print("done"), tmp_path, 30, 1 << 40)
    assert (ended.code, ended.stopped, ended.stdout) == (0, "", "done\n")
    assert run_limited(lambda: time.sleep(60), tmp_path, 0.3, 1 << 40).stopped == "time"
    assert run_limited(lambda: time.sleep(60), tmp_path, 30, 1_000_000).stopped == "memory"
    assert (
        run_limited(lambda: time.sleep(60), tmp_path, 30, 1 << 40, kill_when=lambda seconds: seconds > 0.2).code == -9
    )
    assert run_limited(lambda: sys.exit(2), tmp_path, 30, 1 << 40).code == 2
    assert "ZeroDivisionError" in run_limited(lambda: 1 / 0, tmp_path, 30, 1 << 40).stderr


def test_what_is_wrong_with_a_disturbed_run_is_found(tmp_path):
    """The ends of a command that `benchmarks/disturbed_runs.py` counts as faults, and its damages."""
    from disturbed_runs import DAMAGES, damage, digests, fault_of
    from limited_child import Ended

    def fault(code, stderr, stopped=""):
        return fault_of(Ended(code, 1.0, 0, stopped, "", stderr))

    assert fault(0, "warning: a is made again\n") == ""
    assert fault(2, "warning: b\nposegen: a is damaged\n") == ""
    assert fault(2, "posegen: a\nmore\n") == "not one line"
    assert fault(1, "posegen: a defect\n") == "exit code 1"
    assert fault(-11, "") == "exit code -11"
    assert fault(2, "posegen: a; the traceback is in b\n") == "traceback"
    assert fault(0, "", "time") == "over the limit of time"
    for how in set(DAMAGES):
        paths = [tmp_path / how / name for name in "ab"]
        paths[0].parent.mkdir()
        for path in paths:
            path.write_bytes(path.name.encode() * 100)
        before = digests(paths, tmp_path)
        damage(paths[0], how, paths, random.Random(0))
        assert digests([path for path in paths if path.exists()], tmp_path) != before


def test_a_kill_comes_at_a_moment_counted_from_files(tmp_path):
    from disturbed_runs import Watch, random_moment

    watch = Watch(tmp_path / "run", (2, 1.0))
    (tmp_path / "run").mkdir()
    assert not watch(0.5)
    for name in ("a", ".b.part", "c"):
        (tmp_path / "run" / name).touch()
    assert not watch(3.0)
    (tmp_path / "run" / "c").unlink()
    assert not watch(3.9)
    assert watch(4.1)
    assert watch.times == [(0.0, 0), (3.0, 2)]
    moments = [random_moment([(0.0, 0), (3.0, 2)], 4.0, random.Random(seed)) for seed in range(50)]
    assert {number for number, _ in moments} == {0, 2}
    assert all(0 <= pause <= (1.0 if number else 3.0) for number, pause in moments)
