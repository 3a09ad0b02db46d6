"""Synthetic people: clothed, moving, parametric people with exact ground truth, rendered on a CPU.

Data flows one way: assets, identity -> body, clothes, hair, skin -> rig, motion, mocap -> scene, backdrop, render ->
keypoints, caption -> clip -> workers, shards. Nothing outside this package imports anny, warp, pybullet_data or
webdataset, and nothing here is imported until it is used.
"""

import importlib.util

from posegen.errors import PosegenError

EXTRA = ("anny", "warp", "pybullet_data", "webdataset", "scipy")
"""What the extra `synthetic` installs, as modules."""


def check_installed() -> None:
    """Raise `PosegenError` where the extra's packages are missing; called before anything here is imported."""
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise PosegenError(f"synthetic people need {', '.join(missing)}: pip install 'posegen[synthetic]'")
