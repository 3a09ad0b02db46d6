"""MediaPipe's landmarks and `.pose` files: the same walker written as both, and read back."""

import csv
import json
import struct
from fractions import Fraction

import numpy as np
import pytest
from walker import walker

from posegen.conditions.estimators.layouts import MEDIAPIPE_NAMES
from posegen.errors import PosegenError
from posegen.motion.joint_names import keypoint_sources
from posegen.motion.mediapipe_landmarks import read_mediapipe
from posegen.motion.motion_data import Asked
from posegen.motion.motion_files import read_motion
from posegen.motion.pose_files import read_pose

FPS = 25
SIZE = (720, 1280)


def landmarks(people, frame, names, origin=None):
    """Points as MediaPipe's camera sees them: x right, y down, z away; metres."""
    rows = []
    for name in names:
        x, y, z = people[name][frame] - (people["hips"][frame] if origin is None else origin)
        rows.append({"x": x, "y": -z, "z": y, "visibility": 0.99})
    return rows


def body_names(people):
    """MediaPipe's names; those that the walker does not have are put at the nose or the wrist."""
    given = dict(people)
    for name in MEDIAPIPE_NAMES:
        if name not in given:
            side = "left_" if "left" in name else "right_"
            part = "big_toe" if "foot_index" in name else "wrist" if name[-5:] in ("pinky", "index", "thumb") else "eye"
            given[name] = people[side + part]
    return given


def world_frames(people, fps=FPS, hands=True):
    given = body_names(people)
    frames = []
    for number in range(len(people["nose"])):
        frame = {
            "timestamp_ms": round(1000 * number / fps),
            "pose_world_landmarks": [landmarks(given, number, MEDIAPIPE_NAMES)],
        }
        for side in ("left", "right") if hands else ():
            names = [f"{side}_hand_{joint}" for joint in range(21)]
            middle = np.mean([people[name][number] for name in names], axis=0)
            frame[f"{side}_hand_world_landmarks"] = [landmarks(people, number, names, middle)]
        frames.append(frame)
    return frames


def test_world_landmarks_are_joints_in_space_with_hands_at_the_wrists(tmp_path):
    people = walker(fps=FPS)
    (tmp_path / "a.json").write_text(json.dumps(world_frames(people)))
    motion = read_motion(tmp_path / "a.json")
    assert (motion.fps, motion.up, motion.metres) == (FPS, "-y", 1.0)
    sources = keypoint_sources(motion.names)
    for name in ("left_elbow", "right_ankle", "left_hand_8", "right_hand_20", "left_big_toe"):
        wanted = people[name] - people["hips"]
        wanted = np.stack([wanted[:, 0], -wanted[:, 2], wanted[:, 1]], axis=1)
        np.testing.assert_allclose(motion.positions[:, sources[name]], wanted, atol=1e-4)


def test_frames_without_a_person_are_gaps_and_uneven_times_are_kept(tmp_path):
    people = walker(frames=60, fps=FPS)
    frames = world_frames(people, hands=False)
    frames[3]["pose_world_landmarks"] = []
    kept = [frame for number, frame in enumerate(frames) if not 20 <= number < 30]  # a tracker that lost frames
    (tmp_path / "a.json").write_text(json.dumps({"frames": kept}))
    motion = read_mediapipe(tmp_path / "a.json")
    assert (len(motion), motion.fps) == (60, FPS)
    assert not motion.known[3].any()
    assert len(motion.notes) >= 2
    nose, given = motion.names.index("nose"), people["nose"] - people["hips"]
    np.testing.assert_allclose(motion.positions[50, nose, 0], given[50, 0], atol=1e-3)


def image_frames(people, size):
    given = body_names(people)
    height, width = size
    frames = []
    for number in range(len(people["nose"])):
        rows = []
        for name in MEDIAPIPE_NAMES:
            x, y, z = given[name][number] * 300
            rows.append([(x + width / 2) / width, (600 - z) / height, y / width, 1.0])
        frames.append({"pose_landmarks": [rows]})
    return frames


def test_landmarks_of_the_image_need_its_shape_which_bones_tell_if_the_file_does_not(tmp_path):
    people = walker(fps=FPS)
    said = {"frames": image_frames(people, SIZE), "width": SIZE[1], "height": SIZE[0], "fps": FPS}
    (tmp_path / "said.json").write_text(json.dumps(said))
    (tmp_path / "not.json").write_text(json.dumps(said["frames"]))
    motion, guessed = (
        read_mediapipe(tmp_path / "said.json"),
        read_mediapipe(tmp_path / "not.json", Asked(fps=Fraction(FPS))),
    )
    assert (motion.in_space, motion.size) == (False, SIZE)
    wrist = motion.names.index("left_wrist")
    np.testing.assert_allclose(motion.positions[:, wrist, 1], 600 - 300 * people["left_wrist"][:, 2], atol=1e-2)
    assert guessed.size is not None
    assert guessed.size[1] / guessed.size[0] == pytest.approx(SIZE[1] / SIZE[0], rel=1e-3)
    assert len(guessed.notes) > len(motion.notes)


def test_the_long_table_is_read_as_well(tmp_path):
    people = walker(frames=5, fps=FPS)
    frames = image_frames(people, SIZE)
    with (tmp_path / "a.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["frame", "row_id", "type", "landmark_index", "x", "y", "z"])
        for number, frame in enumerate(frames):
            for index, (x, y, z, _) in enumerate(frame["pose_landmarks"][0]):
                rows.writerow([10 + number, f"{number}-pose-{index}", "pose", index, x, y, "" if number == 2 else z])
    motion = read_motion(tmp_path / "a.csv", Asked(fps=Fraction(FPS)))
    assert len(motion) == 5
    assert motion.names[:33] == MEDIAPIPE_NAMES


def test_a_rate_that_nobody_says_is_a_guess_with_a_line_and_one_that_contradicts_is_refused(tmp_path):
    frames = world_frames(walker(frames=4), hands=False)
    (tmp_path / "said.json").write_text(json.dumps({"frames": frames, "fps": 29.97}))
    for frame in frames:
        del frame["timestamp_ms"]
    (tmp_path / "not.json").write_text(json.dumps(frames))
    assert read_mediapipe(tmp_path / "said.json").fps.denominator == 1001
    guessed = read_mediapipe(tmp_path / "not.json")
    assert any("motion-fps" in note for note in guessed.notes)
    with pytest.raises(PosegenError, match="motion_fps 50"):
        read_mediapipe(tmp_path / "said.json", Asked(fps=Fraction(50)))


@pytest.mark.parametrize(
    "frame", [{"pose_world_landmarks": [[{"x": 1, "y": 2, "z": 3}] * 17]}, {"pose_landmarks": "x"}]
)
def test_other_landmarks_are_refused(tmp_path, frame):
    (tmp_path / "a.json").write_text(json.dumps([frame]))
    with pytest.raises(PosegenError, match=r"a\.json"):
        read_mediapipe(tmp_path / "a.json")


HAND = ("WRIST", "THUMB_CMC", "THUMB_MCP", "THUMB_IP", "THUMB_TIP",
        *(f"{finger}_{joint}" for finger in ("INDEX_FINGER", "MIDDLE_FINGER", "RING_FINGER", "PINKY")
          for joint in ("MCP", "PIP", "DIP", "TIP")))  # fmt: skip
OPENPOSE_HAND = ("BASE", "T_STT", "T_BCMC", "T_MCP", "T_IP",
                 *(f"{finger}_{joint}" for finger in "IMRP" for joint in ("CMC", "MCP", "PIP", "DIP")))  # fmt: skip


def pose_file(path, components, data, confidence, fps=24.0, version=0.2):
    """Write a `.pose` file as the format's page describes it. components: (name, points)."""

    def text(words):
        return struct.pack("<H", len(words)) + words.encode()

    content = struct.pack("<fHHHH", version, SIZE[1], SIZE[0], 0, len(components))
    for name, points in components:
        content += text(name) + text("XYZC") + struct.pack("<HHH", len(points), 1, 1)
        content += b"".join(text(point) for point in points) + struct.pack("<HHHHH", 0, 1, 255, 0, 0)
    frames, people = data.shape[:2]
    content += struct.pack("<fIH", fps, frames, people) if version > 0.15 else struct.pack("<HHH", int(fps), 0, people)
    path.write_bytes(content + data.astype("<f4").tobytes() + confidence.astype("<f4").tobytes())


def pixels(people, names):
    """x, y, z in pixels of what a camera at the front sees."""
    places = np.stack([people[name] for name in names], axis=1)
    return np.stack([600 + 300 * places[..., 0], 650 - 300 * places[..., 2], 300 * places[..., 1]], axis=2)


def hand_places(people, side):
    return pixels(people, [f"{side}_hand_{joint}" for joint in range(21)])


@pytest.mark.parametrize("version", [0.1, 0.2])
def test_pose_files_hold_body_and_hands_in_pixels_of_the_image(tmp_path, version):
    people = walker(frames=6, fps=24)
    given = body_names(people)
    body = pixels(given, MEDIAPIPE_NAMES)
    parts = [body, hand_places(people, "left"), hand_places(people, "right")]
    components = [("POSE_LANDMARKS", [name.upper() for name in MEDIAPIPE_NAMES]), ("LEFT_HAND_LANDMARKS", HAND),
                  ("RIGHT_HAND_LANDMARKS", HAND)]  # fmt: skip
    data = np.concatenate(parts, axis=1)[:, None]
    confidence = np.ones(data.shape[:3])
    confidence[2, 0, 33:54] = 0
    pose_file(tmp_path / "a.pose", components, data, confidence, 24.0, version)
    motion = read_motion(tmp_path / "a.pose")
    assert (motion.fps, motion.size, len(motion)) == (24, SIZE, 6)
    sources = keypoint_sources(motion.names)
    for name in ("left_shoulder", "right_knee", "left_big_toe"):
        np.testing.assert_allclose(motion.positions[:, sources[name]], pixels(given, [name])[:, 0, :2], atol=1e-3)
    for joint in range(21):
        index = sources[f"right_hand_{joint}"]
        np.testing.assert_allclose(motion.positions[:, index], hand_places(people, "right")[:, joint, :2], atol=1e-3)
    assert not motion.known[2, sources["left_hand_8"]]
    assert motion.known[3, sources["left_hand_8"]]


def test_openposes_hands_come_back_from_an_empty_face_and_their_joints_have_the_right_names(tmp_path):
    people = walker(frames=4, fps=24)
    body = {"Nose": "nose", "Neck": "neck", "LWrist": "left_wrist", "RWrist": "right_wrist"}
    body |= {f"{side[0].upper()}{part.title()}": f"{side}_{part}" for side in ("left", "right")
             for part in ("shoulder", "elbow", "hip", "knee", "ankle")}  # fmt: skip
    hands = np.concatenate([hand_places(people, "left"), hand_places(people, "right")], axis=1)
    places = np.concatenate([pixels(people, body.values()), hands, np.zeros((4, 28 + 42, 3))], axis=1)[:, None]
    confidence = (places[..., 0] > 0).astype(float)
    components = [("pose_keypoints_2d", tuple(body)), ("face_keypoints_2d", [f"F_{point}" for point in range(70)]),
                  ("hand_left_keypoints_2d", OPENPOSE_HAND), ("hand_right_keypoints_2d", OPENPOSE_HAND)]  # fmt: skip
    pose_file(tmp_path / "a.pose", components, places, confidence)
    motion = read_pose(tmp_path / "a.pose")
    sources = keypoint_sources(motion.names)
    for side in ("left", "right"):
        for joint in range(21):
            place = motion.positions[:, sources[f"{side}_hand_{joint}"]]
            np.testing.assert_allclose(place, hand_places(people, side)[:, joint, :2], atol=1e-3)
    assert any("face" in note for note in motion.notes)


def test_the_library_of_the_format_writes_what_is_read(tmp_path):
    pytest.importorskip("pose_format")
    from pose_format import Pose
    from pose_format.numpy import NumPyPoseBody
    from pose_format.pose_header import PoseHeader, PoseHeaderComponent, PoseHeaderDimensions

    people = walker(frames=5)
    names = [name.upper() for name in MEDIAPIPE_NAMES]
    component = PoseHeaderComponent("POSE_LANDMARKS", names, [(0, 1)], [(255, 0, 0)], "XYZC")
    data = np.stack([pixels(body_names(people), MEDIAPIPE_NAMES)] * 2, axis=1)
    confidence = np.ones(data.shape[:3])
    confidence[:3, 0] = 0  # the second person is known longer
    data[:, 1] += 5
    header = PoseHeader(0.2, PoseHeaderDimensions(*SIZE[::-1]), [component])
    with (tmp_path / "a.pose").open("wb") as stream:
        Pose(header, NumPyPoseBody(29.97, data, confidence)).write(stream)
    motion = read_pose(tmp_path / "a.pose")
    assert (float(motion.fps), motion.people) == (pytest.approx(30000 / 1001), 2)
    np.testing.assert_allclose(motion.positions[:, 0], data[:, 1, 0, :2], rtol=1e-6)
    assert read_pose(tmp_path / "a.pose", Asked(person=1)).known[:, 0].sum() == 2


def test_pose_files_that_are_cut_off_are_refused(tmp_path):
    pose_file(tmp_path / "a.pose", [("B", ["NOSE", "LEFT_SHOULDER"])], np.ones((9, 1, 2, 3)), np.ones((9, 1, 2)))
    content = (tmp_path / "a.pose").read_bytes()
    for length in (30, len(content) - 4):
        (tmp_path / "b.pose").write_bytes(content[:length])
        with pytest.raises(PosegenError, match="cut off"):
            read_pose(tmp_path / "b.pose")
