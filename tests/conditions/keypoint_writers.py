"""Writes people in the file formats that `keypoint_files` reads, each after its own documentation."""

import json

import numpy as np

from posegen.conditions.estimators.layouts import DWPOSE_134, GOLIATH_308, OPENPOSE_18, OPENPOSE_25
from posegen.conditions.keypoints import FACE, FEET, LEFT_HAND, RIGHT_HAND, PersonPose, PoseSequence


def people(frames, size, seed=0):
    """One whole person in each frame, all 133 points seen; (frames, 133, 2) and (frames, 133)."""
    random = np.random.default_rng(seed)
    points = random.uniform(0.1, 0.9, (frames, 133, 2)) * [size[1], size[0]]
    return points.astype(np.float32), random.uniform(0.5, 1, (frames, 133)).astype(np.float32)


def inverse(layout, points, scores, count):
    """The person in another layout; points that COCO-WholeBody does not have stay 0."""
    out, seen = np.zeros((len(points), count, 2), np.float32), np.zeros((len(points), count), np.float32)
    for target, source in enumerate(layout):
        if source >= 0:
            out[:, source], seen[:, source] = points[:, target], scores[:, target]
    return out, seen


def flat(points, scores):
    return np.concatenate([points, scores[..., None]], axis=-1).ravel().tolist()


def wholebody_annotation(points, scores, image):
    """One person of COCO-WholeBody's annotations or results."""
    return {
        "image_id": image,
        "category_id": 1,
        "keypoints": flat(points[:17], scores[:17]),
        "foot_kpts": flat(points[FEET], scores[FEET]),
        "face_kpts": flat(points[FACE], scores[FACE]),
        "lefthand_kpts": flat(points[LEFT_HAND], scores[LEFT_HAND]),
        "righthand_kpts": flat(points[RIGHT_HAND], scores[RIGHT_HAND]),
    }


def write_coco_results(path, points, scores, size):
    path = path.with_suffix(".json")
    path.write_text(
        json.dumps([wholebody_annotation(*frame, i) for i, frame in enumerate(zip(points, scores, strict=True))])
    )
    return path


def write_coco_annotations(path, points, scores, size):
    path = path.with_suffix(".json")
    images = [{"id": 100 + i, "file_name": f"{i}.png"} for i in range(len(points))]
    annotations = [wholebody_annotation(points[i], scores[i], 100 + i) for i in reversed(range(len(points)))]
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


def write_mmpose(path, points, scores, size):
    path = path.with_suffix(".json")
    frames = [
        {"frame_id": i + 1, "instances": [{"keypoints": p.tolist(), "keypoint_scores": s.tolist()}]}
        for i, (p, s) in enumerate(zip(points, scores, strict=True))
    ]
    path.write_text(json.dumps({"meta_info": {"dataset_name": "coco_wholebody"}, "instance_info": frames}))
    return path


def write_published(path, points, scores, size):
    """The published preprocessing's list of lists (its pickle, as JSON)."""
    path = path.with_suffix(".json")
    frames = [[{"keypoints": p.tolist(), "keypoint_scores": s.tolist()}] for p, s in zip(points, scores, strict=True)]
    path.write_text(json.dumps(frames))
    return path


def write_sapiens_folder(path, points, scores, size):
    """Sapiens writes one file for a frame, with 308 points."""
    path.mkdir()
    points, scores = inverse(GOLIATH_308, points, scores, 308)
    for i, (p, s) in enumerate(zip(points, scores, strict=True)):
        content = {"instance_info": [{"keypoints": p.tolist(), "keypoint_scores": s.tolist()}]}
        (path / f"{i}.json").write_text(json.dumps(content))
    return path


def openpose_person(points, scores, layout, count):
    body, seen = inverse(layout, points[None], scores[None], count)
    return {
        "person_id": [-1],
        "pose_keypoints_2d": flat(body[0], seen[0]),
        "face_keypoints_2d": flat(np.pad(points[FACE], ((0, 2), (0, 0))), np.pad(scores[FACE], (0, 2))),
        "hand_left_keypoints_2d": flat(points[LEFT_HAND], scores[LEFT_HAND]),
        "hand_right_keypoints_2d": flat(points[RIGHT_HAND], scores[RIGHT_HAND]),
    }


def write_openpose_folder(path, points, scores, size):
    path.mkdir()
    for i, frame in enumerate(zip(points, scores, strict=True)):
        content = {"version": 1.3, "people": [openpose_person(*frame, OPENPOSE_25, 25)]}
        (path / f"video_{i}_keypoints.json").write_text(json.dumps(content))
    return path


def write_openpose_list(path, points, scores, size):
    """One file with a list and a canvas of half the size, as node editors save it."""
    path = path.with_suffix(".json")
    frames = [
        {
            "people": [openpose_person(p / 2, s, OPENPOSE_18, 18)],
            "canvas_height": size[0] / 2,
            "canvas_width": size[1] / 2,
        }
        for p, s in zip(points, scores, strict=True)
    ]
    path.write_text(json.dumps(frames))
    return path


def write_dwpose(path, points, scores, size):
    path = path.with_suffix(".json")
    shares = points / np.array([size[1], size[0]], np.float32)
    frames = []
    for p, s in zip(shares, scores, strict=True):
        body, seen = inverse(OPENPOSE_18, p[None], s[None], 18)
        frames.append(
            {
                "bodies": {"candidate": body[0].tolist(), "subset": [list(range(18))], "score": seen.tolist()},
                "hands": [p[LEFT_HAND].tolist(), p[RIGHT_HAND].tolist()],
                "hands_score": [s[LEFT_HAND].tolist(), s[RIGHT_HAND].tolist()],
                "faces": [p[FACE].tolist()],
                "faces_score": [s[FACE].tolist()],
            }
        )
    path.write_text(json.dumps(frames))
    return path


def write_dwpose_npz(path, points, scores, size):
    """DWPose's arrays of 134 points, people as an axis of their own."""
    path = path.with_suffix(".npz")
    points, scores = inverse(DWPOSE_134, points, scores, 134)
    np.savez(path, keypoints=points[:, None], scores=scores[:, None])
    return path


def write_own(path, points, scores, size):
    """What posegen itself keeps in a folder of conditions."""
    from fractions import Fraction

    path = path.with_suffix(".npz")
    hands = np.random.default_rng(1).normal(size=(len(points), 2, 21, 3)).astype(np.float32)
    PoseSequence(points, scores, hands, size, Fraction(25)).save(path)
    return path


WRITERS = {
    "coco results": (write_coco_results, "all"),
    "coco annotations": (write_coco_annotations, "all"),
    "mmpose": (write_mmpose, "all"),
    "published": (write_published, "all"),
    "sapiens folder": (write_sapiens_folder, "no face"),
    "openpose folder": (write_openpose_folder, "all"),
    "openpose list": (write_openpose_list, "no feet"),
    "dwpose": (write_dwpose, "no feet"),
    "dwpose npz": (write_dwpose_npz, "all"),
    "own": (write_own, "all"),
}


def expected_scores(scores, what):
    """Scores as they come back from a format that does not have everything."""
    scores = scores.copy()
    if what == "no face":
        scores[:, FACE] = 0
    elif what == "no feet":
        scores[:, FEET] = 0
    return scores


def stacked(frames):
    assert all(len(frame) == 1 and isinstance(frame[0], PersonPose) for frame in frames)
    return np.stack([frame[0].keypoints for frame in frames]), np.stack([frame[0].scores for frame in frames])
