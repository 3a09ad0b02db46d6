"""Defines `PoseGenPipeline`: the models of one checkpoint and the stages that generate the frames of one segment.

A diffusers pipeline: `save_pretrained`, `from_pretrained`, offloading and device placement work as for any other.
Calling it generates a single segment. Long videos are made in `generate/long_video.py`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ftfy
import numpy as np
import PIL.Image
import psutil
import torch
from diffusers import AutoencoderKLWan, DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from diffusers.utils import BaseOutput
from jaxtyping import Float, UInt8
from transformers import CLIPImageProcessor, CLIPVisionModel, PreTrainedTokenizerBase, UMT5EncoderModel

from posegen.conditions.subject_words import subject_token_indices
from posegen.config import NEGATIVE_PROMPT
from posegen.errors import PosegenError
from posegen.media.data_files import read_json_object
from posegen.media.tensors import check_header, saving_errors
from posegen.model import lora
from posegen.model.autoencoder import AutoencoderLightVideo
from posegen.model.denoise import (
    BackgroundOfStep,
    Conditioning,
    PoseGuidance,
    PoseLatents,
    Sampling,
    StepHooks,
    denoise,
    no_background,
)
from posegen.model.latents import decode_latents, encode_frames, preserve_mask, use_channels_last
from posegen.model.loading import load_transformer, loading_errors, without_adapters
from posegen.model.merged import MergedAdapters, extra_bytes, is_mergeable
from posegen.model.tensor_types import Latents
from posegen.model.transformer import PoseGenTransformer3DModel
from posegen.offline import no_network
from posegen.types import Frames, Image, PreservedFrames

Tokens = Float[torch.Tensor, "1 tokens channels"]

_LIBRARIES = ("diffusers", "transformers", "posegen")
"""Libraries whose classes a model folder may name."""
ADAPTERS = ("base", "stitch")
ADAPTER_FOLDER = "adapters"
OUTPUT_TYPES = ("np", "pt", "pil", "uint8", "latent")
StepCallback = Callable[["PoseGenPipeline", int, torch.Tensor, dict[str, Any]], dict[str, Any] | None]


@dataclass
class PoseGenPipelineOutput(BaseOutput):
    """Result of one call: `frames`, a batch of one video in the format given by `output_type`."""

    frames: Any


class PoseGenPipeline(DiffusionPipeline):
    """Generates the frames of one segment from a reference image, skeleton and hand frames.

    Settings of the checkpoint, saved in its `model_index.json`:
        segment_length, head, tail: numbers of frames of a segment, and preserved frames of a stitch segment
        default_area: usual height · width in pixels
        trained_size: (height, width) in pixels of all training data; None if it was trained on several shapes
        draw_scale: the skeleton is drawn at this multiple of the size and reduced (its lines are made for 720p)
        max_text_tokens: maximum tokens of the prompt
        default_steps, default_guidance, negative_prompt: default settings of sampling
        default_pose_guidance, pose_guidance_until: scale of pose guidance, and the noise level below which it is off
        default_pose_strength: strength of skeletons and hand normals, 1 as encoded
        few_steps: steps that the weights were distilled for; 0 if they were not
        trained: False announces random weights in every result
    """

    model_cpu_offload_seq = "text_encoder->image_encoder->transformer->vae"

    # one argument for each module and setting: diffusers writes them to, and reads them from, `model_index.json`
    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        text_encoder: UMT5EncoderModel,
        image_processor: CLIPImageProcessor,
        image_encoder: CLIPVisionModel,
        vae: AutoencoderKLWan | AutoencoderLightVideo,
        transformer: PoseGenTransformer3DModel,
        scheduler: FlowMatchEulerDiscreteScheduler,
        segment_length: int = 81,
        head: int = 21,
        tail: int = 20,
        default_area: int = 1280 * 720,
        trained_size: list[int] | tuple[int, int] | None = None,
        draw_scale: int = 1,
        max_text_tokens: int = 512,
        skeleton_colors: str = "openpose",
        default_steps: int = 25,
        default_guidance: float | int = 5.0,
        default_pose_guidance: float | int = 1.0,
        pose_guidance_until: float | int = 0.0,
        default_pose_strength: float | int = 1.0,
        few_steps: int = 0,
        negative_prompt: str = NEGATIVE_PROMPT,
        trained: bool = True,
    ) -> None:
        super().__init__()
        self.register_modules(
            tokenizer=tokenizer,
            text_encoder=text_encoder,
            image_processor=image_processor,
            image_encoder=image_encoder,
            vae=vae,
            transformer=transformer,
            scheduler=scheduler,
        )
        self.register_to_config(
            segment_length=segment_length,
            head=head,
            tail=tail,
            default_area=default_area,
            trained_size=None if trained_size is None else list(trained_size),
            draw_scale=draw_scale,
            max_text_tokens=max_text_tokens,
            skeleton_colors=skeleton_colors,
            default_steps=default_steps,
            default_guidance=default_guidance,
            default_pose_guidance=default_pose_guidance,
            pose_guidance_until=pose_guidance_until,
            default_pose_strength=default_pose_strength,
            few_steps=few_steps,
            negative_prompt=negative_prompt,
            trained=trained,
        )
        for module in (text_encoder, image_encoder, vae, transformer):
            module.eval()
        self._merged: MergedAdapters | None = None

    # -- files ---------------------------------------------------------------------------------------------------------

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Save every part; adapters go to `adapters/base` and `adapters/stitch`, beside the bare transformer.

        Raises `OutputError` if it cannot be written, and `PosegenError` once adapters are merged.
        """
        if self._merged is not None:
            raise PosegenError(
                "the adapters of this pipeline are merged: save it before merge_adapters, or load it again"
            )
        folder = Path(save_directory)
        transformer: PoseGenTransformer3DModel = self.components["transformer"]
        self.transformer = without_adapters(transformer)
        try:
            with saving_errors(folder):
                super().save_pretrained(str(folder), **kwargs)
        finally:
            self.transformer = transformer
        for name in lora.adapter_names(transformer):
            lora.save_adapter(transformer, name, folder / ADAPTER_FOLDER / name)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> "PoseGenPipeline":
        """Load a folder written by `save_pretrained`, with its adapters. Models by name: `models.load_pipeline`.

        A `transformer` that is passed is used unchanged, without the folder's adapters. Raises `PosegenError` for an
        incomplete folder: every missing, extra or misshapen weight counts.
        """
        folder = Path(pretrained_model_name_or_path)
        dtype = kwargs.get("dtype")
        given = "transformer" in kwargs
        if not given:
            kwargs["transformer"] = load_transformer(folder / "transformer", dtype)
        check_parts(folder)
        with no_network(), loading_errors(folder):
            pipeline: PoseGenPipeline = super().from_pretrained(
                str(folder), **load_encoders(folder, dtype), local_files_only=True, **kwargs
            )
        for adapter in () if given else sorted((folder / ADAPTER_FOLDER).glob("*/")):
            lora.load_adapter(pipeline.transformer, adapter.name, adapter)
        return pipeline

    # -- sizes ---------------------------------------------------------------------------------------------------------

    @property
    def size_multiple(self) -> int:
        """Number of pixels of which height and width must be multiples."""
        return int(self.vae.config.scale_factor_spatial * self.transformer.config.patch_size[-1])

    @property
    def temporal_stride(self) -> int:
        """Number of frames per latent frame: a segment has 1 + k times this number."""
        return int(self.vae.config.scale_factor_temporal)

    def latent_shape(self, num_frames: int, size: tuple[int, int]) -> tuple[int, int, int, int, int]:
        """Return the shape (1, c, f, h, w) of the latents of `num_frames` frames of `size` = (height, width) pixels."""
        scale = self.vae.config.scale_factor_spatial
        frames = (num_frames - 1) // self.temporal_stride + 1
        return 1, int(self.vae.config.z_dim), frames, size[0] // scale, size[1] // scale

    # -- encoders ------------------------------------------------------------------------------------------------------

    @staticmethod
    def clean_prompt(prompt: str) -> str:
        """Fix encoding errors and white space, as Wan's pipeline does before it encodes a prompt."""
        return " ".join(ftfy.fix_text(prompt).split())

    @torch.no_grad()
    def encode_text(self, prompt: str) -> Tokens:
        """Encode to UMT5 features (1, max_text_tokens, d), zero after the prompt's end, as Wan was trained."""
        length = self.config.max_text_tokens
        encoded = self.tokenizer(
            self.clean_prompt(prompt), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        mask = encoded.attention_mask.to(self.text_encoder.device)
        features = self.text_encoder(encoded.input_ids.to(mask.device), attention_mask=mask).last_hidden_state
        return (features.float() * mask.unsqueeze(-1)).cpu()

    @torch.no_grad()
    def encode_image(self, image: Image) -> Tokens:
        """Return CLIP's penultimate hidden state of the whole image, resized without a crop as Wan was trained."""
        side = self.image_encoder.config.image_size
        inputs = self.image_processor(
            images=image, size={"height": side, "width": side}, do_center_crop=False, return_tensors="pt"
        )
        pixels = inputs["pixel_values"].to(device=self.image_encoder.device, dtype=self.image_encoder.dtype)
        return self.image_encoder(pixel_values=pixels, output_hidden_states=True).hidden_states[-2].float().cpu()

    def subject_tokens(self, prompt: str, subject: str | None = None) -> list[int]:
        """Return the positions of the tokens that name the person. Raises `PosegenError` if the prompt has none."""
        return subject_token_indices(self.tokenizer, self.clean_prompt(prompt), subject, self.config.max_text_tokens)

    def encode_conditions(
        self,
        skeleton: Frames,
        hands: Frames | None,
        head_frames: PreservedFrames | None = None,
        tail_frames: PreservedFrames | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Encode condition latents (1, 4 + c, f, h, w) and hand latents (1, c, f, h, w).

        Preserved frames replace skeleton and hand frames at head and tail before VAE encoding; their mask is 1.
        """
        head = 0 if head_frames is None else len(head_frames)
        tail = 0 if tail_frames is None else len(tail_frames)

        def with_preserved(frames: Frames) -> Frames:
            frames = frames.copy()
            if head_frames is not None:
                frames[:head] = head_frames
            if tail_frames is not None and tail:
                frames[-tail:] = tail_frames
            return frames

        pose = encode_frames(self.vae, with_preserved(skeleton))
        mask = preserve_mask(len(skeleton), head, tail, pose.shape[-2], pose.shape[-1], self.temporal_stride)
        hand_latents = None if hands is None else encode_frames(self.vae, with_preserved(hands))
        return torch.cat([mask, pose], dim=1), hand_latents

    def encode_pose(
        self,
        skeleton: Frames,
        hands: Frames | None,
        head_frames: PreservedFrames | None = None,
        tail_frames: PreservedFrames | None = None,
        strength: float = 1.0,
        guided: bool = False,
        unposed: torch.Tensor | None = None,
    ) -> PoseLatents:
        """Encode conditions with a strength, and for pose guidance (`guided`) also without the pose.

        strength: factor of the difference from the latents of black frames; the mask and preserved frames are not
        changed.
        unposed: condition latents of black frames with the same preserved ones, if already computed.
        """
        condition_latents, hand_latents = self.encode_conditions(skeleton, hands, head_frames, tail_frames)
        if strength == 1.0 and not guided:
            return PoseLatents(condition_latents, hand_latents)
        if unposed is None:
            unposed, _ = self.encode_conditions(np.zeros_like(skeleton), None, head_frames, tail_frames)
        unposed_hands = None if hand_latents is None else unposed[:, -hand_latents.shape[1] :]
        condition_latents = torch.lerp(unposed, condition_latents, strength)
        if hand_latents is not None and unposed_hands is not None:
            hand_latents = torch.lerp(unposed_hands, hand_latents, strength)
        return PoseLatents(condition_latents, hand_latents, *((unposed, unposed_hands) if guided else ()))

    def noise(self, num_frames: int, size: tuple[int, int], seed: int) -> torch.Tensor:
        """Draw the starting noise of a segment, on the CPU so that it is the same for every device."""
        return self._draw_noise(self.latent_shape(num_frames, size), torch.Generator("cpu").manual_seed(seed))

    @staticmethod
    def _draw_noise(shape: tuple[int, ...], generator: torch.Generator | None) -> torch.Tensor:
        generator = generator or torch.Generator("cpu").manual_seed(42)
        return torch.randn(shape, generator=generator, device=generator.device, dtype=torch.float32)

    # -- one segment ---------------------------------------------------------------------------------------------------

    def prepare_for_inference(self) -> None:
        """Optimise for inference only (no saving or training): merged adapters, channels-last convolutions."""
        self.merge_adapters()
        use_channels_last(self.vae)

    def merge_adapters(self) -> bool:
        """Merge all adapters for inference and keep the weights of each, if the device has room; call it last.

        The limit is 1/32 of the device's total memory, not of its free memory: a resumed job must decide the same.
        Returns True if they were merged. Only the dtype's rounding changes the result.
        """
        transformer = self.transformer
        if self._merged is None and lora.adapter_names(transformer):
            device = transformer.device
            whole = (
                torch.cuda.get_device_properties(device).total_memory
                if device.type == "cuda"
                else psutil.virtual_memory().total
            )
            if extra_bytes(transformer) <= whole / 32 and is_mergeable(transformer):
                self._merged = MergedAdapters(transformer)
        return self._merged is not None

    def use_adapter(self, kind: Literal["base", "stitch"]) -> None:
        """Switch to the adapter of this kind of segment; does nothing for a checkpoint without adapters."""
        if self._merged is not None:
            if kind in self._merged:
                self._merged.use(kind)
            return
        if kind in lora.adapter_names(self.transformer):
            lora.use_adapter(self.transformer, kind, trainable=False)

    # one argument for each choice of the user, named as in diffusers' own pipelines
    @torch.no_grad()
    def __call__(
        self,
        reference: PIL.Image.Image | UInt8[np.ndarray, "reference_height reference_width 3"],
        skeleton: Frames,
        hands: Frames | None = None,
        prompt: str = "",
        negative_prompt: str | None = None,
        head_frames: PreservedFrames | None = None,
        tail_frames: PreservedFrames | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | int | None = None,
        pose_guidance_scale: float | int | None = None,
        pose_strength: float | int | None = None,
        generator: torch.Generator | None = None,
        latents: Latents | None = None,
        output_type: str = "np",
        return_dict: bool = True,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        background: BackgroundOfStep = no_background,
    ) -> PoseGenPipelineOutput | tuple[Any]:
        """Generate one segment: frames like `skeleton` (F, H, W, 3), of the person in `reference` (H, W, 3).

        With head or tail frames it is a stitch segment, else a base segment. Steps, both kinds of guidance, pose
        strength (see `encode_pose`) and negative prompt default to the checkpoint's own.

        Args:
            reference: image of the person, at the size of the skeleton frames.
            skeleton: uint8 frames (F, H, W, 3) with F = 1 + k · `temporal_stride`, sides multiples of `size_multiple`.
            hands: hand normals of the same shape.
            generator: draws the starting noise, on its own device; without one the seed is 42.
            latents: starting noise of `latent_shape`, instead of drawn noise.
            output_type: `np` floats 0..1 (1, F, H, W, 3); `pt` floats 0..1 (1, F, 3, H, W); `pil` a list of a list of
                images; `uint8` frames (1, F, H, W, 3); `latent` the latents themselves.
            return_dict: False gives the tuple (frames,).
            callback_on_step_end: called as (pipeline, step, timestep, {"latents": ...}) after each step; a dictionary
                with other latents changes them.
            background: records or shares the background (`posegen.model.sharing`).

        Raises `PosegenError` when sizes disagree with each other or with the model's multiples.
        """
        image = np.array(reference.convert("RGB")) if isinstance(reference, PIL.Image.Image) else reference
        if image.shape != skeleton.shape[1:] or (hands is not None and hands.shape != skeleton.shape):
            raise PosegenError(
                f"reference {image.shape[:2]}, skeleton and hand frames must have one size, "
                f"not {skeleton.shape[1:3]} and {None if hands is None else hands.shape[1:3]}"
            )
        if output_type not in OUTPUT_TYPES:
            raise PosegenError(f"output_type must be one of {', '.join(OUTPUT_TYPES)}, not {output_type!r}")
        if unknown := set(callback_on_step_end_tensor_inputs) - {"latents"}:
            raise PosegenError(f"callback_on_step_end_tensor_inputs: {sorted(unknown)[0]!r} is unknown: only 'latents'")
        num_steps = self.config.default_steps if num_inference_steps is None else num_inference_steps
        guidance = float(self.config.default_guidance if guidance_scale is None else guidance_scale)
        pose_scale = self.config.default_pose_guidance if pose_guidance_scale is None else pose_guidance_scale
        pose_guidance = PoseGuidance(float(pose_scale), float(self.config.pose_guidance_until))
        negative = self.config.negative_prompt if negative_prompt is None else negative_prompt
        stitch = head_frames is not None or tail_frames is not None
        self.use_adapter("stitch" if stitch else "base")
        strength = self.config.default_pose_strength if pose_strength is None else pose_strength
        guided = pose_guidance.scale != 1.0
        shape = self.latent_shape(len(skeleton), (skeleton.shape[1], skeleton.shape[2]))
        if latents is not None and tuple(latents.shape) != shape:
            raise PosegenError(f"latents {tuple(latents.shape)}: starting noise of shape {shape} is needed")
        conditioning = Conditioning(
            pose=self.encode_pose(skeleton, hands, head_frames, tail_frames, float(strength), guided),
            reference_latents=encode_frames(self.vae, image[None]),
            text=self.encode_text(prompt),
            negative_text=self.encode_text(negative) if guidance != 1.0 else None,
            image=self.encode_image(image),
        )
        with self.progress_bar(total=num_steps) as bar:
            result = denoise(
                self.transformer,
                self.scheduler,
                self._draw_noise(shape, generator) if latents is None else latents,
                conditioning,
                Sampling(num_steps, guidance, pose_guidance),
                background,
                StepHooks(
                    on_step=lambda step: bar.update(),
                    change_latents=self._after_step(callback_on_step_end, callback_on_step_end_tensor_inputs),
                ),
            )
        frames = result if output_type == "latent" else as_output(decode_latents(self.vae, result), output_type)
        self.maybe_free_model_hooks()
        return PoseGenPipelineOutput(frames) if return_dict else (frames,)

    def _after_step(
        self, callback: StepCallback | None, names: Sequence[str]
    ) -> Callable[[int, torch.Tensor, Latents], Latents] | None:
        """Wrap a callback of diffusers' form as the sampler calls it."""
        if callback is None:
            return None

        def change(step: int, timestep: torch.Tensor, latents: Latents) -> Latents:
            changed = callback(self, step, timestep, {"latents": latents} if "latents" in names else {})
            return latents if changed is None else changed.get("latents", latents)

        return change


def as_output(frames: Frames, output_type: str) -> Any:
    """Convert uint8 frames (F, H, W, 3) to a batch of one video: see `PoseGenPipeline.__call__`."""
    if output_type == "uint8":
        return frames[None]
    if output_type == "pil":
        return [[PIL.Image.fromarray(frame) for frame in frames]]
    levels = frames[None].astype(np.float32) / 255.0
    return torch.from_numpy(levels).permute(0, 1, 4, 2, 3) if output_type == "pt" else levels


def check_parts(folder: Path) -> None:
    """Raise `PosegenError` unless a pipeline's folder holds every part that it names, all from known libraries.

    A part of another library could be code in the folder.
    """
    path = folder / "model_index.json"
    try:
        index = read_json_object(path)
    except PosegenError as error:
        raise PosegenError(f"{folder} is not a whole model folder: {path.name} cannot be read ({error})") from None
    parts = {name: part for name, part in index.items() if isinstance(part, list) and len(part) == 2}
    for name, (library, kind) in parts.items():
        if library is None or isinstance(kind, int):  # left out; or a setting: a size, for example
            continue
        if str(library).split(".")[0] not in _LIBRARIES:
            raise PosegenError(f"{path}: {name} is a {kind} of {library}: only {', '.join(_LIBRARIES)} are loaded")
        if not (folder / name).is_dir():
            raise PosegenError(f"{folder} is not a whole model folder: {name} is missing")


def load_encoders(folder: Path, dtype: torch.dtype | None) -> dict[str, torch.nn.Module]:
    """Load VAE, text encoder and image encoder of a pipeline's folder, each with exactly the weights it needs.

    Raises `PosegenError` that names the first missing, extra or misshapen weights; the libraries would only warn.
    """
    classes: dict[str, Any] = {
        "vae": _autoencoder_class(folder / "vae"),
        "text_encoder": UMT5EncoderModel,
        "image_encoder": CLIPVisionModel,
    }
    parts = {}
    for part, kind in classes.items():
        if not (folder / part).is_dir():  # the libraries would treat its path as a hub repository
            raise PosegenError(f"{folder} is not a whole model folder: {part} is missing")
        for path in (folder / part).glob("*.safetensors"):
            check_header(path)
        with no_network(), loading_errors(folder / part):
            parts[part], info = kind.from_pretrained(
                str(folder / part),
                dtype=dtype,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                local_files_only=True,
            )
        wrong = [
            f"{problem} {key if isinstance(key, str) else key[0]}"
            for problem in ("missing", "unexpected", "mismatched")
            for key in sorted(info.get(f"{problem}_keys", ()))
        ]
        if wrong or info.get("error_msgs"):
            named = ", ".join(wrong[:3]) or str(info["error_msgs"][0])
            raise PosegenError(f"{folder / part}: {len(wrong)} weights do not fit: {named}")
    check_scales(parts["vae"].config, folder / "vae" / "config.json")
    return parts


def check_scales(config: Any, path: Path) -> None:
    """Raise `PosegenError` unless an autoencoder's mean and deviation are one number for each channel of latents."""
    for name, minimum in (("latents_mean", -math.inf), ("latents_std", 0.0)):
        values = config.get(name)
        fits = isinstance(values, list | tuple) and len(values) == config.z_dim
        if not fits or not all(isinstance(each, int | float) and minimum < each < math.inf for each in values):
            above = " above 0" if name == "latents_std" else ""
            raise PosegenError(f"{path}: {name} must be z_dim = {config.z_dim} finite numbers{above}")


def _autoencoder_class(folder: Path) -> type[AutoencoderKLWan] | type[AutoencoderLightVideo]:
    """Return the class of the autoencoder, Wan's or posegen's own, from the folder's configuration."""
    if not folder.is_dir():
        return AutoencoderKLWan  # loading it reports what is missing
    name = read_json_object(folder / "config.json").get("_class_name")
    return AutoencoderLightVideo if name == AutoencoderLightVideo.__name__ else AutoencoderKLWan
