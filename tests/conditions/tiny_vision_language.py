"""Qwen-VL models of the real classes with few, random weights, saved with a real tokenizer and image processor."""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
           "<|video_pad|>")  # fmt: skip


def save_tiny(folder, kind, with_image_pad=True):
    """A folder as the hub has it; `kind` is qwen2_5_vl or qwen3_vl."""
    special = [token for token in SPECIAL if with_image_pad or token != "<|image_pad|>"]
    vocabulary = {token: number for number, token in enumerate(
        [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])}  # fmt: skip
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    from tokenizers import decoders

    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>",
        additional_special_tokens=special[1:],
    )  # fmt: skip
    fast.save_pretrained(folder)
    ids = {name: vocabulary.get(f"<|{name}|>", 5) for name in ("image_pad", "video_pad", "vision_start", "vision_end")}
    text = {"vocab_size": len(vocabulary), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 4096,
            "bos_token_id": 0, "eos_token_id": vocabulary["<|im_end|>"], "pad_token_id": 0}  # fmt: skip
    tokens = {"image_token_id": ids["image_pad"], "video_token_id": ids["video_pad"],
              "vision_start_token_id": ids["vision_start"], "vision_end_token_id": ids["vision_end"]}  # fmt: skip
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 32}
    torch.manual_seed(0)
    if kind == "qwen2_5_vl":
        rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
        config = Qwen2_5_VLConfig(
            text_config={**text, "rope_parameters": rope}, vision_config={**vision, "fullatt_block_indexes": [1]},
            **tokens,
        )  # fmt: skip
        model, patch = Qwen2_5_VLForConditionalGeneration(config), 14
    else:
        rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "mrope_interleaved": True, "rope_theta": 10000.0}
        config = Qwen3VLConfig(
            text_config={**text, "head_dim": 16, "rope_parameters": rope},
            vision_config={**vision, "deepstack_visual_indexes": [0], "num_position_embeddings": 64}, **tokens,
        )  # fmt: skip
        model, patch = Qwen3VLForConditionalGeneration(config), 16
    model.save_pretrained(folder)
    Qwen2VLImageProcessorPil(patch_size=patch).save_pretrained(folder)
    return folder
