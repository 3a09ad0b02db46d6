"""Files whose clocks begin anew or tell nothing: every frame is shown once, in order, at its rate, with its sound."""

from fractions import Fraction

import av
import numpy as np
import pytest
from video_files import read_number

from posegen.media.probing import inspect, probe_video, video_is_complete
from posegen.media.reading import iterate_frames, sample_frames, sample_stored_frames

QUIET = {"x265-params": "log-level=none"}


def joined(folder, name, *parts):
    path = folder / name
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def pictures_of(path):
    """The numbers that a plain decoder finds, packet after packet, whatever their times."""
    with av.open(str(path)) as container:
        return [read_number(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def check_sound(path):
    """On the continued clock, sound neither breaks off nor jumps, and begins and ends with the pictures."""
    source = inspect(path)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
    times = np.array([float(packet.pts * packet.time_base) for packet in packets])
    for first, offset in source.sounds[0] if source.sounds else ():
        times[first:] += offset - (times[first:] - [float(p.pts * p.time_base) for p in packets[first:]])
    assert (np.abs(np.diff(times) - np.median(np.diff(times))) < 0.08).all()
    assert times[0] - source.origin == pytest.approx(0, abs=0.08)
    assert times[-1] - source.origin == pytest.approx(source.info.duration, abs=0.08)


def check(path, count, rate, numbers=None):
    """Probing, counting, iterating, seeking and sampling agree with each other and with the pictures' own numbers."""
    expected = list(range(count)) if numbers is None else numbers
    info = probe_video(path)
    assert (info.num_frames, info.fps) == (count, rate)
    assert info.duration == pytest.approx(count / float(rate), abs=0.002)
    np.testing.assert_allclose(info.frame_times, np.arange(count) / float(rate), atol=0.002)
    assert pictures_of(path) == expected
    assert [read_number(frame) for frame in iterate_frames(path)] == expected
    for number in (1, count // 3, count // 2, count - 2):
        start = number / float(rate)
        assert [read_number(frame) for frame in iterate_frames(path, start=start)] == expected[number:]
    chosen = sorted({0, 5, count // 2 - 1, count // 2, count // 2 + 1, count - 1})
    assert [read_number(frame) for frame in sample_frames(path, chosen)] == [expected[number] for number in chosen]
    stored = sample_stored_frames(inspect(path), dict.fromkeys(chosen, ((64, 128),)))
    assert [read_number(frame.pictures[0]) for frame in stored] == [expected[number] for number in chosen]
    if info.has_audio:
        check_sound(path)


@pytest.mark.parametrize(
    ("suffix", "codec", "sound"),
    [
        ("ts", "libx264", "aac"),
        ("ts", "libx264", None),
        ("ts", "mpeg2video", "mp2"),
        ("ts", "libx265", "aac"),
        ("mpg", "libx264", "mp2"),
        ("mpg", "mpeg2video", "mp2"),
    ],
)
@pytest.mark.parametrize("lengths", [(30, 30), (45, 12, 23)])
def test_files_joined_end_to_end(make_video, tmp_path, caplog, suffix, codec, sound, lengths):
    options = QUIET if codec == "libx265" else {"bf": "2"}
    first, parts = 0, []
    for length in lengths:
        tone = (sound, 44100, 0.0, length / 30) if sound else None
        name = f"{first}.{suffix}"
        parts.append(
            make_video(name, range(first, first + length), fps=30, codec=codec, sound=tone, options=options, gop=10)
        )
        first += length
    path = joined(tmp_path, f"joined.{suffix}", *parts)
    check(path, sum(lengths), 30)
    told = [record.getMessage() for record in caplog.records if "clock restarts" in record.getMessage()]
    assert len(told) == 1
    assert f"{lengths[0] / 30:.2f}" in told[0]


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.webm", "libvpx-vp9"), ("a.avi", "mpeg4")])
def test_other_containers_joined_end_to_end(make_video, tmp_path, name, codec):
    parts = [make_video(f"{number}{name}", range(30 * number, 30 * number + 30), codec=codec) for number in (0, 1)]
    check(joined(tmp_path, f"joined{name}", *parts), 60, 25)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.flv"])
@pytest.mark.parametrize("options", [{}, {"movflags": "+faststart"}])
def test_what_is_joined_and_not_read_is_said(make_video, tmp_path, caplog, name, options):
    """FFmpeg, as players do, shows the first file only."""
    options = options if name != "a.flv" else {}
    parts = [make_video(f"{number}{name}", range(10), container_options=options) for number in (0, 1)]
    assert probe_video(parts[0]).num_frames == 10
    assert not caplog.records
    assert probe_video(joined(tmp_path, f"joined{name}", *parts)).num_frames == 10
    assert "several files in one" in caplog.text


@pytest.mark.parametrize("name", ["a.mp4", "a.nut"])
def test_what_is_joined_and_read_in_part_is_said(make_video, tmp_path, caplog, name):
    """Fragmented MP4 and NUT: of the second file FFmpeg gives some frames, or hardly any."""
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"} if name == "a.mp4" else {}
    parts = [make_video(f"{number}{name}", range(30), container_options=options) for number in (0, 1)]
    assert probe_video(parts[0]).num_frames == 30
    assert "several files in one" not in caplog.text
    assert probe_video(joined(tmp_path, f"joined{name}", *parts)).num_frames < 60
    (told,) = [record.message for record in caplog.records if "several files in one" in record.message]
    assert "lost" in told or "little" in told


@pytest.mark.parametrize("offset", [100.0, 7200.0, 95000.0])
@pytest.mark.parametrize("later_first", [False, True])
def test_joined_files_with_clocks_far_apart(make_video, tmp_path, offset, later_first):
    """Where the second one's times are hours ahead, too, and where the 33 bits of its clock have wrapped."""
    near = {"container_options": {}}
    far = {"container_options": {"output_ts_offset": str(offset)}}
    order = (far, near) if later_first else (near, far)
    parts = [
        make_video(
            f"{number}.ts", range(40 * number, 40 * number + 40), sound=("aac", 48000, 0.0, 1.6), gop=10, **options
        )
        for number, options in enumerate(order)
    ]
    path = joined(tmp_path, "joined.ts", *parts)
    check(path, 80, 25)
    assert len(inspect(path).sounds[0]) == 2


def test_joined_files_of_one_clock_lose_no_frame(make_video, tmp_path, caplog):
    """Segments of a stream: times go on, the counters of their packets do not."""
    parts = [
        make_video(
            f"{number}.ts",
            range(25 * number, 25 * number + 25),
            sound=("aac", 48000, 0.0, 1.0),
            gop=10,
            container_options={"output_ts_offset": str(number + 1)},
        )
        for number in range(3)
    ]
    check(joined(tmp_path, "joined.ts", *parts), 75, 25)
    assert "restarts" not in caplog.text


def test_a_clock_that_wraps_around(make_video):
    """33 bits of 1/90000 s end after 26.5 hours; frames are stored in another order than they are shown."""
    wrap = 2**33 / 90000
    path = make_video(
        "a.ts",
        range(75),
        sound=("aac", 48000, 0.0, 3.0),
        options={"bf": "2"},
        gop=15,
        container_options={"output_ts_offset": f"{wrap - 1.5:.3f}"},
    )
    check(path, 75, 25)


def test_joined_in_the_middle_of_a_group_of_pictures(make_video, tmp_path):
    """A recorder that lost its signal begins anew without a key frame; what cannot be decoded is bridged, no more."""
    first, second = (make_video(f"{n}.ts", range(50 * n, 50 * n + 50), gop=10, options={"bf": "0"}) for n in (0, 1))
    content = second.read_bytes()
    with av.open(str(second)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    path = tmp_path / "joined.ts"
    path.write_bytes(first.read_bytes() + content[: 188 * 3] + content[places[8] :])
    shown = [read_number(frame) for frame in iterate_frames(path)]
    assert shown[:50] == list(range(50))
    assert shown[-40:] == list(range(60, 100))
    assert len(shown) == probe_video(path).num_frames == 92
    assert probe_video(path).fps == 25


@pytest.mark.parametrize("name", ["vfr.mkv", "vfr.ts", "vfr.mp4", "vfr.flv"])
def test_a_variable_rate_stays_variable(make_video, name, caplog):
    times = [0, 40, 80, 400, 440, 480, 520, 6000, 6040, 6080, 15000, 15040]
    path = make_video(name, range(len(times)), times=times)
    np.testing.assert_allclose(probe_video(path).frame_times, np.array(times) / 1000, atol=1e-3)
    assert inspect(path).order is None
    assert "restarts" not in caplog.text
    shown = [read_number(frame) for frame in iterate_frames(path, 25)]
    assert [shown.count(number) for number in range(len(times) - 1)] == [1, 1, 8, 1, 1, 1, 137, 1, 1, 223, 1]


def test_joined_variable_rates_stay_variable(make_video, tmp_path):
    first, second = [0, 40, 80, 400, 440, 1480], [0, 200, 240, 280, 900, 940, 980]
    parts = [make_video("a.ts", range(6), times=first), make_video("b.ts", range(6, 13), times=second)]
    path = joined(tmp_path, "joined.ts", *parts)
    found = probe_video(path).frame_times
    np.testing.assert_allclose(found[:6], np.array(first) / 1000, atol=1e-3)
    np.testing.assert_allclose(found[6:] - found[6], np.array(second) / 1000, atol=1e-3)
    assert 0 < found[6] - found[5] < 1.1
    numbers = [read_number(frame) for frame in sample_stored_frames_of(path)]
    assert numbers == list(range(13))


def sample_stored_frames_of(path):
    count = probe_video(path).num_frames
    for frame in sample_stored_frames(inspect(path), dict.fromkeys(range(count), ((64, 128),))):
        yield frame.pictures[0]


def test_a_still_with_sound_is_no_restart(make_video, tmp_path):
    """Twenty seconds without a new frame, in which the sound goes on: the frame stands that long."""
    times = [*range(0, 1000, 40), *range(21000, 22000, 40)]
    path = make_video("a.ts", range(50), times=times, sound=("aac", 48000, 0.0, 22.0))
    np.testing.assert_allclose(probe_video(path).frame_times, np.array(times) / 1000, atol=1e-3)


def test_h264_in_a_program_stream(make_video):
    """Only some of its packets carry times; sound and pictures begin at half a second of the container's clock."""
    path = make_video("a.mpg", range(60), fps=30, sound=("mp2", 48000, 0.0, 2.0))
    check(path, 60, 30)
    assert video_is_complete(path)
    assert inspect(path).origin > 0.4
    other = make_video("b.mpg", range(60), fps=Fraction(24000, 1001))
    assert probe_video(other).fps == Fraction(24000, 1001)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.h264", "libx264", {}),
        ("a.hevc", "libx265", QUIET),
        ("a.m2v", "mpeg2video", {"bf": "2"}),
        ("a.m4v", "mpeg4", {}),
    ],
)
def test_raw_streams_say_their_rate(make_video, tmp_path, caplog, name, codec, options):
    raw = {".m2v": "mpeg2video", ".m4v": "m4v"}
    path = make_video(name, range(60), fps=30, codec=codec, options=options, file_format=raw.get(name[1:]))
    check(path, 60, 30)
    assert sum("30 frames per second" in record.getMessage() for record in caplog.records) == 1


def test_a_raw_stream_without_a_rate_is_read_at_an_assumed_one(make_video, tmp_path, caplog):
    source = make_video("a.avi", range(50), fps=30, codec="mjpeg", pix_fmt="yuvj420p", colour_range=2)
    with av.open(str(source)) as container:
        content = b"".join(bytes(packet) for packet in container.demux(video=0))
    (tmp_path / "a.mjpeg").write_bytes(content)
    check(tmp_path / "a.mjpeg", 50, 25)
    assert "25 frames per second are assumed" in caplog.text


def test_avi_with_frames_that_are_decoded_in_another_order(make_video):
    check(make_video("a.avi", range(60), fps=30, options={"bf": "3"}), 60, 30)
