"""Encodes the next segment's conditions on another thread while the present segment is sampled on a CPU.

Sampling leaves part of a second core idle. What is encoded is what would be encoded later, with the same operations:
results do not depend on it. On other devices nothing runs ahead, because memory is what is scarce there.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator

import torch

from posegen.generate.segments import Segment
from posegen.model.denoise import Conditioning
from posegen.types import PreservedFrames

Encode = Callable[[Segment, PreservedFrames | None, PreservedFrames | None], Conditioning]
"""Function of (segment, head, tail) that encodes its conditions, as `SegmentInputs.conditioning`."""


class ConditionsAhead:
    """Conditions of segments, one of them encoded before it is needed; `device` is the autoencoder's."""

    def __init__(self, encode: Encode, device: torch.device) -> None:
        self._encode, self._device = encode, device
        self._ready: tuple[Segment, Callable[[], Conditioning]] | None = None

    def conditioning(
        self, segment: Segment, head: PreservedFrames | None = None, tail: PreservedFrames | None = None
    ) -> Conditioning:
        """Return the conditions of a segment: those encoded ahead, or encoded now. Raises what encoding raised."""
        if self._ready is not None and self._ready[0] == segment and head is tail is None:
            (_, take), self._ready = self._ready, None
            return take()
        return self._encode(segment, head, tail)

    @contextlib.contextmanager
    def encoding(self, segment: Segment | None) -> Iterator[None]:
        """Encode the conditions of `segment` while the block runs; it ends with them, so the autoencoder is free then.

        None, or a segment that is ready: nothing is done.
        """
        known = segment is None or (self._ready is not None and self._ready[0] == segment)
        if known or segment is None or self._device.type != "cpu":
            yield
            return
        found: list[Conditioning | BaseException] = []

        def encode() -> None:
            try:
                found.append(self._encode(segment, None, None))
            except BaseException as error:  # raised when the segment's turn comes
                found.append(error)

        def take() -> Conditioning:
            if isinstance(found[0], BaseException):
                raise found[0]
            return found[0]

        thread = threading.Thread(target=encode, daemon=True)
        thread.start()
        try:
            yield
        finally:
            thread.join()
        self._ready = segment, take
