"""A job's folder: what counts as finished, what is said of changes and damage, how much space is still needed."""

import errno
import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from posegen.errors import DiskFullError, OutputError
from posegen.generate.job import manifest
from posegen.generate.job.job_folder import Job, background_folder, growing_path, hold_output, work_folder
from posegen.generate.job.manifest import JobProgress, NewerFormatError, manifest_path
from posegen.generate.segments import plan_segments
from posegen.media.checksums import checked_json, checksum_path, read_checked_json
from posegen.media.files import readable_size
from posegen.media.video import VideoWriter

FPS = Fraction(16)
PLAN = plan_segments(40, 13, 4, 3)
FIRST, SECOND = PLAN.segments[:2]
EXPECTED = JobProgress(segments=4, segment_length=13, num_frames=40, frame_pixels=32 * 24 * 3)


@pytest.fixture
def output(tmp_path):
    return tmp_path / "result.mp4"


def noise(seed=0, frames=13):
    return np.random.default_rng(seed).integers(0, 256, (frames, 32, 24, 3), dtype=np.uint8)


def test_a_segment_comes_back_as_it_was_given_one_frame_at_a_time(output):
    given, taken = noise(), []

    def frames():
        for frame in given:
            taken.append(1)
            yield frame

    with Job(output, {"seed": 1}) as job:
        assert not job.has(FIRST)
        job.save(FIRST, frames(), FPS)
        assert len(taken) == 13
        assert job.has(FIRST)
        assert np.array_equal(job.load(FIRST), given)
    with Job(output, {"seed": 1}) as again:
        assert again.has(FIRST)
        assert not again.has(SECOND)


def test_what_fails_while_it_is_made_is_not_finished(output):
    def frames():
        yield from noise()[:5]
        raise KeyboardInterrupt

    with Job(output, {}) as job:
        with pytest.raises(KeyboardInterrupt):
            job.save(FIRST, frames(), FPS)
        assert not job.has(FIRST)
        assert not list(job.segments.iterdir())


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "one bit": flip,
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "empty": lambda path: path.write_bytes(b""),
    "another checksum": lambda path: checksum_path(path).write_text("0" * 64 + "  a\n"),
    "empty checksum": lambda path: checksum_path(path).write_bytes(b""),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_segment_is_told_in_one_line_and_can_be_made_again(output, damage, caplog):
    with Job(output, {}) as job:
        for segment in (FIRST, SECOND):
            job.save(segment, noise(segment.index), FPS)
        damage(job.path(FIRST))
        with caplog.at_level("INFO", "posegen"):
            assert not job.has(FIRST)
        assert [record.message.split(" (")[0] for record in caplog.records] == ["segment 0000-base is damaged"]
        assert job.has(SECOND)
        job.save(FIRST, noise(5), FPS)
        assert job.has(FIRST)
        assert np.array_equal(job.load(FIRST), noise(5))


def test_a_segment_without_its_checksum_is_not_finished(output, caplog):
    """As a process leaves it that is killed between the two files."""
    with Job(output, {}) as job, caplog.at_level("INFO", "posegen"):
        job.save(FIRST, noise(), FPS)
        checksum_path(job.path(FIRST)).unlink()
        assert not job.has(FIRST)
        assert "without a checksum" in caplog.text


def test_checksums_are_those_that_sha256sum_reads(output):
    with Job(output, {}) as job:
        job.save(FIRST, noise(), FPS)
        digest = hashlib.sha256(job.path(FIRST).read_bytes()).hexdigest()
        line, owner = (job.segments / "0000-base.mkv.sha256").read_text().splitlines()
        assert line == f"{digest}  0000-base.mkv"
        assert owner == f"# {job.folder.name}"  # sha256sum takes it for a comment


def test_the_manifest_says_what_it_was_made_from_and_with(output):
    with Job(output, {"seed": 7, "size": [96, 64]}, {"seed": 7, "reference": output}) as job:
        kept = json.loads(manifest_path(job.folder).read_text())
        assert kept["format"] == manifest.FORMAT
        assert kept["settings"] == {"seed": 7, "size": [96, 64]}
        assert kept["configuration"] == {"seed": 7, "reference": str(output)}
        assert kept["seed"] == 7
        assert kept["output"] == "result.mp4"
        assert set(kept["versions"]) == {"posegen", "torch", "diffusers", "python"}
        before = manifest_path(job.folder).read_bytes()
    with Job(output, {"seed": 7, "size": [96, 64]}):
        assert manifest_path(job.folder).read_bytes() == before


def test_changed_settings_are_told_with_old_and_new_values(output, caplog):
    prompt = "A realistic video of a woman in a long and very colourful dress, " * 3
    old = {"seed": 42, "prompt": prompt + "in a house.", "steps": None, "gone": 1}
    new = {"seed": 7, "prompt": prompt + "on a beach.", "steps": None, "size": [96, 64]}
    with caplog.at_level("INFO", "posegen"), Job(output, old) as first:
        pass
    assert not caplog.records
    with caplog.at_level("INFO", "posegen"), Job(output, new) as second:
        pass
    assert first.folder != second.folder
    title, *lines = [record.message.strip() for record in caplog.records]
    assert "changed settings" in title
    assert [line.split(":")[0] for line in lines] == ["gone", "prompt", "seed", "size"]
    assert "gone: 1 -> (not set)" in lines
    assert "seed: 42 -> 7" in lines
    assert "size: (not set) -> [96, 64]" in lines
    assert "in a house." in lines[1]
    assert "on a beach." in lines[1]
    assert max(map(len, lines)) < 130
    caplog.clear()
    with caplog.at_level("INFO", "posegen"), Job(output, old):
        assert not caplog.records  # that job is not new


def test_other_versions_of_what_computes_are_told(output, monkeypatch, caplog):
    with Job(output, {}):
        pass
    monkeypatch.setattr("posegen.generate.job.job_folder.versions", lambda: {**manifest.versions(), "torch": "99.0"})
    with caplog.at_level("INFO", "posegen"), Job(output, {}):
        pass
    assert "torch: " in caplog.text
    assert "-> 99.0" in caplog.text


def test_a_job_of_before_formats_is_another_job(output, caplog):
    """Its manifest was the settings alone, its folder named by their hash alone, its segments without checksums."""
    settings = {"seed": 3}
    old = work_folder(output) / "job-0123456789ab"
    old.mkdir(parents=True)
    manifest_path(old).write_text(json.dumps({"seed": 1}))
    with caplog.at_level("INFO", "posegen"), Job(output, settings) as job:
        assert job.folder != old
    assert "seed: 1 -> 3" in caplog.text
    manifest_path(job.folder).write_text(json.dumps(settings))
    with Job(output, settings) as again:  # even where it lies in this one's place
        assert not again.has(FIRST)


def test_a_manifest_of_a_newer_format_is_refused_in_one_line_and_left_alone(output):
    with Job(output, {"seed": 3}) as job:
        pass
    path = manifest_path(job.folder)
    content = {**read_checked_json(path.read_bytes(), path), "format": manifest.FORMAT + 1}
    path.write_bytes(checked_json(content))
    before = path.read_bytes()
    for _ in range(2):  # the lock is not kept
        with pytest.raises(NewerFormatError, match="update posegen") as caught, Job(output, {"seed": 3}):
            pass
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == before
    with Job(output, {"seed": 4}):  # another job of the same output is not stopped by it
        pass


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}', b"\xff\xfe"])
def test_a_damaged_manifest_is_written_again(output, content):
    with Job(output, {"seed": 3}) as job:
        manifest_path(job.folder).write_bytes(content)
    with Job(output, {"seed": 3}):
        assert json.loads(manifest_path(job.folder).read_text())["settings"] == {"seed": 3}


def test_a_full_disk_is_told_with_the_space_that_finishing_takes(output):
    def fill(job):
        with job:
            job.record_disk_usage(EXPECTED)
            raise DiskFullError("x: the disk is full")

    job = Job(output, {})
    with pytest.raises(OutputError, match=r"about [\d.]+ kB .*4 of 4 segments"):
        fill(job)
    at_most = job.space_needed()
    with job:
        for segment in (FIRST, SECOND):
            job.save(segment, np.zeros((13, 32, 24, 3), np.uint8), FPS)
    size = job.path(FIRST).stat().st_size
    assert 2 * size < job.space_needed() < 5 * size < at_most
    with pytest.raises(DiskFullError, match="2 of 4 segments") as caught:
        fill(job)
    assert readable_size(job.space_needed()) in str(caught.value)

    def fill_elsewhere():
        with job:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DiskFullError, match="2 of 4 segments"):
        fill_elsewhere()
    with job:
        assert job.has(FIRST)


def test_the_space_for_the_result_is_measured_on_what_is_there_of_it(output):
    """Moving noise takes far more of H.264 than a share of its lossless size says."""
    with Job(output, {}) as job:
        job.save(FIRST, np.zeros((13, 32, 24, 3), np.uint8), FPS)
        job.record_disk_usage(EXPECTED)
        guessed = job.space_needed()
        segment = job.path(FIRST).stat().st_size
        with VideoWriter(growing_path(output), FPS, size=(32, 24)) as writer:
            for frame in noise()[:10]:
                writer.write(frame)
        grown = growing_path(output).stat().st_size
        assert job.space_needed() == pytest.approx(3 * segment + 2 * 4 * grown, abs=1)
        assert job.space_needed() > 2 * guessed
        growing_path(output).write_bytes(growing_path(output).read_bytes()[:20])  # nothing in it can be read
        assert job.space_needed() == guessed
    with Job(output, {}) as again:
        assert again.progress.num_frames == 40


def test_the_space_for_a_background_in_files_counts_as_far_as_it_is_missing(output):
    with Job(output, {}) as job:
        job.record_disk_usage(EXPECTED)
        without = job.space_needed()
        job.record_disk_usage(replace(EXPECTED, background_files=6, background_file=1000))
        assert job.space_needed() == without + 6000
        folder = background_folder(job.folder)
        folder.mkdir()
        for layer in range(4):
            (folder / f"step000-positive-layer{layer:03d}.safetensors").write_bytes(bytes(800))
        assert job.space_needed() == without + 1600
    with pytest.raises(DiskFullError, match="4 of 4 segments are left, the shared background, and the result"), job:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_what_keeps_no_segments_is_told_the_space_for_its_result(output):
    def fill():
        with Job(output, {}) as job:
            job.record_disk_usage(replace(EXPECTED, segments=0))
            raise DiskFullError("x: the disk is full")

    with pytest.raises(DiskFullError, match=r"about [\d.]+ kB of free space is needed \(for the result\)"):
        fill()


def test_other_errors_pass_as_they_are(output):
    def fail():
        with Job(output, {}) as job:
            job.record_disk_usage(EXPECTED)
            raise KeyError("x")

    with pytest.raises(KeyError):
        fail()


HOLD = """
import sys, time
from pathlib import Path
from posegen.generate.job.job_folder import Job
with Job(Path(sys.argv[1]), {"seed": 3}):
    print("open", flush=True)
    time.sleep(60)
"""


def test_a_lock_keeps_a_second_process_off_and_goes_with_the_first(output):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(output)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "open\n"
        with pytest.raises(OutputError, match="another posegen process"), Job(output, {"seed": 3}):
            pass
        child.kill()
    with Job(output, {"seed": 3}):
        pass


WRITE = """
import sys, time
from pathlib import Path
from posegen.generate.job.job_folder import hold_output
with hold_output(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_process_at_a_time_writes_an_output(output, tmp_path):
    other_way = tmp_path / "link"
    other_way.symlink_to(tmp_path)
    with subprocess.Popen([sys.executable, "-c", WRITE, str(output)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "held\n"
        for same in (output, other_way / output.name):
            with pytest.raises(OutputError, match=r"is writing .*choose another output"), hold_output(same):
                pass
        with hold_output(output.with_name("other.mp4")):
            pass
        child.kill()
    with hold_output(output):  # goes with the process, even if it was killed
        assert work_folder(output).is_dir()
    assert not work_folder(output).exists()  # nothing was done


def test_the_folder_of_an_output_stays_when_something_was_done(output):
    with hold_output(output), Job(output, {}) as job:
        job.save(FIRST, noise(), FPS)
    with hold_output(output), Job(output, {}) as job:
        assert job.has(FIRST)


def test_sizes_are_readable():
    assert [readable_size(size) for size in (0, 999, 1000, 12_345_678, 3.2e9, 5e12, 5e15)] == [
        "0 bytes", "999 bytes", "1.0 kB", "12.3 MB", "3.2 GB", "5.0 TB", "5000.0 TB",
    ]  # fmt: skip  # short arguments, read in rows
