"""What happens to the driving video's sound is told before the work, and costs the video nothing."""

from dataclasses import replace

import av

from planned_jobs import planned


def with_tracks(path, source, *damages):
    """The video again, with a track of its sound for each of `damages`, by which its packets are changed."""
    with av.open(str(source)) as whole, av.open(str(path), "w") as result:
        picture, sound = whole.streams.video[0], whole.streams.audio[0]
        pictures = result.add_stream_from_template(picture)
        tracks = [result.add_stream_from_template(sound) for _ in damages]
        for packet in whole.demux(picture, sound):
            if packet.size and packet.stream_index == picture.index:
                packet.stream = pictures
                result.mux(packet)
            elif packet.size:
                for track, damage in zip(tracks, damages, strict=True):
                    copy = av.Packet(damage(bytes(packet)))
                    copy.pts, copy.dts, copy.time_base, copy.stream = packet.pts, packet.dts, packet.time_base, track
                    result.mux(copy)
    return path


def noise(content):
    return b"\x3c" * len(content)


def test_a_dry_run_tells_what_happens_to_the_sound(config, media, tmp_path):
    dance = media / "dancer.mp4"
    part = replace(config, end=1.0)
    for damages, track, words in (
        ((bytes,), 0, ("copied",)),
        ((noise, bytes), 1, ("track 2", "track 1 is left out")),
        ((noise,), None, ("sound      none", "track 1 is left out")),
    ):
        video = planned(replace(part, driving=with_tracks(tmp_path / f"{len(words)}{track}.mkv", dance, *damages)))
        assert video.settings.sound.track == track
        assert all(word in video.description for word in words)
