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

from posegen.errors import PosegenError
from posegen.media.files import AtomicFile, open_input, output_errors

_MAX_HEADER = 16 << 20
"""Bytes: a hundred thousand tensors."""


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


def check_header(path: Path) -> None:
    """Raise `PosegenError` where the list of tensors in a safetensors file is longer than any model's.

    The library would take gigabytes and half a minute for one of 90 MB. What else is wrong is for the library to tell.
    """
    with open_input(path, "weights") as stream:
        length = int.from_bytes(stream.read(8), "little")
    if _MAX_HEADER < length < path.stat().st_size:
        raise PosegenError(f"{path}: its list of tensors has {length:,} bytes; at most {_MAX_HEADER:,} are read")


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
