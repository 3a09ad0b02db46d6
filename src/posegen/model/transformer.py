"""PoseGen transformer: Wan2.1 image-to-video with pose, hand and reference conditions.

Motion is added as channels, hands by addition, the reference image as tokens that pass beside the video tokens through
every block with the same weights. One forward is one guidance branch of one denoising step; `background` makes the
anchor segment record its keys and values, or another segment use them (`sharing.py`).
Prompts, schedulers, segments and files are handled elsewhere. Shapes: B batch, c latent channels (16), f latent frames,
h and w latent rows and columns, n video tokens, r reference tokens, d width of the model.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from diffusers import ModelMixin  # noqa: F401  (diffusers looks for it in the module that a saved pipeline names)
from diffusers.configuration_utils import register_to_config
from diffusers.hooks._helpers import (
    AttentionProcessorMetadata,
    AttentionProcessorRegistry,
    TransformerBlockMetadata,
    TransformerBlockRegistry,
)
from diffusers.hooks.context_parallel import EquipartitionSharder, PartitionAnythingSharder
from diffusers.models._modeling_parallel import ContextParallelInput, ContextParallelOutput
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.transformers.transformer_wan import (
    WanAttention,
    WanRotaryPosEmbed,
    WanTransformer3DModel,
    WanTransformerBlock,
    _get_added_kv_projections,
    _get_qkv_projections,
)
from diffusers.utils import apply_lora_scale
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from posegen.errors import PosegenError
from posegen.model import cpu_attention
from posegen.model.block_arithmetic import add_gated, feed_forward, modulate, normalise, split_heads
from posegen.model.release import check_weights, merge_lora_weights, release_config, split_release_state_dict
from posegen.model.sharing import LayerSharing, SequenceShard, SharingPass

MASK_CHANNELS = 4
HandEmbedding = Literal["projected", "plain", "none"]


class PoseGenAttnProcessor:
    """Wan's attention with an explicit number of image tokens, and with background sharing.

    The same arithmetic, in the same order, as diffusers' `WanAttnProcessor`, which treats everything but the last 512
    text tokens as image tokens. Backends and context parallelism are set from outside through the class attributes.
    """

    _attention_backend = None
    _parallel_config = None

    # the first five arguments are those with which diffusers calls every attention processor
    def __call__(
        self,
        attn: WanAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
        num_image_tokens: int = 0,
        sharing: LayerSharing | None = None,
        map_only: bool = False,
        source: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Compute attention.

        Args:
            attn: the attention layer.
            hidden_states: `(B, n, d)`; with `source`, ready queries `(B, k, heads, width)`.
            encoder_hidden_states: `(B, i + t, d)`, image tokens first, for cross-attention; None for self-attention.
            attention_mask: passed to the backend.
            rotary_emb: cosines and sines, each `(1, n, 1, width)`, for self-attention.
            num_image_tokens: `i`, number of image tokens in `encoder_hidden_states`.
            sharing: background sharing of this layer.
            map_only: make the subject map and nothing else; returns `hidden_states`.
            source: the anchor's keys and values, `(B, m, heads, width)` each, to attend to with ready queries.
        """
        if source is not None:
            return self._project(attn, self._attend(hidden_states, *source, None, None))

        image_states = None
        if encoder_hidden_states is not None and attn.add_k_proj is not None and num_image_tokens > 0:
            image_states, encoder_hidden_states = encoder_hidden_states.tensor_split([num_image_tokens], dim=1)

        query, key, value = _get_qkv_projections(attn, hidden_states, encoder_hidden_states)
        query = split_heads(attn.norm_q, query, attn.heads, rotary_emb)
        key = split_heads(attn.norm_k, key, attn.heads, rotary_emb)
        value = value.unflatten(2, (attn.heads, -1))

        if sharing is not None:
            if encoder_hidden_states is not None:
                sharing.observe(query, key)
            elif sharing.records:
                sharing.keep(key, value)
            elif sharing.shares:
                sharing.query = query
        if map_only:
            return hidden_states

        image_attention = None
        if image_states is not None:
            image_key, image_value = _get_added_kv_projections(attn, image_states)
            image_key = split_heads(attn.norm_added_k, image_key, attn.heads, None)
            image_value = image_value.unflatten(2, (attn.heads, -1))
            image_attention = self._attend(query, image_key, image_value, None, None)

        # only the joint sequence of self-attention is split between devices
        parallel_config = self._parallel_config if encoder_hidden_states is None else None
        hidden_states = self._attend(query, key, value, attention_mask, parallel_config)
        if image_attention is not None:
            hidden_states = hidden_states + image_attention
        return self._project(attn, hidden_states)

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, parallel_config: Any
    ) -> Tensor:
        chosen = self._attention_backend is not None or attention_mask is not None or parallel_config is not None
        if not chosen and cpu_attention.is_preferred(query):
            return cpu_attention.attend(query, key, value).flatten(2, 3)
        hidden_states = dispatch_attention_fn(
            query,
            key,
            value,
            attn_mask=attention_mask,
            dropout_p=0.0,
            is_causal=False,
            backend=self._attention_backend,
            parallel_config=parallel_config,
        )
        return hidden_states.flatten(2, 3).type_as(query)  # (B, n, d)

    @staticmethod
    def _project(attn: WanAttention, hidden_states: Tensor) -> Tensor:
        return attn.to_out[1](attn.to_out[0](hidden_states))


class PoseGenRotaryPosEmbed(WanRotaryPosEmbed):
    """Rotary positions of the joint sequence `[video; reference]`.

    Video tokens as in Wan. Reference tokens at temporal position 0, rows from 0, and columns -w/2 … -1, which no video
    token uses (columns from 0 without `shift_reference`).
    """

    def __init__(
        self, attention_head_dim: int, patch_size: tuple[int, ...], max_seq_len: int, shift_reference: bool = True
    ) -> None:
        super().__init__(attention_head_dim, patch_size, max_seq_len)
        self.shift_reference = shift_reference

    def forward(
        self, hidden_states: Tensor, reference_latents: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Bool[Tensor, "1 n 1 1"]]:
        """Return cosines and sines `(1, n + r, 1, width)`, and a mask of the joint tokens that are reference tokens."""
        cosines, sines = super().forward(hidden_states)
        num_video_tokens = cosines.shape[1]
        if reference_latents is not None:
            reference = self._reference(reference_latents)
            cosines = torch.cat([cosines, reference[0].to(cosines)], dim=1)
            sines = torch.cat([sines, reference[1].to(sines)], dim=1)
        is_reference = torch.arange(cosines.shape[1], device=cosines.device) >= num_video_tokens
        return cosines, sines, is_reference.view(1, -1, 1, 1)

    def _reference(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        sizes = [size // patch for size, patch in zip(latents.shape[2:], self.patch_size, strict=True)]
        frames, rows, columns = sizes
        starts = (0, 0, -columns if self.shift_reference else 0)
        dtype = torch.float32 if latents.device.type == "mps" else torch.float64
        tables = []
        for axis, (dim, start, size) in enumerate(
            zip((self.t_dim, self.h_dim, self.w_dim), starts, sizes, strict=True)
        ):
            positions = torch.arange(start, start + size, device=latents.device)
            table = get_1d_rotary_pos_embed(dim, positions, use_real=True, freqs_dtype=dtype)
            shape = [1, 1, 1, dim]
            shape[axis] = size
            tables.append([part.view(shape).expand(frames, rows, columns, dim) for part in table])
        cosines, sines = (torch.cat(parts, dim=-1).flatten(0, 2)[None, :, None] for parts in zip(*tables, strict=True))
        return cosines, sines  # (1, r, 1, width)


class PoseGenTransformerBlock(WanTransformerBlock):
    """Wan's block over `[video; reference]` tokens.

    Both kinds share all weights and attend to each other; each has its own modulation row (the video's timestep, and
    timestep 0), and reference tokens skip cross-attention. Without reference tokens it is Wan's block, bit for bit.
    """

    def __init__(
        self,
        dim: int,
        ffn_dim: int,
        num_heads: int,
        qk_norm: str | None = "rms_norm_across_heads",
        cross_attn_norm: bool = False,
        eps: float = 1e-6,
        added_kv_proj_dim: int | None = None,
    ) -> None:
        super().__init__(dim, ffn_dim, num_heads, qk_norm, cross_attn_norm, eps, added_kv_proj_dim)
        self.attn1.set_processor(PoseGenAttnProcessor())
        self.attn2.set_processor(PoseGenAttnProcessor())

    # tensors by name, as in Wan's block: hooks for offloading and context parallelism find them by these names
    def forward(
        self,
        hidden_states: Float[Tensor, "b n d"],
        encoder_hidden_states: Float[Tensor, "b t d"],
        temb: Float[Tensor, "b 6 d"],
        rotary_emb: tuple[Tensor, Tensor],
        reference_temb: Float[Tensor, "b 6 d"] | None = None,
        num_video_tokens: int | None = None,
        num_image_tokens: int = 0,
        sharing: LayerSharing | None = None,
    ) -> Float[Tensor, "b n d"]:
        """Apply the block.

        Args:
            hidden_states: joint tokens, video first.
            encoder_hidden_states: image tokens (`num_image_tokens` of them), then text tokens.
            temb: the video's modulation; reference_temb: the reference's.
            rotary_emb: cosines and sines of the joint tokens.
            reference_temb: None without reference tokens.
            num_video_tokens: number of video tokens among the joint tokens; None = all.
            num_image_tokens: number of image tokens among the encoder's tokens.
            sharing: background sharing of this block.
        """
        num_tokens = hidden_states.shape[1]
        num_video_tokens = num_tokens if num_video_tokens is None or reference_temb is None else num_video_tokens
        sizes = [num_video_tokens, num_tokens - num_video_tokens]
        rows = [self._rows(temb), self._rows(temb if reference_temb is None else reference_temb)]
        parts = list(zip(hidden_states.split(sizes, dim=1), rows, strict=True))
        if sizes[1] == 0:
            parts = parts[:1]

        # 1. joint self-attention
        normed = _join([modulate(self.norm1, x, row[0], row[1]) for x, row in parts])
        attention = self.attn1(normed, None, None, rotary_emb, sharing=sharing).split(sizes, dim=1)
        before = [x for x, _ in parts]
        states = [add_gated(x, a, row[2]) for (x, row), a in zip(parts, attention, strict=False)]
        if sharing is not None and sharing.shares:
            if sharing.map_before_fusion:
                self._cross_attention(states[0], encoder_hidden_states, num_image_tokens, sharing, map_only=True)
            states = self._share(before, states, [row[2] for row in rows], sharing)

        # 2. cross-attention of the video tokens
        mapped = sharing if sharing is not None and sharing.map_in_cross_attention else None
        if sizes[0] or mapped is not None:
            states[0] = states[0] + self._cross_attention(states[0], encoder_hidden_states, num_image_tokens, mapped)
        if sharing is not None:
            sharing.finish()

        # 3. feed-forward
        parts = list(zip(states, rows, strict=False))
        normed = _join([modulate(self.norm3, x, row[3], row[4]) for x, row in parts])
        forward = feed_forward(self.ffn, normed).split(sizes, dim=1)
        return _join([add_gated(x, y, row[5]) for (x, row), y in zip(parts, forward, strict=False)])

    def _rows(self, temb: Tensor) -> tuple[Tensor, ...]:
        """Return shift, scale and gate of self-attention, then of feed-forward, each `(B, 1, d)`."""
        return (self.scale_shift_table + temb.float()).chunk(6, dim=1)

    def _cross_attention(
        self,
        video: Tensor,
        encoder_hidden_states: Tensor,
        num_image_tokens: int,
        sharing: LayerSharing | None,
        map_only: bool = False,
    ) -> Tensor:
        return self.attn2(
            normalise(self.norm2, video),
            encoder_hidden_states,
            None,
            None,
            num_image_tokens=num_image_tokens,
            sharing=sharing,
            map_only=map_only,
        )

    def _share(
        self, before: list[Tensor], states: list[Tensor], gates: list[Tensor], sharing: LayerSharing
    ) -> list[Tensor]:
        """Replace the attention of common-background tokens with the anchor's (PoseGen Algorithm 1)."""
        shared = [state.clone() for state in states]
        num_video_tokens = states[0].shape[1]
        for item, plan in enumerate(sharing.plan(num_video_tokens)):
            if plan.tokens.numel() == 0:
                continue
            attention = self.attn1(plan.query, source=(plan.key, plan.value))[:, : plan.tokens.numel()]  # (1, k, d)
            pieces = (slice(None, plan.num_video_tokens), slice(plan.num_video_tokens, None))
            for kind, (state, piece) in enumerate(zip(shared, pieces, strict=False)):
                tokens = plan.tokens[piece] - kind * num_video_tokens
                old = before[kind][item, tokens]
                state[item, tokens] = (old.float() + attention[0, piece] * gates[kind][item]).type_as(old)
        return shared


def _join(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


class PoseGenTransformer3DModel(WanTransformer3DModel):
    """Wan2.1 image-to-video transformer with pose, hand and reference conditions.

    Supports the features of diffusers' own models: saving and loading, attention backends, offloading, layerwise
    casting, regional compilation, caching hooks, LoRA, gradient checkpointing and context parallelism.
    """

    _no_split_modules: ClassVar[list[str]] = ["PoseGenTransformerBlock"]
    _repeated_blocks: ClassVar[list[str]] = ["PoseGenTransformerBlock"]
    _skip_layerwise_casting_patterns: ClassVar[list[str]] = [
        "patch_embedding",
        "hand_projection",
        "condition_embedder",
        "norm",
    ]
    _keep_in_fp32_modules: ClassVar[list[str]] = [
        "rope",
        "time_embedder",
        "scale_shift_table",
        "norm1",
        "norm2",
        "norm3",
    ]
    _skip_keys: ClassVar[list[str]] = ["background", "sharing"]
    _cp_plan: ClassVar[dict[str, Any]] = {
        "rope": {index: ContextParallelInput(split_dim=1, expected_dims=4, split_output=True) for index in range(3)},
        "blocks.0": {"hidden_states": ContextParallelInput(split_dim=1, expected_dims=3, split_output=False)},
        "proj_out": ContextParallelOutput(gather_dim=1, expected_dims=3),
    }

    # one argument for each value of `config.json`, as diffusers' models have it
    @register_to_config
    def __init__(
        self,
        patch_size: tuple[int, ...] | list[int] = (1, 2, 2),
        num_attention_heads: int = 40,
        attention_head_dim: int = 128,
        in_channels: int = 36,
        out_channels: int = 16,
        text_dim: int = 4096,
        freq_dim: int = 256,
        ffn_dim: int = 13824,
        num_layers: int = 40,
        cross_attn_norm: bool = True,
        qk_norm: str | None = "rms_norm_across_heads",
        eps: float = 1e-6,
        image_dim: int | None = None,
        added_kv_proj_dim: int | None = None,
        rope_max_seq_len: int = 1024,
        pos_embed_seq_len: int | None = None,
        hand_embedding: HandEmbedding = "projected",
        shift_reference: bool = True,
    ) -> None:
        """Build the model; settings up to `pos_embed_seq_len` are Wan's own.

        Args:
            hand_embedding: "projected" (patch embedding and zero-initialised projection), "plain" (patch embedding
                only, zero-initialised) or "none".
            shift_reference: reference tokens at negative columns; False only for checkpoints trained without.
        """
        if in_channels != 2 * out_channels + MASK_CHANNELS:
            raise PosegenError(
                f"in_channels must be noisy latents + {MASK_CHANNELS} mask + pose latents = "
                f"{2 * out_channels + MASK_CHANNELS} for {out_channels} latent channels, got {in_channels}: "
                "use an image-to-video checkpoint"
            )
        patch = (patch_size[0], patch_size[1], patch_size[2])
        super().__init__(
            patch_size=patch,
            num_attention_heads=num_attention_heads,
            attention_head_dim=attention_head_dim,
            in_channels=in_channels,
            out_channels=out_channels,
            text_dim=text_dim,
            freq_dim=freq_dim,
            ffn_dim=ffn_dim,
            num_layers=0,  # its blocks would be discarded
            cross_attn_norm=cross_attn_norm,
            qk_norm=qk_norm,
            eps=eps,
            image_dim=image_dim,
            added_kv_proj_dim=added_kv_proj_dim,
            rope_max_seq_len=rope_max_seq_len,
            pos_embed_seq_len=pos_embed_seq_len,
        )
        self.register_to_config(num_layers=num_layers)
        dim = num_attention_heads * attention_head_dim
        self.rope = PoseGenRotaryPosEmbed(attention_head_dim, patch, rope_max_seq_len, shift_reference)
        self.blocks = nn.ModuleList(
            PoseGenTransformerBlock(dim, ffn_dim, num_attention_heads, qk_norm, cross_attn_norm, eps, added_kv_proj_dim)
            for _ in range(num_layers)
        )
        self.reference_patch_embedding = nn.Conv3d(out_channels, dim, kernel_size=patch, stride=patch)
        self.hand_patch_embedding: nn.Conv3d | None = None
        self.hand_projection: nn.Conv3d | None = None
        if hand_embedding != "none":
            self.hand_patch_embedding = nn.Conv3d(out_channels, dim, kernel_size=patch, stride=patch)
        if hand_embedding == "projected":
            self.hand_projection = nn.Conv3d(dim, dim, kernel_size=1)
        self.init_new_parameters()

    @torch.no_grad()
    def init_new_parameters(self) -> None:
        """Initialise parameters that Wan does not have from its own, independent of random state.

        The reference embedding (and the hand embedding, if a projection follows) copies the noisy-latent part of the
        patch embedding; the hand projection is zero, so hands start without effect.
        """
        channels = self.config.out_channels
        copies: list[nn.Conv3d] = [self.reference_patch_embedding]
        zeros: list[nn.Conv3d] = []
        if self.hand_patch_embedding is not None:
            (zeros if self.hand_projection is None else copies).append(self.hand_patch_embedding)
        if self.hand_projection is not None:
            zeros.append(self.hand_projection)
        for layer in copies:
            layer.weight.copy_(self.patch_embedding.weight[:, :channels])
            layer.get_parameter("bias").copy_(self.patch_embedding.bias)
        for layer in zeros:
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    # one argument for each input, as diffusers' transformers have it
    @apply_lora_scale("attention_kwargs")
    def forward(
        self,
        hidden_states: Float[Tensor, "b c f h w"],
        condition_latents: Float[Tensor, "_b m _f _h _w"],
        hand_latents: Float[Tensor, "_b _c _f _h _w"] | None,
        reference_latents: Float[Tensor, "_b _c 1 hr wr"] | None,
        timestep: Tensor,
        encoder_hidden_states: Float[Tensor, "b t dt"],
        encoder_hidden_states_image: Float[Tensor, "b i di"] | None = None,
        background: SharingPass | None = None,
        return_dict: bool = True,
        attention_kwargs: dict[str, Any] | None = None,
    ) -> Transformer2DModelOutput | tuple[Tensor]:
        """Predict the flow of one denoising step.

        Args:
            hidden_states: noisy latents.
            condition_latents: mask (4 channels, 0 = generate, 1 = preserve), then pose latents.
            hand_latents: hand-normal latents; None = no hands.
            reference_latents: latents of the reference image; None = no reference tokens.
            timestep: `(B,)`, 0 … 1000.
            encoder_hidden_states: text features.
            encoder_hidden_states_image: CLIP features of the reference image; None = none.
            background: from `BackgroundSharing.record` or `.share`; None = no background sharing.
            return_dict: a `Transformer2DModelOutput` instead of a tuple.
            attention_kwargs: `scale` of an attached LoRA.

        Returns:
            The flow, shaped as `hidden_states`.

        Raises:
            PosegenError: inputs that do not fit the model or each other.
        """
        self._check_inputs(hidden_states, condition_latents, hand_latents, reference_latents, timestep, background)
        patch_frames, patch_rows, patch_columns = self.config.patch_size
        frames = hidden_states.shape[2] // patch_frames
        rows, columns = hidden_states.shape[3] // patch_rows, hidden_states.shape[4] // patch_columns

        # the patch embedding uses all 36 channels; the rotary embedding needs sizes only
        cosines, sines, is_reference = self.rope(hidden_states, reference_latents)
        joint = self._embed(hidden_states, condition_latents, hand_latents, reference_latents)
        num_tokens, num_video_tokens = joint.shape[1], frames * rows * columns
        shard = None
        if is_reference.shape[1] != num_tokens:  # context parallelism: this process holds a part of the joint sequence
            num_video_tokens = int((~is_reference).sum())
            shard = self._shard(num_tokens, is_reference.shape[1])

        temb, modulation, text, image = self.condition_embedder(
            timestep, encoder_hidden_states, encoder_hidden_states_image
        )
        modulation = modulation.unflatten(1, (6, -1))  # (B, 6, d)
        reference_modulation = None
        if reference_latents is not None:
            reference_modulation = self._modulation_at_zero(timestep, text)
        num_image_tokens = 0 if image is None else image.shape[1]
        if background is not None:
            background.begin((frames, rows, columns), len(self.blocks), text.shape[1], shard)
        context = text if image is None else torch.cat([image, text], dim=1)

        checkpointing = torch.is_grad_enabled() and self.gradient_checkpointing and background is None
        for index, block in enumerate(self.blocks):
            sharing = None if background is None else background.layer(index)
            arguments = (context, modulation, (cosines, sines), reference_modulation, num_video_tokens)
            if checkpointing:
                joint = self._gradient_checkpointing_func(block, joint, *arguments, num_image_tokens, sharing)
            else:
                joint = block(joint, *arguments, num_image_tokens, sharing)

        shift, scale = (self.scale_shift_table.to(temb.device) + temb.unsqueeze(1)).chunk(2, dim=1)
        shift, scale = shift.to(joint.device), scale.to(joint.device)
        joint = modulate(self.norm_out, joint, shift, scale)
        # gathered here under context parallelism, so the reference tokens go last
        video = self.proj_out(joint)[:, : frames * rows * columns]
        sample = rearrange(
            video,
            "b (f h w) (pf ph pw c) -> b c (f pf) (h ph) (w pw)",
            f=frames,
            h=rows,
            w=columns,
            pf=patch_frames,
            ph=patch_rows,
            pw=patch_columns,
        )
        return Transformer2DModelOutput(sample=sample) if return_dict else (sample,)

    def _embed(
        self, latents: Tensor, condition_latents: Tensor, hand_latents: Tensor | None, reference_latents: Tensor | None
    ) -> Tensor:
        """Embed the joint tokens `(B, n + r, d)`, video first."""
        video = self.patch_embedding(torch.cat([latents, condition_latents], dim=1))
        if hand_latents is not None:
            assert self.hand_patch_embedding is not None
            hands = self.hand_patch_embedding(hand_latents)
            video = video + (hands if self.hand_projection is None else self.hand_projection(hands))
        tokens = [video] if reference_latents is None else [video, self.reference_patch_embedding(reference_latents)]
        return _join([rearrange(part, "b d f h w -> b (f h w) d").contiguous() for part in tokens])

    def _shard(self, num_tokens: int, size: int) -> SequenceShard:
        """Return the part of the joint sequence that this process holds under context parallelism."""
        processor: Any = self.blocks[0].get_submodule("attn1").processor
        config = processor._parallel_config.context_parallel_config
        anything = config.ulysses_anything or config.ring_anything
        sharder = PartitionAnythingSharder if anything else EquipartitionSharder
        shard = sharder.shard_anything if anything else sharder.shard
        unshard = sharder.unshard_anything if anything else sharder.unshard
        mesh = config._flattened_mesh
        first = int(shard(torch.arange(num_tokens), 0, mesh)[0])
        return SequenceShard(first=first, size=size, gather=lambda tensor: unshard(tensor, 1, mesh))

    def _modulation_at_zero(self, timestep: Tensor, text: Tensor) -> Tensor:
        """Return the reference tokens' modulation row, `(B, 6, d)`: the time embedding at timestep 0."""
        embedder = self.condition_embedder
        projected = embedder.timesteps_proj(torch.zeros_like(timestep))
        dtype = next(iter(embedder.time_embedder.parameters())).dtype
        if dtype not in (projected.dtype, torch.int8):
            projected = projected.to(dtype)
        temb = embedder.time_embedder(projected).type_as(text)
        return embedder.time_proj(embedder.act_fn(temb)).unflatten(1, (6, -1))

    def _check_inputs(
        self,
        hidden_states: Tensor,
        condition_latents: Tensor,
        hand_latents: Tensor | None,
        reference_latents: Tensor | None,
        timestep: Tensor,
        background: SharingPass | None,
    ) -> None:
        channels = self.config.out_channels
        wanted = {"hidden_states": (hidden_states, channels)}
        wanted["condition_latents"] = (condition_latents, self.config.in_channels - channels)
        if hand_latents is not None:
            if self.hand_patch_embedding is None:
                raise PosegenError("hand latents were given, but this model has no hand embedding: pass None")
            wanted["hand_latents"] = (hand_latents, channels)
        if reference_latents is not None:
            wanted["reference_latents"] = (reference_latents, channels)
        for name, (tensor, number) in wanted.items():
            size = tuple(hidden_states.shape[2:])
            if name == "reference_latents":
                size = (1, *tensor.shape[3:])
            expected = (hidden_states.shape[0], number, *size)
            if tuple(tensor.shape) != expected:
                raise PosegenError(f"{name}: expected the shape {expected}, got {tuple(tensor.shape)}")
            for length, patch in zip(tensor.shape[2:], self.config.patch_size, strict=True):
                if length % patch:
                    raise PosegenError(
                        f"{name}: sizes {tuple(tensor.shape[2:])} are not multiples of the patch "
                        f"{tuple(self.config.patch_size)}"
                    )
        if timestep.shape != hidden_states.shape[:1]:
            raise PosegenError(
                f"timestep: expected one per batch item, {tuple(hidden_states.shape[:1])}, got {tuple(timestep.shape)}"
            )
        if background is not None and self.is_cache_enabled:
            raise PosegenError(
                "caching skips blocks, which then have no keys and values to share: disable the cache at the steps "
                "of background sharing"
            )

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:
        """Write the model as diffusers does.

        Raises:
            PosegenError: adapters are attached, whose wrapped names could not be loaded again.
        """
        if getattr(self, "peft_config", None):
            raise PosegenError(
                f"the transformer has adapters ({', '.join(self.peft_config)}): write them with save_adapter, "
                "or merge one with merge_adapter before save_pretrained"
            )
        super().save_pretrained(save_directory, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Any:
        """Read a model as diffusers does, but refuse an incomplete one (diffusers leaves gaps on "meta").

        Raises:
            PosegenError: missing, extra or misshapen weights; a stock Wan folder (`loading.init_from_wan` takes it).
        """
        wants_report = kwargs.pop("output_loading_info", False)
        if Path(pretrained_model_name_or_path).is_dir():  # a missing file is an error, not to be searched on the hub
            kwargs["local_files_only"] = True
        try:
            model, report = super().from_pretrained(pretrained_model_name_or_path, output_loading_info=True, **kwargs)
        except (ValueError, RuntimeError) as error:  # misshapen
            raise PosegenError(f"{pretrained_model_name_or_path} does not fit the model: {error}") from error
        expected = dict.fromkeys(report["missing_keys"], ())
        check_weights(expected, dict.fromkeys(report["unexpected_keys"], ()), str(pretrained_model_name_or_path))
        return (model, report) if wants_report else model

    @classmethod
    def from_release_state_dict(
        cls, state_dict: Mapping[str, Tensor], config: Mapping[str, Any], dtype: torch.dtype | None = None
    ) -> "PoseGenTransformer3DModel":
        """Build the model from weights in the published naming; LoRA-wrapped weights are merged.

        Args:
            state_dict: published names, with or without `pipe.dit.`.
            config: the published `model_config.json`.
            dtype: cast weights to it (modules that must stay in float32 do); None = as stored.

        Raises:
            PosegenError: missing, extra or misshapen weights or settings.
        """
        base, lora = split_release_state_dict(state_dict)
        return cls.from_weights(merge_lora_weights(base, lora), release_config(config), "published checkpoint", dtype)

    @classmethod
    def from_weights(
        cls,
        state_dict: Mapping[str, Tensor],
        config: Mapping[str, Any],
        source: str,
        dtype: torch.dtype | None = None,
    ) -> "PoseGenTransformer3DModel":
        """Build the model around given tensors (shared, not copied) and check that they are all there.

        Args:
            state_dict: weights in this model's own names.
            config: constructor arguments.
            source: name of the weights in errors.
            dtype: cast weights to it (modules that must stay in float32 do); None = as stored.
        """
        from accelerate import init_empty_weights

        with init_empty_weights():
            model = cls(**config)
        check_weights(
            {name: tensor.shape for name, tensor in model.state_dict().items()},
            {name: tensor.shape for name, tensor in state_dict.items()},
            source,
        )
        model.load_state_dict(
            {name: cls._cast(name, tensor, dtype) for name, tensor in state_dict.items()}, strict=True, assign=True
        )
        return model.eval()

    @classmethod
    def _cast(cls, name: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
        """Cast one weight as diffusers' `from_pretrained` does, with its exceptions for float32."""
        if dtype is None:
            return tensor
        keep = any(module in name.split(".") for module in cls._keep_in_fp32_modules)
        return tensor.to(torch.float32 if keep else dtype)


def _skipped_attention(_attention: Any, hidden_states: Tensor, *_args: Any, **_kwargs: Any) -> Tensor:
    """Return the input, as guiders of diffusers expect of a skipped attention."""
    return hidden_states


TransformerBlockRegistry.register(
    PoseGenTransformerBlock,
    TransformerBlockMetadata(return_hidden_states_index=0, return_encoder_hidden_states_index=None),
)
AttentionProcessorRegistry.register(
    PoseGenAttnProcessor, AttentionProcessorMetadata(skip_processor_output_fn=_skipped_attention)
)
