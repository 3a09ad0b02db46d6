"""Sound that cannot be used is left out with a line, or another track is taken; the pictures are always written."""

import av
import numpy as np
import pytest
from test_video_audio import delay, packets_of, sound_of, write
from video_files import chirp

from posegen.errors import DiskFullError
from posegen.media import audio
from posegen.media.audio import SILENT, check_sound
from posegen.media.probing import inspect
from posegen.media.video import probe_video


def two_tracks(make_video, tmp_path, damage, second="aac"):
    """A video whose first track holds nothing but noise, and whose second one is a chirp."""
    source = make_video("whole.mkv", range(75), sound=(second, 48000, 0.0, 3.0))
    path = tmp_path / "two.mkv"
    with av.open(str(source)) as whole, av.open(str(path), "w") as result:
        picture, sound = whole.streams.video[0], whole.streams.audio[0]
        streams = {picture.index: result.add_stream_from_template(picture)}
        broken = result.add_stream_from_template(sound)
        streams[sound.index] = result.add_stream_from_template(sound)
        for packet in whole.demux():
            if not packet.size:
                continue
            if packet.stream_index == sound.index:
                other = av.Packet(damage(bytes(packet)))
                other.pts, other.dts, other.time_base = packet.pts, packet.dts, packet.time_base
                other.stream = broken
                result.mux(other)
            packet.stream = streams[packet.stream_index]
            result.mux(packet)
    return path, source


def lines(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_the_first_track_that_can_be_decoded_is_taken(make_video, tmp_path, caplog):
    path, whole = two_tracks(make_video, tmp_path, lambda content: b"\x3c" * len(content))
    write(tmp_path / "out.mp4", path, 50)
    assert probe_video(tmp_path / "out.mp4").num_frames == 50
    expected, found = packets_of(whole), packets_of(tmp_path / "out.mp4")
    assert found == expected[: len(found)]
    assert len(lines(caplog)) == 1
    assert "track 1" in lines(caplog)[0]
    sound = check_sound(path)
    assert (sound.track, sound.is_copied, len(sound.losses)) == (1, True, 1)
    assert "track 2" in sound.describe()


def test_no_track_that_can_be_decoded(make_video, tmp_path, caplog):
    source = make_video("a.mkv", range(20), sound=("flac", 48000, 0.0, 0.8))
    content = source.read_bytes()
    with av.open(str(source)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(audio=0) if packet.size]
    for position, size in places:
        content = (
            content[:position]
            + content[position : position + size + 8].translate(bytes(256))
            + content[position + size + 8 :]
        )
    (tmp_path / "b.mkv").write_bytes(content)
    assert check_sound(tmp_path / "b.mkv").track is None
    write(tmp_path / "out.mp4", tmp_path / "b.mkv", 20)
    assert not probe_video(tmp_path / "out.mp4").has_audio
    assert probe_video(tmp_path / "out.mp4").num_frames == 20
    assert any("silent" in line for line in lines(caplog))


def test_a_rate_that_mp4_cannot_hold_is_converted(make_video, tmp_path):
    """MP3 at 11,025 Hz, as old Flash videos have it."""
    source = make_video("a.flv", range(50), sound=("libmp3lame", 11025, 0.0, 2.0))
    write(tmp_path / "out.mp4", source, 50, audio_seconds=2)
    found, rate, codec = sound_of(tmp_path / "out.mp4")
    assert (codec, rate) == ("aac", 11025)
    assert abs(delay(found, chirp(rate, 0, 2)[0], rate)) <= 0.0011
    assert not check_sound(source).is_copied


@pytest.mark.parametrize(
    ("codec", "rate"), [("pcm_s16le", 6000), ("pcm_s16le", 96000), ("pcm_u8", 22255), ("ac3", 32000)]
)
def test_unusual_rates(make_video, tmp_path, codec, rate):
    source = make_video("a.mkv" if codec != "ac3" else "a.ts", range(50), sound=(codec, rate, 0.0, 2.0))
    write(tmp_path / "out.mp4", source, 50)
    found, found_rate, name = sound_of(tmp_path / "out.mp4")
    assert name == "aac"
    assert len(found) / found_rate == pytest.approx(2.0, abs=0.05)


def set_back(path, seconds, begin):
    """Set the times of a Flash video's sound back from the second `begin` on."""
    content, position = bytearray(path.read_bytes()), 13
    while position + 11 < len(content):
        size = int.from_bytes(content[position + 1 : position + 4])
        if content[position] == 8 and size > 10:
            time = int.from_bytes(content[position + 4 : position + 7])
            if time > 1000 * begin:
                content[position + 4 : position + 7] = (time - round(1000 * seconds)).to_bytes(3)
        position += 11 + size + 4
    path.write_bytes(content)


@pytest.mark.parametrize("seconds", [0.03, 0.4, 1.5])
@pytest.mark.parametrize("sound", [("aac", 44100), ("libmp3lame", 11025)])
def test_times_that_fall(make_video, tmp_path, seconds, sound):
    """Once, by less than a packet and by more: the result's sound never falls, and it is there before and after."""
    source = make_video("a.flv", range(75), sound=(*sound, 0.0, 3.0))
    set_back(source, seconds, 1.6)
    write(tmp_path / "out.mp4", source, 75, growing=tmp_path / "growing.mp4", audio_seconds=3)
    assert probe_video(tmp_path / "out.mp4").num_frames == 75
    with av.open(str(tmp_path / "out.mp4")) as container:
        times = [packet.dts for packet in container.demux(audio=0) if packet.size]
    assert (np.diff(times) > 0).all()
    found, rate, _ = sound_of(tmp_path / "out.mp4")
    assert len(found) / rate > 2.5
    assert np.abs(found[rate // 4 :][: rate // 4]).max() > 0.2
    assert np.abs(found[round(2.2 * rate) :]).max() > 0.2


@pytest.mark.parametrize("codec", ["aac", "mp2"])
def test_sound_of_joined_files_stays_with_its_pictures(make_video, tmp_path, codec):
    parts = [make_video(f"{name}.ts", range(50), sound=(codec, 48000, 0.0, 2.0)) for name in "ab"]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    write(tmp_path / "out.mp4", path, 100, growing=tmp_path / "growing.mp4", audio_seconds=4)
    expected, rate, _ = sound_of(parts[0])
    found, _, _ = sound_of(tmp_path / "out.mp4")
    assert len(found) / rate == pytest.approx(4.0, abs=0.05)
    for begin in (0, 2):
        assert abs(delay(found[begin * rate + 4800 :], expected[4800:], rate)) < 0.013  # half a packet of MP2


def test_sound_of_a_program_stream_begins_with_its_pictures(make_video, tmp_path):
    source = make_video("a.mpg", range(60), fps=30, sound=("mp2", 48000, 0.0, 2.0))
    write(tmp_path / "out.mp4", source, 60, fps=30)
    found, rate, _ = sound_of(tmp_path / "out.mp4")
    assert abs(delay(found, chirp(rate, 0, 2)[0], rate)) < 0.03  # MP2 itself is 10 ms late


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """Put another program in the place of the one that reads sound."""

    def put(body):
        path = tmp_path / "stand_in.py"
        path.write_text(f"import json, os, signal, sys, time\nrequest = json.load(sys.stdin)\n{body}\n")
        monkeypatch.setattr(audio, "_PROGRAM", path)

    return put


TRYING = "print(json.dumps({'trying': 0}), flush=True)\n"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("sys.exit(3)", "exit code 3"),
        (TRYING + "os.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
        (TRYING + "time.sleep(30)", "more than"),
        ("print('nonsense')", "exit code 0"),
        (TRYING + "print(json.dumps({'encoded': 0, 'rate': 48000, 'layout': 'mono', 'codec': 'flac'}))", "exit code 0"),
    ],
)
def test_the_death_of_the_reader_costs_the_sound_only(
    make_video, tmp_path, caplog, monkeypatch, stand_in, body, reason
):
    source = make_video("a.mkv", range(10), sound=("flac", 48000, 0.0, 0.4))
    stand_in(body)
    if "sleep" in body:
        monkeypatch.setattr(audio, "_PATIENCE", 0.2)
    write(tmp_path / "out.mp4", source, 10)
    assert probe_video(tmp_path / "out.mp4").num_frames == 10
    assert not probe_video(tmp_path / "out.mp4").has_audio
    assert any(reason in line for line in lines(caplog))
    assert reason in check_sound(source).describe()


def test_a_track_at_which_the_reader_dies_is_passed_over(make_video, tmp_path, stand_in):
    """The stand-in dies at the first track, and leaves the second one to the program itself."""
    path, _ = two_tracks(make_video, tmp_path, lambda content: content)
    program = str(audio._PROGRAM)
    stand_in(
        "if 0 not in request['skipped']:\n"
        f"    {TRYING}    os.kill(os.getpid(), signal.SIGKILL)\n"
        "import io, runpy\nsys.stdin = io.StringIO(json.dumps(request))\n"
        f"runpy.run_path({program!r}, run_name='__main__')"
    )
    write(tmp_path / "out.mp4", path, 50)
    assert probe_video(tmp_path / "out.mp4").has_audio
    assert check_sound(path).track == 1


def test_memory_is_limited(make_video, tmp_path, caplog, monkeypatch, stand_in):
    source = make_video("a.mkv", range(10), sound=("flac", 48000, 0.0, 0.4))
    stand_in(
        TRYING + "import resource\nresource.setrlimit(resource.RLIMIT_AS, (request['memory'],) * 2)\nbytearray(1 << 32)"
    )
    write(tmp_path / "out.mp4", source, 10)
    assert probe_video(tmp_path / "out.mp4").num_frames == 10
    assert any("exit code 1" in line for line in lines(caplog))


def test_the_reader_takes_no_more_memory_than_it_is_given(make_video, tmp_path, monkeypatch):
    """With too little, there is no sound; with what it is given, there is."""
    source = make_video("a.mkv", range(10), sound=("flac", 48000, 0.0, 0.4))
    assert check_sound(source).track == 0
    monkeypatch.setattr(audio, "_MEMORY", 1 << 20)
    assert check_sound(source, seconds=0.2).track is None


def test_a_full_disk_is_no_reason_to_be_silent(make_video, tmp_path, stand_in):
    source = make_video("a.mkv", range(10), sound=("flac", 48000, 0.0, 0.4))
    stand_in("sys.exit(28)")
    with pytest.raises(DiskFullError):
        write(tmp_path / "out.mp4", source, 10)


def test_a_silent_video_needs_no_reader(make_video, stand_in):
    stand_in("sys.exit(3)")
    assert check_sound(make_video("a.mp4", range(3))) == SILENT


def test_the_same_bytes_every_time(make_video, tmp_path):
    source = make_video("a.webm", range(50), codec="libvpx-vp9", sound=("libopus", 48000, 0.0, 2.0))
    for name in ("a.mp4", "b.mp4"):
        write(tmp_path / name, source, 50, audio_seconds=2.0)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert inspect(source).info.has_audio
