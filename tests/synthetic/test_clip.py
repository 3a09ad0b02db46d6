"""Clips: the same pixels again, and ground truth that agrees with the picture and with itself."""

import cv2
import numpy as np
import pytest

from posegen.conditions.keypoints import BODY, FACE, HANDS
from posegen.conditions.subject_words import find_subjects
from posegen.errors import PosegenError
from posegen.synthetic import clip as clips
from posegen.synthetic.assets import load_assets
from posegen.synthetic.clip import SyntheticClip, SyntheticClipSettings, make_person
from posegen.synthetic.identity import draw_identity
from posegen.synthetic.rig_keypoints import HIDDEN, OUTSIDE, VISIBLE, face_places

SMALL = SyntheticClipSettings(height=192, width=112, num_frames=9, fps=16.0)


def grown(mask, pixels):
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)) > 0


def at(mask, points):
    column, row = points.astype(int).T
    return mask[np.clip(row, 0, mask.shape[0] - 1), np.clip(column, 0, mask.shape[1] - 1)]


def test_same_seeds_give_the_same_bytes(made):
    first = made[1]
    make_person.cache_clear()
    again = SyntheticClip(501, 71, SMALL, first.clip.framing)
    assert again.caption == first.clip.caption
    for expected, frame in zip(first.frames, again.frames(), strict=True):
        for name in ("rgb", "normals", "depth", "masks", "keypoints", "visibility"):
            np.testing.assert_array_equal(getattr(frame, name), getattr(expected, name), err_msg=name)


def test_other_seeds_give_another_person_and_another_movement(made):
    frame = made[0].frames[3]
    same_person = next(iter(SyntheticClip(500, 999, SMALL, made[0].clip.framing).frames()))
    assert np.abs(same_person.keypoints - frame.keypoints).max() > 5
    assert draw_identity(1, 9).skin != draw_identity(2, 9).skin


def test_people_move(made):
    for one in made:
        travel = np.linalg.norm(one.frames[-1].keypoints[91:] - one.frames[0].keypoints[91:], axis=1)
        assert travel.max() > 2


def test_seen_body_points_lie_on_the_person(made):
    hits = []
    for one in made:
        for frame in one.frames:
            person = grown((frame.masks & clips.PERSON) > 0, 2)
            seen = frame.visibility[BODY] == VISIBLE
            hits.append(at(person, frame.keypoints[BODY][seen]))
    assert np.concatenate(hits).mean() > 0.99


def test_seen_face_points_lie_on_the_face_and_the_hidden_ones_do_not_count(made):
    hits = []
    for one in made:
        for frame in one.frames:
            face = grown((frame.masks & clips.FACE) > 0, 2)
            seen = frame.visibility[FACE] == VISIBLE
            hits.append(at(face, frame.keypoints[FACE][seen]))
    assert np.concatenate(hits).mean() > 0.93


def test_each_hand_mask_holds_its_own_seen_hand_points(made):
    own, other, seen_points = [], [], 0
    for one in made:
        for frame in one.frames:
            for hand, bit, wrong in zip(HANDS, (clips.LEFT_HAND, clips.RIGHT_HAND), (4, 2), strict=True):
                seen = frame.visibility[hand] == VISIBLE
                fingers = frame.keypoints[hand][1:][seen[1:]]
                seen_points += len(fingers)
                own.append(at(grown((frame.masks & bit) > 0, 2), fingers))
                other.append(at((frame.masks & wrong) > 0, fingers))
    assert seen_points > 500
    assert np.concatenate(own).mean() > 0.93
    assert np.concatenate(other).mean() < 0.03


def test_hands_are_part_of_the_person(made):
    for one in made:
        for frame in one.frames:
            hands = (frame.masks & (clips.LEFT_HAND | clips.RIGHT_HAND)) > 0
            assert ((frame.masks & clips.PERSON) > 0)[hands].all()


def test_visibility_tells_outside_from_hidden(made):
    states = set()
    for one in made:
        for frame in one.frames:
            height, width = frame.masks.shape
            inside = ((frame.keypoints >= 0) & (frame.keypoints < (width, height))).all(1)
            np.testing.assert_array_equal(frame.visibility == OUTSIDE, ~inside)
            states |= set(np.unique(frame.visibility))
    assert states == {OUTSIDE, HIDDEN, VISIBLE}


def test_a_person_seen_from_behind_has_a_hidden_nose():
    for seed in range(40):
        clip = SyntheticClip(500, seed, SyntheticClipSettings(96, 96, 2), "full-body")
        if clip.movement == "spin":
            break
    nose = [
        frame.visibility[0]
        for frame in SyntheticClip(500, seed, SyntheticClipSettings(96, 96, 24), "full-body").frames()
    ]
    assert clip.movement == "spin"
    assert {HIDDEN, VISIBLE} <= set(nose)


def test_normals_are_unit_and_face_the_camera(made):
    for one in made:
        camera = one.clip._camera
        x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
        ray = np.stack([x - camera.width / 2, camera.height / 2 - y, np.full_like(x, -camera.focal)], -1)
        ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
        for frame in one.frames:
            person = (frame.masks & clips.PERSON) > 0
            np.testing.assert_allclose(np.linalg.norm(frame.normals[person], axis=1), 1, atol=1e-4)
            assert (frame.normals * ray).sum(-1)[person].max() < 0.05
            assert frame.normals[person][:, 2].mean() > 0.5


def test_depth_is_where_the_person_is(made):
    for one in made:
        for frame in one.frames:
            person = (frame.masks & clips.PERSON) > 0
            assert frame.depth[person].max() < 12
            assert (frame.depth[~grown(person, 1)] > 1e5).mean() > 0.98, "only thin hair covers less than half a pixel"


def test_captions_name_the_subject_first_and_end_with_the_shot(made):
    for one in made:
        ((start, stop),) = find_subjects(one.clip.caption)
        assert one.clip.caption[start:stop] == one.clip.subject
        style, background, shot = one.clip.caption.split(". ", 2)
        assert style.startswith("A computer-rendered video")
        assert "wearing" in style
        assert background.startswith("The background is")
        assert "shot" in shot


def test_framings_show_what_their_names_say(made):
    for one in made:
        frame = one.frames[0]
        visible = frame.visibility != OUTSIDE
        assert visible[[0, 1, 2]].all(), "the face is outside"
        if one.clip.framing == "full-body":
            assert visible[[15, 16]].all()
        if one.clip.framing in ("close-up", "half-body"):
            assert not visible[[15, 16]].any()
        share = (frame.masks & clips.PERSON).mean()
        assert share > 0.03


def test_the_reference_is_of_the_same_clip(made):
    one = made[1]
    reference = one.clip.reference()
    assert reference.rgb.shape == one.frames[0].rgb.shape
    still = ~(grown(reference.masks > 0, 12) | grown(one.frames[0].masks > 0, 12))
    difference = np.abs(reference.rgb[still].astype(int) - one.frames[0].rgb[still])
    assert np.median(difference) == 0, "another background"


def test_skin_tones_are_spread_evenly():
    light = [np.mean(draw_identity(seed, 4).skin) for seed in range(300)]
    shares, _ = np.histogram(light, bins=np.linspace(0.03, 0.78, 4))
    assert (shares > 50).all(), shares


def test_face_points_are_symmetric():
    places = face_places()
    assert places.shape == (68, 3)
    pairs = [(0, 16), (7, 9), (17, 26), (21, 22), (31, 35), (36, 45), (39, 42), (41, 46), (48, 54), (49, 53), (60, 64)]
    for right, left in [*pairs, (59, 55), (61, 63), (67, 65)]:
        np.testing.assert_allclose(places[right] * [-1, 1, 1], places[left], err_msg=f"{right} and {left}")


def test_assets_are_small_and_consistent():
    assets = load_assets()
    np.testing.assert_allclose(assets.weights.sum(1), 1, atol=1e-4)
    np.testing.assert_allclose(assets.regressor.sum(1), 1, atol=1e-3)
    assert all(faces.max() < len(assets.template) for faces in assets.faces.values())


@pytest.mark.parametrize("wrong", [{"height": 8}, {"num_frames": 0}, {"fps": 0.0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(PosegenError):
        SyntheticClipSettings(**wrong)
