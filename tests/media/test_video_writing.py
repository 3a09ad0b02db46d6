"""What is written: exactly what it promises to players and to the next stage, or nothing at all."""

import itertools
import os
import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest
from video_files import numbered_frame, read_number

from posegen.errors import OutputError, PosegenError
from posegen.media.video import VideoWriter, iterate_frames, probe_video, read_frames, video_is_complete


def write(path, frames, fps=25, **options):
    with VideoWriter(path, fps, frames[0].shape[:2], **options) as writer:
        for frame in frames:
            writer.write(frame)


def noise(count):
    return [np.random.default_rng(i).integers(0, 256, (64, 128, 3), dtype=np.uint8) for i in range(count)]


def smooth(count, height=96, width=160):
    y, x = np.mgrid[:height, :width]
    return [np.stack([x + i, 2 * y, 200 - x], axis=-1).clip(0, 255).astype(np.uint8) for i in range(count)]


@pytest.mark.parametrize("fps", [16, 25, Fraction(30000, 1001), 60])
def test_h264_is_what_browsers_play(tmp_path, fps):
    path = tmp_path / "deep" / "out.mp4"
    frames = [numbered_frame(number) for number in range(130)]
    write(path, frames, fps)
    assert os.listdir(path.parent) == ["out.mp4"]
    content = path.read_bytes()
    assert 0 < content.find(b"moov") < content.find(b"mdat")  # playable before it is loaded whole
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context
        assert (codec.name, codec.pix_fmt, codec.profile) == ("h264", "yuv420p", "High")
        assert (codec.colorspace, codec.color_range, codec.color_primaries, codec.color_trc) == (1, 1, 1, 1)
        assert (stream.frames, stream.average_rate, stream.start_time) == (130, fps, 0)
        packets = [packet for packet in container.demux(stream) if packet.size]
    times = sorted(packet.pts * packet.time_base for packet in packets)
    assert all(abs(time - index / Fraction(fps)) < Fraction(1, 10000) for index, time in enumerate(times))
    keys = [packet.pts * packet.time_base for packet in packets if packet.is_keyframe]
    assert all(later - earlier <= Fraction(21, 10) for earlier, later in itertools.pairwise(keys))
    assert [read_number(frame) for frame in iterate_frames(path)] == [number % 256 for number in range(130)]
    assert video_is_complete(path)


def test_groups_of_pictures_are_closed(tmp_path):
    """Decoding may begin at any key frame: no frame shown after it needs one before it."""
    frames = [numbered_frame(number) for number in range(200)]
    write(tmp_path / "a.mp4", frames)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
    key_time = None
    for packet in packets:
        key_time = packet.pts if packet.is_keyframe else key_time
        assert packet.pts >= key_time


def test_h264_colours_survive(tmp_path):
    frames = smooth(3)
    write(tmp_path / "a.mp4", frames)
    for found, frame in zip(iterate_frames(tmp_path / "a.mp4"), frames, strict=True):
        error = np.abs(found.astype(int) - frame)
        assert error.mean() < 1.5
        assert abs((found.astype(int) - frame).mean(axis=(0, 1))).max() < 1.5  # no shift of level or hue


@pytest.mark.parametrize("codec", ["ffv1", "h264rgb"])
@pytest.mark.parametrize("size", [(64, 128), (65, 67), (48, 32)])
def test_lossless_video_is_bit_exact_and_intra_only(tmp_path, size, codec):
    frames = [np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8) for i in range(20)]
    frames[1][:], frames[2][:] = 0, 255
    write(tmp_path / "a.mkv", frames, fps=Fraction(30000, 1001), codec=codec)
    assert (np.stack(list(iterate_frames(tmp_path / "a.mkv"))) == np.stack(frames)).all()
    assert (read_frames(tmp_path / "a.mkv", 7, 20) == np.stack(frames[7:])).all()
    with av.open(str(tmp_path / "a.mkv")) as container:
        assert all(packet.is_keyframe for packet in container.demux(video=0) if packet.size)


def test_ffv1_damage_is_found(tmp_path, caplog):
    """Slices carry checksums: the decoder tells of a changed byte in the pictures."""
    frames = noise(20)
    write(tmp_path / "a.mkv", frames, codec="ffv1")
    with av.open(str(tmp_path / "a.mkv")) as container:
        packet = next(packet for packet in container.demux(video=0) if packet.size)
        extradata = container.streams.video[0].codec_context.extradata
    assert extradata  # version 3, whose header is kept apart
    content = bytearray((tmp_path / "a.mkv").read_bytes())
    content[packet.pos + packet.size // 2] ^= 0x55
    (tmp_path / "a.mkv").write_bytes(content)
    av.logging.set_level(av.logging.ERROR)
    try:
        read_frames(tmp_path / "a.mkv", 0, 1)
    finally:
        av.logging.set_level(None)
    assert "CRC mismatch" in caplog.text


def test_views_and_other_strides_are_written_right(tmp_path):
    wide = np.random.default_rng(0).integers(0, 256, (64, 256, 3), dtype=np.uint8)
    write(tmp_path / "a.mkv", [wide[:, ::2], wide[:, ::-2], wide[::-1, :128]], codec="ffv1")
    found = read_frames(tmp_path / "a.mkv", 0, 3)
    assert (found == np.stack([wide[:, ::2], wide[:, ::-2], wide[::-1, :128]])).all()


def test_result_has_the_users_permissions(tmp_path):
    before = os.umask(0o022)
    try:
        write(tmp_path / "a.mp4", smooth(1))
    finally:
        os.umask(before)
    assert (tmp_path / "a.mp4").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("codec", ["h264", "ffv1", "h264rgb"])
def test_nothing_is_left_after_an_error(tmp_path, codec):
    path = tmp_path / ("a.mp4" if codec == "h264" else "a.mkv")
    path.write_bytes(b"the earlier result")

    def frames_until_interrupted():
        yield from smooth(30)
        raise KeyboardInterrupt

    def write_until_interrupted():
        with VideoWriter(path, 25, (96, 160), codec=codec) as writer:
            for frame in frames_until_interrupted():
                writer.write(frame)

    with pytest.raises(KeyboardInterrupt):
        write_until_interrupted()
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes() == b"the earlier result"


def test_wrong_uses_are_refused(tmp_path):
    with pytest.raises(PosegenError, match=r"65x66 .* even sides .* nearest are 64x66 or 66x66"):
        VideoWriter(tmp_path / "a.mp4", 25, (65, 66))
    with pytest.raises(PosegenError, match=r"h264 video is written as \.mp4"):
        VideoWriter(tmp_path / "a.webm", 25, (64, 64))
    with pytest.raises(PosegenError, match="between 1 and 240"):
        VideoWriter(tmp_path / "a.mp4", 0, (64, 64))
    with pytest.raises(PosegenError, match="no frames to write"), VideoWriter(tmp_path / "a.mp4", 25, (64, 64)):
        pass
    with pytest.raises(PosegenError, match="no such file"):
        VideoWriter(tmp_path / "a.mp4", 25, (64, 64), audio_from=tmp_path / "none.mp4")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        VideoWriter(tmp_path / "folder.mp4", 25, (64, 64))
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        VideoWriter(tmp_path / "file" / "a.mp4", 25, (64, 64))
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.mp4"]


def test_folder_not_writable(tmp_path):
    """As another user than root, for whom no folder is closed."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.chmod(tmp_path, 0o755)
                os.seteuid(65534)
            VideoWriter(closed / "a.mp4", 25, (64, 64))
        except OutputError:
            os._exit(3)
        finally:
            os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3


FULL_DISK = """
import resource, signal, sys, numpy as np
from pathlib import Path
from posegen.errors import OutputError
from posegen.media.video import VideoWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit, target = int(sys.argv[1]), Path(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    with VideoWriter(target, 25, (64, 128), codec=sys.argv[3]) as writer:
        for i in range(60):
            writer.write(np.random.default_rng(i).integers(0, 256, (64, 128, 3), dtype=np.uint8))
except OutputError as error:
    print(error)
    sys.exit(2)
"""


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "h264"), ("a.mkv", "ffv1"), ("a.mkv", "h264rgb")])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.998])
def test_no_room_for_the_file(warm, tmp_path, name, codec, share):
    """The system refuses to let the file grow beyond a share of its size: in the pictures, or only in the index."""
    frames = noise(60)
    write(tmp_path / name, frames, codec=codec)
    limit = int((tmp_path / name).stat().st_size * share)
    os.unlink(tmp_path / name)
    done = warm.run(FULL_DISK, [limit, tmp_path / name, codec])
    assert done.returncode == 2, done.stderr
    assert done.stdout.count("\n") == 1
    assert "the disk is full" in done.stdout
    assert os.listdir(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a real file system of 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=False).returncode:
        pytest.skip("only root can mount a file system; test_no_room_for_the_file covers the same code")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "h264"), ("a.mkv", "ffv1"), ("a.mkv", "h264rgb")])
def test_full_disk(small_disk, name, codec):
    with pytest.raises(OutputError, match="the disk is full"):
        write(
            small_disk / name,
            [np.random.default_rng(i).integers(0, 255, (64, 128, 3), np.uint8) for i in range(60)],
            codec=codec,
        )
    assert os.listdir(small_disk) == []
    write(small_disk / name, smooth(2, 64, 64), codec=codec)
    assert probe_video(small_disk / name).num_frames == 2


@pytest.mark.parametrize("codec", ["ffv1", "h264rgb"])
def test_the_same_frames_are_the_same_bytes_in_files_that_are_kept(codec, tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (3, 16, 24, 3), np.uint8)
    for name in ("a.mkv", "b.mkv"):
        with VideoWriter(tmp_path / name, 8, (16, 24), codec=codec) as writer:
            for frame in frames:
                writer.write(frame)
    assert (tmp_path / "a.mkv").read_bytes() == (tmp_path / "b.mkv").read_bytes()
