"""Resolves the steps and layers in which base segments share their background, and the dtype in which it is kept.

Which segment is the anchor depends on the driving video, and is `sharing_plan.py`'s concern.
"""

from dataclasses import dataclass, replace

import torch

from posegen.config import Framing, GenerateConfig
from posegen.generate.background.store_choice import Need, choose_precision
from posegen.model.background_store import StorePrecision
from posegen.model.denoise import Sampling, forward_passes
from posegen.model.sharing import SharingConfig, make_sharing_config
from posegen.model.sources import ModelDescription
from posegen.types import Size


@dataclass(frozen=True)
class ResolvedSharing:
    """Steps and layers that share the background, its dtype, and the memory needed.

    framing: of the person, as asked for or measured; until it is measured, the middle of what there is. config: steps
    and layers; None where nothing is shared. precision: dtype of the store. need: bytes at that precision; exact,
    small: as computed, and in 10 bits.
    """

    framing: Framing
    config: SharingConfig | None
    precision: StorePrecision
    need: Need | None = None
    exact: Need | None = None
    small: Need | None = None


@dataclass(frozen=True)
class AnchorPasses:
    """Facts on which the size of the shared background depends, whatever is shared."""

    model: ModelDescription
    size: Size
    dtype: torch.dtype
    sampling: Sampling

    def need(self, sharing: SharingConfig, precision: StorePrecision) -> Need:
        """Bytes that stores need for the anchor's passes in the shared steps."""
        model = self.model
        passes = forward_passes(model.flow_shift, self.sampling)
        shared = sum(step in sharing.steps for step, _ in passes)
        tokens = sum(model.tokens(self.size))
        return Need.of(sharing, tokens, model.dim, shared, precision, self.dtype.itemsize)


def resolve_sharing(
    config: GenerateConfig,
    passes: AnchorPasses,
    num_bases: int,
    framing: Framing,
    budget: int | None,
    precision: StorePrecision | None = None,
) -> ResolvedSharing:
    """Resolve what is shared by `num_bases` base segments.

    budget: bytes of memory that the user allows for it. precision: as it was chosen before; it is part of what a job is
    recognised by, so that a framing that is measured later does not change it.
    """
    sharing = _shared_steps_and_layers(config, passes, num_bases, framing)
    wanted = config.sharing_precision
    if sharing is None:
        return ResolvedSharing(framing, None, precision or ("same" if wanted == "auto" else wanted))
    exact, small = passes.need(sharing, "same"), passes.need(sharing, "int10")
    precision = precision or choose_precision(wanted, config.sharing_store, exact, small, budget)
    return ResolvedSharing(framing, sharing, precision, passes.need(sharing, precision), exact, small)


def _shared_steps_and_layers(
    config: GenerateConfig, passes: AnchorPasses, num_bases: int, framing: Framing
) -> SharingConfig | None:
    """None where nothing is shared: switched off, one base segment, or another way to a long video."""
    if config.sharing == "off" or config.long_method != "interleaved" or num_bases == 1:
        return None
    steps, layers = passes.sampling.steps, passes.model.num_layers
    sharing = make_sharing_config(config.sharing, steps, layers, framing)
    if config.sharing_steps is not None:
        sharing = replace(sharing, steps=range(min(config.sharing_steps, steps)))
    if config.sharing_layers is not None:
        sharing = replace(sharing, layers=range(max(0, layers - config.sharing_layers), layers))
    return sharing
