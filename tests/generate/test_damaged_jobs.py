"""Damage in what a job keeps of the driving video: it is made again, and the video is the same to the byte.

Of the same kind: every file that a job can take up again. `benchmarks/disturbed_runs.py` damages all of them at random.
"""

import shutil
from dataclasses import replace

import pytest

from posegen.conditions.folder import HAND_NORMALS, KEYPOINTS, SKELETON
from posegen.generate.job.job_folder import work_folder
from posegen.generate.long_video import generate_video


def flip(path):
    content = bytearray(path.read_bytes())
    content[int(0.6 * len(content))] ^= 4
    path.write_bytes(content)


def exchange(first, second):
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


DAMAGE = {
    "retargeted/skeleton.mkv": lambda folder: flip(folder / "retargeted" / SKELETON),
    "skeleton.mkv": lambda folder: exchange(folder / SKELETON, folder / HAND_NORMALS),
    "keypoints.npz": lambda folder: (folder / KEYPOINTS).write_bytes(b""),
    "retargeted.json": lambda folder: flip(folder / "retargeted" / "retargeted.json"),
    "background_motion.npz": lambda folder: flip(folder / "background_motion.npz"),
}


@pytest.mark.timeout(900)
def test_damaged_conditions_are_made_again_and_never_make_another_video(config, driving_conditions, caplog):
    job = replace(config, pose="file", pose_file=driving_conditions / KEYPOINTS, retarget="full", steps=1, anchor=None)
    job = replace(job, end=1.5)  # 36 frames: two base segments, and the camera is looked at
    generate_video(job)
    whole = job.output.read_bytes()
    folder = work_folder(job.output) / "conditions"
    for name, damage in DAMAGE.items():
        job.output.unlink()
        for segments in work_folder(job.output).glob("job-*/segments"):
            shutil.rmtree(segments)
        damage(folder)
        caplog.clear()
        generate_video(job)
        assert job.output.read_bytes() == whole, name
        about = [record.message for record in caplog.records if name.rpartition("/")[2] in record.message]
        assert len([line for line in about if "again" in line]) == 1, (name, caplog.text)
