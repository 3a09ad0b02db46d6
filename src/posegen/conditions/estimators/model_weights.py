"""Finds and loads the weights of larger estimators, with errors that explain how to get missing ones.

A model is a folder in transformers' layout or the name of a repository in the hub's cache; Sapiens-1 is one TorchScript
file. Nothing is downloaded here: fetching gigabytes is the user's decision. Libraries that take seconds to import are
imported when a model is loaded, because processes that load none import this file, too.
"""

import hashlib
import warnings
from pathlib import Path
from typing import Any

from posegen.devices import choose_device
from posegen.errors import PosegenError
from posegen.media.data_files import read_json_object
from posegen.media.files import open_input
from posegen.offline import no_network

DEFAULTS = {
    "detector": "PekingU/rtdetr_r50vd_coco_o365",
    "dfine": "ustc-community/dfine-large-obj2coco-e25",
    "vitpose": "usyd-community/vitpose-plus-base",
    "sapiens2": "facebook/sapiens2-pose-1b",
    "normals": "facebook/sapiens2-normal-1b",
    "parts": "facebook/sapiens2-seg-1b",
}
"""Default weights by kind of estimator."""
LARGER_ESTIMATORS = "1"
"""Version of the code around larger models; raised when the same weights would give other keypoints or normals, so that
kept conditions are extracted again."""
FILES = {".pth", ".pt", ".pt2", ".onnx"}
"""Suffixes of weights that are a single file."""


def model_folder(name: str, option: str) -> Path:
    """Find the folder of a model by path or repository name. Raises `PosegenError` that says what to download."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise PosegenError(f"{option} {name}: the folder has no config.json: give a model in transformers' layout")
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if folder.is_absolute() or folder.suffix or name.count("/") != 1:
        raise PosegenError(f"{option} {name}: there is no such folder; give a model folder, or a name like owner/model")
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (OSError, ValueError, HfHubHTTPError, HFValidationError):
        raise PosegenError(
            f"the weights {name} are not on this machine: download them once with `hf download {name}`, or download "
            f"them into a folder and give it with {option}"
        ) from None


def find_weights(name: str, option: str) -> Path:
    """Find a model's folder, or its single file. Raises `PosegenError` that says what is missing."""
    file = Path(name).expanduser()
    if file.is_file():
        return file
    if file.suffix in FILES:
        raise PosegenError(f"{option} {name}: there is no such file")
    return model_folder(name, option)


def weights_size(place: Path) -> int:
    """Return the bytes of a model's weights on disk."""
    files = [place] if place.is_file() else list(place.glob("*.safetensors")) or list(place.glob("*.bin"))
    return sum(file.stat().st_size for file in files)


def load_model(kind: type, name: str, option: str, device: str) -> tuple[Any, Path]:
    """Load a transformers model of class `kind`, ready to run on the device; return it and its folder.

    The dtype is bfloat16 on a GPU, float32 on the CPU: heat maps from 8 bits of mantissa cost accuracy, and the CPU
    gains little. Raises `PosegenError`.
    """
    import torch
    import transformers

    folder, place = model_folder(name, option), choose_device(device)
    dtype = torch.bfloat16 if place.type == "cuda" else torch.float32
    expected = kind.config_class.model_type if hasattr(kind, "config_class") and kind.config_class else None
    found = read_json_object(folder / "config.json").get("model_type")
    if expected and found != expected:
        raise PosegenError(f"{option} {name} is a {found} model, not a {expected} one")
    transformers.utils.logging.disable_progress_bar()  # the terminal is for posegen's own lines
    try:
        with no_network():
            model, report = kind.from_pretrained(  # type: ignore[attr-defined]
                folder, dtype=dtype, output_loading_info=True, local_files_only=True
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise PosegenError(f"{option} {name} cannot be loaded: {str(error).splitlines()[0]}") from None
    if report["missing_keys"]:
        raise PosegenError(
            f"{option} {name} lacks weights ({sorted(report['missing_keys'])[0]}): it was made for another task"
        )
    return model.eval().to(place), folder


def load_torchscript(path: str, option: str, device: str) -> Any:
    """Load a TorchScript file, ready to run. Raises `PosegenError` if it is missing or of another kind."""
    import torch

    file = Path(path).expanduser()
    if not file.is_file():
        raise PosegenError(
            f"{option} {path}: there is no such file; Sapiens-1's TorchScript files (..._torchscript.pt2) are in the "
            f"hub's repositories facebook/sapiens-*-torchscript and noahcao/sapiens-pose-coco"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Sapiens-1 was published as TorchScript only
            return torch.jit.load(str(file), map_location=choose_device(device)).eval()
    except RuntimeError as error:
        raise PosegenError(f"{option} {path} is not a TorchScript file ({str(error).splitlines()[0]})") from None


def preprocessing(folder: Path) -> dict[str, Any]:
    """Read the model's preprocessor_config.json; empty if there is none."""
    path = folder / "preprocessor_config.json"
    return read_json_object(path) if path.is_file() else {}


def identity(name: str) -> str:
    """Return a text that identifies weights or a file in a manifest: a model's name, or the content of other files."""
    path = Path(name).expanduser()
    if not path.exists() or (path / "config.json").is_file():
        return name
    digest = hashlib.sha256()
    for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
        with open_input(file, "weights or keypoints") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
        if path.is_dir():
            digest.update(file.name.encode())  # file names give the frame numbers
    return f"{path.name} {digest.hexdigest()[:16]}"
