"""A growing video plays while it is written, after its writer was killed, and is gone when the whole one is there."""

import itertools
import os
import signal
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from video_files import make_video, numbered_frame, read_number

from posegen.errors import OutputError
from posegen.media.video import VideoWriter, iterate_frames, probe_video

LAG = 3
"""Seconds of video that a growing file may lack: the encoder looks ahead about one, the last fragment is not over."""


def numbers(path):
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return [read_number(frame) for frame in frames]


@pytest.fixture
def sound(tmp_path):
    return make_video(tmp_path, "sound.mp4", [0] * 100, sound=("aac", 44100, 0, 4))


@pytest.mark.parametrize("fps", [16, 25, Fraction(30000, 1001)])
def test_it_plays_while_it_is_written_and_lags_a_few_seconds(tmp_path, fps, caplog):
    path, growing, seen = tmp_path / "a.mp4", tmp_path / "a.growing.mp4", []
    with caplog.at_level("INFO", "posegen"), VideoWriter(path, fps, (64, 128), growing=growing) as writer:
        for count in range(1, 241):
            writer.write(numbered_frame(count - 1))
            if count % 20 == 0 and growing.exists():
                found = numbers(growing)
                assert found == list(range(len(found)))
                assert len(found) >= count - LAG * fps
                seen.append(len(found))
                assert not path.exists()
        assert len(set(seen)) > 5
    assert sorted(os.listdir(tmp_path)) == ["a.mp4"]
    assert numbers(path) == list(range(240))
    assert [record.message for record in caplog.records] == [f"watch it grow: {growing}"]


def packets(path, kind):
    with av.open(str(path)) as container:
        stream = container.streams.best(kind)
        return [(p.pts * p.time_base, p.dts * p.time_base, bytes(p)) for p in container.demux(stream) if p.size]


def test_its_packets_times_and_colours_are_those_of_the_whole_file(tmp_path, sound):
    """What is watched is what will be there: pictures, sound, times; and the whole file is as without it."""
    frames = [numbered_frame(number) for number in range(100)]
    plain, path, growing = (tmp_path / name for name in ("plain.mp4", "a.mp4", "g.growing.mp4"))
    for target, options in ((plain, {}), (path, {"growing": growing})):
        with VideoWriter(target, 25, (64, 128), audio_from=sound, **options) as writer:
            for frame in frames:
                writer.write(frame)
            if options:
                writer._growing.remove = writer._growing.close
    assert path.read_bytes() == plain.read_bytes()
    whole, grown = packets(path, "video"), packets(growing, "video")
    assert [bytes_ for *_, bytes_ in whole] == [bytes_ for *_, bytes_ in grown]
    assert [time for time, *_ in whole] == [time for time, *_ in grown]
    whole, grown = packets(path, "audio"), packets(growing, "audio")
    assert [bytes_ for *_, bytes_ in whole] == [bytes_ for *_, bytes_ in grown]
    assert [time for time, *_ in whole] == [time for time, *_ in grown]
    with av.open(str(growing)) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context
        assert (codec.colorspace, codec.color_range, codec.color_primaries, codec.color_trc) == (1, 1, 1, 1)
        assert stream.average_rate == 25


def test_key_frames_come_about_each_second(tmp_path):
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 16, (64, 128)) as writer:
        for number in range(100):
            writer.write(numbered_frame(number // 50))
    with av.open(str(path)) as container:
        keys = [p.pts * p.time_base for p in container.demux(video=0) if p.size and p.is_keyframe]
    assert all(later - earlier <= Fraction(101, 100) for earlier, later in itertools.pairwise(keys))


def test_pictures_do_not_wait_for_sound_that_has_ended(tmp_path, sound):
    growing = tmp_path / "a.growing.mp4"
    with VideoWriter(tmp_path / "a.mp4", 10, (64, 128), audio_from=sound, growing=growing) as writer:
        for number in range(200):
            writer.write(numbered_frame(number))
        assert len(numbers(growing)) >= 200 - (LAG + 1) * 10


def test_after_an_error_it_stays_with_every_frame(tmp_path):
    growing = tmp_path / "a.growing.mp4"

    def write():
        with VideoWriter(tmp_path / "a.mp4", 25, (64, 128), growing=growing) as writer:
            for number in range(70):
                writer.write(numbered_frame(number))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert os.listdir(tmp_path) == ["a.growing.mp4"]
    assert numbers(growing) == list(range(70))
    assert probe_video(growing).fps == 25


WRITE_FOR_EVER = """
import sys
from pathlib import Path
import numpy as np
from posegen.media.video import VideoWriter
sys.path.insert(0, sys.argv[2])
from video_files import numbered_frame
folder = Path(sys.argv[1])
with VideoWriter(folder / "a.mp4", 25, (64, 128), growing=folder / "a.growing.mp4") as writer:
    for number in range(10**9):
        writer.write(numbered_frame(number))
        if number in (150, 250):
            print(number, flush=True)
            sys.stdin.readline()
"""


@pytest.mark.parametrize("moment", [150, 250])
def test_after_a_kill_it_plays_and_the_next_run_takes_its_place(tmp_path, moment):
    command = [sys.executable, "-c", WRITE_FOR_EVER, str(tmp_path), os.path.dirname(__file__)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        while int(child.stdout.readline()) < moment:
            child.stdin.write("\n")
            child.stdin.flush()
        child.send_signal(signal.SIGKILL)
    assert not (tmp_path / "a.mp4").exists()
    growing = tmp_path / "a.growing.mp4"
    kept = numbers(growing)
    assert kept == [number % 256 for number in range(len(kept))]
    assert len(kept) >= moment - LAG * 25
    with VideoWriter(tmp_path / "a.mp4", 25, (64, 128), growing=growing) as writer:
        assert numbers(growing) == kept  # until there is as much as a fragment of the next
        for _ in range(100):
            writer.write(np.full((64, 128, 3), 255, np.uint8))
        assert set(numbers(growing)) == {255}
    assert not growing.exists()
    assert not list(tmp_path.glob(".a.growing.*"))
    assert len(list(iterate_frames(tmp_path / "a.mp4"))) == 100


def test_a_video_shorter_than_a_fragment_leaves_none(tmp_path, caplog):
    growing = tmp_path / "a.growing.mp4"
    growing.write_bytes(b"of an earlier run")
    with caplog.at_level("INFO", "posegen"), VideoWriter(tmp_path / "a.mp4", 25, (64, 128), growing=growing) as writer:
        writer.write(numbered_frame(1))
    assert os.listdir(tmp_path) == ["a.mp4"]
    assert not caplog.records


def test_a_place_where_nothing_can_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        VideoWriter(tmp_path / "a.mp4", 25, (64, 128), growing=tmp_path / "file" / "a.growing.mp4")
    assert os.listdir(tmp_path) == ["file"]
