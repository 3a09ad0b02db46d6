"""What background sharing costs: time of a base segment, bytes of the store, error of fewer bits.

    python benchmarks/sharing_cost.py [--layers 40 --heads 4 --rows 28 --columns 16 --frames 9 --steps 25]

A transformer with random weights, Wan's 40 layers and guidance, sampled as a job samples it at the paper's setting:
one segment without sharing, with the memory store, and recomputed beside its anchor, one step of each in turn. What
counts is CPU time (on a GPU, the wall), so that other work on the machine disturbs little. How much the store
keeps depends on how much of the picture is the subject: the share found is reported, and what other shares would give.
"""

import argparse
import time

import torch

from posegen.model.sharing import BackgroundSharing, make_sharing_config
from posegen.model.transformer import PoseGenTransformer3DModel
from posegen.pipeline.background import SharedBackground, make_store
from posegen.pipeline.denoise import Conditioning, guided_velocity, predict_velocity
from results_file import write_result

GUIDANCE = 5.0
SUBJECT = [3, 4]


def make_model(arguments: argparse.Namespace) -> PoseGenTransformer3DModel:
    dim = arguments.heads * arguments.width
    torch.manual_seed(0)
    model = PoseGenTransformer3DModel(
        num_attention_heads=arguments.heads, attention_head_dim=arguments.width, in_channels=36, out_channels=16,
        text_dim=64, ffn_dim=int(dim * 2.7), num_layers=arguments.layers, image_dim=64, added_kv_proj_dim=dim,
    )  # fmt: skip
    return model.to(arguments.device, getattr(torch, arguments.dtype)).eval()


def make_conditioning(arguments: argparse.Namespace, seed: int) -> tuple[torch.Tensor, Conditioning]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(1, *shape, generator=generator)

    frames, rows, columns = arguments.frames, arguments.rows, arguments.columns
    conditioning = Conditioning(
        normal(20, frames, rows, columns), normal(16, frames, rows, columns), normal(16, 1, rows, columns),
        normal(64, 64), normal(64, 64), normal(16, 64),
    )  # fmt: skip
    return normal(16, frames, rows, columns), conditioning


class Ways:
    """One step of a base segment, in each of the ways; the anchor is recorded before."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.model, self.arguments = make_model(arguments), arguments
        self.device, self.dtype = self.model.device, self.model.dtype
        self.config = make_sharing_config("paper", arguments.steps, arguments.layers)
        self.timesteps = torch.linspace(1000, 40, arguments.steps, device=self.device)
        self.anchor, conditioning = make_conditioning(arguments, 1)
        self.anchor_conditioning = conditioning.to(self.device, self.dtype)
        self.latents, conditioning = make_conditioning(arguments, 2)
        self.conditioning = conditioning.to(self.device, self.dtype)
        self.anchor, self.latents = self.anchor.to(self.device), self.latents.to(self.device)
        self.backgrounds = {
            "memory": self.background("device", "same"),
            "memory_fp8": self.background("device", "fp8"),
            "recompute": self.background("recompute", "same"),
        }
        for background in self.backgrounds.values():
            for step in self.config.steps:
                background.on_latents(step, self.anchor)
                if background.kind != "recompute":
                    self.step(step, background.record, self.anchor, self.anchor_conditioning)
            background.ready = True

    def background(self, kind, precision) -> SharedBackground:
        store = make_store(kind, None, self.device)
        sharing = BackgroundSharing(self.config, SUBJECT, store, precision)
        return SharedBackground(sharing, kind, None, self.replay)

    def replay(self, step, branch, latents, recording) -> None:
        predict_velocity(
            self.model, latents.to(self.device), self.timesteps[step], self.anchor_conditioning, branch, recording
        )

    def step(self, step, share, latents, conditioning) -> torch.Tensor:
        return guided_velocity(
            self.model, latents, self.timesteps[step], conditioning, GUIDANCE, lambda branch: share(step, branch)
        )

    def run(self, name: str, step: int) -> torch.Tensor:
        share = (lambda step, branch: None) if name == "none" else self.backgrounds[name].share
        return self.step(step, share, self.latents, self.conditioning)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("layers", 40), ("heads", 4), ("width", 64), ("frames", 9), ("rows", 28), ("columns", 16),
                        ("steps", 25), ("plain_steps", 6)):  # fmt: skip
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="bfloat16" if torch.cuda.is_available() else "float32")
    parser.add_argument("--name", default="sharing_cost")
    arguments = parser.parse_args()
    cuda = arguments.device.startswith("cuda")
    clock = time.perf_counter if cuda else time.process_time
    with torch.inference_mode():
        ways = Ways(arguments)
        names = ["none", *ways.backgrounds]
        shared: dict[str, list[float]] = {name: [] for name in names}
        outputs: dict[str, torch.Tensor] = {}
        for round_number in range(2):  # the first warms up
            for step in ways.config.steps:
                for name in names:
                    begin = clock()
                    outputs[name] = ways.run(name, step)
                    if cuda:
                        torch.cuda.synchronize()
                    if round_number:
                        shared[name].append(clock() - begin)
        plain = []  # steps that share nothing are alike: a few of them stand for the rest
        for _ in range(arguments.plain_steps):
            begin = clock()
            ways.run("none", 0)
            if cuda:
                torch.cuda.synchronize()
            plain.append(clock() - begin)
    rest = (arguments.steps - len(ways.config.steps)) * sum(plain) / len(plain)
    seconds = {name: rest + sum(values) for name, values in shared.items()}
    effect = (outputs["memory"] - outputs["none"]).norm().item()
    lost = (outputs["memory_fp8"] - outputs["memory"]).norm().item()
    memory = ways.backgrounds["memory"].sharing
    size = {name: ways.backgrounds[name].sharing.store.nbytes() for name in ("memory", "memory_fp8")}
    place = memory.places(("positive",))[0]
    key = memory.store.get(place)["key"]
    whole = 2 * key.nbytes * len(memory.places(("positive", "negative")))
    masks = torch.stack(list(memory.anchor_masks.values()))
    write_result(arguments.name, {
        "device": torch.cuda.get_device_name() if cuda else "CPU",
        "settings": {**vars(arguments), "tokens": key.shape[1], "dim": arguments.heads * arguments.width},
        "seconds_of_a_segment": {name: round(value, 2) for name, value in seconds.items()},
        "more_time": {name: round(value / seconds["none"] - 1, 4) for name, value in seconds.items() if name != "none"},
        "targets": {"memory": 0.15, "recompute": 0.25},
        "store_bytes": size,
        "bytes_of_all_keys_and_values": whole,
        "share_of_them": {name: round(value / whole, 3) for name, value in size.items()},
        "subject_share_found": round(masks.float().mean().item(), 3),
        "share_of_bytes_at_other_subject_shares": {
            f"subject {share:.0%}": {"as computed": round((2 - share) / 2, 3),
                                     "fp8 of bf16": round((2 - share) / 4 * (1 + 2 / arguments.width), 3)}
            for share in (0.1, 0.2, 0.3, 0.45, 0.6, 0.7)
        },
        "recompute_differs_by": (outputs["recompute"] - outputs["memory"]).abs().max().item(),
        "fp8_error_over_effect_of_sharing": round(lost / effect, 4),
    })  # fmt: skip


if __name__ == "__main__":
    main()
