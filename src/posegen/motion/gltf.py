"""Reads animations of skeletons in glTF 2.0 (.glb, .gltf), with the names of bones that VRM and VRMA give.

Own code: the libraries that read glTF (pygltflib, trimesh) leave animations to the caller, and they are all that is
needed here: sampling keys as the standard says, and the product of the nodes' transforms. Which way a VRM model faces
does not matter: its bones' names say where left is.
"""

import base64
import binascii
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from jaxtyping import Float

from posegen.errors import PosegenError
from posegen.media.data_files import MEGABYTE, parse_json, read_bytes
from posegen.motion.joint_names import keypoint_sources
from posegen.motion.motion_data import Asked, Motion, check_amount, simple_rate
from posegen.motion.rigs import CHUNK, Rig, attach_face_and_feet, pose_rig

FORM = "glTF"
_MAX_BYTES = 1024 * MEGABYTE
_MAX_NODES = 20_000
_TYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_SLOWEST, _FASTEST = 10, 240
"""Rates of keys that are taken for the frame rate of the animation; else it is sampled at the usual one."""
_USUAL = 30
_PATHS = {"translation": 3, "rotation": 4, "scale": 3}
_JSON, _BINARY = 0x4E4F534A, 0x004E4942


@dataclass(frozen=True)
class _Curve:
    """Keys of one property of a node."""

    node: int
    path: str
    times: np.ndarray
    values: np.ndarray
    kind: str


def is_gltf(head: bytes) -> bool:
    """Return True if a file that begins with these bytes is glTF."""
    if head.startswith(b"glTF"):
        return True
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text.startswith(b"{") and (b'"asset"' in text or b'"bufferViews"' in text or b'"accessors"' in text)


def read_gltf(path: Path, asked: Asked = Asked()) -> Motion:  # noqa: B008 - it is frozen
    """Read the longest animation of a skeleton. Raises `PosegenError` for files without one."""
    try:
        return _Gltf(path).motion(asked)
    except PosegenError:
        raise
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, struct.error, RecursionError) as error:
        raise PosegenError(f"{path}: is damaged, or not glTF 2.0 ({error!r:.120})") from None


class _Gltf:
    """A file and its buffers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        content = read_bytes(path, "a glTF file", _MAX_BYTES)
        self.binary = b""
        if content.startswith(b"glTF"):
            content = self._split(content)
        self.json: dict[str, Any] = parse_json(content, str(path), "glTF")
        version = str(self.json["asset"]["version"])
        if not version.startswith("2."):
            raise PosegenError(f"{path}: is glTF {version}, not 2.0: save it again with a newer program")
        self.nodes: list[dict[str, Any]] = self.json.get("nodes", [])
        if not 0 < len(self.nodes) <= _MAX_NODES:
            raise PosegenError(f"{path}: has {len(self.nodes)} nodes: no skeleton")
        self.buffers: dict[int, bytes] = {}

    def _split(self, content: bytes) -> bytes:
        """Return the JSON chunk of a .glb file, and keep the binary one."""
        version, length = struct.unpack_from("<II", content, 4)
        if version != 2 or length > len(content):
            raise PosegenError(f"{self.path}: is cut off, or not glTF 2.0")
        place, found = 12, b""
        while place + 8 <= length:
            size, kind = struct.unpack_from("<II", content, place)
            chunk = content[place + 8 : place + 8 + size]
            if kind == _JSON:
                found = chunk
            elif kind == _BINARY and not self.binary:
                self.binary = chunk
            place += 8 + size
        return found

    def _buffer(self, number: int) -> bytes:
        if number not in self.buffers:
            self.buffers[number] = self._load(self.json["buffers"][number].get("uri"))
        return self.buffers[number]

    def _load(self, uri: str | None) -> bytes:
        """Return the bytes of a buffer: in the file itself, as a data address, or in a file of the same folder."""
        if uri is None:
            return self.binary
        if uri.startswith("data:"):
            try:
                return base64.b64decode(uri.partition(",")[2], validate=True)
            except binascii.Error:
                raise PosegenError(f"{self.path}: the data in it is damaged") from None
        name = unquote(uri)
        if Path(name).name != name or ":" in name or "\\" in name:
            raise PosegenError(f"{self.path}: its data is in {name[:80]!r}; only files in the same folder are read")
        return read_bytes(self.path.parent / name, "the data of a glTF file", _MAX_BYTES)

    def _accessor(self, number: int) -> np.ndarray:
        """Return the values (count, width) of an accessor as float64; whole numbers for -1 to 1 are scaled."""
        accessor = self.json["accessors"][number]
        kind, width, count = _TYPES[accessor["componentType"]], _WIDTHS[accessor["type"]], int(accessor["count"])
        check_amount(str(self.path), count, width, 1)
        if "sparse" in accessor or "bufferView" not in accessor:
            raise PosegenError(
                f"{self.path}: uses sparse accessors in its animation, which are not read: export it anew"
            )
        view = self.json["bufferViews"][accessor["bufferView"]]
        content, size = self._buffer(view["buffer"]), np.dtype(kind).itemsize * width
        begin, step = view.get("byteOffset", 0) + accessor.get("byteOffset", 0), view.get("byteStride", size)
        if begin < 0 or step < size or begin + step * (count - 1) + size > len(content):
            raise PosegenError(f"{self.path}: its data is shorter than it says: it is cut off")
        window = np.frombuffer(content, np.uint8)[begin : begin + step * (count - 1) + size]
        rows = np.lib.stride_tricks.as_strided(window, (count, size), (step, 1))
        values = np.ascontiguousarray(rows).view(kind).astype(np.float64)
        if accessor.get("normalized") and kind != "<f4":
            values = np.maximum(values / np.iinfo(np.dtype(kind)).max, -1)
        return values

    def motion(self, asked: Asked) -> Motion:
        """Sample the longest animation."""
        animations = self.json.get("animations", [])
        if not animations:
            raise PosegenError(f"{self.path}: holds no animation: export it with one, baked to the bones")
        curves = [self._curves(animation) for animation in animations]
        lengths = [max((float(curve.times[-1]) for curve in each), default=0.0) for each in curves]
        best = int(np.argmax(lengths))
        notes = []
        if len(animations) > 1:
            name = animations[best].get("name") or f"number {best + 1}"
            notes.append(f"it holds {len(animations)} animations: the longest, {name!s:.60}, is taken")
        chosen = curves[best]
        if not chosen:
            raise PosegenError(f"{self.path}: its animation moves no node (morph targets alone?)")
        order, parents = self._order()
        names = self._names()
        begin = min(float(curve.times[0]) for curve in chosen)
        rate, guessed = _rate_of(chosen)
        fps, _ = asked.rate(None if guessed and asked.fps is not None else rate, self.path)
        if guessed and asked.fps is None:
            notes.append(f"its keys have no steady rate: it is sampled at {_USUAL} frames per second (--motion-fps)")
        count = max(1, int(np.floor((lengths[best] - begin) * float(fps) + 1e-3)) + 1)
        check_amount(str(self.path), count, len(order))
        rest, linear = self._rest(order, parents)
        rig = Rig(tuple(names[node] for node in order), parents, rest, linear)
        attached = attach_face_and_feet(rig)
        positions = np.empty((count, len(order) + len(attached.names), 3), np.float32)
        for first in range(0, count, CHUNK):
            times = begin + np.arange(first, min(first + CHUNK, count)) / float(fps)
            positions[first : first + len(times)] = pose_rig(parents, *self._local(order, chosen, times), attached)
        if len(keypoint_sources(rig.names)) > 4 and not attached.names:
            notes.append("its rest pose is not that of somebody who stands: the face is placed by the shoulders")
        return Motion(
            self._form(),
            (*rig.names, *attached.names),
            positions,
            1 / fps,
            metres=1.0,
            up="+y",
            derived=frozenset(attached.names),
            notes=tuple(notes),
        )

    def _curves(self, animation: dict[str, Any]) -> list[_Curve]:
        found = []
        for channel in animation["channels"]:
            target, sampler = channel["target"], animation["samplers"][channel["sampler"]]
            path, node = target["path"], target.get("node")
            if node is None or path not in _PATHS:
                continue
            if not 0 <= node < len(self.nodes):
                raise PosegenError(f"{self.path}: its animation moves a node that there is not")
            times, values = self._accessor(sampler["input"])[:, 0], self._accessor(sampler["output"])
            kind = sampler.get("interpolation", "LINEAR")
            keys = len(values) // 3 if kind == "CUBICSPLINE" else len(values)
            if keys != len(times) or values.shape[1] != _PATHS[path] or (np.diff(times) <= 0).any():
                raise PosegenError(f"{self.path}: the keys of its animation are damaged")
            found.append(_Curve(node, path, times, values, kind))
        return found

    def _order(self) -> tuple[list[int], tuple[int, ...]]:
        """Return all nodes, parents first, and the place of each one's parent in this order."""
        parent = dict.fromkeys(range(len(self.nodes)), -1)
        for number, node in enumerate(self.nodes):
            for child in node.get("children", []):
                if not 0 <= child < len(self.nodes) or parent[child] >= 0:
                    raise PosegenError(f"{self.path}: node {child} has two parents, or there is no such node")
                parent[child] = number
        order = [number for number in parent if parent[number] < 0]
        for number in order:  # it grows
            order += self.nodes[number].get("children", [])
        if len(order) != len(self.nodes):
            raise PosegenError(f"{self.path}: its nodes form a circle")
        place = {node: index for index, node in enumerate(order)}
        return order, tuple(place.get(parent[node], -1) for node in order)

    def _names(self) -> list[str]:
        """Return the names of the nodes; VRM's names of bones take their place, and other names must not contradict."""
        given = [str(node.get("name", f"node {number}")) for number, node in enumerate(self.nodes)]
        extensions = self.json.get("extensions", {})
        bones: dict[str, int] = {}
        for name in ("VRMC_vrm", "VRMC_vrm_animation"):
            for bone, value in extensions.get(name, {}).get("humanoid", {}).get("humanBones", {}).items():
                bones[str(bone)] = int(value["node"])
        for each in extensions.get("VRM", {}).get("humanoid", {}).get("humanBones", []):
            bones[str(each["bone"])] = int(each["node"])
        if bones:
            given = [f"({name})" if keypoint_sources([name]) else name for name in given]
            given = [f"node {number}" if name.startswith("(") else name for number, name in enumerate(given)]
            for bone, node in bones.items():
                given[node] = bone
        return given

    def _form(self) -> str:
        names = self.json.get("extensions", {})
        return "VRM animation" if any(name.startswith("VRM") for name in names) else FORM

    def _rest(self, order: Sequence[int], parents: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return places (J, 3) and linear parts (J, 3, 3) of the nodes as the file places them."""
        places, linear = np.zeros((len(order), 3)), np.zeros((len(order), 3, 3))
        for index, (node, parent) in enumerate(zip(order, parents, strict=True)):
            move, turn = _transform(self.nodes[node])
            if parent >= 0:
                move, turn = places[parent] + linear[parent] @ move, linear[parent] @ turn
            places[index], linear[index] = move, turn
        flat = np.abs(np.linalg.det(linear)) < 1e-12  # scaled to nothing
        linear[flat] = np.eye(3)
        return places, linear

    def _local(
        self, order: Sequence[int], curves: Sequence[_Curve], times: Float[np.ndarray, " frames"]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return local linear parts and translations at these times."""
        linear = np.empty((len(times), len(order), 3, 3))
        moves = np.empty((len(times), len(order), 3))
        by_node: dict[int, dict[str, _Curve]] = {}
        for curve in curves:
            by_node.setdefault(curve.node, {})[curve.path] = curve
        for index, node in enumerate(order):
            moved = by_node.get(node)
            if moved is None:
                moves[:, index], linear[:, index] = _transform(self.nodes[node])
                continue
            found = {path: _sample(curve, times) for path, curve in moved.items()}
            rest = self.nodes[node]
            turn = _matrices(found.get("rotation", np.array([rest.get("rotation", (0, 0, 0, 1))], float)))
            scale = found.get("scale", np.array([rest.get("scale", (1, 1, 1))], float))
            linear[:, index] = turn * scale[:, None, :]
            moves[:, index] = found.get("translation", np.array([rest.get("translation", (0, 0, 0))], float))
        return linear, moves


def _transform(node: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return translation and linear part of a node."""
    if "matrix" in node:
        matrix = np.array(node["matrix"], float).reshape(4, 4).T
        return matrix[:3, 3], matrix[:3, :3]
    turn = _matrices(np.array([node.get("rotation", (0, 0, 0, 1))], float))[0]
    return np.array(node.get("translation", (0, 0, 0)), float), turn * np.array(node.get("scale", (1, 1, 1)), float)


def _matrices(quaternions: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 3 3"]:
    """Return the rotations of quaternions x, y, z, w."""
    length = np.maximum(np.linalg.norm(quaternions, axis=1, keepdims=True), 1e-12)
    x, y, z, w = (quaternions / length).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def _sample(curve: _Curve, times: Float[np.ndarray, " frames"]) -> Float[np.ndarray, "frames width"]:
    """Sample a curve as the standard says (glTF 2.0, appendix C); constant before its first and after its last key."""
    keys = curve.times
    after = np.clip(np.searchsorted(keys, times, side="right"), 1, max(len(keys) - 1, 1))
    if len(keys) == 1:
        value = curve.values[1] if curve.kind == "CUBICSPLINE" else curve.values[0]
        return np.tile(value, (len(times), 1))
    before = after - 1
    step = keys[after] - keys[before]
    share = np.clip((times - keys[before]) / step, 0, 1)[:, None]
    if curve.kind == "STEP":
        return curve.values[np.where(share[:, 0] >= 1, after, before)]
    if curve.kind == "CUBICSPLINE":
        leave, value, arrive = curve.values[2::3], curve.values[1::3], curve.values[0::3]
        square, cube = share**2, share**3
        return np.asarray(
            (2 * cube - 3 * square + 1) * value[before]
            + step[:, None] * (cube - 2 * square + share) * leave[before]
            + (3 * square - 2 * cube) * value[after]
            + step[:, None] * (cube - square) * arrive[after]
        )
    first, second = curve.values[before], curve.values[after]
    if curve.path != "rotation":
        return np.asarray(first + share * (second - first))
    return _slerp(first, second, share)


def _slerp(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Interpolate quaternions the shorter way."""
    cosine = (first * second).sum(axis=1, keepdims=True)
    second, cosine = np.where(cosine < 0, -second, second), np.abs(cosine)
    angle = np.arccos(np.clip(cosine, 0, 1))
    sine = np.maximum(np.sin(angle), 1e-9)
    near = angle < 1e-4
    weights = (
        np.where(near, 1 - share, np.sin((1 - share) * angle) / sine),
        np.where(near, share, np.sin(share * angle) / sine),
    )
    return np.asarray(weights[0] * first + weights[1] * second)


def _rate_of(curves: Sequence[_Curve]) -> tuple[Fraction, bool]:
    """Return the rate of the keys, and whether it is only a guess."""
    densest = max(curves, key=lambda curve: len(curve.times))
    if len(densest.times) > 1:
        steps = np.diff(densest.times)
        rate = simple_rate(round(1 / float(np.median(steps)), 3))
        if rate is not None and _SLOWEST <= rate <= _FASTEST:
            return rate, False
    return Fraction(_USUAL), True
