"""Animated pictures as driving videos: pixels as Pillow sees them, times as browsers show them."""

import struct
import zlib

import av
import numpy as np
import pytest
from PIL import Image

from posegen.errors import PosegenError
from posegen.media.video import iterate_frames, probe_video, sample_frames

DELAYS = (10, 20, 40, 200, 10, 50)
"""Milliseconds of the frames as they are written."""
SHOWN = (100, 20, 40, 200, 100, 50)
"""Milliseconds for which browsers show them."""
KINDS = {".gif": {}, ".png": {}, ".webp": {"lossless": True}, ".avif": {"quality": 95}}


def write_animation(path, delays=DELAYS, size=(48, 64)):
    frames = []
    for number in range(len(delays)):
        frame = np.full((*size, 3), 60, np.uint8)
        frame[10:20, 8 * number : 8 * number + 8] = (220, 40, 90)  # only a part differs from the frame before
        frames.append(Image.fromarray(frame))
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=list(delays), loop=0, **KINDS[path.suffix])
    return path


def pillow_frames(path):
    with Image.open(path) as picture:
        for number in range(picture.n_frames):
            picture.seek(number)
            yield np.asarray(picture.convert("RGB")), float(picture.info["duration"])


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_pillows_and_times_are_those_of_browsers(tmp_path, kind):
    path = write_animation(tmp_path / f"a{kind}")
    info = probe_video(path)
    wanted = list(pillow_frames(path))
    assert [length for _, length in wanted] == list(DELAYS)
    assert (info.num_frames, info.height, info.width) == (6, 48, 64)
    np.testing.assert_allclose(info.frame_times, np.cumsum([0, *SHOWN[:-1]]) / 1000, atol=0.0006)
    assert info.duration == pytest.approx(sum(SHOWN) / 1000, abs=0.0006)
    at_rate = list(iterate_frames(path, 100))  # one picture for each hundredth of a second
    assert len(at_rate) == sum(SHOWN) // 10
    begins = np.cumsum([0, *SHOWN]) // 10
    for number, (frame, _) in enumerate(wanted):
        for shown in at_rate[begins[number] : begins[number + 1]]:
            assert np.abs(shown.astype(int) - frame).max() <= (12 if kind == ".avif" else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_single_frames_in_the_middle_are_whole(tmp_path, kind):
    path = write_animation(tmp_path / f"a{kind}")
    wanted = [frame for frame, _ in pillow_frames(path)]
    found = list(sample_frames(path, [20, 45], 100))
    for frame, number in zip(found, (3, 4), strict=True):
        assert np.abs(frame.astype(int) - wanted[number]).max() <= (12 if kind == ".avif" else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_usual_delays_are_left_as_they_are(tmp_path, kind):
    info = probe_video(write_animation(tmp_path / f"a{kind}", (40,) * 8))
    assert (float(info.fps), info.num_frames, info.duration) == (25, 8, pytest.approx(0.32))


def test_avif_is_decoded_by_another_reader_too(tmp_path):
    """FFmpeg's second stream is the animation; its first is a still picture."""
    path = write_animation(tmp_path / "a.avif")
    with av.open(str(path)) as container:
        stream = max(container.streams.video, key=lambda each: each.frames)
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    for frame, (wanted, _) in zip(decoded, pillow_frames(path), strict=True):  # colours are enlarged in another way
        assert np.abs(frame.astype(int) - wanted).mean() < 2


def test_a_delay_of_zero_in_a_png_is_a_tenth_of_a_second(tmp_path):
    path = write_animation(tmp_path / "a.png", (40,) * 4)
    content = path.read_bytes()
    place = content.index(b"fcTL", content.index(b"fcTL") + 1)
    body = bytearray(content[place : place + 30])
    body[24:26] = struct.pack(">H", 0)  # delay_num
    body += struct.pack(">I", zlib.crc32(bytes(body)))
    path.write_bytes(content[:place] + body + content[place + 34 :])
    info = probe_video(path)
    np.testing.assert_allclose(info.frame_times, [0, 0.04, 0.14, 0.18], atol=1e-3)


@pytest.mark.parametrize("kind", [".png", ".webp"])
def test_stills_stay_no_videos(tmp_path, kind):
    Image.new("RGB", (32, 32)).save(tmp_path / f"a{kind}")
    with pytest.raises(PosegenError, match="not a video"):
        probe_video(tmp_path / f"a{kind}")


def test_a_damaged_animation_is_refused(tmp_path):
    path = write_animation(tmp_path / "a.webp")
    path.write_bytes(path.read_bytes()[:120])
    with pytest.raises(PosegenError, match=r"a\.webp"):
        probe_video(path)
