"""Every unusable video gives one line that names the file and the trouble, before or where it is met."""

import os
import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data
from video_files import make_video as write_video
from video_files import read_number

from posegen.errors import PosegenError
from posegen.media.timing import resample
from posegen.media.video import count_frames, iterate_frames, probe_video, read_frames, video_is_complete


def noise(count):
    """Frames that do not compress, so that a place in the file is a place in time."""
    return [np.random.default_rng(i).integers(0, 255, (64, 128, 3), dtype=np.uint8) for i in range(count)]


def refused(path, expected, function=probe_video):
    with pytest.raises(PosegenError, match=expected) as caught:
        function(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("function", [probe_video, iterate_frames, lambda path: read_frames(path, 0, 1)])
def test_not_a_video(tmp_path, media, function):
    refused(tmp_path / "none.mp4", "no such file", function)
    refused(tmp_path, "is a folder, not a video", function)
    (tmp_path / "pictures").mkdir()
    for number in range(2):
        (tmp_path / "pictures" / f"{number}.jpg").touch()
    refused(
        tmp_path / "pictures", rf"folder of images.*ffmpeg -framerate 24 .* '{tmp_path}/pictures/\*\.jpg'", function
    )
    (tmp_path / "text.mp4").write_text("hello " * 1000)
    refused(tmp_path / "text.mp4", "not a video", function)
    (tmp_path / "empty.mp4").touch()
    refused(tmp_path / "empty.mp4", "not a video", function)
    refused(media / "man.png", "not a video", function)
    Image.fromarray(data.astronaut()).save(tmp_path / "photo.jpeg")
    refused(tmp_path / "photo.jpeg", "not a video", function)


@pytest.mark.parametrize("with_cover", [False, True])
def test_sound_only(tmp_path, with_cover):
    """A song is not a video, nor is the picture of its cover."""
    path = tmp_path / "a.m4a"
    Image.new("RGB", (80, 80)).save(tmp_path / "cover.png")
    with av.open(str(path), "w", format="mp4") as container, av.open(str(tmp_path / "cover.png")) as cover_file:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        if with_cover:
            cover = container.add_stream_from_template(cover_file.streams.video[0])
            cover.disposition = av.stream.Disposition.attached_pic
            picture = next(cover_file.demux())
            picture.stream = cover
            container.mux(picture)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    refused(path, "holds no video")


def test_pipes_and_devices_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")
    refused(tmp_path / "a.mp4", "is a pipe or a device, not a video")
    refused(Path("/dev/zero"), "is a pipe or a device, not a video")


def test_absurd_sizes_are_refused_before_decoding(tmp_path):
    """Declared by the container, and only by the pictures themselves."""
    path = write_video(tmp_path, "a.mkv", [np.zeros((300, 300, 3), np.uint8)] * 2, codec="ffv1", pix_fmt="bgr0")
    sizes = b"\xb0\x82\x01\x2c\xba\x82\x01\x2c"
    content = path.read_bytes()
    for side, reason in ((b"\xff\xff", "none of its frames"), (b"\x23\x28", "9000x9000")):
        path.write_bytes(content.replace(sizes, b"\xb0\x82" + side + b"\xba\x82" + side))
        refused(path, reason)
    path = write_video(tmp_path, "b.mkv", noise(3), codec="mjpeg", pix_fmt="yuvj420p", colour_range=2)
    content, sizes = path.read_bytes(), b"\xff\xc0\x00\x11\x08" + bytes((0, 64, 0, 128))
    assert content.count(sizes) == 3
    path.write_bytes(content.replace(sizes, sizes[:5] + b"\x3f\xf0\x3f\xf0"))
    refused(path, "none of its frames can be decoded")


def test_times_that_would_make_endless_videos_are_refused(tmp_path):
    path = write_video(tmp_path, "a.mkv", range(4), times=[0, 3_000_000, 6_000_000, 9_000_000])
    assert count_frames(probe_video(path), 1) == 9000
    with pytest.raises(PosegenError, match="maximum"):
        resample(np.arange(5) * 1e6, 5e6, Fraction(30))


def test_playlists_do_not_open_other_files(make_video, tmp_path):
    secret = make_video("secret.mp4", range(3))
    (tmp_path / "list.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n")
    (tmp_path / "list.ffconcat").write_text(f"ffconcat version 1.0\nfile {secret}\n")
    refused(tmp_path / "list.m3u8", "not a video")
    refused(tmp_path / "list.ffconcat", "not a video")


def test_no_frames(tmp_path):
    for suffix in ("mp4", "mkv"):
        path = tmp_path / f"a.{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"
            container.start_encoding()
        refused(path, "no frames|not a video|no video")


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.mp4", {"movflags": "+faststart"}), ("a.mkv", {}), ("a.webm", {}), ("a.avi", {})],
)
def test_cut_off_file_names_the_second(tmp_path, name, options):
    """60 frames at 25 per second, cut at half: it breaks near 1.2 s."""
    codec = {"a.webm": "libvpx-vp9", "a.avi": "mpeg4"}.get(name, "libx264")
    path = write_video(tmp_path, name, noise(60), codec=codec, container_options=options)
    assert video_is_complete(path)
    assert probe_video(path).num_frames == 60
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert not video_is_complete(path)
    with pytest.raises(PosegenError, match=r"breaks off at (0\.[89]|1\.[0-6])\d s") as caught:
        list(iterate_frames(path))
    assert "\n" not in str(caught.value)
    refused(path, "breaks off at")


def test_cut_off_before_the_index(make_video):
    path = make_video("a.mp4", noise(20))  # index at the end
    path.write_bytes(path.read_bytes()[:-400])
    refused(path, "cut off before its index")


def test_one_missing_frame_at_the_end_passes(tmp_path):
    path = write_video(tmp_path, "a.mp4", noise(60), container_options={"movflags": "+faststart"})
    path.write_bytes(path.read_bytes()[:-100])
    assert not video_is_complete(path)
    assert len(list(iterate_frames(path))) == count_frames(probe_video(path)) >= 59


def test_damaged_middle_names_the_second(tmp_path):
    """All packets are there, but a second of them holds nothing that can be decoded."""
    path = write_video(tmp_path, "a.mkv", noise(75), codec="mjpeg", pix_fmt="yuvj420p", colour_range=2)
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    for position, size in places[25:50]:
        content[position + 16 : position + size - 16] = bytes(size - 32)
        content[position + 8 : position + 20] = b"\0" * 12
    path.write_bytes(content)
    assert probe_video(path).num_frames == 75
    with pytest.raises(PosegenError, match=r"breaks off at 1\.00 s: 25 of 75 frames cannot be decoded"):
        list(iterate_frames(path))


def test_a_part_is_read_without_what_lies_before(tmp_path):
    path = write_video(tmp_path, "a.mkv", list(range(100)), codec="mjpeg", pix_fmt="yuvj420p", colour_range=2)
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    for position, size in places[2:70]:
        content[position + 8 : position + size] = bytes(size - 8)
    path.write_bytes(content)
    assert [read_number(frame) for frame in iterate_frames(path, start=3.0)] == list(range(75, 100))


def test_short_damage_is_bridged(tmp_path):
    path = write_video(tmp_path, "a.mkv", list(range(40)), codec="mjpeg", pix_fmt="yuvj420p", colour_range=2)
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    for index in (0, 20):
        position, size = places[index]
        content[position + 8 : position + size] = bytes(size - 8)
    path.write_bytes(content)
    shown = [read_number(frame) for frame in iterate_frames(path)]
    assert shown == [1, *range(1, 20), 19, *range(21, 40)]


@pytest.mark.parametrize("fps", [0, -3, 1000, float("nan")])
def test_absurd_rates(make_video, fps):
    path = make_video("a.mp4", range(3))
    with pytest.raises(PosegenError, match="between 1 and 240"):
        iterate_frames(path, fps=fps)


def test_slide_shows_need_a_rate(make_video):
    path = make_video("a.mkv", range(3), times=[0, 4000, 8000])
    with pytest.raises(PosegenError, match="fps"):
        iterate_frames(path)
    assert len(list(iterate_frames(path, fps=2))) == count_frames(probe_video(path), fps=2) == 16


def test_part_outside(make_video):
    path = make_video("a.mp4", range(25))
    with pytest.raises(PosegenError, match=r"1\.00 s was expected"):
        iterate_frames(path, start=2)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), name=st.sampled_from(["a.mp4", "a.mkv", "a.webm"]))
def test_damaged_files_are_read_or_refused(tmp_path_factory, seed, name):
    folder = tmp_path_factory.getbasetemp()
    whole = folder / f"whole_{name}"
    if not whole.exists():
        codec = "libvpx-vp9" if name == "a.webm" else "libx264"
        write_video(folder, whole.name, noise(6), codec=codec)
    chance = random.Random(seed)
    content = bytearray(whole.read_bytes())
    for _ in range(chance.randint(1, 12)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    damaged = folder / f"damaged_{name}"
    damaged.write_bytes(content[: chance.randint(1, len(content))])
    try:
        for index, frame in enumerate(iterate_frames(damaged)):
            assert frame.dtype == np.uint8
            if index == 20:
                break
    except PosegenError as error:
        assert "\n" not in str(error)  # noqa: PT017
