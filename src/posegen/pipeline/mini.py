"""`mini`: a small model of the same classes as the 14B one, that runs on any CPU.

Only sizes differ: Wan transformer with reference tokens and hand embedding, UMT5 text encoder, CLIP vision encoder, Wan
VAE, two adapters. Its weights are random for now (`trained=False` says so in every result); nothing outside this file
may ask whether a model is the mini.
"""

from typing import Any

import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedTokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
)

from posegen.conditions.prompt import SUBJECT_WORDS
from posegen.config import DEFAULT_PROMPT
from posegen.model import lora
from posegen.model.transformer import PoseGenTransformer3DModel
from posegen.pipeline.pipeline import ADAPTERS, PoseGenPipeline

SETTINGS: dict[str, Any] = {
    "segment_length": 33,
    "head": 9,
    "tail": 8,
    "default_area": 192 * 112,
    "draw_scale": 2,
    "max_text_tokens": 96,
    "trained": False,
}
TRANSFORMER: dict[str, Any] = {
    "num_attention_heads": 4,
    "attention_head_dim": 64,
    "in_channels": 36,
    "out_channels": 16,
    "text_dim": 64,
    "freq_dim": 256,
    "ffn_dim": 1024,
    "num_layers": 6,
    "image_dim": 64,
    "added_kv_proj_dim": 256,
}
VAE: dict[str, Any] = {
    "base_dim": 24,
    "z_dim": 16,
    "dim_mult": [1, 2, 2],
    "num_res_blocks": 1,
    "temperal_downsample": [True, True],
    "patch_size": 2,
    "in_channels": 12,
    "out_channels": 12,
    "scale_factor_temporal": 4,
    "scale_factor_spatial": 8,
    "latents_mean": [0.0] * 16,
    "latents_std": [1.0] * 16,
}
IMAGE_SIDE = 112


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer over the words of captions: reads any text, knows offsets, needs no download."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=["<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([DEFAULT_PROMPT, *(f"a {word} stands" for word in SUBJECT_WORDS)] * 4, trainer)
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=96
    )


def build_mini(seed: int = 0) -> PoseGenPipeline:
    """The mini with random weights, the same for the same seed; leaves torch's global generator as it was."""
    tokenizer = build_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text_encoder = UMT5EncoderModel(
            UMT5Config(
                vocab_size=len(tokenizer),
                d_model=TRANSFORMER["text_dim"],
                d_kv=16,
                d_ff=128,
                num_layers=2,
                num_heads=4,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
            )
        )
        image_encoder = CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=TRANSFORMER["image_dim"],
                intermediate_size=128,
                num_hidden_layers=3,
                num_attention_heads=4,
                image_size=IMAGE_SIDE,
                patch_size=14,
            )
        )
        vae = AutoencoderKLWan(**VAE)
        transformer = PoseGenTransformer3DModel(**TRANSFORMER)
        for name in ADAPTERS:
            lora.add_adapter(transformer, name)
        lora.use_adapter(transformer, "base", trainable=False)
    side = {"height": IMAGE_SIDE, "width": IMAGE_SIDE}
    return PoseGenPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        image_processor=CLIPImageProcessor(size=side, crop_size=side, do_center_crop=False),
        image_encoder=image_encoder,
        vae=vae,
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0),
        **SETTINGS,
    )
