"""Filters by what must hold: what is changed in a clip moves its score, and only in the right direction."""

import dataclasses
import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from posegen.errors import PosegenError
from posegen.media.image import read_image
from posegen.media.video import read_frames
from posegen.prepare.filters.clip_filters import (
    DEFAULT_THRESHOLDS,
    FilterSettings,
    Threshold,
    judge,
    make_filters,
    make_scorer,
    thresholds_of,
)
from posegen.prepare.filters.motion_filters import CameraFilter, TemporalQualityFilter
from posegen.prepare.filters.overlays import Letter, OverlayFilter, _is_pattern, stroke_picture, text_lines
from posegen.prepare.filters.person_filters import FaceFilter, OnePersonFilter, PersonAreaFilter
from posegen.prepare.filters.picture_filters import BlurFilter, TechnicalQualityFilter
from posegen.prepare.filters.sampled_frames import SampledClip, sample_clip
from posegen.prepare.filters.sampled_people import MediaPipePeople, People, Seen, distinct

HEIGHT, WIDTH, SAMPLES = 180, 320, 6


def scene(seed=0):
    """A picture with structure of every size."""
    random = np.random.default_rng(seed)
    layers = [
        cv2.resize(
            random.integers(0, 256, (HEIGHT // size, WIDTH // size, 3)).astype(np.float32),
            (WIDTH, HEIGHT),
            interpolation=cv2.INTER_CUBIC,
        )
        for size in (4, 12, 36)
    ]
    return np.clip(np.mean(layers, axis=0), 0, 255).astype(np.uint8)


def clip_of(frames, neighbours=None):
    return SampledClip(np.stack(frames), np.stack(frames), np.stack(neighbours or frames), 24.0, 0.5, (HEIGHT, WIDTH))


def still(seed=0):
    return clip_of([scene(seed)] * SAMPLES)


def people(*seen, mask=None):
    masks = np.zeros((SAMPLES, HEIGHT, WIDTH), bool)
    if mask is not None:
        masks[:] = mask
    return People(tuple(tuple(seen) for _ in range(SAMPLES)), masks)


def shifted(picture, x, y=0.0, degrees=0.0, scale=1.0):
    matrix = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), degrees, scale)
    matrix[:, 2] += (x, y)
    return cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)


def test_area_number_and_face_are_those_of_the_people():
    large, small, tiny = (
        Seen((0.1, 0.0, 0.6, 1.0), 0.9, 0.95),
        Seen((0.7, 0.5, 0.9, 1.0), 0.2, 0.3),
        Seen((0.9, 0.9, 0.95, 1.0), 0.5, 0.5),
    )
    alone, both = people(large, tiny), people(large, small)
    assert PersonAreaFilter().score(still(), alone)["person_area"] == pytest.approx(0.5)
    assert OnePersonFilter().score(still(), alone)["one_person"] == 1.0  # a distant passer-by is nobody
    assert OnePersonFilter().score(still(), both) == {"one_person": 0.0, "people": 2.0}
    assert FaceFilter().score(still(), both) == pytest.approx({"face": 0.9, "head": 0.95})
    nobody = people()
    assert PersonAreaFilter().score(still(), nobody)["person_area"] == 0
    assert OnePersonFilter().score(still(), nobody)["one_person"] == 0
    assert FaceFilter().score(still(), nobody)["face"] == 0
    behind = dataclasses.replace(alone, more_faces=(1, *[0] * (SAMPLES - 1)))  # a face that is nobody's of those found
    assert OnePersonFilter().score(still(), behind)["one_person"] == pytest.approx(1 - 1 / SAMPLES)
    assert OnePersonFilter().score(still(), dataclasses.replace(nobody, more_faces=(1,) * SAMPLES))["people"] == 1
    half = People((*alone.seen[:3], *nobody.seen[:3]), alone.masks)
    assert PersonAreaFilter().score(still(), half)["person_area"] == pytest.approx(0.25)
    assert distinct([small, large, Seen((0.12, 0.1, 0.55, 0.9), 0.9, 0.9)]) == (large, small)  # found twice


@pytest.mark.parametrize("share", [0.01, 0.03, 0.08])
def test_a_camera_that_moves_is_measured(share):
    path = [share * WIDTH * number / (SAMPLES - 1) for number in range(SAMPLES)]
    clip = clip_of([shifted(scene(), x) for x in path], [shifted(scene(), x + 0.5) for x in path])
    scores = CameraFilter().score(clip, people())
    diagonal = float(np.hypot(HEIGHT, WIDTH))
    assert scores["camera_moved"] == pytest.approx(share * WIDTH / diagonal, abs=0.002)
    assert scores["camera_shift"] == pytest.approx(share * WIDTH / diagonal, abs=0.002)
    assert scores["camera_jitter"] == pytest.approx(0.5 / diagonal, abs=0.0008)
    assert scores["camera_rotation"] < 0.3
    turned = clip_of([shifted(scene(), 0, 0, 3 * number) for number in range(SAMPLES)])
    assert CameraFilter().score(turned, people())["camera_rotation"] == pytest.approx(15, abs=0.5)
    zoomed = clip_of([shifted(scene(), 0, 0, 0, 1 + 0.02 * number) for number in range(SAMPLES)])
    assert CameraFilter().score(zoomed, people())["camera_zoom"] == pytest.approx(0.1, abs=0.01)


def test_a_person_who_moves_before_a_still_camera_is_no_camera_movement():
    person = np.zeros((HEIGHT, WIDTH), bool)
    person[40:, 100:220] = True
    frames = [np.where(person[..., None], shifted(scene(1), 9 * number), scene()) for number in range(SAMPLES)]
    scores = CameraFilter().score(clip_of(frames), people(mask=person))
    assert scores["camera_moved"] < 0.002
    assert scores["camera_jitter"] < 0.002


def test_stripes_tell_of_a_movement_across_them_and_a_plain_wall_of_none():
    stripes = np.tile((np.arange(WIDTH) // 40 % 2 * 120 + 60).astype(np.uint8)[:, None], (HEIGHT, 1, 3))
    moving = clip_of([np.roll(stripes, 2 * number, axis=1) for number in range(SAMPLES)])
    scores = CameraFilter().score(moving, people())
    assert scores["camera_known"] < 0.5
    assert scores["camera_moved"] == pytest.approx(10 / np.hypot(HEIGHT, WIDTH), rel=0.25)
    for standing in (clip_of([stripes] * SAMPLES), clip_of([np.full((HEIGHT, WIDTH, 3), 99, np.uint8)] * SAMPLES)):
        assert CameraFilter().score(standing, people())["camera_moved"] < 0.001


def wall(random, deviation, size=25.0):
    """A large picture of stains without an edge or a corner."""
    stains = cv2.GaussianBlur(random.normal(0, 1, (2 * HEIGHT, 2 * WIDTH)).astype(np.float32), (0, 0), size)
    return 128 + deviation / stains.std() * stains


def filmed(picture, random, x=0.0, degrees=0.0, scale=1.0):
    """The middle of a large picture as a camera with noise sees it."""
    matrix = cv2.getRotationMatrix2D((WIDTH, HEIGHT), degrees, scale)
    matrix[:, 2] += (x - WIDTH / 2, -HEIGHT / 2)
    seen = cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT)) + random.normal(0, 2, (HEIGHT, WIDTH))
    return np.repeat(np.clip(seen, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize(("x", "degrees", "zoom"), [(0, 0, 0), (4, 0, 0), (9, 0, 0), (0, 2, 0), (0, 0, 0.03)])
def test_a_wall_without_corners_tells_by_its_stains_how_the_camera_moves(x, degrees, zoom):
    random = np.random.default_rng(0)
    stains, person = wall(random, 6), np.zeros((HEIGHT, WIDTH), bool)
    person[40:, 100:200] = True
    frames = [filmed(stains, random, x * at, degrees * at, 1 + zoom * at) for at in range(SAMPLES)]
    frames = [np.where(person[..., None], shifted(scene(1), 9 * number), frame) for number, frame in enumerate(frames)]
    after = [filmed(stains, random, x * at + 1.5, degrees * at, 1 + zoom * at) for at in range(SAMPLES)]
    scores = CameraFilter().score(clip_of(frames, after), people(mask=person))
    diagonal = float(np.hypot(HEIGHT, WIDTH))
    assert scores["camera_known"] == 1
    assert scores["camera_shift"] == pytest.approx(5 * x / diagonal, abs=0.002)
    assert scores["camera_rotation"] == pytest.approx(5 * degrees, abs=0.3)
    assert scores["camera_zoom"] == pytest.approx(5 * zoom, abs=0.01)
    assert scores["camera_jitter"] == pytest.approx(1.5 / diagonal, abs=0.001)


def room():
    """A large picture of an even wall with a skirting and a sofa: edges, but hardly a corner."""
    picture = np.full((2 * HEIGHT, 2 * WIDTH), 170, np.float32)
    picture[HEIGHT + 50 :, : WIDTH + 30] = 120
    picture[HEIGHT:, WIDTH + 70 :] = 95
    return cv2.GaussianBlur(picture, (0, 0), 2)


@pytest.mark.parametrize(("x", "zoom"), [(0, 0), (6, 0), (0, 0.02)])
def test_a_few_edges_before_an_even_wall_tell_how_the_camera_moves(x, zoom):
    random, diagonal = np.random.default_rng(0), float(np.hypot(HEIGHT, WIDTH))
    frames, after = (
        [filmed(room(), random, x * at, 0, 1 + zoom * at) for at in np.arange(SAMPLES) + late] for late in (0, 0.2)
    )
    scores = CameraFilter().score(clip_of(frames, after), people())
    assert scores["camera_shift"] == pytest.approx(5 * x / diagonal, abs=0.004)
    assert scores["camera_zoom"] == pytest.approx(5 * zoom, abs=0.01)
    assert scores["camera_jitter"] == pytest.approx(np.hypot(x / diagonal, zoom / np.sqrt(12)) / 5, abs=0.001)


def tiles(random):
    """A large picture of tiles that hardly differ."""
    shades = random.normal(140, 4, (2 * HEIGHT // 30 + 1, 2 * WIDTH // 30 + 1)).astype(np.float32)
    return cv2.GaussianBlur(np.kron(shades, np.ones((30, 30), np.float32)), (0, 0), 2)


def test_a_fast_camera_is_followed_over_faint_tiles_by_its_speed():
    random, diagonal = np.random.default_rng(0), float(np.hypot(HEIGHT, WIDTH))
    floor = tiles(random)
    frames, after = ([filmed(floor, random, 50 * at - 125) for at in np.arange(SAMPLES) + late] for late in (0, 1 / 12))
    scores = CameraFilter().score(clip_of(frames, after), people())
    assert scores["camera_shift"] == pytest.approx(250 / diagonal, abs=0.01)


def test_where_corners_go_out_of_sight_all_pixels_carry_on():
    random, diagonal = np.random.default_rng(0), float(np.hypot(HEIGHT, WIDTH))
    picture = tiles(random)
    picture[HEIGHT : HEIGHT + 80, WIDTH + 60 : WIDTH + 140] = scene()[:80, :80, 0]
    frames = [filmed(picture, random, 20 * at) for at in range(SAMPLES)]
    scores = CameraFilter().score(clip_of(frames), people())
    assert scores["camera_shift"] == pytest.approx(100 / diagonal, abs=0.005)


def test_what_nothing_can_be_seen_of_is_unknown_and_counts_as_still_unless_a_recipe_wants_it_known():
    random = np.random.default_rng(0)
    even = np.full((2 * HEIGHT, 2 * WIDTH), 128, np.float32)
    scores = CameraFilter().score(clip_of([filmed(even, random, 9 * at) for at in range(SAMPLES)]), people())
    assert scores["camera_moved"] == scores["camera_jitter"] == scores["camera_known"] == 0
    names = ("static_camera", "background_jitter", "camera_known")
    assert judge(scores, {name: DEFAULT_THRESHOLDS[name] for name in names}) == (True, [])
    strict = thresholds_of(FilterSettings(thresholds={"camera_known": Threshold(minimum=0.5)}))
    assert judge(scores, {name: strict[name] for name in names}) == (False, ["camera_known"])


def test_light_that_grows_and_a_shadow_that_passes_over_a_wall_are_no_camera_movement():
    random = np.random.default_rng(0)
    stains = wall(random, 8)
    frames = []
    for at in range(SAMPLES):
        frame = filmed(stains, random) * (1 + 0.03 * at) + 2.0 * at
        frame[100:, 40 * at : 40 * at + 50] *= 0.85
        frames.append(np.clip(frame, 0, 255).astype(np.uint8))
    assert CameraFilter().score(clip_of(frames), people())["camera_moved"] < 0.006


def test_blur_lowers_sharpness_and_noise_light_and_contrast_quality():
    sharpness = [
        BlurFilter().score(clip_of([cv2.GaussianBlur(scene(), (0, 0), sigma)] * SAMPLES), people())["sharpness"]
        for sigma in (0.3, 1.5, 3.0, 5.0)
    ]
    assert sharpness == sorted(sharpness, reverse=True)
    good = cv2.resize(scene()[::4, ::4], (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    quality = TechnicalQualityFilter().score(clip_of([good] * SAMPLES), people())
    noise = np.random.default_rng(0).normal(0, 20, good.shape)
    worse = {
        "cleanness": np.clip(good + noise, 0, 255),
        "exposure": np.clip(good * 3.0, 0, 255),
        "contrast": good * 0.1 + 99,
    }
    for column, picture in worse.items():
        scores = TechnicalQualityFilter().score(clip_of([picture.astype(np.uint8)] * SAMPLES), people())
        assert scores["technical_quality"] == scores[column]
        assert scores[column] < 0.5 < quality["technical_quality"]


def test_repeated_frames_and_flicker_lower_temporal_quality():
    frames = [shifted(scene(), 3 * number) for number in range(SAMPLES)]
    moving = clip_of(frames, [shifted(frame, 1.5) for frame in frames])
    assert TemporalQualityFilter().score(moving, people())["temporal_quality"] > 0.8
    assert TemporalQualityFilter().score(clip_of(frames), people())["liveliness"] == 0
    brighter = [np.clip(shifted(frame, 1.5) + 12.0, 0, 255).astype(np.uint8) for frame in frames]
    scores = TemporalQualityFilter().score(clip_of(frames, brighter), people())
    assert scores["flicker"] == pytest.approx(12, abs=2)
    assert scores["temporal_quality"] < 0.2
    assert scores["person_motion"] == 0  # nobody is there


def written(picture, text, size, place=(20, 130)):
    drawn = Image.fromarray(picture)
    ImageDraw.Draw(drawn).text(place, text, font=ImageFont.load_default(size), fill=(255, 255, 255))
    return np.asarray(drawn)


def test_text_that_stays_is_found_and_text_that_moves_is_not():
    plain = np.full((HEIGHT, WIDTH, 3), 70, np.uint8)
    plain[:, ::40] = 90
    share = {}
    for size in (14, 22):
        share[size] = OverlayFilter().score(clip_of([written(plain, "Subscribe now", size)] * SAMPLES), people())
    assert 0.005 < share[14]["overlay_text"] < share[22]["overlay_text"] < 0.12
    moving = [written(plain, "Subscribe now", 18, (20 + 23 * number, 130 - 9 * number)) for number in range(SAMPLES)]
    assert OverlayFilter().score(clip_of(moving), people())["overlay_text"] == 0
    windows = np.kron(np.indices((HEIGHT // 15, WIDTH // 20)).sum(0) % 2 * 90 + 60, np.ones((15, 20)))
    walls = np.repeat(windows[..., None], 3, axis=2).astype(np.uint8)[:HEIGHT, :WIDTH]
    for nothing in (plain, walls):
        assert OverlayFilter().score(clip_of([nothing] * SAMPLES), people())["overlay_text"] == 0
    barred = plain.copy()
    barred[:18] = barred[-18:] = 0
    assert OverlayFilter().score(clip_of([barred] * SAMPLES), people())["bars"] == pytest.approx(0.2, abs=0.01)
    assert OverlayFilter().score(clip_of([plain] * SAMPLES), people())["bars"] == 0


def test_what_stands_still_for_a_moment_is_no_text_laid_over_and_a_row_of_equal_shapes_is_none():
    plain = np.full((HEIGHT, WIDTH, 3), 70, np.uint8)
    lettered = written(plain, "Subscribe now", 18)

    def overlay(frames):
        return OverlayFilter().score(clip_of(frames), people())["overlay_text"]

    def shown(first, last):
        return [lettered if first <= number <= last else plain for number in range(SAMPLES)]

    assert [overlay(shown(2, 2)), overlay(shown(2, 3)), overlay(shown(0, 1))] == [0, 0, 0]
    assert min(overlay(shown(2, 4)), overlay(shown(0, 2)), overlay([lettered] * 2), overlay([lettered])) > 0.005
    for places, lines in (((60, 94, 128, 162, 196), 0), ((60, 84, 118, 142, 176), 1), ((60, 82, 104, 126, 148), 1)):
        row = plain.copy()
        for x in places:  # far apart and even; uneven, as letters are; even, but as near as signs in equal squares
            cv2.circle(row, (x, 90), 8, (200, 200, 200), 3)
        assert len(text_lines(stroke_picture(row, cv2.MORPH_TOPHAT))) == lines, places


@pytest.mark.parametrize(("uneven", "pattern"), [(0, True), (6, False)])
def test_flowers_on_a_wall_seen_at_an_angle_are_a_pattern_and_letters_are_not(uneven, pattern):
    line, left = [], 10.0
    for number in range(10):  # the wall goes away from the camera
        width = 30 * 0.9**number
        line.append(Letter(round(left), 80, round(width) + uneven * (number % 2), 30 - number))
        left += 1.8 * width + uneven * (number % 3)
    assert _is_pattern(line, 25.0) == pattern


@pytest.mark.parametrize(("hollow", "lines"), [(0, 0), (4, 1)])
def test_boards_between_dark_gaps_are_no_letters(hollow, lines):
    """Light bars of one width but uneven height, side by side; the same with a hole in each are letters, like 0."""
    strokes = np.zeros((HEIGHT, WIDTH), np.uint8)
    for number, top in enumerate((60, 66, 61, 62, 66)):
        left = 60 + 13 * number
        strokes[top:90, left : left + 12] = 90
        if hollow:
            strokes[top + 4 : 86, left + 4 : left + 8] = 0
    assert len(text_lines(strokes)) == lines


@pytest.mark.parametrize(("top", "lines"), [(60, 1), (0, 0), (HEIGHT - 20, 0)])
def test_a_line_whose_letters_touch_is_text_but_not_where_the_edge_cuts_it(top, lines):
    strokes = np.zeros((HEIGHT, WIDTH), np.uint8)
    for x in range(60, 200, 8):
        strokes[top : top + 20, x : x + 3] = 160
    strokes[top + 9 : top + 11, 60:200] = 60
    strokes[top + 9 : top + 11, 60:200:8] = 160
    assert len(text_lines(strokes)) == lines


SCORE = st.floats(0, 1)


@given(scores=st.lists(SCORE, min_size=2, max_size=2), low=SCORE, high=SCORE)
def test_a_clip_is_kept_just_if_every_filter_keeps_it(scores, low, high):
    thresholds = {"first": Threshold("a", minimum=low), "second": Threshold("b", maximum=high)}
    kept, dropped = judge(dict(zip("ab", scores, strict=True)), thresholds)
    assert ("first" in dropped) == (scores[0] < low)
    assert ("second" in dropped) == (scores[1] > high)
    assert kept == (not dropped)


def test_thresholds_can_be_changed_and_nonsense_is_refused():
    settings = FilterSettings(thresholds={"person_area": Threshold(minimum=0.1)}, skip=("blur", "face", "head"))
    thresholds = thresholds_of(settings)
    assert thresholds["person_area"] == Threshold("person_area", minimum=0.1)
    assert thresholds["bars"] == DEFAULT_THRESHOLDS["bars"]
    assert "blur" not in thresholds
    assert {"face", "blur"}.isdisjoint({each.name for each in make_filters(settings, "cpu")})
    with pytest.raises(PosegenError, match="no score 'person_area'"):
        judge({}, thresholds)
    with pytest.raises(PosegenError, match="minimum or a maximum"):
        Threshold("a")
    with pytest.raises(PosegenError, match="minimum or a maximum"):
        Threshold("a", minimum=1.0, maximum=0.0)
    with pytest.raises(PosegenError, match="minimum or a maximum"):
        Threshold("a", minimum=math.nan)
    with pytest.raises(PosegenError, match="no filter 'sharp'; these are: person_area"):
        FilterSettings(thresholds={"sharp": Threshold("a", minimum=0.0)})
    with pytest.raises(PosegenError, match="qalign needs quality_weights"):
        FilterSettings(video_quality="qalign")
    assert not Threshold("a", minimum=0.0).keeps(math.nan)


def test_somebody_whom_the_pose_model_misses_beside_another_is_found_by_the_face(media):
    man = cv2.resize(read_image(media / "man.png"), (720, 1280), interpolation=cv2.INTER_CUBIC)
    astronaut = cv2.resize(data.astronaut()[:300, 60:400], (340, 300), interpolation=cv2.INTER_AREA)
    together = man.copy()
    together[:300, -340:] = astronaut
    small = np.zeros((2, 320, 180, 3), np.uint8)
    finder = MediaPipePeople()
    try:
        alone, both = (
            finder.find(SampledClip(np.stack([picture] * 2), small, small, 24.0, 0.5, (1280, 720)))
            for picture in (man, together)
        )
    finally:
        finder.close()
    assert alone.counts == (1, 1)
    assert alone.more_faces == (0, 0)  # his own face belongs to him
    assert [len(people) for people in both.seen] == [1, 1]
    assert both.counts == (2, 2)


@pytest.mark.parametrize(("share", "left"), [(0.28, True), (0.28, False), (0.3, True), (0.3, False)])
def test_somebody_who_is_small_beside_another_is_found_in_a_tile(media, share, left):
    man = cv2.resize(read_image(media / "man.png"), (540, 960), interpolation=cv2.INTER_CUBIC)
    picture = cv2.copyMakeBorder(man, 320, 0, 90, 90, cv2.BORDER_REPLICATE)
    other = read_frames(media / "turning.mp4", 2, 3)[0][30:600, 60:340]
    height, width = (round(side * share * picture.shape[0] / other.shape[0]) for side in other.shape[:2])
    place = slice(0, width) if left else slice(-width, None)
    together = picture.copy()
    together[:height, place] = cv2.resize(other, (width, height), interpolation=cv2.INTER_AREA)
    small = np.zeros((1, 320, 180, 3), np.uint8)
    finder = MediaPipePeople()
    try:
        alone, both = (
            finder.find(SampledClip(frame[None], small, small, 24.0, 0.5, (1280, 720))) for frame in (picture, together)
        )
    finally:
        finder.close()
    assert alone.counts == (1,)
    assert both.counts == (2,)
    found = np.array(both.seen[0][1].box)  # where the other was put, in shares of the whole picture
    at = np.array([0 if left else 1 - width / 720, 0, width / 720 if left else 1, height / 1280])
    assert (found[:2] >= at[:2] - 0.03).all()
    assert (found[2:] <= at[2:] + 0.03).all()
    head = both.seen[0][1].head_at
    assert found[0] < head[0] < found[2]
    assert found[1] < head[1] < found[3]
    new = both.masks[0] & ~alone.masks[0]
    top, rest = new[: round(320 * at[3]), round(180 * at[0]) : round(180 * at[2])], new[round(320 * at[3]) + 16 :]
    assert top.mean() > 0.2
    assert rest.mean() < 0.02


def test_an_arm_that_is_left_when_a_person_is_painted_over_is_nobody(media):
    clip = sample_clip(media / "presenter.mp4", 0.0, 10.0)
    finder = MediaPipePeople()
    try:
        assert set(finder.find(clip).counts) == {1}
    finally:
        finder.close()


@pytest.fixture(scope="module")
def scorer():
    scorer = make_scorer(FilterSettings(), "cpu")
    yield scorer
    scorer.close()


@pytest.mark.parametrize("name", ["dancer.mp4", "presenter.mp4"])
def test_a_clean_video_of_one_person_is_kept(media, scorer, name):
    scores = scorer(sample_clip(media / name, 0.0, 3.0))
    assert set(scores) == {column for each in make_filters(FilterSettings(), "cpu") for column in each.columns}
    assert judge(scores, thresholds_of(FilterSettings())) == (True, [])


def test_writing_over_a_video_is_all_that_is_wrong_with_it(media, scorer):
    clip = sample_clip(media / "dancer.mp4", 0.0, 3.0)

    def lettered(frames):
        size = frames.shape[2] // 12
        return np.stack([written(frame, "Subscribe now", size, (size, frame.shape[0] - 3 * size)) for frame in frames])

    over = {name: lettered(getattr(clip, name)) for name in ("frames", "small_frames", "neighbours")}
    scores = scorer(dataclasses.replace(clip, **over))
    assert judge(scores, thresholds_of(FilterSettings())) == (False, ["overlay"])


@pytest.mark.parametrize(("name", "least", "most"), [("crossing.mp4", 1.5, 2.0), ("leaving.mp4", 0.3, 0.7)])
def test_two_people_and_one_who_is_away_are_not_one_person_all_the_time(media, scorer, name, least, most):
    scores = scorer(sample_clip(media / name, 0.0, 4.0))
    assert least <= scores["people"] <= most
    assert "one_person" in judge(scores, thresholds_of(FilterSettings()))[1]


def test_real_videos_are_judged_as_a_person_would(real_media, scorer):
    thresholds = thresholds_of(FilterSettings())
    dance = scorer(sample_clip(real_media("driving_dance_full_body.mp4"), 0.0, 3.0))
    presenter = scorer(sample_clip(real_media("driving_presenter_half_body.mp4"), 0.0, 3.0))
    for scores in (dance, presenter):  # both have writing in the picture, and nothing else is wrong with them
        for name in (
            "person_area",
            "one_person",
            "face",
            "head",
            "static_camera",
            "background_jitter",
            "bars",
            "blur",
        ):
            assert thresholds[name].keeps(scores[thresholds[name].column]), name
        assert not thresholds["overlay"].keeps(scores["overlay_text"])
