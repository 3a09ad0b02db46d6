"""The story of posegen: reference image + driving video -> a video of any length.

read -> conditions -> plan -> per segment (encode -> denoise -> decode) -> blend -> write. Each verb lives in a file of
its own; this one only says in which order they happen, and fails before expensive work where it can.
"""

from posegen.conditions.extraction import extract_conditions
from posegen.conditions.folder import Conditions
from posegen.conditions.keypoints import PersonPose
from posegen.config import GenerateConfig
from posegen.devices import choose_device
from posegen.generate.background.sharing_plan import SharingPlan, plan_sharing, with_framing
from posegen.generate.blend import blend_segments
from posegen.generate.free_noise import FreeNoise
from posegen.generate.job.job_folder import Job, hold_output, work_folder
from posegen.generate.output_videos import write_videos
from posegen.generate.prompting import with_prompt
from posegen.generate.reference_pose import look_at_reference, retargeted
from posegen.generate.request import Request, prepare
from posegen.generate.seams import SeamReport, person_boxes, save_report, watch_seams
from posegen.generate.segment_inputs import SegmentInputs
from posegen.generate.segment_maker import SegmentMaker
from posegen.generate.segments import SegmentPlan
from posegen.heap import trim_heap
from posegen.media.files import check_writable
from posegen.media.fitting import plan_fit
from posegen.model.sources import load_pipeline
from posegen.progress import NullProgress, Progress


def generate_video(config: GenerateConfig, progress: Progress | None = None) -> Request:
    """Make the video that `config` describes, write it to `config.output`, and return the request as it was checked.

    Finished segments are kept in a folder beside the output: the same call goes on where an earlier one stopped. What
    is final so far plays from a growing video beside the output. Raises `PosegenError` for anything the user can mend;
    then nothing half-written is at `config.output`.
    """
    progress = progress or NullProgress()
    choose_device(config.device)
    request = prepare(config)
    if config.dry_run:
        request = with_prompt(request, progress)
        progress.say(request.describe())
        return request
    check_writable(config.output.parent)
    with hold_output(config.output):
        request = with_prompt(request, progress)
        progress.say(request.describe())
        return _make(request, progress)


def _make(request: Request, progress: Progress) -> Request:
    config = request.config
    device = choose_device(config.device)
    request, reference = look_at_reference(request, progress)
    with Job(config.output, request.settings(), vars(config)) as job:
        job.expect(request.keeps(request.plan))
        request, steering, plan, sharing = _look_at_driving(request, reference, job, progress)
        trim_heap()  # estimators leave as much as a small model takes
        pipeline = load_pipeline(config.model, device, request.dtype, request.loras)
        pipeline.prepare_for_inference()
        inputs = SegmentInputs(pipeline, request, steering)
        maker: SegmentMaker | FreeNoise
        if config.long_method == "freenoise":
            maker = FreeNoise(inputs, plan, job, progress)
            frames = maker.frames()
        else:
            maker = SegmentMaker(inputs, plan, sharing, job, progress)
            frames = blend_segments(plan, maker.frames_of)
        report = SeamReport(plan)
        fit = plan_fit(steering.pose.size, request.size, config.fit)
        write_videos(request, steering, watch_seams(frames, report, person_boxes(steering.pose, fit)))
        save_report(report, job.folder / "report.json", progress)
        maker.finish()
        job.finish()
    return request


def _look_at_driving(
    request: Request, reference: PersonPose | None, job: Job, progress: Progress
) -> tuple[Request, Conditions, SegmentPlan, SharingPlan | None]:
    """The request with what the driving video tells, what steers the model, its segments and what they share."""
    config, model = request.config, request.model
    folder = work_folder(config.output) / "conditions"
    conditions = request.conditions or extract_conditions(
        config.driving,
        folder,
        request.driving_fit,
        fps=request.fps,
        hands=config.hands,
        colors=model.skeleton_colors,
        draw_scale=model.draw_scale,
        progress=lambda done, total: progress.update("conditions", done, total),
        chosen=config,
        device=config.device,
    )
    for line in conditions.report:
        progress.say(line)
    plan = request.plan_of(conditions.num_frames)
    request = with_framing(request, conditions, progress)
    job.expect(request.keeps(plan))
    sharing = plan_sharing(request, conditions, plan, folder, progress)
    return request, retargeted(request, conditions, reference, folder / "retargeted", progress), plan, sharing
