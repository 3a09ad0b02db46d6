"""A person who walks in a circle and waves, in space, with known joints: what motion files in the tests are made of.

Metres, z up, right-handed. The person first faces -y, so that their left side is at +x.
"""

import numpy as np

SIDES = (("left", 1.0), ("right", -1.0))
FINGERS = ("thumb", "index", "middle", "ring", "pinky")


def walker(frames=40, fps=30.0, turn=0.6, speed=0.4):
    """Positions by COCO-WholeBody name, and `left_toe`, `head`, `neck`, `hips`: name -> (frames, 3)."""
    time = np.arange(frames) / fps
    angle = turn * time
    forward = np.stack([np.sin(angle), -np.cos(angle), 0 * time], 1)
    left = np.stack([np.cos(angle), np.sin(angle), 0 * time], 1)
    up = np.tile([0.0, 0, 1], (frames, 1))
    hips = np.cumsum(forward, axis=0) * speed / fps + up * (0.95 + 0.02 * np.sin(8 * time))[:, None]
    neck = hips + 0.5 * up + 0.03 * forward
    found = {"hips": hips, "neck": neck, "head": neck + 0.12 * up, "nose": neck + 0.17 * up + 0.12 * forward}
    for side, sign in SIDES:
        swing = np.sin(2 * np.pi * time + (0 if sign > 0 else np.pi))[:, None]
        out = sign * left
        found[f"{side}_eye"] = found["head"] + 0.09 * up + 0.09 * forward + 0.03 * out
        found[f"{side}_ear"] = found["head"] + 0.05 * up + 0.075 * out
        found[f"{side}_shoulder"] = neck + 0.18 * out
        found[f"{side}_hip"] = hips + 0.09 * out
        found[f"{side}_elbow"] = found[f"{side}_shoulder"] + 0.28 * _unit(0.5 * out - up + 0.5 * swing * forward)
        wave = up if sign > 0 else -up  # the left hand is up
        found[f"{side}_wrist"] = found[f"{side}_elbow"] + 0.25 * _unit(wave + 0.4 * forward)
        found[f"{side}_knee"] = found[f"{side}_hip"] + 0.42 * _unit(-up + 0.3 * swing * forward)
        found[f"{side}_ankle"] = found[f"{side}_knee"] + 0.41 * _unit(-up - 0.1 * np.abs(swing) * forward)
        found[f"{side}_toe"] = found[f"{side}_ankle"] + 0.13 * forward - 0.06 * up
        found[f"{side}_big_toe"] = found[f"{side}_toe"] + 0.06 * forward
        found[f"{side}_small_toe"] = found[f"{side}_toe"] + 0.02 * forward + 0.05 * out
        found[f"{side}_heel"] = found[f"{side}_ankle"] - 0.05 * forward - 0.06 * up
        found[f"{side}_hand_0"] = found[f"{side}_wrist"]
        for finger in range(5):
            spread = _unit(wave + (0.25 * (finger - 2) - (0.8 if finger == 0 else 0)) * -out)
            for joint in range(4):
                reach = (0.04 if finger == 0 else 0.09) + 0.03 * joint
                found[f"{side}_hand_{4 * finger + joint + 1}"] = found[f"{side}_wrist"] + reach * spread
    return found


def _unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


HEIGHT = 1.7
"""Of the walker, in metres: positions are compared to a thousandth of it."""
