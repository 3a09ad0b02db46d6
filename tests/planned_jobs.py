"""Plans of jobs for tests of many folders: the video of a config before it is made, and its job's identity."""

from posegen.generate.planning.job_identity import job_identity
from posegen.generate.planning.job_inputs import read_inputs
from posegen.generate.planning.resolved_settings import resolve_settings
from posegen.generate.reference_pose import ReferencePose
from posegen.generate.video_plan import plan_video
from posegen.progress import NullProgress


def resolved(config):
    """The settings of a config, resolved from its inputs."""
    return resolve_settings(read_inputs(config))


def planned(config, progress=None):
    """The `VideoPlan` of a config, with its prompt."""
    inputs = read_inputs(config)
    pose = ReferencePose(inputs.reference, config, config.device)
    return plan_video(inputs, resolve_settings(inputs), pose, progress or NullProgress())


def described(config):
    """The lines that a user reads before the work."""
    return planned(config).description


def identity(video):
    """What the job of a `VideoPlan` is recognised by."""
    return job_identity(video.inputs, video.settings, video.reference.fit)
