"""One forward pass of the mini in bfloat16 on this CPU: time and error of each way to compute it.

    python benchmarks/cpu_forward.py [--threads N]

Ways: adapters beside the layers or merged, torch's attention or attention by products, a block's elementwise arithmetic
plain or fused (`model/block_arithmetic.py`). Times are CPU seconds of the process and seconds on the wall, the minimum
of several passes, taken in turns; on a machine with other work compare CPU seconds alone. The error is relative to the
merged model in float32, on the demo's own first segment at four noise levels. Also: decoding and encoding a segment
with contiguous and channels-last weights.
"""

import argparse
import copy
import time
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import torch

from posegen.media.image import read_image
from posegen.media.video import iterate_frames
from posegen.model import block_arithmetic, cpu_attention, lora
from posegen.model.latents import encode_frames
from posegen.model.sources import load_pipeline
from posegen.model.transformer import PoseGenTransformer3DModel
from results_file import write_result

SIZE = (144, 256)  # width, height
LEVELS = (999.0, 800.0, 500.0, 200.0)
ROUNDS = 8
IS_FUSED = block_arithmetic.is_fused


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    exact = load_pipeline("mini", torch.device("cpu"), torch.float32)
    beside = load_pipeline("mini", torch.device("cpu"), torch.bfloat16)
    for model in (exact, beside):
        model.use_adapter("base")
    lora.merge_adapter(exact.transformer, "base")
    merged = copy.deepcopy(exact.transformer).to(torch.bfloat16)
    ways = {
        "adapters beside, torch's attention, plain": Way(beside.transformer, products=False, fused=False),
        "adapters merged, torch's attention, plain": Way(merged, products=False, fused=False),
        "adapters merged, attention by products, plain": Way(merged, products=True, fused=False),
        "adapters beside, attention by products, fused": Way(beside.transformer, products=True, fused=True),
        "adapters merged, torch's attention, fused": Way(merged, products=False, fused=True),
        "adapters merged, attention by products, fused": Way(merged, products=True, fused=True),
    }
    inputs = demo_inputs(exact)
    seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    errors: dict[str, list[float]] = {way: [] for way in ways}
    with torch.inference_mode():
        for level in LEVELS:
            reference = predict(exact.transformer, inputs, level)
            for name, way in ways.items():
                way.choose()
                found = predict(way.model, inputs, level)
                errors[name].append(float((found.float() - reference).norm() / reference.norm()))
        for _ in range(ROUNDS):
            for name, way in ways.items():
                way.choose()
                seconds[name].append(timed(lambda model=way.model: predict(model, inputs, 500.0)))
        autoencoder = measure_autoencoder(beside.vae)
    rows: dict[str, dict[str, object]] = {}
    first: tuple[float, float] | None = None
    for name, times in seconds.items():
        cpu, wall = (min(values) for values in zip(*times, strict=True))
        first = first or (cpu, wall)
        rows[name] = {
            "cpu_seconds": round(cpu, 4),
            "cpu_of_first": round(cpu / first[0], 3),
            "seconds": round(wall, 4),
            "of_first": round(wall / first[1], 3),
            "relative_error": [round(error, 4) for error in errors[name]],
        }
    capabilities = torch.cpu.get_capabilities()
    processor = {name: capabilities[name] for name in ("cpu_name", "avx512_bf16", "amx_bf16")}
    write_result("cpu_forward", {"processor": processor, "threads": torch.get_num_threads(), "noise_levels": LEVELS,
                         "forward": rows, "autoencoder": autoencoder})  # fmt: skip


@dataclass(frozen=True)
class Way:
    """A way to compute a forward pass."""

    model: PoseGenTransformer3DModel
    products: bool
    fused: bool

    def choose(self) -> None:
        """Make the next forward passes compute so, whatever the processor."""
        cpu_attention.suits_processor = lambda: self.products  # type: ignore[assignment]
        block_arithmetic.is_fused = IS_FUSED if self.fused else lambda tensor: False  # type: ignore[assignment]


def demo_inputs(pipeline):
    """The demo's first segment, as latents in float32: (truth, noise, everything that conditions)."""
    folder = Path(str(resources.files("posegen") / "demo"))

    def frames(path):
        return np.stack([
            cv2.resize(frame, SIZE, interpolation=cv2.INTER_AREA)
            for _, frame in zip(range(33), iterate_frames(path), strict=False)
        ])  # fmt: skip

    reference = cv2.resize(read_image(folder / "reference.png"), SIZE, interpolation=cv2.INTER_AREA)
    skeleton, hands = (frames(folder / "conditions" / f"{name}.mkv") for name in ("skeleton", "hands"))
    condition_latents, hand_latents = pipeline.encode_conditions(skeleton, hands, None, None)
    truth = encode_frames(pipeline.vae, frames(folder / "driving.mp4"))
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    given = {
        "condition_latents": condition_latents,
        "hand_latents": hand_latents,
        "reference_latents": encode_frames(pipeline.vae, reference[None]),
        "encoder_hidden_states": pipeline.encode_text((folder / "prompt.txt").read_text().strip()),
        "encoder_hidden_states_image": pipeline.encode_image(reference),
    }
    return truth, noise, given


def predict(transformer, inputs, level: float) -> torch.Tensor:
    truth, noise, given = inputs
    dtype, share = transformer.dtype, level / 1000
    latents = ((1 - share) * truth + share * noise).to(dtype)
    given = {name: tensor.to(dtype) for name, tensor in given.items()}
    return transformer(hidden_states=latents, timestep=torch.tensor([level]), return_dict=False, **given)[0]


def timed(run) -> tuple[float, float]:
    """Seconds of the processor, and on the wall."""
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return time.process_time() - cpu, time.perf_counter() - wall


def measure_autoencoder(autoencoder) -> dict[str, float]:
    """CPU seconds of one segment of 33 frames of 256 x 144, the minimum of several, taken in turns."""
    latents = torch.randn(1, autoencoder.config.z_dim, 9, 32, 18, dtype=torch.bfloat16)
    pixels = torch.rand(1, 3, 33, 256, 144, dtype=torch.bfloat16) * 2 - 1
    last = copy.deepcopy(autoencoder).to(memory_format=torch.channels_last)
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, model in (("contiguous", autoencoder), ("channels-last", last)):
            found.setdefault(f"decode, {name}", []).append(timed(lambda model=model: model.decode(latents))[0])
            found.setdefault(f"encode, {name}", []).append(timed(lambda model=model: model.encode(pixels))[0])
    return {name: round(min(times), 4) for name, times in found.items()}


if __name__ == "__main__":
    main()
