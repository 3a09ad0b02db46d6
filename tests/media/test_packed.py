"""Frames packed as small videos: the same bytes every time, every run of frames readable, damage told."""

import cv2
import numpy as np
import pytest
from video_files import make_video

import posegen
from posegen.errors import PosegenError
from posegen.media.packed import pack_frames, unpack_frames
from posegen.media.video import iterate_frames


@pytest.fixture(scope="module")
def frames():
    from itertools import islice
    from pathlib import Path

    demo = Path(posegen.__file__).parent / "demo" / "driving.mp4"
    return np.stack([cv2.resize(frame, (80, 112)) for frame in islice(iterate_frames(demo, 16), 41)])


@pytest.mark.parametrize("fps", [16.0, 30000 / 1001, 240])
def test_ffv1_loses_nothing(frames, fps):
    np.testing.assert_array_equal(unpack_frames(pack_frames(frames, fps, "ffv1"), 0, 41), frames)


def test_h264_is_near_to_lossless_and_much_smaller(frames):
    content = pack_frames(frames, 16)
    error = np.mean((unpack_frames(content, 0, 41).astype(float) - frames) ** 2)
    assert 10 * np.log10(255**2 / error) > 46
    assert len(content) < 0.5 * len(pack_frames(frames, 16, "ffv1"))
    assert len(pack_frames(frames, 16, crf=20)) < 0.5 * len(content)


@pytest.mark.parametrize("codec", ["h264", "ffv1"])
def test_every_run_of_frames_is_that_of_the_whole(codec, frames):
    content = pack_frames(frames, 16.0, codec)
    whole = unpack_frames(content, 0, 41)
    for start, stop in ((0, 1), (15, 17), (16, 33), (31, 32), (40, 41), (3, 41)):
        np.testing.assert_array_equal(unpack_frames(content, start, stop), whole[start:stop])


@pytest.mark.parametrize("codec", ["h264", "ffv1"])
def test_bytes_are_the_same_every_time(codec, frames):
    assert pack_frames(frames, 16.0, codec) == pack_frames(frames.copy(), 16.0, codec)


def test_damage_and_missing_frames_are_told(frames):
    content = pack_frames(frames, 16.0)
    for bad in (b"", b"nonsense" * 50, content[: len(content) // 2]):
        with pytest.raises(PosegenError, match="frames"):
            unpack_frames(bad, 0, 41)
    with pytest.raises(PosegenError, match="frames 39 to 41 were expected, 2"):
        unpack_frames(content, 39, 42)


def test_a_clip_opens_nothing_but_itself(tmp_path):
    """Lists of other files, which FFmpeg would follow, and formats that no driving video may have."""
    secret = make_video(tmp_path, "secret.mp4", range(3))
    lists = (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile {secret}\n",
    )
    for text in lists:
        with pytest.raises(PosegenError, match="cannot be decoded"):
            unpack_frames(text.encode(), 0, 1)
    with pytest.raises(PosegenError, match="cannot be decoded"):
        unpack_frames(cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes(), 0, 1)


def test_a_clip_of_absurd_size_is_refused(tmp_path):
    path = make_video(tmp_path, "a.mkv", [np.zeros((300, 300, 3), np.uint8)] * 2, codec="ffv1", pix_fmt="bgr0")
    content = path.read_bytes()
    sizes = b"\xb0\x82\x01\x2c\xba\x82\x01\x2c"
    assert content.count(sizes) == 1
    with pytest.raises(PosegenError, match="9000x9000"):
        unpack_frames(content.replace(sizes, b"\xb0\x82\x23\x28\xba\x82\x23\x28"), 0, 1)
