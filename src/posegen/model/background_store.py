"""Stores the anchor segment's keys and values: on the device, in host memory, or in files.

One protocol, three stores. `sharing.py` decides what is kept, and when; `generate/background/store_choice.py` chooses
a store that fits, or a fourth way (keeping almost nothing and running the anchor again). Stores that are not on
the device read the next place while the current one is in use.
"""

import re
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, cast, get_args, runtime_checkable

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from posegen.errors import PosegenError, logger
from posegen.media.checksums import forget_checksum, remove_checked, state_of, write_checksum
from posegen.media.tensors import save_safetensors

Branch = Literal["positive", "negative", "unposed"]
"""Branch of guidance: with the prompt, with the negative prompt, or without the pose."""
StorePrecision = Literal["same", "bf16", "int10", "fp8"]
"""Precision of kept keys and values: as computed, bfloat16, or 10 or 8 bits with a scale for each token and head."""
Tensors = Mapping[str, Tensor]
_SCALE, _REST = "_scale", "_rest"
_FP8_MAX = torch.finfo(torch.float8_e4m3fn).max
_INT10_MAX = 511
_PIECE = 1 << 24
"""Bytes of pinned memory per allocation: torch rounds each up to a power of two, which can double large ones."""


class CachePosition(NamedTuple):
    """Position of a layer's tensors in a denoising run."""

    step: int
    branch: Branch
    layer: int


@runtime_checkable
class BackgroundStore(Protocol):
    """Keeps named tensors for each place; each place is read once per segment, always in the same order."""

    def put(self, place: CachePosition, tensors: Tensors) -> None:
        """Keep the tensors of one place, replacing earlier ones."""

    def get(self, place: CachePosition, names: Collection[str] | None = None) -> dict[str, Tensor]:
        """Return the tensors of one place, or only those named. Raises `KeyError` if they were never put."""

    def places(self) -> Collection[CachePosition]:
        """Places that are kept, in the order in which they were put."""

    def clear(self) -> None:
        """Remove all tensors."""

    def nbytes(self) -> int:
        """Bytes that are kept, wherever they are."""


class MemoryStore:
    """Keeps tensors on their own device, or on `device`: host memory is pinned and read ahead for a GPU."""

    def __init__(self, device: torch.device | str | None = None) -> None:
        self.device = None if device is None else torch.device(device)
        self._tensors: dict[CachePosition, dict[str, Tensor | HostTensor]] = {}
        self._ahead: _ReadAhead | None = None

    def put(self, place: CachePosition, tensors: Tensors) -> None:
        """Keep the tensors of one place."""
        place = CachePosition(*place)
        kept: dict[str, Tensor | HostTensor] = {}
        for name, tensor in tensors.items():
            moves = self.device is not None and tensor.device.type != self.device.type
            if moves and tensor.device.type == "cuda":
                if self._ahead is None:
                    self._ahead = _ReadAhead(self._tensors.__getitem__, tensor.device)
                kept[name] = self._ahead.to_host(tensor.detach())
            else:
                kept[name] = tensor.detach().to(self.device) if moves else tensor.detach()
        if self._ahead is not None:
            self._ahead.forget()
        self._tensors[place] = kept

    def get(self, place: CachePosition, names: Collection[str] | None = None) -> dict[str, Tensor]:
        """Return the tensors of one place."""
        place = CachePosition(*place)
        if self._ahead is not None and names is None:
            return self._ahead.take(place, _following(list(self._tensors), place))
        if self._ahead is not None:
            self._ahead.wait()
        wanted = {name: tensor for name, tensor in self._tensors[place].items() if names is None or name in names}
        return {name: t.to("cpu") if isinstance(t, HostTensor) else t for name, t in wanted.items()}

    def places(self) -> list[CachePosition]:
        """Places that are kept."""
        return list(self._tensors)

    def clear(self) -> None:
        """Remove all tensors."""
        if self._ahead is not None:
            self._ahead.forget()
        self._tensors.clear()

    def nbytes(self) -> int:
        """Bytes in memory."""
        return sum(tensor.nbytes for tensors in self._tensors.values() for tensor in tensors.values())


class DiskStore:
    """Keeps one safetensors file for each place in a folder, memory-mapped for reading.

    Files that a killed process left are used if they agree with their checksums. Raises `OutputError` if a file cannot
    be written.
    """

    _NAME = re.compile(rf"step(\d+)-({'|'.join(get_args(Branch))})-layer(\d+)\.safetensors")

    def __init__(self, folder: Path, device: torch.device | str = "cpu") -> None:
        """Open the folder; `device` is the device that computes."""
        self.folder = folder
        self._ahead = _ReadAhead(self._load, torch.device(device))
        found = [match for path in folder.glob("step*.safetensors") if (match := self._NAME.fullmatch(path.name))]
        branches = get_args(Branch)
        found = [match for match in found if self._is_intact(folder / match[0])]
        self._places = dict.fromkeys(
            sorted(
                (CachePosition(int(match[1]), cast(Branch, match[2]), int(match[3])) for match in found),
                key=lambda place: (place.step, branches.index(place.branch), place.layer),
            )
        )

    def _path(self, place: CachePosition) -> Path:
        return self.folder / f"step{place.step:03d}-{place.branch}-layer{place.layer:03d}.safetensors"

    @staticmethod
    def _is_intact(path: Path) -> bool:
        """Return True if a file of an earlier run agrees with its checksum; else remove it and log a line."""
        state = state_of(path)
        if state == "damaged":
            logger.warning("%s is damaged: the shared background is recorded again", path)
        if state != "intact":
            remove_checked(path)
        return state == "intact"

    def put(self, place: CachePosition, tensors: Tensors) -> None:
        """Write the tensors of one place."""
        place = CachePosition(*place)
        forget_checksum(self._path(place))
        save_safetensors(tensors, self._path(place))
        write_checksum(self._path(place))
        self._ahead.forget()
        self._places[place] = None

    def get(self, place: CachePosition, names: Collection[str] | None = None) -> dict[str, Tensor]:
        """Read the tensors of one place."""
        place = CachePosition(*place)
        if place not in self._places:
            raise KeyError(place)
        if names is not None:
            return self._load(place, names)
        return self._ahead.take(place, _following(list(self._places), place))

    def _load(self, place: CachePosition, names: Collection[str] | None = None) -> dict[str, Tensor]:
        try:
            with safe_open(self._path(place), framework="pt") as file:
                wanted = [name for name in file.keys() if names is None or name in names]  # noqa: SIM118
                return {name: file.get_tensor(name) for name in wanted}
        except (OSError, SafetensorError) as error:
            raise PosegenError(
                f"{self._path(place)} cannot be read ({error}): delete {self.folder} and run the same command again"
            ) from error

    def places(self) -> list[CachePosition]:
        """Places that are kept."""
        return list(self._places)

    def clear(self) -> None:
        """Delete the files, and the folder if it is then empty."""
        self._ahead.forget()
        for place in self._places:
            remove_checked(self._path(place))
        self._places.clear()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def nbytes(self) -> int:
        """Bytes on disk."""
        return sum(self._path(place).stat().st_size for place in self._places)


class HostTensor:
    """Tensor in host memory, pinned if there is a GPU, in pieces of `_PIECE` bytes."""

    def __init__(self, tensor: Tensor) -> None:
        """Copy the tensor, from a GPU asynchronously on its current stream, which must be synchronised before use."""
        self.shape, self.dtype, self.nbytes = tensor.shape, tensor.dtype, tensor.nbytes
        pinned = torch.cuda.is_available()
        self.pieces = [
            torch.empty(piece.shape, dtype=torch.uint8, pin_memory=pinned).copy_(piece, non_blocking=True)
            for piece in tensor.contiguous().view(-1).view(torch.uint8).split(_PIECE)
        ]

    def to(self, device: torch.device | str) -> Tensor:
        """Copy the tensor to a device, asynchronously to a GPU."""
        flat = torch.empty(self.nbytes, dtype=torch.uint8, device=device)
        for piece, kept in zip(flat.split(_PIECE), self.pieces, strict=True):
            piece.copy_(kept, non_blocking=True)
        return flat.view(self.dtype).view(self.shape)


class _ReadAhead:
    """Copies one place to the device while another is in use; on a GPU in a separate stream."""

    def __init__(
        self, load: Callable[[CachePosition], Mapping[str, Tensor | HostTensor]], device: torch.device
    ) -> None:
        self._load, self._device = load, device
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="background-store")
        self._stream: Any = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._pending: tuple[CachePosition, Future[tuple[dict[str, Tensor], Any]]] | None = None

    def take(self, place: CachePosition, following: CachePosition) -> dict[str, Tensor]:
        """Return the tensors of `place` on the device, and start reading `following`."""
        pending, self._pending = self._pending, None
        future = pending[1] if pending is not None and pending[0] == place else self._thread.submit(self._bring, place)
        tensors, event = future.result()
        if following != place:
            self._pending = following, self._thread.submit(self._bring, following)
        if event is not None:
            stream = torch.cuda.current_stream(self._device)
            stream.wait_event(event)
            for tensor in tensors.values():
                tensor.record_stream(stream)
        return tensors

    def forget(self) -> None:
        """Discard what was read ahead, which may be removed or replaced by now."""
        self._pending = None

    def to_host(self, tensor: Tensor) -> HostTensor:
        """Copy to the host, in this object's stream: reading back comes later in the same stream."""
        assert self._stream is not None
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            kept = HostTensor(tensor)
        tensor.record_stream(self._stream)
        return kept

    def wait(self) -> None:
        """Wait until all copies to the host are complete."""
        if self._stream is not None:
            self._stream.synchronize()

    def _bring(self, place: CachePosition) -> tuple[dict[str, Tensor], Any]:
        if self._stream is None:
            return {name: tensor.to(self._device) for name, tensor in self._load(place).items()}, None
        with torch.cuda.stream(self._stream):
            tensors = {
                name: (tensor if isinstance(tensor, HostTensor) else HostTensor(tensor)).to(self._device)
                for name, tensor in self._load(place).items()
            }
            return tensors, self._stream.record_event()


def _following(places: list[CachePosition], place: CachePosition) -> CachePosition:
    """Return the place that is read next: in the order in which they were put, again for every segment."""
    return places[(places.index(place) + 1) % len(places)]


def pack(name: str, tensor: Tensor, precision: StorePrecision) -> dict[str, Tensor]:
    """Convert `tensor` (..., width) to the tensors kept under `name`.

    With a scale, `name`_scale (..., 1) is the largest value over the dtype's largest number. `int10` keeps integers of
    -511..511: their upper 8 bits under `name`, the 2 others, of four numbers per byte, under `name`_rest.
    """
    if precision == "same":
        return {name: tensor}
    if precision == "bf16":
        return {name: tensor.to(torch.bfloat16)}
    maximum = _FP8_MAX if precision == "fp8" else _INT10_MAX
    largest = tensor.abs().amax(-1, keepdim=True).float().clamp_min(1e-12)
    scale = (largest * (1.005 / maximum)).to(torch.bfloat16)  # rounded first, and never so that the maximum is exceeded
    scaled = tensor.float() / scale.float()
    if precision == "fp8":
        return {name: scaled.to(torch.float8_e4m3fn), name + _SCALE: scale}
    numbers = scaled.round_().to(torch.int16)
    rest = torch.nn.functional.pad(numbers & 3, (0, -numbers.shape[-1] % 4)).to(torch.uint8).unflatten(-1, (-1, 4))
    bytes_of_rest = rest[..., 0] | rest[..., 1] << 2 | rest[..., 2] << 4 | rest[..., 3] << 6
    return {name: (numbers >> 2).to(torch.int8), name + _REST: bytes_of_rest, name + _SCALE: scale}


def unpack(tensors: Tensors, name: str, dtype: torch.dtype) -> Tensor:
    """Restore the tensor that `pack` kept under `name`, to its precision."""
    tensor, scale, rest = tensors[name], tensors.get(name + _SCALE), tensors.get(name + _REST)
    if scale is None:
        return tensor.to(dtype)
    if rest is not None:
        shifts = torch.tensor([0, 2, 4, 6], dtype=torch.uint8, device=rest.device)
        lower = (rest[..., None] >> shifts & 3).flatten(-2)[..., : tensor.shape[-1]]  # (..., width)
        tensor = tensor.to(torch.int16) << 2 | lower
    return (tensor.float() * scale.float()).to(dtype)
