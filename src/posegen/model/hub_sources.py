"""Sources of models on the hub, downloaded once: the published adapters on their base, and Wan itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from posegen.conditions.skeleton import Colors
from posegen.errors import PosegenError
from posegen.model.folder_sources import StockFolder, not_trained_here
from posegen.model.loading import load_release_adapter, load_release_checkpoint
from posegen.model.model_description import ModelDescription, make_description
from posegen.model.model_source import empty_transformer
from posegen.model.pipeline import PoseGenPipeline
from posegen.model.wan import WAN_AREA, WAN_INPUTS, WAN_SETTINGS, WAN_TRANSFORMER, pipeline_around

WAN_14B = "Wan-AI/Wan2.1-I2V-14B-720P-Diffusers"
RELEASE = "Jessie459/PoseGen"
BASE, STITCH = "720p-81f-base", "720p-81f-cond"
"""Folders of the release, published for 720p only."""
_WEIGHTS_BYTES = 47_000_000_000


@dataclass(frozen=True)
class StockWan:
    """Wan itself, which does not follow poses; the starting point of training."""

    name: str
    wan: str = WAN_14B
    area: int = WAN_AREA
    colors: Colors = "openpose"
    trained: bool = False

    def describe(self) -> ModelDescription:
        """Describe the model without downloading it."""
        known: dict[str, Any] = {**WAN_SETTINGS, **WAN_TRANSFORMER, "weights_bytes": _WEIGHTS_BYTES}
        chosen = {"default_area": self.area, "skeleton_colors": self.colors, "trained": self.trained}
        return make_description(self.name, {**known, **chosen})

    def identity(self) -> str:
        """Return the name, which stands for a fixed revision of the hub repository."""
        return self.name

    def transformer_arguments(self) -> dict[str, Any]:
        """Return the constructor arguments of Wan2.1-I2V-14B."""
        return {**WAN_TRANSFORMER, **WAN_INPUTS}

    def autoencoder_arguments(self) -> dict[str, Any]:
        """Raise `PosegenError`: Wan's autoencoder is not trained."""
        raise not_trained_here(AutoencoderKLWan.__name__)

    def downloads(self) -> list[str]:
        """Return the repositories that are not in this machine's hub cache yet, in words."""
        return [f"{self.wan} (about {_WEIGHTS_BYTES / 1e9:.0f} GB)"] if not _is_fetched(self.wan) else []

    def load(self, dtype: torch.dtype) -> PoseGenPipeline:
        """Load the repository as a stock checkpoint."""
        return StockFolder(self.name, _fetch(self.wan)).load(dtype)

    def load_for_encoding(self, dtype: torch.dtype) -> PoseGenPipeline:
        """Load every part but the transformer, which is not downloaded either."""
        settings: dict[str, Any] = {"default_area": self.area, "skeleton_colors": self.colors}
        return pipeline_around(self._without_transformer(), empty_transformer(self), dtype, **settings)

    def _without_transformer(self) -> Path:
        return _fetch(self.wan, ignore_patterns=["transformer/*"])


@dataclass(frozen=True)
class PublishedWeights(StockWan):
    """Published adapters `base` and `stitch`, with the encoders and the autoencoder of Wan."""

    colors: Colors = "release"
    trained: bool = True
    release: str = RELEASE

    def downloads(self) -> list[str]:
        """Return the repositories that are not in this machine's hub cache yet, in words."""
        return [name for name in (self.wan, self.release) if not _is_fetched(name)]

    def load(self, dtype: torch.dtype) -> PoseGenPipeline:
        """Load both stages of the release around Wan's parts."""
        wan = self._without_transformer()
        base, stitch = (_fetch(self.release, [f"{stage}/*"]) / stage for stage in (BASE, STITCH))
        return load_published(wan, base, stitch, area=self.area, dtype=dtype)


def load_published(wan: Path, base: Path, stitch: Path, area: int, dtype: torch.dtype) -> PoseGenPipeline:
    """Load the published PoseGen weights (folders `base`, `stitch`) with encoders and VAE of the Wan folder `wan`."""
    transformer = load_release_checkpoint(base, dtype=dtype, adapter="base")
    load_release_adapter(transformer, stitch, "stitch")
    return pipeline_around(wan, transformer, dtype, default_area=area, skeleton_colors="release")


def _is_fetched(repository: str) -> bool:
    """Return whether a snapshot of a repository is in the hub cache; nothing is asked of the network."""
    try:
        snapshot_download(repository, local_files_only=True)
    except (OSError, ValueError, HfHubHTTPError):
        return False
    return True


def _fetch(repository: str, allow_patterns: list[str] | None = None, ignore_patterns: list[str] | None = None) -> Path:
    """Return a repository of the hub as a local folder, downloaded once."""
    try:
        return Path(snapshot_download(repository, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns))
    except (OSError, ValueError, HfHubHTTPError) as error:
        reason = str(error).strip().splitlines()[0]
        raise PosegenError(
            f"cannot download {repository} ({reason}): check the network, or download it elsewhere "
            f"(`hf download {repository}`) into this machine's hub cache"
        ) from None
