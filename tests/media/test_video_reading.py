"""Real files of many kinds, made here, read as upright constant-rate 8-bit RGB."""

from fractions import Fraction

import av
import numpy as np
import pytest
from video_files import numbered_frame, read_number

from posegen.errors import PosegenError
from posegen.media.probing import inspect
from posegen.media.reading import StoredFrame, iterate_with_stored, sample_stored_frames
from posegen.media.video import VideoWriter, count_frames, iterate_frames, probe_video, read_frames

CORNERS = np.zeros((96, 160, 3), dtype=np.uint8)  # red top left, green top right, blue bottom left, white bottom right
CORNERS[:48, :80], CORNERS[:48, 80:], CORNERS[48:, :80], CORNERS[48:, 80:] = (
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 255),
)


def numbers(path, *args):
    return [read_number(frame) for frame in iterate_frames(path, *args)]


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.webm", "libvpx-vp9"), ("a.webm", "libvpx"), ("a.mov", "mpeg4"),
     ("a.ts", "libx264"), ("a.avi", "mpeg4"), ("a.mp4", "libx265")],
)  # fmt: skip  # short arguments, read in rows
@pytest.mark.parametrize("fps", [Fraction(30000, 1001), 24])
def test_constant_rate_gives_every_frame_once_in_order(make_video, name, codec, fps):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path = make_video(name, range(70), fps=fps, codec=codec, options=options)
    info = probe_video(path)
    assert (info.num_frames, info.height, info.width, info.has_audio) == (70, 64, 128, False)
    assert abs(float(info.fps) - float(fps)) < 0.25 / 70 * float(fps)
    assert info.duration == pytest.approx(70 / float(fps), abs=0.02)
    assert numbers(path) == list(range(70))
    assert count_frames(info) == 70


def test_hidden_pictures_are_not_frames(make_video):
    """VP8 keeps pictures that are only referred to as packets of their own, in which the bit for showing is not set."""
    path = make_video("a.webm", range(70), codec="libvpx")
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for packet in (packets[20], packets[40]):
        content[content.find(packet)] &= ~0x10
    path.write_bytes(content)
    assert probe_video(path).num_frames == 68
    assert numbers(path, 25) == [n - (n in (20, 40)) for n in range(70)]


def test_variable_rate_becomes_constant(make_video):
    times = [0, 40, 80, 400, 440, 480, 520, 1000, 1040]
    path = make_video("vfr.mkv", range(len(times)), times=times)
    info = probe_video(path)
    np.testing.assert_allclose(info.frame_times, np.array(times) / 1000, atol=1e-9)
    shown = numbers(path, 25)
    assert shown == [0, 1] + [2] * 8 + [3, 4, 5] + [6] * 12 + [7, 8]
    assert count_frames(info, 25) == len(shown)
    assert len(numbers(path)) == count_frames(info)


@pytest.mark.parametrize("fps", [5, 12, Fraction(30000, 1001), 50])
@pytest.mark.parametrize("part", [(None, None), (0.3, None), (None, 1.1), (0.51, 1.52), (1.9, 7)])
def test_count_is_what_is_yielded(make_video, fps, part):
    path = make_video("a.mp4", range(50))
    shown = numbers(path, fps, *part)
    assert len(shown) == count_frames(probe_video(path), fps, *part)
    start = part[0] or 0.0
    expected = [min(49, int((start + i / float(fps)) * 25 + 0.45 * min(1, 25 / float(fps)))) for i in range(len(shown))]
    assert shown == expected


def test_parts_join_without_seam(make_video):
    path = make_video("a.mp4", range(100), gop=30)
    assert numbers(path, None, 0, 1.2) + numbers(path, None, 1.2, 3.2) + numbers(path, None, 3.2) == list(range(100))


def test_frames_are_the_callers_own(make_video):
    path = make_video("a.mp4", [3, 5])
    seen = []
    for frame in iterate_frames(path, fps=50):
        assert frame.flags.c_contiguous
        assert frame.dtype == np.uint8
        seen.append(read_number(frame))
        frame[:] = 0
    assert seen == [3, 3, 5, 5]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_display_matrix(make_video, turn, flip):
    path = make_video("a.mp4", [CORNERS] * 3, rotation=-turn, flip=flip)
    expected = np.rot90(CORNERS, -turn // 90)
    if flip:
        expected = expected[:, ::-1]
    info = probe_video(path)
    frame = next(iterate_frames(path))
    assert (info.height, info.width) == frame.shape[:2] == expected.shape[:2]
    assert frame.flags.c_contiguous
    if not flip:
        assert info.rotation == turn
    assert np.abs(frame.astype(int) - expected)[8:-8:16, 8:-8:16].max() < 12


@pytest.mark.parametrize(("aspect", "size"), [(Fraction(4, 3), (96, 213)), (Fraction(8, 9), (108, 160))])
def test_pixel_aspect(make_video, aspect, size):
    path = make_video("a.mp4", [CORNERS] * 2, aspect=aspect)
    info = probe_video(path)
    frame = next(iterate_frames(path))
    assert (info.height, info.width) == frame.shape[:2] == size
    middle = frame.shape[1] // 2
    np.testing.assert_allclose(frame[10, [middle - 12, middle + 12]], [(255, 0, 0), (0, 255, 0)], atol=12)


@pytest.mark.parametrize("width", [1080, 90, 66])
def test_padded_rows(make_video, width):
    picture = np.repeat(np.linspace(0, 255, width).astype(np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    frame = next(iterate_frames(make_video("a.mp4", [picture], options={"crf": "1"})))
    assert frame.shape == (64, width, 3)
    assert frame.flags.c_contiguous
    assert np.abs(frame.astype(int) - picture).max() < 8


def test_odd_sides(make_video):
    path = make_video("a.mkv", [numbered_frame(9, 65, 129)] * 2, codec="ffv1", pix_fmt="yuv420p")
    assert next(iterate_frames(path)).shape == (65, 129, 3)


COLOURS = np.array(
    [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 150, 120), (20, 90, 200), (128, 128, 128), (255,) * 3, (0,) * 3]
)
PATCHES = np.repeat(np.repeat(COLOURS[None].astype(np.uint8), 64, axis=0), 32, axis=1)


def patch_colours(frame):
    """(3, 8, 3): near the top, in the middle and near the bottom."""
    height = frame.shape[0]
    return frame[[3, height // 2, height - 4], 16::32].astype(int)


@pytest.mark.parametrize(
    ("matrix", "colour_range", "pix_fmt"),
    [(1, 1, "yuv420p"), (5, 1, "yuv420p"), (6, 2, "yuvj420p"), (1, 2, "yuvj420p"), (9, 1, "yuv420p10le"),
     (1, 1, "yuv420p10le"), (1, 1, "yuv444p"),
     (1, 1, "yuv422p10le"), (1, 1, "yuv444p10le")],
)  # fmt: skip  # short arguments, read in rows
def test_matrix_and_range_are_honoured(make_video, matrix, colour_range, pix_fmt):
    path = make_video(
        "a.mp4", [PATCHES] * 2, matrix=matrix, colour_range=colour_range, pix_fmt=pix_fmt, options={"crf": "4"}
    )
    info = probe_video(path)
    assert info.pixel_format == pix_fmt
    assert not info.is_hdr
    assert np.abs(patch_colours(next(iterate_frames(path))) - COLOURS).max() <= 5


@pytest.mark.parametrize(("height", "coefficients"), [(480, (0.299, 0.114)), (720, (0.2126, 0.0722))])
def test_untagged_files_are_601_when_small_and_709_when_large(tmp_path, height, coefficients):
    red, blue = coefficients
    luma = COLOURS @ np.array([red, 1 - red - blue, blue])
    planes = [16 + 219 * luma / 255, 128 + 112 * (COLOURS[:, 2] - luma) / 255 / (1 - blue), 128 + 112 * (COLOURS[:, 0] - luma) / 255 / (1 - red)]  # fmt: skip  # noqa: E501
    picture = np.stack([np.repeat(np.repeat(p[None], height, 0), 32, 1).round().astype(np.uint8) for p in planes])
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = height, 256, "yuv444p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="yuv444p")))
        container.mux(stream.encode(None))
    assert np.abs(patch_colours(next(iterate_frames(tmp_path / "a.mkv"))) - COLOURS).max() <= 2


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_mapped_to_standard_range(make_video, transfer, caplog):
    """A grey ramp in PQ or HLG comes out rising, neutral, with black black and reference white (203 cd/m²) bright."""
    ramp = np.repeat(np.linspace(0, 65535, 256).astype(np.uint16)[None, :, None], 64, axis=0).repeat(3, axis=2)
    path = make_video(
        "hdr.mkv", [ramp] * 2, codec="ffv1", pix_fmt="yuv420p10le", matrix=9, transfer=transfer, primaries=9
    )
    assert probe_video(path).is_hdr
    with caplog.at_level("INFO", "posegen"):
        frame = next(iterate_frames(path))
    assert "HDR" in caplog.text
    levels = frame[32].astype(int)
    assert (np.ptp(levels, axis=1) <= 4).all()
    assert (np.diff(levels[:, 1]) >= -1).all()
    assert levels[0, 1] <= 2
    reference_white = round(255 * (0.58 if transfer == 16 else 0.75))
    assert 230 <= levels[reference_white, 1] < levels[reference_white + 20, 1] < 255  # lamps and skies are not flat


def pq_signal(light):
    """Light in cd/m² as a PQ signal 0..1 (ITU-R BT.2100, table 4)."""
    power = (light / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg_signal(light):
    """RGB light in cd/m² of a 1000 cd/m² display as an HLG signal 0..1 (ITU-R BT.2100, table 5)."""
    luminance = (light @ np.array([0.2627, 0.6780, 0.0593]))[..., None] / 1000
    scene = light / 1000 * luminance ** (-0.2 / 1.2)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-6)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)


@pytest.mark.parametrize(("transfer", "signal", "tolerance"), [(16, pq_signal, 6), (18, hlg_signal, 10)])
@pytest.mark.parametrize("primaries", [2, 9])
def test_hdr_colours_keep_their_hue(make_video, transfer, signal, tolerance, primaries):
    """Colours of reference brightness look as the same colours of an ordinary video (gamma 2.4)."""
    colours = np.array([(0.5, 0.1, 0.1), (0.1, 0.5, 0.1), (0.1, 0.1, 0.5), (0.5, 0.3, 0.2), (0.3, 0.3, 0.3)])
    to_bt2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    coded = signal(colours @ to_bt2020.T * 203)
    picture = np.repeat(np.repeat((coded * 65535).round().astype(np.uint16)[None], 64, axis=0), 32, axis=1)
    tags = {"matrix": 9, "transfer": transfer, "primaries": primaries}
    path = make_video("hdr.mkv", [picture] * 2, codec="ffv1", pix_fmt="yuv420p10le", **tags)
    assert np.abs(patch_colours(next(iterate_frames(path))) - 255 * colours ** (1 / 2.4)).max() <= tolerance


def test_intermediates_are_read_from_the_middle(make_video):
    path = make_video("a.mkv", range(120), codec="ffv1", pix_fmt="bgr0", fps=Fraction(30000, 1001), gop=1)
    for start, stop in ((0, 1), (0, 120), (57, 61), (119, 120)):
        frames = read_frames(path, start, stop)
        assert (frames == np.stack([numbered_frame(number) for number in range(start, stop)])).all()
    with pytest.raises(PosegenError, match="frames 118 to 120 were expected, 2 of them"):
        read_frames(path, 118, 121)
    with pytest.raises(PosegenError, match="a range of frames"):
        read_frames(path, 5, 5)


def test_reading_the_middle_does_not_read_the_beginning(make_video):
    """With the first half of the file overwritten, the second half can still be read."""
    noise = [np.random.default_rng(i).integers(0, 255, (64, 128, 3), dtype=np.uint8) for i in range(40)]
    path = make_video("a.mkv", noise, codec="ffv1", pix_fmt="bgr0", gop=1)
    content = bytearray(path.read_bytes())
    content[2000 : len(content) // 3] = bytes(len(content) // 3 - 2000)
    path.write_bytes(content)
    assert (read_frames(path, 30, 33) == np.stack(noise[30:33])).all()


def test_read_frames_of_other_codecs_is_exact_too(make_video):
    path = make_video("a.mp4", range(60), gop=25)
    assert [read_number(frame) for frame in read_frames(path, 31, 36)] == [31, 32, 33, 34, 35]


def test_videos_of_people(media):
    dance = probe_video(media / "dancer.mp4")
    assert (dance.height, dance.width, dance.fps, dance.num_frames, dance.has_audio) == (640, 360, 24, 96, True)
    assert dance.duration == pytest.approx(4)
    presenter = list(iterate_frames(media / "presenter.mp4"))
    assert {frame.shape for frame in presenter} == {(360, 640, 3)}
    assert len(presenter) == 100
    red, green, blue = presenter[0][20:60, 500:620].mean(axis=(0, 1))  # of a brick wall
    assert red > green + 30 > blue


def test_real_videos(real_media):
    for name, size, rate, count in (
        ("driving_dance_full_body.mp4", (1920, 1080), 24, 288),
        ("driving_presenter_half_body.mp4", (1080, 1920), 30, 106),
    ):
        info = probe_video(real_media(name))
        assert (info.height, info.width, info.fps, info.num_frames, info.has_audio) == (*size, rate, count, True)


def test_iterating_holds_one_frame(make_video):
    """Memory does not grow with the clip: a few seconds at 640x512 would be 300 MB."""
    import tracemalloc

    path = make_video("a.mp4", [np.zeros((512, 640, 3), dtype=np.uint8)] * 300)
    tracemalloc.start()
    for _ in iterate_frames(path):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 512 * 640 * 3


def test_frames_left_out_do_not_change_those_that_are_wanted(tmp_path):
    """Few frames of a video with frames that no other needs are the same, whether the others are decoded or not."""
    path = tmp_path / "moving.mp4"
    random = np.random.default_rng(0)
    wall = random.integers(0, 255, (96, 400, 3), np.uint8)
    with VideoWriter(path, 24, size=(96, 128)) as writer:
        for number in range(60):
            writer.write(np.ascontiguousarray(wall[:, 3 * number : 3 * number + 128]))
    source, numbers, size = inspect(path), [3, 4, 17, 18, 41, 59], (48, 64)
    every = [frame.pictures[0] for frame in sample_stored_frames(source, dict.fromkeys(range(60), (size,)))]
    few = list(sample_stored_frames(source, dict.fromkeys(numbers, (size, (24, 32)))))
    assert [frame.number for frame in few] == numbers
    for frame in few:
        np.testing.assert_array_equal(frame.pictures[0], every[frame.number])
        assert frame.pictures[1].shape == (24, 32, 3)


def test_frames_and_stored_frames_come_from_one_pass(make_video):
    """At half of the rate: the frames that are shown, and stored ones at other sizes, also where some are lost."""
    path = make_video("a.mkv", list(range(40)), codec="mjpeg", pix_fmt="yuvj420p", colour_range=2)
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    for position, size in (places[index] for index in (0, 20, 39)):
        content[position + 8 : position + size] = bytes(size - 8)
    path.write_bytes(content)
    source, sizes = inspect(path), ((64, 128), (32, 64))
    wanted = {number: sizes[: 1 + number % 2] for number in (0, 1, 20, 21, 38, 39)}
    shown, stored = [], []
    for frame in iterate_with_stored(source, Fraction(12), 64, lambda number: wanted.get(number, ())):
        (stored if isinstance(frame, StoredFrame) else shown).append(frame)
    np.testing.assert_array_equal(np.stack(shown), np.stack(list(iterate_frames(path, 12, longest=64))))
    assert [frame.number for frame in stored] == list(wanted)
    assert [read_number(frame.pictures[0]) for frame in stored] == [1, 1, 19, 21, 38, 38]
    for mine, alone in zip(stored, sample_stored_frames(source, wanted), strict=True):
        assert [picture.shape[:2] for picture in mine.pictures] == list(wanted[mine.number])
        for one, other in zip(mine.pictures, alone.pictures, strict=True):
            np.testing.assert_array_equal(one, other)
