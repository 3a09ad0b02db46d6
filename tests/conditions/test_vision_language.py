"""Vision-language models of the real classes, tiny and random: what they are shown is what the library would show."""

import json

import numpy as np
import pytest
import torch
from tiny_vision_language import save_tiny

from posegen.conditions.vision_language import VisionLanguageModel
from posegen.errors import PosegenError
from posegen.media.image import read_image

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def folder(request, tmp_path_factory):
    return str(save_tiny(tmp_path_factory.mktemp(request.param), request.param))


def test_it_says_the_same_about_the_same_picture_and_looks_at_it(folder, media):
    image = read_image(media / "man.png")
    model = VisionLanguageModel(folder, CPU, torch.float32)
    said = model.describe(image, "Half-body shot", "man", max_tokens=24)
    assert said == model.describe(image, "Half-body shot", "man", max_tokens=24)
    assert "\n" not in said
    assert "<|" not in said
    shown = {}

    def watch(module, arguments, named, output):
        shown.setdefault("logits", output.logits[0, -1])

    def look(module, arguments, named):
        shown.setdefault("grid", named.get("grid_thw", arguments[-1] if arguments else None))

    model._model.register_forward_hook(watch, with_kwargs=True)
    model._model.model.visual.register_forward_pre_hook(look, with_kwargs=True)
    model.describe(image, "Half-body shot", "man", max_tokens=1)
    first = shown.pop("logits")
    model.describe(255 - image, "Half-body shot", "man", max_tokens=1)
    assert not torch.allclose(first, shown["logits"])  # the picture reaches the model
    height, width = shown["grid"][0, 1:].tolist()
    assert abs(width / height - image.shape[1] / image.shape[0]) < 0.06  # not distorted
    assert height * width <= 4 * 768


def test_the_instruction_asks_for_the_methods_structure(folder, monkeypatch):
    model = VisionLanguageModel(folder, CPU, torch.float32)
    texts = []
    tokenizer = model._tokenizer
    monkeypatch.setattr(
        type(tokenizer), "__call__", lambda self, text, **named: texts.append(text) or self._encode_plus(text, **named)
    )
    model.describe(np.full((90, 60, 3), 90, np.uint8), "Close-up shot", "robot", max_tokens=2)
    [text] = texts
    for words in ("image style", "'robot'", "background", "close-up shot, static camera"):
        assert words in text
    assert text.index("<|image_pad|>") < text.index("Describe this picture") < text.index("assistant\n")


def test_other_models_and_missing_ones_are_refused_in_one_line(tmp_path):
    with pytest.raises(PosegenError, match=r"prompt_model .*none: there is no such folder") as refused:
        VisionLanguageModel(str(tmp_path / "none"), CPU, torch.float32)
    assert "\n" not in str(refused.value)
    with pytest.raises(PosegenError, match=r"no/model are not on this machine.*hf download.*caption_model"):
        VisionLanguageModel("no/model", CPU, torch.float32, "caption_model")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(PosegenError, match="'bert' model; supported are Qwen2-VL"):
        VisionLanguageModel(str(tmp_path), CPU, torch.float32)


def test_a_tokenizer_of_another_model_is_noticed(tmp_path):
    folder = save_tiny(tmp_path, "qwen2_5_vl", with_image_pad=False)
    with pytest.raises(PosegenError, match=r"<\|image_pad\|>"):
        VisionLanguageModel(str(folder), CPU, torch.float32).describe(
            np.zeros((60, 60, 3), np.uint8), "Close-up shot", max_tokens=2
        )
