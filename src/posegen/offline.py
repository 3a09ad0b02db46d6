"""Disables network access of huggingface_hub while local models are loaded."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def no_network() -> Iterator[None]:
    """Disable network access of huggingface_hub inside the block: a missing file is an error.

    `local_files_only` is not enough: a configuration may refer to another model, such as a backbone.
    """
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
