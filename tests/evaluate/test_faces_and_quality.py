"""Networks for videos without a truth: real classes at tiny sizes, against independent computations."""

import json
from types import SimpleNamespace

import cv2
import huggingface_hub
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2Model,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTModel,
)

from posegen.conditions.estimators.mediapipe import body_pose
from posegen.conditions.keypoints import INDEX, MOUTH, PersonPose
from posegen.conditions.visual_rating import LEVELS, PROMPT, VIDEO_PROMPT
from posegen.errors import PosegenError
from posegen.evaluate.metrics.dino_and_q_align import DinoMetric, QualityMetric, middle
from posegen.evaluate.metrics.faces import ArcFace, aligned_face
from posegen.evaluate.metrics.metric import ClipInputs
from posegen.evaluate.protocols import find_protocol
from posegen.prepare.filters.clip_filters import FilterSettings, Threshold, make_filters, thresholds_of
from posegen.prepare.filters.rating_filter import QAlignFilter
from posegen.prepare.filters.sampled_frames import SampledClip
from posegen.prepare.filters.sampled_people import People

CPU = torch.device("cpu")
FACE_POINTS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""insightface's template at 112 x 112: eyes, nose, corners of the mouth, the person's right at the image's left."""


def arcface_like(path, features=512):
    """A network of ArcFace's shape: averages over 16 x 16 squares, then a random matrix."""
    weights = np.random.default_rng(0).normal(size=(147, features)).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["input.1"], ["pooled"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["683"]),
    ]
    graph = helper.make_graph(
        nodes,
        "faces",
        [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, ["None", 3, 112, 112])],
        [helper.make_tensor_value_info("683", TensorProto.FLOAT, [1, features])],
        [numpy_helper.from_array(weights, "weights")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return weights


def face_at(points, score=1.0):
    keypoints, scores = np.zeros((133, 2), np.float32), np.zeros(133, np.float32)
    rows = [INDEX["right_eye"], INDEX["left_eye"], INDEX["nose"], *MOUTH]
    keypoints[rows], scores[rows] = points, score
    return PersonPose(keypoints, scores)


def test_a_face_lies_where_arcface_wants_it_however_it_is_turned():
    template = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8), (0, 0), 6)
    assert np.abs(aligned_face(template, face_at(FACE_POINTS)).astype(int) - template).max() <= 1
    angle, scale, shift = 0.5, 2.0, np.array([150, 60])
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    picture = cv2.warpAffine(template, np.hstack([turn, shift[:, None]]), (400, 400))
    found = aligned_face(picture, face_at(FACE_POINTS @ turn.T + shift))
    assert np.abs(found.astype(int) - template)[8:-8, 8:-8].mean() < 2
    assert aligned_face(picture, face_at(FACE_POINTS, score=0.1)) is None
    assert aligned_face(picture, face_at(0.1 * FACE_POINTS)) is None  # too small to know


def test_arcface_is_asked_as_it_was_trained(tmp_path):
    weights = arcface_like(tmp_path / "w600k_r50.onnx")
    frame = np.random.default_rng(1).integers(0, 256, (112, 112, 3), np.uint8)
    network = ArcFace(tmp_path / "w600k_r50.onnx")
    person = face_at(FACE_POINTS)
    pixels = (aligned_face(frame, person).astype(np.float64) - 127.5) / 127.5
    squares = pixels.reshape(7, 16, 7, 16, 3).mean(axis=(1, 3)).transpose(2, 0, 1).ravel()
    expected = squares @ weights
    found = network.embed(frame, person)
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-4)
    assert network.embed(frame, face_at(FACE_POINTS, score=0.0)) is None


def test_other_networks_than_arcface_are_refused(tmp_path):
    arcface_like(tmp_path / "other.onnx", features=128)
    with pytest.raises(PosegenError, match=r"not an ArcFace network.*128.*w600k_r50\.onnx"):
        ArcFace(tmp_path / "other.onnx")
    (tmp_path / "text.onnx").write_text("no")
    with pytest.raises(PosegenError, match="not an ONNX network"):
        ArcFace(tmp_path / "text.onnx")


def tiny_vit(kind):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 224, "patch_size": 56}
    return ViTModel(ViTConfig(intermediate_size=32, **sizes)) if kind == "vit" else Dinov2Model(Dinov2Config(**sizes))


@pytest.mark.parametrize("kind", ["vit", "dinov2"])
def test_dino_consistency_is_the_cosine_of_neighbours(kind, tmp_path):
    network = tiny_vit(kind).eval()
    network.save_pretrained(tmp_path)
    frames = np.random.default_rng(0).integers(0, 256, (5, 240, 300, 3), np.uint8)
    scorer = DinoMetric(str(tmp_path), CPU).start(ClipInputs("a", 8.0, 5, (240, 300), find_protocol("native")))
    for start in (0, 2, 4):
        scorer.add(frames[start : start + 2], None)
    found = scorer.finish()
    cut = np.stack([middle(frame, 224) for frame in frames])
    pixels = (cut / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.no_grad():
        tokens = network(torch.tensor(pixels.transpose(0, 3, 1, 2), dtype=torch.float32)).last_hidden_state[:, 0]
    expected = torch.nn.functional.cosine_similarity(tokens[1:], tokens[:-1])
    assert found.curves["DINO consistency"][0] == [1, 2, 3, 4]
    np.testing.assert_allclose(found.curves["DINO consistency"][1], expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", ["vit", "dinov2"])
def test_subject_consistency_is_that_of_vbench(kind, tmp_path):
    """Whole frames, the shorter side at 224; similarity to the first and the previous frame, none below 0."""
    network = tiny_vit(kind).eval()
    network.save_pretrained(tmp_path)
    frames = np.random.default_rng(0).integers(0, 256, (5, 120, 170, 3), np.uint8)
    scorer = DinoMetric(str(tmp_path), CPU).start(ClipInputs("a", 8.0, 5, (120, 170), find_protocol("native")))
    for start in (0, 2, 4):
        scorer.add(frames[start : start + 2], None)
    found = scorer.finish().curves["subject consistency (VBench)"]
    large = np.stack([cv2.resize(frame, (317, 224)) for frame in frames])  # 224 * 170 / 120 = 317.3
    pixels = torch.tensor(((large / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(0, 3, 1, 2))
    more = {"interpolate_pos_encoding": True} if kind == "vit" else {}
    with torch.no_grad():
        tokens = network(pixels.float(), **more).last_hidden_state[:, 0]
    cosine = torch.nn.functional.cosine_similarity
    both = [cosine(tokens[1:], other).clamp_min(0) for other in (tokens[:-1], tokens[:1])]
    assert found[0] == [1, 2, 3, 4]
    np.testing.assert_allclose(found[1], (sum(both) / 2).numpy(), atol=2e-3)  # OpenCV rounds another way


def test_models_may_be_named_as_in_the_hub_once_they_are_in_its_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for metric, option in ((DinoMetric, "dino"), (QualityMetric, "q_align")):
        with pytest.raises(PosegenError, match=rf"nobody/tiny are not on this machine: .*hf download.*{option}"):
            metric("nobody/tiny", CPU)
    kept, commit = tmp_path / "models--nobody--tiny", 40 * "a"
    tiny_vit("vit").save_pretrained(kept / "snapshots" / commit)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(commit)
    assert DinoMetric("nobody/tiny", CPU).scores[0].network.startswith("tiny (vit)")


def test_folders_of_other_networks_are_refused(tmp_path):
    with pytest.raises(PosegenError, match=r"dino .*nothing: there is no such folder"):
        DinoMetric(str(tmp_path / "nothing"), CPU)
    with pytest.raises(PosegenError, match=r"dino .*no config\.json"):
        DinoMetric(str(tmp_path), CPU)
    network = tiny_vit("vit")
    network.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(PosegenError, match="not the weights of DINO"):
        DinoMetric(str(tmp_path), CPU)
    with pytest.raises(PosegenError, match="vit model"):
        QualityMetric(str(tmp_path), CPU)


def tiny_llava(folder):
    """LLaVA's real classes with a vocabulary of the prompt's words and the five levels."""
    words = ["<unk>", "<image>", *dict.fromkeys(PROMPT.replace("<image>", " ").split()), *LEVELS]
    words += [part for part in ("USER", ":", "?", "ASSISTANT") if part not in words]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<unk>", additional_special_tokens=["<image>"]
    )
    pictures = CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    LlavaProcessor(
        pictures, fast, patch_size=14, vision_feature_select_strategy="default", num_additional_image_tokens=1
    ).save_pretrained(folder)
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    text = LlamaConfig(vocab_size=len(words), hidden_size=16, intermediate_size=32, num_hidden_layers=2,
                       num_attention_heads=2, num_key_value_heads=2)  # fmt: skip  # short arguments, read in rows
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_id=1, vision_feature_layer=-1)
    network = LlavaForConditionalGeneration(config).eval()
    network.save_pretrained(folder)
    return network, words


def test_quality_is_the_expected_level(tmp_path):
    network, words = tiny_llava(tmp_path)
    metric = QualityMetric(str(tmp_path), CPU)
    assert metric.model.levels == [words.index(level) for level in LEVELS]
    frame = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    processor = LlavaProcessor.from_pretrained(tmp_path, use_fast=False)
    inputs = processor(images=Image.fromarray(frame), text=PROMPT, return_tensors="pt")
    with torch.no_grad():
        logits = network(**inputs).logits[0, -1].double().numpy()
    weights = np.exp([logits[words.index(level)] for level in LEVELS])
    expected = (float(weights @ [5, 4, 3, 2, 1] / weights.sum()) - 1) / 4
    assert metric.rate(frame[None]) == pytest.approx(expected, abs=1e-4)
    assert 0 < expected < 1
    scorer = metric.start(ClipInputs("a", 16.0, 5, (64, 64), find_protocol("native")))
    scorer.add(np.stack([frame] * 5), None)
    found = scorer.finish()
    assert found.curves["Q-Align"] == ([0, 2, 4], pytest.approx([expected] * 3, abs=1e-4))


def test_filters_ask_q_align_about_pictures_and_clips(tmp_path):
    network, words = tiny_llava(tmp_path)
    settings = FilterSettings(image_quality="qalign", video_quality="qalign", quality_weights=str(tmp_path))
    (asked,) = [each for each in make_filters(settings, "cpu") if isinstance(each, QAlignFilter)]
    frames = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    nobody = People(((), (), ()), np.zeros((3, 64, 64), bool))
    scores = asked.score(SampledClip(frames, frames, frames, 24.0, 0.5, (64, 64)), nobody)
    assert set(scores) == set(asked.columns) == {"qalign_image", "qalign_video"}
    rated = [QualityMetric(str(tmp_path), CPU).rate(frame[None]) for frame in frames]
    assert scores["qalign_image"] == pytest.approx(np.mean(rated))
    processor = LlavaProcessor.from_pretrained(tmp_path, use_fast=False)
    text = VIDEO_PROMPT.format(images="<image>" * 3)
    inputs = processor(images=[Image.fromarray(frame) for frame in frames], text=text, return_tensors="pt")
    assert inputs["pixel_values"].shape[0] == 3
    with torch.no_grad():
        logits = network(**inputs).logits[0, -1].double().numpy()
    weights = np.exp([logits[words.index(level)] for level in LEVELS])
    assert scores["qalign_video"] == pytest.approx(float(weights @ [1, 0.75, 0.5, 0.25, 0] / weights.sum()), abs=1e-5)
    assert thresholds_of(settings)["video_quality"] == Threshold("qalign_video", minimum=0.7)


def test_the_mouth_is_given_where_faces_are_identified():
    random = np.random.default_rng(0)
    landmarks = [SimpleNamespace(x=x, y=y, visibility=0.9, presence=0.8) for x, y in random.uniform(0, 1, (33, 2))]
    landmarks[7].x, landmarks[8].x = 0.9, 0.1  # the left ear at the image's right: the face is seen
    for ear in (7, 8):
        landmarks[ear].y = landmarks[0].y
    given, plain = body_pose(landmarks, 100, 50, mouth=True), body_pose(landmarks, 100, 50)
    assert not plain.scores[list(MOUTH)].any()
    expected = [(100 * landmarks[number].x, 50 * landmarks[number].y) for number in (10, 9)]  # right, left
    np.testing.assert_allclose(given.keypoints[list(MOUTH)], expected, rtol=1e-6)
    others = np.setdiff1d(np.arange(133), MOUTH)
    np.testing.assert_array_equal(given.keypoints[others], plain.keypoints[others])
