"""The ways from segments to a long video that the method is compared with: plans, exact hand-over, resumption."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from planned_jobs import resolved
from posegen.generate import free_noise, segment_maker
from posegen.generate.free_noise import rescheduled_noise, window_weights
from posegen.generate.job.job_folder import work_folder
from posegen.generate.long_video import generate_video
from posegen.generate.segments import plan_segments
from posegen.media.video import iterate_frames, probe_video

METHODS = ("interleaved", "autoregressive", "freenoise", "independent")


@given(st.integers(1, 700), st.sampled_from(METHODS), st.sampled_from([(81, 21, 20), (33, 9, 8), (9, 2, 2), (5, 1, 0)]))
def test_every_plan_covers_the_video_and_no_more(num_frames, method, sizes):
    plan = plan_segments(num_frames, *sizes, method)
    length, head, _ = sizes
    covered = {frame for segment in plan.segments for frame in range(segment.start, segment.stop)}
    assert set(range(num_frames)) <= covered
    assert all(segment.stop - segment.start == length for segment in plan.segments)
    assert [segment.index for segment in plan.segments] == list(range(len(plan.segments)))
    before = plan.segments[-3 if method == "interleaved" else -2 :][:1]
    assert len(plan.segments) == 1 or before[0].stop < num_frames  # none too many
    overlaps = {plan.overlap(segment.index) for segment in plan.segments[:-1]}
    if method == "autoregressive":
        assert overlaps <= {head}
        assert [segment.kind for segment in plan.segments[1:]] == ["chain"] * (len(plan.segments) - 1)
    if method == "independent":
        assert overlaps <= {0}
    if method == "freenoise":
        assert all(segment.start % 4 == 0 for segment in plan.segments)
        assert all(0 < overlap < length for overlap in overlaps)


@pytest.mark.parametrize("method", METHODS[1:])
def test_each_method_makes_the_whole_video(lean, method):
    video = generate_video(replace(lean, anchor=None, long_method=method)).plan
    info = probe_video(lean.output)
    assert (info.num_frames, info.fps) == (video.settings.num_frames, 40)
    assert video.settings.sharing.config is None
    kinds = {"autoregressive": "1 base + 3 chain", "freenoise": "6 window", "independent": "4 base"}
    assert f"plan       {kinds[method]} segments of 33 frames" in video.description


def test_one_segment_is_the_same_by_every_method(lean, few_conditions, tmp_path):
    videos, lean = [], replace(lean, pose_guidance=1.5, pose_strength=1.2)
    for method in METHODS:
        output = tmp_path / f"{method}.mp4"
        slow = replace(lean, anchor=None, conditions=few_conditions, output=output, long_method=method)
        assert len(resolved(slow).plan.segments) == 1
        generate_video(slow)
        videos.append(np.stack(list(iterate_frames(output))))
    assert all(np.array_equal(videos[0], video) for video in videos[1:])


def test_a_chain_segment_gets_the_exact_end_of_the_one_before(lean, monkeypatch):
    given_frames, saved = {}, {}
    conditioning, save = segment_maker.SegmentInputs.conditioning, segment_maker.Job.save

    def watch_conditioning(inputs, segment, head=None, tail=None):
        given_frames[segment.index] = (head, tail)
        return conditioning(inputs, segment, head, tail)

    def watch_save(job, segment, frames, *rest):
        saved[segment.index] = np.stack(list(frames))
        save(job, segment, saved[segment.index], *rest)

    monkeypatch.setattr(segment_maker.SegmentInputs, "conditioning", watch_conditioning)
    monkeypatch.setattr(segment_maker.Job, "save", watch_save)
    video = generate_video(replace(lean, anchor=None, long_method="autoregressive")).plan
    assert given_frames[0] == (None, None)
    for index in range(1, len(video.settings.plan.segments)):
        head, tail = given_frames[index]
        assert tail is None
        assert len(head) == video.inputs.model.head
        assert np.array_equal(head, saved[index - 1][-len(head) :])


# -- FreeNoise -------------------------------------------------------------------------------------------------------


@given(st.integers(1, 60), st.integers(1, 9))
def test_every_window_has_the_same_noise_in_another_order(num_latents, stride):
    window = torch.randn(1, 2, 9, 3, 3)
    noise = rescheduled_noise(window, num_latents, stride, 0)
    assert noise.shape[2] == num_latents
    values = sorted(float(value) for value in window[0, 0, :, 0, 0])
    for start in range(0, num_latents - 9 + 1, stride):
        part = noise[0, 0, start : start + 9, 0, 0]
        assert sorted(float(value) for value in part) == values
    assert torch.equal(noise[:, :, :9], window[:, :, :num_latents])


def test_weights_fall_from_the_middle_to_the_ends():
    assert window_weights(5).tolist() == [1, 2, 3, 2, 1]
    assert window_weights(4).tolist() == [1, 2, 2, 1]


def test_free_noise_goes_on_after_any_step(lean, tmp_path, monkeypatch):
    lean = replace(lean, anchor=None, long_method="freenoise", guidance=1.0, pose_guidance=1.5)
    whole = replace(lean, output=tmp_path / "whole.mp4", steps=3)
    generate_video(whole)
    keep = free_noise.FreeNoise._keep
    for stop in (1, 2):
        broken = replace(whole, output=tmp_path / f"stopped{stop}.mp4")

        def keep_and_stop(windows, step, latents, stop=stop):
            keep(windows, step, latents)
            if step == stop:
                raise KeyboardInterrupt

        monkeypatch.setattr(free_noise.FreeNoise, "_keep", keep_and_stop)
        with pytest.raises(KeyboardInterrupt):
            generate_video(broken)
        monkeypatch.setattr(free_noise.FreeNoise, "_keep", keep)
        assert len(list(work_folder(broken.output).glob("job-*/free_noise/*.safetensors"))) == 1
        (folder,) = work_folder(broken.output).glob("job-*/free_noise")
        (folder / ".step-0003.0123abcd.part.safetensors").touch()  # as a killed process leaves it
        generate_video(broken)
        assert broken.output.read_bytes() == whole.output.read_bytes()
        assert not list(work_folder(broken.output).glob("job-*/free_noise"))


def test_windows_of_free_noise_agree_where_they_overlap(lean):
    """There is one latent video: fused windows leave no seam that independent ones have."""

    def largest_jump(method):
        output = lean.output.with_stem(method)
        result = generate_video(replace(lean, anchor=None, output=output, long_method=method))
        frames = np.stack(list(iterate_frames(output))).astype(float)
        change = np.abs(np.diff(frames, axis=0)).mean((1, 2, 3))
        seams = [segment.start - 1 for segment in result.plan.settings.plan.segments[1:]]
        return change[seams].mean() / np.median(change)

    assert largest_jump("freenoise") < largest_jump("independent")
