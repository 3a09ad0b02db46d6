"""Clips of simple people with known keypoints, for laws about poses."""

from fractions import Fraction

import numpy as np

from posegen.conditions.keypoints import HANDS, INDEX, PersonPose, PoseSequence

FPS = 24
_LENGTHS = {"shoulders": 0.1, "torso": 0.29, "hips": 0.06, "neck": 0.11, "head": 0.02, "upper arms": 0.17,
            "forearms": 0.15, "thighs": 0.245, "shanks": 0.245, "feet": 0.04}  # fmt: skip
"""In heights; shoulders, hips and head are half widths."""


def walk(frames, lengths=None, height=400.0, place=(300.0, 300.0), size=(700, 600), phase=0.0, step=0.0):
    """Somebody who faces the camera, marches on the spot and waves the arms, all limbs in the picture's plane.

    lengths: factors on the usual lengths, by group. place: the middle of the hips. step: pixels to the right per frame.
    """
    lengths = {name: usual * (lengths or {}).get(name, 1.0) * height for name, usual in _LENGTHS.items()}
    time = np.arange(frames) / FPS + phase
    points = np.zeros((frames, 133, 2))
    hips = np.array(place) + np.stack([step * np.arange(frames), 0 * time], 1)
    neck = hips - [0, lengths["torso"]]
    nose = neck - [0, lengths["neck"]]
    points[:, INDEX["nose"]] = nose

    def at(start, angle, length):
        return start + length * np.stack([np.sin(angle), np.cos(angle)], 1)  # 0 points down

    for name, sign, late, hand in (("left", 1, 0.0, HANDS[0]), ("right", -1, np.pi, HANDS[1])):
        swing = 2 * np.pi * time + late
        joints = {"eye": nose + np.array([sign, -1.0]) * lengths["head"],
                  "ear": nose + np.array([2.0 * sign, -0.5]) * lengths["head"],
                  "shoulder": neck + np.array([sign * lengths["shoulders"], 0]),
                  "hip": hips + np.array([sign * lengths["hips"], 0])}  # fmt: skip
        joints["elbow"] = at(joints["shoulder"], sign * (0.6 + 0.5 * np.sin(swing)), lengths["upper arms"])
        joints["wrist"] = at(joints["elbow"], sign * (1.2 + 0.8 * np.sin(swing + 0.5)), lengths["forearms"])
        joints["knee"] = at(joints["hip"], sign * np.maximum(0.8 * np.sin(swing), 0), lengths["thighs"])
        joints["ankle"] = at(joints["knee"], -sign * np.maximum(0.6 * np.sin(swing), 0), lengths["shanks"])
        for toe, angle in (("big_toe", 0.8), ("small_toe", 1.0), ("heel", -0.3)):
            joints[toe] = at(joints["ankle"], sign * angle + 0 * time, lengths["feet"])
        for joint, where in joints.items():
            points[:, INDEX[f"{name}_{joint}"]] = where
        fan = sign * (1.2 + 0.1 * (np.arange(21) % 5))
        reach = lengths["forearms"] * 0.03 * np.arange(21)
        points[:, hand] = joints["wrist"][:, None] + (reach * np.stack([np.sin(fan), np.cos(fan)])).T
    scores = np.full((frames, 133), 0.9)
    scores[:, 23:91] = 0
    return clip_of(points, scores, size)


def clip_of(points, scores, size=(700, 600), fps=FPS):
    """A clip with hands in three dimensions where they are seen."""
    hands = np.stack([np.concatenate([points[:, hand], np.zeros((len(points), 21, 1))], -1) for hand in HANDS], 1)
    hands[np.stack([scores[:, hand].max(1) < 0.3 for hand in HANDS], 1)] = np.nan
    return PoseSequence(points.astype(np.float32), scores.astype(np.float32), hands.astype(np.float32), size,
                        Fraction(fps))  # fmt: skip


def without(pose, *parts):
    """The clip with these points not seen (0, 0)."""
    points, scores = pose.keypoints.copy(), pose.scores.copy()
    chosen = [index for name, index in INDEX.items() if any(part in name for part in parts)]
    points[:, chosen], scores[:, chosen] = 0, 0
    return clip_of(points, scores, pose.size)


def scaled(pose, scale, shift=(0, 0)):
    """The clip with every point at scale · point + shift; `scale` may differ from frame to frame."""
    scale = np.broadcast_to(scale, len(pose))
    points = pose.keypoints * scale[:, None, None] + np.array(shift)
    return clip_of(points, pose.scores.copy(), pose.size)


def one(pose, frame=0):
    """A frame of the clip as a picture's person."""
    return PersonPose(pose.keypoints[frame], pose.scores[frame], pose.hands[frame])
