"""Loads weights of standard networks from the user's files, and refuses those of another network.

What each network is, is in the files of the networks.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file
from torch import nn

from posegen.digests import content_digest
from posegen.errors import PosegenError
from posegen.media.files import check_input
from posegen.media.tensors import check_header

Module = TypeVar("Module", bound=nn.Module)
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8})\.(?:pth|pt)$")


def load_weights(make: Callable[[], Module], path: Path, name: str, usual: str) -> Module:
    """Make a network with the file's weights, all of them, ready for inference.

    It is made without weights of its own, which would take longer to draw than the file's to read.
    `name` is the network's, `usual` the usual name of the file. Published names like x-397923af.pth end
    in the file's hash: it is checked. Raises `PosegenError` for a file of something else.
    """
    check_input(path, f"the weights of {name}")
    promised = _HASH_IN_NAME.search(path.name)
    if promised and not content_digest(path).startswith(promised[1]):
        raise PosegenError(f"{path}: the hash in its name is not that of its content: download it again")
    state = _read(path, name)
    with torch.device("meta"):
        module = make()
    wanted = {key: value for key, value in module.state_dict().items() if not key.endswith("num_batches_tracked")}
    wrong = [
        f"{key} is missing" if key not in state else f"{key} is {tuple(state[key].shape)}, not {tuple(value.shape)}"
        for key, value in wanted.items()
        if key not in state or state[key].shape != value.shape
    ] + [f"{key} is unknown" for key in state if key not in wanted and not key.endswith("num_batches_tracked")]
    if wrong:
        raise PosegenError(
            f"{path}: not the weights of {name} ({len(wrong)} of {len(wanted)} differ, first: {wrong[0]}); "
            f"give the file that is usually called {usual}"
        )
    if any(not bool(torch.isfinite(state[key]).all()) for key in wanted):
        raise PosegenError(f"{path}: weights of {name} are not numbers: the file is damaged, get it again")
    weights = {key: state[key].to(value.dtype) for key, value in wanted.items()}
    counts = {
        key: torch.zeros_like(value, device="cpu") for key, value in module.state_dict().items() if key not in wanted
    }
    module.load_state_dict(weights | counts, assign=True)
    return module.eval().requires_grad_(False)


def _read(path: Path, name: str) -> dict[str, torch.Tensor]:
    """The file's tensors; wrappers around them ("state_dict", "module.") are taken off."""
    content: Any
    try:
        if path.suffix == ".safetensors":
            check_header(path)
            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the readers raise whatever a file of something else makes them trip over
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise PosegenError(f"{path}: cannot be read as weights of {name} ({reason})") from None
    content = content.get("state_dict", content) if isinstance(content, dict) else {}
    items = content.items() if isinstance(content, dict) else ()
    tensors = {str(key): value for key, value in items if isinstance(value, torch.Tensor)}
    if not tensors:
        raise PosegenError(f"{path}: holds no weights; {name} was expected")
    return {key.removeprefix("module."): value for key, value in tensors.items()}
