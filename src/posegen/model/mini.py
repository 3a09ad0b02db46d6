"""Sizes and location of `mini`, a small model with the structure of the 14B one, which runs on any CPU.

Wan's transformer with reference tokens and hand embedding, UMT5 text encoder, CLIP vision encoder and two adapters, as
in the large model but small; the autoencoder is a lighter one with Wan's strides. The trained weights are part of the
package; `build_mini` makes one with random weights, the starting point of its training. No code outside this file may
depend on whether a model is the mini.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedTokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
)

from posegen.config import DEFAULT_PROMPT
from posegen.model import lora
from posegen.model.autoencoder import AutoencoderLightVideo
from posegen.model.pipeline import ADAPTERS, PoseGenPipeline
from posegen.model.transformer import PoseGenTransformer3DModel

SETTINGS: dict[str, Any] = {
    "segment_length": 33,
    "head": 9,
    "tail": 8,
    "default_area": 256 * 144,
    "draw_scale": 2,
    "max_text_tokens": 96,
    "default_steps": 8,
    "default_guidance": 1.0,
    "negative_prompt": "",
    "trained": False,
}
TRANSFORMER: dict[str, Any] = {
    "num_attention_heads": 6,
    "attention_head_dim": 64,
    "in_channels": 68,
    "out_channels": 32,
    "text_dim": 64,
    "freq_dim": 256,
    "ffn_dim": 1280,
    "num_layers": 6,
    "image_dim": 64,
    "added_kv_proj_dim": 384,
}
VAE: dict[str, Any] = {"z_dim": 32, "encoder_channels": [48, 96, 128], "decoder_channels": [128, 96, 48]}
IMAGE_SIDE = 112
VOCABULARY = 1024
FLOW_SHIFT = 3.0
"""Shift of the schedule: fewer tokens than the large model's need less shift towards noise."""
TOKENIZER_WORDS = (
    "woman", "man", "girl", "boy", "lady", "gentleman", "person", "people", "human", "child", "kid", "baby",
    "teenager", "adult", "dancer", "singer", "presenter", "speaker", "actor", "actress", "model", "athlete",
    "performer", "musician", "teacher", "character", "figure", "warrior", "elf", "princess", "prince", "robot",
    "subject",
)  # fmt: skip  # a table, read in rows
"""Words that the tokenizer learns in addition to captions. Fixed, and not `prompt.SUBJECT_WORDS`: other words would
change the tokens of a resumed training."""
NAME = "mini"
FOLDER = Path(__file__).parents[1] / "weights" / "mini"
"""Folder of the trained weights, written by `PoseGenPipeline.save_pretrained`."""


def build_tokenizer(captions: Iterable[str] = ()) -> PreTrainedTokenizerFast:
    """Build a byte-level BPE tokenizer over the words of captions: reads any text, provides offsets, no download."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    known = [DEFAULT_PROMPT, *(f"a {word} stands" for word in TOKENIZER_WORDS)] * 4
    tokenizer.train_from_iterator([*known, *captions], trainer)
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=96
    )


def transformer_sizes(layers: int = 0, heads: int = 0) -> dict[str, Any]:
    """Return constructor arguments of the mini's transformer, or of one with another depth and width, in proportion.

    `heads` are of 64 channels each; 0 stands for the mini's own number.
    """
    heads = heads or TRANSFORMER["num_attention_heads"]
    width = TRANSFORMER["attention_head_dim"]
    wide = TRANSFORMER["ffn_dim"] * heads / (TRANSFORMER["num_attention_heads"] * width)
    return {
        **TRANSFORMER,
        "num_layers": layers or TRANSFORMER["num_layers"],
        "num_attention_heads": heads,
        "ffn_dim": round(wide) * width,
        "added_kv_proj_dim": heads * width,
    }


def build_mini(
    seed: int = 0, captions: Iterable[str] = (), adapters: bool = True, layers: int = 0, heads: int = 0
) -> PoseGenPipeline:
    """Build the mini with random weights, the same for the same seed, without changing torch's global generator.

    Its tokenizer learns words from `captions`. Text and image encoder are never trained: a random projection of words
    and patches is enough for the transformer to learn from. `layers` and `heads`: see `transformer_sizes`.
    """
    tokenizer = build_tokenizer(captions)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text_encoder = UMT5EncoderModel(
            UMT5Config(
                vocab_size=VOCABULARY,
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
        vae = AutoencoderLightVideo(**VAE)
        transformer = PoseGenTransformer3DModel(**transformer_sizes(layers, heads))
        if adapters:
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
        scheduler=FlowMatchEulerDiscreteScheduler(shift=FLOW_SHIFT),
        **SETTINGS,
    )
