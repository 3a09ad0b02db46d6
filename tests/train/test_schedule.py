"""Learning rate, order of items and random numbers, as arithmetic."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from posegen.train.schedule import generator, items_of_step, learning_rate, shares
from posegen.train.stage_settings import BaseSettings, Phase


def settings(**changes):
    return BaseSettings(phases=(Phase(steps=100, num_frames=1, batch_size=4),), **changes)


def test_the_rate_rises_linearly_over_a_tenth_and_falls_as_a_cosine():
    rates = [learning_rate(settings(learning_rate=1e-4), step) for step in range(100)]
    assert rates[:10] == pytest.approx([1e-5 * (step + 1) for step in range(10)])
    assert rates[10] == pytest.approx(1e-4)
    assert rates[55] == pytest.approx(0.5e-4)
    assert rates[99] == pytest.approx(0.5e-4 * (1 + math.cos(math.pi * 89 / 90)))
    assert learning_rate(settings(learning_rate=1e-4, final_learning_rate=1e-5), 99) > 1e-5
    assert learning_rate(settings(learning_rate=1e-4, warmup=0.0), 0) == 1e-4


@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 3))
def test_every_epoch_sees_every_item_once(num_items, batch_size, seed):
    steps = math.ceil(3 * num_items / batch_size)
    seen = [item for step in range(steps) for item in items_of_step(num_items, batch_size, step, seed)]
    for epoch in range(3):
        assert sorted(seen[epoch * num_items : (epoch + 1) * num_items]) == list(range(num_items))


def test_epochs_and_seeds_have_orders_of_their_own():
    assert items_of_step(20, 20, 0, 0) != items_of_step(20, 20, 1, 0)
    assert items_of_step(20, 20, 0, 0) != items_of_step(20, 20, 0, 1)


@given(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 3]), st.integers(1, 3))
def test_processes_and_parts_share_a_batch_without_gap(world, accumulate, part):
    batch_size = world * accumulate * part
    positions = [
        position
        for rank in range(world)
        for share in shares(batch_size, accumulate, rank, world)
        for position in range(batch_size)[share]
    ]
    assert sorted(positions) == list(range(batch_size))


def test_streams_of_random_numbers_are_their_own():
    first = torch.randn(4, generator=generator(1, 2, 3))
    assert torch.equal(first, torch.randn(4, generator=generator(1, 2, 3)))
    for words in ((1, 2, 4), (1, 3, 3), (2, 2, 3), (1, 2)):
        assert not torch.equal(first, torch.randn(4, generator=generator(*words)))
