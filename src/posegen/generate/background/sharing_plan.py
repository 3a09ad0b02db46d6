"""Chooses the anchor segment and the segments excluded from background sharing, once the driving video is known.

The keypoints and the video are looked at here; the rules are `conditions/framing.py`'s and `anchor.py`'s.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posegen.conditions.background_motion import MOTION, measure_background_motion
from posegen.conditions.folder import Conditions
from posegen.conditions.framing import choose_framing
from posegen.conditions.keypoints import SEEN
from posegen.config import GenerateConfig
from posegen.errors import PosegenError
from posegen.generate.background.anchor import choose_anchor, describe_unsafe, unsafe_segments
from posegen.generate.background.mask_pictures import masks_folder
from posegen.generate.background.store_choice import StoreKind
from posegen.generate.driving_motion import still_background
from posegen.generate.planning.job_inputs import JobInputs
from posegen.generate.planning.job_needs import JobNeeds
from posegen.generate.planning.resolved_settings import ResolvedSettings, reframed
from posegen.generate.segments import Segment, SegmentPlan
from posegen.model.background_store import StorePrecision
from posegen.model.sharing import SharingConfig
from posegen.progress import Progress


@dataclass(frozen=True)
class SharingPlan:
    """The background that is shared, how it is kept, and the segments that do not take it.

    config: steps and layers. kind, precision: of the store. masked: the person is told from the background; subject:
    the word that names them, if it is not a usual one. pictures: folder for pictures of the masks, if they are wanted.
    """

    anchor: Segment
    config: SharingConfig
    kind: StoreKind
    precision: StorePrecision = "same"
    alone: frozenset[Segment] = frozenset()
    """Base segments filmed from elsewhere."""
    masked: bool = True
    subject: str | None = None
    pictures: Path | None = None


def with_framing(
    inputs: JobInputs, settings: ResolvedSettings, conditions: Conditions, progress: Progress
) -> ResolvedSettings:
    """The settings with the framing measured on the driving keypoints, where that is wanted and matters.

    It matters to the `release` preset. Where nobody is seen, the framing stays as it is, and one line says so.
    """
    config, sharing, fit, pose = inputs.config, settings.sharing, settings.driving_fit, conditions.pose
    if sharing.config is None or config.sharing != "release" or config.framing != "auto":
        return settings
    if inputs.motion is not None:  # its camera shows the whole movement, whatever the result shows
        progress.say(f"framing: that of a motion file is not measured, taken as {sharing.framing} (--framing)")
        return settings
    try:
        framing = choose_framing(fit.apply_points(pose.keypoints), pose.scores, fit.target)
    except PosegenError:
        progress.say(f"framing: too little of a person is seen to tell, taken as {sharing.framing} (--framing)")
        return settings
    framed = reframed(inputs, settings, framing)
    shared = framed.sharing.config
    if shared is not None:
        progress.say(
            f"framing: {framing}, so {len(shared.steps)} steps and {len(shared.layers)} layers share the background"
        )
    return framed


def plan_sharing(
    config: GenerateConfig,
    settings: ResolvedSettings,
    needs: JobNeeds,
    conditions: Conditions,
    plan: SegmentPlan,
    folder: Path,
    progress: Progress,
) -> SharingPlan | None:
    """Choose the anchor by how the driving video's background moves, or as asked for; None where nothing is shared.

    What was measured is kept in `folder`. Says what the camera does, which segment is the anchor, and which segments
    are left out because they are filmed from elsewhere. Raises `PosegenError` if the video cannot be read.
    """
    sharing = settings.sharing
    if sharing.config is None or needs.store is None:
        return None
    if config.motion is not None:
        motion = still_background(conditions)
    else:
        motion = measure_background_motion(
            config.movements,
            conditions,
            settings.driving_fit,
            folder / MOTION,
            lambda done, total: progress.update("background motion", done, total),
        )
        progress.say(motion.describe())
    asked = config.anchor
    shown = np.asarray((conditions.pose.scores >= SEEN).any(axis=1))
    anchor = choose_anchor(motion, plan, shown) if asked is None else plan.base_segments[asked]
    unsafe = unsafe_segments(motion, plan, anchor)
    why = "its background moves least" if asked is None else "as asked for"
    progress.say(f"anchor: base segment {plan.base_segments.index(anchor)} ({anchor.name}), {why}")
    line = describe_unsafe(unsafe)
    if line is not None:
        progress.say(line)
    return SharingPlan(
        anchor=anchor,
        config=sharing.config,
        kind=needs.store.kind,
        precision=sharing.precision,
        alone=frozenset(item.segment for item in unsafe),
        masked=config.sharing_mask,
        subject=config.subject,
        pictures=masks_folder(config.output) if config.save_masks and config.sharing_mask else None,
    )
