"""`posegen jobs` as a user meets it: real folders, a real terminal where one is needed."""

import os
import pty
import re
import subprocess
import sys
import time
from fractions import Fraction

import numpy as np
import pytest

from posegen.apps import cli
from posegen.generate.job.job_folder import Job
from posegen.generate.job.manifest import JobProgress
from posegen.generate.segments import plan_segments

PLAN = plan_segments(40, 13, 4, 3)


def posegen(*arguments):
    return cli.guarded(lambda: cli.dispatch(cli.parse(["jobs", *map(str, arguments)])))


def make_job(output, finished, segments=2, seed=0):
    with Job(output, {"seed": seed}) as job:
        job.record_disk_usage(JobProgress(5, 10, 1, 100))
        for segment in PLAN.segments[:segments]:
            job.save(segment, np.zeros((3, 16, 16, 3), np.uint8), Fraction(16))
        if finished:
            job.finish()
    return job.folder


@pytest.fixture
def folders(tmp_path):
    """A finished and an unfinished job."""
    return make_job(tmp_path / "done.mp4", True, 5), make_job(tmp_path / "begun.mp4", False)


def test_the_list_is_plain_text_in_a_pipe(folders, tmp_path, capsys):
    assert posegen(tmp_path) == 0
    title, *rows = capsys.readouterr().out.splitlines()
    assert title.split() == ["result", "job", "made", "segments", "size", "state"]
    assert sorted(re.split(r"\s{2,}", row)[0] for row in rows) == ["begun.mp4", "done.mp4"]
    begun = next(row for row in rows if row.startswith("begun"))
    assert re.search(r"2/5 +[\d.]+ kB +unfinished$", begun)
    assert any(re.search(r"5/5 .*finished$", row) for row in rows)


def test_the_current_folder_is_looked_in_by_default(folders, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert posegen() == 0
    assert "begun.mp4" in capsys.readouterr().out


def test_a_folder_without_jobs_and_one_that_is_none(tmp_path, capsys):
    assert posegen(tmp_path) == 0
    assert "no jobs in" in capsys.readouterr().out
    assert posegen(tmp_path / "none") == 2
    assert capsys.readouterr().err == f"posegen: {tmp_path / 'none'}: no such folder\n"


@pytest.mark.parametrize(
    ("clean", "left"), [("finished", [False, True]), ("unfinished", [True, False]), ("all", [False, False])]
)
def test_cleaning_removes_what_was_asked_for_and_tells_what_it_freed(folders, tmp_path, capsys, clean, left):
    (tmp_path / "done.mp4").write_bytes(b"the result")
    assert posegen(tmp_path, "--clean", clean, "--yes") == 0
    assert [folder.exists() for folder in folders] == left
    assert (tmp_path / "done.mp4").exists()
    assert re.search(r"^[\d.]+ kB freed$", capsys.readouterr().out, flags=re.MULTILINE)


def test_a_running_job_stays(folders, tmp_path, capsys):
    with Job(tmp_path / "begun.mp4", {"seed": 0}) as job:
        assert posegen(tmp_path, "--clean", "all", "--yes") == 0
        assert job.has(PLAN.segments[0])
    said = capsys.readouterr().out
    assert f"{folders[1]} is running: it stays" in said
    assert not folders[0].exists()


def test_only_old_jobs_are_removed(folders, tmp_path, capsys):
    moment = time.time() - 10 * 86400
    for path in folders[0].rglob("*"):
        os.utime(path, (moment, moment))
    assert posegen(tmp_path, "--clean", "all", "--older-than", 11, "--yes") == 0
    assert "nothing to remove" in capsys.readouterr().out
    assert posegen(tmp_path, "--clean", "all", "--older-than", 9, "--yes") == 0
    assert [folder.exists() for folder in folders] == [False, True]
    assert posegen(tmp_path, "--older-than", "nan") == 2


def test_without_a_terminal_nothing_is_removed_unasked(folders, tmp_path, capsys, monkeypatch):
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert posegen(tmp_path, "--clean", "all") == 2
    assert "--yes" in capsys.readouterr().err
    assert all(folder.exists() for folder in folders)


def in_terminal(answer, *arguments):
    """Run in a terminal of its own; gives what was shown."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "posegen.apps.cli", "jobs", *map(str, arguments)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "150"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as child:
        os.close(theirs)
        os.write(ours, answer)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
    os.close(ours)
    assert child.returncode == 0, shown
    return shown.decode()


def test_a_terminal_shows_a_table_and_asks(folders, tmp_path):
    shown = in_terminal(b"", tmp_path)
    assert "━" in shown
    assert "begun.mp4" in shown
    assert "remove 2 jobs" in in_terminal(b"n\n", tmp_path, "--clean", "all")
    assert all(folder.exists() for folder in folders)
    assert "freed" in in_terminal(b"y\n", tmp_path, "--clean", "all")
    assert not any(folder.exists() for folder in folders)


def test_it_needs_no_model():
    code = "import sys; from posegen.apps.cli import *; dispatch(parse(['jobs'])); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "posegen.apps.jobs_command" in loaded
    assert not {"torch", "diffusers", "transformers"} & set(loaded)
