"""Rates visual quality as Q-Align does: by the probabilities of the words excellent, good, fair, poor and bad.

Works with any image-and-text model that transformers has a class for; it should have been trained to rate as Q-Align
was. Filters use it for samples of a clip, `evaluate/metrics/dino_and_q_align.py` for results.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image

from posegen.errors import PosegenError
from posegen.offline import no_network

LEVELS = ("excellent", "good", "fair", "poor", "bad")
_WORTH = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Levels 5 to 1 as Q-Align's authors scale them: (level - 1) / 4. Every place that shows a rating has this scale."""
PROMPT = "USER: How would you rate the quality of this image?\n<image>\nASSISTANT: The quality of the image is"
VIDEO_PROMPT = "USER: How would you rate the quality of this video?\n{images}\nASSISTANT: The quality of the video is"


class RatingModel:
    """Model that rates images. Raises `PosegenError` for a folder with another kind of model."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor
        from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as KNOWN

        self.kind = str(model_config(folder, "a quality model").model_type)
        if self.kind not in KNOWN:
            raise PosegenError(
                f"{folder}: a {self.kind} model, which does not accept images in transformers: use a LLaVA model"
            )
        self.device = device
        self.network = load_whole(AutoModelForImageTextToText, folder, "a quality model").to(device)
        self.processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True, use_fast=False)
        self.levels = level_tokens(self.processor.tokenizer, folder)

    def rate(self, frame: UInt8[np.ndarray, "height width 3"]) -> float:
        """Return the expected level of one image, 0 to 1."""
        return self._ask([frame], PROMPT)

    def rate_video(self, frames: Sequence[UInt8[np.ndarray, "height width 3"]]) -> float:
        """Return the expected level of a video, 0 to 1, from a few of its frames."""
        return self._ask(frames, VIDEO_PROMPT.format(images="<image>" * len(frames)))

    def _ask(self, frames: Sequence[UInt8[np.ndarray, "height width 3"]], prompt: str) -> float:
        pictures = [Image.fromarray(frame) for frame in frames]
        inputs = self.processor(images=pictures, text=prompt, return_tensors="pt").to(self.device)
        with torch.inference_mode():
            logits = self.network(**inputs).logits[0, -1, self.levels]
        return expected_level(logits.cpu().double())


def expected_level(logits: Float[torch.Tensor, " levels"]) -> float:
    """Return the mean level, 0 (bad) to 1, weighted by a softmax over the levels (Q-Align, "the inference of LMMs")."""
    return float(torch.softmax(logits, 0) @ torch.tensor(_WORTH, dtype=logits.dtype))


def level_tokens(tokenizer: Any, folder: Path) -> list[int]:
    """Return the first token of each level. Raises `PosegenError` if two levels begin with the same token."""
    tokens = [tokenizer(level, add_special_tokens=False)["input_ids"][0] for level in LEVELS]
    if len(set(tokens)) < len(LEVELS):
        raise PosegenError(f"{folder}: its tokenizer does not distinguish {', '.join(LEVELS)}: not a rating model")
    return tokens


def model_config(folder: Path, what: str) -> Any:
    """Read the configuration in a model's folder. Raises `PosegenError` if there is none."""
    from transformers import AutoConfig

    if not folder.is_dir():
        raise PosegenError(f"{folder}: a folder with {what} was expected (config.json, weights)")
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise PosegenError(
            f"{folder}: not {what} in transformers' layout ({str(error).splitlines()[0][:120]})"
        ) from None


def load_whole(auto: Any, folder: Path, what: str) -> Any:
    """Load a model with all of its weights from the folder. Raises `PosegenError` if any is missing."""
    try:
        with no_network():
            model, report = auto.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise PosegenError(f"{folder}: cannot be loaded as {what} ({str(error).splitlines()[0][:120]})") from None
    made_up = [key for key in report["missing_keys"] if "pooler" not in key]
    wrong = [*made_up, *(str(each[0]) for each in report.get("mismatched_keys", []))]
    if wrong:
        raise PosegenError(
            f"{folder}: not the weights of {what}: {len(wrong)} are missing or differ (first: {wrong[0]})"
        )
    return model.eval().requires_grad_(False)
