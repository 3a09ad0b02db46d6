"""Generates a video of any length of the person in a reference image, making the movements of a driving video.

    import posegen

    result = posegen.generate("person.png", "dance.mp4", "out.mp4", model="mini")

Importing this package is cheap: heavy dependencies are loaded on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

from posegen.library_imports import imported_for_good

if TYPE_CHECKING:
    from posegen.api import evaluate as evaluate
    from posegen.api import extract as extract
    from posegen.api import generate as generate
    from posegen.api import prepare as prepare
    from posegen.api import preview as preview
    from posegen.api import train as train
    from posegen.config import ExtractConfig as ExtractConfig
    from posegen.config import GenerateConfig as GenerateConfig
    from posegen.config import PreviewConfig as PreviewConfig
    from posegen.errors import OutputError as OutputError
    from posegen.errors import PosegenError as PosegenError
    from posegen.model.autoencoder import AutoencoderLightVideo as AutoencoderLightVideo
    from posegen.model.pipeline import PoseGenPipeline as PoseGenPipeline
    from posegen.model.transformer import PoseGenTransformer3DModel as PoseGenTransformer3DModel
    from posegen.progress import Progress as Progress

__version__ = "0.2.0"

_HOMES = {
    "generate": "posegen.generate",
    "preview": "posegen.api",
    "extract": "posegen.api",
    "train": "posegen.train",
    "evaluate": "posegen.evaluate",
    "prepare": "posegen.prepare",
    "GenerateConfig": "posegen.config",
    "PreviewConfig": "posegen.config",
    "ExtractConfig": "posegen.config",
    "PoseGenPipeline": "posegen.model.pipeline",
    "PoseGenTransformer3DModel": "posegen.model.transformer",
    "AutoencoderLightVideo": "posegen.model.autoencoder",
    "Progress": "posegen.progress",
    "PosegenError": "posegen.errors",
    "OutputError": "posegen.errors",
}
"""Module of each public name. Four of the names are callable packages."""

__all__ = ["__version__", *sorted(_HOMES)]  # noqa: PLE0604 - all are texts


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with imported_for_good():
        home = importlib.import_module(_HOMES[name])
    return home if _HOMES[name] == f"posegen.{name}" else getattr(home, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
