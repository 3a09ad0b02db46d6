"""Jobs as their folders show them, and their removal: real folders, real locks, real processes."""

import json
import os
import time
from fractions import Fraction

import numpy as np
import pytest

from posegen.errors import OutputError, PosegenError
from posegen.generate.job.job_folder import Job, hold_output, work_folder
from posegen.generate.job.kept_jobs import list_jobs, remove_job
from posegen.generate.job.manifest import FORMAT, JobProgress, manifest_path
from posegen.generate.segments import plan_segments

PLAN = plan_segments(40, 13, 4, 3)


def make_job(output, seed=0, segments=2, total=5, finished=False):
    """A job's folder, as `generate_video` would leave it."""
    with Job(output, {"seed": seed}) as job:
        job.record_disk_usage(JobProgress(total, 10, 1, 100))
        for segment in PLAN.segments[:segments]:
            job.save(segment, np.zeros((3, 16, 16, 3), np.uint8), Fraction(16))
        if finished:
            job.finish()
    return job


def test_each_job_is_listed_with_what_its_folder_shows(tmp_path):
    done = make_job(tmp_path / "done.mp4", segments=3, total=3, finished=True)
    begun = make_job(tmp_path / "begun.mp4", segments=2, total=7)
    make_job(tmp_path / "begun.mp4", seed=1, segments=0, total=7)
    (tmp_path / "other").mkdir()
    (tmp_path / "file.posegen").touch()
    found = {(job.output, job.folder.name): job for job in list_jobs(tmp_path)}
    assert sorted(output for output, _ in found) == ["begun.mp4", "begun.mp4", "done.mp4"]
    first = found["done.mp4", done.folder.name]
    assert (first.finished, first.segments, first.state) == (3, 3, "finished")
    assert first.size == sum(path.stat().st_size for path in done.folder.rglob("*") if path.is_file())
    second = found["begun.mp4", begun.folder.name]
    assert (second.finished, second.segments, second.state) == (2, 7, "unfinished")
    assert abs(second.made.timestamp() - time.time()) < 60
    assert [job.folder for job in list_jobs(work_folder(tmp_path / "done.mp4"))] == [done.folder]


def test_a_job_that_is_worked_on_is_running_and_stays(tmp_path):
    make_job(tmp_path / "a.mp4", finished=True)
    with Job(tmp_path / "a.mp4", {"seed": 0}) as job:
        (found,) = list_jobs(tmp_path)
        assert found.state == "running"
        with pytest.raises(OutputError, match="works on it"):
            remove_job(found)
        assert job.has(PLAN.segments[0])
    (found,) = list_jobs(tmp_path)
    assert found.state == "finished"


def test_looking_changes_nothing(tmp_path):
    job = make_job(tmp_path / "a.mp4")
    moment = time.time() - 1000
    for path in job.folder.rglob("*"):
        os.utime(path, (moment, moment))
    for _ in range(2):
        (found,) = list_jobs(tmp_path)
        assert found.changed.timestamp() == pytest.approx(moment)


def test_a_removed_job_is_gone_and_what_it_took_is_told(tmp_path):
    output = tmp_path / "a.mp4"
    first, second = make_job(output, 0), make_job(output, 1)
    conditions = work_folder(output) / "conditions"
    conditions.mkdir()
    (conditions / "skeleton.mkv").write_bytes(bytes(1000))
    output.write_bytes(b"the result")
    jobs = {job.folder: job for job in list_jobs(tmp_path)}
    size = jobs[first.folder].size
    assert remove_job(jobs[first.folder]) >= size
    assert not first.folder.exists()
    assert conditions.exists()  # the other job uses them
    size = jobs[second.folder].size
    assert remove_job(jobs[second.folder]) >= size + 1000
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_nothing_goes_while_a_job_of_its_output_begins(tmp_path):
    """Between taking the output and opening its job, which may be any of them, a process looks at the reference."""
    output = tmp_path / "a.mp4"
    jobs = [make_job(output, seed, finished=True) for seed in (0, 1)]
    make_job(tmp_path / "b.mp4")
    listed = list_jobs(tmp_path)
    with hold_output(output):
        assert [job.state for job in list_jobs(tmp_path) if job.output == "a.mp4"] == ["running"] * 2
        for job in listed:
            if job.output == "a.mp4":
                with pytest.raises(OutputError, match="works on it: it stays"):
                    remove_job(job)
            else:
                remove_job(job)
        assert all(job.folder.is_dir() for job in jobs)


def test_conditions_stay_while_another_job_of_their_output_is_worked_on(tmp_path):
    output = tmp_path / "a.mp4"
    done = make_job(output, finished=True)
    conditions = work_folder(output) / "conditions"
    conditions.mkdir()
    with hold_output(output), Job(output, {"seed": 1}) as other:
        states = {job.folder: job.state for job in list_jobs(tmp_path)}
        assert states == {done.folder: "finished", other.folder: "running"}
        remove_job(next(job for job in list_jobs(tmp_path) if job.folder == done.folder))
        assert not done.folder.exists()
        assert conditions.exists()
    assert conditions.exists()


def test_what_somebody_else_put_there_stays(tmp_path):
    job = make_job(tmp_path / "a.mp4")
    (job.folder.parent / "notes.txt").write_text("mine")
    remove_job(list_jobs(tmp_path)[0])
    assert os.listdir(job.folder.parent) == ["notes.txt"]


def test_jobs_of_other_formats_are_listed(tmp_path):
    old, newer, empty = (make_job(tmp_path / f"{name}.mp4") for name in ("old", "newer", "empty"))
    manifest_path(old.folder).write_text(json.dumps({"seed": 1}))
    (old.folder / "progress.json").unlink()
    manifest_path(newer.folder).write_text(json.dumps({"format": FORMAT + 1, "made": 5}))
    manifest_path(empty.folder).write_text("")
    (empty.folder / "progress.json").write_text('{"segments": "many", "finished": 3}')
    found = {job.output: job for job in list_jobs(tmp_path)}
    assert found.keys() == {"old.mp4", "newer.mp4", "empty.mp4"}
    assert (found["old.mp4"].segments, found["old.mp4"].state) == (None, "unfinished")
    assert found["newer.mp4"].state == "newer"
    assert (found["empty.mp4"].segments, found["empty.mp4"].state) == (None, "unfinished")


def test_a_bad_folder_is_one_line(tmp_path):
    with pytest.raises(PosegenError, match="no such folder"):
        list_jobs(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(PosegenError, match="is a file"):
        list_jobs(tmp_path / "file")
    assert list_jobs(tmp_path) == []
