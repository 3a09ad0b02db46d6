"""C3D and TRC: the walker as joint centres and as markers, written by other libraries and by hand."""

import struct

import numpy as np
import pytest
from walker import HEIGHT, walker

from posegen.errors import PosegenError
from posegen.motion.c3d import read_c3d
from posegen.motion.joint_names import keypoint_sources
from posegen.motion.motion_data import Asked
from posegen.motion.motion_files import read_motion
from posegen.motion.trc import read_trc

LETTERS = (("left", "L"), ("right", "R"))
SHORT = {"shoulder": "SJC", "elbow": "EJC", "wrist": "WJC", "hip": "HJC", "knee": "KJC", "ankle": "AJC"}
SHORT |= {"heel": "HEE", "toe": "TOE"}
CENTRES = {f"{letter}{short}": f"{side}_{joint}" for side, letter in LETTERS for joint, short in SHORT.items()}


def joint_centres(people, scale=1000.0):
    return list(CENTRES), np.stack([people[name] * scale for name in CENTRES.values()], axis=1)


def parameter(name, group, kind, sides, raw, order="<"):
    body = struct.pack("bB", kind, len(sides)) + bytes(sides) + raw + b"\0"
    return struct.pack("bb", len(name), group) + name.encode() + struct.pack(f"{order}h", len(body) + 2) + body


def c3d_file(path, names, points, rate=100.0, order="<", scale=-1.0, residuals=None, units="mm", first=1):
    """Write C3D as its manual describes it. points: (frames, points, 3), NaN for missing ones."""
    frames, count = points.shape[:2]
    processor = {"<": 84, ">": 86}[order]
    length = max(map(len, names))
    labels = "".join(name.ljust(length) for name in names).encode()
    groups = [(b"POINT", 1), (b"TRIAL", 2)]
    section = b"".join(struct.pack("bb", len(name), -number) + name + struct.pack(f"{order}h", 3) + b"\0"
                       for name, number in groups)  # fmt: skip
    section += parameter("LABELS", 1, -1, (length, count), labels, order)
    section += parameter("UNITS", 1, -1, (len(units),), units.encode(), order)
    section += parameter("RATE", 1, 4, (), struct.pack(f"{order}f", rate), order)
    last = first + frames - 1
    for name, value in (("ACTUAL_START_FIELD", first), ("ACTUAL_END_FIELD", last)):
        section += parameter(name, 2, 2, (2,), struct.pack(f"{order}HH", value % 65536, value // 65536), order)
    section = b"\0\0" + struct.pack("BB", 3, processor) + section + b"\0\0"
    blocks = -(-len(section) // 512)
    head = struct.pack(f"{order}HHHHH", count, 0, min(first, 65535), min(last, 65535), 0)
    head += struct.pack(f"{order}fHHf", scale, 2 + blocks, 0, rate)
    head = bytes([2, 0x50]) + head
    missing = ~np.isfinite(points).all(axis=2)
    rows = np.zeros((frames, count, 4))
    rows[..., :3] = np.where(missing[..., None], 0, points)
    rows[..., 3] = np.where(missing, -1, 0) if residuals is None else residuals
    if scale > 0:
        rows[..., :3] /= scale
    data = rows.astype(f"{order}f4" if scale < 0 else f"{order}i2").tobytes()
    path.write_bytes(head.ljust(512, b"\0") + section.ljust(512 * blocks, b"\0") + data)


@pytest.mark.parametrize(("order", "scale"), [("<", -1.0), (">", -1.0), ("<", 0.1), (">", 0.1)])
def test_c3d_is_read_in_each_of_its_numbers(tmp_path, order, scale):
    people = walker(frames=30, fps=100)
    names, points = joint_centres(people)
    points[4:9, 3] = np.nan
    c3d_file(tmp_path / "a.c3d", names, points, order=order, scale=scale)
    motion = read_motion(tmp_path / "a.c3d")
    assert (motion.fps, motion.metres, len(motion)) == (100, 0.001, 30)
    np.testing.assert_allclose(motion.positions, points, atol=0.11 if scale > 0 else 1e-3)
    assert keypoint_sources(motion.names)["left_knee"] == names.index("LKJC")


def test_recordings_longer_than_the_counter_are_read_whole(tmp_path):
    points = np.random.default_rng(0).normal(size=(70_001, 4, 3)) * 500
    c3d_file(tmp_path / "a.c3d", ["LSJC", "RSJC", "LHJC", "RHJC"], points)
    motion = read_c3d(tmp_path / "a.c3d")
    assert len(motion) == 70_001
    np.testing.assert_allclose(motion.positions[-1], points[-1], rtol=1e-6)
    assert motion.notes


@pytest.mark.filterwarnings("ignore:No analog data")
def test_other_libraries_write_what_is_read(tmp_path):
    ezc3d, c3d = pytest.importorskip("ezc3d"), pytest.importorskip("c3d")
    people = walker(frames=12, fps=100)
    names, points = joint_centres(people)
    points[3:6, 2] = np.nan
    file = ezc3d.c3d()
    file["parameters"]["POINT"]["RATE"]["value"] = [200.0]
    file["parameters"]["POINT"]["LABELS"]["value"] = names
    file["parameters"]["POINT"]["UNITS"]["value"] = ["mm"]
    file["data"]["points"] = np.concatenate([points, np.ones((12, len(names), 1))], axis=2).transpose(2, 1, 0)
    file.write(str(tmp_path / "a.c3d"))
    first = read_c3d(tmp_path / "a.c3d")
    assert (first.fps, first.names[0]) == (200, names[0])
    np.testing.assert_allclose(first.positions, points, atol=1e-3)

    writer = c3d.Writer(point_rate=100.0)
    writer.set_point_labels(names)
    rows = np.concatenate([np.nan_to_num(points), np.zeros((12, len(names), 2))], axis=2)
    rows[..., 3] = np.where(np.isfinite(points[..., 0]), 0, -1)
    writer.add_frames([(row, np.empty((0, 0))) for row in rows])
    with (tmp_path / "b.c3d").open("wb") as stream:
        writer.write(stream)
    second = read_c3d(tmp_path / "b.c3d")
    assert second.fps == 100
    np.testing.assert_allclose(second.positions, points, atol=1e-2)


def test_points_of_two_people_are_told_by_their_prefix(tmp_path):
    names, points = joint_centres(walker(frames=8))
    both = [*(f"Anna:{name}" for name in names), *(f"Ben:{name}" for name in names), "*1"]
    points = np.concatenate([points, points + 1000, points[:, :1]], axis=1)
    points[:5, : len(names)] = np.nan
    c3d_file(tmp_path / "a.c3d", both, points)
    motion = read_c3d(tmp_path / "a.c3d")
    assert (motion.people, motion.names[0]) == (2, "Ben:LSJC")
    assert read_c3d(tmp_path / "a.c3d", Asked(person=1)).names[0] == "Anna:LSJC"


def test_negative_residuals_everywhere_do_not_make_everything_missing(tmp_path):
    names, points = joint_centres(walker(frames=8))
    c3d_file(tmp_path / "a.c3d", names, points, residuals=-1)
    motion = read_c3d(tmp_path / "a.c3d")
    assert motion.known.all()
    assert motion.notes


def test_plug_in_gaits_markers_give_joints(tmp_path):
    people = walker(frames=10)
    hips = people["hips"] + [0, 0, 0.07]
    left = people["left_hip"] - people["hips"]
    forward = np.cross(left / 0.09, [0, 0, 1.0])
    markers = {"LASI": hips + 0.13 / 0.09 * left + 0.08 * forward, "RASI": hips - 0.13 / 0.09 * left + 0.08 * forward,
               "LPSI": hips + 0.4 * left - 0.1 * forward, "RPSI": hips - 0.4 * left - 0.1 * forward}  # fmt: skip
    for side, letter in LETTERS:
        out = (people[f"{side}_hip"] - people["hips"]) / 0.09
        for short, joint in (("SHO", "shoulder"), ("ELB", "elbow"), ("KNE", "knee"), ("ANK", "ankle"), ("TOE", "toe")):
            markers[f"{letter}{short}"] = people[f"{side}_{joint}"] + 0.03 * out
        markers |= {f"{letter}WRA": people[f"{side}_wrist"] + 0.03 * forward,
                    f"{letter}WRB": people[f"{side}_wrist"] - 0.03 * forward}  # fmt: skip
        markers |= {f"{letter}FHD": people["head"] + 0.09 * forward + 0.07 * out + [0, 0, 0.1],
                    f"{letter}BHD": people["head"] - 0.09 * forward + 0.07 * out + [0, 0, 0.1]}  # fmt: skip
    c3d_file(tmp_path / "a.c3d", list(markers), np.stack(list(markers.values()), axis=1) * 1000)
    motion = read_c3d(tmp_path / "a.c3d")
    sources = keypoint_sources(motion.names)
    for name in ("left_wrist", "right_wrist", "left_hip", "right_hip", "nose", "left_ear"):
        away = np.linalg.norm(motion.positions[:, sources[name]] / 1000 - people[name], axis=1)
        assert away.max() < 0.05, name
    assert "left_hip" in motion.derived


@pytest.mark.parametrize("cut", [100, 600, 1100])
def test_damaged_c3d_is_refused(tmp_path, cut):
    names, points = joint_centres(walker(frames=8))
    c3d_file(tmp_path / "a.c3d", names, points)
    (tmp_path / "b.c3d").write_bytes((tmp_path / "a.c3d").read_bytes()[:cut])
    with pytest.raises(PosegenError, match=r"b\.c3d"):
        read_c3d(tmp_path / "b.c3d")


def trc_file(path, names, points, rate=60.0, units="mm", times=None, missing=""):
    frames = len(points)
    times = np.arange(frames) / rate if times is None else times
    lines = [f"PathFileType\t4\t(X/Y/Z)\t{path.name}",
             "\t".join(("DataRate", "CameraRate", "NumFrames", "NumMarkers", "Units", "OrigDataRate")),
             f"{rate}\t{rate}\t{frames}\t{len(names)}\t{units}\t{rate}",
             "Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t",
             "\t\t" + "\t".join(f"{axis}{number}" for number in range(len(names)) for axis in "XYZ"), ""]  # fmt: skip
    for number in range(frames):
        values = ["" if np.isnan(value) else f"{value:.5f}" for value in points[number].ravel()]
        values = [value or missing for value in values]
        lines.append(f"{number + 1}\t{times[number]:.6f}\t" + "\t".join(values))
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("missing", ["", "nan"])
def test_trc_is_read_with_its_empty_fields(tmp_path, missing):
    names, points = joint_centres(walker(frames=20, fps=60))
    points[5:8, 2] = np.nan
    points[9, -1] = np.nan  # the end of a line
    trc_file(tmp_path / "a.trc", names, points, missing=missing)
    motion = read_motion(tmp_path / "a.trc")
    assert (motion.fps, motion.metres, len(motion)) == (60, 0.001, 20)
    np.testing.assert_allclose(motion.positions, points, atol=0.001 * HEIGHT)


def test_the_times_of_trc_count_more_than_the_rate_that_it_states(tmp_path):
    names, points = joint_centres(walker(frames=20, fps=60))
    trc_file(tmp_path / "a.trc", names, points, times=np.arange(20) / 50)
    motion = read_trc(tmp_path / "a.trc")
    assert motion.fps == 50
    assert motion.notes


def test_damaged_trc_is_refused_with_the_line(tmp_path):
    names, points = joint_centres(walker(frames=3))
    trc_file(tmp_path / "a.trc", names, points)
    text = (tmp_path / "a.trc").read_text()
    for damaged, named in ((text.replace("\n2\t", "\n2\tx"), "line 8"), ("\n".join(text.split("\n")[:4]), "no motion")):
        (tmp_path / "b.trc").write_text(damaged)
        with pytest.raises(PosegenError, match=named):
            read_trc(tmp_path / "b.trc")
