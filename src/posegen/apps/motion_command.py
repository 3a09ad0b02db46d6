"""`posegen motion`: what is understood of a motion file, in words and as a video."""

from posegen.apps.terminal import Terminal
from posegen.config import MotionConfig, chosen_person, parse_motion_fps, parse_size, parse_viewpoint
from posegen.errors import PosegenError
from posegen.media.files import check_writable
from posegen.motion.motion_data import Asked
from posegen.motion.motion_files import read_motion
from posegen.motion.stick_figure import show_motion


def show(config: MotionConfig) -> None:
    """Print lines about the file, and write the video."""
    if config.video.resolve() == config.file.resolve():
        raise PosegenError(f"--output {config.video} is the input: choose another name")
    fps = None if config.motion_fps is None else parse_motion_fps(config.motion_fps)
    asked = Asked(chosen_person(config.person), fps)
    motion = read_motion(config.file, asked)
    check_writable(config.video.parent)
    with Terminal() as terminal:
        shown = show_motion(
            motion,
            config.file.name,
            config.video,
            parse_size(config.size),
            parse_viewpoint(config.camera),
            config.start,
            config.seconds,
            lambda done, total: terminal.update("stick figure", done, total),
        )
        for line in shown.lines:
            terminal.say(line)
        terminal.say(f"wrote {shown.video}")
