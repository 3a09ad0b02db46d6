"""Measure the cost of background sharing: time of a base segment, bytes of the store, error of fewer bits.

    python benchmarks/sharing_cost.py [--layers 40 --heads 4 --rows 28 --columns 16 --frames 9 --steps 25]

A transformer with random weights, Wan's 40 layers and guidance, sampled as a job samples it at the paper's setting: one
segment without sharing, with the memory store, and recomputed beside its anchor, one step of each in turn. What counts
is CPU time (on a GPU, the wall), so that other work on the machine disturbs little. How much the store keeps depends on
how much of the picture is the subject: bytes and errors are measured in the first step for several shares, of a subject
that is laid over the middle of the picture. Errors are measured in the trained mini too: the latents of the demo's
second base segment after five steps. An error is the norm of the change by a dtype, over the norm of the change by
sharing.
"""

import argparse
import contextlib
import tempfile
import time
from importlib import resources
from pathlib import Path
from unittest import mock

import torch

from posegen.config import GenerateConfig
from posegen.generate.background.shared_background import SharedBackground, make_store
from posegen.generate.long_video import generate_video
from posegen.generate.segment_maker import SegmentMaker
from posegen.model.background_store import MemoryStore, pack
from posegen.model.denoise import Conditioning, PoseLatents, Sampling, guided_velocity, predict_velocity
from posegen.model.sharing import BackgroundSharing, SharingPass, make_sharing_config
from posegen.model.transformer import PoseGenTransformer3DModel
from results_file import write_result

SUBJECT = [3, 4]
PRECISIONS = ("bf16", "int10", "fp8")
SHARES = (0.2, 0.35, 0.54)


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
        PoseLatents(normal(20, frames, rows, columns), normal(16, frames, rows, columns)), normal(16, 1, rows, columns),
        normal(64, 64), normal(64, 64), normal(16, 64),
    )  # fmt: skip
    return normal(16, frames, rows, columns), conditioning


class Ways:
    """One step of a base segment, in each of the ways; the anchor is recorded before."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.model, self.arguments = make_model(arguments), arguments
        self.device, self.dtype = self.model.device, self.model.dtype
        self.sampling = Sampling(arguments.steps, guidance=5.0)
        self.config = make_sharing_config("paper", arguments.steps, arguments.layers)
        self.timesteps = torch.linspace(1000, 40, arguments.steps, device=self.device)
        self.anchor, conditioning = make_conditioning(arguments, 1)
        self.anchor_conditioning = conditioning.to(self.device, self.dtype)
        self.latents, conditioning = make_conditioning(arguments, 2)
        self.conditioning = conditioning.to(self.device, self.dtype)
        self.anchor, self.latents = self.anchor.to(self.device), self.latents.to(self.device)
        self.backgrounds = {
            "memory": self.background("device", "same"),
            "memory_int10": self.background("device", "int10"),
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
            self.model, latents, self.timesteps[step], conditioning, self.sampling, lambda branch: share(step, branch)
        )

    def run(self, name: str, step: int) -> torch.Tensor:
        share = (lambda step, branch: None) if name == "none" else self.backgrounds[name].share
        return self.step(step, share, self.latents, self.conditioning)

    def shared_output(self, sharing: BackgroundSharing) -> torch.Tensor:
        return self.step(0, sharing.share, self.latents, self.conditioning)

    def at_share(self, share: float) -> dict[str, object]:
        """Bytes and errors in the first step, when so much of the picture is the subject."""
        with mock.patch.object(SharingPass, "current_mask", lambda sharing: standing_subject(sharing, share)):
            exact = BackgroundSharing(self.config, SUBJECT)
            self.step(0, exact.record, self.anchor, self.anchor_conditioning)
            expected, alone = self.shared_output(exact), self.run("none", 0)
            effect, figures = (expected - alone).norm(), {}
            for precision in PRECISIONS:
                kept = BackgroundSharing(self.config, SUBJECT, MemoryStore(), precision)
                kept.anchor_masks |= exact.anchor_masks
                for place in exact.store.places():
                    tensors = exact.store.get(place)
                    packed = pack("key", tensors["key"], precision) | pack("value", tensors["value"], precision)
                    kept.store.put(place, packed)
                figures[precision] = {
                    "share_of_all_keys_and_values_in_bf16": round(kept.store.nbytes() / bf16_bytes(exact), 3),
                    "error_over_effect": round(((self.shared_output(kept) - expected).norm() / effect).item(), 5),
                }
        masks = torch.stack(list(exact.anchor_masks.values()))
        return {"subject_share": round(masks.float().mean().item(), 3), **figures}


def standing_subject(sharing: SharingPass, share: float) -> torch.Tensor:
    """(1, f, h, w), True in the middle of every frame: the tokens nearest to an upright line, as many as wanted."""
    frames, rows, columns = sharing.grid
    down, right = torch.meshgrid(torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing="ij")
    distance = (right.abs() + 0.3 * down.abs() + 1e-3 * right).flatten()
    subject = torch.zeros(rows * columns, dtype=torch.bool)
    subject[distance.argsort()[: round(share * rows * columns)]] = True
    return subject.view(1, 1, rows, columns).repeat(1, frames, 1, 1)


def bf16_bytes(sharing: BackgroundSharing) -> int:
    """Bytes of all keys and values that were recorded, had they been kept whole in bfloat16."""
    return sum(2 * 2 * sharing.store.get(place)["key"].numel() for place in sharing.store.places())


def mini_errors() -> dict[str, object]:
    """Errors in the trained mini: two base segments of the demo, the first of them the anchor."""
    latents: dict[str, torch.Tensor] = {}
    denoise = SegmentMaker._denoise

    def watched(maker, segment, *arguments, **options):
        result = denoise(maker, segment, *arguments, **options)
        latents[segment.name] = result
        if len(latents) == 2:
            raise KeyboardInterrupt
        return result

    def run(**settings) -> torch.Tensor:
        latents.clear()
        with resources.as_file(resources.files("posegen") / "demo") as demo, tempfile.TemporaryDirectory() as folder:
            config = GenerateConfig(
                reference=demo / "reference.png", driving=demo / "driving.mp4", conditions=demo / "conditions",
                prompt=(demo / "prompt.txt").read_text().strip(), output=Path(folder) / "result.mp4", steps=5,
                person_check=False, retarget="off", dtype="float32", **{"anchor": 0, **settings},
            )  # fmt: skip
            with contextlib.suppress(KeyboardInterrupt):
                generate_video(config)
        return list(latents.values())[1]

    with mock.patch.object(SegmentMaker, "_denoise", watched):
        exact = run(sharing_precision="same")
        effect = (exact - run(sharing="off", anchor=None)).norm()
        return {name: round(((run(sharing_precision=name) - exact).norm() / effect).item(), 5) for name in PRECISIONS}


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
            for step in ways.config.steps if round_number else (0,):
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
        at_shares = [ways.at_share(share) for share in SHARES]
    rest = (arguments.steps - len(ways.config.steps)) * sum(plain) / len(plain)
    seconds = {name: rest + sum(values) for name, values in shared.items()}
    effect = (outputs["memory"] - outputs["none"]).norm().item()
    memory = ways.backgrounds["memory"].sharing
    size = {name: ways.backgrounds[name].sharing.store.nbytes() for name in ("memory", "memory_int10", "memory_fp8")}
    passes = [(step, branch) for step in ways.config.steps for branch in ("positive", "negative")]
    place = memory.places(passes)[0]
    key = memory.store.get(place)["key"]
    whole = 2 * key.nbytes * len(memory.places(passes))
    masks = torch.stack(list(memory.anchor_masks.values()))
    write_result(arguments.name, {
        "device": torch.cuda.get_device_name() if cuda else "CPU",
        "settings": {**vars(arguments), "tokens": key.shape[1], "dim": arguments.heads * arguments.width,
                     "threads": torch.get_num_threads()},
        "seconds_of_a_segment": {name: round(value, 2) for name, value in seconds.items()},
        "more_time": {name: round(value / seconds["none"] - 1, 4) for name, value in seconds.items() if name != "none"},
        "targets": {"memory": 0.15, "recompute": 0.25},
        "store_bytes": size,
        "bytes_of_all_keys_and_values": whole,
        "share_of_them": {name: round(value / whole, 3) for name, value in size.items()},
        "subject_share_found": round(masks.float().mean().item(), 3),
        "in_the_first_step_at_subject_shares": at_shares,
        "recompute_differs_by": (outputs["recompute"] - outputs["memory"]).abs().max().item(),
        "error_over_effect": {
            name: round((outputs[name] - outputs["memory"]).norm().item() / effect, 5)
            for name in ("memory_int10", "memory_fp8")
        },
        "error_over_effect_in_the_mini": mini_errors(),
    })  # fmt: skip


if __name__ == "__main__":
    main()
