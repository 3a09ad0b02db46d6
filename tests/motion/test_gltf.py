"""glTF and VRM: a waving skeleton written by hand and by pygltflib, sampled as the standard says."""

import base64
import json
import struct

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from posegen.errors import PosegenError
from posegen.motion.gltf import read_gltf
from posegen.motion.joint_names import keypoint_sources
from posegen.motion.motion_files import read_motion

BONES = {  # name: (parent, offset from it in metres), facing +z
    "Armature": (None, (0, 0, 0)),
    "mixamorig:Hips": ("Armature", (0, 95, 0)),
    "mixamorig:Spine": ("mixamorig:Hips", (0, 25, 0)),
    "mixamorig:Head": ("mixamorig:Spine", (0, 35, 2)),
}
for _side, _sign in (("Left", 1), ("Right", -1)):
    BONES |= {
        f"mixamorig:{_side}Arm": ("mixamorig:Spine", (18 * _sign, 25, 0)),
        f"mixamorig:{_side}ForeArm": (f"mixamorig:{_side}Arm", (28 * _sign, 0, 0)),
        f"mixamorig:{_side}Hand": (f"mixamorig:{_side}ForeArm", (25 * _sign, 0, 0)),
        f"mixamorig:{_side}UpLeg": ("mixamorig:Hips", (9 * _sign, -4, 0)),
        f"mixamorig:{_side}Leg": (f"mixamorig:{_side}UpLeg", (0, -42, 1)),
        f"mixamorig:{_side}Foot": (f"mixamorig:{_side}Leg", (0, -41, -1)),
        f"mixamorig:{_side}ToeBase": (f"mixamorig:{_side}Foot", (0, -7, 13)),
    }
NAMES = list(BONES)
TIMES = np.arange(13, dtype=np.float32) / 24
TURN = Rotation.from_rotvec(np.linspace(0, 80, 13)[:, None] * [0, 0, 1], degrees=True)
"""The left arm is lifted to the side."""
MOVE = np.stack([5 * TIMES, 95 + 3 * np.sin(6 * TIMES), 2 * TIMES], axis=1).astype(np.float32)
TILT = [0.0, np.sin(0.1), 0.0, np.cos(0.1)]
"""Rest rotation of the spine."""


def content(kind="LINEAR", rotations=None, times=TIMES, extensions=None, names=NAMES):
    """A glTF object, and its data; the armature is in centimetres."""
    rotations = TURN.as_quat().astype(np.float32) if rotations is None else rotations
    nodes = []
    for number, name in enumerate(NAMES):
        children = [index for index, child in enumerate(NAMES) if BONES[child][0] == name]
        node = {"name": names[number], "translation": list(BONES[name][1])} | (
            {"children": children} if children else {}
        )
        if number == 0:
            node["scale"] = [0.01] * 3
        if name == "mixamorig:Spine":
            node["rotation"] = TILT
        nodes.append(node)
    arrays = [times.astype("<f4"), rotations, MOVE[: len(times)]]
    data, views, accessors = b"", [], []
    for array, kind_of in zip(arrays, ("SCALAR", "VEC4", "VEC3"), strict=True):
        views.append({"buffer": 0, "byteOffset": len(data), "byteLength": array.nbytes})
        code = {"f": 5126, "i": 5122}[array.dtype.kind]
        accessors.append({"bufferView": len(views) - 1, "componentType": code, "count": len(array), "type": kind_of,
                          "normalized": code == 5122})  # fmt: skip
        data += array.tobytes()
    arm, hips = NAMES.index("mixamorig:LeftArm"), NAMES.index("mixamorig:Hips")
    animation = {
        "samplers": [{"input": 0, "output": 1, "interpolation": kind}, {"input": 0, "output": 2}],
        "channels": [{"sampler": 0, "target": {"node": arm, "path": "rotation"}},
                     {"sampler": 1, "target": {"node": hips, "path": "translation"}}],
    }  # fmt: skip
    if kind == "CUBICSPLINE":
        animation["channels"].pop()
    found = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": nodes,
             "animations": [animation], "bufferViews": views, "accessors": accessors,
             "buffers": [{"byteLength": len(data)}]}  # fmt: skip
    return found | ({"extensions": extensions} if extensions else {}), data


def write_glb(path, found, data):
    text = json.dumps(found).encode()
    text += b" " * (-len(text) % 4)
    data += b"\0" * (-len(data) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(data), 0x004E4942) + data
    path.write_bytes(b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks)


def wanted_hand(turn=TURN, move=MOVE):
    """The left hand in metres, by hand."""
    spine = Rotation.from_quat(TILT)
    arm = spine * turn
    place = move + np.array(BONES["mixamorig:Spine"][1]) + spine.apply(BONES["mixamorig:LeftArm"][1])
    return (place + arm.apply([53, 0, 0])) * 0.01


def test_a_binary_file_is_sampled_at_the_rate_of_its_keys(tmp_path):
    write_glb(tmp_path / "a.glb", *content())
    motion = read_motion(tmp_path / "a.glb")
    assert (motion.fps, motion.up, motion.metres, len(motion)) == (24, "+y", 1.0, 13)
    sources = keypoint_sources(motion.names)
    np.testing.assert_allclose(motion.positions[:, sources["left_wrist"]], wanted_hand(), atol=1e-5)
    assert {"nose", "left_heel", "right_big_toe"} <= motion.derived


def test_data_may_be_in_the_text_or_in_a_file_beside_it_and_nowhere_else(tmp_path):
    found, data = content()
    address = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
    (tmp_path / "beside it.bin").write_bytes(data)
    for uri in (address, "beside%20it.bin"):
        found["buffers"][0]["uri"] = uri
        (tmp_path / "a.gltf").write_text(json.dumps(found))
        motion = read_motion(tmp_path / "a.gltf")
        wrist = motion.positions[:, keypoint_sources(motion.names)["left_wrist"]]
        np.testing.assert_allclose(wrist, wanted_hand(), atol=1e-5)
    for uri in ("../a.bin", "/etc/hostname", "http://a.b/c.bin", "no.bin"):
        found["buffers"][0]["uri"] = uri
        (tmp_path / "a.gltf").write_text(json.dumps(found))
        with pytest.raises(PosegenError, match=r"\.bin|same folder"):
            read_gltf(tmp_path / "a.gltf")


@pytest.mark.parametrize("kind", ["LINEAR", "STEP", "CUBICSPLINE"])
def test_few_keys_are_sampled_between_as_they_say(tmp_path, kind):
    keys = np.array([0, 1.5], np.float32)
    ends = Rotation.from_rotvec([[0, 0, 0], [0, 0, 80]], degrees=True)
    values = ends.as_quat().astype(np.float32)
    if kind == "CUBICSPLINE":  # without speed at the keys
        values = np.stack([0 * values, values, 0 * values], axis=1).reshape(-1, 4)
    write_glb(tmp_path / "a.glb", *content(kind, values, keys))
    motion = read_gltf(tmp_path / "a.glb")
    assert (motion.fps, len(motion)) == (30, 46)
    assert motion.notes
    turned = Slerp(keys, ends)(np.arange(46) / 30)
    if kind == "STEP":
        turned = Rotation.concatenate([ends[0]] * 45 + [ends[1]])
    if kind == "CUBICSPLINE":
        share = np.arange(46)[:, None] / 45
        eased = 3 * share**2 - 2 * share**3
        turned = Rotation.from_quat(ends.as_quat()[0] + eased * np.diff(ends.as_quat(), axis=0))
    move = np.array(BONES["mixamorig:Hips"][1]) if kind == "CUBICSPLINE" else None
    if move is None:
        share = np.arange(46)[:, None] / 45
        move = MOVE[0] + share * (MOVE[1] - MOVE[0])
    wrist = motion.positions[:, keypoint_sources(motion.names)["left_wrist"]]
    np.testing.assert_allclose(wrist, wanted_hand(turned, move), atol=1e-5)


def test_small_numbers_stand_for_minus_one_to_one(tmp_path):
    write_glb(tmp_path / "a.glb", *content(rotations=np.round(TURN.as_quat() * 32767).astype("<i2")))
    motion = read_gltf(tmp_path / "a.glb")
    wrist = motion.positions[:, keypoint_sources(motion.names)["left_wrist"]]
    np.testing.assert_allclose(wrist, wanted_hand(), atol=1e-3)


@pytest.mark.parametrize("version", ["VRM", "VRMC_vrm", "VRMC_vrm_animation"])
def test_bones_have_the_names_that_vrm_gives_them(tmp_path, version):
    """Whatever the nodes are called, even if their names say the other side."""
    words = {"Arm": "UpperArm", "ForeArm": "LowerArm", "Hand": "Hand", "UpLeg": "UpperLeg", "Leg": "LowerLeg",
             "Foot": "Foot", "ToeBase": "Toes"}  # fmt: skip
    bones = {f"{side.lower()}{word}": NAMES.index(f"mixamorig:{side}{bone}") for side in ("Left", "Right")
             for bone, word in words.items()} | {"hips": 1, "spine": 2, "head": 3}  # fmt: skip
    human = ([{"bone": bone, "node": node} for bone, node in bones.items()] if version == "VRM" else
             {bone: {"node": node} for bone, node in bones.items()})  # fmt: skip
    swapped = [name.replace("Left", "x").replace("Right", "Left").replace("x", "Right") for name in NAMES]
    found, data = content(extensions={version: {"humanoid": {"humanBones": human}}}, names=swapped)
    write_glb(tmp_path / "a.vrm", found, data)
    motion = read_motion(tmp_path / "a.vrm")
    wrist = motion.positions[:, keypoint_sources(motion.names)["left_wrist"]]
    np.testing.assert_allclose(wrist, wanted_hand(), atol=1e-5)


def test_what_another_library_writes_is_read(tmp_path):
    pygltflib = pytest.importorskip("pygltflib")
    found, data = content()
    (tmp_path / "a.gltf").write_text(json.dumps(found))
    file = pygltflib.GLTF2().load(str(tmp_path / "a.gltf"))
    file.set_binary_blob(data)
    file.save_binary(str(tmp_path / "a.glb"))
    motion = read_gltf(tmp_path / "a.glb")
    wrist = motion.positions[:, keypoint_sources(motion.names)["left_wrist"]]
    np.testing.assert_allclose(wrist, wanted_hand(), atol=1e-5)


def damaged(change):
    found, data = content()
    change(found)
    return found, data


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda found: found.pop("animations"), "no animation"),
        (lambda found: found["asset"].update(version="1.0"), "glTF 1.0"),
        (lambda found: found["accessors"][1].update(count=99), "shorter"),
        (lambda found: found["accessors"][0].update(count=12), "keys"),
        (lambda found: found["nodes"][5].update(children=[1]), "two parents"),
        (lambda found: found["accessors"][1].pop("bufferView"), "sparse"),
        (lambda found: found["animations"][0]["channels"].clear(), "moves no node"),
        (lambda found: found["bufferViews"][0].update(buffer=7), "damaged"),
    ],
)
def test_damage_is_named(tmp_path, change, named):
    write_glb(tmp_path / "a.glb", *damaged(change))
    with pytest.raises(PosegenError, match=named):
        read_gltf(tmp_path / "a.glb")
