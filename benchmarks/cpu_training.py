"""One training step of the mini on this CPU: time and error of gradients with each kind of attention.

    python benchmarks/cpu_training.py [--threads N] [--batch N] [--rounds N]

Ways: fused attention, attention by products (`model/cpu_attention.py`). Each is a forward and backward pass of all
weights under bfloat16 autocast, on the demo's first segment with noise of several levels. Time is the process's CPU
seconds, the minimum of several passes taken in turns. The error is the norm of the gradient's difference from the one
in float32, relative to that one's norm.
"""

import argparse
import os

import torch

from cpu_forward import LEVELS, demo_inputs
from posegen.heap import keep_freed_memory
from posegen.model import cpu_attention, lora
from posegen.model.sources import load_pipeline
from posegen.train.objective import FlowBatch, flow_matching_loss
from results_file import write_result

WAYS = {"fused attention": False, "attention by products": True}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=4, help="multiples of four have every noise level alike")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    pipeline = load_pipeline("mini", torch.device("cpu"), torch.float32)
    pipeline.use_adapter("base")
    model = pipeline.transformer
    lora.merge_adapter(model, "base")
    model.train().requires_grad_(True)
    batch = batch_of(demo_inputs(pipeline), arguments.batch)
    exact = gradients(model, batch, bfloat16=False)
    errors: dict[str, float] = {}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(arguments.rounds):
        for way, products in WAYS.items():
            cpu_attention.suits_processor = lambda products=products: products  # type: ignore[assignment]
            began = os.times()
            found = gradients(model, batch, bfloat16=True)
            ended = os.times()
            seconds[way].append(ended.user + ended.system - began.user - began.system)
            if number == 0:
                errors[way] = float((found - exact).norm() / exact.norm())
    first = min(seconds["fused attention"])
    rows = {
        way: {
            "seconds_a_segment": round(min(times) / arguments.batch, 3),
            "of_first": round(min(times) / first, 3),
            "relative_error_of_the_gradient": round(errors[way], 4),
        }
        for way, times in seconds.items()
    }
    write_result("cpu_training", {"threads": arguments.threads, "batch": arguments.batch, "ways": rows})


def batch_of(inputs, count: int) -> FlowBatch:
    """The segment `count` times, with other noise and another noise level each."""
    truth, noise, given = inputs
    generator = torch.Generator().manual_seed(1)

    def repeated(value):
        return None if value is None else value.expand(count, *value.shape[1:]).contiguous()

    return FlowBatch(
        latents=repeated(truth),
        condition_latents=repeated(given["condition_latents"]),
        hand_latents=repeated(given["hand_latents"]),
        reference_latents=repeated(given["reference_latents"]),
        text=repeated(given["encoder_hidden_states"]),
        image=repeated(given["encoder_hidden_states_image"]),
        noise=torch.randn((count, *noise.shape[1:]), generator=generator),
        sigmas=torch.tensor([LEVELS[index % len(LEVELS)] / 1000 for index in range(count)]),
    )


def gradients(model, batch: FlowBatch, bfloat16: bool) -> torch.Tensor:
    """The gradient of the mean loss with respect to all weights, as one vector in float32."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        loss = flow_matching_loss(model, batch).mean()
    found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return torch.cat([one.float().flatten() for one in found if one is not None])


if __name__ == "__main__":
    main()
