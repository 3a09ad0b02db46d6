"""Describes a job to its user in a few lines, before anything expensive: inputs, fit, segments, tokens, memory."""

from posegen.config import GenerateConfig
from posegen.generate.background.resolved_sharing import ResolvedSharing
from posegen.generate.background.store_choice import describe_precision
from posegen.generate.planning.job_inputs import JobInputs
from posegen.generate.planning.job_needs import JobNeeds
from posegen.generate.planning.resolved_settings import ResolvedSettings
from posegen.media.fitting import Fit
from posegen.model.cpu_attention import describe_processing
from posegen.model.denoise import Sampling
from posegen.model.sources import ModelDescription
from posegen.types import Size


def describe_job(inputs: JobInputs, settings: ResolvedSettings, reference_fit: Fit, needs: JobNeeds) -> str:
    """The plan in a few lines; `reference_fit` is how the reference image is cropped."""
    config, model, size, num_frames = inputs.config, inputs.model, settings.size, settings.num_frames
    sampling, plan = settings.sampling, settings.plan
    video, reference = model.tokens(size)
    kinds = [segment.kind for segment in plan.segments]
    count = " + ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    lines = [
        f"reference  {config.reference.name}: {reference_fit.describe()}",
        f"driving    {config.movements.name}: {settings.driving_fit.describe()}",
        f"result     {num_frames} frames, {float(settings.fps):g} frames/s, "
        f"{float(num_frames / settings.fps):.1f} s, {size[0]}x{size[1]} (height x width)",
        f"plan       {count} segments of {plan.segment_length} frames, {sampling.steps} steps each"
        + ("" if sampling.pose_guidance.scale == 1.0 else f", pose guidance {sampling.pose_guidance.scale:g}")
        + ("" if sampling.pose_strength == 1.0 else f", pose strength {sampling.pose_strength:g}"),
        f"background {_describe_sharing(config, settings.sharing, needs, len(plan.segments))}",
        f"tokens     {video} video + {reference} reference tokens a segment",
        f"device     {describe_processing(settings.device, settings.dtype)}",
        f"memory     about {needs.memory / 1e9:.1f} GB (estimated)",
        f"sound      {settings.sound.describe()}",
        f"prompt     {sampling.prompt}",
    ]
    if inputs.motion is not None:
        lines[1] = f"motion     {config.movements.name}: {inputs.motion.describe()}"
    lines += [f"LoRA       {line}" for line in inputs.lora_lines]
    if inputs.conditions:
        lines.insert(2, f"conditions {inputs.conditions.folder}: as they are there, nothing is extracted")
    if config.save_masks and (settings.sharing.config is None or not config.sharing_mask):
        lines.append("NOTE       --save-masks: there are no subject masks, since no background is shared by them")
    return "\n".join([*lines, *_describe_training(config.model, model, size), *_describe_few_steps(model, sampling)])


def _describe_sharing(config: GenerateConfig, sharing: ResolvedSharing, needs: JobNeeds, num_segments: int) -> str:
    if needs.problem is not None:
        return f"DOES NOT FIT: {needs.problem}"
    if sharing.config is None or needs.store is None or needs.room is None:
        return "not shared" if num_segments > 1 else "not shared: there is one segment"
    if sharing.exact is None or sharing.small is None:
        raise ValueError("what is shared has sizes")
    how = describe_precision(
        config.sharing_precision, sharing.precision, needs.store.kind, sharing.exact, sharing.small, needs.room
    )
    return f"shared as in the {sharing.config.preset}, {needs.store.reason}; {how}"


def _describe_few_steps(model: ModelDescription, sampling: Sampling) -> list[str]:
    """Notes on a model for few steps that is sampled in another way."""
    notes = []
    if model.few_steps and sampling.steps < model.few_steps:
        notes.append(f"NOTE       the model {model.name!r} is made for {model.few_steps} steps: fewer are softer")
    if model.few_steps and (sampling.guidance != 1.0 or sampling.pose_guidance.scale != 1.0):
        notes.append(
            f"NOTE       the model {model.name!r} is made for {model.few_steps} steps without guidance, which makes "
            "its frames harsher and takes longer"
        )
    return notes


def _describe_training(name: str, model: ModelDescription, size: Size) -> list[str]:
    """Notes on what the model was trained for, where that is not what it is used for."""
    notes, known = [], model.trained_size
    if known is not None and known != size:
        notes.append(
            f"NOTE       the model {name!r} was trained at {known[0]}x{known[1]} only: other shapes are "
            "worse, and wide ones show torn and doubled bodies"
        )
    if not model.trained:
        notes.append(f"NOTE       the model {name!r} was never trained to follow poses: expect noise")
    return notes
