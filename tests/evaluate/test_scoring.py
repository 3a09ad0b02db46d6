"""Scores are those of the frames, kept by content, never NaN; tables follow from them; stand-ins order distortions."""

import dataclasses
import math
import shutil
from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image
from scored_frames import run
from skimage.metrics import structural_similarity

from posegen.conditions.keypoints import BODY, INDEX, PersonPose, PoseSequence, empty_hands
from posegen.config import EvaluateConfig
from posegen.errors import PosegenError
from posegen.evaluate.benchmark_file import BenchmarkClip, write_benchmark
from posegen.evaluate.evaluation import evaluate
from posegen.evaluate.footage import open_footage
from posegen.evaluate.matching import Result, clip_under
from posegen.evaluate.metrics.embedded import LiteMetrics, Windows, describe_window
from posegen.evaluate.metrics.frechet import FeatureSet, frechet_distance
from posegen.evaluate.metrics.metric import ClipInputs, ClipScores, Score
from posegen.evaluate.metrics.person_motion import HandRegions, PeopleMetrics, person_box, pose_error
from posegen.evaluate.metrics.pixel_formulas import l1_per_frame, psnr_per_frame, ssim_per_frame
from posegen.evaluate.metrics.pixel_metrics import Flicker, FrameDifferences, StepErrors
from posegen.evaluate.protocols import find_protocol
from posegen.evaluate.report.score_tables import best_methods, frechet_cell, mean_cell, worst_first
from posegen.evaluate.scoring import TRUTH, Scoring, load_scores, save_scores
from posegen.media.image import write_image
from posegen.media.video import VideoWriter, read_frames
from posegen.progress import NullProgress

NATIVE, DISCO = find_protocol("native"), find_protocol("disco")
SIZE = (96, 64)


def moving(frames, seed=0):
    """A few squares that move over a textured ground."""
    random = np.random.default_rng(seed)
    ground = cv2.resize(random.integers(60, 200, (12, 8, 3), np.uint8), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    clip = []
    for number in range(frames):
        frame = ground.copy()
        for square in range(3):
            x, y = (
                int(v) for v in (8 + 2.2 * number + 9 * square, 20 + 22 * square + 8 * math.sin(number / 4 + square))
            )
            cv2.rectangle(frame, (x % 64, y), (x % 64 + 14, y + 14), (250, 80 * square, 20), -1)
        clip.append(frame)
    return np.stack(clip)


def written(path, frames):
    with VideoWriter(path, 16, SIZE, codec="ffv1") as writer:
        for frame in frames:
            writer.write(frame)
    return open_footage(path)


@pytest.fixture
def pair(tmp_path):
    """A result and its truth, without loss, and the frames of both."""
    ground_truth = moving(20)
    generated = np.clip(ground_truth + np.random.default_rng(1).normal(0, 20, ground_truth.shape), 0, 255).astype(
        np.uint8
    )
    write_image(tmp_path / "ref.png", ground_truth[0])
    footage = written(tmp_path / "truth.mkv", ground_truth)
    clip = BenchmarkClip("a", tmp_path / "ref.png", footage, None, None, True, None)
    return Result("ours", clip, written(tmp_path / "ours.mkv", generated), 20), generated, ground_truth


def test_scores_are_those_of_the_frames(pair, tmp_path):
    result, generated, ground_truth = pair
    found = Scoring(NATIVE, tmp_path / "cache", None).score(result, [FrameDifferences(), Flicker()])
    for name, function in (("L1", l1_per_frame), ("PSNR", psnr_per_frame), ("SSIM", ssim_per_frame)):
        expected = function(generated, ground_truth)
        np.testing.assert_allclose(found.curves[name][1], expected, atol=1e-9)
        assert found.values[name] == pytest.approx(expected.mean())
        assert found.samples[name] == 20
    assert found.values["L1 (DisCo)"] == pytest.approx(found.values["L1"] / (SIZE[0] * SIZE[1]) * 1e4)


def test_a_protocol_brings_both_to_its_size(pair, tmp_path):
    result, generated, ground_truth = pair
    found = Scoring(DISCO, tmp_path / "cache", None).score(result, [FrameDifferences()])
    fitted = [np.stack([DISCO.fitted(frame) for frame in frames]) for frames in (generated, ground_truth)]
    assert fitted[0].shape[1:3] == (256, 256)
    assert found.values["SSIM"] == pytest.approx(ssim_per_frame(*fitted).mean())


def test_disco_takes_the_central_square_of_a_portrait():
    frame = np.random.default_rng(0).integers(0, 256, (1080, 604, 3), np.uint8)
    square = Image.fromarray(frame).crop((0, 238, 604, 842)).resize((256, 256), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(DISCO.fitted(frame), np.asarray(square))
    corners = np.array([[-0.5, 237.5], [603.5, 841.5]])
    np.testing.assert_allclose(DISCO.place(corners, (1080, 604)), [[-0.5, -0.5], [255.5, 255.5]])
    assert NATIVE.place(corners, (1080, 604)) is corners


def test_named_protocols_give_what_published_code_computes(pair, tmp_path):
    """DisCo: the result resized to the truth (OpenCV), L1 / (H W), PSNR of 8 bits, SSIM on grey."""
    result, generated, ground_truth = pair
    large = np.stack([cv2.resize(frame, (80, 128)) for frame in generated])
    with VideoWriter(tmp_path / "large.mkv", 16, (128, 80), codec="ffv1") as writer:
        for frame in large:
            writer.write(frame)
    other = dataclasses.replace(result, footage=open_footage(tmp_path / "large.mkv"))
    for name, step in (("disco", 1), ("disco-native", 1), ("humanvid", 3)):
        rules = find_protocol(name)
        clip = clip_under(other.clip, rules)
        footage = other.footage.every(rules.frame_step, rules.max_frames)
        taken = dataclasses.replace(other, clip=clip, footage=footage, num_frames=footage.num_frames)
        found = Scoring(rules, tmp_path / "cache", None).score(taken, [FrameDifferences(rules)]).values
        l1, decibels, similar = [], [], []
        for frame, true_frame in zip(large[::step], ground_truth[::step], strict=True):
            both = (cv2.resize(frame, SIZE[::-1]), true_frame)
            if name != "disco-native":  # its loader has cut both before
                # 55 = round(96 * 512 / 896) columns of 64
                part, size = ((0, 16, 64, 80), (256, 256)) if name == "disco" else ((4, 0, 59, 96), (512, 896))
                both = [np.asarray(Image.fromarray(each).crop(part).resize(size, Image.BILINEAR)) for each in both]
            left, right = (np.ascontiguousarray(each[..., ::-1]) for each in both)
            l1.append((np.absolute(left.astype(float) - right.astype(float)) / (left.shape[0] * left.shape[1])).mean())
            decibels.append(20 * np.log10(255 / np.sqrt(np.mean((left.astype(float) - right.astype(float)) ** 2))))
            greys = [cv2.cvtColor(each, cv2.COLOR_BGR2GRAY) for each in (left, right)]
            similar.append(structural_similarity(*greys, full=True)[0])
        assert found["L1 (DisCo)"] == pytest.approx(10**rules.l1_digits * np.mean(l1), rel=1e-9), name
        assert found["PSNR"] == pytest.approx(np.mean(decibels), rel=1e-9), name
        assert found["SSIM"] == pytest.approx(np.mean(similar), rel=1e-9), name


def test_results_of_another_size_are_resized_whole_and_never_cropped():
    truth, result = (96, 64), (48, 64)
    frame = np.zeros((*result, 3), np.uint8)
    frame[:8] = 255  # a band at the top, which a central square of the result would keep at another height
    for name in ("disco", "disco-native", "humanvid"):
        rules = find_protocol(name)
        whole = cv2.resize(frame, truth[::-1])
        np.testing.assert_array_equal(rules.fitted(frame, truth), rules.fitted(whole, truth))
        top = rules.place(np.array([[31.5, 7.5]]), result, truth)
        np.testing.assert_allclose(top, rules.place(np.array([[31.5, 15.5]]), truth))


def test_humanvid_turns_its_size_and_takes_every_third_frame(pair):
    result, _, ground_truth = pair
    rules = find_protocol("humanvid")
    assert rules.size_of((1080, 604)) == (896, 512)
    assert rules.size_of((604, 1080)) == (512, 896)
    assert (rules.frames_of(100), rules.frames_of(20), rules.frames_of(None)) == (24, 7, None)
    footage = result.clip.ground_truth.every(rules.frame_step, rules.max_frames)
    assert (footage.num_frames, footage.fps) == (7, result.footage.fps / 3)
    np.testing.assert_array_equal(np.stack(list(footage.frames())), ground_truth[::3])


def test_a_protocol_comes_from_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('like = "disco"\nsize = [64, 48]\nssim = "colour"\n')
    rules = find_protocol(str(path))
    assert (rules.name, rules.size, rules.ssim, rules.zero_to_one) == ("mine", (64, 48), "colour", True)
    path.write_text('like = "disco"\nsize = "own"\nabout = "x"\n')
    assert find_protocol(str(path)).size is None
    path.write_text("size = [64, 64]\nwindow = 8\nstride = 8\nzero_to_one = false\nweighted = false\n")
    assert find_protocol(str(path)).window == 8


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('like = "disco"\nwindows = 3', "windows"),
        ('like = "dico"', "dico"),
        ('like = "disco"\nstride = 0', "stride"),
        ('like = "disco"\nssim = "blue"', "ssim"),
        ('like = "disco"\nsize = [4, 4]', "size"),
        ("window = 8", "size"),
        ('size = "own"\nwindow = 8', "stride"),
        ('like = "disco"\nmax_frames = -1', "max_frames"),
    ],
)
def test_a_bad_protocol_is_one_line_that_names_it(text, named, tmp_path):
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(PosegenError, match=named) as caught:
        find_protocol(str(tmp_path / "bad.toml"))
    assert "bad.toml" in str(caught.value)
    with pytest.raises(PosegenError, match="humanvid"):
        find_protocol("dico")


def test_scores_are_found_again_by_content_only(pair, tmp_path):
    result, generated, _ = pair
    metrics = [FrameDifferences(), Flicker()]

    def again(result, rules=NATIVE):
        scoring = Scoring(rules, tmp_path / "cache", None)
        return scoring.score(result, metrics), scoring.found_again

    first, found = again(result)
    assert found == 0
    shutil.copy(result.footage.path, tmp_path / "x.mkv")
    renamed = dataclasses.replace(result, method="another name", footage=open_footage(tmp_path / "x.mkv"))
    second, found = again(renamed)
    assert found == 2
    assert second.curves == first.curves
    assert again(result, DISCO)[1] == 0
    changed = generated.copy()
    changed[3, 0, 0] ^= 1
    other = dataclasses.replace(result, footage=written(tmp_path / "y.mkv", changed))
    third, found = again(other)
    assert found == 0
    assert third.curves["L1"] != first.curves["L1"]
    for path in (tmp_path / "cache").glob("*.npz"):
        path.write_bytes(path.read_bytes()[:100])
    repaired, found = again(result)
    assert found == 0
    assert repaired.curves == first.curves


def test_scores_survive_the_cache(tmp_path):
    features = FeatureSet(np.random.default_rng(0).normal(size=(50, 8)))
    scores = ClipScores({"a": 1.5}, {"a": 3}, {"a": ([0, 2], [1.0, 2.0])}, {"F, x": features}, {"nobody found": 2})
    save_scores(tmp_path / "deep" / "key", scores)
    found = load_scores(tmp_path / "deep" / "key")
    assert (found.values, found.samples, found.curves, found.counts) == (
        scores.values,
        scores.samples,
        scores.curves,
        scores.counts,
    )
    assert frechet_distance(found.features["F, x"], features) < 1e-9
    assert load_scores(tmp_path / "nothing") is None


def test_what_is_no_number_is_an_error(pair, tmp_path):
    class Broken(FrameDifferences):
        identity = "broken"

        def start(self, clip):
            scorer = super().start(clip)
            measure = scorer.measure
            scorer.measure = lambda *frames: {name: values * np.nan for name, values in measure(*frames).items()}
            return scorer

    scoring = Scoring(NATIVE, tmp_path / "cache", None)
    for _ in range(2):  # nothing of it is kept
        with pytest.raises(PosegenError, match=r"ours\.mkv: L1 is nan"):
            scoring.score(pair[0], [Broken()])


def test_a_jump_is_found_where_it_is():
    frames = moving(40)
    jumping = frames.copy()
    jumping[25:] = np.clip(frames[25:].astype(int) + 25, 0, 255).astype(np.uint8)
    found = []
    for each in (frames, jumping):
        scorer = Flicker().start(ClipInputs("a", 16.0, 40, SIZE, NATIVE, seams=(24,)))
        scorer.add(each, None)
        found.append(scorer.finish())
    numbers, values = found[1].curves["seam flicker"]
    assert numbers[int(np.argmax(values))] == 25
    assert found[1].values["seam flicker"] == pytest.approx(max(values))
    assert found[1].values["seam flicker"] > 2 * found[0].values["seam flicker"]
    assert not run(Flicker(), jumping, rules=NATIVE).values  # nobody says where seams are


def test_step_error_is_raised_by_everything_that_is_not_the_ground_truth():
    frames = moving(30)
    noise = np.random.default_rng(0).normal(0, 12, frames.shape)
    ways = {
        "noise": np.clip(frames + noise, 0, 255).astype(np.uint8),
        "blur": np.stack([cv2.GaussianBlur(frame, (0, 0), 3) for frame in frames]),
        "still": np.repeat(frames[:1], 30, axis=0),
        "late": np.concatenate([frames[:1], frames[:-1]]),
        "jump": np.concatenate([frames[:15], 255 - frames[15:]]),
    }
    assert run(StepErrors(), frames, frames, rules=NATIVE).values["step error"] == 0
    found = {name: run(StepErrors(), way, frames, rules=NATIVE).values["step error"] for name, way in ways.items()}
    assert min(found.values()) > 0.01, found
    doubled = run(StepErrors(), frames[::2], frames[: len(frames[::2])], rules=NATIVE).values["step error"]
    assert 0.2 < doubled < 1.5  # about twice the movement: at most one octave and what the squares' turns add
    assert best_methods(dataclasses.replace(MEAN, ranked=False), dict.fromkeys("ab", None), ["a", "b"]) == []


def test_windows_are_those_of_the_definition():
    rows = np.arange(40)[:, None]
    for length, stride in ((16, 1), (16, 8), (4, 7)):
        windows = Windows(length, stride)
        found = [window[:, 0].tolist() for start in range(0, 40, 3) for window in windows.add(rows[start : start + 3])]
        assert found == [list(range(at, at + length)) for at in range(0, 40 - length + 1, stride)]


def test_a_window_knows_its_order():
    window = np.random.default_rng(0).normal(size=(16, 5))
    described = describe_window(window)
    np.testing.assert_allclose(described[:5], window.mean(axis=0))
    assert np.abs(describe_window(window[::-1]) - described).max() > 0.01
    np.testing.assert_allclose(describe_window(window[::-1])[:5], described[:5])


@pytest.fixture(scope="module")
def lite():
    return LiteMetrics()


def test_stand_ins_grow_with_distortions_and_are_nothing_for_the_truth_itself(lite, media):
    count = 24
    filmed = read_frames(media / "dancer.mp4", 0, count)
    ground_truth = np.stack([cv2.resize(frame, (108, 192), interpolation=cv2.INTER_AREA) for frame in filmed])
    noise = np.random.default_rng(2).normal(size=ground_truth.shape)
    names = ("Lite Fréchet, frames", "Lite Fréchet, windows")
    reference = run(lite, ground_truth, rules=NATIVE)

    def distances(frames):
        found = run(lite, frames, rules=NATIVE)
        return [frechet_distance(found.features[name], reference.features[name]) for name in names]

    def shuffled(number):
        order, chosen = np.arange(count), np.random.default_rng(5).permutation(count)[:number]
        order[np.sort(chosen)] = chosen
        return ground_truth[order]

    series = {
        "blur": [np.stack([cv2.GaussianBlur(frame, (0, 0), s) for frame in ground_truth]) for s in (0.8, 2.5)],
        "noise": [np.clip(ground_truth + s * noise, 0, 255).astype(np.uint8) for s in (10, 40)],
        "late": [np.concatenate([np.repeat(ground_truth[:1], s, axis=0), ground_truth[: count - s]]) for s in (2, 10)],
        "shuffle": [shuffled(number) for number in (6, count)],
    }
    assert max(distances(ground_truth)) < 1e-3
    for name, steps in series.items():
        found = np.array([distances(frames) for frames in steps])
        assert found[1, 1] > found[0, 1] > 1e-6, (name, found)
        if name == "shuffle":
            assert found[:, 0].max() < 1e-6  # a set of frames has no order
        else:
            assert found[1, 0] > found[0, 0] > 1e-6, (name, found)
    few = [frames[:4] for frames in (ground_truth, series["blur"][0], series["blur"][1], series["noise"][1])]
    same, slight, blurred, noisy = (run(lite, frames, few[0], rules=NATIVE).values["Lite difference"] for frames in few)
    assert same == 0 < slight < min(blurred, noisy)


def test_no_stand_in_is_called_like_the_real_one(lite):
    for score in lite.scores:
        assert score.name.startswith("Lite ")
        assert not {"FID", "FVD", "LPIPS", "DINO"} & set(score.name.split())


MEAN, FRECHET = Score("m", "higher", "none", digits=1), Score("f", "lower", "none", frechet=True)


def test_a_mean_counts_clips_or_measurements_alike():
    clips = {"a": ClipScores({"m": 1.0}, {"m": 1}), "b": ClipScores({"m": 4.0}, {"m": 3}), "c": ClipScores()}
    plain, weighted = (mean_cell(MEAN, clips, each) for each in (False, True))
    assert (plain.value, weighted.value, plain.clips, plain.samples) == (2.5, 3.25, ("a", "b"), 4)
    assert plain.low <= plain.value <= plain.high
    assert mean_cell(MEAN, {"c": ClipScores()}, False) is None
    assert mean_cell(MEAN, {"a": clips["a"]}, False).low is None
    assert worst_first(MEAN, clips) == ["a", "b"]


def test_the_best_is_bold_among_methods_that_have_everything():
    cells = {
        name: mean_cell(MEAN, {"a": ClipScores({"m": value})}, False)
        for name, value in (("x", 1.0), ("y", 2.01), ("z", 2.02), ("half", 9.0))
    }
    assert best_methods(MEAN, cells, ["x", "y", "z"]) == ["y", "z"]  # printed alike
    assert best_methods(MEAN, cells, ["x"]) == []


def test_nothing_is_bold_where_numbers_are_of_different_clips():
    easy, hard = ClipScores({"m": 9.0}), ClipScores({"m": 1.0})
    few, many = {"easy": easy, "hard": ClipScores()}, {"easy": easy, "hard": hard}
    cells = {name: mean_cell(MEAN, clips, False) for name, clips in (("few", few), ("many", many), ("same", many))}
    assert cells["few"].value > cells["many"].value
    assert best_methods(MEAN, cells, ["few", "many", "same"]) == []
    assert best_methods(MEAN, cells, ["many", "same"]) == ["many", "same"]


def test_too_few_samples_for_the_features_are_warned_of_with_the_number():
    random = np.random.default_rng(0)

    def clips(count, rows, shift=0.0):
        return {
            str(n): ClipScores(features={"f": FeatureSet(random.normal(shift, 1, (rows, 10)))}) for n in range(count)
        }

    _, warning = frechet_cell(FRECHET, clips(3, 2), clips(3, 2))
    assert "6 samples" in warning
    assert "10 features" in warning
    many, warning = frechet_cell(FRECHET, clips(4, 200, 1.0), clips(4, 200))
    assert warning is None
    assert many.low < many.value < many.high
    assert many.value == pytest.approx(10, rel=0.15)  # ten features that are one apart


def person(points, scores=None):
    keypoints = np.zeros((133, 2), np.float32)
    keypoints[BODY] = points
    seen = np.zeros(133, np.float32)
    seen[BODY] = 1 if scores is None else scores
    return PersonPose(keypoints, seen)


def test_pose_error_is_in_heights_and_forgives_place_only_where_told():
    points = np.random.default_rng(0).uniform(0, 100, (17, 2))
    points[0], points[1] = (50, 0), (50, 100)
    driving = person(points)
    assert pose_error(person(points + np.array([3, 4])), driving, aligned=True) == pytest.approx(0.05, abs=1e-5)
    assert pose_error(person(0.5 * points + np.array([3, 4])), driving, aligned=False) == pytest.approx(0, abs=1e-5)
    assert pose_error(person(points, scores=0), driving, aligned=True) is None
    other = points.copy()
    other[5] += 17
    assert pose_error(person(other), driving, aligned=True) == pytest.approx(np.hypot(17, 17) / 17 / 100, rel=1e-4)


class Standing:
    """Finds nobody in black frames, and the same person in all others."""

    name, version, batch_size, finds_hands, keeps_everybody = "standing", "1", 1, True, False

    def __init__(self, pose):
        self.pose = pose

    def estimate(self, frame):
        return [self.pose] if frame.any() else []

    def estimate_batch(self, frames):
        return [self.estimate(frame) for frame in frames]

    def add_hands(self, frame, person):
        return person

    def close(self):
        pass


def test_the_box_holds_hair_and_what_the_frame_cuts_off():
    points = np.full((17, 2), 40.0)
    points[INDEX["left_shoulder"]], points[INDEX["right_shoulder"]] = (70, 60), (20, 60)
    seen = np.zeros(17)
    seen[[INDEX["left_shoulder"], INDEX["right_shoulder"], INDEX["nose"]]] = 1
    assert person_box(person(points, seen), 192) == pytest.approx((20 - 7.5, 40 - 22.5, 70 + 7.5, 192))
    points[INDEX["left_ankle"]] = (40, 140)
    seen[INDEX["left_ankle"]] = 1
    assert person_box(person(points, seen), 192) == pytest.approx((20 - 15, 40 - 22.5, 70 + 15, 140 + 15))


@pytest.mark.parametrize("aligned", [True, False])
def test_frames_without_a_person_are_counted_and_a_drifting_background_seen(aligned):
    points = np.random.default_rng(0).uniform(30, 50, (17, 2))
    pose = person(points)
    driving = PoseSequence(
        np.stack([pose.keypoints] * 32),
        np.stack([pose.scores] * 32),
        np.stack([empty_hands()] * 32),
        SIZE,
        Fraction(16),
    )
    frames = np.full((64, *SIZE, 3), 100, np.uint8)
    frames[16:] += 5
    frames[32:] += 10
    frames[50] = 0
    clip = ClipInputs("a", 16.0, 64, SIZE, NATIVE, reference=frames[0], driving=driving, aligned=aligned)
    scorer = PeopleMetrics(Standing(pose)).start(clip)
    for start in range(0, 64, 5):
        scorer.add(frames[start : start + 5], None)
    found = scorer.finish()
    assert found.counts["frames looked at"] == 32
    assert found.counts["nobody found"] == 1
    last = abs(7 / 8 * 115 - 100) if aligned else 15  # where places agree, the frame without anybody counts
    assert found.curves["background drift"] == ([16, 32, 48], pytest.approx([5, 15, last], abs=0.1))
    assert found.values["pose error"] == pytest.approx(0, abs=1e-5)
    assert found.samples["pose error"] == 31
    assert "hands found" not in found.values  # the driving video shows none


def forearm():
    """A clip of one frame in which a left forearm is seen, its wrist at row 60, column 20."""
    points = np.full((17, 2), 30.0)
    points[INDEX["left_elbow"]], points[INDEX["left_wrist"]] = (20, 40), (20, 60)
    seen = np.zeros(17)
    seen[[INDEX["left_elbow"], INDEX["left_wrist"]]] = 1
    pose = person(points, seen)
    return PoseSequence(pose.keypoints[None], pose.scores[None], empty_hands()[None], SIZE, Fraction(16))


def test_hands_are_compared_in_squares_around_them():
    driving = forearm()
    ground_truth = np.full((1, *SIZE, 3), 100, np.uint8)

    def scored(row, column, aligned=True):
        other = ground_truth.copy()
        other[0, row, column] = 0
        scorer = HandRegions().start(ClipInputs("a", 16.0, 1, SIZE, NATIVE, driving=driving, aligned=aligned))
        scorer.add(other, ground_truth)
        return scorer.finish().values.get("PSNR of hands")

    assert scored(66, 20) < 60
    assert scored(5, 20) == 100
    assert scored(66, 20, aligned=False) is None


def test_hands_are_found_in_the_square_that_disco_takes():
    driving = forearm()
    ground_truth = np.full((1, *SIZE, 3), 100, np.uint8)

    def scored(row):
        other = ground_truth.copy()
        other[0, row - 2 : row + 3, 20] = 0
        scorer = HandRegions().start(ClipInputs("a", 16.0, 1, SIZE, DISCO, driving=driving))
        scorer.add(*(DISCO.fitted(frame[0])[None] for frame in (other, ground_truth)))
        return scorer.finish().values["PSNR of hands"]

    assert scored(52) < 60  # the square of 32 pixels is around row 66
    assert scored(45) == 100
    assert scored(75) < 60


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"no archive"])
def test_damaged_keypoints_are_estimated_again(content, pair, tmp_path, caplog):
    estimator = Standing(person(np.random.default_rng(0).uniform(10, 60, (17, 2))))

    def pose_error_found():
        found = Scoring(NATIVE, tmp_path / "cache", estimator).score(pair[0], [PeopleMetrics(estimator)])
        for path in (tmp_path / "cache").glob("[!p]*.npz"):
            path.unlink()
        return found.curves["pose error"]

    first = pose_error_found()
    (kept,) = (tmp_path / "cache").glob("pose-*.npz")
    kept.write_bytes(content)
    assert pose_error_found() == first
    assert "estimated again" in caplog.text
    caplog.clear()
    assert pose_error_found() == first
    assert not caplog.text


def test_the_truth_is_scored_without_itself(pair, tmp_path):
    result, _, _ = pair
    ground_truth = Result(TRUTH, result.clip, result.clip.ground_truth, 20)
    ground_truth = dataclasses.replace(ground_truth, seams=(9,))
    found = Scoring(NATIVE, tmp_path / "cache", None).score(ground_truth, [FrameDifferences(), Flicker()])
    assert "PSNR" not in found.values
    assert found.samples["seam flicker"] == 1


def test_a_short_result_is_compared_with_as_many_frames_of_the_ground_truth(tmp_path):
    """A result that is the ground truth's first half is no distance away, whatever the other half shows."""
    first, second = moving(20), 255 - moving(20, seed=3)
    footage = written(tmp_path / "truth.mkv", np.concatenate([first, second]))
    write_image(tmp_path / "ref.png", first[0])
    (tmp_path / "ours").mkdir()
    written(tmp_path / "ours" / "a.mkv", first)
    write_benchmark(
        tmp_path / "benchmark.yaml", "one", "", [{"name": "a", "reference": "ref.png", "truth": "truth.mkv"}]
    )
    config = EvaluateConfig(
        tmp_path / "benchmark.yaml", (f"ours={tmp_path / 'ours'}",), tmp_path / "report", protocol="native",
        allow_missing=True, people=False, cache=tmp_path / "cache",
    )  # fmt: skip  # short arguments, read in rows
    evaluation = evaluate(config, NullProgress())
    assert footage.num_frames == 40
    names = [score.name for score in evaluation.scores if score.frechet]
    assert names
    for name in names:
        cell = evaluation.cells["ours", name]
        assert cell.value < 1e-6, name
        assert cell.bias > 0
