"""From files to a file: length, rate, sound, resumption, sharing; with the mini at few steps and real media."""

import json
import re
import signal
import subprocess
import time
import tracemalloc
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from planned_jobs import identity, planned, resolved
from posegen.conditions.folder import open_conditions
from posegen.config import GenerateConfig
from posegen.digests import file_digest
from posegen.errors import OutputError, PosegenError
from posegen.generate import driving_conditions, long_video, segment_maker
from posegen.generate.job.job_folder import Job, growing_path, work_folder
from posegen.generate.job.kept_jobs import list_jobs
from posegen.generate.long_video import generate_video
from posegen.generate.reference_pose import ReferencePose, look_at_reference
from posegen.media.image import write_image
from posegen.media.video import VideoWriter, iterate_frames, probe_video
from posegen.model import latents
from posegen.model.sources import load_pipeline
from posegen.progress import NullProgress


def changed(config, **changes):
    return GenerateConfig(**{**vars(config), **changes})


def decoded(path):
    return np.stack(list(iterate_frames(path)))


class Listener:
    def __init__(self):
        self.lines, self.tasks = [], []

    def say(self, line):
        self.lines.append(line)

    def update(self, task, done, total):
        self.tasks.append((task, done, total))


def test_the_result_has_length_rate_size_and_sound_of_the_driving_video(config):
    listener = Listener()
    generate_video(changed(config, side_by_side=True), listener)
    info = probe_video(config.output)
    assert (info.num_frames, info.fps, info.height, info.width) == (60, 24, 96, 64)
    assert info.has_audio
    both = probe_video(config.output.with_stem("result_side_by_side"))
    assert (both.num_frames, both.height, both.width) == (60, 96, 192)
    assert "2 base + 1 stitch" in listener.lines[0]
    assert [task for task, done, total in listener.tasks if done == total and task.startswith("segment")] == [
        "segment 0000-base",
        "segment 0002-base",
        "segment 0001-stitch",
    ]
    assert sorted(path.name for path in config.output.parent.iterdir()) == [
        "result.mp4",
        "result.posegen",
        "result_side_by_side.mp4",
    ]


def test_a_video_of_one_segment_is_what_the_plain_pipeline_makes(config):
    config = changed(config, fps="66/5", guidance=2.0, pose_guidance=1.5, pose_strength=1.2)
    video = generate_video(config).plan
    num_frames = video.settings.num_frames
    assert num_frames == video.inputs.model.segment_length
    conditions, _ = open_conditions(work_folder(config.output) / "conditions")
    pipeline = load_pipeline(config.model, torch.device("cpu"), torch.float32)
    frames = pipeline(
        video.reference.image,
        conditions.skeleton_frames(0, num_frames),
        conditions.hand_frames(0, num_frames),
        video.settings.sampling.prompt,
        num_inference_steps=config.steps,
        guidance_scale=config.guidance,
        pose_guidance_scale=config.pose_guidance,
        pose_strength=config.pose_strength,
        generator=torch.Generator().manual_seed(config.seed),
        output_type="uint8",
    ).frames[0]
    (segment,) = segment_files(config)
    assert np.array_equal(decoded(segment), frames)


def test_fps_changes_the_number_of_frames_and_not_the_duration(config):
    generate_video(changed(config, fps="12"))
    info = probe_video(config.output)
    assert (info.num_frames, info.fps) == (30, 12)


def test_same_seed_same_bytes_other_seed_other_video(few, tmp_path):
    outputs = [tmp_path / name / "result.mp4" for name in ("a", "b", "c")]
    for output, seed in zip(outputs, (1, 1, 2), strict=True):
        generate_video(changed(few, output=output, seed=seed))
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert not np.array_equal(decoded(outputs[0]), decoded(outputs[2]))


def segment_files(config):
    return sorted(work_folder(config.output).glob("job-*/segments/[0-9]*.mkv"))


def test_a_job_goes_on_after_any_segment_with_the_same_result(ready, monkeypatch, tmp_path):
    generate_video(ready)
    whole = ready.output.read_bytes()
    assert [path.name for path in segment_files(ready)] == ["0000-base.mkv", "0001-stitch.mkv", "0002-base.mkv"]
    denoise = segment_maker.denoise
    for finished in range(3):
        again = changed(ready, output=tmp_path / f"stopped{finished}" / "result.mp4")
        calls = []

        def interrupted(*arguments, calls=calls, finished=finished, **options):
            if len(calls) == finished:
                raise KeyboardInterrupt
            calls.append(1)
            return denoise(*arguments, **options)

        monkeypatch.setattr(segment_maker, "denoise", interrupted)
        with pytest.raises(KeyboardInterrupt):
            generate_video(again)
        assert not again.output.exists()
        assert len(segment_files(again)) == finished
        monkeypatch.setattr(segment_maker, "denoise", denoise)
        kept = [path.stat().st_mtime_ns for path in segment_files(again)]
        generate_video(again)
        assert [path.stat().st_mtime_ns for path in segment_files(again)[:1]] == kept[:1] or not kept
        assert again.output.read_bytes() == whole


def interrupt_after(segments, monkeypatch):
    """Let Ctrl-C come when so many segments are denoised."""
    denoise, calls = segment_maker.denoise, []

    def interrupted(*arguments, **options):
        if len(calls) == segments:
            raise KeyboardInterrupt
        calls.append(1)
        return denoise(*arguments, **options)

    monkeypatch.setattr(segment_maker, "denoise", interrupted)


def test_what_is_final_can_be_watched_before_the_end(ready, monkeypatch, tmp_path):
    generate_video(ready)
    assert not growing_path(ready.output).exists()
    again = changed(ready, output=tmp_path / "again" / "result.mp4")
    interrupt_after(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        generate_video(again)
    final = len(decoded(segment_files(again)[0])) - 9  # the first segment but for what it shares
    watched = decoded(growing_path(again.output))
    assert len(watched) == final
    assert np.abs(watched.astype(int) - decoded(ready.output)[:final]).mean() < 2  # two encodings of the same frames
    assert not again.output.exists()
    monkeypatch.undo()
    generate_video(again)
    assert again.output.read_bytes() == ready.output.read_bytes()
    assert not growing_path(again.output).exists()


def test_a_growing_video_never_takes_the_place_of_an_input(config, tmp_path):
    driving = tmp_path / "dance.growing.mp4"
    driving.write_bytes(config.driving.read_bytes())
    with pytest.raises(PosegenError, match="one of the inputs"):
        generate_video(changed(config, driving=driving, output=driving.with_name("dance.mp4")))


@pytest.mark.parametrize("kind", ["reference", "driving"])
def test_a_side_by_side_video_never_takes_the_place_of_an_input(config, tmp_path, kind):
    given = tmp_path / "dance_side_by_side.mp4"
    given.write_bytes(getattr(config, kind).read_bytes())  # a picture is told by its content
    before = given.read_bytes()
    wanted = changed(config, output=tmp_path / "dance.mp4", **{kind: given})
    with pytest.raises(PosegenError, match=r"dance_side_by_side\.mp4 is written.* one of the inputs") as caught:
        generate_video(changed(wanted, side_by_side=True))
    assert "\n" not in str(caught.value)
    assert given.read_bytes() == before
    resolved(wanted)  # without that video nothing is in the way


@pytest.mark.parametrize("name", ["0000-base.mkv", "0001-stitch.mkv"])
def test_a_damaged_segment_is_made_again_and_the_result_is_the_same(ready, caplog, name):
    generate_video(ready)
    whole = ready.output.read_bytes()
    ready.output.unlink()
    files = {path.name: path for path in segment_files(ready)}
    before = {path: path.stat().st_mtime_ns for path in files.values()}
    content = bytearray(files[name].read_bytes())
    content[len(content) // 2] ^= 1
    files[name].write_bytes(content)
    with caplog.at_level("INFO", "posegen"):
        generate_video(ready)
    assert len([record for record in caplog.records if " is damaged" in record.message]) == 1
    assert f"segment {files[name].stem} is damaged" in caplog.text
    assert {path.name for path in before if path.stat().st_mtime_ns != before[path]} == {name}
    assert ready.output.read_bytes() == whole


def test_a_segments_pixels_are_never_all_in_memory(few, monkeypatch):
    convert, sizes = latents.to_frames, []
    monkeypatch.setattr(latents, "to_frames", lambda pixels: (sizes.append(pixels.shape[2]), convert(pixels))[1])
    generate_video(changed(few, steps=1))
    assert sizes == [1, *[4] * 8]


def test_jobs_are_listed_as_far_as_they_are(ready, monkeypatch):
    interrupt_after(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        generate_video(ready)
    monkeypatch.undo()
    (job,) = list_jobs(ready.output.parent)
    assert (job.output, job.finished, job.segments, job.state) == ("result.mp4", 2, 3, "unfinished")
    generate_video(ready)
    (job,) = list_jobs(ready.output.parent)
    assert (job.finished, job.segments, job.state) == (3, 3, "finished")
    kept = json.loads((job.folder / "manifest.json").read_text())
    assert kept["configuration"]["driving"] == str(ready.driving)
    assert kept["settings"]["driving_sha256"] == file_digest(ready.driving)


def test_a_killed_process_goes_on_and_ends_with_the_same_bytes(warm, ready):
    command = [
        "generate", "--reference", str(ready.reference), "--driving",
        str(ready.driving), "--output", str(ready.output), "--conditions", str(ready.conditions), "--steps", "2",
        "--dtype", "float32", "--anchor", str(ready.anchor), "--prompt", str(ready.prompt),
        "--retarget", ready.retarget, "--model", ready.model, "--no-person-check",
    ]  # fmt: skip  # a table, read in rows
    generate_video(changed(ready, output=ready.output.with_name("whole.mp4")))
    with warm.posegen(*command, stderr=subprocess.DEVNULL) as child:
        wait_for(lambda: len(segment_files(ready)) > 0, child)
        child.send_signal(signal.SIGKILL)
    assert not ready.output.exists()
    with warm.posegen(*command, stderr=subprocess.PIPE) as child:
        wait_for(lambda: len(segment_files(ready)) > 1, child)
        child.send_signal(signal.SIGINT)
        _, error = child.communicate(timeout=60)
    if child.returncode != 0:  # it was interrupted before its end
        assert child.returncode == 130
        assert "the same command resumes" in error
        assert "Traceback" not in error
        assert not ready.output.exists()
    done = warm.run_posegen(*command)
    assert done.returncode == 0, done.stderr
    assert "segment 0000-base is already finished" in done.stderr
    assert "it/s" not in done.stderr  # the bars of libraries, where there is nothing to wait for
    assert ready.output.read_bytes() == ready.output.with_name("whole.mp4").read_bytes()
    assert not list(ready.output.parent.rglob("*.part*"))


def wait_for(condition, child):
    deadline = time.monotonic() + 120
    while not condition() and child.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_changed_settings_are_another_job_that_reuses_the_conditions(config, caplog):
    generate_video(changed(config, fps="6"))
    manifest = work_folder(config.output) / "conditions" / "manifest.json"
    before = manifest.stat().st_mtime_ns
    with caplog.at_level("INFO", "posegen"):
        generate_video(changed(config, fps="6", seed=7))
    assert manifest.stat().st_mtime_ns == before
    assert "changed settings" in caplog.text
    assert [record.message for record in caplog.records if " -> " in record.message] == ["  seed: 42 -> 7"]
    jobs = [json.loads(path.read_text()) for path in work_folder(config.output).glob("job-*/manifest.json")]
    assert sorted(job["seed"] for job in jobs) == [7, 42]


def test_a_driving_video_that_was_changed_is_another_job_and_estimated_again(config, driving, tmp_path, caplog):
    path = tmp_path / "driving.mp4"

    def film(frames):
        with VideoWriter(path, Fraction(24), size=(640, 360)) as writer:
            for frame in frames:
                writer.write(frame)

    frames = list(iterate_frames(driving))[:12]
    film(frames)
    generate_video(changed(config, driving=path, steps=1))
    first = config.output.read_bytes()
    film([np.ascontiguousarray(frame[:, ::-1]) for frame in frames])
    with caplog.at_level("INFO", "posegen"):
        generate_video(changed(config, driving=path, steps=1))
    [line] = [record.message for record in caplog.records if " -> " in record.message]
    assert "driving" in line
    assert config.output.read_bytes() != first
    fresh = changed(config, driving=path, steps=1, output=tmp_path / "fresh" / "result.mp4")
    generate_video(fresh)
    assert config.output.read_bytes() == fresh.output.read_bytes()


def test_two_hours_are_planned_at_once_and_need_no_more_memory(config, tmp_path):
    path = tmp_path / "two_hours.mp4"
    with VideoWriter(path, Fraction(1), size=(32, 32)) as writer:
        for number in range(7200):
            writer.write(np.full((32, 32, 3), number % 256, np.uint8))
    tracemalloc.start()
    start = time.monotonic()
    listener = Listener()
    result = generate_video(changed(config, driving=path, fps="16", dry_run=True), listener)
    taken, (_, peak) = time.monotonic() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert result.plan.settings.num_frames == 7200 * 16
    assert "115200 frames" in listener.lines[0]
    assert peak < 50e6  # frames of 96 x 64 alone would be 2 GB
    assert taken < 60


def test_two_processes_cannot_work_on_one_job(config):
    video = planned(config)
    pose = ReferencePose(video.inputs.reference, config, config.device)
    video = replace(video, reference=look_at_reference(video.reference, pose, config, NullProgress()))
    with Job(config.output, identity(video)), pytest.raises(OutputError, match="another posegen process"):
        generate_video(config)


WORK = """
import sys
from pathlib import Path
from posegen.config import GenerateConfig
from posegen.generate import long_video

def wait(*arguments):
    print("works", flush=True)
    sys.stdin.read()

long_video.look_at_reference = wait
long_video.generate_video(GenerateConfig(
    reference=Path(sys.argv[1]), driving=Path(sys.argv[2]), output=Path(sys.argv[3]), prompt="A man.", size="96x64"
))
"""


def test_a_second_process_with_other_settings_is_refused_before_any_work(warm, config, monkeypatch):
    given = [config.reference, config.driving, config.output]
    with warm(WORK, given, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert "works\n" in iter(first.stdout.readline, "")
        monkeypatch.setattr(long_video, "plan_video", lambda *_: pytest.fail("it works"))
        with pytest.raises(OutputError) as caught:
            generate_video(changed(config, seed=7))
        assert str(caught.value).startswith(f"another posegen process is writing {config.output}: ")
        assert "\n" not in str(caught.value)
        monkeypatch.undo()
        generate_video(changed(config, seed=7, dry_run=True))  # writes nothing
        first.kill()
    assert not config.output.exists()


def test_what_is_refused_leaves_no_folder(config):
    with pytest.raises(PosegenError, match="raise memory_budget"):
        generate_video(changed(config, memory_budget="10"))
    assert not work_folder(config.output).exists()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"normals": "sapiens2", "normals_weights": "none.pt2"}, "normals_weights none.pt2"),
        ({"normals": "file", "normals_file": Path("none.mkv")}, "none.mkv: no such file"),
        ({"pose": "vitpose", "pose_weights": "none.pth"}, "pose_weights none.pth"),
        ({"pose": "file", "pose_file": Path("none.json")}, "none.json: there is no such file"),
        ({"reference": "nobody.png"}, "no person is found in the reference image"),
        ({"driving": "nobody.mp4"}, "no person is seen"),
    ],
)
def test_inputs_that_cannot_be_used_leave_no_job(config, tmp_path, changes, expected):
    write_image(tmp_path / "nobody.png", np.full((300, 200, 3), 128, np.uint8))
    with VideoWriter(tmp_path / "nobody.mp4", Fraction(24), size=(96, 64)) as writer:
        for _ in range(6):
            writer.write(np.zeros((96, 64, 3), np.uint8))
    files = {name: tmp_path / value for name, value in changes.items() if name in ("reference", "driving")}
    with pytest.raises(PosegenError, match=expected):
        generate_video(changed(config, **{**changes, **files}))
    assert not work_folder(config.output).exists()


def test_sharing_changes_the_other_base_segment_and_never_the_anchor(ready, tmp_path):
    files = {}
    for sharing in ("paper", "release", "off"):
        anchor = None if sharing == "off" else 0
        again = changed(ready, output=tmp_path / sharing / "result.mp4", sharing=sharing, anchor=anchor)
        generate_video(again)
        files[sharing] = [decoded(path) for path in segment_files(again)]
    assert np.array_equal(files["paper"][0], files["off"][0])
    assert np.array_equal(files["release"][0], files["off"][0])
    assert not np.array_equal(files["paper"][2], files["off"][2])
    assert not np.array_equal(files["release"][2], files["off"][2])
    assert not np.array_equal(files["paper"][2], files["release"][2])


def test_stitch_segments_get_exact_pixels_of_their_neighbours(ready, monkeypatch):
    given = []
    encode = long_video.SegmentMaker._denoise

    def spy(self, segment, background=None, head=None, tail=None, **options):
        given.append((segment, head, tail))
        return encode(self, segment, background, head, tail, **options)

    monkeypatch.setattr(long_video.SegmentMaker, "_denoise", spy)
    generate_video(ready)
    base, _, after = (decoded(path) for path in segment_files(ready))
    stitches = [(head, tail) for segment, head, tail in given if segment.kind == "stitch"]
    assert len(stitches) == 1
    assert np.array_equal(stitches[0][0], base[-9:])
    assert np.array_equal(stitches[0][1], after[:8])


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs POSIX limits on file size")
def test_a_full_disk_is_one_line_and_keeps_what_is_finished(warm, ready, monkeypatch):
    """A real limit on the size of files stands for a full disk: the first write beyond it fails."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000)); "
        "from posegen.apps.cli import main; main(sys.argv[1:])"
    )

    def run():
        done = warm.run(
            code,
            [
                "generate", "--reference", str(ready.reference),
                "--driving", str(ready.driving), "--output", str(ready.output),
                "--conditions", str(ready.conditions), "--dtype", "float32", "--steps", "1",
                "--anchor", str(ready.anchor), "--prompt", str(ready.prompt), "--retarget", ready.retarget,
                "--model", ready.model, "--no-person-check",
            ],
            environment={"PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip  # a table, read in rows
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert not ready.output.exists()
        return done.stderr.rstrip().splitlines()[-1]

    ready = changed(ready, steps=1)
    first = run()  # no segment yet
    assert re.search(r"the disk is full.* about [\d.]+ [kM]B of free space is needed \(3 of 3 segments are left", first)
    interrupt_after(1, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        generate_video(ready)
    monkeypatch.undo()
    (kept,) = segment_files(ready)
    moment = kept.stat().st_mtime_ns
    last = run()
    assert "the disk is full" in last
    assert re.search(r"about [\d.]+ [kM]B of free space is needed \(2 of 3 segments are left", last)
    generate_video(ready)
    assert kept.stat().st_mtime_ns == moment
    assert probe_video(ready.output).num_frames == 60


@pytest.mark.parametrize("frames", [1, 5])
def test_a_video_shorter_than_a_segment_is_padded_and_cut(config, driving, tmp_path, frames):
    path = tmp_path / "short.mp4"
    with VideoWriter(path, Fraction(24), size=(640, 360)) as writer:
        for _, frame in zip(range(frames), iterate_frames(driving), strict=False):
            writer.write(frame)
    generate_video(changed(config, driving=path))
    assert probe_video(config.output).num_frames == frames


def test_a_folder_that_cannot_be_written_is_refused_first(config, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OutputError, match="cannot write into"):
        generate_video(changed(config, output=Path(blocked) / "deep" / "x.mp4"))


def test_given_conditions_are_used_as_they_are(config, tmp_path, monkeypatch):
    generate_video(changed(config, fps="6"))
    folder = work_folder(config.output) / "conditions"
    monkeypatch.setattr(driving_conditions, "extract_conditions", lambda *_, **__: pytest.fail("extracted again"))
    again = changed(config, output=tmp_path / "again" / "result.mp4", conditions=folder, size=None)
    listener = Listener()
    settings = generate_video(again, listener).plan.settings
    assert (settings.size, settings.fps, settings.num_frames) == ((96, 64), 6, 15)
    assert again.output.read_bytes() == config.output.read_bytes()
    assert str(folder) in listener.lines[0]
    assert not (work_folder(again.output) / "conditions").exists()


def test_given_conditions_that_do_not_fit_are_refused_before_anything_is_made(config, few_conditions, tmp_path):
    folder = few_conditions
    for wrong, expected in (({"size": "64x64"}, "size"), ({"fps": "12"}, "fps")):
        again = changed(config, output=tmp_path / "again" / "result.mp4", conditions=folder, **wrong)
        with pytest.raises(PosegenError, match=expected):
            generate_video(again)
        assert not again.output.parent.exists()
    with pytest.raises(PosegenError, match="no conditions"):
        generate_video(changed(config, conditions=tmp_path / "nothing"))
