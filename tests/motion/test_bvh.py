"""BVH: what the file says, against rotations computed by scipy and another library's reader; and what it gets wrong."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from posegen.errors import PosegenError
from posegen.motion.bvh import read_bvh
from posegen.motion.motion_data import Asked

SKELETON = """HIERARCHY
ROOT mixamorig:Hips
{
  OFFSET 1 90 2
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Left Up Leg { OFFSET 10 -5 0
    CHANNELS 3 Yrotation Zrotation Xrotation
    JOINT LeftLeg
    {
      OFFSET 0 -40 1
      CHANNELS 3 Zrotation Xrotation Yrotation
      End Site
      {
        OFFSET 0 -38 0
      }
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.033333
"""
ROWS = [[3, 92, 4, 10, 20, 30, 40, 50, 60, -15, 25, 5], [5, 91, 4.5, 0, 0, 90, 0, 0, 0, 90, 0, 0]]
"""Two frames."""


def written(tmp_path, text=SKELETON, rows=ROWS, name="a.bvh"):
    path = tmp_path / name
    path.write_text(text + "\n".join(" ".join(map(str, row)) for row in rows) + "\n")
    return path


def test_positions_follow_the_channels_in_their_order_and_take_the_place_of_the_roots_offset(tmp_path):
    motion = read_bvh(written(tmp_path))
    assert motion.names[:4] == ("mixamorig:Hips", "Left Up Leg", "LeftLeg", "LeftLeg End")
    for frame, row in enumerate(ROWS):
        root = Rotation.from_euler("ZXY", row[3:6], degrees=True)
        hip = root * Rotation.from_euler("YZX", row[6:9], degrees=True)
        knee = hip * Rotation.from_euler("ZXY", row[9:12], degrees=True)
        places = [np.array(row[:3], float)]
        for rotation, offset in ((root, [10, -5, 0]), (hip, [0, -40, 1]), (knee, [0, -38, 0])):
            places.append(places[-1] + rotation.apply(offset))
        np.testing.assert_allclose(motion.positions[frame, :4], places, atol=1e-4)


def test_a_cut_off_frame_time_is_the_rate_that_was_meant(tmp_path):
    motion = read_bvh(written(tmp_path))
    assert motion.fps == 30
    for text, fps in (("0.008333", 120), ("0.0083333", 120), ("0.04", 25), ("0.041708", 24000 / 1001), ("1e-2", 100)):
        assert float(read_bvh(written(tmp_path, SKELETON.replace("0.033333", text))).fps) == pytest.approx(
            fps, rel=1e-6
        )


def test_the_rows_count_not_the_number_that_is_declared(tmp_path):
    motion = read_bvh(written(tmp_path, rows=[*ROWS, ROWS[0], ROWS[1][:5]]))
    assert len(motion) == 3
    assert len(motion.notes) >= 2
    assert any("2" in note and "3" in note for note in motion.notes)


def test_differences_below_the_root_are_added_to_the_offset_and_positions_are_not(tmp_path):
    text = SKELETON.replace("CHANNELS 3 Yrotation Zrotation Xrotation", "CHANNELS 3 Xposition Yposition Zposition")
    whole = read_bvh(written(tmp_path, text, [[0, 90, 0, 0, 0, 0, 11, -5, 0, 0, 0, 0]] * 2))
    added = read_bvh(written(tmp_path, text, [[0, 90, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]] * 2))
    np.testing.assert_allclose(whole.positions[:, 1], [[11, 85, 0]] * 2)
    np.testing.assert_allclose(added.positions[:, 1], whole.positions[:, 1])


def test_two_skeletons_are_two_people(tmp_path):
    head, _, rest = SKELETON.partition("MOTION")
    text = head + head.removeprefix("HIERARCHY").replace("mixamorig", "second") + "MOTION" + rest
    path = written(tmp_path, text, [[*ROWS[0], *ROWS[1]]] * 2)
    first, second = read_bvh(path), read_bvh(path, Asked(person=2))
    assert (first.people, second.names[0]) == (2, "second:Hips")
    np.testing.assert_allclose(second.positions[0, 0], ROWS[1][:3])
    with pytest.raises(PosegenError, match="2 people"):
        read_bvh(path, Asked(person=3))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("MOTION", "", "MOTION"),
        ("0.033333", "0", "Frame Time"),
        ("0.033333", "nan", "Frame Time"),
        ("OFFSET 10 -5 0", "OFFSET 10 -5", "line 6"),
        ("CHANNELS 3 Yrotation", "CHANNELS 4 Yrotation", "line 7"),
        ("Zrotation Xrotation\n    JOINT", "Zrotation Wrotation\n    JOINT", "Left Up Leg"),
        ("  }\n}\nMOTION", "  }\nMOTION", "incomplete"),
        ("End Site", "Site", "line 12"),
    ],
)
def test_damage_is_named(tmp_path, old, new, named):
    assert old in SKELETON
    with pytest.raises(PosegenError, match=named):
        read_bvh(written(tmp_path, SKELETON.replace(old, new, 1)))


@pytest.mark.parametrize(("value", "named"), [("1,5", "comma"), ("nan", "nan"), ("x", "'x'"), ("1_0", "1_0")])
def test_words_among_the_numbers_are_named_with_their_line(tmp_path, value, named):
    with pytest.raises(PosegenError, match=named) as error:
        read_bvh(written(tmp_path, rows=[ROWS[0], [value, *ROWS[1][1:]]]))
    assert "line 23" in str(error.value)


PLAIN = SKELETON.replace("Left Up Leg { OFFSET", "LeftUpLeg\n  {\n    OFFSET")
"""For readers that take names as one word, and braces on lines of their own."""


def test_another_library_reads_the_same(tmp_path):
    bvhio = pytest.importorskip("bvhio")
    path = written(tmp_path, PLAIN)
    motion, root = read_bvh(path), bvhio.readAsHierarchy(str(path))
    for frame in range(2):
        root.loadPose(frame, True)
        for joint, _, _ in root.layout():
            if joint.Name in motion.names:
                place = motion.positions[frame, motion.names.index(joint.Name)]
                np.testing.assert_allclose(place, np.array(joint.PositionWorld), atol=1e-3)


def test_a_second_library_reads_the_same(tmp_path):
    pybvh = pytest.importorskip("pybvh")
    path = written(tmp_path, PLAIN)
    np.testing.assert_allclose(
        read_bvh(path).positions[:, :4], pybvh.read_bvh_file(str(path)).node_positions(), atol=1e-4
    )


def test_what_another_library_writes_is_read_as_it_was(tmp_path):
    pybvh = pytest.importorskip("pybvh")
    source = pybvh.read_bvh_file(str(written(tmp_path, PLAIN)))
    pybvh.write_bvh_file(source, str(tmp_path / "again.bvh"))
    first, again = read_bvh(tmp_path / "a.bvh"), read_bvh(tmp_path / "again.bvh")
    np.testing.assert_allclose(again.positions[:, :3], first.positions[:, :3], atol=1e-3)
    assert abs(float(again.seconds_per_frame - first.seconds_per_frame)) < 1e-6
