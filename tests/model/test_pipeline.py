"""One segment on the real classes; saving, loading, and the two kinds of foreign folders."""

import json
import re
import shutil
import socket
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanImageToVideoPipeline, WanTransformer3DModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

from posegen.errors import DiskFullError, PosegenError
from posegen.model import lora
from posegen.model import mini as mini_model
from posegen.model.latents import decode_latents
from posegen.model.loading import load_transformer
from posegen.model.mini import build_mini
from posegen.model.pipeline import PoseGenPipeline
from posegen.model.sources import (
    describe_model,
    load_folder,
    load_pipeline,
    load_published,
    save_adapters,
)
from posegen.offline import no_network

SIZE = (64, 48)
GOLDEN = Path(__file__).parents[1] / "golden" / "transformer.safetensors"


WAN_CHANNELS = {"in_channels": 36, "out_channels": 16}


def tiny_wan_vae():
    """Wan's own autoencoder class, which the mini does not use."""
    torch.manual_seed(0)
    return AutoencoderKLWan(
        base_dim=8, z_dim=16, dim_mult=[1, 1, 1], num_res_blocks=1, temperal_downsample=[True, True], patch_size=2,
        in_channels=12, out_channels=12, latents_mean=[0.0] * 16, latents_std=[1.0] * 16,
    )  # fmt: skip  # short arguments, read in rows


@pytest.fixture(scope="module")
def frames():
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (9, *SIZE, 3), dtype=np.uint8)


def run(pipeline, frames, reference=None, skeleton=None, hands=(), prompt="a woman dances", seed=42, **options):
    """Two steps on small frames; the result as uint8 frames."""
    return pipeline(
        frames[0] if reference is None else reference,
        frames if skeleton is None else skeleton,
        frames[::-1] if isinstance(hands, tuple) else hands,
        prompt,
        num_inference_steps=2,
        generator=torch.Generator().manual_seed(seed),
        output_type="uint8",
        **options,
    ).frames[0]


def train_a_little(pipeline):
    """Give both adapters weights that do something."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in pipeline.transformer.named_parameters():
            if "lora_B" in name or "modules_to_save" in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return pipeline


def test_one_segment_is_deterministic_and_depends_on_every_input(frames):
    mini = train_a_little(build_mini())
    result = run(mini, frames)
    assert result.shape == frames.shape
    assert result.dtype == np.uint8
    assert np.array_equal(run(mini, frames), result)
    other = frames.copy()
    other[4] = 255 - other[4]
    changed = {
        "reference": run(mini, frames, reference=other[4]),
        "skeleton": run(mini, frames, skeleton=other),
        "hands": run(mini, frames, hands=other[::-1]),
        "no hands": run(mini, frames, hands=None),
        "prompt": run(mini, frames, prompt="a man sleeps"),
        "seed": run(mini, frames, seed=1),
        "guidance": run(mini, frames, guidance_scale=5.0),
        "pose guidance": run(mini, frames, pose_guidance_scale=2.0),
        "pose strength": run(mini, frames, pose_strength=1.5),
        "head": run(mini, frames, head_frames=other[:3]),
        "tail": run(mini, frames, tail_frames=other[-2:]),
    }
    for name, frames_of_change in changed.items():
        assert not np.array_equal(frames_of_change, result), name


def test_the_call_takes_and_gives_what_diffusers_users_expect(mini, frames):
    expected = run(mini, frames)
    noise = mini.noise(len(frames), frames.shape[1:3], 42)
    assert np.array_equal(run(mini, frames, latents=noise), expected)
    (levels,) = mini(
        PIL.Image.fromarray(frames[0]), frames, frames[::-1], "a woman dances", num_inference_steps=2, return_dict=False
    )
    assert levels.dtype == np.float32
    assert np.array_equal((levels * 255).round().astype(np.uint8)[0], expected)
    options = {"num_inference_steps": 2, "hands": frames[::-1], "prompt": "a woman dances"}
    tensor = mini(frames[0], frames, output_type="pt", **options).frames
    assert tensor.shape == (1, len(frames), 3, *frames.shape[1:3])
    assert np.array_equal(tensor.permute(0, 1, 3, 4, 2).numpy(), levels)
    (pictures,) = mini(frames[0], frames, output_type="pil", **options).frames
    assert np.array_equal(np.stack([np.asarray(picture) for picture in pictures]), expected)
    latents = mini(frames[0], frames, output_type="latent", **options).frames
    assert latents.shape == noise.shape
    assert np.array_equal(decode_latents(mini.vae, latents), expected)


def test_a_callback_sees_each_step_and_may_change_latents(mini, frames):
    seen = []

    def watch(pipeline, step, timestep, tensors):
        seen.append((pipeline is mini, step, float(timestep), tensors["latents"].shape))

    assert np.array_equal(run(mini, frames, callback_on_step_end=watch), run(mini, frames))
    assert [each[:2] for each in seen] == [(True, 0), (True, 1)]
    assert seen[0][2] == 1000
    changed = run(mini, frames, callback_on_step_end=lambda *each: {"latents": each[3]["latents"] * 0})
    assert not np.array_equal(changed, run(mini, frames))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"output_type": "jpeg"}, "jpeg"),
        ({"latents": torch.zeros(1, 2, 3, 4, 5)}, "latents"),
        ({"callback_on_step_end_tensor_inputs": ["prompt_embeds"]}, "prompt_embeds"),
    ],
)
def test_wrong_arguments_of_a_call_are_refused(mini, frames, options, named):
    with pytest.raises(PosegenError, match=named):
        mini(frames[0], frames, **options)


def test_sizes_that_disagree_are_refused(mini, frames):
    with pytest.raises(PosegenError, match="must have one size"):
        mini(frames[0][:32], frames, None, "a woman")


def test_preserved_frames_replace_both_conditions_and_set_the_mask(mini, frames):
    black = np.zeros_like(frames)
    condition, hands = mini.encode_conditions(black, black, frames[:5], frames[-4:])
    given, given_hands = mini.encode_conditions(frames, frames)
    assert torch.equal(condition[:, 4:], given[:, 4:])  # nine frames: all of them are given
    assert torch.equal(hands, given_hands)
    assert condition[:, :4].min() == 1
    assert given[:, :4].max() == 0


def test_unposed_latents_are_those_of_black_frames_and_strength_is_the_distance_from_them(mini, frames):
    black, given = np.zeros_like(frames), (frames[:5], frames[-4:])
    hands = 255 - frames
    plain, plain_hands = mini.encode_conditions(frames, hands)
    nothing, no_hands = mini.encode_conditions(black, black)
    unguided = mini.encode_pose(frames, hands)
    assert torch.equal(unguided.condition_latents, plain)
    assert unguided.unposed_latents is unguided.unposed_hands is None
    strong = mini.encode_pose(frames, hands, strength=1.5, guided=True)
    assert torch.equal(strong.unposed_latents, nothing)
    assert torch.equal(strong.unposed_hands, no_hands)
    assert torch.allclose(strong.condition_latents, nothing + 1.5 * (plain - nothing), atol=1e-5)
    assert torch.allclose(strong.hand_latents, no_hands + 1.5 * (plain_hands - no_hands), atol=1e-5)
    assert torch.equal(mini.encode_pose(frames, hands, guided=True).condition_latents, plain)
    kept = mini.encode_pose(frames, None, *given, strength=1.5)  # nine frames: all of them are preserved
    assert torch.equal(kept.condition_latents, mini.encode_conditions(frames, None, *given)[0])
    assert kept.hand_latents is None


def test_prompt_is_padded_with_zeros_and_subject_is_found(mini):
    features = mini.encode_text("a woman")
    length = int(mini.tokenizer("a woman", return_tensors="pt").attention_mask.sum())
    assert features.shape == (1, 96, 64)
    assert features[:, length:].abs().max() == 0
    assert features[:, :length].abs().min(dim=-1).values.max() > 0
    tokens = mini.subject_tokens("A video of a  young WOMAN dancing.")
    text = mini.tokenizer.convert_ids_to_tokens(mini.tokenizer("A video of a young WOMAN dancing.")["input_ids"])
    assert "".join(text[index] for index in tokens).replace("Ġ", "") == "WOMAN"


def test_save_and_load_round_trip_with_both_adapters(frames, tmp_path):
    mini = train_a_little(build_mini())
    base, stitch = run(mini, frames), run(mini, frames, head_frames=frames[:3])
    mini.save_pretrained(tmp_path / "model")
    loaded = PoseGenPipeline.from_pretrained(tmp_path / "model")
    assert lora.adapter_names(loaded.transformer) == ["base", "stitch"]
    assert dict(loaded.config)["segment_length"] == 33
    assert loaded.config.trained is False
    assert np.array_equal(run(loaded, frames), base)
    assert np.array_equal(run(loaded, frames, head_frames=frames[:3]), stitch)
    assert not np.array_equal(base, stitch)
    assert describe_model(str(tmp_path / "model")).segment_length == 33
    again = load_pipeline(str(tmp_path / "model"), torch.device("cpu"), torch.bfloat16)
    assert again.transformer.dtype == torch.bfloat16
    assert again.transformer.blocks[0].scale_shift_table.dtype == torch.float32


def test_a_full_disk_is_told_when_a_model_is_saved(full_disk, tmp_path):
    pipeline = build_mini(heads=1)
    with full_disk(100_000):
        with pytest.raises(DiskFullError, match=r"model: the disk is full"):
            pipeline.save_pretrained(tmp_path / "model")
        with pytest.raises(DiskFullError, match=r"pytorch_lora_weights.safetensors: the disk is full"):
            save_adapters(pipeline, "mini", tmp_path / "adapters")
    assert lora.adapter_names(pipeline.transformer) == ["base", "stitch"]  # as before
    assert not list((tmp_path / "adapters").rglob("*.safetensors*"))


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder", "image_encoder"])
@pytest.mark.parametrize("damage", ["missing", "extra", "misshapen", "unreadable"])
def test_damaged_weights_are_named(part, damage, tmp_path, saved_mini):
    folder = tmp_path / "model"
    shutil.copytree(saved_mini, folder)
    file = next((folder / part).glob("*.safetensors"))
    weights = load_file(file)
    name = sorted(name for name in weights if weights[name].ndim == 2 or part == "vae")[0]
    if damage == "missing":
        del weights[name]
    elif damage == "extra":
        name = "surplus.weight"
        weights[name] = torch.zeros(2)
    elif damage == "misshapen":
        weights[name] = torch.zeros(3, 5, 7)
    save_file(weights, file, metadata={"format": "pt"})
    if damage == "unreadable":
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(PosegenError) as caught:
        load_folder(folder, torch.float32)
    assert "\n" not in str(caught.value)
    assert part in str(caught.value) or name in str(caught.value)


@pytest.fixture
def no_socket(monkeypatch):
    """Whoever asks a hub fails the test."""

    def refuse(*_):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("part", ["vae", "text_encoder", "tokenizer", "image_processor", "scheduler"])
def test_a_folder_that_lacks_a_part_is_an_error_and_asks_no_hub(part, tmp_path, saved_mini, no_socket, monkeypatch):
    shutil.copytree(saved_mini, tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / part)
    monkeypatch.chdir(tmp_path)  # "model/vae" could be the name of a repository
    with pytest.raises(PosegenError, match=part) as caught:
        load_folder(Path("model"), torch.float32)
    assert "\n" not in str(caught.value)


def test_a_folder_may_not_name_code_of_its_own(tmp_path, saved_mini):
    shutil.copytree(saved_mini, tmp_path / "model")
    index = tmp_path / "model" / "model_index.json"
    content = json.loads(index.read_text())
    index.write_text(json.dumps({**content, "tokenizer": ["tokenizer_of_mine", "Tokenizer"]}))
    (tmp_path / "model" / "tokenizer" / "tokenizer_of_mine.py").write_text("raise SystemExit('was run')")
    with pytest.raises(PosegenError, match="tokenizer_of_mine"):
        load_folder(tmp_path / "model", torch.float32)


def test_nothing_is_asked_of_a_hub_while_a_local_model_is_loaded():
    import huggingface_hub
    from huggingface_hub.errors import OfflineModeIsEnabled

    with no_network(), pytest.raises(OfflineModeIsEnabled):
        huggingface_hub.HfApi(endpoint="http://127.0.0.1:9").model_info("owner/model")


@pytest.fixture(scope="module")
def saved_mini(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mini") / "model"
    build_mini().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def stock_wan(tmp_path_factory):
    """A folder as diffusers writes it for Wan2.1 image-to-video, at tiny size."""
    mini = build_mini()
    torch.manual_seed(0)
    transformer = WanTransformer3DModel(**{**mini_model.TRANSFORMER, **WAN_CHANNELS})
    folder = tmp_path_factory.mktemp("wan") / "Wan-tiny"
    WanImageToVideoPipeline(
        tokenizer=mini.tokenizer,
        text_encoder=mini.text_encoder,
        image_processor=mini.image_processor,
        image_encoder=mini.image_encoder,
        vae=tiny_wan_vae(),
        transformer=transformer,
        scheduler=UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0),
    ).save_pretrained(folder)
    return folder


def test_stock_wan_folder_becomes_a_pipeline_with_untrained_new_parameters(stock_wan, frames):
    pipeline = load_folder(stock_wan, torch.float32)
    assert pipeline.config.trained is False
    transformer = pipeline.transformer
    assert not any(parameter.is_meta for parameter in transformer.parameters())
    copied = transformer.patch_embedding.weight[:, :16]
    assert torch.equal(transformer.reference_patch_embedding.weight, copied)
    assert transformer.hand_projection.weight.abs().max() == 0
    assert run(pipeline, frames).shape == frames.shape


def test_published_folders_become_a_pipeline_with_two_adapters(published, frames):
    """The layout of the published release: two whole models, LoRA-wrapped, in `.bin` shards of the original names."""
    wan, base_folder, stitch_folder = published
    pipeline = load_published(wan, base_folder, stitch_folder, area=64 * 48, dtype=torch.float32)
    assert lora.adapter_names(pipeline.transformer) == ["base", "stitch"]
    assert pipeline.config.skeleton_colors == "release"
    base, stitch = run(pipeline, frames), run(pipeline, frames, head_frames=frames[:3])
    for folder, expected, options in ((base_folder, base, {}), (stitch_folder, stitch, {"head_frames": frames[:3]})):
        alone = load_published(wan, base_folder, stitch_folder, area=64 * 48, dtype=torch.float32)
        alone.transformer = load_transformer(folder, merge=True)
        difference = np.abs(run(alone, frames, **options).astype(int) - expected)
        assert difference.max() <= 1  # merged and unmerged differ by float rounding only
    assert not np.array_equal(base, stitch)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The golden model's weights (published names) as two release folders, and a Wan folder with fitting encoders."""
    root = tmp_path_factory.mktemp("published")
    with safe_open(GOLDEN, framework="pt") as file:
        config = json.loads(file.metadata()["config"])
        weights = {
            name.removeprefix("weights."): file.get_tensor(name)
            for name in file.keys()  # noqa: SIM118
            if name.startswith("weights.")
        }
    stages = []
    for seed, stage in enumerate(("720p-81f-base", "720p-81f-cond")):
        generator = torch.Generator().manual_seed(seed)
        state = {}
        for name, tensor in weights.items():
            linear = re.fullmatch(r"(blocks\.\d+\.(?:(?:self|cross)_attn\.(?:[qkvo]|[kv]_img)|ffn\.[02]))\.(\w+)", name)
            if linear is None:
                state[f"pipe.dit.{name}"] = tensor
                continue
            stem = f"pipe.dit.{linear[1]}"
            state[f"{stem}.base_layer.{linear[2]}"] = tensor
            if linear[2] == "weight":
                state[f"{stem}.lora_A.default.weight"] = torch.randn(4, tensor.shape[1], generator=generator) * 0.1
                state[f"{stem}.lora_B.default.weight"] = torch.randn(tensor.shape[0], 4, generator=generator) * 0.1
        folder = root / stage
        folder.mkdir()
        (folder / "model_config.json").write_text(json.dumps(config))
        names = sorted(state)
        for part in range(2):
            shard = {name: state[name] for name in names[part::2]}
            torch.save(shard, folder / f"pytorch_model-{part + 1:05d}-of-00002.bin")
        stages.append(folder)

    mini = build_mini()
    vision = CLIPVisionConfig(
        hidden_size=1280, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=14
    )
    text = UMT5Config(
        vocab_size=len(mini.tokenizer), d_model=config["text_dim"], d_kv=8, d_ff=32, num_layers=1, num_heads=2
    )
    wan = root / "Wan-tiny"
    WanImageToVideoPipeline(
        tokenizer=mini.tokenizer,
        text_encoder=UMT5EncoderModel(text),
        image_processor=mini.image_processor,
        image_encoder=CLIPVisionModel(vision),
        vae=tiny_wan_vae(),
        transformer=WanTransformer3DModel(**{**mini_model.TRANSFORMER, **WAN_CHANNELS}),
        scheduler=UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0),
    ).save_pretrained(wan)
    return wan, *stages
