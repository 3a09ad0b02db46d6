"""Conditions that are encoded ahead are those that would be encoded later, and errors wait for their segment."""

import contextlib
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from posegen.errors import PosegenError
from posegen.generate.conditions_ahead import ConditionsAhead
from posegen.generate.long_video import generate_video
from posegen.generate.segments import plan_segments
from posegen.model.denoise import Conditioning, PoseLatents

FIRST, STITCH, SECOND, _, THIRD = plan_segments(60, 17, 5, 4).segments[:5]
HEAD, TAIL = np.zeros((5, 8, 8, 3), np.uint8), np.zeros((4, 8, 8, 3), np.uint8)


class Encoder:
    """Records what is encoded, with how many preserved frames, and whether on the main thread."""

    def __init__(self):
        self.encoded, self.main = [], threading.get_ident()

    def __call__(self, segment, head, tail):
        preserved = sum(len(frames) for frames in (head, tail) if frames is not None)
        self.encoded.append((segment, preserved, threading.get_ident() == self.main))
        if segment == THIRD:
            raise PosegenError("the file of skeletons is damaged")
        latents = torch.full((1, 5, 1, 1, 1), float(segment.index + preserved))
        return Conditioning(PoseLatents(latents, None), None, torch.zeros(1, 1, 1), None, None)


@pytest.fixture
def encoder():
    return Encoder()


@pytest.fixture
def ahead(encoder):
    return ConditionsAhead(encoder, torch.device("cpu"))


def first_value(conditioning):
    return conditioning.pose.condition_latents[0, 0, 0, 0, 0].item()


def test_the_next_segment_is_encoded_once_and_on_another_thread(ahead, encoder):
    assert first_value(ahead.conditioning(FIRST)) == 0
    with ahead.encoding(SECOND):
        pass
    assert first_value(ahead.conditioning(STITCH, HEAD, TAIL)) == 1 + 9
    with ahead.encoding(SECOND):  # it is ready
        pass
    assert first_value(ahead.conditioning(SECOND)) == 2
    assert encoder.encoded == [(FIRST, 0, True), (SECOND, 0, False), (STITCH, 9, True)]
    ahead.conditioning(SECOND)  # given away once
    assert encoder.encoded[-1] == (SECOND, 0, True)


def test_preserved_frames_are_never_left_out(ahead):
    with ahead.encoding(SECOND):
        pass
    assert first_value(ahead.conditioning(SECOND, head=HEAD)) == 2 + 5


def test_an_error_waits_for_its_segment(ahead):
    with ahead.encoding(THIRD):
        pass
    ahead.conditioning(STITCH, HEAD, TAIL)
    with pytest.raises(PosegenError, match="damaged"):
        ahead.conditioning(THIRD)


def test_the_autoencoder_is_free_after_the_block_even_if_it_fails(ahead):
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt), ahead.encoding(SECOND):
        raise KeyboardInterrupt
    assert threading.active_count() == before


@pytest.mark.parametrize(("device", "segment"), [("meta", SECOND), ("cpu", None)])
def test_nothing_runs_ahead_on_other_devices_or_after_the_last_segment(encoder, device, segment):
    with ConditionsAhead(encoder, torch.device(device)).encoding(segment):
        pass
    assert encoder.encoded == []


def test_a_video_is_the_same_whether_conditions_are_encoded_ahead(lean, tmp_path, monkeypatch):
    ahead, instead = tmp_path / "ahead.mp4", tmp_path / "instead.mp4"
    generate_video(replace(lean, output=ahead))
    monkeypatch.setattr(ConditionsAhead, "encoding", lambda self, segment: contextlib.nullcontext())
    generate_video(replace(lean, output=instead))
    assert ahead.read_bytes() == instead.read_bytes()
