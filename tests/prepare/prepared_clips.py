"""What tests of preparing raw video share: a recipe of small clips, and videos of the demo's person."""

from pathlib import Path

import posegen
from posegen.media.video import VideoWriter, iterate_frames
from posegen.prepare.prepare_recipe import read_prepare_recipe
from posegen.prepare.stages.clip_stage import run_here
from posegen.prepare.stages.clip_stages import LookStage, ScoreStage
from posegen.prepare.stages.messages import Failure, Look, VideoTask, from_text
from posegen.prepare.stages.stage_work import Work, tasks_of
from posegen.prepare.store import Store

PERSON = Path(posegen.__file__).parent / "demo" / "driving.mp4"
RECIPE = """
[clips]
num_frames = 5
fps = 8.0
size = [96, 64]
[filters]
skip = ["overlay", "bars", "image_quality", "video_quality"]
[filters.thresholds]
person_area = {minimum = 0.01}
one_person = {minimum = 0.0}
face = {minimum = 0.0}
head = {minimum = 0.0}
static_camera = {maximum = 10.0}
background_jitter = {maximum = 10.0}
blur = {minimum = 0.0}
[conditions]
least_seen = 0.1
[output]
clips_per_shard = 2
validation = 0.3
[compute]
timeout = 100.0
workers = 1
"""


def write_recipe(folder: Path, text: str = RECIPE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def person_video(path: Path, start: float = 0.0, seconds: float = 1.3, fps: int = 16, size=(192, 112), crf: int = 20):
    """A part of the demo's driving video, coded anew."""
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, fps, size=size, crf=crf) as writer:
        for frame in iterate_frames(PERSON, fps, start, start + seconds):
            writer.write(cv2.resize(frame, (size[1], size[0]), interpolation=cv2.INTER_AREA))
    return path


def brightness_scorer(recipe, device):
    """A scorer of frames that costs nothing."""
    return lambda clip: {"brightness": float(clip.frames.mean())}


def work_in(folder: Path, make_scorer=brightness_scorer, text: str = RECIPE) -> Work:
    return Work(read_prepare_recipe(write_recipe(folder, text)), Store(str(folder / "out")), make_scorer)


def looked(work: Work, videos) -> list[Look | Failure]:
    """Result of the first stage for each video."""
    rows = list(run_here(LookStage, work, map(VideoTask, videos)))
    return [from_text(row["result"]) for row in rows]


def scored(work: Work, videos) -> None:
    for video, look in zip(videos, looked(work, videos), strict=True):
        list(run_here(ScoreStage, work, iter(tasks_of(video, look))))
