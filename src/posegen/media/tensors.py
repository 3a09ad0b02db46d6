"""Writes tensors as safetensors files, atomically. Separate from `files`, because it imports torch."""

import contextlib
import errno
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from posegen.media.files import AtomicFile, output_errors


def save_safetensors(
    tensors: Mapping[str, torch.Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors of any device to `path` atomically. Raises `OutputError` if that fails."""
    file = AtomicFile(path)
    try:
        with saving_errors(path):
            content = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
            save_file(content, file.temporary, None if metadata is None else dict(metadata))
        file.commit()
    except BaseException:
        file.discard()
        raise


@contextlib.contextmanager
def saving_errors(target: Path) -> Iterator[None]:
    """Extend `output_errors` to the errors of safetensors."""
    with output_errors(target):
        try:
            yield
        except SafetensorError as error:
            raise _system_error(error) from error


def _system_error(error: SafetensorError) -> OSError:
    """Return the operating system's error, which safetensors only mentions in its text: "... (os error 28)"."""
    found = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else OSError(errno.EIO, str(error))
