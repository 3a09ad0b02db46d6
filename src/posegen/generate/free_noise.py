"""Long video by FreeNoise (arXiv 2310.15169), for comparison: one long latent video, windows that overlap.

Every window starts from the same noise in another order (noise rescheduling), and at each step the windows' velocities
are averaged, weighted towards each window's middle (window-based fusion, here of predictions, since this transformer
has no temporal attention of its own). All latents are in memory, so memory grows with length, slowly; they are kept
after each step, and a killed job resumes there; `segment_inputs.py` makes the inputs of a window.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file

from posegen.errors import logger
from posegen.generate.job.job_folder import Job
from posegen.generate.segment_inputs import SegmentInputs
from posegen.generate.segments import SegmentPlan
from posegen.media.checksums import remove_checked, state_of, write_checksum
from posegen.media.files import remove_all_leftovers
from posegen.media.tensors import save_safetensors
from posegen.model.denoise import flow_sigmas, guided_velocity
from posegen.model.latents import iterate_decoded
from posegen.model.tensor_types import Latents
from posegen.progress import Progress
from posegen.types import Frame


def rescheduled_noise(window: Latents, num_latents: int, stride: int, seed: int) -> torch.Tensor:
    """Noise of `num_latents` latent frames: the window's, then again and again `stride` of its frames, shuffled.

    FreeNoise Eq. 5: every window of the result holds the same noise frames, in an order of its own.
    """
    length = window.shape[2]
    random = np.random.default_rng(seed)
    order = list(range(length))
    while len(order) < num_latents:
        oldest = order[len(order) - length : len(order) - length + stride]
        order += [int(index) for index in random.permutation(oldest)]
    return window[:, :, order[:num_latents]]


def window_weights(length: int) -> Float[torch.Tensor, " length"]:
    """Weight of each latent frame of a window: falling evenly from its middle to its ends (FreeNoise Eq. 9)."""
    distance = (torch.arange(length) - (length - 1) / 2).abs()
    return (length + 1) / 2 - distance


class FreeNoise:
    """Denoises all windows of a plan together; see the file's head."""

    def __init__(self, inputs: SegmentInputs, plan: SegmentPlan, job: Job, progress: Progress) -> None:
        """`plan` is one of windows."""
        self.inputs, self.plan, self.progress = inputs, plan, progress
        self.folder = job.folder / "free_noise"
        remove_all_leftovers(self.folder)

    def frames(self) -> Iterator[Frame]:
        """The frames of the video (H, W, 3), in order."""
        decoded = iterate_decoded(self.inputs.pipeline.vae, self.latents())
        yield from itertools.islice(decoded, self.plan.num_frames)

    def latents(self) -> Latents:
        """Return clean latents of the whole plan, resuming after the last step that an earlier run has kept."""
        inputs, pipeline = self.inputs, self.inputs.pipeline
        sampling, transformer = inputs.sampling, pipeline.transformer
        device, stride = transformer.device, pipeline.temporal_stride
        pipeline.use_adapter("base")
        scheduler = pipeline.scheduler
        scheduler.set_timesteps(sigmas=flow_sigmas(sampling.steps).tolist(), device=device)
        length = (self.plan.segment_length - 1) // stride + 1
        starts = [segment.start // stride for segment in self.plan.segments]
        total = starts[-1] + length
        step, latents = self._kept()
        scheduler.set_begin_index(step)
        if latents is None:
            shift = starts[1] if len(starts) > 1 else length
            window = inputs.noise(self.plan.segment_length)
            latents = rescheduled_noise(window, total, shift, sampling.seed)
        else:
            self.progress.say(f"resuming after step {step}")
        weights, shares = window_weights(length), torch.zeros(total)
        for start in starts:
            shares[start : start + length] += weights
        done, work = step * len(starts), sampling.steps * len(starts)
        while step < sampling.steps:
            timestep = scheduler.timesteps[step]
            velocity = torch.zeros_like(latents)
            for segment, start in zip(self.plan.segments, starts, strict=True):
                part = slice(start, start + length)
                conditioning = inputs.conditioning(segment).to(device, transformer.dtype)
                with torch.no_grad():
                    predicted = guided_velocity(
                        transformer, latents[:, :, part].to(device), timestep, conditioning, sampling
                    )
                velocity[:, :, part] += (weights / shares[part]).view(1, 1, -1, 1, 1) * predicted.cpu()
                done += 1
                self.progress.update("windows", done, work)
            latents = scheduler.step(velocity.to(device), timestep, latents.to(device), return_dict=False)[0].cpu()
            step += 1
            self._keep(step, latents)
        return latents

    def finish(self) -> None:
        """The video is written: the kept latents go."""
        for file in self.folder.glob("step-*.safetensors"):
            remove_checked(file)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _kept(self) -> tuple[int, Latents | None]:
        """The newest step that is undamaged; a damaged one is reported."""
        for file in sorted(self.folder.glob("step-*.safetensors"), reverse=True):
            if state_of(file) != "intact":
                logger.warning("%s is damaged or has no checksum: its steps are computed again", file)
                remove_checked(file)
                continue
            try:
                return int(file.stem.removeprefix("step-")), load_file(file)["latents"]
            except (OSError, SafetensorError, KeyError, ValueError):
                continue
        return 0, None

    def _keep(self, step: int, latents: Latents) -> None:
        file = self.folder / f"step-{step:04d}.safetensors"
        save_safetensors({"latents": latents}, file)
        write_checksum(file)
        for older in sorted(self.folder.glob("step-*.safetensors"))[:-1]:
            remove_checked(older)
