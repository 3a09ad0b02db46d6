"""Writes people in the file formats that `keypoint_files` reads, each after its own documentation."""

import json

import numpy as np

from posegen.conditions.estimators.layouts import DWPOSE_134, GOLIATH_308, OPENPOSE_18, OPENPOSE_25
from posegen.conditions.keypoints import (
    BODY_NAMES,
    FACE,
    FEET,
    INDEX,
    LEFT_HAND,
    RIGHT_HAND,
    PersonPose,
    PoseSequence,
)

HALPE = (*range(17), None, None, None, 17, 20, 18, 21, 19, 22, *range(23, 133))
"""COCO-WholeBody's number of each of Halpe's 136 points; head, neck and hip have none. The first 26 are its body."""
MEDIAPIPE = (
    0, None, 1, None, None, 2, None, 3, 4, None, None, 5, 6, 7, 8, 9, 10, *[None] * 6, 11, 12, 13, 14, 15, 16, 19, 22,
    17, 20,
)  # fmt: skip
"""The same of MediaPipe's 33 landmarks."""
HUMAN36M = {
    "root": None, "right_hip": 12, "right_knee": 14, "right_foot": 16, "left_hip": 11, "left_knee": 13,
    "left_foot": 15, "spine": None, "thorax": None, "neck_base": None, "head": None, "left_shoulder": 5,
    "left_elbow": 7, "left_wrist": 9, "right_shoulder": 6, "right_elbow": 8, "right_wrist": 10,
}  # fmt: skip
"""The same of Human3.6M's 17, by the names that MMPose gives them."""


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


def reordered(places, points, scores):
    """The person in a layout with these of COCO-WholeBody's points; points that it does not have are anywhere."""
    random = np.random.default_rng(9)
    known = [0 if place is None else place for place in places]
    lacking = np.array([place is None for place in places])
    out = np.where(lacking[:, None], random.uniform(points.min(), points.max(), (len(places), 2)), points[known])
    return out.astype(np.float32), scores[known]


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


def instance(points, scores):
    """One person of MMPose 1."""
    return {"keypoints": points.tolist(), "keypoint_scores": scores.tolist(), "bbox": [[0, 0, 1, 1]], "bbox_score": 0.9}


def write_inferencer(path, points, scores, size):
    """MMPose's Inferencer on a video."""
    path = path.with_suffix(".json")
    frames = [
        {"frame_id": i, "instances": [instance(p, s)]} for i, (p, s) in enumerate(zip(points, scores, strict=True))
    ]
    path.write_text(json.dumps(frames))
    return path


def write_inferencer_folder(path, points, scores, size):
    """MMPose's Inferencer on pictures: a list of people for each, with the picture's name."""
    path.mkdir()
    for i, (p, s) in enumerate(zip(points, scores, strict=True)):
        (path / f"frame_{i + 1:04d}.json").write_text(json.dumps([instance(p, s)]))
    return path


def write_mmpose_result(path, points, scores, size):
    """What MMPose's Inferencer returns in Python, written by its user; and people of MMPose 0: x, y, score."""
    path = path.with_suffix(".json")
    frames = [
        [{"keypoints": np.concatenate([p, s[:, None]], axis=1).tolist(), "track_id": 0}]
        for p, s in zip(points, scores, strict=True)
    ]
    path.write_text(json.dumps({"predictions": frames, "visualization": []}))
    return path


def write_human36m(path, points, scores, size, names="keypoint_id2name"):
    """The older MMPose demo with a model of Human3.6M's 17 points: from 1, and with names."""
    path = path.with_suffix(".json")
    meta = {"dataset_name": "h36m", "num_keypoints": 17}
    if names == "keypoint_id2name":
        meta[names] = {str(i): name for i, name in enumerate(HUMAN36M)}
    elif names == "keypoint_name2id":
        meta[names] = {name: i for i, name in enumerate(HUMAN36M)}
    frames = [
        {"frame_id": i + 1, "instances": [instance(*reordered(HUMAN36M.values(), p, s))]}
        for i, (p, s) in enumerate(zip(points, scores, strict=True))
    ]
    path.write_text(json.dumps({"meta_info": meta, "instance_info": frames}))
    return path


def alphapose(points, scores, image):
    """One person of AlphaPose's usual form."""
    return {"image_id": image, "category_id": 1, "keypoints": flat(points, scores), "score": 2.9, "box": [1, 2, 3, 4]}


def write_alphapose(path, points, scores, size, places=range(17)):
    path = path.with_suffix(".json")
    people = [
        alphapose(*reordered(places, p, s), f"{i}.jpg") for i, (p, s) in enumerate(zip(points, scores, strict=True))
    ]
    path.write_text(json.dumps(people))
    return path


def write_halpe_26(path, points, scores, size):
    return write_alphapose(path, points, scores, size, HALPE[:26])


def write_halpe_136(path, points, scores, size):
    return write_alphapose(path, points, scores, size, HALPE)


def write_alphapose_133(path, points, scores, size):
    return write_alphapose(path, points, scores, size, range(133))


def write_alphapose_separate(path, points, scores, size):
    """AlphaPose with a file for each picture."""
    path.mkdir()
    for i, (p, s) in enumerate(zip(points, scores, strict=True)):
        (path / f"{i}.json").write_text(json.dumps([alphapose(p[:17], s[:17], f"{i}.jpg")]))
    return path


def write_alphapose_cmu(path, points, scores, size, key="bodies", values="joints"):
    """AlphaPose's `--format cmu`: all pictures in one object, in any order."""
    path = path.with_suffix(".json")
    content = {}
    for i in reversed(range(len(points))):
        body, seen = inverse(OPENPOSE_18, points[i][None], scores[i][None], 18)
        content[f"{i}.jpg"] = {"version": "AlphaPose v0.3", key: [{values: flat(body[0], seen[0])}]}
    path.write_text(json.dumps(content))
    return path


def write_alphapose_open(path, points, scores, size):
    return write_alphapose_cmu(path, points, scores, size, "people", "pose_keypoints_2d")


def write_old_openpose(path, points, scores, size):
    """OpenPose before 1.2: no `_2d`, 18 points of the body; file names as it gives them to frames of a video."""
    path.mkdir()
    for i, frame in enumerate(zip(points, scores, strict=True)):
        person = {name.removesuffix("_2d"): each for name, each in openpose_person(*frame, OPENPOSE_18, 18).items()}
        content = {"version": 1.0, "people": [person]}
        (path / f"walk2_{i:012d}_keypoints.json").write_text(json.dumps(content))
    return path


def write_scaled_openpose(path, points, scores, size, scale=3):
    """OpenPose with `--keypoint_scale` 3 (0 to 1) or 4 (-1 to 1)."""
    shares = points / np.array([size[1], size[0]], np.float32)
    path.mkdir()
    for i, frame in enumerate(zip(shares if scale == 3 else 2 * shares - 1, scores, strict=True)):
        content = {"version": 1.3, "people": [openpose_person(*frame, OPENPOSE_25, 25)]}
        (path / f"walk_{i:012d}_keypoints.json").write_text(json.dumps(content))
    return path


def write_openpose_from_minus_one(path, points, scores, size):
    return write_scaled_openpose(path, points, scores, size, 4)


def write_coco_with_names(path, points, scores, size):
    """COCO with points in an order of its own, of pictures twice as large as the video."""
    path = path.with_suffix(".json")
    names = list(reversed(BODY_NAMES[:17]))
    category = {"id": 7, "name": "person", "keypoints": [name.replace("_", " ").title() for name in names]}
    other = {"id": 8, "name": "dog", "keypoints": ["left_front_paw", "nose", "tail"]}
    order = [INDEX[name] for name in names]
    images = [
        {"id": 900 - i, "file_name": f"img_{i + 1:05d}.png", "width": 2 * size[1], "height": 2 * size[0]}
        for i in range(len(points))
    ]
    annotations = [
        {"id": i, "image_id": 900 - i, "category_id": 7, "keypoints": flat(2 * points[i][order], scores[i][order])}
        for i in range(len(points))
    ]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [other, category]}))
    return path


def landmarks(points, scores, size):
    """MediaPipe's landmarks of one person."""
    places, seen = reordered(MEDIAPIPE, points, scores)
    shares = places / np.array([size[1], size[0]], np.float32)
    return [
        {"x": float(x), "y": float(y), "z": -0.3, "visibility": float(sure), "presence": 1.0}
        for (x, y), sure in zip(shares, seen, strict=True)
    ]


def write_mediapipe(path, points, scores, size):
    """A list of frames, each a list of landmarks."""
    path = path.with_suffix(".json")
    path.write_text(json.dumps([landmarks(p, s, size) for p, s in zip(points, scores, strict=True)]))
    return path


def write_mediapipe_tasks(path, points, scores, size):
    """Results of the task library, as its users write them: a list of people in each."""
    path = path.with_suffix(".json")
    frames = [
        {"frame": i, "landmarks": [landmarks(p, s, size)], "worldLandmarks": []}
        for i, (p, s) in enumerate(zip(points, scores, strict=True))
    ]
    path.write_text(json.dumps({"fps": 25, "frames": frames}))
    return path


def write_mediapipe_holistic(path, points, scores, size):
    path = path.with_suffix(".json")

    def hand(hand_points):
        hand_points = hand_points.copy()
        hand_points[0] = (hand_points[0] + 0.2 * hand_points[9]) / 1.2  # MediaPipe's root lies in the palm
        shares = hand_points / np.array([size[1], size[0]], np.float32)
        return [{"x": float(x), "y": float(y), "z": 0.0} for x, y in shares]

    frames = [
        {
            "poseLandmarks": landmarks(p, s, size),
            "leftHandLandmarks": hand(p[LEFT_HAND]),
            "rightHandLandmarks": hand(p[RIGHT_HAND]),
        }
        for p, s in zip(points, scores, strict=True)
    ]
    path.write_text(json.dumps(frames))
    return path


def write_mediapipe_npz(path, points, scores, size):
    """x, y, z, visibility."""
    path = path.with_suffix(".npz")
    frames = [
        [[point[name] for name in ("x", "y", "z", "visibility")] for point in landmarks(p, s, size)]
        for p, s in zip(points, scores, strict=True)
    ]
    np.savez(path, keypoints=np.array(frames))
    return path


def write_named_points(path, points, scores, size):
    """TensorFlow.js: each point says its name."""
    path = path.with_suffix(".json")
    frames = [
        [
            {
                "score": 0.9,
                "keypoints": [
                    {"x": float(p[i, 0]), "y": float(p[i, 1]), "score": float(s[i]), "name": BODY_NAMES[i]}
                    for i in reversed(range(17))
                ],
            }
        ]
        for p, s in zip(points, scores, strict=True)
    ]
    path.write_text(json.dumps(frames))
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
    "inferencer": (write_inferencer, "all"),
    "inferencer folder": (write_inferencer_folder, "all"),
    "mmpose result": (write_mmpose_result, "all"),
    "human3.6m": (write_human36m, "no head"),
    "alphapose": (write_alphapose, "body"),
    "halpe 26": (write_halpe_26, "body and feet"),
    "halpe 136": (write_halpe_136, "all"),
    "alphapose 133": (write_alphapose_133, "all"),
    "alphapose separate": (write_alphapose_separate, "body"),
    "alphapose cmu": (write_alphapose_cmu, "body"),
    "alphapose open": (write_alphapose_open, "body"),
    "old openpose": (write_old_openpose, "no feet"),
    "openpose scale 3": (write_scaled_openpose, "all"),
    "openpose scale 4": (write_openpose_from_minus_one, "all"),
    "coco with names": (write_coco_with_names, "body"),
    "mediapipe": (write_mediapipe, "mediapipe"),
    "mediapipe tasks": (write_mediapipe_tasks, "mediapipe"),
    "mediapipe holistic": (write_mediapipe_holistic, "mediapipe with hands"),
    "mediapipe npz": (write_mediapipe_npz, "mediapipe"),
    "named points": (write_named_points, "body"),
}


_LACKING = {
    "all": [],
    "no face": [*range(23, 91)],
    "no feet": [*range(17, 23)],
    "no head": [*range(5), *range(17, 133)],
    "body": [*range(17, 133)],
    "body and feet": [*range(23, 133)],
    "mediapipe": [18, 21, *range(23, 133)],
    "mediapipe with hands": [18, 21, *range(23, 91)],
}


def expected_scores(scores, what):
    """Scores as they come back from a format that does not have everything."""
    scores = scores.copy()
    scores[:, _LACKING[what]] = 0
    if what == "mediapipe with hands":  # the hand model gives no visibility
        scores[:, LEFT_HAND] = scores[:, RIGHT_HAND] = 1
    return scores


def stacked(frames):
    assert all(len(frame) == 1 and isinstance(frame[0], PersonPose) for frame in frames)
    return np.stack([frame[0].keypoints for frame in frames]), np.stack([frame[0].scores for frame in frames])
