"""Plans which encoded clips a training will read, so that `posegen prepare` can encode them ahead of it."""

import hashlib

from posegen.config.toml_settings import sizes_in_words
from posegen.data.encoding import Encoding
from posegen.devices import choose_device, computes_bfloat16
from posegen.errors import PosegenError
from posegen.model.sources import describe_model, model_identity
from posegen.prepare.prepare_recipe import ClipSettings, LatentPlan, LatentSettings
from posegen.train.diffusion import encodings_of
from posegen.train.train_recipe import read_recipe


def plan_latents(settings: LatentSettings, clips: ClipSettings) -> LatentPlan | None:
    """Return the encodings that stages of a training recipe read; None if no recipe is named.

    Raises `PosegenError` for a recipe or model that cannot be used, and for clips that the training would refuse.
    """
    if not settings.recipe:
        return None
    recipe = read_recipe(settings.recipe).computed_on(computes_bfloat16(choose_device("auto")))
    name = settings.model or recipe.model.start
    if name.startswith("scratch:"):
        raise PosegenError(
            f"[latents] {settings.recipe} starts from random weights, whose autoencoder is still to be trained: name "
            "the folder of a trained one ([latents] model)"
        )
    model = describe_model(name)
    if recipe.data.sizes and (others := set(clips.sizes) - set(recipe.data.sizes)):
        raise PosegenError(
            f"[latents] {settings.recipe} wants clips of {sizes_in_words(recipe.data.sizes)} pixels, not "
            f"{sizes_in_words(sorted(others))}"
        )
    encodings: dict[Encoding, None] = {}
    precisions = set()
    for stage in settings.stages:
        chosen = recipe.stage(stage)
        precisions.add(chosen.precision)
        for phase in chosen.phases:
            encodings |= dict.fromkeys(encodings_of(chosen, phase, model).values())
    if len(precisions) > 1:
        raise PosegenError(
            f"[latents] stages {', '.join(settings.stages)} differ in precision: prepare one after another"
        )
    longest = max(encoding.num_frames for encoding in encodings)
    if longest > clips.num_frames:
        raise PosegenError(f"[latents] {settings.recipe} wants clips of {longest} frames, not {clips.num_frames}")
    return LatentPlan(
        model=name,
        identity=hashlib.sha256(model_identity(name).encode()).hexdigest(),
        weights_bytes=model.weights_bytes,
        frozen="float32" if recipe.model.base_weights == "fp32" else "bfloat16",
        computed="bfloat16" if precisions == {"bf16"} else "float32",
        encodings=tuple(encodings),
    )
