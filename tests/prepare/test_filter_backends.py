"""Real backends of filters: their real classes at tiny sizes, and what is said where weights are missing."""

import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from posegen.errors import PosegenError
from posegen.prepare.filters.clip_filters import FilterSettings, judge, make_finder, make_scorer, thresholds_of
from posegen.prepare.filters.detectors import DetectorPeople, PoseFaces, WithFaces, YuNetFaces
from posegen.prepare.filters.sampled_frames import SampledClip
from posegen.prepare.filters.sampled_people import Seen

sys.path.append(str(Path(__file__).parents[1] / "conditions"))
import tiny_estimators

HEIGHT, WIDTH = 180, 320


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name in ("rt_detr", "d_fine", "vitpose"):
        getattr(tiny_estimators, name)(folder / name)
    return folder


@pytest.fixture(scope="module")
def clip():
    noise = np.random.default_rng(0).integers(0, 256, (3, 18, 32, 3)).astype(np.uint8)
    frames = np.stack([cv2.resize(each, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) for each in noise])
    return SampledClip(frames, frames, frames, 24.0, 0.5, (HEIGHT, WIDTH))


def see(finder, boxes):
    """Make the real detector's outputs these boxes (left, top, right, bottom as shares; score)."""

    def known(module, inputs, output):
        output.logits[:] = -10
        for query, (left, top, right, bottom, score) in enumerate(boxes):
            box = torch.tensor([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top])
            output.pred_boxes[:, query] = box
            output.logits[:, query, 0] = float(np.log(score / (1 - score)))
        return output

    finder._detector._model.register_forward_hook(known)


@pytest.mark.parametrize("people", ["rtdetr", "dfine"])
def test_detectors_and_pose_models_score_a_clip(models, clip, people):
    weights = str(models / {"rtdetr": "rt_detr", "dfine": "d_fine"}[people])
    settings = FilterSettings(
        people=people, people_weights=weights, face="vitpose", face_weights=str(models / "vitpose")
    )
    scorer = make_scorer(settings, "cpu")
    finder = scorer.finder
    assert isinstance(finder, WithFaces)
    assert isinstance(finder._finder, DetectorPeople)
    assert isinstance(finder._faces, PoseFaces)
    assert finder.name == f"{people} + vitpose"
    see(finder._finder, [(0.1, 0.0, 0.6, 1.0, 0.9), (0.7, 0.2, 0.95, 1.0, 0.8)])
    found = finder.find(clip)
    assert [[each.box for each in seen] for seen in found.seen] == [
        [pytest.approx((0.1, 0.0, 0.6, 1.0), abs=1e-4), pytest.approx((0.7, 0.2, 0.95, 1.0), abs=1e-4)]
    ] * 3
    assert found.masks[:, 90, 100].all()
    assert not found.masks[:, 90, 5].any()
    scores = scorer(clip)
    assert scores["person_area"] == pytest.approx(0.5, abs=1e-3)
    assert scores["people"] == 2
    assert 0 <= scores["face"] <= scores["head"] <= 1
    assert "one_person" in judge(scores, thresholds_of(settings))[1]
    scorer.close()


def yunet_like(path):
    """A network with YuNet's inputs and outputs: a face where the picture is bright, scored by how bright."""
    initializers, nodes, outputs = [], [], []

    def constant(name, values):
        initializers.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    for stride in (8, 16, 32):
        nodes.append(
            helper.make_node(
                "AveragePool", ["input"], [f"pool{stride}"], kernel_shape=[stride] * 2, strides=[stride] * 2
            )
        )
        kinds = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
        for kind, channels in kinds.items():
            scale = 1 / (3 * 255) if kind in ("cls", "obj") else 0.0
            weight = constant(f"w_{kind}_{stride}", np.full((channels, 3, 1, 1), scale, np.float32))
            shape = constant(f"s_{kind}_{stride}", np.array([1, -1, channels], np.int64))
            nodes.append(
                helper.make_node("Conv", [f"pool{stride}", weight], [f"c_{kind}_{stride}"], kernel_shape=[1, 1])
            )
            nodes.append(
                helper.make_node("Transpose", [f"c_{kind}_{stride}"], [f"t_{kind}_{stride}"], perm=[0, 2, 3, 1])
            )
            nodes.append(helper.make_node("Reshape", [f"t_{kind}_{stride}", shape], [f"{kind}_{stride}"]))
            outputs.append(helper.make_tensor_value_info(f"{kind}_{stride}", TensorProto.FLOAT, [1, "n", channels]))
    outputs.sort(key=lambda each: ["cls", "obj", "bbox", "kps"].index(each.name.split("_")[0]))
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, "h", "w"])]
    graph = helper.make_graph(nodes, "yunet", inputs, outputs, initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8), str(path))


def test_yunet_says_who_shows_a_face(tmp_path):
    yunet_like(tmp_path / "yunet.onnx")
    frame = np.zeros((192, 320, 3), np.uint8)
    frame[32:96, 64:128] = 230  # a bright face in the left person's box
    left, right = Seen((0.1, 0.0, 0.45, 1.0), 0.0, 0.0), Seen((0.6, 0.0, 1.0, 1.0), 0.0, 0.0)
    ((shown, hidden),) = YuNetFaces(str(tmp_path / "yunet.onnx")).faces([frame], [[left, right]])
    assert shown == pytest.approx((230 / 255, 230 / 255), abs=0.03)
    assert hidden == (0.0, 0.0)


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(PosegenError, match=r"weights no/detector are not on this machine.*filters: people_weights"):
        make_finder(FilterSettings(people="rtdetr", people_weights="no/detector"), "cpu")
    with pytest.raises(PosegenError, match=r"ustc-community/dfine.*hf download"):
        make_finder(FilterSettings(people="dfine"), "cpu")
    with pytest.raises(PosegenError, match=r"YuNet's network"):
        make_finder(FilterSettings(face="yunet", face_weights=str(tmp_path / "none.onnx")), "cpu")
    (tmp_path / "text.onnx").write_text("no")
    with pytest.raises(PosegenError, match="not YuNet's network"):
        make_finder(FilterSettings(face="yunet", face_weights=str(tmp_path / "text.onnx")), "cpu")
    with pytest.raises(PosegenError, match="a folder with a quality model was expected"):
        make_scorer(FilterSettings(image_quality="qalign", quality_weights=str(tmp_path / "none")), "cpu")
