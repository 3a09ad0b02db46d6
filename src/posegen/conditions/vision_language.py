"""Writes a prompt with a vision-language model of the Qwen-VL family (Qwen2-VL, Qwen2.5-VL, Qwen3-VL).

Model, tokenizer and image processor are loaded with transformers from one folder, or from the hub's cache; nothing is
downloaded. The conversation is assembled here, because the library's own processor requires torchvision for videos,
which are not used. `generate/prompting.py` uses the answer, and handles the case without a model.
"""

import re
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from posegen.conditions.estimators.model_weights import model_folder
from posegen.errors import PosegenError
from posegen.offline import no_network

FAMILY = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe")
"""Values of `model_type` whose images are written as `<|vision_start|><|image_pad|>...<|vision_end|>`."""
MAX_PIXELS = 768 * 28 * 28
"""Maximum pixels of an image; larger ones are scaled down: a few hundred tokens are enough for a prompt."""
INSTRUCTION = (
    "Describe this picture as a prompt for a video model, in one paragraph of plain English, at most 120 words. "
    "Begin with the image style (for example: a realistic video, an animated video in the style of a painting). "
    "Then describe the main subject in detail: what the person is ({subject}), hair, face, clothes and their colours. "
    "Then the background in detail: place, objects, colours, light. End with the camera shot: {shot}, static camera. "
    "Do not describe movements. Call the main subject {subject_word}."
)


class VisionLanguageModel:
    """Vision-language model that writes a prompt for an image.

    source: folder or hub name; option: the setting that errors name if it is missing. Raises `PosegenError` if the
    model is not on this machine, or belongs to another family.
    """

    def __init__(self, source: str, device: torch.device, dtype: torch.dtype, option: str = "--prompt-model") -> None:
        from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

        folder = model_folder(source, option)
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            if config.model_type not in FAMILY:
                raise PosegenError(
                    f"{source} is a {config.model_type!r} model; supported are Qwen2-VL, Qwen2.5-VL and Qwen3-VL "
                    "(for example Qwen/Qwen2.5-VL-7B-Instruct)"
                )
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._images = AutoImageProcessor.from_pretrained(folder, use_fast=False, local_files_only=True)
            with no_network():
                model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, local_files_only=True)
        except (OSError, ValueError) as error:
            raise PosegenError(
                f"cannot load the vision-language model {source!r}: {str(error).splitlines()[0]} Give the folder of a "
                "Qwen-VL model (weights, tokenizer, preprocessor_config.json)"
            ) from error
        self._model = model.to(device).eval()
        self._device = device

    def describe(
        self, image: UInt8[np.ndarray, "height width 3"], shot: str, subject: str | None = None, max_tokens: int = 256
    ) -> str:
        """Write one paragraph about an sRGB image by greedy decoding, without line breaks.

        shot: words for the camera shot. subject: the word that names the person; without it the model chooses one.
        Raises `PosegenError` if the answer is empty.
        """
        instruction = INSTRUCTION.format(
            subject=subject or "a woman, a man, a girl, a boy, a character",
            shot=shot.lower(),
            subject_word=repr(subject) if subject else "by one of these words throughout",
        )
        prepared = self._images(
            images=[Image.fromarray(image)],
            return_tensors="pt",
            size={"shortest_edge": 4 * 28 * 28, "longest_edge": MAX_PIXELS},
        )
        grid = prepared["image_grid_thw"]
        tokens = int(grid[0].prod()) // self._images.merge_size**2
        text = (
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
            f"{'<|image_pad|>' * tokens}<|vision_end|>{instruction}<|im_end|>\n<|im_start|>assistant\n"
        )
        encoded = self._tokenizer(text, return_tensors="pt")
        ids = encoded["input_ids"].to(self._device)
        pad = self._tokenizer.convert_tokens_to_ids("<|image_pad|>")
        if pad is None or int((ids == pad).sum()) != tokens:
            raise PosegenError(
                "the vision-language model's tokenizer has no <|image_pad|> token: use Qwen-VL's own tokenizer"
            )
        with torch.inference_mode():
            answer = self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                mm_token_type_ids=(ids == pad).int(),
                pixel_values=prepared["pixel_values"].to(self._device, self._model.dtype),
                image_grid_thw=grid.to(self._device),
                max_new_tokens=max_tokens,
                do_sample=False,
            )
        decoded = self._tokenizer.decode(answer[0, ids.shape[1] :], skip_special_tokens=True)
        said = re.sub(r"\s+", " ", str(decoded)).strip().strip("\"'").strip()
        if not said:
            raise PosegenError(
                "the vision-language model gave an empty answer for the reference image: set --prompt yourself"
            )
        return said
