"""Extracts MediaPipe's pose, hand and face models from an older wheel, checked by hash.

mediapipe 1.2 ships no models, mediapipe 0.10.21 holds them (Google's, Apache-2.0). `build` downloads that wheel with
pip, extracts five `.tflite` files, adds the metadata that the Tasks API requires to the pose model, and zips models
into bundles. `posegen setup` does it; so does the first call that needs a file, which logs one line.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import filelock

from posegen.cache_folder import cache_folder
from posegen.errors import PosegenError, logger

WHEEL = "mediapipe==0.10.21"
TAGS = ("--python-version", "3.11", "--platform", "manylinux_2_28_x86_64", "--platform", "manylinux2014_x86_64")
"""Platform of the wheel: all hold the same models, and with a fixed one every machine downloads the same file."""
POSE_BUNDLE = "pose.task"
BUNDLES = {
    POSE_BUNDLE: {
        "pose_detector.tflite": "pose_detection/pose_detection.tflite",
        "pose_landmarks_detector.tflite": "pose_landmark/pose_landmark_full.tflite",
    },
    "hand.task": {
        "hand_detector.tflite": "palm_detection/palm_detection_full.tflite",
        "hand_landmarks_detector.tflite": "hand_landmark/hand_landmark_full.tflite",
    },
}
SINGLE = {"face.tflite": "face_detection/face_detection_full_range_sparse.tflite"}
"""Models that the Tasks API accepts unchanged."""
SHA256: dict[str, str] = {
    "pose_detection/pose_detection.tflite": "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
    "pose_landmark/pose_landmark_full.tflite": "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
    "pose_landmark/pose_landmark_heavy.tflite": "59e42d71bcd44cbdbabc419f0ff76686595fd265419566bd4009ef703ea8e1fe",
    "palm_detection/palm_detection_full.tflite": "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
    "face_detection/face_detection_full_range_sparse.tflite": (
        "2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1"
    ),
    "hand_landmark/hand_landmark_full.tflite": "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
}
"""SHA-256 of the models in the wheel (the heavy one: `heavy_pose`), before metadata is added."""
WHEEL_MEGABYTES = 36
COMMAND = "posegen setup"


def default_folder() -> Path:
    """Return the folder of the task files, in $POSEGEN_CACHE or the user's cache folder."""
    return cache_folder() / "mediapipe"


def task_file(name: str) -> Path:
    """Return the path of one of the files, which is downloaded if missing. Raises `PosegenError` like `build`."""
    path = default_folder() / name
    if not path.is_file():
        build(path.parent)
    return path


def is_complete(folder: Path) -> bool:
    """Return True if all files are in `folder`."""
    return all((folder / name).is_file() for name in (*BUNDLES, *SINGLE))


def build(folder: Path) -> None:
    """Build all files in `folder` unless they exist; one process at a time does it.

    Raises `PosegenError` if the package cannot be fetched, a model's hash is wrong or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / "fetching.lock"):
            if not is_complete(folder):
                logger.info(f"fetching MediaPipe's pose models ({WHEEL_MEGABYTES} MB, once) into {folder}")
                _build(folder)
    except OSError as error:
        raise PosegenError(
            f"the pose models cannot be written into {folder} ({error.strerror}): free space there, or set "
            "POSEGEN_CACHE to a folder of your own"
        ) from error


def _build(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as download:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-input", "--only-binary=:all:", *TAGS, "--dest", download, WHEEL]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip()] or ["no output"]
            raise PosegenError(
                f"the pose models come out of the package {WHEEL}, which pip cannot fetch ({said[-1].strip()[:200]}): "
                f"run `{COMMAND}` once with network, or copy {folder} from another machine"
            )
        with zipfile.ZipFile(next(Path(download).glob("*.whl"))) as wheel:
            for bundle, parts in BUNDLES.items():
                write_bundle(folder / bundle, {name: _model(wheel, source) for name, source in parts.items()})
            for name, source in SINGLE.items():
                partial = (folder / name).with_suffix(".partial")
                partial.write_bytes(_model(wheel, source))
                os.replace(partial, folder / name)


def _model(wheel: zipfile.ZipFile, source: str) -> bytes:
    return checked(source, wheel.read(f"mediapipe/modules/{source}"))


def checked(source: str, model: bytes, package: str = WHEEL) -> bytes:
    """Return the model if its SHA-256 is the known one. Raises `PosegenError`."""
    found = hashlib.sha256(model).hexdigest()
    if found != SHA256[source]:
        raise PosegenError(f"{source} of {package} has SHA-256 {found}, not {SHA256[source]}: refusing to use it")
    return model


def write_bundle(path: Path, models: dict[str, bytes]) -> None:
    """Zip models uncompressed (MediaPipe maps them into memory), atomically."""
    partial = path.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name, model in models.items():
            content = add_normalization(model) if name == "pose_landmarks_detector.tflite" else model
            archive.writestr(zipfile.ZipInfo(name), content)
    os.replace(partial, path)


def add_normalization(model: bytes, mean: float = 0.0, deviation: float = 255.0) -> bytes:
    """Add input NormalizationOptions (pixel - mean) / deviation to the metadata, where the Tasks API reads them."""
    import flatbuffers
    import numpy as np
    from mediapipe.tasks.metadata import metadata_schema_py_generated as metadata
    from mediapipe.tasks.metadata import schema_py_generated as schema

    unit = metadata.ProcessUnitT()
    unit.optionsType = metadata.ProcessUnitOptions.NormalizationOptions
    unit.options = metadata.NormalizationOptionsT()
    unit.options.mean, unit.options.std = [mean], [deviation]
    picture = metadata.TensorMetadataT()
    picture.name = "image"
    picture.content = metadata.ContentT()
    picture.content.contentPropertiesType = metadata.ContentProperties.ImageProperties
    picture.content.contentProperties = metadata.ImagePropertiesT()
    picture.content.contentProperties.colorSpace = metadata.ColorSpaceType.RGB
    picture.processUnits = [unit]

    root = schema.Model.GetRootAsModel(model, 0)
    graph = metadata.SubGraphMetadataT()
    graph.inputTensorMetadata = [picture]
    graph.outputTensorMetadata = []
    for index in range(root.Subgraphs(0).OutputsLength()):
        output = metadata.TensorMetadataT()
        output.name = f"output_{index}"
        graph.outputTensorMetadata.append(output)
    description = metadata.ModelMetadataT()
    description.name = "pose_landmark"
    description.subgraphMetadata = [graph]
    packed = flatbuffers.Builder(0)
    packed.Finish(description.Pack(packed), b"M001")

    whole = schema.ModelT.InitFromObj(root)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(bytes(packed.Output()), np.uint8)
    whole.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = b"TFLITE_METADATA", len(whole.buffers) - 1
    whole.metadata = [*(whole.metadata or []), entry]
    builder = flatbuffers.Builder(len(model) + 4096)
    builder.Finish(whole.Pack(builder), b"TFL3")
    return bytes(builder.Output())
