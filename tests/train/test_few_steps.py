"""What distillation promises: it trains on the states that the sampler visits, and both networks get their own part."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from posegen.data.latent_cache import LatentCache
from posegen.data.shards import open_shards
from posegen.errors import PosegenError
from posegen.model import lora
from posegen.model.denoise import Conditioning, PoseGuidance, PoseLatents, Sampling, StepHooks, denoise
from posegen.model.mini import TRANSFORMER, build_mini
from posegen.train.checkpoint import trained_parameters
from posegen.train.diffusion import conditioning_of
from posegen.train.discriminator import LatentDiscriminator, conditions_of, discriminator_loss, weighted
from posegen.train.distillation import DistillStage
from posegen.train.few_steps import FewStepBatch, FewStepModel, step_sigmas
from posegen.train.loop import make_optimizers, rates
from posegen.train.memory import TransformerInputs, estimate
from posegen.train.objective import flow_matching_loss
from posegen.train.stage_settings import DistillSettings, Phase
from posegen.train.train_recipe import ModelSettings
from tiny_shards import write_shards

CPU = torch.device("cpu")
PHASE = Phase(steps=8, num_frames=9, batch_size=4)
NO_DROPOUT = {"text_dropout": 0.0, "hand_skeleton_dropout": 0.0, "hand_normal_dropout": 0.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("few_steps")
    write_shards(folder / "shards", "train", shards=1)
    return folder


@pytest.fixture
def make_stage(folder):
    def make(sampled: dict | None = None, adapters: bool = True, **settings) -> DistillStage:
        shards = open_shards(folder / "shards", "train")
        pipeline = build_mini(adapters=adapters, layers=2, heads=1)
        pipeline.register_to_config(**(sampled or {}))
        settings = {"phases": (PHASE,), "precision": "fp32", "validation_clips": 2, "few_steps": 3, "sample_steps": 1,
                    "discriminator_width": 8, "warmup": 0.0, **NO_DROPOUT, **settings}  # fmt: skip  # in rows
        cache = LatentCache(folder / "cache", pipeline, torch.float32)
        stage = DistillStage(pipeline, DistillSettings(**settings), ModelSettings("mini"), shards, shards, cache)
        stage.prepare(lambda *_: None, 0, 1, CPU)
        stage.ready()
        return stage

    return make


def test_without_its_additions_it_is_flow_matching_at_the_levels_of_the_sampler(make_stage):
    stage = make_stage(own_share=0.0, flow_share=0.0, adversarial=0.0, face_weight=3.0)
    batch = stage.make_batch(0, PHASE, 0, slice(0, 4))
    assert batch.weights is not None
    stage.pipeline.scheduler.set_timesteps(sigmas=[1.0, 2 / 3, 1 / 3])
    visited = stage.pipeline.scheduler.sigmas
    assert torch.allclose(visited, stage.sigmas)
    assert set(batch.sigmas.tolist()) <= set(stage.sigmas[:-1].tolist())
    loss = stage.loss(stage.module, batch, CPU)
    wanted = flow_matching_loss(stage.pipeline.transformer, batch.to(CPU)).mean()
    torch.testing.assert_close(loss, wanted)


def test_all_levels_and_both_kinds_of_items_are_drawn(make_stage):
    stage = make_stage(own_share=0.5, flow_share=0.25, stitch_share=0.25, adversarial=0.5)
    batches = [stage.make_batch(step, PHASE, step, slice(0, 4)) for step in range(40)]
    assert [batch.kind for batch in batches[:8]] == ["base", "base", "base", "stitch"] * 2
    sigmas, own = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("sigmas", "own_steps"))
    few = torch.isin(sigmas, stage.sigmas[:-1])
    assert few.float().mean().item() == pytest.approx(0.75, abs=0.12)
    assert set(own.tolist()) == {0.0, 1.0, 2.0}
    started = own > 0
    assert torch.equal(sigmas[started], stage.sigmas[own[started].long()])
    judged = torch.cat([batch.adversarial for batch in batches])
    assert torch.equal(judged[~few], torch.zeros_like(judged[~few]))
    of_step = {level: number / 2 for number, level in enumerate(stage.sigmas[:-1].tolist())}  # none to all of it
    assert judged[few].tolist() == pytest.approx(
        [stage.settings.adversarial * of_step[s] for s in sigmas[few].tolist()]
    )
    assert batches[3].condition_latents[:, :4].any()
    assert not batches[0].condition_latents[:, :4].any()


def test_items_of_a_step_do_not_depend_on_how_a_batch_is_split(make_stage):
    stage = make_stage(adversarial=0.5, teacher_steps=2)
    whole = stage.make_batch(2, PHASE, 2, slice(0, 4))
    parts = [stage.make_batch(2, PHASE, 2, part) for part in (slice(0, 2), slice(2, 4))]
    for name in ("latents", "noise", "sigmas", "own_steps", "adversarial", "taught", "unposed_latents"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in parts])), name


def test_own_steps_are_those_of_the_sampler(make_stage):
    stage = make_stage()
    batch = replace(
        stage.make_batch(0, PHASE, 0, slice(0, 3)), own_steps=torch.tensor([0.0, 1.0, 2.0]), sigmas=stage.sigmas[:3]
    ).to(CPU)
    starts = stage.module.starts(batch)
    torch.testing.assert_close(starts[0], batch.noise[0])  # at noise level 1 a noised clip is noise
    for item in (1, 2):
        seen = {}
        part = stage.make_batch(0, PHASE, 0, slice(item, item + 1)).to(CPU)
        hooks = StepHooks(on_latents=lambda step, latents, seen=seen: seen.update({step: latents}))
        denoise(
            stage.pipeline.transformer, stage.pipeline.scheduler, part.noise, conditioning_of(part),
            Sampling(3, guidance=1.0), hooks=hooks,
        )  # fmt: skip  # what is run, and how
        torch.testing.assert_close(starts[item : item + 1], seen[item], atol=1e-4, rtol=1e-4)


def test_a_teacher_shows_where_its_own_guided_steps_lead(make_stage):
    """From noise over all of the few steps: where `denoise` ends, with the pose as strong as it is sampled with."""
    sampled = {"default_pose_guidance": 2.0, "pose_guidance_until": 0.95, "default_pose_strength": 1.2}
    stage = make_stage(sampled, few_steps=2, teacher_steps=2, own_share=1.0, flow_share=0.0)
    batch = stage.make_batch(0, PHASE, 0, slice(0, 2)).to(CPU)
    teacher = stage.module.teacher[0]
    assert torch.equal(teacher.sigmas[::2], stage.sigmas)
    latents = batch.noise
    for number, (level, after) in enumerate(zip(stage.sigmas[:-1], stage.sigmas[1:], strict=True)):
        at = replace(batch, sigmas=level.expand(2), taught=torch.full((2,), float(number)))
        ends = stage.module.ends(at, latents)
        latents = latents + (after - level) * (latents - ends) / level
    pose = batch.condition_latents[:, 4:]
    black = stage.black_latents(pose).expand_as(pose).float()
    strong = PoseLatents(
        torch.cat([batch.condition_latents[:, :4], torch.lerp(black, pose, 1.2)], dim=1),
        torch.lerp(black, batch.hand_latents, 1.2),
        torch.cat([batch.condition_latents[:, :4], black], dim=1),
        black,
    )
    conditioning = Conditioning(strong, batch.reference_latents, batch.text, None, batch.image)
    sampling = Sampling(4, guidance=1.0, pose_guidance=PoseGuidance(2.0, 0.95))
    wanted = denoise(stage.pipeline.transformer, stage.pipeline.scheduler, batch.noise, conditioning, sampling)
    torch.testing.assert_close(latents, wanted, atol=1e-3, rtol=1e-3)
    unguided = denoise(
        stage.pipeline.transformer, stage.pipeline.scheduler, batch.noise, conditioning, Sampling(4, guidance=1.0)
    )
    assert (wanted - unguided).abs().max() > 0.01


def test_a_recipe_can_say_how_the_teacher_is_guided(make_stage):
    own = make_stage({"default_pose_guidance": 3.0, "pose_guidance_until": 0.5}, teacher_steps=2).module.teacher[0]
    assert (own.sampling.pose_guidance, own.pose_strength) == (PoseGuidance(3.0, 0.5), 1.0)
    said = {"teacher_pose_guidance": 2.0, "teacher_guided_until": 0.9, "teacher_pose_strength": 1.2}
    other = make_stage({"default_pose_guidance": 3.0}, teacher_steps=2, **said).module.teacher[0]
    assert (other.sampling.pose_guidance, other.pose_strength) == (PoseGuidance(2.0, 0.9), 1.2)


def test_a_teacher_stays_as_it_was_and_is_not_kept(make_stage):
    stage = make_stage({}, teacher_steps=2, flow_share=0.0, learning="whole")
    kept = [parameter.clone() for parameter in stage.module.teacher[0].transformer.parameters()]
    assert len(stage.module.state_dict()) == len(make_stage(learning="whole").module.state_dict())
    batch = stage.make_batch(0, PHASE, 0, slice(0, 2))
    optimizer = torch.optim.SGD([p for _, p in trained_parameters(stage.module)], lr=0.1)
    stage.loss(stage.module, batch, CPU).backward()
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(stage.module.teacher[0].transformer.parameters(), kept, strict=True))
    others = zip(stage.pipeline.transformer.parameters(), kept, strict=True)
    assert any(not torch.equal(own, before) for own, before in others)


class Guess(torch.nn.Module):
    """A transformer whose velocity is its only weight."""

    def __init__(self, velocity):
        super().__init__()
        self.velocity = torch.nn.Parameter(velocity)

    def forward(self, **_):
        return (self.velocity,)


def guessed(adversarial):
    random = torch.Generator().manual_seed(0)
    latents, noise, velocity = (torch.randn(2, 4, 3, 4, 4, generator=random) for _ in range(3))
    batch = FewStepBatch(
        latents, torch.randn(2, 8, 3, 4, 4, generator=random), None, None, torch.zeros(2, 1, 1), None, noise,
        torch.tensor([0.5, 0.25]), own_steps=torch.zeros(2), adversarial=torch.full((2,), adversarial),
    )  # fmt: skip  # a table, read in rows
    torch.manual_seed(1)
    model = FewStepModel(Guess(velocity), LatentDiscriminator(4, 16, 6), step_sigmas(2, 1.0))
    return model, batch


def test_the_adversarial_gradient_has_its_share_of_the_regressions():
    gradients = {}
    for share in (0.0, 0.3):
        model, batch = guessed(share)
        model(batch).backward()
        gradients[share] = model.transformer.velocity.grad
    added = (gradients[0.3] - gradients[0.0]).flatten(1).norm(dim=1)
    torch.testing.assert_close(added, 0.3 * gradients[0.0].flatten(1).norm(dim=1), rtol=1e-4, atol=1e-7)


def test_the_adversarial_gradient_makes_latents_look_more_like_clips():
    model, batch = guessed(0.5)
    plain, without = guessed(0.0)
    model(batch).backward()
    plain(without).backward()
    push = model.transformer.velocity.grad - plain.transformer.velocity.grad
    sigmas, velocity = batch.sigmas.view(-1, 1, 1, 1, 1), model.transformer.velocity.detach()
    noisy, conditions = (1 - sigmas) * batch.latents + sigmas * batch.noise, conditions_of(batch)

    def score(moved):
        logits = model.discriminator(noisy - sigmas * moved, conditions)
        return torch.stack([weighted(scores, None) for scores in logits]).mean()

    with torch.no_grad():
        assert score(velocity - 10 * push) > score(velocity)


def test_the_discriminator_learns_from_its_own_loss_alone():
    model, batch = guessed(0.5)
    model(batch).backward()
    found = [parameter.grad.clone() for parameter in model.discriminator.parameters()]
    model.zero_grad()
    sigmas = batch.sigmas.view(-1, 1, 1, 1, 1)
    made = (1 - sigmas) * batch.latents + sigmas * batch.noise - sigmas * model.transformer.velocity.detach()
    discriminator_loss(
        model.discriminator, batch.latents, made, batch.noise, conditions_of(batch), None, model.smoothness
    ).mean().backward()
    for own, parameter in zip(found, model.discriminator.parameters(), strict=True):
        torch.testing.assert_close(own, parameter.grad)


def test_a_discriminator_learns_what_is_soft():
    random = torch.Generator().manual_seed(0)
    real = torch.randn(4, 4, 3, 8, 8, generator=random)
    soft, conditions = 0.3 * real, torch.zeros(4, 16, 3, 8, 8)
    torch.manual_seed(0)
    model = LatentDiscriminator(4, 16, 8)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(30):
        loss = discriminator_loss(model, real, soft, real, conditions, None, 0.0).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 1.0  # 2 where it knows nothing
    steep = discriminator_loss(model, real, soft, torch.randn(real.shape, generator=random), conditions, None, 1.0)
    assert steep.mean() > loss  # smoothness costs


@pytest.mark.parametrize("learning", ["whole", "adapters"])
def test_what_learns(make_stage, learning):
    stage = make_stage(learning=learning, adversarial=0.5)
    names = {name for name, _ in trained_parameters(stage.module)}
    learning_before = set(names)
    assert any(".lora_A.base." in name for name in names)
    assert any(".lora_A.stitch." in name for name in names)
    assert any(name.endswith("base_layer.weight") for name in names) == (learning == "whole")
    for kind in ("stitch", "base"):
        stage.module.use(kind)
        assert lora.active_adapter(stage.pipeline.transformer) == kind
        assert {name for name, _ in trained_parameters(stage.module)} == learning_before
    optimizers = make_optimizers(stage.module, stage.settings)
    judges = {id(parameter) for parameter in stage.module.discriminator.parameters()}
    assert {id(parameter) for group in optimizers[-1].param_groups for parameter in group["params"]} == judges
    assert rates(stage.settings, 0, len(optimizers)) == pytest.approx([1e-4, 3e-4])
    alone = replace(stage.settings, adversarial=0.0)
    assert rates(alone, 0, 2) == pytest.approx([1e-4, 1e-4])
    assert len(make_optimizers(stage.pipeline.transformer, alone)) == 1


def test_new_adapters_begin_on_a_base_without_any(make_stage):
    stage = make_stage(adapters=False, stitch_share=0.5)
    assert lora.adapter_names(stage.pipeline.transformer) == ["base", "stitch"]
    with pytest.raises(PosegenError, match="stitch_share"):
        make_stage(adapters=False, learning="whole", stitch_share=0.5)
    assert lora.adapter_names(make_stage(adapters=False, learning="whole", stitch_share=0.0).pipeline.transformer) == []


def test_another_shift_is_the_exported_models(make_stage, tmp_path):
    stage = make_stage(few_step_shift=1.5)
    assert stage.sigmas.tolist() == pytest.approx([1.0, 0.75, 1.5 / 3.5, 0.0])  # 1.5 u / (1 + 0.5 u)
    assert stage.pipeline.scheduler.config.shift == 1.5


@pytest.mark.parametrize("learning", ["whole", "adapters"])
def test_memory_counts_what_learns(make_stage, learning):
    stage = make_stage(learning=learning, adversarial=0.5)
    config = stage.pipeline.transformer.config
    arguments = {name: config[name] for name in TRANSFORMER}
    found = estimate(stage.settings, "fp32", TransformerInputs(arguments, (4, 4), 16, 65))
    assert found.trained_parameters == sum(parameter.numel() for _, parameter in trained_parameters(stage.module))
    wider = estimate(
        replace(stage.settings, discriminator_width=64), "fp32", TransformerInputs(arguments, (4, 4), 16, 65)
    )
    assert wider.activations > found.activations
    alone = estimate(replace(stage.settings, adversarial=0.0), "fp32", TransformerInputs(arguments, (4, 4), 16, 65))
    assert alone.trained_parameters == sum(p.numel() for _, p in trained_parameters(stage.module.transformer))
    taught = estimate(replace(stage.settings, teacher_steps=2), "fp32", TransformerInputs(arguments, (4, 4), 16, 65))
    assert taught.frozen - found.frozen == pytest.approx(4 * found.parameters, rel=0.01)
