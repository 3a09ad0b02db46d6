"""Makes a video of any length from a reference image and a driving video: the whole process on one screen.

inputs -> conditions -> plan -> per segment (encode -> denoise -> decode) -> blend -> write. Each verb lives in a file
of its own; this one only says in which order they happen, and fails before expensive work where it can.
"""

from collections.abc import Callable
from dataclasses import replace

from posegen.config import GenerateConfig
from posegen.generate.background.sharing_plan import plan_sharing, with_framing
from posegen.generate.blend import blend_segments
from posegen.generate.carried_conditions import carry_conditions
from posegen.generate.driving_conditions import driving_conditions
from posegen.generate.free_noise import FreeNoise
from posegen.generate.job.job_folder import Job, hold_output, work_folder
from posegen.generate.output_videos import write_videos
from posegen.generate.planning.job_identity import job_identity
from posegen.generate.planning.job_inputs import read_inputs
from posegen.generate.planning.job_needs import estimate_disk_usage, estimate_needs
from posegen.generate.planning.resolved_settings import plan_job, resolve_settings
from posegen.generate.reference_pose import ReferencePose, look_at_reference
from posegen.generate.seams import SeamReport, person_boxes, save_report, watch_seams
from posegen.generate.segment_inputs import SegmentInputs
from posegen.generate.segment_maker import SegmentMaker
from posegen.generate.video_plan import VideoPlan, VideoResult, plan_video
from posegen.heap import trim_heap
from posegen.media.files import check_writable
from posegen.media.fitting import plan_fit
from posegen.model.pipeline import PoseGenPipeline
from posegen.model.sources import load_pipeline
from posegen.progress import NullProgress, Progress

LoadPipeline = Callable[..., PoseGenPipeline]
"""Loads a model, with the arguments of `load_pipeline`."""


def generate_video(
    config: GenerateConfig, progress: Progress | None = None, load: LoadPipeline | None = None
) -> VideoResult:
    """Make the video that `config` describes and write it to `config.output`.

    Finished segments are kept in a folder beside the output: the same call resumes where an earlier one stopped. What
    is final so far plays from a growing video beside the output. Raises `PosegenError` for anything the user can mend;
    then nothing half-written is at `config.output`. `load` is for a caller that keeps models loaded between videos.
    """
    progress = progress or NullProgress()
    inputs = read_inputs(config)
    settings = resolve_settings(inputs)
    pose = ReferencePose.of(inputs.reference, config)
    if config.dry_run:
        video = plan_video(inputs, settings, pose, progress)
        progress.say(video.description)
        return VideoResult(config.output, video)
    check_writable(config.output.parent)
    with hold_output(config.output):
        video = plan_video(inputs, settings, pose, progress)
        progress.say(video.description)
        video = replace(video, reference=look_at_reference(video.reference, pose, config, progress))
        identity = job_identity(inputs, video.settings, video.reference.fit)
        with Job(config.output, identity, vars(config)) as job:
            video = _make(video, job, progress, load or load_pipeline)
    return VideoResult(config.output, video)


def _make(video: VideoPlan, job: Job, progress: Progress, load: LoadPipeline) -> VideoPlan:
    inputs, settings, reference = video.inputs, video.settings, video.reference
    config, folder = inputs.config, work_folder(job.output) / "conditions"
    job.record_disk_usage(estimate_disk_usage(inputs, settings, video.needs, settings.plan))
    driving = driving_conditions(inputs, settings, folder, progress)
    settings = replace(settings, driving_fit=driving.cropping(settings.driving_fit))
    plan = plan_job(driving.num_frames, inputs.model, config)
    settings = with_framing(inputs, settings, driving, progress)
    needs = estimate_needs(inputs, settings, job.folder)
    job.record_disk_usage(estimate_disk_usage(inputs, settings, needs, plan))
    sharing = plan_sharing(config, settings, needs, driving, plan, folder, progress)
    conditions = carry_conditions(
        config, driving, settings.driving_fit, reference, inputs.model, folder / "retargeted", progress
    )
    trim_heap()  # estimators leave as much as a small model takes
    pipeline = load(config.model, settings.device, settings.dtype, inputs.loras)
    pipeline.prepare_for_inference()
    encoded = SegmentInputs(pipeline, settings.sampling, reference.image, conditions)
    maker: SegmentMaker | FreeNoise
    if config.long_method == "freenoise":
        maker = FreeNoise(encoded, plan, job, progress)
        frames = maker.frames()
    else:
        maker = SegmentMaker(encoded, plan, sharing, job, settings.fps, progress)
        frames = blend_segments(plan, maker.frames_of)
    report = SeamReport(plan)
    shown = conditions.cropping(plan_fit(conditions.pose.size, settings.size, config.fit))
    boxes = person_boxes(conditions.pose, shown)
    sound = None if settings.sound.track is None else config.movements
    beside = reference.image if config.side_by_side else None
    write_videos(config.output, conditions, watch_seams(frames, report, boxes), sound, beside)
    save_report(report, job.folder / "report.json", progress)
    maker.finish()
    job.finish()
    return replace(video, settings=settings, needs=needs)
