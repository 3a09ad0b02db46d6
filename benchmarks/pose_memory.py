"""Peak memory of what is done with the keypoints of a whole clip, by its length: smoothing, retargeting, boxes.

    python benchmarks/pose_memory.py [--frames 20000 100000]

A person who walks about, waves and is missed now and then, from random numbers. Every figure is of a process of its
own: the most memory it ever had (ru_maxrss) beyond what it had with the clip alone, in kB for each frame of the clip.
The result itself, 2.1 kB a frame but for boxes, is part of it. Two lengths, because what does not grow with the clip
shows in the shorter one.
"""

import argparse
import json
import resource
import subprocess
import sys
from fractions import Fraction

import numpy as np

from posegen.conditions.keypoints import PersonPose, PoseSequence
from posegen.conditions.retargeting import align, retarget
from posegen.conditions.smoothing import smooth_poses
from posegen.generate.seams import person_boxes
from posegen.media.fitting import plan_fit
from results_file import write_result

STAGES = {
    "smoothing": lambda pose, reference: smooth_poses(pose),
    "retargeting": retarget,
    "boxes": lambda pose, reference: person_boxes(pose, plan_fit(pose.size, (480, 640), "crop")),
    "aligning": lambda pose, reference: align(pose, (0.0, 0.0, 640.0, 360.0), reference),
}
STANDING = (
    (0, -80), (4, -84), (-4, -84), (8, -82), (-8, -82), (18, -62), (-18, -62), (24, -38), (-24, -38), (28, -16),
    (-28, -16), (11, -8), (-11, -8), (12, 34), (-12, 34), (13, 76), (-13, 76), (16, 84), (20, 83), (11, 80),
    (-16, 84), (-20, 83), (-11, 80),
)  # fmt: skip
"""Pixels of body and feet around the middle."""


def clip(frames: int) -> PoseSequence:
    random = np.random.default_rng(0)
    keypoints = np.empty((frames, 133, 2), np.float32)
    keypoints[:, :23] = STANDING
    keypoints[:, 23:91] = np.array((0, -82)) + random.uniform(-6, 6, (68, 2))
    for hand, wrist in ((slice(91, 112), 9), (slice(112, 133), 10)):
        keypoints[:, hand] = np.array(STANDING[wrist]) + random.uniform(-8, 8, (21, 2))
    seconds = np.arange(frames, dtype=np.float32) / 30
    for axis, period in ((0, 7), (1, 11)):
        keypoints[..., axis] += (240 + 60 * np.sin(seconds / period))[:, None]
    for point in range(133):
        keypoints[:, point] += random.normal(0, 0.5, (frames, 2)).astype(np.float32)
    scores = np.full((frames, 133), 0.9, np.float32)
    scores[random.random(frames) < 0.02, 91:] = 0
    hands = np.full((frames, 2, 21, 3), 1.0, np.float32)
    return PoseSequence(keypoints, scores, hands, (480, 640), Fraction(30))


def peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(stage: str, frames: int) -> float:
    """kB a frame beyond the clip."""
    one = clip(1)
    STAGES[stage](clip(100), PersonPose(*(values[0] for values in (one.keypoints, one.scores, one.hands))))  # imports
    pose = clip(frames)
    before = peak()
    STAGES[stage](pose, PersonPose(one.keypoints[0] * 1.2, one.scores[0], one.hands[0]))
    return round((peak() - before) / frames / 1000, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=(20_000, 100_000))
    parser.add_argument("--stage", choices=STAGES, help="only print the figure of one stage and length")
    arguments = parser.parse_args()
    if arguments.stage:
        print(measure(arguments.stage, arguments.frames[0]))
        return
    figures: dict[str, object] = {}
    for stage in STAGES:
        for frames in arguments.frames:
            command = [sys.executable, __file__, "--stage", stage, "--frames", str(frames)]
            found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            figures[f"{stage}_kB_a_frame_of_{frames}"] = json.loads(found)
    write_result("pose_memory", figures)


if __name__ == "__main__":
    main()
