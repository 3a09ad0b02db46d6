"""Blocks of Wan2.1-14B's dimensions with random weights, their inputs, and the sizes that they are measured at."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from accelerate import init_empty_weights

from posegen.model.sharing import SharingPass
from posegen.model.transformer import PoseGenTransformer3DModel
from wan_14b_measuring import Report, milliseconds, release_memory

WAN_LAYERS, STEPS, BRANCHES = 40, 25, 2
SUBJECT = [3, 4]
"""Tokens of the prompt that name the person."""
WAN = {
    "num_attention_heads": 40,
    "attention_head_dim": 128,
    "in_channels": 36,
    "out_channels": 16,
    "text_dim": 4096,
    "ffn_dim": 13824,
    "image_dim": 1280,
    "added_kv_proj_dim": 5120,
}
TINY = {
    "num_attention_heads": 2,
    "attention_head_dim": 24,
    "in_channels": 12,
    "out_channels": 4,
    "text_dim": 20,
    "freq_dim": 32,
    "ffn_dim": 64,
    "image_dim": 40,
    "added_kv_proj_dim": 48,
}


@dataclasses.dataclass(frozen=True)
class Size:
    """Latents of a segment; text and image tokens."""

    name: str
    frames: int
    rows: int
    columns: int
    text: int = 512
    image: int = 257

    @property
    def reference(self) -> int:
        return self.rows * self.columns // 4

    @property
    def video(self) -> int:
        return self.frames * self.reference


P480 = Size("832x480, 81 frames", 21, 60, 104)
P720 = Size("1280x720, 81 frames", 21, 90, 160)
TOY = Size("tiny", 3, 8, 6, text=12, image=5)


class Blocks:
    """A few blocks of Wan's size with random weights, and inputs of one size."""

    def __init__(self, config: dict, layers: int, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> None:
        self.device, self.dtype, self.layers = device, dtype, layers
        config = {**config, "num_layers": layers}
        with init_empty_weights():
            shapes = {name: tensor.shape for name, tensor in PoseGenTransformer3DModel(**config).state_dict().items()}
        generator = torch.Generator(device).manual_seed(0)

        def random(name: str, shape: torch.Size) -> torch.Tensor:
            if len(shape) == 1 and name.endswith("weight"):
                return torch.ones(shape, device=device, dtype=dtype)
            scale = 0.02 if len(shape) == 1 else shape[1:].numel() ** -0.5
            return torch.empty(shape, device=device, dtype=dtype).normal_(0, scale, generator=generator)

        weights = {name: random(name, shape) for name, shape in shapes.items()}
        self.model = PoseGenTransformer3DModel.from_weights(weights, config, "random weights", dtype)
        self.model.to(device).requires_grad_(False)

    def inputs(self, size: Size, seed: int = 0) -> dict:
        config, generator = self.model.config, torch.Generator(self.device).manual_seed(seed)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(1, *shape, device=self.device, generator=generator).to(self.dtype)

        channels, latents = config.out_channels, (size.frames, size.rows, size.columns)
        return {
            "hidden_states": normal(channels, *latents),
            "condition_latents": normal(channels + 4, *latents),
            "hand_latents": normal(channels, *latents),
            "reference_latents": normal(channels, 1, *latents[1:]),
            "timestep": torch.full((1,), 700.0, device=self.device),
            "encoder_hidden_states": normal(size.text, config.text_dim),
            "encoder_hidden_states_image": normal(size.image, config.image_dim),
        }

    @torch.no_grad()
    def forward(self, inputs: dict, background: SharingPass | None = None) -> torch.Tensor:
        return self.model(**inputs, background=background, return_dict=False)[0]

    def all_blocks(self, inputs: dict) -> Callable[[], torch.Tensor]:
        """A call of the blocks alone, with what the model gives them."""
        taken: list[tuple] = []
        hook = self.model.blocks[0].register_forward_pre_hook(lambda module, given: taken.append(given))
        try:
            self.forward(inputs)
        finally:
            hook.remove()

        @torch.no_grad()
        def run() -> torch.Tensor:
            joint, *rest = taken[0]
            for block in self.model.blocks:
                joint = block(joint, *rest)
            return joint

        return run

    def per_block(self, inputs: dict, **timing: int) -> float:
        return milliseconds(self.all_blocks(inputs), **timing) / self.layers


def block_operations(config: dict, size: Size) -> dict[str, float]:
    """Floating-point operations of one block's forward, by part; a multiplication and an addition are two."""
    dim = config["num_attention_heads"] * config["attention_head_dim"]
    joint, context = size.video + size.reference, size.text + size.image
    return {
        "self-attention, projections": 8.0 * joint * dim * dim,
        "self-attention, scores and values": 4.0 * joint * joint * dim,
        "cross-attention": 4.0 * (size.video + context) * dim * dim + 4.0 * size.video * context * dim,
        "feed-forward": 4.0 * joint * dim * config["ffn_dim"],
    }


class Workbench:
    """State that all measurements share: the device, the sizes, the blocks, and what earlier ones found."""

    def __init__(self, report: Report) -> None:
        self.report, self.tiny = report, report.arguments.tiny
        self.device = torch.device("cuda" if report.cuda else "cpu")
        self.config = TINY if self.tiny else WAN
        self.layers = 2 if self.tiny else report.arguments.blocks
        self.sizes = (TOY, TOY) if self.tiny else (P480, P720)
        self.peak_flops: float | None = None
        self.block_ms: dict[str, float] = {}
        self._blocks: Blocks | None = None

    @property
    def blocks(self) -> Blocks:
        """The blocks, made when first needed."""
        if self._blocks is None:
            self._blocks = Blocks(self.config, self.layers, self.device)
        return self._blocks

    def forget_blocks(self) -> None:
        self._blocks = None
        release_memory()

    @contextmanager
    def backend(self, name: str) -> Iterator[None]:
        self.blocks.model.set_attention_backend(name)
        try:
            yield
        finally:
            self.blocks.model.set_attention_backend("native")
