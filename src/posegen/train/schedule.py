"""What happens at which step, as plain functions of seed and step: learning rate, order of items, random numbers.

Nothing here has a state, so going on after an interruption needs nothing but the number of the step; and the items and
noise of a step do not depend on the number of processes.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

from posegen.train.recipe import StageSettings


def learning_rate(settings: StageSettings, step: int) -> float:
    """Linear warm-up over the first share of steps, then a cosine to the final rate."""
    warmup = round(settings.warmup * settings.steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(settings.steps - warmup, 1)
    low = settings.final_learning_rate
    return low + (settings.learning_rate - low) * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


def items_of_step(num_items: int, batch_size: int, step_of_phase: int, seed: int) -> list[int]:
    """The items of one batch: every epoch is a permutation of its own, and batches run on across epochs."""
    first = step_of_phase * batch_size
    chosen, permutations = [], dict[int, np.ndarray]()
    for position in range(first, first + batch_size):
        epoch, place = divmod(position, num_items)
        if epoch not in permutations:
            permutations[epoch] = np.random.default_rng([seed, epoch, 17]).permutation(num_items)
        chosen.append(int(permutations[epoch][place]))
    return chosen


def generator(*words: int) -> torch.Generator:
    """A generator of torch random numbers on the CPU, its stream chosen by the words."""
    state = np.random.SeedSequence([word % 2**32 for word in words]).generate_state(2, np.uint32)
    return torch.Generator("cpu").manual_seed(int(state[0]) << 16 ^ int(state[1]))


def shares(batch_size: int, accumulate: int, rank: int, world: int) -> Iterator[slice]:
    """The parts of a batch that one process computes, one after the other."""
    part = batch_size // (accumulate * world)
    for index in range(accumulate):
        start = (index * world + rank) * part
        yield slice(start, start + part)
