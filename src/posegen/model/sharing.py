"""Background sharing (PoseGen Algorithm 1): records the anchor segment's keys and values for other base segments.

One `BackgroundSharing` lives as long as a job. While the anchor segment denoises, `record(step, branch)` is passed to
the transformer as `background`; for every other base segment `share(step, branch)` is. The attention itself is in
`transformer.py`, the subject's maps and thresholds in `subject.py`, the storage of keys and values in
`background_store.py`: this file decides which layers record, which share, and for which tokens.
No n x n mask is ever built: the tokens that take the anchor's attention are gathered.
Layers and steps count from 0. Prompts, schedulers and files are handled elsewhere.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from posegen.config import Framing
from posegen.errors import PosegenError
from posegen.model.background_store import (
    BackgroundStore,
    Branch,
    CachePosition,
    MemoryStore,
    StorePrecision,
    pack,
    unpack,
)
from posegen.model.subject import otsu_threshold, subject_map, unit_otsu_threshold

Preset = Literal["paper", "release"]

_PAPER_STEPS, _PAPER_LAYERS = 5, 10
_RELEASE_BY_FRAMING: dict[Framing, tuple[int, int]] = {
    "close-up": (1, 6),
    "half-body": (2, 6),
    "full-body": (4, 8),
    "distant": (4, 10),
}
_RELEASE_MASK_LAYERS = 11  # the last block of the mask in the published code is 10, inclusive
_ROUND = 64
"""Multiple to which gathered queries are padded: each new shape costs memory permanently (kernels cached by shape)."""
_OF_STEPS, _OF_LAYERS = 25, 40  # all counts above are of 25 steps and 40 layers


@dataclass(frozen=True)
class SharingConfig:
    """Steps and layers that share the background, and the preset.

    Attributes:
        preset: `paper` (Algorithm 1) or `release` (as in the published code); comments mark each difference.
        steps: denoising steps that share.
        layers: transformer layers that share.
        mask_layers: `release` only: the number of first layers whose maps make the subject mask; None = all.
    """

    preset: Preset
    steps: Sequence[int]
    layers: Sequence[int]
    mask_layers: int | None = None

    def __post_init__(self) -> None:
        if self.preset not in ("paper", "release"):
            raise PosegenError(f"preset of background sharing: expected 'paper' or 'release', got {self.preset!r}")
        for name in ("steps", "layers"):
            indices = sorted(set(getattr(self, name)))
            if indices and indices[0] < 0:
                raise PosegenError(f"{name} of background sharing count from 0, got {indices[0]}")
            object.__setattr__(self, name, tuple(indices))
        if self.mask_layers is not None and self.mask_layers < 1:
            raise PosegenError(f"mask_layers of background sharing must be at least 1, got {self.mask_layers}")


def make_sharing_config(
    preset: Preset, num_steps: int, num_layers: int, framing: Framing = "half-body"
) -> SharingConfig:
    """Make the preset's steps and layers for a schedule of `num_steps` and a model of `num_layers`.

    Counts are published for 25 steps and 40 layers; others use the same fractions, rounded up. `framing` is used by
    `release` only.
    """
    if num_steps < 1 or num_layers < 1:
        raise PosegenError(f"background sharing needs steps and layers, got {num_steps} and {num_layers}")
    if preset == "release" and framing not in _RELEASE_BY_FRAMING:
        raise PosegenError(f"framing: expected one of {', '.join(_RELEASE_BY_FRAMING)}, got {framing!r}")
    steps, layers = (_PAPER_STEPS, _PAPER_LAYERS) if preset == "paper" else _RELEASE_BY_FRAMING[framing]
    layers = _scaled(layers, num_layers, _OF_LAYERS)
    return SharingConfig(
        preset=preset,
        steps=range(_scaled(steps, num_steps, _OF_STEPS)),
        layers=range(num_layers - layers, num_layers),
        mask_layers=_scaled(_RELEASE_MASK_LAYERS, num_layers, _OF_LAYERS) if preset == "release" else None,
    )


def _scaled(count: int, total: int, of: int) -> int:
    return -(-count * total // of)


class BackgroundSharing:
    """Background of the anchor for one job: recorded once, shared with every other base segment.

    Attributes:
        store: keys of the anchor's video and reference tokens, and the values of those that contribute.
        precision: precision in which they are kept.
        anchor_masks: `M_src` by (step, layer), `(B, f, h, w)`, True = subject.
        subject_masks: `M` of the latest segment that shared, by (step, layer).
    """

    def __init__(
        self,
        config: SharingConfig,
        subject_tokens: Sequence[int] | None,
        store: BackgroundStore | None = None,
        precision: StorePrecision = "same",
    ) -> None:
        if subject_tokens is not None and not subject_tokens:
            raise PosegenError("no subject tokens: pass the token positions of the subject word, or None for no mask")
        self.config = config
        self.subject_tokens = None if subject_tokens is None else list(subject_tokens)
        self.store: BackgroundStore = MemoryStore() if store is None else store
        self.precision: StorePrecision = precision
        self.anchor_masks: dict[tuple[int, int], Tensor] = {}
        self.subject_masks: dict[tuple[int, int], Tensor] = {}

    def record(self, step: int, branch: Branch) -> "SharingPass | None":
        """Return the `background` argument for the anchor segment's forward; None outside the shared steps."""
        return self._forward("record", step, branch)

    def share(self, step: int, branch: Branch) -> "SharingPass | None":
        """Return the `background` argument for another base segment's forward; None outside the shared steps."""
        return self._forward("share", step, branch)

    def _forward(self, mode: Literal["record", "share"], step: int, branch: Branch) -> "SharingPass | None":
        if branch not in get_args(Branch):
            raise PosegenError(f"branch of guidance: expected one of {', '.join(get_args(Branch))}, got {branch!r}")
        if step not in self.config.steps or not self.config.layers:
            return None
        return SharingPass(self, mode, step, branch)

    def places(self, passes: Iterable[tuple[int, Branch]]) -> list[CachePosition]:
        """List the places that the anchor records, in order; `passes`: step and branch of each forward pass."""
        shared = [(step, branch) for step, branch in passes if step in self.config.steps]
        return [CachePosition(step, branch, layer) for step, branch in shared for layer in self.config.layers]

    def resume(self, passes: Iterable[tuple[int, Branch]]) -> bool:
        """Return True if the store already holds a full recording of the anchor; if so, load its subject masks."""
        if not set(self.places(passes)) <= set(self.store.places()):
            return False
        if self.subject_tokens is not None:
            for place in self.places([(step, "positive") for step in self.config.steps]):
                mask = self.store.get(place, ("subject",)).get("subject")
                if mask is None:
                    return False
                self.anchor_masks[place.step, place.layer] = mask
        return True


@dataclass(frozen=True)
class SequenceShard:
    """Part of the joint sequence that this process holds under context parallelism.

    Attributes:
        first: index of its first token; size: its number of tokens.
        gather: all processes' parts of a tensor, joined along dimension 1.
    """

    first: int
    size: int
    gather: Callable[[Tensor], Tensor]


class SharingPass:
    """Background sharing during one forward of the transformer. Made by `BackgroundSharing`."""

    def __init__(self, sharing: BackgroundSharing, mode: Literal["record", "share"], step: int, branch: Branch) -> None:
        self.sharing, self.mode, self.step, self.branch = sharing, mode, step, branch
        self.grid = (0, 0, 0)
        self.shard: SequenceShard | None = None
        self._total: Tensor | None = None  # sum over layers of (B, n) maps: thresholded (paper) or normalised (release)
        self._count = 0

    def begin(
        self,
        grid: tuple[int, int, int],
        num_layers: int,
        num_text_tokens: int,
        shard: SequenceShard | None = None,
    ) -> None:
        """Check the inputs before the first layer; `grid` = latent frames, rows and columns of tokens.

        Under context parallelism each process keeps the keys and values of its `shard`, and its recording can be
        shared only by the same number of processes.

        Raises:
            PosegenError: layers or subject tokens that do not exist, or nothing to share.
        """
        sharing, config = self.sharing, self.sharing.config
        self.grid, self.shard, self._total, self._count = grid, shard, None, 0
        if config.layers[-1] >= num_layers:
            raise PosegenError(
                f"background sharing at layer {config.layers[-1]}, but the model has {num_layers} layers"
            )
        wrong = [token for token in sharing.subject_tokens or [] if not 0 <= token < num_text_tokens]
        if wrong:
            raise PosegenError(f"subject token {wrong[0]} is outside the prompt's {num_text_tokens} tokens")
        if self.mode == "record":
            return
        kept = set(sharing.store.places())
        for layer in config.layers:
            if CachePosition(self.step, self.branch, layer) not in kept:
                raise PosegenError(
                    f"the anchor segment has not recorded step {self.step}, {self.branch} branch, layer {layer}: "
                    "run it first with record()"
                )
            if self.masked:
                source = sharing.anchor_masks.get((self.step, layer))
                if source is None:
                    raise PosegenError(
                        f"the anchor segment recorded no subject mask at step {self.step}: "
                        "give it the same subject tokens"
                    )
                if tuple(source.shape[1:]) != grid:
                    raise PosegenError(
                        f"the anchor segment has {tuple(source.shape[1:])} tokens and this one {grid}: "
                        "segments that share a background with a subject mask need one size"
                    )
                if self.branch != "positive" and (self.step, layer) not in sharing.subject_masks:
                    raise PosegenError(f"the positive branch must run before the {self.branch} one at each shared step")

    @property
    def masked(self) -> bool:
        """True if subject and background tokens are distinguished."""
        return self.sharing.subject_tokens is not None

    def layer(self, index: int) -> "LayerSharing | None":
        """Return the sharing of layer `index`, None if it does nothing."""
        config = self.sharing.config
        shared = index in config.layers
        wants_map = self.masked and self.branch == "positive" and index <= config.layers[-1]
        if config.preset == "release" and config.mask_layers is not None:
            wants_map = wants_map and index < config.mask_layers
        if not shared and not wants_map:
            return None
        return LayerSharing(self, index, shared, wants_map)

    def add_map(self, subject_map: Float[Tensor, "b n"]) -> None:
        """Add one layer's subject map."""
        maps = subject_map.unflatten(1, self.grid)  # (B, f, h, w)
        if self.sharing.config.preset == "paper":
            taken = (maps > otsu_threshold(maps.flatten(2))[..., None, None]).float()
        else:
            low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
            taken = (maps - low) / (high - low + 1e-6)
        self._total = taken if self._total is None else self._total + taken
        self._count += 1

    def current_mask(self) -> Bool[Tensor, "b f h w"] | None:
        """Return the subject mask of the layers so far; None before the first."""
        if self._total is None:
            return None
        if self.sharing.config.preset == "paper":
            return 2 * self._total >= self._count  # mean of the thresholded maps >= 0.5, exactly
        maps = self._total / self._count
        return maps > unit_otsu_threshold(maps.flatten(2))[..., None, None]


class LayerSharing:
    """Background sharing of one layer in one forward.

    Attributes:
        records: keep this layer's keys and values (and its subject mask).
        shares: common-background tokens take the anchor's attention.
        map_before_fusion: the subject map comes from the states after the ordinary self-attention (Algorithm 1).
        map_in_cross_attention: the subject map comes from this layer's cross-attention itself.
        query: the ordinary self-attention's query, `(B, n, heads, width)`, left here by the processor.
    """

    def __init__(self, forward: SharingPass, index: int, shared: bool, wants_map: bool) -> None:
        self._forward, self.index = forward, index
        self.records = shared and forward.mode == "record"
        self.shares = shared and forward.mode == "share"
        paper = forward.sharing.config.preset == "paper"
        self.map_before_fusion = wants_map and self.shares and paper
        self.map_in_cross_attention = wants_map and not self.map_before_fusion
        self.query: Tensor | None = None
        self._recorded: tuple[Tensor, Tensor] | None = None

    @torch.compiler.disable
    def keep(self, key: Float[Tensor, "b n heads width"], value: Float[Tensor, "b n heads width"]) -> None:
        """Hold the anchor's keys and values; `finish` stores them once the layer's subject mask is known."""
        self._recorded = key.detach(), value.detach()

    @torch.compiler.disable
    def observe(self, query: Float[Tensor, "b n heads width"], text_key: Float[Tensor, "b t heads width"]) -> None:
        """Make this layer's subject map from cross-attention's video queries and text keys."""
        sharing = self._forward.sharing
        assert sharing.subject_tokens is not None
        shard = self._forward.shard
        with torch.no_grad():
            # not indexed by the list: that copies it to the device and synchronises in every layer
            subject_key = torch.stack([text_key[:, token] for token in sharing.subject_tokens], dim=1)
            maps = subject_map(query, subject_key, total=sharing.config.preset == "release")
            if shard is not None:  # Otsu needs whole frames; reference tokens come last and are cut off
                maps = shard.gather(torch.nn.functional.pad(maps, (0, shard.size - maps.shape[1])))
                maps = maps[:, : math.prod(self._forward.grid)]
            self._forward.add_map(maps)

    @torch.compiler.disable
    def finish(self) -> None:
        """Store the anchor's keys and values, and its subject mask, after the layer."""
        if not self.records:
            return
        assert self._recorded is not None, "the self-attention processor leaves keys and values"
        (key, value), self._recorded = self._recorded, None
        forward, sharing = self._forward, self._forward.sharing
        tensors: dict[str, Tensor] = {}
        if forward.masked:
            if forward.branch == "positive":
                mask = forward.current_mask()
                assert mask is not None, "layer 0 makes a map whenever a later layer records"
                sharing.anchor_masks[forward.step, self.index] = tensors["subject"] = mask
            contributes = self._contributes(value.shape[1], value.device)
            if contributes is not None:
                value = value[contributes]
        tensors |= pack("key", key, sharing.precision) | pack("value", value, sharing.precision)
        sharing.store.put(CachePosition(forward.step, forward.branch, self.index), tensors)

    def _contributes(self, num_tokens: int, device: torch.device) -> Bool[Tensor, "b n"] | None:
        """Return a mask of the anchor's tokens (of this process) that have a value; None = all.

        `paper`: the subject keeps its weight in the softmax but contributes nothing, so its values need not be kept.
        """
        forward = self._forward
        if not forward.masked or forward.sharing.config.preset != "paper":
            return None
        subject = forward.sharing.anchor_masks[forward.step, self.index].to(device).flatten(1)
        first = 0 if forward.shard is None else forward.shard.first
        missing = max(first + num_tokens - subject.shape[1], 0)  # reference tokens, and padding of the last shard
        return ~torch.nn.functional.pad(subject, (0, missing))[:, first : first + num_tokens]

    def _masks(self, batch: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return `M` and `M_src`, each (B, n)."""
        forward = self._forward
        sharing, place = forward.sharing, (forward.step, self.index)
        source = sharing.anchor_masks[place].to(device).expand(batch, -1, -1, -1)
        if forward.branch == "positive":
            mask = forward.current_mask()
            # `release` with layer 0 shared: its own map comes too late (the published code fails there)
            sharing.subject_masks[place] = torch.zeros_like(source) if mask is None else mask
        return sharing.subject_masks[place].to(device).flatten(1), source.flatten(1)

    def _take(self, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the anchor's keys and values, 0 for tokens that contribute nothing; each `(B, n, heads, width)`."""
        forward = self._forward
        kept = forward.sharing.store.get(CachePosition(forward.step, forward.branch, self.index))
        kept = {name: tensor.to(device) for name, tensor in kept.items()}
        key, value = unpack(kept, "key", dtype), unpack(kept, "value", dtype)
        contributes = self._contributes(key.shape[1], device)
        if contributes is None:
            return key, value
        return key, torch.zeros_like(key).index_put((contributes,), value)

    @torch.compiler.disable
    def plan(self, num_video_tokens: int) -> list["ItemSharing"]:
        """Return for each batch item the tokens that take the anchor's attention, and its keys and values."""
        assert self.query is not None, "the self-attention processor leaves its query"
        forward, query = self._forward, self.query
        self.query = None
        sharing = forward.sharing
        batch, num_tokens = query.shape[:2]
        key, value = self._take(query.dtype, query.device)
        if forward.shard is not None:
            key, value = forward.shard.gather(key), forward.shard.gather(value)
        if key.shape[0] not in (1, batch):
            raise PosegenError(f"the anchor segment was recorded with batch {key.shape[0]}, this forward has {batch}")
        key, value = (tensor.expand(batch, -1, -1, -1) for tensor in (key, value))

        paper = sharing.config.preset == "paper"
        subject = torch.zeros(batch, math.prod(forward.grid), dtype=torch.bool, device=query.device)
        if forward.masked:
            subject, source = self._masks(batch, query.device)
            subject = subject | source
        first = 0 if forward.shard is None else forward.shard.first
        subject = subject[:, first : first + num_video_tokens]
        reference = torch.arange(num_video_tokens, num_tokens, device=query.device)
        items = []
        for item in range(batch):
            tokens = torch.nonzero(~subject[item]).squeeze(1)
            if not paper:
                tokens = torch.cat([tokens, reference])
            items.append(
                ItemSharing(
                    tokens=tokens,
                    num_video_tokens=int(tokens.numel() - (0 if paper else reference.numel())),
                    query=query[item : item + 1, _rounded_up(tokens)],
                    key=key[item : item + 1],
                    value=value[item : item + 1],
                )
            )
        return items


@dataclass(frozen=True)
class ItemSharing:
    """Second attention of one batch item: gathered queries over the anchor's keys and values.

    Attributes:
        tokens: `(k,)` indices into the joint sequence, video tokens first.
        num_video_tokens: number of them that are video tokens.
        query: `(1, K, heads, width)`, K >= k, padded after k; key, value: `(1, n, heads, width)`.
    """

    tokens: Int[Tensor, " k"]
    num_video_tokens: int
    query: Float[Tensor, "1 rounded heads width"]
    key: Float[Tensor, "1 n heads width"]
    value: Float[Tensor, "1 n heads width"]


def _rounded_up(tokens: Int[Tensor, " k"]) -> Int[Tensor, " rounded"]:
    """Pad the indices with the last one to a multiple of `_ROUND`."""
    return torch.cat([tokens, tokens[-1:].expand(-tokens.numel() % _ROUND)]) if tokens.numel() else tokens
