"""Interlaced video, whose lines are really of two moments: one moment a frame, from the beginning and after seeking."""

import av
import numpy as np
import pytest

from posegen.media.deinterlacing import deinterlaced
from posegen.media.probing import inspect, probe_video
from posegen.media.reading import iterate_frames, sample_frames, sample_stored_frames

HEIGHT, WIDTH, COUNT = 96, 160, 30
CODECS = {
    "mp4": ("libx264", {"x264-params": "interlaced=1", "crf": "8"}),
    "mpg": ("mpeg2video", {"flags": "+ildct+ilme", "qmin": "2", "qmax": "3"}),
}


def scene(field):
    """A bright bar that goes two pixels to the right from one field to the next one."""
    frame = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    frame[20:76, 10 + 2 * field : 34 + 2 * field] = 220
    return frame


def woven(number):
    """Fields in the order in which the encoder marks them: the lower one is the earlier."""
    frame = scene(2 * number + 1)
    frame[1::2] = scene(2 * number)[1::2]
    return frame


@pytest.fixture(params=list(CODECS))
def interlaced(request, tmp_path):
    path, (codec, options) = tmp_path / f"a.{request.param}", CODECS[request.param]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt, stream.gop_size = HEIGHT, WIDTH, "yuv420p", 6
        for number in range(COUNT):
            frame = av.VideoFrame.from_ndarray(woven(number), format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def combing(frame):
    """How much lines differ from those beside them, grey levels."""
    lines = frame[..., 0].astype(int)
    return np.abs(2 * lines[1:-1] - lines[:-2] - lines[2:]).mean()


def test_each_frame_shows_its_earlier_moment(interlaced):
    frames = list(iterate_frames(interlaced))
    assert len(frames) == probe_video(interlaced).num_frames == COUNT
    for number, frame in enumerate(frames[1:-1], start=1):
        assert combing(frame) < combing(woven(number)) / 3
        bright = frame[24:72, :, 0] > 130
        first = 10 + 4 * number
        assert np.abs(bright.argmax(axis=1) - first).max() <= 1
        assert np.abs(frame.astype(int) - scene(2 * number)).mean() < 4


def test_frames_are_the_same_however_they_are_reached(interlaced):
    frames = list(iterate_frames(interlaced))
    numbers = [0, 5, 6, 12, 13, 29]  # every sixth frame can be decoded without others
    chosen = list(sample_frames(interlaced, numbers))
    wanted = dict.fromkeys(numbers, ((HEIGHT, WIDTH),))
    stored = [frame.pictures[0] for frame in sample_stored_frames(inspect(interlaced), wanted)]
    for number, one, other in zip(numbers, chosen, stored, strict=True):
        np.testing.assert_array_equal(one, frames[number])
        np.testing.assert_array_equal(other, frames[number])
    for number in (12, 17):
        np.testing.assert_array_equal(next(iterate_frames(interlaced, start=number / 25)), frames[number])


def test_frames_that_are_not_interlaced_pass_untouched():
    frames = [(number, av.VideoFrame(16, 16, "yuv420p")) for number in range(3)]
    given = iter(frames)
    for (number, frame), (passed, same) in zip(frames, deinterlaced(given), strict=True):
        assert (number, frame) == (passed, same)
        assert len(list(frames)) - 1 - number == given.__length_hint__(), "none is held back"
