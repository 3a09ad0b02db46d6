"""Detector, ViTPose, Sapiens2 and Sapiens-1: real classes at tiny sizes with random weights, known maps and boxes."""

import logging
from dataclasses import replace

import cv2
import numpy as np
import pytest
import tiny_estimators
import torch
from transformers import VitPoseForPoseEstimation
from transformers.models.vitpose.image_processing_pil_vitpose import VitPoseImageProcessorPil
from transformers.models.vitpose.modeling_vitpose import VitPoseEstimatorOutput

from posegen.conditions.estimators import choosing
from posegen.conditions.estimators.choosing import WithHands, estimator_names, make_pose_estimator
from posegen.conditions.estimators.dense import hand_classes
from posegen.conditions.estimators.detector import PersonDetector, keep_distinct
from posegen.conditions.estimators.heatmaps import Crop, decode_heatmaps
from posegen.conditions.estimators.interfaces import HandNormalEstimator, PoseEstimator
from posegen.conditions.estimators.sapiens1 import sapiens1_normals, sapiens1_pose
from posegen.conditions.estimators.sapiens2 import sapiens2_normals, sapiens2_pose
from posegen.conditions.estimators.top_down import Normalisation
from posegen.conditions.estimators.vitpose import vitpose
from posegen.conditions.keypoints import HANDS, INDEX, PersonPose
from posegen.config import EstimatorConfig
from posegen.errors import PosegenError


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders with every tiny model."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("rt_detr", "d_fine", "vitpose", "sapiens2_pose", "sapiens2_normals", "sapiens2_parts"):
        getattr(tiny_estimators, name)(folder / name)
    return folder


@pytest.fixture
def picture():
    """A picture with structure of every size: 180 x 320."""
    noise = np.random.default_rng(0).integers(0, 256, (18, 32, 3)).astype(np.uint8)
    return cv2.resize(noise, (320, 180), interpolation=cv2.INTER_CUBIC)


def see(detector, boxes, size, label=0):
    """Make the real model's outputs these boxes (left, top, right, bottom; score): the rest of the detector is real."""

    def known(module, inputs, output):
        output.logits[:] = -10
        for query, (left, top, right, bottom, score) in enumerate(boxes):
            box = torch.tensor([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top])
            output.pred_boxes[:, query] = box / torch.tensor([size[1], size[0]] * 2)
            output.logits[:, query, label] = float(np.log(score / (1 - score)))
        return output

    return detector._model.register_forward_hook(known)


@pytest.mark.parametrize("kind", ["rt_detr", "d_fine"])
def test_known_boxes_come_back_without_weak_and_double_ones(models, picture, kind):
    detector = PersonDetector(str(models / kind), "cpu")
    boxes = [(100, 20, 160, 170, 0.8), (101, 22, 158, 171, 0.9), (10, 30, 60, 150, 0.5), (200, 0, 220, 50, 0.2)]
    see(detector, boxes, picture.shape)
    first, second = detector.detect([picture, picture])
    assert first == second
    assert np.allclose(first, [boxes[1][:4], boxes[2][:4]], atol=1e-3)


def test_other_classes_are_no_people(models, picture):
    detector = PersonDetector(str(models / "rt_detr"), "cpu")
    see(detector, [(100, 20, 160, 170, 0.8)], picture.shape, label=2)
    assert detector.detect([picture]) == [[]]


def test_overlap_is_intersection_over_union():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 3.1], [0, 0, 10, 2.9], [20, 0, 30, 10]], float)
    assert keep_distinct(boxes, np.array([0.9, 0.8, 0.7, 0.95])) == [3, 0, 2]


def gaussians(points, shape, sigma=2.0):
    """Heat maps with peaks at these places (x, y) of the map: (1, points, h, w)."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    away = (columns - points[:, 0, None, None]) ** 2 + (rows - points[:, 1, None, None]) ** 2
    return np.exp(-away / (2 * sigma**2)).astype(np.float32)[None]


def test_known_peaks_come_back_between_pixels():
    points = np.random.default_rng(0).uniform((8, 8), (40, 56), (133, 2))
    found, scores = decode_heatmaps(gaussians(points, (64, 48)))
    assert np.abs(found[0] - points).max() < 0.05
    assert (scores > 0.9).all()


def test_maps_without_a_peak_and_peaks_at_edges_stay_in_the_map():
    flat, empty, edge = np.full((64, 48), 0.4), np.zeros((64, 48)), np.zeros((64, 48))
    edge[0, 47] = 0.8
    maps = np.stack([flat, empty, edge]).astype(np.float32)[None]
    found, scores = decode_heatmaps(maps)
    assert np.isfinite(found).all()
    assert np.abs(found[0, 2] - [47, 0]).max() <= 1
    assert scores[0] == pytest.approx([0.4, 0, 0.8])


@pytest.mark.parametrize(("shift", "scale"), [((40, -13), 1.0), ((0, 0), 2.5), ((300, 100), 0.4)])
def test_moving_and_scaling_the_box_moves_and_scales_the_points(shift, scale):
    box = np.array([30.0, 20.0, 90.0, 150.0])
    moved = (box.reshape(2, 2) * scale + shift).ravel()
    points = np.random.default_rng(1).uniform(0, 48, (20, 2)).astype(np.float32)
    here, there = (Crop.around(tuple(one.tolist()), (256, 192)).to_frame(points, (64, 48)) for one in (box, moved))
    assert np.allclose(here * scale + shift, there, atol=1e-3)


@pytest.mark.parametrize("size", [(2160, 3840), (180, 320), (60, 40)])
def test_what_is_cut_out_lies_where_the_points_say(size):
    """A dot of the picture is found in the crop, and goes back to its place, at any resolution."""
    height, width = size
    frame, place = np.zeros((*size, 3), np.uint8), np.array([0.42 * width, 0.57 * height])
    cv2.circle(frame, tuple(np.rint(place).astype(int).tolist()), max(2, height // 40), (255,) * 3, -1)
    box = (0.2 * width, 0.1 * height, 0.8 * width, 0.9 * height)
    crop = Crop.around(box, (256, 192))
    cut = crop.cut(frame, (256, 192)).astype(np.float32)[..., 0]
    rows, columns = np.mgrid[:256, :192]
    centre = np.array([[(columns * cut).sum(), (rows * cut).sum()]]) / cut.sum()
    assert np.abs(crop.to_frame(centre, (256, 192)) - np.rint(place)).max() < max(0.3, 0.002 * width)


def test_vitpose_agrees_with_the_librarys_own_processing(models, picture):
    """The model sees the same crop, and the same maps become the same points, as with transformers' image processor."""
    estimator = vitpose(str(models / "vitpose"), str(models / "rt_detr"), "cpu")
    assert isinstance(estimator, PoseEstimator)
    box, shown, run = (60.0, 10.0, 180.0, 170.0), [], estimator._heatmaps
    see(estimator._detector, [(*box, 0.9)], picture.shape)
    estimator._heatmaps = lambda pictures: shown.extend(pictures) or run(pictures)
    ((person,), (again,)) = estimator.estimate_batch([picture, picture])
    assert np.array_equal(person.keypoints, again.keypoints)

    processor = VitPoseImageProcessorPil()
    boxes = [[[box[0], box[1], box[2] - box[0], box[3] - box[1]]]]
    pixels = processor(picture, boxes=boxes, return_tensors="pt")["pixel_values"].float()
    ours = Normalisation().apply(shown[:1], torch.device("cpu"), torch.float32)
    assert (ours - pixels).abs().mean() < 0.02  # deviations of the colours
    model = VitPoseForPoseEstimation.from_pretrained(models / "vitpose").eval()
    with torch.inference_mode():
        assert torch.allclose(run(shown[:1]), model(ours).heatmaps, atol=1e-5)

    peaks = np.random.default_rng(0).uniform((4, 4), (43, 59), (133, 2)).astype(np.float32)
    maps = torch.from_numpy(gaussians(peaks, (64, 48)))
    estimator._heatmaps = lambda pictures: maps
    (person,) = estimator.estimate(picture)
    ((expected,),) = processor.post_process_pose_estimation(VitPoseEstimatorOutput(heatmaps=maps), boxes=boxes)
    assert np.abs(person.keypoints - expected["keypoints"].numpy()).max() < 0.2  # a map's pixel is 3 of the picture
    assert np.abs(person.scores - expected["scores"].numpy()).max() < 1e-4


@pytest.mark.parametrize("simple", [True, False])
def test_the_authors_checkpoints_are_the_same_model(models, picture, tmp_path, simple):
    model = tiny_estimators.vitpose_model(simple=simple)
    model.save_pretrained(tmp_path / "folder")
    names = {
        "backbone.embeddings.position_embeddings": "backbone.pos_embed", "embeddings.patch_embeddings.projection":
        "patch_embed.proj", "encoder.layer": "blocks", "attention.output.dense": "attn.proj",
        "layernorm_before": "norm1", "layernorm_after": "norm2", "backbone.layernorm": "backbone.last_norm",
        "head.deconv1": "keypoint_head.deconv_layers.0", "head.batchnorm1": "keypoint_head.deconv_layers.1",
        "head.deconv2": "keypoint_head.deconv_layers.3", "head.batchnorm2": "keypoint_head.deconv_layers.4",
        "head.conv": "keypoint_head.final_layer",
    }  # fmt: skip
    state, thirds = {}, {}
    for name, value in model.state_dict().items():
        theirs = name
        for new, old in names.items():
            theirs = theirs.replace(new, old)
        if ".attention.attention." in theirs:
            block, rest = theirs.split(".attention.attention.")
            thirds.setdefault((block, rest.split(".")[1]), []).append(value)  # query, key, value in this order
        else:
            state[theirs] = value
    state |= {f"{block}.attn.qkv.{kind}": torch.cat(parts) for (block, kind), parts in thirds.items()}
    torch.save({"state_dict": state, "meta": {}}, tmp_path / "vitpose-wholebody.pth")
    found = []
    for weights in (tmp_path / "folder", tmp_path / "vitpose-wholebody.pth"):
        estimator = vitpose(str(weights), str(models / "rt_detr"), "cpu")
        see(estimator._detector, [(60, 10, 180, 170, 0.9)], picture.shape)
        found.append(estimator.estimate(picture)[0])
    assert np.array_equal(found[0].keypoints, found[1].keypoints)
    assert estimator.finds_hands


def test_experts_of_vitpose_plus_are_chosen_by_the_number_of_points(models, picture, tmp_path):
    tiny_estimators.vitpose(tmp_path / "plus", points=17, experts=6)
    estimator = vitpose(str(tmp_path / "plus"), str(models / "rt_detr"), "cpu")
    see(estimator._detector, [(60, 10, 180, 170, 0.9)], picture.shape)
    (person,) = estimator.estimate(picture)
    assert not estimator.finds_hands
    assert (person.scores[17:] == 0).all()
    assert (person.scores[:17] > 0).any()


def test_sapiens2_poses_put_known_maps_at_wholebody_places(models, picture):
    estimator = sapiens2_pose(str(models / "sapiens2_pose"), str(models / "rt_detr"), "cpu")
    assert isinstance(estimator, PoseEstimator)
    assert estimator.finds_hands
    box = (60.0, 10.0, 180.0, 170.0)
    see(estimator._detector, [(*box, 0.9), (200, 10, 300, 170, 0.8)], picture.shape)
    people = estimator.estimate(picture)
    assert len(people) == 2
    assert (people[0].scores[23:91] == 0).all()  # other face points than COCO's
    crop = Crop.around(box, tiny_estimators.SAPIENS_SHAPE)
    peaks = np.random.default_rng(0).uniform(2, 10, (308, 2)).astype(np.float32)
    estimator._heatmaps = lambda pictures: torch.from_numpy(np.repeat(gaussians(peaks, (16, 12), 1.0), 2, axis=0))
    (person, _) = estimator.estimate(picture)
    expected = crop.to_frame(peaks, (16, 12))
    for name, number in (("nose", 0), ("left_hip", 9), ("right_wrist", 41), ("left_heel", 17)):
        assert np.abs(person.keypoints[INDEX[name]] - expected[number]).max() < 2
    assert np.abs(person.keypoints[HANDS[0].start + 8] - expected[46]).max() < 2  # tip of the left forefinger


def test_names_in_the_configuration_go_before_numbers(models, picture, tmp_path):
    names = {index: f"Point {index}" for index in range(308)} | {7: "Nose", 250: "left wrist"}
    tiny_estimators.sapiens2_pose(tmp_path / "named", id2label=names)
    estimator = sapiens2_pose(str(tmp_path / "named"), str(models / "rt_detr"), "cpu")
    assert estimator._layout[INDEX["nose"]] == 7
    assert estimator._layout[INDEX["left_wrist"]] == 250
    assert not estimator.finds_hands


def someone(left=40, top=20, right=120, bottom=160):
    points, scores = np.zeros((133, 2), np.float32), np.zeros(133, np.float32)
    points[:2], scores[:2] = [[left, top], [right, bottom]], 1
    return PersonPose(points, scores)


def test_hand_classes_are_told_by_name_never_by_number():
    assert hand_classes(["LABEL_0"] * 28, "x") == [5, 14]
    assert hand_classes(["LABEL_0"] * 29, "x") == [6, 15]
    assert hand_classes(["Background", "Right_Hand", "left hand"], "x") == [2, 1]
    for names in (["LABEL_0"] * 21, ["hand", "arm"]):
        with pytest.raises(PosegenError, match="left_hand"):
            hand_classes(names, "x")


def test_sapiens2_normals_are_unit_vectors_on_hands_only(models, picture):
    estimator = sapiens2_normals(str(models / "sapiens2_normals"), str(models / "sapiens2_parts"), "cpu")
    assert isinstance(estimator, HandNormalEstimator)
    assert estimator.needs_frames
    people = [
        someone(),
        PersonPose(np.zeros((133, 2), np.float32), np.zeros(133, np.float32)),
        someone(left=200, right=280),
    ]
    hand = 6  # of 29 classes

    def known(pictures):
        parts = torch.zeros(len(pictures), 29, 16, 12)
        parts[:, hand, :8] = 1  # the upper half of each crop
        return parts

    estimator._parts = known
    maps = estimator.estimate_batch(people, picture.shape[:2], [picture] * 3)
    assert not maps[1].any()
    for person, hand_map in ((people[0], maps[0]), (people[2], maps[2])):
        drawn = hand_map.any(axis=-1)
        rows, columns = np.nonzero(drawn)
        left, top, right, bottom = person.box
        assert rows.max() == pytest.approx((top + bottom) / 2, abs=6)
        assert columns.mean() == pytest.approx((left + right) / 2, abs=10)
        assert np.abs(np.linalg.norm(hand_map[drawn] / 127.5 - 1, axis=-1) - 1).max() < 0.02
    again = estimator.estimate(people[2], picture.shape[:2], picture)
    assert np.array_equal(again, maps[2])


COLOURS = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [255, 0, 255], [0, 255, 255]]


def test_sapiens1_files_find_what_is_in_the_pixels(models, tmp_path):
    """The whole way through a TorchScript file that finds coloured dots: people of any size and place."""
    colours = [*COLOURS, *[[200, 200, 200 - index] for index in range(11)]]
    path = tiny_estimators.torchscript(tmp_path / "dots.pt2", tiny_estimators.ColourFinder(colours))
    for size, factor in (((270, 480), 1), ((1080, 1920), 4)):
        estimator = sapiens1_pose(str(path), str(models / "rt_detr"), "cpu", shape=(256, 192))
        frame = np.full((*size, 3), 128, np.uint8)
        places = np.random.default_rng(0).uniform((70, 50), (170, 190), (6, 2)) * factor
        for place, colour in zip(places, COLOURS, strict=True):
            cv2.circle(frame, tuple(np.rint(place).astype(int).tolist()), 6 * factor, colour, -1)
        see(estimator._detector, [(50 * factor, 30 * factor, 190 * factor, 210 * factor, 0.9)], size)
        (person,) = estimator.estimate(frame)
        seen = person.scores[:6] > 0.5
        assert seen.sum() >= 4  # dots may hide each other
        assert np.abs(person.keypoints[:6][seen] - places[seen]).max() < 2.5 * factor


def test_sapiens1_normals_are_the_files_on_the_hands_of_the_whole_frame(tmp_path):
    normals = tiny_estimators.torchscript(tmp_path / "normals.pt2", tiny_estimators.ColourNormals())
    parts = tiny_estimators.torchscript(tmp_path / "parts.pt2", tiny_estimators.BluePixelsAreHands())
    estimator = sapiens1_normals(str(normals), str(parts), "cpu", shape=(128, 96))
    frame = np.zeros((180, 320, 3), np.uint8)
    frame[40:100, 200:260] = 128, 218, 218  # upwards and towards the camera
    hand_map = estimator.estimate(someone(), (180, 320), frame)
    rows, columns = np.nonzero(hand_map.any(axis=-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == pytest.approx((40, 99, 200, 259), abs=3)
    middle = hand_map[70, 230].astype(float) / 127.5 - 1
    assert middle == pytest.approx([0, np.sqrt(0.5), np.sqrt(0.5)], abs=0.02)
    with pytest.raises(PosegenError, match="3 channels"):
        sapiens1_normals(str(parts), str(parts), "cpu", shape=(128, 96))
    with pytest.raises(PosegenError, match="known are"):
        sapiens1_pose(str(parts), str(parts), "cpu", shape=(128, 96))


def test_missing_weights_say_what_to_fetch_and_where_to_put_it(models, tmp_path):
    detector = str(models / "rt_detr")
    with pytest.raises(PosegenError, match=r"hf download usyd-community/vitpose-plus-base.*pose_weights"):
        vitpose(None, detector, "cpu")
    with pytest.raises(PosegenError, match=r"hf download facebook/sapiens2-pose.*pose_weights"):
        sapiens2_pose(None, detector, "cpu")
    with pytest.raises(PosegenError, match=r"hf download PekingU/rtdetr.*detector_weights"):
        vitpose(str(models / "vitpose"), None, "cpu")
    with pytest.raises(PosegenError, match=r"hf download facebook/sapiens2-seg.*parts_weights"):
        sapiens2_normals(str(models / "sapiens2_normals"), None, "cpu")
    with pytest.raises(PosegenError, match="sapiens-pose-coco"):
        sapiens1_pose(str(tmp_path / "none.pt2"), detector, "cpu")
    with pytest.raises(PosegenError, match="no such file"):
        vitpose(str(tmp_path / "none.pth"), detector, "cpu")
    with pytest.raises(PosegenError, match="no such folder"):
        vitpose(str(tmp_path / "none"), detector, "cpu")


def test_weights_of_something_else_are_refused(models, tmp_path):
    detector = str(models / "rt_detr")
    with pytest.raises(PosegenError, match="sapiens2 model, not a vitpose one"):
        vitpose(str(models / "sapiens2_pose"), detector, "cpu")
    with pytest.raises(PosegenError, match="detector_weights"):
        PersonDetector(str(models / "vitpose"), "cpu")
    (tmp_path / "text.pt2").write_text("x")
    (tmp_path / "text.pth").write_text("x")
    with pytest.raises(PosegenError, match="TorchScript"):
        sapiens1_pose(str(tmp_path / "text.pt2"), detector, "cpu")
    with pytest.raises(PosegenError, match="not a ViTPose checkpoint"):
        vitpose(str(tmp_path / "text.pth"), detector, "cpu")
    tiny_estimators.vitpose(tmp_path / "animals", points=21)
    with pytest.raises(PosegenError, match="21 points"):
        vitpose(str(tmp_path / "animals"), detector, "cpu")


def test_an_estimator_without_hands_gets_mediapipes(models, tmp_path, caplog):
    tiny_estimators.vitpose(tmp_path / "body", points=17)
    config = EstimatorConfig(
        pose="vitpose",
        pose_weights=str(tmp_path / "body"),
        detector_weights=str(models / "rt_detr"),
        normals="sapiens2",
    )
    with caplog.at_level(logging.WARNING, "posegen"):
        estimator = make_pose_estimator(config, (180, 320), [0], 1, "cpu")
    assert isinstance(estimator, WithHands)
    assert "hand model" in caplog.text
    estimator.close()
    assert len({estimator_names(config), estimator_names(EstimatorConfig())}) == 2


def test_an_estimator_without_a_maker_is_an_error_not_another_one():
    config = EstimatorConfig()
    object.__setattr__(config, "pose", "vitpose3")
    with pytest.raises(PosegenError, match=r"vitpose3.*sapiens1"):
        make_pose_estimator(config, (180, 320), [0], 1, "cpu")


def test_keypoints_that_were_read_otherwise_are_not_taken_up_again(tmp_path, monkeypatch):
    points = EstimatorConfig(pose="file", pose_file=tmp_path / "k.json")
    pictures = EstimatorConfig(pose="file", pose_file=tmp_path / "skeleton.mkv")
    before = estimator_names(points), estimator_names(pictures)
    monkeypatch.setattr(choosing, "FILE_READING", "another")
    after = estimator_names(points), estimator_names(pictures)
    assert before[0] != after[0]
    assert before[1] == after[1]


@pytest.mark.parametrize(
    "chosen",
    [
        {"pose": "sapiens1", "pose_weights": "a.pt2"},
        {"normals": "sapiens1", "normals_weights": "a.pt2", "parts_weights": "b.pt2"},
    ],
)
def test_files_that_can_run_code_want_to_be_trusted(chosen):
    with pytest.raises(PosegenError, match="trust_torchscript"):
        EstimatorConfig(**chosen)
    EstimatorConfig(**chosen, trust_torchscript=True)


def test_conditions_depend_on_default_weights_and_on_the_code_around_them(monkeypatch):
    """Conditions of another default model, or of changed code, are extracted again."""
    config = EstimatorConfig(pose="vitpose")
    found = {estimator_names(config)}
    monkeypatch.setitem(choosing.DEFAULTS, "vitpose", "another/model")
    found.add(estimator_names(config))
    monkeypatch.setattr(choosing, "LARGER_ESTIMATORS", "next")
    found.add(estimator_names(config))
    monkeypatch.setattr(choosing.CapsuleHandNormals, "version", "next")
    found.add(estimator_names(config))
    assert len(found) == 4
    assert estimator_names(replace(config, pose_weights="mine/model")) not in found
