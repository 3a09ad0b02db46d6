"""Batches made ahead: in order, whatever thread is ready first; errors arrive; nothing beyond the last step is made."""

import threading
import time

import numpy as np
import pytest
import torch

from posegen.train.objective import FlowBatch
from posegen.train.prefetcher import Prefetcher, placed_on

ELSEWHERE = torch.device("meta")
"""Any device that is not the CPU makes threads work; nothing is put there but by CUDA."""


def test_batches_come_in_order_though_threads_finish_in_another():
    random = np.random.default_rng(0)
    waits = random.uniform(0, 0.02, 30)
    threads = set()

    def make(step):
        threads.add(threading.get_ident())
        time.sleep(waits[step])
        return [step]

    with Prefetcher(make, 3, 30, ELSEWHERE) as ahead:
        assert [ahead.take() for _ in range(27)] == [[step] for step in range(3, 30)]
    assert threading.get_ident() not in threads


def test_nothing_is_made_beyond_the_last_step_or_after_closing():
    made = []
    with Prefetcher(lambda step: made.append(step) or [step], 0, 4, ELSEWHERE) as ahead:
        for step in range(4):
            assert ahead.take() == [step]
    assert sorted(made) == [0, 1, 2, 3]
    made.clear()
    with Prefetcher(lambda step: time.sleep(0.05) or made.append(step) or [step], 0, 10_000, ELSEWHERE) as ahead:
        ahead.take()
    count = len(made)
    time.sleep(0.2)
    assert len(made) == count < 50


def test_on_a_cpu_a_batch_is_made_when_it_is_asked_for():
    made = []
    with Prefetcher(lambda step: made.append(step) or [step], 5, 9, torch.device("cpu")) as ahead:
        assert made == []
        assert ahead.take() == [5]
        assert made == [5]


def test_errors_of_making_reach_who_takes():
    def make(step):
        if step == 2:
            raise ValueError("damaged")
        return [step]

    with Prefetcher(make, 0, 9, ELSEWHERE) as ahead:
        ahead.take(), ahead.take()
        with pytest.raises(ValueError, match="damaged"):
            ahead.take()


def test_every_tensor_of_a_batch_is_moved_and_none_stays_none():
    batch = FlowBatch(
        latents=torch.zeros(1, 4, 1, 2, 2),
        condition_latents=torch.zeros(1, 8, 1, 2, 2),
        hand_latents=None,
        reference_latents=None,
        text=torch.zeros(1, 3, 5),
        image=None,
        noise=torch.zeros(1, 4, 1, 2, 2),
        sigmas=torch.zeros(1),
    )
    moved = placed_on(batch, ELSEWHERE)
    assert moved.hand_latents is None
    assert {t.device.type for t in vars(moved).values() if t is not None} == {"meta"}
    assert placed_on({"frames": torch.zeros(2), "level": None}, ELSEWHERE)["frames"].is_meta
    with pytest.raises(TypeError, match="dictionary or dataclass"):
        placed_on(3, ELSEWHERE)
