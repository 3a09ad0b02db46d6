"""Benchmark descriptions are read whole or refused with the reason; results are matched, and nothing is dropped."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import yaml

from posegen.config import BenchmarkConfig
from posegen.errors import PosegenError
from posegen.evaluate import benchmark_file as benchmark
from posegen.evaluate.benchmark_file import read_benchmark, write_benchmark
from posegen.evaluate.footage import PICTURES, VIDEOS, open_footage, sorted_naturally
from posegen.evaluate.making import make_benchmark
from posegen.evaluate.matching import match, parse_methods, read_seams
from posegen.evaluate.protocols import find_protocol
from posegen.media.image import write_image
from posegen.media.video import VideoWriter
from posegen.progress import NullProgress

RANDOM = np.random.default_rng(0)


def picture(size=(64, 72)):
    return RANDOM.integers(0, 256, (*size, 3), np.uint8)


def video(path, frames=6, size=(64, 72), fps=12):
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, fps, size) as writer:
        for _ in range(frames):
            writer.write(picture(size))
    return path


@pytest.fixture
def folder(tmp_path):
    """A benchmark of two clips with a truth, and results of a method."""
    write_image(tmp_path / "ref.png", picture())
    for name in ("a", "b"):
        video(tmp_path / "truth" / f"{name}.mp4")
        video(tmp_path / "ours" / f"{name}.mp4")
    clips = [{"name": name, "reference": "ref.png", "truth": f"truth/{name}.mp4"} for name in ("a", "b")]
    write_benchmark(tmp_path / "benchmark.yaml", "two", "a test", clips)
    return tmp_path


def matched(folder, allow_missing=False, protocol="disco", **options):
    method = parse_methods((f"ours={folder / 'ours'}",))[0]
    return match(read_benchmark(folder), method, find_protocol(protocol), allow_missing, **options)


def test_a_description_comes_back(folder):
    benchmark = read_benchmark(folder / "benchmark.yaml")
    assert (benchmark.name, [clip.name for clip in benchmark.clips]) == ("two", ["a", "b"])
    clip = benchmark.clips[0]
    assert clip.aligned
    assert clip.motion == clip.ground_truth
    assert (clip.ground_truth.size, clip.ground_truth.num_frames, clip.ground_truth.fps) == ((64, 72), 6, Fraction(12))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"truht": "x.mp4"}, "truht is unknown"),
        ({"reference": None}, "reference is missing"),
        ({"reference": "nobody.png"}, "no such file"),
        ({"name": "../a"}, "no name for a file"),
        ({"name": "b"}, "two clips are called b"),
        ({"aligned": "yes please"}, "true or false"),
        ({"fps": "fast"}, "not a frame rate"),
    ],
)
def test_a_bad_clip_is_refused_in_one_line(folder, change, said):
    content = yaml.safe_load((folder / "benchmark.yaml").read_text())
    content["clips"][0] |= change
    (folder / "benchmark.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(PosegenError, match=said) as caught:
        read_benchmark(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["clips: [", "- 1", "name: x", "clips: []", "\x00"])
def test_what_is_no_description_is_refused(tmp_path, content):
    (tmp_path / "benchmark.yaml").write_text(content)
    with pytest.raises(PosegenError):
        read_benchmark(tmp_path)


def test_folders_of_frames_are_videos_in_natural_order(tmp_path):
    names = ["frame10.png", "frame9.png", "frame1.png"]
    for value, name in enumerate(names):
        write_image(tmp_path / name, np.full((64, 64, 3), value, np.uint8))
    assert [path.name for path in sorted_naturally([tmp_path / name for name in names])] == names[::-1]
    footage = open_footage(tmp_path, Fraction(30))
    assert [int(frame[0, 0, 0]) for frame in footage.frames()] == [2, 1, 0]
    with pytest.raises(PosegenError, match="does not say its frame rate"):
        open_footage(tmp_path)
    write_image(tmp_path / "frame11.png", picture((64, 80)))
    with pytest.raises(PosegenError, match="frame11"):
        list(open_footage(tmp_path, Fraction(30)).frames())


def test_whole_results_match(folder):
    found = matched(folder)
    assert [(each.clip.name, each.num_frames) for each in found.results] == [("a", 6), ("b", 6)]
    assert not found.missing
    assert not found.notes


def test_missing_results_are_named_refused_or_counted(folder):
    (folder / "ours" / "b.mp4").unlink()
    with pytest.raises(PosegenError, match=r"b is missing.*allow_missing"):
        matched(folder)
    found = matched(folder, allow_missing=True)
    assert found.missing == ["b"]
    assert "1 of 2 clips" in found.notes[0]
    (folder / "ours" / "a.mp4").unlink()
    with pytest.raises(PosegenError, match="no result"):
        matched(folder, allow_missing=True)


def test_short_results_are_named_refused_or_cut(folder):
    video(folder / "ours" / "a.mp4", frames=4)
    with pytest.raises(PosegenError, match="a has 4 frames instead of 6"):
        matched(folder)
    found = matched(folder, allow_missing=True)
    assert found.results[0].num_frames == 4
    assert "4" in found.notes[0]


def test_other_sizes_matter_where_the_protocol_keeps_them(folder):
    video(folder / "ours" / "a.mp4", size=(80, 72))
    with pytest.raises(PosegenError, match="a is 80x72"):
        matched(folder, protocol="native")
    assert matched(folder, protocol="native", allow_missing=True).missing == ["a"]
    assert len(matched(folder, protocol="disco").notes) == 1
    assert "80x72, the ground truth 64x72" in matched(folder, protocol="disco").notes[0]


def test_a_protocol_that_takes_every_third_frame_expects_as_many(folder):
    found = matched(folder, protocol="humanvid")
    assert [each.num_frames for each in found.results] == [2, 2]
    assert not found.notes
    assert found.results[0].clip.ground_truth.num_frames == 2
    video(folder / "ours" / "a.mp4", frames=3)
    with pytest.raises(PosegenError, match="a has 1 frames instead of 2"):
        matched(folder, protocol="humanvid")


def test_another_frame_rate_is_refused_or_resampled(folder):
    video(folder / "ours" / "a.mp4", frames=12, fps=24)
    with pytest.raises(PosegenError, match=r"a has 24 fps, the ground truth 12.*resample"):
        matched(folder, allow_missing=True)
    found = matched(folder, resample=True)
    assert found.results[0].footage.num_frames == 6
    assert len(list(found.results[0].footage.frames())) == 6


def test_extra_results_are_noted(folder):
    video(folder / "ours" / "other.mp4")
    assert "other.mp4" in matched(folder).notes[-1]


def test_methods_must_be_folders_with_names_of_their_own(folder):
    with pytest.raises(PosegenError, match="no folder"):
        parse_methods(("ours=nowhere",))
    with pytest.raises(PosegenError, match="differ"):
        parse_methods((str(folder / "ours"), f"ours={folder / 'truth'}"))
    with pytest.raises(PosegenError, match="truth"):
        parse_methods((str(folder / "truth"),))


def test_seams_are_read_from_beside_a_result_or_from_its_job(tmp_path):
    result = tmp_path / "a.mp4"
    assert read_seams(result) == ()
    report = tmp_path / "a.posegen" / "job-1" / "report.json"
    report.parent.mkdir(parents=True)
    report.write_text('{"seam_frames": [20, 19]}')
    assert read_seams(result) == (19, 20)
    (tmp_path / "a.seams.json").write_text("[3, 7]")
    assert read_seams(result) == (3, 7)
    (tmp_path / "a.seams.json").write_text('["x"]')
    with pytest.raises(PosegenError, match="frame numbers"):
        read_seams(result)


def test_a_tiktok_folder_becomes_a_benchmark(tmp_path):
    for number in range(3):
        path = tmp_path / "set" / "00337" / "images" / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, np.full((64, 64, 3), 50 * number, np.uint8))
    video(tmp_path / "set" / "00338.mp4")
    config = BenchmarkConfig("tiktok", tmp_path / "out", source=tmp_path / "set")
    benchmark = read_benchmark(make_benchmark(config, NullProgress()))
    assert [(clip.name, clip.ground_truth.num_frames) for clip in benchmark.clips] == [("00337", 3), ("00338", 6)]
    assert benchmark.clips[0].ground_truth.fps == 30
    assert (open_footage(benchmark.clips[0].reference.parent, Fraction(1)).stills[0].stem) == "00337"


def test_pairs_become_a_benchmark_without_a_truth(tmp_path):
    source = tmp_path / "mine"
    video(source / "dance.mp4")
    write_image(source / "dance.png", picture())
    video(source / "walk" / "driving.mp4")
    video(source / "walk" / "truth.mp4")
    write_image(source / "walk" / "reference.jpg", picture())
    write_image(source / "alone.png", picture())
    config = BenchmarkConfig("pairs", tmp_path / "out", source=source)
    clips = {clip.name: clip for clip in read_benchmark(make_benchmark(config, NullProgress())).clips}
    assert set(clips) == {"dance", "walk"}
    assert clips["dance"].ground_truth is None
    assert not clips["dance"].aligned
    assert clips["walk"].ground_truth is not None


def test_pairs_are_found_by_suffixes_in_any_case_and_the_rest_is_named(tmp_path):
    source, told = tmp_path / "mine", []
    video(source / "dance.mp4").rename(source / "dance.MP4")
    write_image(source / "dance.png", picture())
    video(source / "walk" / "driving.mp4")
    write_image(source / "walk" / "reference.png", picture())
    (source / "walk" / "reference.png").rename(source / "walk" / "reference.PNG")
    write_image(source / "alone.png", picture())
    video(source / "half" / "driving.mp4")
    video(source / "moves.mp4")
    (source / "notes").mkdir()

    class Told(NullProgress):
        def say(self, text):
            told.append(text)

    config = BenchmarkConfig("pairs", tmp_path / "out", source=source)
    assert [clip.name for clip in read_benchmark(make_benchmark(config, Told())).clips] == ["dance", "walk"]
    assert told == ["3 left out, where an image or a video is missing beside it: alone.png, half, moves.mp4"]


def test_results_are_found_by_suffixes_in_any_case(folder):
    (folder / "ours" / "a.mp4").rename(folder / "ours" / "a.MP4")
    assert [each.footage.path.name for each in matched(folder).results] == ["a.MP4", "b.mp4"]
    video(folder / "ours" / "b.m4v")
    with pytest.raises(PosegenError, match=r"b\.mp4 and b\.m4v are both there"):
        matched(folder)


@pytest.mark.parametrize("kind", ["tiktok", "pairs"])
def test_two_clips_of_one_name_are_refused_before_anything_is_written(kind, tmp_path):
    source = tmp_path / "mine"
    video(source / "a.mp4")
    write_image(source / "a.png", picture())
    video(source / "a" / "driving.mp4")
    write_image(source / "a" / "reference.png", picture())
    with pytest.raises(PosegenError, match=r"source .*mine: two clips would be called a"):
        make_benchmark(BenchmarkConfig(kind, tmp_path / "out", source=source), NullProgress())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("rate", ["abc", "0"])
def test_a_bad_frame_rate_is_told_with_its_place(rate, folder):
    path = folder / "benchmark.yaml"
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(content | {"fps": rate}))
    with pytest.raises(PosegenError, match=rf"benchmark\.yaml: fps '?{rate}"):
        read_benchmark(folder)
    content["clips"][1]["fps"] = rate
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(PosegenError, match=rf"benchmark\.yaml: clip 2: fps '?{rate}"):
        read_benchmark(folder)


def test_the_documentation_lists_all_keys():
    text = (Path(__file__).parents[2] / "docs" / "evaluate.md").read_text()
    listed = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    assert set(listed) == set(benchmark._KEYS)
    assert set(listed["clips"][0]) == set(benchmark._CLIP_KEYS)
    assert all(suffix in text for suffix in (*PICTURES, *VIDEOS))


def test_an_empty_source_is_refused(tmp_path):
    with pytest.raises(PosegenError, match="holds no clip"):
        make_benchmark(BenchmarkConfig("pairs", tmp_path / "out", source=tmp_path), NullProgress())
    with pytest.raises(PosegenError, match="needs source"):
        BenchmarkConfig("pairs", tmp_path / "out")
