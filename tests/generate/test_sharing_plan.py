"""Anchor, segments that are left out, framing and pictures of masks, in real jobs of three base segments."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from planned_jobs import described, resolved
from posegen.config import ExtractConfig
from posegen.errors import PosegenError
from posegen.generate.background.mask_pictures import PERSON, TAKEN, draw_sharing, masks_folder
from posegen.generate.background.sharing_plan import with_framing
from posegen.generate.job.job_folder import work_folder
from posegen.generate.long_video import generate_video
from posegen.generate.planning.job_inputs import read_inputs
from posegen.generate.planning.resolved_settings import resolve_settings
from posegen.media.image import read_image
from posegen.media.video import VideoWriter, iterate_frames

PANNING = 20
"""Frames at the beginning in which the camera moves; the first base segment has them all."""


class Listener:
    def __init__(self):
        self.lines, self.tasks = [], []

    def say(self, line):
        self.lines.append(line)

    def update(self, task, done, total):
        self.tasks.append(task)

    def line(self, start):
        [line] = [line for line in self.lines if line.startswith(start)]
        return line


@pytest.fixture(scope="session")
def panned(tmp_path_factory, driving):
    """The driving video as a camera films it that first pans to its place: 60 frames of 512 x 288."""
    path = tmp_path_factory.mktemp("panned") / "panned.mkv"
    with VideoWriter(path, Fraction(24), size=(512, 288), codec="ffv1") as writer:
        for number, frame in enumerate(iterate_frames(driving)):
            left = 3 * max(0, PANNING - number)
            writer.write(np.ascontiguousarray(frame[64:576, left : left + 288]))
    return path


@pytest.fixture(scope="session")
def panned_conditions(panned, tmp_path_factory):
    from posegen.apps.commands import extract

    folder = tmp_path_factory.mktemp("panned-conditions")
    extract(ExtractConfig(driving=panned, output=folder, size="96x64", fps="40"))
    return folder


@pytest.fixture
def moving(lean, panned, panned_conditions):
    return replace(lean, driving=panned, conditions=panned_conditions, anchor=None)


def segments(output):
    files = sorted(work_folder(output).glob("job-*/segments/*.mkv"))
    return {path.stem: np.stack(list(iterate_frames(path))) for path in files}


def test_a_segment_filmed_from_elsewhere_is_left_alone(moving, tmp_path):
    heard = Listener()
    shared = replace(moving, output=tmp_path / "shared.mp4", save_masks=True)
    generate_video(shared, heard)
    assert heard.line("camera of the driving video: moves by up to")
    assert heard.line("anchor: base segment 1 (0002-base), its background moves least")
    assert heard.line("background sharing is off for segment 0: the camera moves there")
    off = replace(moving, output=tmp_path / "off.mp4", sharing="off")
    generate_video(off)
    ours, plain = segments(shared.output), segments(off.output)
    assert list(ours) == ["0000-base", "0001-stitch", "0002-base", "0003-stitch", "0004-base"]
    same = {name for name in ours if np.array_equal(ours[name], plain[name])}
    assert {"0000-base", "0002-base"} <= same  # left out, and the anchor
    assert "0004-base" not in same

    [picture] = masks_folder(shared.output).glob("*.png")  # only one segment has taken a background
    assert picture.name == "0004-base.png"
    drawn = read_image(picture).astype(float)
    height, width = (side + 4 for side in (96, 64))
    assert drawn.shape == (3 * height, 5 * width, 3)
    subject, taken = drawn[height : 2 * height], drawn[2 * height :]  # of the same frames
    assert np.abs(subject - taken).max() > 20, "nothing is tinted"


def test_the_anchor_that_is_asked_for_is_taken_and_kept_motion_is_not_measured_again(moving, tmp_path):
    output = tmp_path / "result.mp4"
    first, second = Listener(), Listener()
    generate_video(replace(moving, output=output, anchor=2, steps=1), first)
    assert first.line("anchor: base segment 2 (0004-base), as asked for")
    kept = work_folder(output) / "conditions" / "background_motion.npz"
    written = kept.stat().st_mtime_ns
    generate_video(replace(moving, output=output, anchor=0, steps=1), second)
    assert second.line("anchor: base segment 0 (0000-base), as asked for")
    assert "segments 2, 4" in second.line("background sharing is off for")
    assert kept.stat().st_mtime_ns == written
    with pytest.raises(PosegenError, match="anchor 3: the video has 3 base segments"):
        resolved(replace(moving, output=output, anchor=3))


def test_masks_can_be_looked_at_with_every_store(lean, tmp_path):
    """When the background is recomputed the anchor's masks are known late."""
    pictures = {}
    for store in ("memory", "recompute"):
        output = tmp_path / f"{store}.mp4"
        generate_video(replace(lean, output=output, sharing_store=store, save_masks=True))
        pictures[store] = {path.name: read_image(path) for path in masks_folder(output).glob("*.png")}
        assert sorted(pictures[store]) == ["0002-base.png", "0004-base.png"]
    for name, picture in pictures["memory"].items():
        assert np.array_equal(picture, pictures["recompute"][name])


def test_masks_of_segments_that_are_finished_can_be_looked_at_later(lean, tmp_path):
    at_once = replace(lean, output=tmp_path / "at_once.mp4", save_masks=True)
    generate_video(at_once)
    generate_video(lean)
    assert not masks_folder(lean.output).exists()
    files = sorted(work_folder(lean.output).glob("job-*/segments/*-base*"))
    kept = {path: path.stat().st_mtime_ns for path in files}
    (lost,) = (path for path in files if path.name == "0004-base.masks.npz")
    lost.write_bytes(b"")
    heard = Listener()
    generate_video(replace(lean, save_masks=True), heard)
    assert "made again" in heard.line("the masks of segment 0004-base are damaged")
    names = sorted(path.name for path in masks_folder(lean.output).glob("*.png"))
    assert names == ["0002-base.png", "0004-base.png"]
    for name in names:
        assert (masks_folder(lean.output) / name).read_bytes() == (masks_folder(at_once.output) / name).read_bytes()
    assert {path for path in files if path.stat().st_mtime_ns != kept[path]} == set(lost.parent.glob("0004-base*"))


def test_masks_that_there_will_not_be_are_told(lean):
    for without in (
        {"sharing": "off", "anchor": None},
        {"sharing_mask": False},
        {"long_method": "independent", "anchor": None},
    ):
        assert "NOTE       --save-masks: there are no" in described(replace(lean, save_masks=True, **without))
    assert "--save-masks" not in described(replace(lean, save_masks=True))


def test_framing_is_measured_for_the_preset_that_wants_it(lean):
    heard = Listener()
    inputs = read_inputs(replace(lean, sharing="release", steps=25))
    release = resolve_settings(inputs)
    framed = with_framing(inputs, release, inputs.conditions, heard)
    assert framed.sharing.framing == "full-body" != release.sharing.framing
    assert len(framed.sharing.config.steps) == 4
    assert framed.sharing.need.whole != release.sharing.need.whole
    assert heard.line("framing: full-body, so 4 steps and")
    quiet = Listener()
    for config in (
        replace(lean, sharing="release", framing="close-up"),
        lean,
        replace(lean, sharing="off", anchor=None),
    ):
        inputs = read_inputs(config)
        settings = resolve_settings(inputs)
        assert with_framing(inputs, settings, inputs.conditions, quiet) is settings
    assert quiet.lines == []


def test_pictures_show_which_tokens_are_meant():
    frames = np.full((9, 16, 8, 3), 100, np.uint8)
    anchor = np.zeros((3, 4, 2), bool)
    mask = anchor.copy()
    anchor[:, 0], mask[2, 3, 1] = True, True
    drawn = draw_sharing(frames, anchor, frames, mask)
    assert drawn.shape == (3 * 20, 3 * 12, 3)
    red, green = ((0.55 * 100 + 0.45 * np.array(colour)).round() for colour in (PERSON, TAKEN))
    assert (drawn[0:4, 0:8] == red).all()
    assert (drawn[4:16, 0:8] == 100).all()
    assert (drawn[20:36, 0:8] == 100).all()
    assert (drawn[32:36, 28:32] == red).all()
    assert (drawn[32:36, 24:28] == 100).all()
    assert (drawn[40:44, 0:8] == 100).all()
    assert (drawn[44:56, 0:8] == green).all()
    assert (drawn[52:56, 28:32] == 100).all()
