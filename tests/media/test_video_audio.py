"""The driving video's sound in the result: there, as long as the pictures, and in time with them."""

import shutil
from fractions import Fraction

import av
import numpy as np
import pytest
from video_files import numbered_frame

from posegen.media.video import VideoWriter, probe_video


def write(path, source, count, fps=25, **options):
    with VideoWriter(path, fps, (64, 128), audio_from=source, **options) as writer:
        for number in range(count):
            writer.write(numbered_frame(number % 256))


def sound_of(path):
    """(samples as mono float, sample rate, codec), placed on the clock of the first picture."""
    with av.open(str(path)) as container:
        audio, video = container.streams.audio[0], container.streams.video[0]
        zero = float(next(container.decode(video)).time)
        container.seek(0)
        rate = audio.codec_context.sample_rate
        resampler = av.AudioResampler("fltp", "mono", rate)
        samples = np.zeros(rate * 30, dtype=np.float32)
        end = 0
        for decoded in container.decode(audio):
            for frame in resampler.resample(decoded):
                first = round((frame.time - zero) * rate)
                data = frame.to_ndarray()[0][max(0, -first) :]
                first = max(0, first)
                samples[first : first + len(data)] = data
                end = first + len(data)
        return samples[:end], rate, audio.codec_context.name


def packets_of(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def delay(found, expected, rate):
    """Seconds by which `found` comes later than `expected`, from the peak of their cross-correlation."""
    length = min(len(found), len(expected), 2 * rate)
    size = 2 ** int(np.ceil(np.log2(2 * length)))
    spectrum = np.fft.rfft(found[:length], size) * np.conj(np.fft.rfft(expected[:length], size))
    peak = int(np.argmax(np.fft.irfft(spectrum, size)))
    return (peak if peak < size // 2 else peak - size) / rate


def copied_in_time(source, tmp_path, start):
    write(tmp_path / "out.mp4", source, 50, audio_start=start)
    expected, rate, codec = sound_of(source)
    found, found_rate, found_codec = sound_of(tmp_path / "out.mp4")
    assert (found_codec, found_rate) == (codec, rate)
    wanted = expected[round(start * rate) :][: 2 * rate]
    assert abs(delay(found, wanted, rate)) <= 1 / rate
    assert len(found) / rate == pytest.approx(2.0, abs=0.03)
    original, copied = packets_of(source), packets_of(tmp_path / "out.mp4")
    first = original.index(copied[0])
    assert copied == original[first : first + len(copied)]


@pytest.mark.parametrize("name", ["dancer.mp4", "presenter.mp4"])
@pytest.mark.parametrize("start", [0.0, 1.27])
def test_sound_is_copied_in_time(media, tmp_path, name, start):
    copied_in_time(media / name, tmp_path, start)


@pytest.mark.parametrize("name", ["driving_dance_full_body.mp4", "driving_presenter_half_body.mp4"])
def test_sound_of_other_encoders_is_copied_in_time(real_media, tmp_path, name):
    copied_in_time(real_media(name), tmp_path, 1.37)


@pytest.mark.parametrize(
    ("name", "video_codec", "audio_codec", "copied"),
    [
        ("a.webm", "libvpx-vp9", "libopus", False),
        ("a.mov", "libx264", "pcm_s16le", False),
        ("a.mkv", "libx264", "flac", False),
        ("a.ts", "libx264", "mp2", False),
        ("a.mp4", "libx264", "aac", True),
        ("a.ts", "libx264", "aac", True),
    ],
)
@pytest.mark.parametrize("offset", [0.0, 0.35])
def test_every_kind_of_sound_stays_in_time(make_video, tmp_path, name, video_codec, audio_codec, copied, offset):
    """Sound that begins later than the pictures does so in the result; other codecs become AAC."""
    source = make_video(name, range(75), codec=video_codec, sound=(audio_codec, 48000, offset, 3.0))
    write(tmp_path / "out.mp4", source, 50)
    expected, rate, _ = sound_of(source)
    found, found_rate, found_codec = sound_of(tmp_path / "out.mp4")
    assert (found_codec, found_rate) == ("aac", 48000)
    assert abs(delay(found, expected[: 2 * rate], rate)) <= (
        1 / rate if offset == 0 and copied else 0.0011
    )  # MP4 tells a delay in milliseconds
    assert len(found) / rate == pytest.approx(2.0, abs=0.03)
    assert np.abs(found[: max(0, round((offset - 0.03) * rate))]).max(initial=0) < 0.01
    assert np.abs(found).max() > 0.2


def test_sound_from_the_middle_of_a_transcoded_file(make_video, tmp_path):
    source = make_video("a.webm", range(75), codec="libvpx-vp9", sound=("libopus", 48000, 0.0, 3.0))
    write(tmp_path / "out.mp4", source, 40, audio_start=1.03)
    expected, rate, _ = sound_of(source)
    found, _, _ = sound_of(tmp_path / "out.mp4")
    assert abs(delay(found, expected[round(1.03 * rate) :], rate)) <= 0.0011


def test_shorter_sound_ends_where_it_ends(make_video, tmp_path):
    source = make_video("a.mp4", range(50), sound=("aac", 44100, 0.0, 1.0))
    write(tmp_path / "out.mp4", source, 50, fps=Fraction(25))
    found, rate, _ = sound_of(tmp_path / "out.mp4")
    assert len(found) / rate == pytest.approx(1.0, abs=0.05)
    assert probe_video(tmp_path / "out.mp4").duration == pytest.approx(2.0)


def test_silent_source_makes_a_silent_result(make_video, tmp_path, caplog):
    source = make_video("a.mp4", range(5))
    with caplog.at_level("INFO", "posegen"):
        write(tmp_path / "out.mp4", source, 5)
    assert "no sound" in caplog.text
    assert not probe_video(tmp_path / "out.mp4").has_audio


def test_sound_beside_lossless_frames(media, tmp_path):
    write(tmp_path / "out.mkv", media / "presenter.mp4", 10, codec="ffv1")
    assert probe_video(tmp_path / "out.mkv").has_audio


def test_damaged_sound_is_left_out(media, tmp_path):
    """The pictures matter: sound that cannot be decoded does not end the work."""
    with av.open(str(media / "presenter.mp4")) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(audio=0) if packet.size]
    shutil.copyfile(media / "presenter.mp4", tmp_path / "a.mp4")
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    for position, size in places[10:40]:
        content[position : position + size] = bytes(size)
    (tmp_path / "a.mp4").write_bytes(content)
    write(tmp_path / "out.mp4", tmp_path / "a.mp4", 50)
    assert probe_video(tmp_path / "out.mp4").num_frames == 50


def test_gaps_in_transcoded_sound_stay_gaps(make_video, tmp_path):
    """Voice codecs send nothing while nobody speaks; what follows must not move forward."""
    source = make_video("a.mkv", range(75), sound=("libopus", 48000, 0.0, 3.0))
    with av.open(str(source)) as whole, av.open(str(tmp_path / "gap.mkv"), "w") as gapped:
        streams = [gapped.add_stream_from_template(stream) for stream in whole.streams]
        for packet in whole.demux():
            quiet = packet.stream.type == "audio" and packet.size and 0.5 < float(packet.pts * packet.time_base) < 0.9
            if packet.size and not quiet:
                packet.stream = streams[packet.stream_index]
                gapped.mux(packet)
    write(tmp_path / "out.mp4", tmp_path / "gap.mkv", 75)
    expected, rate, _ = sound_of(source)
    found, _, _ = sound_of(tmp_path / "out.mp4")
    assert abs(delay(found[rate:], expected[rate:], rate)) <= 0.0011
    assert np.abs(found[round(0.6 * rate) : round(0.8 * rate)]).max() < 0.01
