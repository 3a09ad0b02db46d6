"""Estimates the memory of a stage before anything is loaded: weights are counted, activations measured.

The model is built without weights (torch's meta device) with the adapter of the stage, and one forward pass records
the tensors that autograd would keep for the backward pass. So the figures follow the code. They do not include the
allocator's gaps and the libraries' own memory, for which `RESERVE` is added.
"""

import contextlib
import functools
import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import psutil
import torch
from accelerate import init_empty_weights
from torch import Tensor, nn
from torch.nn import functional

from posegen.errors import PosegenError
from posegen.model import lora
from posegen.model.autoencoder import AutoencoderLightVideo
from posegen.model.pipeline import ADAPTERS
from posegen.model.transformer import PoseGenTransformer3DModel
from posegen.train.autoencoding import autoencoder_loss, prepare_autoencoder
from posegen.train.checkpoint import trained_parameters
from posegen.train.diffusion import prepare_transformer
from posegen.train.distillation import make_discriminator
from posegen.train.stage_settings import (
    AdapterSettings,
    DistillSettings,
    Phase,
    StageName,
    StageSettings,
    StitchSettings,
    TransformerSettings,
    VaeSettings,
)
from posegen.train.train_recipe import BaseWeights

RESERVE = 0.08
"""Share added for memory that cannot be counted."""
_BYTES = {"fp32": 4, "bf16": 2, "fp8": 1}
_LOOKS = 4
"""Videos that a discriminator looks at for each item: a generated one twice, a true one, and that with noise."""
_PROBED = 2
"""Blocks with which activations are measured; all blocks are alike."""


@dataclass(frozen=True)
class TransformerInputs:
    """A transformer and the shapes of its inputs, on which the memory of training it depends."""

    arguments: dict[str, Any]
    """The constructor's arguments."""
    latent_size: tuple[int, int]
    """(h, w) of the latents."""
    text_tokens: int
    image_tokens: int

    def with_blocks(self, count: int) -> "TransformerInputs":
        """Return the same with so many transformer blocks."""
        return replace(self, arguments={**self.arguments, "num_layers": count})


@dataclass(frozen=True)
class Memory:
    """Bytes on each device while training, and how many parameters learn."""

    frozen: int
    trained: int
    """Weights that learn, their gradients, Adam's two moments and the moving average, float32."""
    activations: int
    tokens: int
    """Tokens of a forward pass of a transformer; positions in the latents of an autoencoder."""
    parameters: int
    trained_parameters: int

    @property
    def total(self) -> int:
        """Bytes of everything, with the reserve."""
        return round((self.frozen + self.trained + self.activations) * (1 + RESERVE))

    def describe(self) -> str:
        """Return a table to print."""
        rows = [
            (f"frozen weights ({(self.parameters - self.trained_parameters) / 1e6:,.1f} M parameters)", self.frozen),
            (
                f"trained weights, gradients, optimizer, average ({self.trained_parameters / 1e6:,.1f} M parameters)",
                self.trained,
            ),
            (f"activations ({self.tokens:,} tokens in one forward pass)", self.activations),
            (f"all, with {RESERVE:.0%} reserve", self.total),
        ]
        return "\n".join(f"{name:<70} {size / 1e9:>8.2f} GB" for name, size in rows)


def estimate(
    settings: TransformerSettings, base_weights: BaseWeights, inputs: TransformerInputs, processes: int = 1
) -> Memory:
    """Estimate the memory of a stage that trains the transformer, on each of `processes` devices."""
    activations, tokens = max(_measure(phase, settings, inputs, processes) for phase in settings.phases)
    trained, everything = _count_parameters(_Structure.of(settings, inputs.arguments))
    if isinstance(settings, DistillSettings) and settings.adversarial > 0:
        judging, judged = _discriminator(settings, inputs, processes)
        activations, trained, everything = activations + judged, trained + judging, everything + judging
    shards = processes if settings.strategy == "fsdp" else 1
    frozen = (everything - trained) * _BYTES[base_weights]
    if isinstance(settings, DistillSettings) and settings.teacher_steps:
        frozen += everything * _BYTES[base_weights]  # the starting model beside the one that learns
    return Memory(
        frozen=frozen // shards,
        trained=trained * _bytes_to_learn(settings) // shards,
        activations=activations,
        tokens=tokens,
        parameters=everything,
        trained_parameters=trained,
    )


def estimate_autoencoder(
    settings: VaeSettings, autoencoder: dict[str, Any], size: tuple[int, int], processes: int = 1
) -> Memory:
    """Estimate the memory of the stage `vae` on each of `processes` devices.

    autoencoder: the constructor's arguments. size: (height, width) of the clips in pixels.
    """
    with init_empty_weights(include_buffers=True):
        model = AutoencoderLightVideo(**autoencoder)
    prepare_autoencoder(model, settings)
    trained = sum(parameter.numel() for _, parameter in trained_parameters(model))
    everything = sum(parameter.numel() for parameter in model.parameters())
    dtype = _activation_type(settings)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    largest = []
    for phase in settings.phases:
        batch = max(phase.batch_size // (settings.accumulate * processes), 1)
        height, width = (min(phase.crop or side, side) for side in size)
        latents = (batch, model.config.z_dim, (phase.num_frames - 1) // 4 + 1, height // 8, width // 8)
        pixels = torch.empty(batch, 3, phase.num_frames, height, width, device="meta", dtype=dtype)
        noise = torch.empty(latents, device="meta", dtype=dtype)
        with _keeping(model) as kept:
            autoencoder_loss(
                model, pixels, noise, noise[:, :1, :1, :1, :1] if settings.decoder_only else None, settings
            )
        largest.append((kept.size(), batch * math.prod(latents[2:])))
    activations, positions = max(largest)
    return Memory(
        frozen=(everything - trained) * 4,
        trained=trained * _bytes_to_learn(settings),
        activations=activations,
        tokens=positions,
        parameters=everything,
        trained_parameters=trained,
    )


def check_fits(memory: Memory, device: torch.device, stage: StageName) -> None:
    """Raise `PosegenError` if the device has less free memory than that."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
    else:
        free = psutil.virtual_memory().available
    if memory.total > free:
        mend = "raise accumulate, lower batch_size, num_frames or crop"
        if stage != "vae":
            mend = (
                "raise accumulate, lower batch_size or num_frames, set gradient_checkpointing, or use base_weights = "
                '"fp8" or more devices with strategy = "fsdp"'
            )
        raise PosegenError(
            f"training would need about {memory.total / 1e9:.1f} GB on {device}, and {free / 1e9:.1f} GB are free: "
            f"{mend}"
        )


def _bytes_to_learn(settings: StageSettings) -> int:
    """Return the bytes of each parameter that learns, with its gradient and the optimizer's state."""
    return 20 if settings.ema else 16


def _activation_type(settings: StageSettings) -> torch.dtype:
    return torch.bfloat16 if settings.precision == "bf16" else torch.float32


@dataclass(frozen=True)
class _Structure:
    """Parameters of a transformer, and those that learn; equal structures are measured once a process."""

    stage: type[TransformerSettings]
    adapter: tuple[Hashable, ...] | None
    """Rank and alpha; in `distill` also the weights that learn and whether there are two adapters."""
    arguments: tuple[tuple[str, Hashable], ...]
    """The constructor's, in the order of their names."""
    settings: TransformerSettings = field(compare=False)

    @classmethod
    def of(cls, settings: TransformerSettings, arguments: dict[str, Any]) -> "_Structure":
        """Return the structure that a stage trains."""
        hashable = {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}
        adapter: tuple[Hashable, ...] | None = None
        if isinstance(settings, AdapterSettings):
            adapter = (settings.rank, settings.alpha)
        if isinstance(settings, DistillSettings):
            adapter = (settings.rank, settings.alpha, settings.learning, settings.stitch_share > 0)
        return cls(type(settings), adapter, tuple(sorted(hashable.items())), settings)

    def build(self) -> PoseGenTransformer3DModel:
        """Build the transformer as it is trained, without weights."""
        with init_empty_weights(include_buffers=True):
            model = PoseGenTransformer3DModel(**dict(self.arguments))
        settings = self.settings
        if isinstance(settings, StitchSettings):
            settings = replace(settings, from_base=False)  # the empty model has no base adapter to copy
        if isinstance(settings, DistillSettings) and settings.stitch_share > 0:  # nor one to copy for stitch segments
            for name in ADAPTERS:
                lora.add_adapter(model, name, settings.rank, settings.alpha)
        prepare_transformer(model, settings, "fp32")
        return model


def _discriminator(settings: DistillSettings, inputs: TransformerInputs, processes: int) -> tuple[int, int]:
    """Return (parameters, bytes kept for the backward pass) of a discriminator, which looks at four videos a step."""
    with init_empty_weights(include_buffers=True):
        model = make_discriminator(inputs.arguments, settings).to(_activation_type(settings))
    channels, most = inputs.arguments["out_channels"], 0
    for phase in settings.phases:
        batch = max(phase.batch_size // (settings.accumulate * processes), 1)
        shape = ((phase.num_frames - 1) // 4 + 1, *inputs.latent_size)
        latents, conditions = (
            torch.empty(batch, count, *shape, device="meta", dtype=_activation_type(settings))
            for count in (channels, inputs.arguments["in_channels"] + channels)
        )
        with _keeping(model) as kept:
            model(latents, conditions)
        most = max(most, _LOOKS * kept.size())
    return sum(parameter.numel() for parameter in model.parameters()), most


@functools.lru_cache(maxsize=64)
def _count_parameters(structure: _Structure) -> tuple[int, int]:
    """Return (parameters that learn, all parameters)."""
    model = structure.build()
    trained = sum(parameter.numel() for _, parameter in trained_parameters(model))
    return trained, sum(parameter.numel() for parameter in model.parameters())


def _measure(phase: Phase, settings: TransformerSettings, inputs: TransformerInputs, processes: int) -> tuple[int, int]:
    """Return (bytes kept for the backward pass, tokens) of the largest part of a batch."""
    batch = max(phase.batch_size // (settings.accumulate * processes), 1)
    frames = (phase.num_frames - 1) // 4 + 1
    arguments, latent_size = inputs.arguments, inputs.latent_size
    few, many = (
        _kept(
            _Structure.of(settings, inputs.with_blocks(count).arguments),
            (batch, frames, *latent_size),
            (inputs.text_tokens, inputs.image_tokens),
            _activation_type(settings),
        )
        for count in (1, _PROBED)
    )
    block = (many - few) // (_PROBED - 1)
    patch = arguments.get("patch_size", (1, 2, 2))
    per_frame = (latent_size[0] // patch[1]) * (latent_size[1] // patch[2])
    tokens = batch * (frames + 1) * per_frame
    layers = arguments.get("num_layers", 40)
    width = arguments["num_attention_heads"] * arguments["attention_head_dim"]
    if settings.gradient_checkpointing:  # each block's input, and one block at a time in full
        size = 2 if settings.precision == "bf16" else 4
        return few + layers * tokens * width * size, tokens
    return few + (layers - 1) * block, tokens


@functools.lru_cache(maxsize=64)
def _kept(
    structure: _Structure, shape: tuple[int, int, int, int], num_tokens: tuple[int, int], dtype: torch.dtype
) -> int:
    """Measure the bytes that autograd keeps for the backward pass of a transformer of few blocks.

    shape: (b, f, h, w) of the latents; num_tokens: of the text and of the image.
    """
    batch, frames, *latent_size = shape
    arguments: dict[str, Any] = dict(structure.arguments)
    model = structure.build()
    model.disable_gradient_checkpointing()
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    channels = arguments["out_channels"]

    def empty(*shape: int) -> Tensor:
        return torch.empty(batch, *shape, device="meta", dtype=dtype)

    with _attention_without_matrix(), _keeping(model) as kept:
        model(
            hidden_states=empty(channels, frames, *latent_size),
            condition_latents=empty(arguments["in_channels"] - channels, frames, *latent_size),
            hand_latents=empty(channels, frames, *latent_size),
            reference_latents=empty(channels, 1, *latent_size),
            timestep=empty(),
            encoder_hidden_states=empty(num_tokens[0], arguments["text_dim"]),
            encoder_hidden_states_image=empty(num_tokens[1], arguments["image_dim"]),
        )
    return kept.size()


class _KeptBytes:
    """Tensors that autograd keeps for the backward pass, beside the model's own weights."""

    def __init__(self, model: nn.Module) -> None:
        self._own = {id(parameter) for parameter in model.parameters()}
        self._tensors: dict[int, Tensor] = {}

    def pack(self, tensor: Tensor) -> Tensor:
        """Note a tensor, or the one that it is a view of."""
        root = tensor if tensor._base is None else tensor._base
        if id(root) not in self._own:
            self._tensors[id(root)] = root
        return tensor

    def size(self) -> int:
        """Return their bytes."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self._tensors.values())


@contextlib.contextmanager
def _keeping(model: nn.Module) -> Iterator[_KeptBytes]:
    kept = _KeptBytes(model)
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda tensor: tensor):
        yield kept


class _Attention(torch.autograd.Function):
    """A stand-in for memory-efficient attention that keeps queries, keys, values and the result."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        result = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, result)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        raise NotImplementedError("only measured, never run backwards")


@contextlib.contextmanager
def _attention_without_matrix() -> Iterator[None]:
    """Replace torch's attention, which on the meta device keeps the n x n matrix as no real device does."""
    original = functional.scaled_dot_product_attention

    def attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
        return _Attention.apply(query, key, value)

    functional.scaled_dot_product_attention = attention
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = original
