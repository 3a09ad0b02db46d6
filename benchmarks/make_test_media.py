"""Make the videos and the picture of a person that the tests use: rendered people, steady textured rooms, sound.

    python benchmarks/make_test_media.py [--output tests/media_files] [--only presenter.mp4 ...]

Same seeds, same frames. The seeds were chosen by looking at what they give; `tests/media_files/README.md` says what is
to be seen. Two people in one room are two renders in front of one camera, the nearer one laid over the other.
"""

import argparse
import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from posegen.media.image import write_image
from posegen.media.video import VideoWriter
from posegen.synthetic.clip import make_person
from posegen.synthetic.mocap import captured_motion
from posegen.synthetic.motion import LEG_STYLES, procedural_motion
from posegen.synthetic.render import Picture
from posegen.synthetic.rig import Pose, forward_kinematics, rotation, skinning_transforms
from posegen.synthetic.scene import Camera, draw_background, draw_camera, draw_lights

LANDSCAPE, PORTRAIT = (360, 640), (640, 360)
SOUND_RATE = 44_100
Frames = Iterator[np.ndarray]
Curve = Callable[[np.ndarray], np.ndarray]
"""From the share of the take (T,), 0..1, to metres or radians (T,)."""


@dataclass(frozen=True)
class Take:
    """One person in one room. `seed` draws movement, camera and light, `room` the background."""

    person: int
    seed: int
    room: int
    size: tuple[int, int]
    frames: int
    fps: int
    framing: str
    movement: str = "stand"
    """A style of the legs, or a clip of motion capture."""
    aside: Curve | None = None
    """Metres to the camera's right."""
    nearer: float = 0.0
    """Metres towards the camera."""
    turn: Curve | None = None
    """Radians about the vertical axis."""
    backwards: bool = False
    """Whether the movement is played from its end."""
    camera: Camera | None = None
    """Drawn where None."""

    def shot(self) -> Camera:
        """The camera that `seed` draws for the person where they stand without `aside`, `nearer` and `turn`."""
        return self._camera(self._pose())

    def pictures(self) -> Iterator[Picture]:
        """Render the frames, in order."""
        person = make_person(self.person, True)
        pose = self._pose()
        camera = self.camera or self._camera(pose)
        share = np.linspace(0, 1, self.frames)
        if self.turn is not None:
            angles = np.zeros((self.frames, 3))
            angles[:, 2] = self.turn(share)
            pose.rotations[:, 0] = rotation(angles) @ pose.rotations[:, 0]
        if self.aside is not None:
            pose.root[:] += self.aside(share)[:, None] * camera.right
        pose.root[:, :2] -= self.nearer * camera.ahead[:2]
        turned, joints = forward_kinematics(person.body.bone_heads, pose.rotations, pose.root)
        transforms = skinning_transforms(person.body.bone_heads, turned, joints)
        background = draw_background(np.random.default_rng([self.room, 3]))
        lights = draw_lights(np.random.default_rng([self.seed, 5]), camera, background.outdoors)
        person.renderer.start_clip(camera, lights, background, self.room, joints.mean((0, 1)))
        for matrices, actions in zip(transforms, pose.actions, strict=True):
            person.renderer.pose(matrices, actions)
            yield person.renderer.render()

    def film(self) -> Frames:
        """The frames alone."""
        return (picture.rgb for picture in self.pictures())

    def _pose(self) -> Pose:
        body = make_person(self.person, True).body
        random = np.random.default_rng([self.seed, 3])
        if self.movement in LEG_STYLES:
            pose = procedural_motion(random, body, self.frames, self.fps, self.movement)
        else:
            pose = captured_motion(random, body, self.frames, self.fps, self.movement, 0.0)
        order = slice(None, None, -1 if self.backwards else 1)
        return Pose(pose.rotations[order].copy(), pose.root[order].copy(), pose.actions[order].copy())

    def _camera(self, pose: Pose) -> Camera:
        body = make_person(self.person, True).body
        _, joints = forward_kinematics(body.bone_heads, pose.rotations, pose.root)
        return draw_camera(np.random.default_rng([self.seed, 4]), self.framing, body, joints, *self.size)


PRESENTER = Take(27, 82, 57, LANDSCAPE, 100, 30, "half-body", backwards=True)  # facing the camera at first
DANCER = Take(13, 304, 31, PORTRAIT, 96, 24, "full-body", "march")


def in_front(near: Iterator[Picture], far: Iterator[Picture]) -> Frames:
    """Two takes of one camera in one room as one: the near one is laid over the far one."""
    for first, second in zip(near, far, strict=True):
        share = first.coverage[..., :1]
        yield np.rint(first.rgb * share + second.rgb * (1 - share)).astype(np.uint8)


def sound(seconds: float) -> np.ndarray:
    """Something between speech and music (N,) in -1..1: notes of changing height, and no two moments alike."""
    random = np.random.default_rng(7)
    time = np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE
    result = np.zeros(len(time))
    start = 0.0
    while start < seconds:
        length, pitch = random.uniform(0.12, 0.3), 110 * 2 ** random.uniform(0, 2)
        inside = (time >= start) & (time < start + length)
        share = (time[inside] - start) / length
        tones = sum(np.sin(2 * np.pi * pitch * k * time[inside]) / k for k in range(1, 6))
        breath = random.normal(0, 0.3, inside.sum())
        result[inside] = 0.2 * np.sin(np.pi * share) * (tones + breath)
        start += length + random.uniform(0, 0.08)
    return result


def write_sound(path: Path, seconds: float) -> None:
    """A small video whose sound is `sound`, as AAC."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.height, video.width, video.pix_fmt = 64, 64, "yuv420p"
        audio = container.add_stream("aac", rate=SOUND_RATE, layout="mono", bit_rate=48_000)
        for _ in range(round(seconds * 25) + 1):
            grey = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 99, np.uint8), format="rgb24")
            container.mux(video.encode(grey))
        container.mux(video.encode(None))
        samples = sound(seconds).astype(np.float32)
        for start in range(0, len(samples), 1024):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))


def write_video(path: Path, frames: Frames, fps: int, seconds: float | None = None) -> None:
    """H.264; with sound of `seconds`, silent where that is None."""
    with tempfile.TemporaryDirectory() as folder:
        audio = Path(folder) / "sound.mp4" if seconds is not None else None
        if audio is not None and seconds is not None:
            write_sound(audio, seconds)
        first = next(frames)
        with VideoWriter(path, fps, first.shape[:2], audio_from=audio, crf=23) as writer:
            writer.write(first)
            for frame in frames:
                writer.write(frame)


def presenter(path: Path) -> None:
    """A woman who talks with her hands."""
    write_video(path, PRESENTER.film(), PRESENTER.fps, 3.6)


def dancer(path: Path) -> None:
    """Somebody who steps in place and moves her arms, head to feet."""
    write_video(path, DANCER.film(), DANCER.fps, 4.2)


def turning(path: Path) -> None:
    """Somebody who turns round once."""
    take = Take(36, 9, 47, PORTRAIT, 48, 16, "full-body", turn=lambda share: 2 * np.pi * share)
    write_video(path, take.film(), take.fps)


def leaving(path: Path) -> None:
    """Somebody who walks out of the picture to the right, stays away, and comes back from the left."""

    def aside(share: np.ndarray) -> np.ndarray:
        return np.interp(share, (0, 0.2, 0.4, 0.64, 0.65, 0.85, 1), (0.3, 0.3, 2.2, 2.2, -2.2, -0.5, -0.5))

    take = Take(25, 5, 26, LANDSCAPE, 64, 16, "half-body", aside=aside)
    write_video(path, take.film(), take.fps)


def crossing(path: Path) -> None:
    """Two people who walk past each other, the nearer one to the right."""
    near = Take(29, 21, 31, LANDSCAPE, 40, 16, "three-quarter", nearer=0.1, aside=lambda share: 1.6 * share - 0.8)
    far = replace(near, person=20, seed=31, nearer=-0.7, aside=lambda share: 0.9 - 1.8 * share, camera=near.shot())
    write_video(path, in_front(near.pictures(), far.pictures()), near.fps)


def cut(path: Path) -> None:
    """Somebody at the right of a room, then somebody else at the left of another one."""
    first = Take(31, 2, 52, LANDSCAPE, 20, 16, "half-body", aside=lambda share: 0.5 + 0 * share)
    second = Take(23, 12, 42, LANDSCAPE, 20, 16, "half-body", aside=lambda share: -0.5 + 0 * share)
    write_video(path, itertools.chain(first.film(), second.film()), first.fps)


def portrait(path: Path) -> None:
    """A man, half-body, in a portrait picture."""
    write_image(path, next(Take(51, 204, 31, PORTRAIT, 1, 16, "half-body").film()))


FILES = {
    "presenter.mp4": presenter,
    "dancer.mp4": dancer,
    "turning.mp4": turning,
    "leaving.mp4": leaving,
    "crossing.mp4": crossing,
    "cut.mp4": cut,
    "man.png": portrait,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "tests" / "media_files")
    parser.add_argument("--only", nargs="+", choices=FILES, default=list(FILES))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in arguments.only:
        FILES[name](arguments.output / name)
        print(f"{(arguments.output / name).stat().st_size:>9,} {name}", flush=True)


if __name__ == "__main__":
    main()
