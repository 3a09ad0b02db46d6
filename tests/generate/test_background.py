"""Which store is chosen, and that the choice changes nothing but where things lie."""

from dataclasses import replace

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planned_jobs import described, identity, planned, resolved
from posegen.config import parse_bytes
from posegen.errors import DiskFullError, PosegenError
from posegen.generate import segment_maker
from posegen.generate.background.store_choice import Need, Room, choose_precision, choose_store
from posegen.generate.job.job_folder import work_folder
from posegen.generate.long_video import generate_video
from posegen.generate.planning.job_identity import identity_of
from posegen.generate.planning.job_inputs import read_inputs
from posegen.generate.planning.resolved_settings import resolve_settings
from posegen.media.video import iterate_frames
from posegen.model.background_store import MemoryStore
from posegen.model.sharing import make_sharing_config
from posegen.model.sources import describe_model

NEED = Need(whole=1000, one_layer=10, one_pass=100)


@pytest.mark.parametrize(
    ("wanted", "room", "kind"),
    [
        ("auto", Room(1000, 0, 0), "device"),
        ("auto", Room(999, 1000, 10**6), "host"),
        ("auto", Room(999, 999, 10**6), "recompute"),
        ("auto", Room(99, 99, 10**6), "disk"),
        ("memory", Room(10, 1000, 0), "host"),
        ("disk", Room(10**6, 10**6, 10**6), "disk"),
        ("recompute", Room(100, 0, 0), "recompute"),
    ],
)
def test_the_fastest_store_that_fits_is_taken(wanted, room, kind):
    choice = choose_store(wanted, NEED, room)
    assert choice.kind == kind
    assert choice.reason


@pytest.mark.parametrize(
    ("wanted", "room", "message"),
    [
        ("auto", Room(19, 19, 10**6), r"sharing_store auto needs 0\.0 MB of memory.*raise memory_budget"),
        ("auto", Room(99, 99, 1000), "raise memory_budget"),
        ("memory", Room(999, 999, 10**6), "choose sharing_store auto"),
        ("disk", Room(1000, 1000, 1000), r"needs .* of disk.*free some space"),
        ("recompute", Room(99, 10**6, 10**6), "sharing_store recompute needs"),
    ],
)
def test_what_does_not_fit_says_what_to_do(wanted, room, message):
    with pytest.raises(PosegenError, match=message):
        choose_store(wanted, NEED, room)


def test_what_is_in_files_already_needs_no_room():
    tight = Room(99, 99, 250)
    for wanted in ("disk", "auto"):
        with pytest.raises(PosegenError):
            choose_store(wanted, NEED, tight, in_files=70)
        assert choose_store(wanted, NEED, tight, in_files=80).kind == "disk"
        assert choose_store(wanted, NEED, Room(99, 99, 0), in_files=100).kind == "disk"


@given(st.integers(1, 10**12), st.integers(1, 10**12), st.integers(1, 10**12))
def test_what_is_chosen_fits(device, host, disk):
    need = Need(whole=7 * 10**10, one_layer=7 * 10**8, one_pass=7 * 10**9)
    try:
        kind = choose_store("auto", need, Room(device, host, disk)).kind
    except PosegenError:
        assert device < need.one_pass
        assert host < 2 * need.one_layer or disk < need.whole * 1.05
        return
    assert {
        "device": need.whole <= device,
        "host": need.whole <= host,
        "recompute": need.one_pass <= device,
        "disk": 2 * need.one_layer <= host and need.whole < disk,
    }[kind]


def test_the_need_of_the_14b_model_is_the_published_one():
    """About 3.2 GB a step and layer at 720p with guidance, 160 GB at the paper's setting (design, section 5)."""
    config = make_sharing_config("paper", 25, 40)
    tokens = 21 * 45 * 80 + 45 * 80
    passes = 2 * len(config.steps)
    need = Need.of(config, tokens, 5120, passes, "same", 2)
    assert need.whole == 5 * 10 * 2 * need.one_layer
    assert 2 * need.one_layer == pytest.approx(3.2e9, rel=0.03)
    assert need.whole == pytest.approx(160e9, rel=0.03)
    assert Need.of(config, tokens, 5120, passes, "fp8", 2).whole == pytest.approx(need.whole / 2, rel=0.03)
    assert Need.of(config, tokens, 5120, passes, "int10", 2).whole == pytest.approx(need.whole * 0.64, rel=0.01)


SMALL = Need(whole=640, one_layer=7, one_pass=100)


@pytest.mark.parametrize(
    ("wanted", "store", "budget", "precision"),
    [
        ("auto", "auto", None, "same"),  # never by what happens to be free
        ("auto", "auto", 1000, "same"),
        ("auto", "auto", 999, "int10"),
        ("auto", "memory", 640, "int10"),
        ("auto", "auto", 639, "same"),  # then it is recomputed
        ("auto", "disk", 700, "same"),
        ("auto", "recompute", 700, "same"),
        ("same", "auto", 700, "same"),
        ("fp8", "auto", 10**6, "fp8"),
    ],
)
def test_as_computed_if_that_fits_the_budget(wanted, store, budget, precision):
    assert choose_precision(wanted, store, NEED, SMALL, budget) == precision


@pytest.mark.parametrize(
    ("text", "size"), [("8GB", 8e9), ("500 mb", 5e8), ("1.5GiB", 1.5 * 2**30), ("100", 100), ("2k", 2000)]
)
def test_amounts_of_memory(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "much", "8XB", "-1GB", "8iB"])
def test_slips_in_amounts_are_named(text):
    with pytest.raises(PosegenError, match="memory_budget"):
        parse_bytes(text)


# -- in a real job ----------------------------------------------------------------------------------------------------


def decoded(path):
    return np.stack(list(iterate_frames(path)))


def test_all_stores_make_the_same_video(lean, tmp_path):
    """With all three branches of guidance."""
    lean, results = replace(lean, pose_guidance=1.5), {}
    for store in ("memory", "disk", "recompute"):
        output = tmp_path / f"{store}.mp4"
        video = generate_video(replace(lean, output=output, sharing_store=store)).plan
        assert len(video.settings.plan.base_segments) == 3
        results[store] = decoded(output)
        assert not list(work_folder(output).glob("job-*/background/*"))  # only kept as long as it is needed
    assert np.array_equal(results["memory"], results["disk"])
    assert np.array_equal(results["memory"], results["recompute"])
    off = tmp_path / "off.mp4"
    generate_video(replace(lean, output=off, sharing="off", anchor=None))
    assert not np.array_equal(results["memory"], decoded(off))


@pytest.fixture
def recorded(lean, monkeypatch):
    """A job that was killed when its anchor's keys and values were in files, in the middle of writing one more."""
    config = replace(lean, sharing_store="disk")

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(segment_maker.Job, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        generate_video(config)
    monkeypatch.undo()
    (folder,) = work_folder(config.output).glob("job-*/background")
    (folder / ".step000-positive-layer009.0123abcd.part.safetensors").touch()
    return config


def test_a_job_goes_on_where_its_own_files_fill_the_disk(recorded, monkeypatch):
    """What is free would not hold the background a second time."""
    files = list(work_folder(recorded.output).glob("job-*/background/step*.safetensors"))
    need = resolved(recorded).sharing.need
    assert len(files) * need.one_layer == need.whole
    files[0].unlink()
    free = psutil.disk_usage("/")._replace(free=2 * need.one_layer)
    monkeypatch.setattr(psutil, "disk_usage", lambda path: free)
    assert "the rest is there" in described(recorded)
    with pytest.raises(PosegenError, match="of disk"):
        described(replace(recorded, seed=7))  # another job
    generate_video(recorded)


@pytest.mark.parametrize("store", ["disk", "recompute"])
def test_what_killed_processes_left_goes(recorded, monkeypatch, store):
    save, found = segment_maker.Job.save, []

    def look_and_save(job, *arguments):
        found.extend(job.folder.glob("background/.*"))
        save(job, *arguments)

    monkeypatch.setattr(segment_maker.Job, "save", look_and_save)
    generate_video(replace(recorded, sharing_store=store))
    assert found == []
    assert not list(work_folder(recorded.output).glob("job-*/background"))


@pytest.mark.parametrize("store", ["memory", "disk", "recompute"])
def test_a_job_goes_on_with_every_store(lean, tmp_path, monkeypatch, store):
    """Stopped after the anchor and one more segment: files and the anchor's latents are taken over."""
    lean = replace(lean, guidance=1.0, pose_guidance=1.5)
    whole = replace(lean, output=tmp_path / "whole.mp4", sharing_store=store)
    generate_video(whole)
    broken = replace(lean, output=tmp_path / "broken.mp4", sharing_store=store)
    saved = segment_maker.Job.save

    def save_and_stop(job, segment, *rest):
        saved(job, segment, *rest)
        if segment.index == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(segment_maker.Job, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        generate_video(broken)
    monkeypatch.setattr(segment_maker.Job, "save", saved)
    tasks = []

    class Listener:
        def say(self, line):
            """Ignore."""

        def update(self, task, done, total):
            tasks.append(task)

    generate_video(broken, Listener())
    assert broken.output.read_bytes() == whole.output.read_bytes()
    again = "background of 0000-base" in tasks
    assert again == (store == "memory")


@pytest.mark.parametrize(
    ("settings", "file"),
    [
        ({"sharing_store": "recompute"}, "latents.safetensors"),
        ({"sharing_store": "disk"}, "step000-positive-layer"),
        ({"anchor": None, "long_method": "freenoise"}, "step-0001.safetensors"),
    ],
)
def test_a_full_disk_is_told_by_whatever_keeps_tensors(lean, full_disk, settings, file):
    with full_disk(50_000), pytest.raises(DiskFullError, match=rf"{file}.*: the disk is full"):
        generate_video(replace(lean, **settings, steps=1))


def test_recomputing_keeps_one_pass_only(lean, monkeypatch):
    """The most that is ever in memory is what one step and branch need."""
    most = []
    put = MemoryStore.put

    def watched(store, place, tensors):
        put(store, place, tensors)
        most.append(store.nbytes())

    monkeypatch.setattr(MemoryStore, "put", watched)
    need = generate_video(replace(lean, sharing_store="recompute")).plan.settings.sharing.need
    assert 0 < max(most) <= need.one_pass
    most.clear()
    generate_video(replace(lean, sharing_store="memory", output=lean.output.with_stem("memory")))
    assert max(most) > need.one_pass


def test_what_is_needed_is_what_the_branches_of_guidance_record(lean):
    """Of eight steps, two are shared, and the pose leads in the first of them."""
    inputs = replace(
        read_inputs(replace(lean, guidance=None, steps=8, pose_guidance=2.0)), model=describe_model("mini")
    )
    sharing = resolve_settings(inputs).sharing
    assert len(sharing.config.steps) == 2
    assert sharing.need.whole == sharing.need.one_layer * len(sharing.config.layers) * 3


def test_the_choice_is_told(lean):
    told = described(lean)
    assert "shared as in the paper, in memory" in told
    assert "recomputed with " in described(replace(lean, sharing_store="recompute"))
    with pytest.raises(PosegenError, match="raise memory_budget"):
        described(replace(lean, memory_budget="10"))
    assert "DOES NOT FIT" in described(replace(lean, memory_budget="10", dry_run=True))


def test_the_dtype_and_its_reason_are_told(lean, monkeypatch):
    exact = planned(replace(lean, sharing_precision="same"))
    need = exact.settings.sharing.need.whole
    roomy, tight = (replace(lean, memory_budget=str(round(part * need))) for part in (1.1, 0.7))
    assert "; as computed\n" in described(roomy)
    told = described(tight)
    assert "in memory" in told
    assert "in 10 bits, since as computed they are " in told
    assert "more than --memory-budget" in told
    assert "in 10 bits (as asked for)" in described(replace(lean, sharing_precision="int10"))
    assert "--sharing-precision int10 would" not in told
    room = Room(device=round(0.7 * need), host=0, disk=10**12)
    with monkeypatch.context() as little:  # as on a machine with so much memory free
        little.setattr(Room, "of", lambda *_: room)
        cramped = described(lean)
    assert "recomputed" in cramped
    assert "as computed (with --sharing-precision int10 they would fit in memory" in cramped
    # the same video is the same job, however its dtype was chosen
    assert identity_of(roomy) == identity_of(lean) == identity(exact)
    assert identity_of(tight) == identity_of(replace(lean, sharing_precision="int10"))
    assert identity_of(tight) != identity_of(lean)


def test_fewer_bits_are_another_job_and_nearly_the_same_video(lean, tmp_path):
    """Looked at in the lossless segments: an encoder for people answers the least change with another choice."""
    results = {}
    for precision in ("same", "int10", "fp8"):
        output = tmp_path / f"{precision}.mp4"
        generate_video(replace(lean, output=output, sharing_precision=precision))
        segments = sorted(work_folder(output).glob("job-*/segments/*-base.mkv"))
        results[precision] = np.concatenate([decoded(path) for path in segments]).astype(float)
    lost = {precision: np.abs(result - results["same"]).mean() for precision, result in results.items()}
    assert 0 < lost["fp8"] < 2.0
    assert 0 < lost["int10"] < 0.5 * lost["fp8"]
    assert identity_of(replace(lean, sharing_precision="fp8")) != identity_of(lean)


def test_a_tight_budget_is_kept_in_memory_and_all_stores_agree_in_ten_bits(lean, tmp_path, monkeypatch):
    most, put = [], MemoryStore.put

    def watched(store, place, tensors):
        put(store, place, tensors)
        most.append(store.nbytes())

    monkeypatch.setattr(MemoryStore, "put", watched)
    need = resolved(lean).sharing.exact.whole
    results = {}
    for store, settings in (
        ("auto", {"memory_budget": str(round(0.7 * need))}),
        ("disk", {"sharing_precision": "int10"}),
        ("recompute", {"sharing_precision": "int10"}),
    ):
        output = tmp_path / f"{store}.mp4"
        generate_video(replace(lean, output=output, sharing_store=store, **settings))
        results[store] = decoded(output)
        assert max(most) <= 0.7 * need
    assert np.array_equal(results["auto"], results["disk"])
    assert np.array_equal(results["auto"], results["recompute"])
