"""DeepLabCut, SLEAP and FreeMoCap: the walker as their programs write it, by their libraries where there are any."""

import csv
import json
from fractions import Fraction

import numpy as np
import pytest
from walker import walker

from posegen.conditions.estimators.layouts import MEDIAPIPE_NAMES
from posegen.errors import PosegenError
from posegen.motion.deeplabcut import read_deeplabcut
from posegen.motion.joint_names import keypoint_sources
from posegen.motion.motion_data import Asked
from posegen.motion.motion_files import read_motion
from posegen.motion.sleap import read_sleap

NAMES = ("nose", "left_shoulder", "right_shoulder", "left_elbow", "left_hip", "right_hip", "left_knee", "right_ankle")
SORTED = sorted(NAMES)
"""An order of points that is no order of a body."""


def pixels(people, names=SORTED):
    places = np.stack([people[name] for name in names], axis=1)
    return np.stack([600 + 300 * places[..., 0], 650 - 300 * places[..., 2]], axis=2)


def dlc_rows(points, individuals=("",)):
    """Header and rows of DeepLabCut; points: (individuals, frames, points, 2), NaN for missing ones."""
    columns = [(one, name, coord) for one in individuals for name in SORTED for coord in ("x", "y", "likelihood")]
    levels = [("scorer", *["DLC_model"] * len(columns))]
    if individuals != ("",):
        levels.append(("individuals", *[column[0] for column in columns]))
    levels += [("bodyparts", *[column[1] for column in columns]), ("coords", *[column[2] for column in columns])]
    sure = np.where(np.isfinite(points[..., :1]), 0.9, np.nan)
    values = np.concatenate([points, sure], axis=3).transpose(1, 0, 2, 3).reshape(points.shape[1], -1)
    return levels, values


def write_csv(path, levels, values, numbers=None):
    with path.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerows(levels)
        for number, row in enumerate(values):
            index = number if numbers is None else numbers[number]
            rows.writerow([index, *("" if np.isnan(value) else value for value in row)])


def test_deeplabcuts_csv_is_read_by_names_with_its_empty_fields(tmp_path):
    points = pixels(walker(frames=12))[None]
    points[0, 3:5, 2] = np.nan
    points[0, 7, -1] = np.nan
    write_csv(tmp_path / "a.csv", *dlc_rows(points))
    motion = read_motion(tmp_path / "a.csv", Asked(fps=Fraction(50)))
    assert (motion.fps, motion.in_space, len(motion)) == (50, False, 12)
    np.testing.assert_allclose(motion.positions, points[0], rtol=1e-6)
    assert motion.scores[0].min() == pytest.approx(0.9)
    assert keypoint_sources(motion.names)["left_hip"] == SORTED.index("left_hip")


def test_of_several_individuals_the_longest_known_is_taken_or_the_one_asked_for(tmp_path):
    points = np.stack([pixels(walker(frames=10)), pixels(walker(frames=10)) + 100])
    points[0, 2:8] = np.nan
    write_csv(tmp_path / "a.csv", *dlc_rows(points, ("a", "b")), numbers=[0, 1, 2, 3, 4, 5, 6, 9, 10, 11])
    motion = read_deeplabcut(tmp_path / "a.csv")
    assert (motion.people, len(motion)) == (2, 12)
    assert not motion.known[7:9].any()
    np.testing.assert_allclose(motion.positions[9], points[1, 7], rtol=1e-6)
    np.testing.assert_allclose(
        read_deeplabcut(tmp_path / "a.csv", Asked(person=1)).positions[0], points[0, 0], rtol=1e-6
    )


def test_deeplabcuts_hdf5_gives_what_its_csv_gives(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("tables")
    pytest.importorskip("h5py")
    points = np.stack([pixels(walker(frames=10)), pixels(walker(frames=10)) + 100])
    levels, values = dlc_rows(points, ("a", "b"))
    columns = pandas.MultiIndex.from_arrays([level[1:] for level in levels], names=[level[0] for level in levels])
    pandas.DataFrame(values, columns=columns).to_hdf(tmp_path / "a.h5", key="df_with_missing", format="table", mode="w")
    write_csv(tmp_path / "a.csv", levels, values)
    first, second = read_motion(tmp_path / "a.h5"), read_motion(tmp_path / "a.csv")
    assert first.names == second.names
    np.testing.assert_allclose(first.positions, second.positions)
    np.testing.assert_allclose(first.scores, second.scores)


def test_names_of_columns_that_would_run_something_are_refused(tmp_path):
    """A pickle that names a function, here a harmless one."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("df_with_missing")
        group["table"] = np.zeros(3, [("index", "i8"), ("values_block_0", "f8", (6,))])
        group.attrs["non_index_axes"] = np.bytes_(b"cbuiltins\nlen\n(Vabc\ntR.")
    with pytest.raises(PosegenError, match="plain data"):
        read_motion(tmp_path / "a.h5")


@pytest.mark.parametrize("text", ["scorer,a,a\nbodyparts,b,b\n0,1,2\n", "scorer,a\nbodyparts,b\ncoords,x\n0,1,2\n"])
def test_other_tables_are_refused(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(PosegenError, match=r"a\.csv"):
        read_motion(tmp_path / "a.csv")


def slp_labels(sio, tracked):
    skeleton = sio.Skeleton(nodes=list(SORTED))
    video = sio.Video(filename="a.mp4", open_backend=False)
    tracks = [sio.Track("a"), sio.Track("b")] if tracked else [None, None]
    points = pixels(walker(frames=10))
    points[4, 2] = np.nan
    frames = []
    for index in (0, 1, 2, 4, 7):
        both = []
        for number, track in enumerate(tracks):
            place, sure = points[index] + 100 * number, np.full(len(SORTED), 0.8)
            both.append(sio.PredictedInstance.from_numpy(place, skeleton, sure, score=0.9 - number / 9, track=track))
        frames.append(sio.LabeledFrame(video=video, frame_idx=index, instances=both[:: -1 if index == 2 else 1]))
    frames[0].instances.pop(0)
    return sio.Labels(frames), points


def write_slp(path, points, tracked):
    """Write what `slp_labels` holds as SLEAP lays it out, which needs no library of it."""
    h5py = pytest.importorskip("h5py")
    nodes = {"skeletons": [{"nodes": [{"id": number} for number in range(len(SORTED))]}],
             "nodes": [{"name": name} for name in SORTED]}  # fmt: skip
    frame_kind = [("frame_id", "u8"), ("video", "u4"), ("frame_idx", "u8"), ("instance_id_start", "u8"),
                  ("instance_id_end", "u8")]  # fmt: skip
    kind = [("instance_id", "i8"), ("instance_type", "u1"), ("frame_id", "u8"), ("skeleton", "u4"), ("track", "i4"),
            ("from_predicted", "i8"), ("score", "f4"), ("point_id_start", "u8"), ("point_id_end", "u8")]  # fmt: skip
    frames, instances, rows = [], [], []
    for number, index in enumerate((0, 1, 2, 4, 7)):
        first = len(instances)
        for person in (1, 0)[:: 1 if index == 2 else -1]:
            if (index, person) == (0, 0):
                continue
            begin = len(rows)
            rows += [(x, y, not np.isnan(x), True, 0.8) for x, y in points[index] + 100 * person]
            track = person if tracked else -1
            instances.append((len(instances), 1, number, 0, track, -1, 0.9 - person / 9, begin, len(rows)))
        frames.append((number, 0, index, first, len(instances)))
    with h5py.File(path, "w") as file:
        file.create_group("metadata").attrs.update({"json": np.bytes_(json.dumps(nodes)), "format_id": 1.2})
        file["frames"], file["instances"] = np.array(frames, frame_kind), np.array(instances, kind)
        point = [("x", "f8"), ("y", "f8"), ("visible", "?"), ("complete", "?")]
        file["pred_points"], file["points"] = np.array(rows, [*point, ("score", "f8")]), np.zeros(0, point)


@pytest.mark.parametrize("tracked", [True, False])
def test_a_project_of_sleap_is_read_by_track_or_score(tmp_path, tracked):
    points = pixels(walker(frames=10))
    write_slp(tmp_path / "a.slp", points, tracked)
    motion = read_motion(tmp_path / "a.slp")
    assert (motion.people, motion.names, len(motion)) == (2, tuple(SORTED), 8)
    np.testing.assert_allclose(motion.positions[2], points[2] + (100 if tracked else 0), rtol=1e-6)
    assert not motion.known[3].any()


@pytest.mark.parametrize("tracked", [True, False])
def test_what_sleaps_library_writes_is_read_by_track_or_score(tmp_path, tracked):
    pytest.importorskip("h5py")
    sio = pytest.importorskip("sleap_io")
    labels, points = slp_labels(sio, tracked)
    sio.save_file(labels, str(tmp_path / "a.slp"))
    motion = read_sleap(tmp_path / "a.slp")
    assert (motion.people, motion.names, len(motion)) == (2, tuple(SORTED), 8)
    shifted = 100 if tracked else 0  # by track, the second one is known longer
    np.testing.assert_allclose(motion.positions[2], points[2] + shifted, rtol=1e-6)
    np.testing.assert_allclose(motion.positions[4], points[4] + shifted, rtol=1e-6)
    assert not motion.known[3].any()
    assert motion.scores[2].max() == pytest.approx(0.8)


def test_sleaps_analysis_file_is_read_in_both_orders(tmp_path):
    h5py = pytest.importorskip("h5py")
    points = pixels(walker(frames=10))
    tracks = np.stack([points, points + 100])  # tracks, frames, nodes, 2
    tracks[0, :4] = np.nan
    for name, order in (("a", (0, 3, 2, 1)), ("b", (1, 2, 3, 0))):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["tracks"] = tracks.transpose(order)
            file["node_names"] = np.array([each.encode() for each in SORTED])
            file["track_names"] = np.array([b"a", b"b"])
        motion = read_motion(tmp_path / f"{name}.h5")
        assert motion.people == 2
        np.testing.assert_allclose(motion.positions, points + 100, rtol=1e-6)


def recording(people):
    """Body and hands in millimetres; points that the walker has not are put at the nose."""

    def rows(names):
        return np.stack([people.get(name, people["nose"]) for name in names], axis=1) * 1000

    body = rows([name.replace("foot_index", "big_toe") for name in MEDIAPIPE_NAMES])
    return body, *(rows([f"{side}_hand_{joint}" for joint in range(21)]) for side in ("right", "left"))


def test_freemocaps_arrays_are_known_by_the_names_of_their_files(tmp_path):
    people = walker(frames=15)
    body, right, left = recording(people)
    folder = tmp_path / "recording" / "output_data"
    folder.mkdir(parents=True)
    np.save(folder / "mediapipe_body_3d_xyz.npy", body)
    np.save(folder / "mediapipe_right_hand_3d_xyz.npy", right)
    np.save(folder / "mediapipe_left_hand_3d_xyz.npy", left)
    for first in (body, left):  # the order of the hands in the file of all points does not matter
        hands = (right, left) if first is body else (left, right)
        np.save(tmp_path / "mediapipe_skeleton_3d.npy", np.concatenate([body, *hands, np.zeros((15, 478, 3))], axis=1))
        for path in (folder.parent, folder / "mediapipe_body_3d_xyz.npy", tmp_path / "mediapipe_skeleton_3d.npy"):
            motion = read_motion(path, Asked(fps=Fraction(30)))
            sources = keypoint_sources(motion.names)
            for name in ("left_hand_8", "right_hand_20", "right_knee"):
                np.testing.assert_allclose(motion.positions[:, sources[name]], people[name] * 1000, rtol=1e-5)


def test_tables_with_named_columns_are_read_with_their_times(tmp_path):
    people = walker(frames=15)
    with (tmp_path / "a.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["timestamp", *(f"body_{name}_{axis}" for name in SORTED for axis in "xyz")])
        for number in range(15):
            values = [value for name in SORTED for value in people[name][number]]
            rows.writerow([number / 20, *values[:-1], "" if number == 3 else values[-1]])
    motion = read_motion(tmp_path / "a.csv")
    assert motion.fps == 20
    np.testing.assert_allclose(motion.positions[:, 0], people[SORTED[0]], rtol=1e-5)
    assert not motion.known[3, -1]


def test_arrays_without_a_telling_name_or_with_objects_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((5, 33, 3)))
    np.save(tmp_path / "mediapipe_body_3d_xyz.npy", np.zeros((5, 33)))
    np.save(tmp_path / "mediapipe_skeleton_3d.npy", np.array([{"a": 1}], object), allow_pickle=True)
    for name in ("a", "mediapipe_body_3d_xyz", "mediapipe_skeleton_3d"):
        with pytest.raises(PosegenError, match=name):
            read_motion(tmp_path / f"{name}.npy")
    with pytest.raises(PosegenError, match="folder"):
        read_motion(tmp_path / "..")


def test_json_of_other_programs_is_no_motion(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"asset": 1}))
    with pytest.raises(PosegenError, match=r"a\.json"):
        read_motion(tmp_path / "a.json")


def test_frames_that_people_labelled_are_read_in_their_order(tmp_path):
    points = pixels(walker(frames=5))
    bodyparts = [name for name in SORTED for _ in "xy"]
    levels = {"scorer": ["me"] * 16, "bodyparts": bodyparts, "coords": ["x", "y"] * 8}
    lines = [",".join((level, "", "", *words)) for level, words in levels.items()]
    for number, row in enumerate(points):
        values = [f"{value:.3f}" for value in row.ravel()]
        values[4:6] = ["", ""] if number == 2 else values[4:6]
        lines.append(",".join(["labeled-data", "video", f"img{7 * number:04}.png", *values]))
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    motion = read_motion(tmp_path / "a.csv")
    assert len(motion) == 5
    np.testing.assert_allclose(motion.positions[4], points[4], atol=1e-3)
    assert not motion.known[2, 2]
