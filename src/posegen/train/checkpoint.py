"""Checkpoints of a stage: trained weights, optimizer, EMA, counters; whole or not there at all.

Works alike for one process, several (DDP) and sharded weights (FSDP), through torch's distributed state dictionaries.
Random numbers, learning rate and data order need no state: they are functions of the step (`schedule.py`).
"""

import contextlib
import errno
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict

from posegen.errors import OutputError, PosegenError, logger
from posegen.media.checksums import DamagedFileError, check_digests, checked_json, digests_of, read_checked_file
from posegen.model.former_identity import is_former_identity

_PREFIX = "step-"
_EMA = "average.safetensors"
_OPTIONS = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)


@dataclass
class Counters:
    """The numbers that a checkpoint keeps beside tensors."""

    step: int = 0
    """Steps done."""
    bad_steps: int = 0
    """Steps skipped, because a loss or gradient was not finite."""
    bad_in_a_row: int = 0
    seconds: float = 0.0
    """Time spent in training, over all runs."""


@dataclass(frozen=True)
class Origin:
    """The recipe, model and data that a checkpoint belongs to; it is not resumed with others."""

    recipe: str
    """Fingerprint of the recipe's stage."""
    start: str
    """The model that training started from."""
    data: str
    """Hash of the training data."""


class Checkpoints:
    """The checkpoints of one stage in a folder."""

    def __init__(self, folder: Path, origin: Origin, keep: int) -> None:
        """`keep`: how many checkpoints are kept."""
        self.folder, self.origin, self.keep = folder, origin, keep

    def clean(self) -> None:
        """Remove half-written checkpoints. For one process only."""
        for path in self.folder.glob(f"{_PREFIX}*.part"):
            shutil.rmtree(path, ignore_errors=True)

    def all(self) -> list[Path]:
        """Return the whole checkpoints, oldest first."""
        found = [path for path in self.folder.glob(f"{_PREFIX}*") if path.suffix != ".part"]
        return sorted(path for path in found if (path / "state.json").is_file())

    def save(
        self,
        module: nn.Module,
        optimizers: list[Any],
        ema: dict[str, torch.Tensor] | None,
        counters: Counters,
        main: bool,
    ) -> None:
        """Write a checkpoint; all processes call it, the main one writes. The previous one is kept until this is whole.

        Raises `OutputError` where it cannot be written.
        """
        both: tuple[dict[str, Any], Any] = get_state_dict(module, optimizers, options=_OPTIONS)
        weights, optimizer_state = both
        if not main:
            return
        final = self.folder / f"{_PREFIX}{counters.step:07d}"
        partial = final.with_suffix(".part")
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            save_file({name: tensor.contiguous() for name, tensor in weights.items()}, partial / "weights.safetensors")
            torch.save(optimizer_state, partial / "optimizer.pt")
            if ema is not None:
                save_file(ema, partial / _EMA)
            state = {"origin": asdict(self.origin), "counters": asdict(counters), "files": digests_of(partial)}
            (partial / "state.json").write_bytes(checked_json(state))
            for later in self.all():  # damaged ones, after which training did not resume
                if later.name >= final.name:
                    shutil.rmtree(later, ignore_errors=True)
            partial.rename(final)
        except Exception as error:  # safetensors and torch each have errors of their own for a full disk
            shutil.rmtree(partial, ignore_errors=True)
            if not isinstance(error, OSError | RuntimeError) and "SafetensorError" not in type(error).__name__:
                raise
            full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space" in str(error)
            kept = self.all()
            again = "run the same command again" if kept else "start again"
            raise OutputError(
                f"checkpoint {final} cannot be written ({'the disk is full' if full else error}); "
                f"{f'{kept[-1].name} is whole: ' if kept else ''}free some space and {again}"
            ) from error
        for old in self.all()[: -self.keep]:
            shutil.rmtree(old, ignore_errors=True)

    def load(self, module: nn.Module, optimizers: list[Any]) -> tuple[Counters, dict[str, torch.Tensor] | None] | None:
        """Load the newest undamaged checkpoint and return its counters and EMA; None without one. Reports damaged ones.

        Raises `PosegenError` if it belongs to another recipe, start or data, or cannot be read.
        """
        for newest in reversed(self.all()):
            try:
                state = _checked_state(newest)
                break
            except DamagedFileError as error:
                logger.warning("%s: training resumes from an earlier checkpoint, or begins again", error)
        else:
            return None
        try:
            found, counters = state["origin"], Counters(**state["counters"])
            for key, what in (("recipe", "recipe"), ("start", "starting model"), ("data", "training data")):
                own = asdict(self.origin)[key]
                if found[key] != own and not (key == "start" and is_former_identity(found[key], own)):
                    raise PosegenError(
                        f"{newest} belongs to another {what}: choose another --output, or delete {self.folder} to "
                        "start again"
                    )
            weights: dict[str, Any] = load_file(newest / "weights.safetensors")
            optimizer_state = torch.load(newest / "optimizer.pt", map_location="cpu", weights_only=True)
            ema = load_file(newest / _EMA) if (newest / _EMA).is_file() else None
        except PosegenError:
            raise
        except Exception as error:
            raise PosegenError(f"{newest} cannot be read ({error}): delete it to resume from the one before") from error
        options = StateDictOptions(full_state_dict=True, ignore_frozen_params=True, strict=False)
        with contextlib.suppress(StopIteration):
            set_state_dict(
                module, optimizers, model_state_dict=weights, optim_state_dict=optimizer_state, options=options
            )
        logger.info("resuming from %s", newest)
        return counters, ema


def _checked_state(checkpoint: Path) -> dict[str, Any]:
    """Read the state of a checkpoint. Raises `DamagedFileError` where a file does not agree with its checksum."""
    path = checkpoint / "state.json"
    state = read_checked_file(path)
    files = state.get("files")
    if not isinstance(files, dict):
        logger.warning("%s is of an older posegen, without checksums: it is used unchecked", checkpoint)
        return state
    check_digests(checkpoint, files)
    return state


def trained_parameters(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Return the parameters that learn, with their names."""
    return [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
