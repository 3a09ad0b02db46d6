"""Plain functions of seed and step: learning rate, order of items, random numbers.

Nothing here has a state, so resuming needs nothing but the number of the step; and the items and noise of a step do not
depend on the number of processes. A batch holds items of one bucket (one size): all processes
work on the same shapes.
"""

import functools
import math
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from posegen.train.stage_settings import StageSettings


def learning_rate(settings: StageSettings, step: int) -> float:
    """Return the rate of a step (from 0): a linear warm-up, then a cosine to the final rate."""
    warmup = round(settings.warmup * settings.steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(settings.steps - warmup, 1)
    low = settings.final_learning_rate
    return low + (settings.learning_rate - low) * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


def make_buckets(sizes: Sequence[Hashable]) -> list[list[int]]:
    """Group items that can be in one batch: the indices of the items of each size, sizes in ascending order."""
    buckets: dict[Any, list[int]] = {}
    for item, size in enumerate(sizes):
        buckets.setdefault(size, []).append(item)
    return [buckets[size] for size in sorted(buckets)]


def bucket_of_step(counts: tuple[int, ...], step_of_phase: int) -> tuple[int, int]:
    """Return the bucket of a step, and the number of earlier steps with that bucket.

    counts: items of each bucket. A bucket has steps in proportion to its items, spread as evenly as can be: at no step
    is it more than (1 + buckets) / 2 steps from its share, and after as many steps as there are items at none.
    """
    pattern, earlier, steps_of_cycle = _cycle(counts)
    cycles, place = divmod(step_of_phase, len(pattern))
    bucket = int(pattern[place])
    return bucket, cycles * steps_of_cycle[bucket] + int(earlier[place])


@functools.lru_cache(maxsize=8)
def _cycle(counts: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return the buckets of one cycle of steps, how often each came before, and the steps of each bucket in a cycle."""
    steps = [count // math.gcd(*counts) for count in counts]
    moments = np.concatenate([(2 * np.arange(number) + 1) / (2 * number) for number in steps])
    pattern = np.repeat(np.arange(len(steps)), steps)[np.argsort(moments, kind="stable")]
    earlier = np.empty(len(pattern), np.int64)
    for bucket, number in enumerate(steps):
        earlier[pattern == bucket] = np.arange(number)
    return pattern, earlier, steps


def bucketed_items_of_step(
    buckets: Sequence[Sequence[int]], batch_size: int, step_of_phase: int, seed: int
) -> list[int]:
    """Return the items of one batch, all of one bucket (`bucket_of_step`); every item is seen equally often."""
    bucket, step_of_bucket = bucket_of_step(tuple(len(items) for items in buckets), step_of_phase)
    items = buckets[bucket]
    return [items[item] for item in items_of_step(len(items), batch_size, step_of_bucket, seed)]


def in_turn(buckets: Sequence[Sequence[int]], count: int) -> list[int]:
    """Return the first `count` items, taken from the buckets in turn."""
    rounds = range(max(map(len, buckets), default=0))
    turns = [items[number] for number in rounds for items in buckets if number < len(items)]
    return turns[:count]


def items_of_step(num_items: int, batch_size: int, step_of_phase: int, seed: int) -> list[int]:
    """Return the items of one batch: every epoch has a permutation of its own, and batches may span two epochs."""
    first = step_of_phase * batch_size
    chosen, permutations = [], dict[int, np.ndarray]()
    for position in range(first, first + batch_size):
        epoch, place = divmod(position, num_items)
        if epoch not in permutations:
            permutations[epoch] = np.random.default_rng([seed, epoch, 17]).permutation(num_items)
        chosen.append(int(permutations[epoch][place]))
    return chosen


def generator(*words: int) -> torch.Generator:
    """Return a torch generator on the CPU, seeded by the words."""
    state = np.random.SeedSequence([word % 2**32 for word in words]).generate_state(2, np.uint32)
    return torch.Generator("cpu").manual_seed(int(state[0]) << 16 ^ int(state[1]))


def shares(batch_size: int, accumulate: int, rank: int, world: int) -> Iterator[slice]:
    """Yield the parts of a batch that one process computes, one after the other."""
    part = batch_size // (accumulate * world)
    for index in range(accumulate):
        start = (index * world + rank) * part
        yield slice(start, start + part)
