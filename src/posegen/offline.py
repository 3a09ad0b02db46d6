"""Keeps the hub's libraries from asking the network while local models are loaded."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def no_network() -> Iterator[None]:
    """Inside the block the hub's libraries ask nobody: what a local model lacks is an error.

    `local_files_only` is not enough: a configuration may name another model, such as a backbone.
    """
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
