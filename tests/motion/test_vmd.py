"""VMD: keys written as the format describes them, their curves, and legs that are only IK targets."""

import struct

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from posegen.errors import PosegenError
from posegen.motion.joint_names import keypoint_sources
from posegen.motion.motion_files import read_motion
from posegen.motion.vmd import read_vmd

STRAIGHT = (20, 20, 107, 107)
"""x1, y1, x2, y2 of MikuMikuDance's usual curve: a straight line."""
EASED = (64, 0, 64, 127)


def key(name, frame, place=(0, 0, 0), turn=(0, 0, 0, 1), curve=STRAIGHT):
    row = bytes(value for value in curve for _ in range(4))
    block = b"".join(row[number:] + b"\1" * number for number in range(4))
    block = block[:2] + b"\0\0" + block[4:]  # as physics of a model leaves them
    return (name.encode("shift_jis").ljust(15, b"\0") + struct.pack("<I", frame) + struct.pack("<3f", *place)
            + struct.pack("<4f", *turn) + block)  # fmt: skip


def write_vmd(path, keys):
    path.write_bytes(b"Vocaloid Motion Data 0002".ljust(30, b"\0") + "モデル".encode("shift_jis").ljust(20, b"\0")
                     + struct.pack("<I", len(keys)) + b"".join(keys) + struct.pack("<I", 0))  # fmt: skip
    return path


def turn(axis, degrees):
    """A quaternion of MikuMikuDance, whose axes are left-handed."""
    return Rotation.from_rotvec(np.radians(degrees) * np.eye(3)["xyz".index(axis)]).as_quat()


LEGS = [key(name, frame, turn=turn("x", degrees)) for name in ("左足", "右足", "左ひざ", "右ひざ")
        for frame, degrees in ((0, 0), (30, 40 if name.endswith("足") else -60))]  # fmt: skip
"""Thighs are lifted ahead, shanks bent back."""


def test_rotations_act_on_the_usual_proportions_at_30_frames_a_second(tmp_path):
    move = [key("センター", 0), key("センター", 30, (10, 0, -5))]
    motion = read_motion(write_vmd(tmp_path / "a.vmd", [*LEGS, *move]))
    assert (motion.fps, motion.up, len(motion)) == (30, "+y", 31)
    at = {name: motion.positions[:, index] for name, index in keypoint_sources(motion.names).items()}
    assert (at["left_shoulder"][:, 0] > at["right_shoulder"][:, 0]).all()
    assert at["nose"][0, 2] > at["left_ear"][0, 2]  # faces +z
    thigh = at["left_knee"] - at["left_hip"]
    assert thigh[0, 2] == pytest.approx(0.01, abs=1e-6)
    assert thigh[30, 2] == pytest.approx(0.41 * np.sin(np.radians(40)), abs=0.02)  # ahead
    shank = at["left_ankle"] - at["left_knee"]
    assert shank[30, 2] < -0.1
    np.testing.assert_allclose(at["left_hip"][30] - at["left_hip"][0], [0.8, 0, 0.4], atol=1e-6)
    np.testing.assert_allclose(at["left_hip"][15] - at["left_hip"][0], [0.4, 0, 0.2], atol=1e-3)  # a straight curve


def test_keys_are_reached_along_their_curves_and_the_later_of_two_counts(tmp_path):
    keys = [*LEGS, key("センター", 20, (9, 9, 9)), key("センター", 0), key("センター", 20, (10, 0, 0), curve=EASED)]
    motion = read_vmd(write_vmd(tmp_path / "a.vmd", keys))
    x = motion.positions[:, motion.names.index("Center"), 0]
    assert x[20] == pytest.approx(0.8)
    assert x[30] == pytest.approx(0.8)
    assert x[10] == pytest.approx(0.4, abs=0.01)
    assert x[5] < 0.15 * 0.8
    assert x[15] > 0.85 * 0.8


def test_legs_that_only_follow_targets_are_refused_with_the_way_to_bake_them(tmp_path):
    targets = [
        key("左足ＩＫ", 0),
        key("左足ＩＫ", 30, (0, 3, 0)),
        key("上半身", 0),
        key("上半身", 30, turn=turn("y", 20)),
    ]
    with pytest.raises(PosegenError, match="IK"):
        read_vmd(write_vmd(tmp_path / "a.vmd", targets))
    assert len(read_vmd(write_vmd(tmp_path / "b.vmd", [*LEGS, *targets]))) == 31


def test_what_another_library_writes_is_read(tmp_path):
    mmd = pytest.importorskip("mmd_bone_tools")
    motion = mmd.load_vmd(write_vmd(tmp_path / "a.vmd", LEGS))
    assert {bone.name for bone in motion.bones} == {"左足", "右足", "左ひざ", "右ひざ"}
    mmd.save_vmd(motion, tmp_path / "b.vmd")
    first, again = read_vmd(tmp_path / "a.vmd"), read_vmd(tmp_path / "b.vmd")
    np.testing.assert_allclose(again.positions, first.positions)


@pytest.mark.parametrize("keys", [[], [key("あ", 0)]])
def test_motion_of_cameras_and_faces_is_refused(tmp_path, keys):
    with pytest.raises(PosegenError, match="camera"):
        read_vmd(write_vmd(tmp_path / "a.vmd", keys))


def test_damage_is_named(tmp_path):
    content = write_vmd(tmp_path / "a.vmd", LEGS).read_bytes()
    for length in (40, len(content) - 100):
        (tmp_path / "b.vmd").write_bytes(content[:length])
        with pytest.raises(PosegenError, match="cut off"):
            read_vmd(tmp_path / "b.vmd")
    with pytest.raises(PosegenError, match="damaged"):
        read_vmd(write_vmd(tmp_path / "c.vmd", [*LEGS, key("首", 0, (np.nan, 0, 0))]))
