"""The training loop of every stage: steps, skipped steps, EMA, logs, validation, checkpoints, resuming.

Runs on accelerate: one CPU, one GPU, several of them or several machines are the same to it. An interrupted run ends
as an uninterrupted one does, bit for bit on a CPU. Models and losses are the stage's concern.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from posegen.errors import PosegenError, logger
from posegen.progress import Progress
from posegen.train.checkpoint import Checkpoints, Counters, trained_parameters
from posegen.train.interruption import Interruption
from posegen.train.logs import Logs
from posegen.train.prefetcher import Prefetcher
from posegen.train.schedule import learning_rate, shares
from posegen.train.sharding import gathered, shard, sharded_like, whole
from posegen.train.stage import TrainStage
from posegen.train.stage_settings import DistillSettings, StageSettings

_DISCRIMINATOR = "discriminator."
"""Beginning of the names of weights that judge instead of generating."""
_DISCRIMINATOR_BETAS = (0.5, 0.99)
"""Moments that forget sooner than the transformer's: what is judged changes all the time."""
MODEL = "model"
"""Folder inside a stage's folder for what it exports."""


class EMA:
    """Exponential moving average of the trained weights, in float32; short runs average over the steps they have."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        """Start from the current weights."""
        self.decay = decay
        self.weights = {name: p.detach().float().clone() for name, p in trained_parameters(module)}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Add the weights after `step` steps to the average."""
        decay = min(self.decay, (1.0 + step) / (10.0 + step))
        trained = [(self.weights[name], parameter.detach()) for name, parameter in trained_parameters(module)]
        averages = [average for average, _ in trained]
        torch._foreach_lerp_(averages, [own.to(average) for average, own in trained], 1.0 - decay)

    def load(self, weights: dict[str, torch.Tensor]) -> None:
        """Replace the average by that of a checkpoint."""
        self.weights = {name: sharded_like(weights[name], own) for name, own in self.weights.items()}

    def whole(self) -> dict[str, torch.Tensor]:
        """Return the unsharded average on the CPU. All processes must call it."""
        return {name: whole(average).cpu() for name, average in self.weights.items()}

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Give the module the average as its weights while the context is open."""
        self._exchange(module)
        try:
            yield
        finally:
            self._exchange(module)

    @torch.no_grad()
    def _exchange(self, module: nn.Module) -> None:
        for name, parameter in trained_parameters(module):
            own = parameter.detach().clone()
            parameter.copy_(self.weights[name])  # in place: sharding keeps the memory of its parts, not the parameters
            self.weights[name].copy_(own)


def make_optimizers(module: nn.Module, settings: StageSettings) -> list[torch.optim.Optimizer]:
    """Build one optimizer for all that learns, or with Muon two: for matrices inside blocks, and for the rest.

    A discriminator has one more, last, with a rate of its own (`rates`).
    """
    judges, others = discriminator_and_others(module)
    mine = {id(parameter) for parameter in others}
    trained = [(name, parameter) for name, parameter in trained_parameters(module) if id(parameter) in mine]
    matrices = [p for name, p in trained if settings.optimizer == "muon" and p.ndim == 2 and "blocks." in name]
    taken = {id(parameter) for parameter in matrices}
    others = [parameter for _, parameter in trained if id(parameter) not in taken]
    rate, decay = settings.learning_rate, settings.weight_decay
    optimizers: list[torch.optim.Optimizer] = []
    if others:
        optimizers.append(torch.optim.AdamW(others, lr=rate, betas=settings.betas, weight_decay=decay))
    if matrices:
        optimizers.append(torch.optim.Muon(matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"))
    if judges:
        optimizers.append(torch.optim.AdamW(judges, lr=rate, betas=_DISCRIMINATOR_BETAS, weight_decay=decay))
    return optimizers


def discriminator_and_others(module: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the parameters that learn: those of a discriminator, if there is one, and all others."""
    judges: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in trained_parameters(module):
        (judges if _DISCRIMINATOR in name else others).append(parameter)
    return judges, others


def rates(settings: StageSettings, step: int, count: int) -> list[float]:
    """Return the learning rate of each of the `count` optimizers at a step; a discriminator's is the last."""
    rate = learning_rate(settings, step)
    last = rate
    if isinstance(settings, DistillSettings) and settings.adversarial > 0:
        last *= settings.discriminator_rate
    return [*[rate] * (count - 1), last]


class Loop:
    """One run of one stage."""

    def __init__(
        self,
        stage: TrainStage,
        settings: StageSettings,
        checkpoints: Checkpoints,
        folder: Path,
        accelerator: Accelerator,
        progress: Progress,
    ) -> None:
        """Build the optimizer, move the module to its device, and resume from the newest checkpoint."""
        self.stage, self.settings, self.checkpoints, self.folder = stage, settings, checkpoints, folder
        self.accelerator, self.progress, self.name = accelerator, progress, settings.stage
        if not trained_parameters(stage.module):
            raise PosegenError(f"the stage {self.name} has nothing to train")
        self.bare = stage.module
        self.bare.train()
        if settings.strategy == "fsdp" and accelerator.num_processes > 1:
            shard(self.bare, accelerator.device)
            self.module = accelerator.prepare_model(self.bare, evaluation_mode=True)  # for its dtype only
            self.optimizers = [accelerator.prepare(each) for each in make_optimizers(self.bare, settings)]
        else:
            self.module, *self.optimizers = accelerator.prepare(self.bare, *make_optimizers(self.bare, settings))
        self.ema = EMA(self.bare, settings.ema) if settings.ema > 0 else None
        self.counters = Counters()
        kept = checkpoints.load(self.module, self.optimizers)
        if kept is not None:
            self.counters, ema = kept
            if self.ema is not None and ema is not None:
                self.ema.load(ema)
            progress.say(f"{self.name}: resumes after step {self.counters.step}")
        self.logs = Logs(folder, self.counters.step) if accelerator.is_main_process else None

    # -- the run -------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Do all remaining steps, then export the model. A signal ends it after a step, with a checkpoint."""
        settings, counters = self.settings, self.counters
        began, before = time.monotonic(), counters.seconds
        saved = began
        losses: list[float] = []
        batches = Prefetcher(self._batches, counters.step, settings.steps, self.accelerator.device)
        with Interruption() as interruption, batches as prefetcher:
            while counters.step < settings.steps:
                loss, norm = self._step(prefetcher.take())
                counters.step += 1
                counters.seconds = before + time.monotonic() - began
                if math.isfinite(loss):
                    losses.append(loss)
                step = counters.step
                self.progress.update(f"train {self.name}", step, settings.steps)
                if step % settings.log_every == 0 or step == settings.steps:
                    scalars = {
                        "loss": sum(losses) / max(len(losses), 1),
                        "gradient_norm": norm,
                        "learning_rate": learning_rate(settings, step - 1),
                        "bad_steps": float(counters.bad_steps),
                        "seconds": counters.seconds,
                    }
                    self._log(scalars)
                    losses = []
                stop, late = self._any(interruption.came, time.monotonic() - saved >= 60 * settings.checkpoint_minutes)
                if not stop and (step % settings.validate_every == 0 or step == settings.steps):
                    self._validate()
                if stop or late or step % settings.checkpoint_every == 0 or step == settings.steps:
                    self.save()
                    saved = time.monotonic()
                if stop:
                    self.progress.say(f"{self.name}: stops after step {step}, with a checkpoint")
                    interruption.act()
        self._export()

    def _any(self, *flags: bool) -> list[bool]:
        """Return for each flag whether it is set in any process: all of them write a checkpoint, or none."""
        if self.accelerator.num_processes == 1:
            return list(flags)
        counts = torch.tensor(flags, dtype=torch.float32, device=self.accelerator.device)
        return [bool(count) for count in self.accelerator.reduce(counts, "sum")]

    def _batches(self, step: int) -> list[Any]:
        phase, step_of_phase = self.settings.place(step)
        process = self.accelerator
        parts = shares(phase.batch_size, self.settings.accumulate, process.process_index, process.num_processes)
        return [self.stage.make_batch(step, phase, step_of_phase, part) for part in parts]

    def _step(self, batches: list[Any]) -> tuple[float, float]:
        """Do one optimizer step; return the mean loss over all processes and the gradients' norm before clipping."""
        counters, settings = self.counters, self.settings
        for optimizer, rate in zip(self.optimizers, rates(settings, counters.step, len(self.optimizers)), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate
        total = torch.zeros((), device=self.accelerator.device)
        for number, batch in enumerate(batches):
            last = number == len(batches) - 1
            with _unsynchronised(self.accelerator, self.module, not last):
                loss = self.stage.loss(self.module, batch, self.accelerator.device) / len(batches)
                self.accelerator.backward(loss)
            total += loss.detach().float()
        for _, parameter in trained_parameters(self.bare):
            if parameter.grad is None:  # an input that this step had not: the optimizer should know every weight alike
                parameter.grad = torch.zeros_like(parameter)
        mean = float(self.accelerator.reduce(total, "mean"))
        judges, others = discriminator_and_others(self.module)
        norm = float(whole(self.accelerator.clip_grad_norm_(others, settings.max_grad_norm)))
        if judges:  # on its own, so that a loud discriminator does not silence what it judges
            norm = max(norm, float(self.accelerator.clip_grad_norm_(judges, settings.max_grad_norm)))
        if math.isfinite(mean) and math.isfinite(norm):
            for optimizer in self.optimizers:
                optimizer.step()
            counters.bad_in_a_row = 0
            if self.ema is not None:
                self.ema.update(self.bare, counters.step + 1)
        else:
            counters.bad_steps += 1
            counters.bad_in_a_row += 1
            what = "step %d skipped: loss %g, gradient norm %g (%d in a row)"
            logger.warning(what, counters.step + 1, mean, norm, counters.bad_in_a_row)
            if counters.bad_in_a_row >= settings.max_bad_steps:
                raise PosegenError(
                    f"{counters.bad_in_a_row} steps in a row had a loss or gradient that is not finite; the last good "
                    "checkpoint is kept: lower learning_rate or max_grad_norm, or look at the data"
                )
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        return mean, norm

    # -- beside the steps ----------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint of the state after the last whole step."""
        ema = None if self.ema is None else self.ema.whole()
        self.checkpoints.save(self.module, self.optimizers, ema, self.counters, self.accelerator.is_main_process)
        self.accelerator.wait_for_everyone()

    def summary(self) -> dict[str, int | float]:
        """Return the number of steps, of skipped steps, and the hours."""
        counters = self.counters
        hours = round(counters.seconds / 3600, 3)
        return {"steps": counters.step, "bad_steps": counters.bad_steps, "hours": hours}

    def close(self) -> None:
        """Close the logs, however the run ended."""
        if self.logs is not None:
            self.logs.close()

    def _log(self, scalars: dict[str, float]) -> None:
        if self.logs is not None:
            self.logs.scalars("train", scalars, self.counters.step)

    @contextmanager
    def _final_weights(self) -> Iterator[None]:
        """Use the weights that are validated and exported, in evaluation mode."""
        self.bare.eval()
        try:
            if self.ema is None:
                yield
            else:
                with self.ema.applied(self.bare):
                    yield
        finally:
            self.bare.train()

    def _validate(self) -> None:
        with self._final_weights(), self.accelerator.autocast():
            result = self.stage.validate(self.module, self.accelerator.device)
        if self.logs is not None:
            self.logs.validation(result, self.counters.step)
            summary = "  ".join(f"{name} {value:.4g}" for name, value in result.scalars.items())
            self.progress.say(f"{self.name} step {self.counters.step}: {summary}")
        self.accelerator.wait_for_everyone()

    def _export(self) -> None:
        with self._final_weights(), gathered(self.bare):
            if self.accelerator.is_main_process:
                self.stage.export(self.folder / MODEL)
        self.accelerator.wait_for_everyone()


@contextmanager
def _unsynchronised(accelerator: Accelerator, module: nn.Module, wanted: bool) -> Iterator[None]:
    """Do not exchange gradients between processes before the last part of a batch."""
    if not wanted:
        yield
        return
    with accelerator.no_sync(module):
        yield
