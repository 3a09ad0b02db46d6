"""One training run over clips of several sizes: each batch holds one, and every clip is seen equally often."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_run import StopAfter, assert_same_bits

from posegen.data.latent_cache import LatentCache
from posegen.data.shards import open_shards
from posegen.errors import PosegenError
from posegen.model.mini import build_mini, transformer_sizes
from posegen.model.sources import describe_model
from posegen.progress import NullProgress
from posegen.train.autoencoding import AutoencoderStage
from posegen.train.diffusion import DiffusionStage
from posegen.train.memory import TransformerInputs, estimate
from posegen.train.objective import FlowBatch
from posegen.train.schedule import (
    bucket_of_step,
    bucketed_items_of_step,
    in_turn,
    items_of_step,
    make_buckets,
    shares,
)
from posegen.train.stage_settings import BaseSettings, Phase, VaeSettings
from posegen.train.train_recipe import ModelSettings
from posegen.train.training import dry_run, train
from tiny_shards import write_shards

CPU = torch.device("cpu")
TALL, WIDE = (48, 32), (32, 48)
PHASE = Phase(steps=8, num_frames=5, batch_size=4)
COUNTS = st.lists(st.integers(1, 12), min_size=1, max_size=4).map(tuple)


# -- which items a step has, as arithmetic -----------------------------------------------------------------------------


@given(COUNTS, st.integers(1, 5), st.integers(0, 3))
def test_after_as_many_steps_as_items_each_was_seen_once_for_each_place_of_a_batch(counts, batch_size, seed):
    buckets = make_buckets([bucket for bucket, count in enumerate(counts) for _ in range(count)])
    seen = [0] * sum(counts)
    for step in range(sum(counts)):
        chosen = bucketed_items_of_step(buckets, batch_size, step, seed)
        assert len(chosen) == batch_size
        assert any(set(chosen) <= set(bucket) for bucket in buckets)
        for item in chosen:
            seen[item] += 1
    assert seen == [batch_size] * sum(counts)


@given(COUNTS, st.integers(0, 60))
def test_no_bucket_is_ever_far_from_its_share(counts, steps):
    taken = [bucket_of_step(counts, step) for step in range(steps)]
    for bucket, count in enumerate(counts):
        assert [number for which, number in taken if which == bucket] == list(range(sum(b == bucket for b, _ in taken)))
        assert abs(sum(which == bucket for which, _ in taken) - steps * count / sum(counts)) <= (1 + len(counts)) / 2


@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 40), st.integers(0, 3))
def test_one_size_has_the_batches_that_it_had(num_items, batch_size, step, seed):
    buckets = make_buckets([TALL] * num_items)
    assert bucketed_items_of_step(buckets, batch_size, step, seed) == items_of_step(num_items, batch_size, step, seed)
    assert in_turn(buckets, batch_size) == list(range(min(num_items, batch_size)))


def test_a_few_are_of_each_size_in_turn():
    assert in_turn(make_buckets([TALL, TALL, TALL, WIDE]), 3) == [3, 0, 1]


# -- training ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def mixed(made_once):
    """Shards that each hold three portrait clips and two landscape ones."""

    def make(folder):
        write_shards(folder, "train", clips=5, sizes=(TALL, WIDE))
        write_shards(folder, "val-same", shards=1, clips=5, sizes=(TALL, WIDE))

    return made_once("mixed", make)


@pytest.fixture(scope="module")
def stage(mixed):
    shards, validation = open_shards(mixed, "train"), open_shards(mixed, "val-same")
    pipeline = build_mini(adapters=False, layers=2, heads=2)
    settings = BaseSettings(phases=(PHASE,), precision="fp32", validation_clips=3, sample_steps=1)
    cache = LatentCache(mixed / "cache", pipeline, torch.float32)
    made = DiffusionStage(pipeline, settings, ModelSettings("mini"), shards, validation, cache)
    made.prepare(lambda *_: None, 0, 1, CPU)
    made.ready()
    return made


def test_a_shard_of_several_sizes_is_read_as_one_for_each(mixed):
    shards = open_shards(mixed, "train")
    assert [({sample.size for sample in shard.samples}, len(shard.samples)) for shard in shards] == [
        ({WIDE}, 2),
        ({TALL}, 3),
        ({WIDE}, 2),
        ({TALL}, 3),
    ]


def test_processes_and_parts_of_a_step_have_one_size_and_both_sizes_come(stage):
    seen = {}
    for step in range(5):
        parts = [part for rank in (0, 1) for part in shares(4, 2, rank, 2)]
        batches = [stage.make_batch(step, PHASE, step, part) for part in parts]
        (size,) = {tuple(batch.latents.shape[-2:]) for batch in batches}
        assert {tuple(batch.condition_latents.shape[-2:]) for batch in batches} == {size}
        seen[size] = seen.get(size, 0) + 1
    assert seen == {(6, 4): 3, (4, 6): 2}


@torch.no_grad()
def test_the_loss_of_a_batch_is_the_mean_of_its_items_alone(stage):
    for step in range(2):  # one of each size
        whole = stage.loss(stage.module, stage.make_batch(step, PHASE, step, slice(0, 4)), CPU)
        alone = [stage.loss(stage.module, stage.make_batch(step, PHASE, step, slice(n, n + 1)), CPU) for n in range(4)]
        torch.testing.assert_close(whole, torch.stack(alone).mean())


def test_validation_takes_every_size_and_shows_it(stage, monkeypatch):
    sizes = []
    original = FlowBatch.to
    monkeypatch.setattr(
        FlowBatch, "to", lambda self, device: (sizes.append(self.latents.shape[-2:]), original(self, device))[1]
    )
    result = stage.validate(stage.module, CPU)
    assert {tuple(size) for size in sizes} == {(6, 4), (4, 6)}
    assert {video.shape[1:3] for video in result.videos.values()} == {(48, 3 * 32), (32, 3 * 48)}
    assert all(torch.tensor(value).isfinite() for value in result.scalars.values())
    assert result.scalars["loss_true"] != result.scalars["loss_shuffled"]


@pytest.mark.parametrize("stage_name", ["vae", "pretrain"])
def test_an_interrupted_run_over_several_sizes_ends_bit_identical(stage_name, mixed, pretrained, make_run, tmp_path):
    start = {"vae": None, "pretrain": str(pretrained.parents[1] / "vae" / "model")}[stage_name]
    whole, broken = tmp_path / "whole", tmp_path / "broken"

    def run(output, progress=None):
        recipe, places = make_run(output, start, **{stage_name: "checkpoint_every = 1\nvalidate_every = 100\n"})
        if stage_name == "vae":  # whole frames: crops of several sizes are alike
            settings = replace(recipe.vae, phases=(replace(recipe.vae.phases[0], crop=0),))
            recipe = replace(recipe, vae=settings)
        return train(stage_name, recipe, replace(places, train=mixed, validation=mixed), progress or NullProgress())

    model = run(whole)
    with pytest.raises(KeyboardInterrupt):
        run(broken, StopAfter(3))
    assert_same_bits(model, run(broken))
    losses = [json.loads(line) for line in (whole / stage_name / "metrics.jsonl").read_text().splitlines()]
    assert all(record["train/loss"] > 0 for record in losses if "train/loss" in record)
    if stage_name == "pretrain":  # a model that knows both makes what its reference looks like
        assert describe_model(str(model)).trained_size is None


def test_crops_of_several_sizes_are_in_one_batch(mixed):
    shards = open_shards(mixed, "train")
    phase = replace(PHASE, crop=32, batch_size=10)
    stage = AutoencoderStage(build_mini(adapters=False), VaeSettings(phases=(phase,)), shards, shards)
    assert stage.make_batch(0, phase, 0, slice(0, 10))["frames"].shape == (10, 5, 32, 32, 3)
    assert sorted(items_of_step(10, 10, 0, 0)) == list(range(10))
    assert {sample.size for sample in stage.validation} == {TALL, WIDE}


# -- sizes that a recipe or a model does not take ----------------------------------------------------------------------


def test_clips_of_other_sizes_are_named_and_counted(mixed, pretrained, make_run, tmp_path):
    recipe, places = make_run(tmp_path / "run", str(pretrained))
    recipe = replace(recipe, data=replace(recipe.data, sizes=(TALL,)))
    with pytest.raises(PosegenError, match=r"4 of 10 clips .*train-00000001 \(32x48\).* takes 48x32 pixels"):
        train("base", recipe, replace(places, train=mixed, validation=mixed))


@pytest.mark.parametrize(("odd", "crop", "rule"), [((40, 32), 0, "multiples of 16"), ((16, 32), 32, "crop = 32")])
def test_one_clip_in_a_hundred_of_another_size_is_left_out(odd, crop, rule, make_run, tmp_path, caplog):
    many = write_shards(tmp_path / "many", "train", shards=1, clips=100, sizes=(*[(32, 32)] * 99, odd))
    write_shards(many, "val-same", shards=1)
    recipe, places = make_run(tmp_path / "run")
    settings = replace(recipe.vae, phases=(Phase(steps=1, num_frames=5, batch_size=2, crop=crop),))
    assert train("vae", replace(recipe, vae=settings), replace(places, train=many, validation=many)).is_dir()
    assert f"1 of 100 clips in {many} left out: train-00000099 ({odd[0]}x{odd[1]})" in caplog.text
    assert rule in caplog.text


def test_memory_is_that_of_the_largest_size(mixed, make_run, tmp_path):
    write_shards(tmp_path / "data", "train", clips=3, sizes=(TALL, (64, 48), WIDE))
    recipe, places = make_run(tmp_path / "run")
    said = dry_run("pretrain", recipe, replace(places, train=tmp_path / "data"))
    memory = estimate(recipe.pretrain, "fp32", TransformerInputs(transformer_sizes(2, 2), (8, 6), 48, 65))
    assert f"{memory.tokens:,} tokens" in said
    assert "64x48 or 48x32 or 32x48" in said
