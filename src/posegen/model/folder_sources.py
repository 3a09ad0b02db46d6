"""Sources of models in local folders: written by `save_pretrained`, stock Wan2.1-I2V checkpoints, adapters alone."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanImageToVideoPipeline

from posegen.digests import joined_digest
from posegen.errors import PosegenError, logger
from posegen.media.data_files import read_json_object
from posegen.media.files import write_whole
from posegen.model import lora
from posegen.model.autoencoder import AutoencoderLightVideo
from posegen.model.folder_digest import folder_digest
from posegen.model.loading import init_from_wan, loading_errors
from posegen.model.model_description import FLOW_SHIFT, ModelDescription, make_description
from posegen.model.model_settings import check_settings, check_values
from posegen.model.model_source import ModelSource, empty_transformer
from posegen.model.pipeline import ADAPTER_FOLDER, PoseGenPipeline
from posegen.model.transformer import PoseGenTransformer3DModel
from posegen.model.wan import WAN_AREA, WAN_SETTINGS, pipeline_around

INDEX = "model_index.json"
ADAPTED = "posegen.json"
"""File in a folder of adapters alone: {"base": name or folder of the model that they belong to}.

Adapters for few steps add "settings": those by which their model is sampled, in place of the base's.
"""
_OWN_SETTINGS = (
    "few_steps", "default_steps", "default_guidance", "default_pose_guidance", "default_pose_strength", "flow_shift",
)  # fmt: skip  # a table, read in rows
"""Settings that adapters can have."""


@dataclass(frozen=True)
class OwnFolder:
    """Folder that `PoseGenPipeline.save_pretrained` wrote."""

    name: str
    folder: Path

    def describe(self) -> ModelDescription:
        """Describe the model, after a check of each setting. Raises `PosegenError` that names the bad file."""
        folder = self.folder
        index = read_part_of_model(folder / INDEX)
        inside, coding = folder / "transformer" / "config.json", folder / "vae" / "config.json"
        schedule = folder / "scheduler" / "scheduler_config.json"
        transformer, vae = read_part_of_model(inside), read_part_of_model(coding)
        settings = index if "segment_length" in index else {**WAN_SETTINGS, "default_area": WAN_AREA, "trained": False}
        patch = transformer.get("patch_size", [1, 2, 2])
        weights = (path for path in folder.rglob("*") if path.suffix in {".safetensors", ".bin"})
        more = {
            "weights_bytes": sum(path.stat().st_size for path in weights),
            "spatial_stride": vae.get("scale_factor_spatial", 8),
            "temporal_stride": vae.get("scale_factor_temporal", 4),
            "flow_shift": _flow_shift(schedule),
            "patch": patch[-1] if isinstance(patch, list) and patch else patch,
        }
        files = {**dict.fromkeys(transformer, inside), **dict.fromkeys(settings, folder / INDEX)}
        files |= {"spatial_stride": coding, "temporal_stride": coding, "flow_shift": schedule, "patch": inside}
        found = {**transformer, **settings, **more}
        check_settings(found, files, folder / INDEX)
        return make_description(self.name, found)

    def identity(self) -> str:
        """Return a digest of the folder's contents, independent of its path."""
        return f"sha256:{folder_digest(self.folder)}"

    def transformer_arguments(self) -> dict[str, Any]:
        """Return the constructor arguments in the folder's configuration."""
        self.describe()
        folder = self.folder / "transformer"
        with loading_errors(folder):
            arguments, _, _ = PoseGenTransformer3DModel.extract_init_dict(read_part_of_model(folder / "config.json"))
        return dict(arguments)

    def autoencoder_arguments(self) -> dict[str, Any]:
        """Return the constructor arguments in the folder's configuration. Raises `PosegenError` for Wan's, too."""
        self.describe()
        folder = self.folder / "vae"
        config = read_part_of_model(folder / "config.json")
        if config.get("_class_name") != AutoencoderLightVideo.__name__:
            raise not_trained_here(config.get("_class_name"))
        with loading_errors(folder):
            arguments, _, _ = AutoencoderLightVideo.extract_init_dict(config)
        return dict(arguments)

    def load(self, dtype: torch.dtype) -> PoseGenPipeline:
        """Load every part."""
        kind = read_part_of_model(self.folder / INDEX).get("_class_name")
        if kind != PoseGenPipeline.__name__:
            raise PosegenError(
                f"{self.folder}/{INDEX}: expected a PoseGenPipeline or a WanImageToVideoPipeline, got "
                f"{kind or 'nothing'}"
            )
        return PoseGenPipeline.from_pretrained(self.folder, dtype=dtype)

    def load_for_encoding(self, dtype: torch.dtype) -> PoseGenPipeline:
        """Load every part but the transformer."""
        return PoseGenPipeline.from_pretrained(self.folder, transformer=empty_transformer(self), dtype=dtype)


@dataclass(frozen=True)
class PackagedFolder(OwnFolder):
    """Folder of a model that is part of the posegen package, known by a name."""

    def identity(self) -> str:
        """Return the name and a digest of the weights; the rest is determined by the version of posegen."""
        return f"{self.name} {joined_digest(sorted(self.folder.rglob('*.safetensors')))[:16]}"


@dataclass(frozen=True)
class StockFolder(OwnFolder):
    """Stock Wan2.1 image-to-video checkpoint; the parameters that it lacks are untrained."""

    def load(self, dtype: torch.dtype) -> PoseGenPipeline:
        """Load every part, and add new parameters to the transformer."""
        logger.warning("%s is a stock Wan checkpoint, which was not trained to follow poses", self.folder)
        transformer = init_from_wan(self.folder, dtype)
        return pipeline_around(self.folder, transformer, dtype, default_area=WAN_AREA, trained=False)

    def load_for_encoding(self, dtype: torch.dtype) -> PoseGenPipeline:
        """Load every part but the transformer."""
        known = self.describe()
        settings = {"default_area": known.default_area, "skeleton_colors": known.skeleton_colors}
        return pipeline_around(self.folder, empty_transformer(self), dtype, **settings)


@dataclass(frozen=True)
class AdapterFolder:
    """Folder with adapters alone; all other parts are those of the base."""

    name: str
    folder: Path
    base: ModelSource

    def describe(self) -> ModelDescription:
        """Describe the base, as trained, with the adapters' own settings. Raises `PosegenError` for a bad one."""
        return replace(self.base.describe(), name=self.name, trained=True, **settings_of(self.folder))

    def identity(self) -> str:
        """Return a digest of the adapters, their settings, and the identity of the base, which the note only locates.

        Adapters without settings have the identity that they had in older versions.
        """
        settings = settings_of(self.folder)
        sampled = f" {json.dumps(settings, sort_keys=True)}" if settings else ""
        return f"sha256:{folder_digest(self.folder, (ADAPTED,))}{sampled} on {self.base.identity()}"

    def transformer_arguments(self) -> dict[str, Any]:
        """Return the constructor arguments of the base."""
        return self.base.transformer_arguments()

    def autoencoder_arguments(self) -> dict[str, Any]:
        """Return the constructor arguments of the base."""
        return self.base.autoencoder_arguments()

    def load(self, dtype: torch.dtype) -> PoseGenPipeline:
        """Load the base and attach the adapters."""
        pipeline = self.base.load(dtype)
        for adapter in sorted((self.folder / ADAPTER_FOLDER).glob("*/")):
            lora.load_adapter(pipeline.transformer, adapter.name, adapter)
        settings = settings_of(self.folder)
        if "flow_shift" in settings:
            set_flow_shift(pipeline, settings.pop("flow_shift"))
        if settings:
            pipeline.register_to_config(**settings)
        return pipeline

    def load_for_encoding(self, dtype: torch.dtype) -> PoseGenPipeline:
        """Load the parts of the base."""
        return self.base.load_for_encoding(dtype)


def is_stock(folder: Path) -> bool:
    """Return True if a model folder is a stock Wan checkpoint. Raises `PosegenError` if it is not a model folder."""
    return read_part_of_model(folder / INDEX).get("_class_name") == WanImageToVideoPipeline.__name__


def base_of(folder: Path) -> str | None:
    """Return the name or folder of the model that adapters belong to; None for a folder of another kind."""
    if not (folder / ADAPTED).is_file():
        return None
    base = read_part_of_model(folder / ADAPTED).get("base")
    if not isinstance(base, str) or not base:
        raise PosegenError(f'{folder / ADAPTED}: expected {{"base": name or folder of a model}}')
    return base


def settings_of(folder: Path) -> dict[str, Any]:
    """Return the settings in a folder of adapters, empty in most. Raises `PosegenError` for a bad or unknown one."""
    settings = read_part_of_model(folder / ADAPTED).get("settings", {})
    path = folder / ADAPTED
    if not isinstance(settings, dict) or (unknown := set(settings) - set(_OWN_SETTINGS)):
        named = f": {sorted(unknown)[0]!r} is unknown" if isinstance(settings, dict) else ""
        raise PosegenError(f"{path}: settings must be some of {', '.join(_OWN_SETTINGS)}{named}")
    check_values(settings, path)
    return dict(settings)


def set_flow_shift(pipeline: PoseGenPipeline, shift: float) -> None:
    """Give a pipeline the schedule with another shift towards noise."""
    scheduler = pipeline.scheduler
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler.from_config(scheduler.config, shift=shift)


def save_adapters(
    pipeline: PoseGenPipeline, base: str, folder: Path, settings: Mapping[str, Any] | None = None
) -> None:
    """Write the adapters alone, with a note of the model that they belong to; `load_pipeline` takes the folder.

    settings: by which the model is sampled with them, where they differ from the base's.
    """
    for name in lora.adapter_names(pipeline.transformer):
        lora.save_adapter(pipeline.transformer, name, folder / ADAPTER_FOLDER / name)
    note = {"base": base, **({"settings": dict(settings)} if settings else {})}
    write_whole(folder / ADAPTED, (json.dumps(note, indent=1) + "\n").encode())


def not_trained_here(kind: object) -> PosegenError:
    """Build the error for an autoencoder that posegen cannot train."""
    return PosegenError(
        f"the stage vae trains {AutoencoderLightVideo.__name__}, not {kind}: Wan's own autoencoder is not trained"
    )


def read_part_of_model(path: Path) -> dict[str, Any]:
    """Read a JSON file that every model folder has. Raises `PosegenError`."""
    try:
        return read_json_object(path)
    except PosegenError as error:
        raise PosegenError(f"{path.parent} is not a whole model folder: {path.name} cannot be read ({error})") from None


def _flow_shift(schedule: Path) -> Any:
    """Return the shift of the schedule; for a stock checkpoint, which has another scheduler, the shift used here."""
    return read_part_of_model(schedule).get("shift", FLOW_SHIFT) if schedule.is_file() else FLOW_SHIFT
