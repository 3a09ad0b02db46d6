"""`posegen prepare`: makes training data from raw video; loads no model itself."""

from posegen.apps.terminal import Terminal
from posegen.config import PrepareConfig
from posegen.extras import require_extra


def prepare(config: PrepareConfig) -> None:
    """Make the data set, then report the result."""
    require_extra("prepare", "posegen prepare")
    from posegen.prepare.prepare_recipe import read_prepare_recipe
    from posegen.prepare.prepare_videos import prepare_data

    recipe = read_prepare_recipe(config.recipe)
    plan = None
    if recipe.latents.recipe:
        from posegen.train.latent_plan import plan_latents

        plan = plan_latents(recipe.latents, recipe.clips)
    with Terminal() as terminal:
        done = prepare_data(config.inputs, config.output, recipe, config.ray, config.refilter, terminal, plan=plan)
        for url, reason in sorted(done.bad.items())[:10]:
            terminal.say(f"! {url}: {reason}")
        if len(done.bad) > 10:
            terminal.say(f"! and {len(done.bad) - 10} more videos that cannot be used")
        terminal.say(
            f"{done.videos} videos, {done.clips} clips, {done.passed} pass the filters and repeat no other, "
            f"{done.kept} are kept ({done.hours:.3g} hours); why each was kept or dropped: {done.index}"
        )
