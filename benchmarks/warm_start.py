"""Imports everything once, so that a benchmark can fork a process for each run of a command without waiting for it."""

import hashlib
import importlib
import os
import pkgutil
import sys
from pathlib import Path

import posegen

_TESTS = Path(__file__).resolve().parents[1] / "tests"


def load() -> None:
    """Import what the commands use, without computing: threads do not come along with a fork."""
    os.environ.update(
        OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0", RAY_USAGE_STATS_ENABLED="0",
        TRANSFORMERS_VERBOSITY="error", DIFFUSERS_VERBOSITY="error",
    )  # fmt: skip
    import ray.data  # noqa: F401
    from diffusers import WanTransformer3DModel  # noqa: F401
    from transformers import CLIPVisionModel, UMT5EncoderModel  # noqa: F401

    for module in pkgutil.walk_packages(posegen.__path__, "posegen."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)  # all: nobody changes the code under a benchmark that runs
    if str(_TESTS) not in sys.path:
        sys.path.insert(0, str(_TESTS))  # tiny files are made there


def run_posegen(*arguments: object) -> None:
    """Run a command as a shell would; raises `SystemExit`."""
    from posegen.apps.cli import main

    main([str(argument) for argument in arguments])


def digest_of_source() -> str:
    """Digest of posegen's code, to tell which results are of another one."""
    digest = hashlib.sha256()
    root = Path(posegen.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()[:12]
