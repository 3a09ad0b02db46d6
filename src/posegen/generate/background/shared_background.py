"""Records a job's shared background while the anchor segment is made, and gives it to the other base segments.

With "recompute" next to nothing is kept: the anchor's latents at the start of the shared steps, from which its forward
pass is run again beside every other segment's. `store_choice.py` decides which store is used; background sharing itself
is in `model/sharing.py`.
"""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from posegen.errors import logger
from posegen.generate.background.store_choice import StoreKind
from posegen.media.checksums import forget_checksum, state_of, write_checksum
from posegen.media.files import remove_all_leftovers
from posegen.media.tensors import save_safetensors
from posegen.model.background_store import BackgroundStore, Branch, DiskStore, MemoryStore
from posegen.model.sharing import BackgroundSharing, SharingPass
from posegen.model.tensor_types import Latents
from posegen.types import SubjectMasks


def make_store(kind: StoreKind, folder: Path, device: torch.device) -> BackgroundStore:
    """An empty store, or for "disk" what an earlier run left in `folder`."""
    if kind == "disk":
        return DiskStore(folder, device)
    return MemoryStore("cpu" if kind == "host" else None)


Replay = Callable[[int, Branch, Latents, SharingPass], None]
"""Runs the anchor's forward pass of (step, branch) on its latents, with the `background` to record into."""


class SharedBackground:
    """Records the anchor's background, in the way that was chosen, and shares it; see the file's head.

    Give `record` and `on_latents` to the anchor's denoising, then call `recorded`; give `share` to every other one's.
    """

    def __init__(self, sharing: BackgroundSharing, kind: StoreKind, folder: Path, replay: Replay) -> None:
        """Take over what an earlier run left in `folder`: then it is `ready` at once."""
        self.sharing, self.kind, self.folder, self._replay = sharing, kind, folder, replay
        self._latents: dict[int, torch.Tensor] = {}
        self.ready = False
        remove_all_leftovers(folder)

    def resume(self, passes: Iterable[tuple[int, Branch]]) -> bool:
        """Return whether an earlier run left all that the anchor's forward passes (step, branch) record."""
        if self.kind == "recompute":
            self._latents = self._read_latents()
            self.ready = set(self._latents) == set(self.sharing.config.steps)
        elif self.kind == "disk":
            self.ready = self.sharing.resume(passes)
        return self.ready

    @property
    def steps_to_record(self) -> int:
        """Denoising of the anchor may stop after so many steps when only its background is wanted."""
        return max(self.sharing.config.steps, default=-1) + 1

    def record(self, step: int, branch: Branch) -> SharingPass | None:
        """For the anchor's denoising."""
        return None if self.kind == "recompute" else self.sharing.record(step, branch)

    def on_latents(self, step: int, latents: Latents) -> None:
        """For the anchor's denoising: keeps what recomputation starts from."""
        if self.kind == "recompute" and step in self.sharing.config.steps:
            self._latents[step] = latents.detach().cpu().clone()

    def recorded(self) -> None:
        """The anchor has passed all shared steps."""
        self.ready = True
        if self.kind == "recompute":
            forget_checksum(self._latents_file)
            save_safetensors({f"step{step}": latents for step, latents in self._latents.items()}, self._latents_file)
            write_checksum(self._latents_file)

    def share(self, step: int, branch: Branch) -> SharingPass | None:
        """For the denoising of another base segment."""
        if self.kind == "recompute":
            recording = self.sharing.record(step, branch)
            if recording is not None:
                self.sharing.store.clear()
                self._replay(step, branch, self._latents[step], recording)
        return self.sharing.share(step, branch)

    def masks(self) -> tuple[SubjectMasks, SubjectMasks] | None:
        """Subject masks (latent frames, rows, columns) of the anchor and of the segment that shared last.

        Those of the last shared step and layer; None without a subject or before anything was shared.
        """
        sharing = self.sharing
        if not sharing.subject_masks:
            return None
        place = max(sharing.subject_masks)
        anchor, subject = sharing.anchor_masks[place], sharing.subject_masks[place]
        return anchor[0].cpu().numpy(), subject[0].cpu().numpy()

    def clear(self) -> None:
        """Forget everything, also on disk what an earlier run left there that used another kind of store."""
        self.sharing.store.clear()
        self._latents.clear()
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.ready = False

    @property
    def _latents_file(self) -> Path:
        return self.folder / "latents.safetensors"

    def _read_latents(self) -> dict[int, torch.Tensor]:
        state = state_of(self._latents_file)
        if state != "intact":
            if state == "damaged":
                logger.warning("%s is damaged: the anchor's shared steps run again", self._latents_file)
            return {}
        try:
            return {int(name.removeprefix("step")): tensor for name, tensor in load_file(self._latents_file).items()}
        except (OSError, SafetensorError, ValueError):
            return {}  # the anchor's shared steps run again
