"""What a job shares its background from, decided once the driving video is known: framing, anchor, who is left out.

The keypoints and the video are looked at here; the rules are `conditions/framing.py`'s and `anchor.py`'s.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from posegen.conditions.background_motion import MOTION, measure_background_motion
from posegen.conditions.folder import Conditions
from posegen.conditions.framing import choose_framing
from posegen.errors import PosegenError
from posegen.generate.background.anchor import choose_anchor, describe_unsafe, unsafe_segments
from posegen.generate.request import Request
from posegen.generate.segments import Segment, SegmentPlan
from posegen.progress import Progress


@dataclass(frozen=True)
class SharingPlan:
    """Whose background is shared, and who does not take it."""

    anchor: Segment
    alone: frozenset[Segment] = frozenset()
    """Base segments filmed from elsewhere."""


def with_framing(request: Request, conditions: Conditions, progress: Progress) -> Request:
    """The request with the framing measured on the driving keypoints, where that is wanted and matters.

    It matters to the `release` preset. Where nobody is seen, the request's own framing stays, and one line says so.
    """
    config = request.config
    if request.sharing is None or config.sharing != "release" or config.framing != "auto":
        return request
    fit, pose = request.driving_fit, conditions.pose
    try:
        framing = choose_framing(fit.apply_points(pose.keypoints), pose.scores, fit.target)
    except PosegenError:
        progress.say(f"framing: too little of a person is seen to tell, taken as {request.framing} (--framing)")
        return request
    framed = replace(request, framing=framing)
    assert framed.sharing is not None
    shared = f"{len(framed.sharing.steps)} steps and {len(framed.sharing.layers)} layers share the background"
    progress.say(f"framing: {framing}, so {shared}")
    return framed


def plan_sharing(
    request: Request, conditions: Conditions, plan: SegmentPlan, folder: Path, progress: Progress
) -> SharingPlan | None:
    """Choose the anchor by how the driving video's background moves, or as asked for; None where nothing is shared.

    What was measured is kept in `folder`. Says what the camera does, which segment is the anchor, and which segments
    are left out because they are filmed from elsewhere. Raises `PosegenError` if the video cannot be read.
    """
    if request.sharing is None:
        return None
    motion = measure_background_motion(
        request.config.driving,
        conditions,
        request.driving_fit,
        folder / MOTION,
        lambda done, total: progress.update("background motion", done, total),
    )
    asked = request.config.anchor
    anchor = choose_anchor(motion, plan) if asked is None else plan.base_segments[asked]
    unsafe = unsafe_segments(motion, plan, anchor)
    progress.say(motion.describe())
    why = "its background moves least" if asked is None else "as asked for"
    progress.say(f"anchor: base segment {plan.base_segments.index(anchor)} ({anchor.name}), {why}")
    line = describe_unsafe(unsafe)
    if line is not None:
        progress.say(line)
    return SharingPlan(anchor, frozenset(item.segment for item in unsafe))
