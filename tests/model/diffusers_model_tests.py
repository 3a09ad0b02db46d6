"""diffusers' own model tests, on `PoseGenTransformer3DModel`. CONTRIBUTING says how they are run.

They are in diffusers' repository and in no package, so this file is collected there, under `tests/models/transformers`.
Stock Wan of the same size runs beside ours: what fails for both is not ours.
"""

import torch
from diffusers import WanTransformer3DModel

from posegen.model.transformer import PoseGenTransformer3DModel

from ..testing_utils import (
    AttentionTesterMixin,
    BaseModelTesterConfig,
    FasterCacheTesterMixin,
    FirstBlockCacheTesterMixin,
    LoraTesterMixin,
    MagCacheTesterMixin,
    MemoryTesterMixin,
    ModelTesterMixin,
    PyramidAttentionBroadcastTesterMixin,
    TaylorSeerCacheTesterMixin,
    TrainingTesterMixin,
)

SIZES = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 12,
    "out_channels": 4,
    "text_dim": 16,
    "freq_dim": 256,
    "ffn_dim": 32,
    "num_layers": 2,
}


class Ours(BaseModelTesterConfig):
    """What diffusers' tests ask for, of our transformer."""

    model_class, main_input_name = PoseGenTransformer3DModel, "hidden_states"
    input_shape = output_shape = (4, 2, 16, 16)

    def get_init_dict(self):
        return dict(SIZES)

    def get_dummy_inputs(self):
        generator = torch.Generator().manual_seed(0)

        def normal(*shape):
            return torch.randn(1, *shape, generator=generator, dtype=self.torch_dtype)

        return {
            "hidden_states": normal(4, 2, 16, 16),
            "condition_latents": normal(8, 2, 16, 16),
            "hand_latents": normal(4, 2, 16, 16),
            "reference_latents": normal(4, 1, 16, 16),
            "timestep": torch.tensor([500.0]),
            "encoder_hidden_states": normal(12, 16),
            "encoder_hidden_states_image": None,
        }


class Stock(Ours):
    """The same of stock Wan."""

    model_class = WanTransformer3DModel

    def get_dummy_inputs(self):
        inputs = super().get_dummy_inputs()
        video = torch.cat([inputs["hidden_states"], inputs["condition_latents"]], dim=1)
        return {"hidden_states": video, **{name: inputs[name] for name in ("timestep", "encoder_hidden_states")}}


class TestModel(Ours, ModelTesterMixin):
    pass


class TestMemory(Ours, MemoryTesterMixin):
    pass


class TestTraining(Ours, TrainingTesterMixin):
    def test_gradient_checkpointing_is_applied(self):
        super().test_gradient_checkpointing_is_applied(expected_set={"PoseGenTransformer3DModel"})


class TestAttention(Ours, AttentionTesterMixin):
    pass


class TestLora(Ours, LoraTesterMixin):
    pass


CACHES = (
    FasterCacheTesterMixin,
    FirstBlockCacheTesterMixin,
    MagCacheTesterMixin,
    PyramidAttentionBroadcastTesterMixin,
    TaylorSeerCacheTesterMixin,
)
for mixin in CACHES:
    for config in (Ours, Stock):
        name = f"Test{config.__name__}{mixin.__name__.removesuffix('TesterMixin')}"
        globals()[name] = type(name, (config, mixin), {"__module__": __name__})
