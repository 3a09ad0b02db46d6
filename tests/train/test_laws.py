"""What the stages promise: they can learn a clip, begin without effect, and measure memory as it is."""

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from posegen.data.latent_cache import LatentCache
from posegen.data.shards import open_shards
from posegen.errors import PosegenError
from posegen.model import lora
from posegen.model.autoencoder import AutoencoderLightVideo
from posegen.model.mini import TRANSFORMER, VAE, build_mini
from posegen.model.sources import WAN_INPUTS, WAN_TRANSFORMER
from posegen.model.transformer import PoseGenTransformer3DModel
from posegen.train.autoencoding import AutoencoderStage, autoencoder_loss, prepare_autoencoder
from posegen.train.checkpoint import trained_parameters
from posegen.train.diffusion import DiffusionStage, prepare_transformer
from posegen.train.loop import make_optimizers
from posegen.train.memory import Memory, TransformerInputs, check_fits, estimate, estimate_autoencoder
from posegen.train.objective import flow_matching_loss
from posegen.train.stage_settings import KINDS, BaseSettings, Phase, PretrainSettings, VaeSettings
from posegen.train.train_recipe import ModelSettings, read_recipe
from posegen.train.training import TrainingPaths, dry_run
from tiny_shards import write_shards

CPU = torch.device("cpu")
PHASE = Phase(steps=1, num_frames=9, batch_size=4)
INPUTS = TransformerInputs(TRANSFORMER, (8, 8), text_tokens=16, image_tokens=65)


def make_stage(folder: Path, stage="base", **settings) -> DiffusionStage:
    if not (folder / "shards").exists():
        write_shards(folder / "shards", "train", shards=1, clips=1)
    shards = open_shards(folder / "shards", "train")
    pipeline = build_mini(adapters=False)
    common = {"phases": (PHASE,), "precision": "fp32", "text_dropout": 0.0, "hand_skeleton_dropout": 0.0,
              "hand_normal_dropout": 0.0, "validation_clips": 1, **settings}  # fmt: skip  # a table, read in rows
    cache = LatentCache(folder / "cache", pipeline, torch.float32)
    made = DiffusionStage(pipeline, KINDS[stage](**common), ModelSettings("mini"), shards, shards, cache)
    made.prepare(lambda *_: None, 0, 1, CPU)
    made.ready()
    return made


def test_one_clip_can_be_learned(tmp_path):
    """Always the same batch of one clip: the loss falls below 5 % of its start."""
    stage = make_stage(tmp_path, "pretrain")
    batch = stage.make_batch(0, PHASE, 0, slice(0, 4))
    optimizer = torch.optim.AdamW([p for _, p in trained_parameters(stage.module)], lr=1e-3)
    losses = []
    for _ in range(150):
        loss = stage.loss(stage.module, batch, CPU)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(stage.module.parameters(), 1.0)
        optimizer.step()
        if losses[-1] < 0.05 * losses[0]:
            break
    assert losses[-1] < 0.05 * losses[0], (losses[0], losses[-1])


@torch.no_grad()
def test_adapters_and_hands_begin_without_effect(tmp_path):
    stage = make_stage(tmp_path)
    batch = stage.make_batch(0, PHASE, 0, slice(0, 2)).to(CPU)
    transformer = stage.pipeline.transformer
    with_adapter = flow_matching_loss(transformer, batch)
    without_hands = flow_matching_loss(transformer, replace(batch, hand_latents=None))
    lora.use_adapter(transformer, None)
    bare = flow_matching_loss(transformer, batch)
    assert torch.equal(with_adapter, bare)
    torch.testing.assert_close(without_hands, bare, atol=1e-6, rtol=0)


def test_only_lora_and_new_embeddings_learn_in_base(tmp_path):
    stage = make_stage(tmp_path)
    names = {name for name, _ in trained_parameters(stage.module)}
    whole = {name.split(".")[0] for name in names if ".lora_" not in name}
    assert whole == {"reference_patch_embedding", "hand_patch_embedding", "hand_projection"}
    layers = {name.split(".lora_")[0].split(".", 2)[2] for name in names if ".lora_" in name}
    attention = {f"attn{index}.{part}" for index in (1, 2) for part in ("to_q", "to_k", "to_v", "to_out.0")}
    assert layers == attention | {"attn2.add_k_proj", "attn2.add_v_proj", "ffn.net.0.proj", "ffn.net.2"}
    assert not {name for name in names if "patch_embedding" in name and name.startswith("patch_")}


def test_muon_takes_the_matrices_of_the_blocks(tmp_path):
    stage = make_stage(tmp_path, "pretrain", optimizer="muon")
    adam, muon = make_optimizers(stage.module, stage.settings)
    taken = {id(p) for group in muon.param_groups for p in group["params"]}
    left = {id(p) for group in adam.param_groups for p in group["params"]}
    for name, parameter in trained_parameters(stage.module):
        matrix = name.startswith("blocks.") and name.endswith("weight") and parameter.ndim == 2
        assert (id(parameter) in taken) == matrix, name
        assert (id(parameter) in left) != matrix, name
    assert isinstance(muon, torch.optim.Muon)


def test_runs_of_longer_windows_are_parts_of_them(tmp_path):
    """Latents, skeletons and hands of one item are cut at the same place, and not always there."""
    stage = make_stage(tmp_path)
    whole = stage.make_batch(0, PHASE, 0, slice(0, 1))
    part = replace(PHASE, num_frames=5, of_frames=9)
    firsts = set()
    for step in range(8):
        cut = stage.make_batch(step, part, 0, slice(0, 1))
        assert cut.latents.shape[2] == cut.noise.shape[2] == cut.condition_latents.shape[2] == 2
        firsts |= {
            first
            for first in range(2)
            if torch.equal(cut.latents, whole.latents[:, :, first : first + 2])
            and torch.equal(cut.hand_latents, whole.hand_latents[:, :, first : first + 2])
            and torch.equal(cut.condition_latents[:, 4:], whole.condition_latents[:, 4:, first : first + 2])
        }
    assert firsts == {0, 1}


def test_dropouts_change_what_they_should(tmp_path):
    plain = make_stage(tmp_path).make_batch(0, PHASE, 0, slice(0, 4))
    off = make_stage(tmp_path, text_dropout=1.0, hand_skeleton_dropout=1.0, hand_normal_dropout=1.0)
    dropped = off.make_batch(0, PHASE, 0, slice(0, 4))
    assert torch.equal(plain.latents, dropped.latents)
    assert torch.equal(plain.noise, dropped.noise)
    assert torch.equal(dropped.text[0], off.empty_text)
    assert not torch.equal(plain.condition_latents, dropped.condition_latents)
    black = off.cache.latents(torch.zeros(9, 32, 32, 3, dtype=torch.uint8).numpy())
    torch.testing.assert_close(dropped.hand_latents[0], black, atol=0.02, rtol=0.01)


def test_stitch_keeps_given_frames_of_hands_when_hands_are_dropped(tmp_path):
    stage = make_stage(tmp_path, "stitch", hand_normal_dropout=1.0)
    encoding = stage.encodings(PHASE)["pose"]
    assert (encoding.head, encoding.tail) == (2, 2)  # 9 and 8 of 33, in proportion
    whole = make_stage(tmp_path, "stitch").make_batch(0, PHASE, 0, slice(0, 4))
    dropped = stage.make_batch(0, PHASE, 0, slice(0, 4))
    assert whole.condition_latents[0, :4, 0].eq(1).all()
    assert torch.equal(dropped.hand_latents[:, :, 0], whole.hand_latents[:, :, 0])


def test_items_of_a_step_do_not_depend_on_how_a_batch_is_split(tmp_path):
    stage = make_stage(tmp_path)
    whole = stage.make_batch(5, PHASE, 5, slice(0, 4))
    parts = [stage.make_batch(5, PHASE, 5, slice(first, first + 2)) for first in (0, 2)]
    for name in ("latents", "noise", "sigmas", "condition_latents"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in parts]))


def test_batches_of_the_vae_do_not_depend_on_how_they_are_split(tmp_path):
    shards = open_shards(write_shards(tmp_path, "train"), "train")
    stage = AutoencoderStage(build_mini(adapters=False), VaeSettings(phases=(PHASE,)), shards, shards)
    whole = stage.make_batch(5, PHASE, 5, slice(0, 4))
    parts = [stage.make_batch(5, PHASE, 5, slice(first, first + 2)) for first in (0, 2)]
    for name, tensor in whole.items():
        assert torch.equal(tensor, torch.cat([part[name] for part in parts])), name


# -- memory ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wan2.1-i2v-14b", "wan2.1-i2v-14b-one-gpu"])
def test_the_14b_recipes_fit_what_they_are_written_for(name, tmp_path):
    recipe = read_recipe(name)
    stage, settings = "base", recipe.stage("base")
    stitch = vars(recipe.stage("stitch"))  # they differ in what is given only
    assert {name: stitch[name] for name in vars(settings)} == vars(settings)
    assert not stitch["from_base"]
    processes = 8 if settings.strategy == "fsdp" else 1
    height, width = max(recipe.data.sizes)
    inputs = TransformerInputs({**WAN_TRANSFORMER, **WAN_INPUTS}, (height // 8, width // 8), 512, 257)
    memory = estimate(settings, recipe.model.base_weights, inputs, processes)
    assert 16.0e9 < memory.parameters - memory.trained_parameters < 16.5e9
    assert memory.total < 80e9
    nothing = TrainingPaths(tmp_path, tmp_path, tmp_path, tmp_path)
    assert f"{memory.total / 1e9:.2f} GB" in dry_run(stage, recipe, nothing, processes)


@contextmanager
def kept_by_autograd(model):
    """Bytes by place of what autograd keeps inside the block, without the model's own weights."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield kept


def test_activations_are_what_autograd_really_keeps():
    """The estimate on the meta device against tensors saved in a real forward pass."""
    settings = PretrainSettings(phases=(replace(PHASE, batch_size=1),), precision="fp32")
    memory = estimate(settings, "fp32", INPUTS)
    torch.manual_seed(0)
    model = PoseGenTransformer3DModel(**TRANSFORMER)
    prepare_transformer(model, settings, "fp32")
    with kept_by_autograd(model) as kept:
        model(
            torch.randn(1, 32, 3, 8, 8),
            torch.randn(1, 36, 3, 8, 8),
            torch.randn(1, 32, 3, 8, 8),
            torch.randn(1, 32, 1, 8, 8),
            torch.tensor([500.0]),
            torch.randn(1, 16, 64),
            torch.randn(1, 65, 64),
        )
    assert memory.activations == pytest.approx(sum(kept.values()), rel=0.15)
    assert memory.tokens == 4 * 16


def test_checkpointing_and_sharding_need_less():
    phase = replace(PHASE, batch_size=2)
    plain = estimate(BaseSettings(phases=(phase,)), "bf16", INPUTS)
    saving = BaseSettings(phases=(phase,), gradient_checkpointing=True)
    assert estimate(saving, "bf16", INPUTS).activations < 0.5 * plain.activations
    parts = BaseSettings(phases=(phase,), accumulate=2)
    assert estimate(parts, "bf16", INPUTS).activations < 0.6 * plain.activations
    sharded = estimate(BaseSettings(phases=(phase,), strategy="fsdp"), "bf16", INPUTS, 2)
    assert sharded.frozen == plain.frozen // 2
    assert estimate(saving, "fp8", INPUTS).frozen == plain.frozen // 2


def test_too_little_memory_is_said_before_training():
    with pytest.raises(PosegenError, match=r"would need about .* GB .* raise accumulate"):
        check_fits(Memory(10**15, 0, 0, 1, 1, 0), CPU, "base")


@pytest.mark.parametrize("more", [{}, {"decoder_only": True, "motion_weight": 1.0}])
def test_an_autoencoders_activations_are_what_autograd_really_keeps(more):
    settings = VaeSettings(phases=(replace(PHASE, crop=32),), precision="fp32", accumulate=2, **more)
    memory = estimate_autoencoder(settings, VAE, (48, 40))
    model = AutoencoderLightVideo(**VAE)
    prepare_autoencoder(model, settings)
    with kept_by_autograd(model) as kept:
        scale = torch.ones(2, 1, 1, 1, 1) if settings.decoder_only else None
        loss = autoencoder_loss(model, torch.randn(2, 3, 9, 32, 32), torch.randn(2, 32, 3, 4, 4), scale, settings)
    assert loss.requires_grad
    assert memory.activations == pytest.approx(sum(kept.values()), rel=0.15)
    assert memory.tokens == 2 * 3 * 4 * 4
    learning = sum(parameter.numel() for _, parameter in trained_parameters(model))
    assert (memory.trained_parameters, memory.trained) == (learning, 16 * learning)
    assert estimate_autoencoder(replace(settings, ema=0.9), VAE, (48, 40)).trained == 20 * learning


def test_a_dry_run_tells_the_memory_of_the_vae_too(tmp_path):
    recipe, nothing = read_recipe("mini-autoencoder"), TrainingPaths(tmp_path, tmp_path, tmp_path, tmp_path)
    sized = replace(recipe, data=replace(recipe.data, sizes=((192, 112),)))
    memory = estimate_autoencoder(recipe.stage("vae"), VAE, (192, 112), 2)
    assert f"{memory.total / 1e9:.2f} GB" in dry_run("vae", sized, replace(nothing, start="mini"), 2)
    with pytest.raises(PosegenError, match="not AutoencoderKLWan"):
        dry_run("vae", sized, replace(nothing, start="wan2.1-i2v-14b"))
