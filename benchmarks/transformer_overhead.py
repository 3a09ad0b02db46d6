"""Cost of the reference tokens: our transformer against diffusers' stock one at the same total number of tokens.

    python benchmarks/transformer_overhead.py [--output benchmarks/results/transformer_overhead.json]

Both run in one process, one forward of each in turn, so that a busy machine disturbs both alike; what counts is the
median of the pairs' ratios. The stock model gets one latent frame more instead of the reference image's tokens.
Only inference is timed; training, adapters and background sharing are not.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import diffusers
import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

from posegen.model.transformer import PoseGenTransformer3DModel

TEXT_TOKENS, IMAGE_TOKENS = 512, 257  # the stock model takes everything but 512 tokens for image tokens


def make_models(heads: int, width: int, layers: int, device: str, dtype: torch.dtype):
    """Both models with equal weights where they have the same."""
    dim = heads * width
    config = {
        "num_attention_heads": heads,
        "attention_head_dim": width,
        "in_channels": 36,
        "out_channels": 16,
        "text_dim": 64,
        "ffn_dim": int(dim * 2.7),  # Wan's proportion
        "num_layers": layers,
        "image_dim": 64,
        "added_kv_proj_dim": dim,
    }
    torch.manual_seed(0)
    ours = PoseGenTransformer3DModel(**config).to(device, dtype).eval()
    stock = WanTransformer3DModel(**config)
    weights = ours.state_dict()
    stock.load_state_dict({name: weights[name] for name in stock.state_dict()})
    return ours, stock.to(device, dtype).eval()  # both wholly in one precision


def make_forwards(ours, stock, frames: int, rows: int, columns: int):
    """Calls without arguments of both models on the same number of tokens."""
    device, dtype = ours.patch_embedding.weight.device, ours.patch_embedding.weight.dtype

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(1, *shape, device=device, dtype=dtype)

    text, image, timestep = normal(TEXT_TOKENS, 64), normal(IMAGE_TOKENS, 64), torch.tensor([500.0], device=device)
    latents, condition = normal(16, frames, rows, columns), normal(20, frames, rows, columns)
    hands, reference = normal(16, frames, rows, columns), normal(16, 1, rows, columns)
    longer = normal(36, frames + 1, rows, columns)
    return {
        "ours": lambda: ours(latents, condition, hands, reference, timestep, text, image, return_dict=False),
        "stock": lambda: stock(longer, timestep, text, image, return_dict=False),
    }


def measure(forwards, rounds: int, device: str):
    """Seconds of every round, the two in alternating order: by the wall on a GPU, of CPU time on a CPU."""
    seconds: dict[str, list[float]] = {name: [] for name in forwards}
    clock = time.perf_counter if device == "cuda" else time.process_time  # other programs share a CPU, not its time
    with torch.inference_mode():
        for index in range(rounds + 2):
            order = list(forwards) if index % 2 else list(reversed(forwards))
            for name in order:
                begin = clock()
                forwards[name]()
                if device == "cuda":
                    torch.cuda.synchronize()
                if index >= 2:  # two rounds to warm up
                    seconds[name].append(clock() - begin)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--size", type=int, nargs=3, default=(5, 24, 16), help="latent frames, rows, columns")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()

    models = make_models(
        arguments.heads, arguments.width, arguments.layers, arguments.device, getattr(torch, arguments.dtype)
    )
    seconds = measure(make_forwards(*models, *arguments.size), arguments.rounds, arguments.device)
    ratios = [ours / stock for ours, stock in zip(seconds["ours"], seconds["stock"], strict=True)]
    frames, rows, columns = arguments.size
    result = {
        "command": " ".join(["python", *sys.argv]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu",
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
        },
        "tokens": {"video": frames * rows * columns // 4, "reference": rows * columns // 4},
        "dtype": arguments.dtype,
        "model": {"dim": arguments.heads * arguments.width, "layers": arguments.layers},
        "rounds": arguments.rounds,
        "median_seconds": {name: round(statistics.median(values), 5) for name, values in seconds.items()},
        "ratio_median": round(statistics.median(ratios), 4),
        "ratio_quartiles": [round(value, 4) for value in statistics.quantiles(ratios, n=4)],
        "limit": 1.05,
    }
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.output is not None:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
