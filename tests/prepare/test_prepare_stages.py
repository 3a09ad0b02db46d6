"""The stages without Ray: broken videos, processes that crash, duplicates, verdicts, and what is kept."""

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prepared_clips import PERSON, RECIPE, brightness_scorer, looked, person_video, scored, work_in, write_recipe

from posegen.conditions.keypoints import HANDS, PersonPose
from posegen.data.clips import OUTSIDE, VISIBLE
from posegen.errors import PosegenError
from posegen.media.checksums import checked_json, read_checked_json
from posegen.media.video import VideoWriter, iterate_frames
from posegen.prepare.duplicates import find_duplicates
from posegen.prepare.engine import _score_tasks
from posegen.prepare.filters.clip_filters import FilterSettings, wanted_columns
from posegen.prepare.filters.sampled_frames import PassingSamples
from posegen.prepare.isolated import CrashError, Isolated
from posegen.prepare.prepare_recipe import ClipSettings, ConditionSettings, PrepareRecipe, read_prepare_recipe
from posegen.prepare.prepare_videos import clips_together, prepare_data, tell_of_missing
from posegen.prepare.required_weights import WeightSizes, measure_weights
from posegen.prepare.stages.clip_stage import run_here
from posegen.prepare.stages.clip_stages import LookStage, SampleStage, ScoreStage
from posegen.prepare.stages.messages import (
    ClipsTask,
    Failure,
    Look,
    LookAndScore,
    MadeSample,
    ScoredClip,
    ShardTask,
    VideoTask,
    Window,
    result_or_failure,
    to_text,
)
from posegen.prepare.stages.packing import check_shards, open_packing, shards_in
from posegen.prepare.stages.samples import _known_places, _visibility
from posegen.prepare.stages.scenes import look_through, place_windows
from posegen.prepare.stages.stage_work import CLIPS_PER_TASK, clip_key, tasks_of
from posegen.prepare.stages.worker_calls import make_functions
from posegen.prepare.store import Store, parsed, take_damaged
from posegen.prepare.verdicts import CandidateClip, Verdict, draw_splits, index_row, read_clips
from posegen.prepare.video_sources import Video, find_videos

FRESH = {
    "test_what_crashes_hangs_or_eats_memory_ends_only_its_own_process",
    "test_what_took_too_much_is_tried_again_with_higher_limits_only",
    "test_weights_of_models_do_not_count_as_what_a_clip_takes",
}
"""Tests about what a process takes, which a copy has with all its libraries."""


@pytest.fixture(autouse=True)
def workers_have_their_libraries(request, copied_workers):
    if request.node.originalname in FRESH:
        yield
        return
    with copied_workers():
        yield


@given(
    st.floats(0.1, 60),
    st.lists(st.floats(0.05, 59), max_size=6),
    st.integers(0, 20),
    st.floats(4, 30),
)
@settings(max_examples=60)
def test_clips_lie_in_scenes_and_never_overlap(duration, cuts, quarter, fps):
    shape = ClipSettings(num_frames=1 + 4 * quarter, fps=fps, sizes=((96, 64),))
    cuts = sorted({cut for cut in cuts if cut < duration})
    windows = place_windows(duration, cuts, shape)
    end_before = 0.0
    for start, end in windows:
        assert start >= end_before - 0.002
        assert end <= duration + 0.5 / fps + 0.002
        assert end - start == pytest.approx(shape.seconds, abs=2e-6)  # times are kept in microseconds
        assert not any(start < cut + shape.margin - 0.002 and end > cut for cut in cuts)
        end_before = end
    if not cuts and duration > shape.seconds:
        assert len(windows) >= int(duration / shape.seconds) - 1
    for known in (0.3 * duration, 0.8 * duration, duration):
        first = place_windows(known, [cut for cut in cuts if cut < known], shape, ends=False)
        assert first == windows[: len(first)], "whatever comes"
        later = [end for _, end in windows[len(first) :]]
        assert not later or later[0] + shape.margin > known - 0.002, "all that are over"


def naive_duplicates(hashes, most):
    kept, found = [], {}
    for number, row in enumerate(hashes):
        near = [other for other in kept if int(np.bitwise_count(hashes[other] ^ row).sum()) <= most]
        if near:
            found[number] = near[0]
        else:
            kept.append(number)
    return found


@given(st.integers(0, 2**32), st.integers(-1, 15))
@settings(max_examples=30)
def test_duplicates_are_those_that_comparing_all_pairs_finds(seed, most):
    random = np.random.default_rng(seed)
    hashes = random.integers(0, 2**63, (6, 4), dtype=np.uint64)[random.integers(0, 6, 40)]
    for row in hashes:
        for bit in random.integers(0, 256, random.integers(0, 18)):
            row[bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    assert find_duplicates(hashes, most) == (naive_duplicates(hashes, most) if most >= 0 else {})


def test_a_copy_at_another_size_and_quality_is_a_duplicate_and_other_moments_are_not(tmp_path):
    person_video(tmp_path / "in" / "a.mp4", seconds=3)
    person_video(tmp_path / "in" / "copy.mp4", seconds=3, size=(384, 224), crf=32, fps=24)
    work = work_in(tmp_path)
    first, copy = looked(work, find_videos([str(tmp_path / "in")]))
    tables = [np.array([window.hash for window in look.windows], np.uint64) for look in (first, copy)]
    count = min(map(len, tables))
    assert count >= 4
    found = find_duplicates(np.concatenate([tables[0][:count], tables[1][:count]]), 12)
    assert {number - count for number in found if number >= count and found[number] == number - count} == set(
        range(count)
    )
    assert not [number for number in found if number < count]


def test_splits_are_of_whole_videos_and_do_not_hang_on_the_others_names():
    keys = [f"{video:012x}-{start:09d}" for video in range(20) for start in range(3)]
    splits = draw_splits(keys, 0.2)
    videos = {split: {key[:12] for key in keys if splits[key] == split} for split in ("train", "val-same")}
    assert not videos["train"] & videos["val-same"]
    assert 4 <= len(videos["val-same"]) <= 5
    assert set(draw_splits(keys, 0.0).values()) == {"train"}


@pytest.mark.parametrize(
    ("lengths", "share", "taken", "told"),
    [
        ((1000, 1000), 0.02, 1000, True),
        ((1000, 900, 30, 8), 0.02, 38, False),
        ((500, 500, 7), 0.1, 7, True),
        ((1, 1, 1), 0.02, 1, False),
    ],
)
def test_validation_does_not_swallow_the_data(lengths, share, taken, told, caplog):
    keys = [f"{video:012x}-{start:09d}" for video, length in enumerate(lengths) for start in range(length)]
    splits = draw_splits(keys, share)
    drawn = [key for key in keys if splits[key] == "val-same"]
    assert len(drawn) == taken
    assert not {key[:12] for key in drawn} & {key[:12] for key in keys if splits[key] == "train"}
    assert ("only whole videos" in caplog.text) == told


def test_one_video_is_split_with_a_warning(caplog):
    splits = draw_splits([f"a-{number}" for number in range(10)], 0.1)
    assert list(splits.values()).count("val-same") == 1
    assert "one video" in caplog.text


def what_it_is_told(item):
    match item:
        case "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang":
            time.sleep(1000)
        case "eat":
            kept = [bytes(range(250)) * 200_000 for _ in range(40)]
            time.sleep(1000)
            return len(kept)
        case "print":
            print("to stdout")
        case "user":
            raise PosegenError("said in one line")
        case "defect":
            raise KeyError("defect")
    return item


def make_what_it_is_told():
    return what_it_is_told


def test_what_crashes_hangs_or_eats_memory_ends_only_its_own_process():
    isolated = Isolated(make_what_it_is_told, timeout=100.0, memory=1e9)
    try:
        assert isolated("print") == "print"
        # only what hangs has little time: on a busy machine the others may need more
        for item, message, patience in (("segfault", "SIGSEGV", 1), ("hang", "hung", 0.02), ("eat", "memory", 1)):
            with pytest.raises(CrashError, match=message):
                isolated(item, patience)
            assert isolated("fine") == "fine"
        with pytest.raises(PosegenError, match="one line"):
            isolated("user")
        with pytest.raises(RuntimeError, match="defect"):
            isolated("defect")
    finally:
        isolated.close()


def poisoned_scorer(recipe, device):
    def score(clip):
        if clip.frames.mean() < 20:
            os.kill(os.getpid(), signal.SIGSEGV)
        return {"brightness": float(clip.frames.mean())}

    return score


def half_dark(path, dark=20, seconds=2.5):
    with VideoWriter(path, 16, size=(256, 144)) as writer:
        for number, frame in enumerate(iterate_frames(PERSON, 16, 0, seconds)):
            picture = frame[::2, ::2].copy()
            writer.write(picture // 20 if number >= dark else picture)


LONGER = RECIPE.replace("num_frames = 5", "num_frames = 17")
"""Clips of two seconds."""


@pytest.mark.parametrize("together", [0, 16])
def test_a_poisoned_clip_is_recorded_and_the_others_are_scored(tmp_path, together):
    (tmp_path / "in").mkdir()
    half_dark(tmp_path / "in" / "a.mp4", 72, 7.0)
    work = replace(work_in(tmp_path, poisoned_scorer, LONGER), together=together)
    videos = find_videos([str(tmp_path / "in")])
    scored(work, videos)
    clips = list(read_clips(work, videos))
    crashed = [clip for clip in clips if clip.failed]
    assert crashed
    assert all("SIGSEGV), 2 times" in clip.failed for clip in crashed)
    assert len([clip for clip in clips if clip.scores]) >= 1


def written_scores(work):
    folder = Path(work.scores.url)
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.json"))}


def test_clips_that_are_scored_while_their_video_passes_have_the_scores_that_they_have_alone(tmp_path):
    """Of two scenes, with more clips than a task has; what was kept before is not scored again."""
    half_dark(person_video(tmp_path / "in" / "a.mp4"), 100, 11.9)
    person_video(tmp_path / "in" / "b.mp4", seconds=1.4)
    videos = find_videos([str(tmp_path / "in")])
    alone = work_in(tmp_path / "alone")
    scored(alone, videos)
    passing = replace(work_in(tmp_path / "together"), together=64)
    looks = looked(passing, videos)
    assert looks[0].cuts
    numbers = [len(look.windows) for look in looks]
    assert numbers[0] > CLIPS_PER_TASK
    assert numbers[1] == 2
    kept = written_scores(passing)
    assert len(kept) == sum(numbers) - 1, "all but the one whose first frames had passed when the cut was settled"
    assert len({Path(name).parent for name in kept}) == 3
    first = min(kept)
    mark = read_checked_json(kept[first], first) | {"scores": {"brightness": -1.0}}
    work = replace(work_in(tmp_path / "again"), together=64)
    work.scores.write(first, checked_json(mark))
    scored(work, videos)
    marked = [clip.key for clip in read_clips(work, videos) if clip.scores == {"brightness": -1.0}]
    assert marked == [Path(first).stem]
    scored(passing, videos)
    assert written_scores(passing) == written_scores(alone)


def test_a_long_video_is_left_to_several_workers(tmp_path):
    path = person_video(tmp_path / "in" / "a.mp4", seconds=9.0)
    work = replace(work_in(tmp_path, text=LONGER), together=2)
    (video,) = find_videos([str(tmp_path / "in")])
    look = make_functions(work)(LookAndScore(path, video.id))
    assert len(look.windows) == 4
    assert len(written_scores(work)) == 2
    assert [clips_together(videos, 4) for videos in (1, 3, 4, 11, 10_000)] == [0, 0, 16, 32, 256]


def test_a_video_that_is_cut_all_the_time_is_no_work_for_memory(tmp_path):
    """Samples are forgotten while they pass, also where no clip fits between two cuts."""
    path = tmp_path / "a.mp4"
    shapes = ClipSettings(num_frames=33, fps=16.0, sizes=((96, 64),))
    random = np.random.default_rng(0)
    with VideoWriter(path, 16, size=(96, 128)) as writer:
        for _ in range(8):
            scene = random.integers(0, 255, (96, 128, 3), np.uint8)
            for _ in range(24):
                writer.write(scene)
    held = []
    keep = PassingSamples.keep

    def counted(self, frame):
        keep(self, frame)
        held.append(len(self._kept))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PassingSamples, "keep", counted)
        look = look_through(path, shapes, lambda number, window, clip: pytest.fail("there is no clip"))
    assert len(look.cuts) == 7
    assert max(held) <= 16  # of 48


def hanging_scorer(recipe, device):
    def score(clip):
        if clip.frames.mean() < 20:
            time.sleep(100)
        return {"brightness": float(clip.frames.mean())}

    return score


def test_a_clip_that_hangs_ends_the_pass_after_its_own_time_limit(tmp_path):
    (tmp_path / "in").mkdir()
    half_dark(tmp_path / "in" / "a.mp4", 72, 7.0)
    text = LONGER.replace("timeout = 100.0", "timeout = 6.0\nattempts = 1")
    work = replace(work_in(tmp_path, hanging_scorer, text), together=16)
    videos = find_videos([str(tmp_path / "in")])
    begin = time.monotonic()
    (look,) = looked(work, videos)
    assert time.monotonic() - begin < 50  # the whole pass has sixty
    assert len(look.windows) == 3
    assert len(written_scores(work)) == 2
    list(run_here(ScoreStage, work, iter(tasks_of(videos[0], look))))
    assert [bool(clip.scores) for clip in read_clips(work, videos)] == [True, True, False]


def scorer_that_is_set_up(recipe, device):
    if "MENDED" not in os.environ:
        raise PosegenError("the weights no/model are not on this machine")
    return brightness_scorer(recipe, device)


def scorer_with_memory(recipe, device):
    def score(clip):
        if "MENDED" not in os.environ:
            raise RuntimeError("CUDA out of memory")
        return {"brightness": float(clip.frames.mean())}

    return score


def test_models_that_cannot_be_loaded_stop_the_run_and_no_clip_is_to_blame(tmp_path, monkeypatch):
    person_video(tmp_path / "in" / "a.mp4")
    work = work_in(tmp_path, scorer_that_is_set_up)
    videos = find_videos([str(tmp_path / "in")])
    (look,) = looked(work, videos)
    (row,) = run_here(ScoreStage, work, iter(tasks_of(videos[0], look)))
    assert row["fatal"] == "the weights no/model are not on this machine"
    assert not work.scores.names("**/*.json")
    monkeypatch.setenv("MENDED", "1")
    scored(work, videos)
    assert all(clip.scores for clip in read_clips(work, videos))


def test_a_defect_or_a_lack_of_gpu_memory_is_told_and_tried_again(tmp_path, monkeypatch):
    person_video(tmp_path / "in" / "a.mp4")
    work = work_in(tmp_path, scorer_with_memory)
    videos = find_videos([str(tmp_path / "in")])
    scored(work, videos)
    reasons = {clip.failed for clip in read_clips(work, videos)}
    assert reasons == {"unexpected: RuntimeError: CUDA out of memory"}
    monkeypatch.setenv("MENDED", "1")
    scored(work, videos)
    assert all(clip.scores and not clip.failed for clip in read_clips(work, videos))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ('[filters]\npeople = "rtdetr"\npeople_weights = "no/model"\n', "no/model are not on.*people_weights"),
        ('[filters]\nface = "yunet"\nface_weights = "no.onnx"\n', "face_weights no.onnx: there is no such file"),
        ('[filters]\nimage_quality = "qalign"\nquality_weights = "/none"\n', "quality_weights /none: there is no such"),
        ('[conditions]\npose = "vitpose"\npose_weights = "no/pose"\n', "no/pose are not on.*pose_weights"),
        ('[conditions]\nnormals = "sapiens2"\nnormals_weights = "no/maps"\n', "no/maps are not on.*normals_weights"),
        ('[conditions]\ncaption_model = "no/words"\n', "no/words are not on.*caption_model"),
    ],
)
def test_missing_weights_are_named_before_any_work(recipe, message, tmp_path):
    person_video(tmp_path / "in" / "a.mp4", seconds=0.2)
    with pytest.raises(PosegenError, match=message):
        prepare_data([str(tmp_path / "in")], str(tmp_path / "out"), read_prepare_recipe(write_recipe(tmp_path, recipe)))
    assert not (tmp_path / "out").exists()


def scorer_with_large_weights(recipe, device):
    weights = np.ones(1_000_000_000, np.uint8)

    def score(clip):
        time.sleep(1)  # long enough to be looked at
        return {"brightness": float(clip.frames.mean() * weights[0])}

    return score


def test_weights_of_models_do_not_count_as_what_a_clip_takes(tmp_path):
    person_video(tmp_path / "in" / "a.mp4", seconds=0.7)
    work = work_in(tmp_path, scorer_with_large_weights, RECIPE.replace("[compute]", "[compute]\nmemory_gb = 0.8"))
    videos = find_videos([str(tmp_path / "in")])
    scored(replace(work, weights=WeightSizes(scoring=500_000_000)), videos)
    assert [bool(clip.scores) for clip in read_clips(work, videos)] == [True]


def scorer_that_takes_memory(recipe, device):
    def score(clip):
        taken = np.ones(1_000_000_000, np.uint8)
        time.sleep(1)  # long enough to be looked at
        return {"brightness": float(clip.frames.mean() * taken[0])}

    return score


def test_what_took_too_much_is_tried_again_with_higher_limits_only(tmp_path):
    person_video(tmp_path / "in" / "a.mp4", seconds=0.7)
    videos = find_videos([str(tmp_path / "in")])

    def run(memory_gb, scorer):
        recipe = RECIPE.replace("[compute]", f"[compute]\nattempts = 1\nmemory_gb = {memory_gb}")
        work = work_in(tmp_path, scorer, recipe)
        scored(work, videos)
        (clip,) = read_clips(work, videos)
        return clip

    assert "more than 0.8 GB of memory" in run(0.8, scorer_that_takes_memory).failed
    assert run(0.8, brightness_scorer).failed  # what is known is not done again
    assert run(1.6, scorer_that_takes_memory).scores


def test_weights_are_measured_where_they_lie(tmp_path):
    for name, size in (("detector", 3000), ("words", 5000), ("words/other format", 7000)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "model.safetensors").write_bytes(bytes(size))
        (tmp_path / name / "model.bin").write_bytes(bytes(size))
    (tmp_path / "pose.pth").write_bytes(bytes(2000))
    recipe = PrepareRecipe(
        filters=FilterSettings(people="rtdetr", people_weights=str(tmp_path / "detector")),
        conditions=ConditionSettings(
            pose="vitpose",
            pose_weights=str(tmp_path / "pose.pth"),
            detector_weights=str(tmp_path / "detector"),
            caption_model=str(tmp_path / "words"),
        ),
    )
    assert measure_weights(recipe) == WeightSizes(scoring=3000, sampling=2000 + 3000 + 5000)
    assert measure_weights(PrepareRecipe()) == WeightSizes()


def test_shards_that_were_not_made_here_are_not_replaced(tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    (output / "train-000003.tar").write_bytes(b"of another program")
    person_video(tmp_path / "in" / "a.mp4", seconds=0.2)
    with pytest.raises(PosegenError, match=r"did not make there \(train-000003\.tar, 1 in all\): give another"):
        prepare_data([str(tmp_path / "in")], str(output), PrepareRecipe())
    assert [path.name for path in output.iterdir()] == ["train-000003.tar"]


def test_packing_claims_its_shards_before_they_are_there(tmp_path):
    work = work_in(tmp_path)
    open_packing(work, [ShardTask("train-000000.tar", (), ())])
    work.output.write("train-000000.tar", b"and then the run was killed")
    check_shards(work.output)
    open_packing(work, [])
    assert not shards_in(work.output)


def test_videos_that_are_no_longer_among_the_inputs_are_told(tmp_path, caplog):
    store = Store(str(tmp_path))
    store.write("work/videos.json", checked_json({"videos": [["/in/a.mp4", "1"], ["/in/b.mp4", "1"]]}))
    tell_of_missing(store, [Video("/in/a.mp4", "anew"), Video("/in/b.mp4", "1")])
    assert not caplog.text
    tell_of_missing(store, [Video("/in/b.mp4", "1")])
    assert "not among these inputs (/in/a.mp4, 1 in all): their clips leave the data set" in caplog.text


def test_what_stops_the_run_in_one_stage_passes_through_the_next(tmp_path):
    work = work_in(tmp_path)
    looking, scoring = LookStage(work), ScoreStage(work)
    (tmp_path / "out").write_text("in the way of the folder")
    video = Video(str(tmp_path / "none.mp4"), "missing")
    (row,) = _score_tasks(looking({"task": to_text(VideoTask(video))}), work)
    assert "cannot be" in row["fatal"]
    assert scoring(row) == row
    looking.close()


def truncated(path):
    person_video(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def audio_only(path):
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        for at in range(0, 16000, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts = 16000, at
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def one_frame(path):
    with VideoWriter(path, 16, size=(192, 112)) as writer:
        writer.write(np.zeros((192, 112, 3), np.uint8))


def slow(path):
    with VideoWriter(path, 2, size=(192, 112)) as writer:
        for number in range(8):
            writer.write(np.full((192, 112, 3), 30 * number, np.uint8))


BAD = {
    "truncated": (truncated, "not a video|breaks off|missing"),
    "zero": (lambda path: path.write_bytes(b""), "not a video"),
    "text": (lambda path: path.write_text("no video at all"), "not a video"),
    "audio": (audio_only, "no video"),
    "one": (one_frame, "shorter than a clip"),
    "slow": (slow, "frames per second"),
    "small": (lambda path: person_video(path, size=(48, 28)), "enlarged"),
    "wide": (lambda path: person_video(path, size=(96, 384)), "cut off"),
}


def test_bad_files_are_recorded_with_a_reason_that_names_no_temporary_file(tmp_path):
    (tmp_path / "in").mkdir()
    for name, (make, _) in BAD.items():
        make(tmp_path / "in" / f"{name}.mp4")
    work = work_in(tmp_path)
    videos = find_videos([str(tmp_path / "in")])
    for video, look in zip(videos, looked(work, videos), strict=True):
        import re

        name = video.url.rpartition("/")[2].partition(".")[0]
        assert re.search(BAD[name][1], look.failed), (name, look)
        assert work.clips.read(f"{video.id}.json"), "what is known of it is kept"


def test_a_video_that_the_system_refuses_to_read_is_tried_again(tmp_path):
    """A link to itself: no permission would do, but for tests that run as root."""
    work, path = work_in(tmp_path), tmp_path / "in" / "a.mp4"
    path.parent.mkdir()
    path.symlink_to(path)
    videos = [Video(str(path), "missing"), Video(str(tmp_path / "gone.mp4"), "missing")]
    refused, missing = looked(work, videos)
    assert "cannot be read (Too many levels" in refused.failed
    assert "no such file" in missing.failed
    path.unlink()
    person_video(path)
    assert len(looked(work, videos)[0].windows) == 2


@pytest.fixture
def video_files():
    """The maker of odd files that the tests of `media` use."""
    import importlib.util
    from pathlib import Path

    path = Path(__file__).parents[1] / "media" / "video_files.py"
    spec = importlib.util.spec_from_file_location("video_files", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rotated_variable_rate_and_deep_files_become_clips(tmp_path, video_files):
    make_video = video_files.make_video
    (tmp_path / "in").mkdir()
    frames = [np.ascontiguousarray(frame[::2, ::2]) for frame in iterate_frames(PERSON, 16, 0, 1.5)]
    make_video(tmp_path / "in", "rotated.mp4", [np.ascontiguousarray(np.rot90(f)) for f in frames], 16, rotation=-90)
    times = np.cumsum([0, *np.where(np.arange(len(frames) - 1) % 3, 40, 90)])
    make_video(tmp_path / "in", "variable.mkv", frames, 16, times=times.tolist())
    deep = [frame.astype(np.uint16) * 257 for frame in frames]
    make_video(tmp_path / "in", "hdr.mp4", deep, 16, "libx265", "yuv420p10le", matrix=9, transfer=16, primaries=9)
    huge = [np.zeros((7680, 4320, 3), np.uint8)] * 11
    make_video(tmp_path / "in", "eight.mp4", huge, 16, options={"preset": "ultrafast"})
    options = {"x264-params": "interlaced=1:tff=1"}
    make_video(tmp_path / "in", "interlaced.mp4", frames, 16, options=options)
    work = work_in(tmp_path)
    videos = find_videos([str(tmp_path / "in")])
    found = {video.url.rpartition("/")[2]: look for video, look in zip(videos, looked(work, videos), strict=True)}
    assert (found["eight.mp4"].height, found["eight.mp4"].width) == (7680, 4320)
    assert {name for name, look in found.items() if isinstance(look, Failure) or not look.windows} == set(), found
    assert found["hdr.mp4"].hdr
    assert (found["rotated.mp4"].height, found["rotated.mp4"].width) == frames[0].shape[:2]


def test_what_is_kept_is_not_computed_again_and_half_of_a_task_goes_on(tmp_path):
    person_video(tmp_path / "in" / "a.mp4", seconds=2.6)
    work = work_in(tmp_path)
    (video,) = find_videos([str(tmp_path / "in")])
    scored(work, [video])
    whole = work.scores.read(f"{video.id}-00000.json")
    rows = parsed(whole, f"{video.id}-00000.json")
    assert len(rows) == 4
    work.scores.delete(f"{video.id}-00000.json")
    first = min(rows)
    mark = rows[first] | {"scores": {"brightness": -1.0}}
    work.scores.write(f"{video.id}-00000/{first}.json", checked_json(mark))
    (look,) = looked(work, [video])
    list(run_here(ScoreStage, work, iter(tasks_of(video, look))))
    again = parsed(work.scores.read(f"{video.id}-00000.json"), f"{video.id}-00000.json")
    assert again == rows | {first: mark}, "the clip that was kept is taken as it was, the others are scored"
    assert work.scores.names(f"{video.id}-00000/*") == []


def test_what_a_power_failure_has_emptied_counts_as_not_there(tmp_path):
    person_video(tmp_path / "in" / "a.mp4", seconds=0.7)
    work = work_in(tmp_path)
    videos = find_videos([str(tmp_path / "in")])
    scored(work, videos)
    kept = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.json")}
    assert len(kept) == 2
    for path in kept:
        path.write_bytes(b"")
    assert [clip.failed for clip in read_clips(work, videos)] == [
        "was never looked through with these [clips]: run without --refilter"
    ]
    scored(work, videos)
    assert {path: path.read_bytes() for path in kept} == kept


def test_a_clip_whose_video_is_gone_when_samples_are_made_says_so(tmp_path):
    work, video = work_in(tmp_path), Video("http://127.0.0.1:9/a.mp4", "")
    window = Window(0.0, 0.625, (0, 0, 0, 0))
    list(run_here(SampleStage, work, iter([ClipsTask(video, (window,))])))
    look = Look(112, 192, 16.0, 1.0, 0, False, (), (window,))
    clip = CandidateClip(video, look, clip_key(video.id, 0.0), window, {"brightness": 1.0})
    made = result_or_failure(MadeSample, json.loads(work.samples.read(f"{clip.key}.json")), clip.key)
    row = index_row(clip, Verdict(True), made, ("", ""))
    assert (row["kept"], row["dropped_by"], row["stage"]) == (False, ["error"], "conditions")
    assert "cannot be fetched" in row["reason"]


def asked_scorer(recipe, device):
    """Each score that is judged by is the clip's brightness."""
    return lambda clip: dict.fromkeys(wanted_columns(recipe.filters), float(clip.frames.mean()))


def test_a_filter_that_is_skipped_costs_no_score_and_one_that_no_longer_is_gets_its_own(tmp_path):
    person_video(tmp_path / "in" / "a.mp4", seconds=1.3)
    skipping = 'skip = ["overlay", "bars", "image_quality", "video_quality"]'
    more, fewer = skipping.replace("[", '["blur", '), skipping.replace('"bars", ', "")
    videos = find_videos([str(tmp_path / "in")])
    kept = []
    for text in (skipping, more, fewer):
        work = work_in(tmp_path, asked_scorer, RECIPE.replace(skipping, text))
        scored(work, videos)
        kept.append([clip.scores for clip in read_clips(work, videos)])
    assert len(kept[0]) == 2
    assert kept[1] == kept[0], "no score is lost"
    assert [set(scores) for scores in kept[2]] == [{*scores, "bars"} for scores in kept[0]]
    time_of = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("scores-*/*.json")}
    scored(work_in(tmp_path, asked_scorer), videos)
    assert {path: path.stat().st_mtime_ns for path in time_of} == time_of, "nothing is computed again"


def test_a_sample_is_the_same_every_time_and_reads_as_training_reads_it(tmp_path):
    from posegen.data.clips import Clip, Drawing
    from posegen.data.shards import open_shards

    person_video(tmp_path / "in" / "a.mp4", seconds=0.7)
    contents = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        work = work_in(tmp_path / name)
        (video,) = find_videos([str(tmp_path / "in")])
        (look,) = looked(work, [video])
        list(run_here(SampleStage, work, iter([ClipsTask(video, look.windows)])))
        (tar,) = work.samples.names("*.tar")
        contents.append(work.samples.read(tar))
    assert contents[0] == contents[1]
    (tmp_path / "train-000000.tar").write_bytes(contents[0])
    ((sample,),) = (shard.samples for shard in open_shards(tmp_path, "train", 5))
    clip = Clip(sample, Drawing())
    assert clip.frames(0, 5).shape == (5, 96, 64, 3)
    skeletons = clip.skeletons(0, 5)
    assert all(frame.any() for frame in skeletons), "a person is followed through the clip"
    inside = clip.person(0, 5)
    drawn = skeletons.any(axis=-1)
    assert (inside & drawn).sum() > 0.9 * drawn.sum(), "the skeleton lies on the person's mask"
    errors = [np.abs(frame.astype(int) - clip.reference).mean() for frame in clip.frames(0, 5)]
    assert min(errors) < 1.5, "the reference is one of the frames, which are coded"
    assert max(errors) > 2 * min(errors)
    assert "person" in clip.caption


def test_what_another_kind_of_file_holds_counts_as_damaged():
    """As after two kept files were exchanged: both are whole, and have their checksums."""
    row = {"scores": {"blur": 1.0}, "thumbnail": "", "asked": ["blur"]}
    assert result_or_failure(ScoredClip, row, "a.json").scores == {"blur": 1.0}
    for other in ({"c-1": row}, {"scores": 3, "thumbnail": "", "asked": 5}, ["failed"], 7, "failed"):
        assert result_or_failure(ScoredClip, other, "a.json") is None
        assert take_damaged() == ["a.json: does not hold a ScoredClip"]


def test_files_that_are_exchanged_count_as_damaged(tmp_path):
    """Even of one kind, as the scores of two clips are: each says its own name."""
    store = Store(str(tmp_path))
    store.write_json("scores/a.json", {"value": 1})
    store.write_json("scores/b.json", {"value": 2})
    for name, value in (("scores/a.json", 1), ("scores/b.json", 2)):
        assert parsed(store.read(name), store.path(name)) == {"value": value}
    (tmp_path / "scores" / "a.json").replace(tmp_path / "scores" / "b.json")
    assert parsed(store.read("scores/b.json"), store.path("scores/b.json")) is None
    assert "belongs to a.json" in take_damaged()[0]


def test_hands_below_the_score_at_which_generation_draws_them_are_unknown():
    """PoseGen draws bodies from 0.3 and hands from 0.7, in training as in generation."""
    keypoints = np.full((133, 2), 20.0, np.float32)
    scores = np.full(133, 0.5, np.float32)
    scores[HANDS[1]] = 0.8
    settings = ConditionSettings()
    seen = _visibility(PersonPose(keypoints, scores), settings, (64, 64))
    known = _known_places(PersonPose(keypoints, scores), settings)
    assert (seen[:17] == VISIBLE).all()
    assert (seen[HANDS[1]] == VISIBLE).all()
    assert (seen[HANDS[0]] == OUTSIDE).all()
    assert not known[HANDS[0]].any()
