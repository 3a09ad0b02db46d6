"""Blocks of Wan2.1-14B's size on a GPU: time, memory and correctness of everything that the transformer offers.

    python benchmarks/wan_14b.py [--seconds 90] [--output benchmarks/results] [--only NAME ...] [--tiny]

Random weights in the 14B's dimensions, a few of its 40 blocks, the published working sizes. Times of a denoising step
and of a segment are extrapolated from the blocks measured, except under "whole_model". Every measurement stands for
itself: an error is a result, the file is written after each one, and what does not fit into `--seconds` is skipped and
named. `--tiny` runs the very same code at toy sizes on a CPU. Loading, text encoders and the autoencoder are not timed.
"""

import argparse
import copy
import dataclasses
import functools
import gc
import importlib.util
import itertools
import logging
import math
import statistics
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import psutil
import torch
from accelerate import cpu_offload, init_empty_weights
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.models.attention_dispatch import dispatch_attention_fn

from posegen.model.background_store import DiskStore, MemoryStore
from posegen.model.lora import add_adapter, merge_adapter
from posegen.model.sharing import BackgroundSharing, SharingConfig, SharingPass, make_sharing_config
from posegen.model.subject import otsu_threshold, unit_otsu_threshold
from posegen.model.transformer import PoseGenTransformer3DModel
from results_file import RESULTS, installed_versions, write_result

STARTED = time.perf_counter() - (time.time() - psutil.Process().create_time())
"""When this process began: importing takes its part of `--seconds`."""
WAN_LAYERS, STEPS, BRANCHES = 40, 25, 2
SHARED_STEPS, SHARED_LAYERS = 5, 10  # the `paper` setting of 25 steps and 40 layers
SUBJECT = [3, 4]
BACKENDS = ("native", "_native_cudnn", "_native_flash", "_native_efficient", "flash", "_flash_3", "sage")

WAN = {
    "num_attention_heads": 40, "attention_head_dim": 128, "in_channels": 36, "out_channels": 16, "text_dim": 4096,
    "ffn_dim": 13824, "image_dim": 1280, "added_kv_proj_dim": 5120,
}  # fmt: skip
TINY = {
    "num_attention_heads": 2, "attention_head_dim": 24, "in_channels": 12, "out_channels": 4, "text_dim": 20,
    "freq_dim": 32, "ffn_dim": 64, "image_dim": 40, "added_kv_proj_dim": 48,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Size:
    """Latents of a segment; text and image tokens."""

    name: str
    frames: int
    rows: int
    columns: int
    text: int = 512
    image: int = 257

    @property
    def reference(self) -> int:
        return self.rows * self.columns // 4

    @property
    def video(self) -> int:
        return self.frames * self.reference


P480 = Size("832x480, 81 frames", 21, 60, 104)
P720 = Size("1280x720, 81 frames", 21, 90, 160)
TOY = Size("tiny", 3, 8, 6, text=12, image=5)


class Report:
    """Figures by measurement, kept inside the time allowed and written after each one."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments, self.figures, self.seconds, self.skipped = arguments, {}, {}, []
        self.cuda = torch.cuda.is_available() and not arguments.tiny

    def left(self) -> float:
        return self.arguments.seconds - (time.perf_counter() - STARTED)

    def measure(self, name: str, expected: float, function: Callable[[dict], None]) -> None:
        """Let `function` fill in its figures, if its `expected` seconds are left."""
        if self.arguments.only and name not in self.arguments.only:
            return
        if (0 if self.arguments.tiny else expected) > self.left():
            self.skipped.append(name)
            self.write()
            return
        figures = self.figures[name] = {}
        begin = time.perf_counter()
        attempt(figures, function, figures)
        self.seconds[name] = round(time.perf_counter() - begin, 2)
        release_memory()
        self.write()
        print(f"[{time.perf_counter() - STARTED:6.1f} s] {name}: {self.seconds[name]} s {figures.get('error', '')}")

    def write(self) -> Path:
        return write_result(
            "wan_14b",
            {**self.figures, "seconds_of_measurements": self.seconds, "skipped_for_lack_of_time": self.skipped,
             "seconds_in_all": round(time.perf_counter() - STARTED, 1)},
            self.arguments.output, show=False,
        )  # fmt: skip


def attempt(figures: dict, function: Callable, *arguments):
    """What `function` returns; an error becomes a figure."""
    try:
        return function(*arguments)
    except Exception as error:
        where = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
        figures["error"] = f"{type(error).__name__}: {str(error)[:600]} ({' < '.join(reversed(where[-6:]))})"
        return None


def release_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def milliseconds(function: Callable[[], object], repeats: int = 3, warm_up: int = 1) -> float:
    """Median time: by CUDA events on a GPU, by the wall elsewhere."""
    for _ in range(warm_up):
        function()
    times = []
    for _ in range(repeats):
        if torch.cuda.is_available():
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            function()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end))
        else:
            clock = time.perf_counter()
            function()
            times.append((time.perf_counter() - clock) * 1e3)
    return statistics.median(times)


def gigabytes(size: float) -> float:
    return round(size / 1e9, 3)


@contextmanager
def peak_memory(figures: dict, name: str) -> Iterator[None]:
    """Bytes allocated at most inside, in all and beyond what was there before."""
    before = 0
    if torch.cuda.is_available():
        synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    yield
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated()
        figures[name] = {"peak_gb": gigabytes(peak), "beyond_weights_gb": gigabytes(peak - before)}


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    actual, expected = actual.detach().double().cpu(), expected.detach().double().cpu()
    error = ((actual - expected).norm() / expected.norm()).item()
    return float(f"{error:.3g}")


class Blocks:
    """A few blocks of Wan's size with random weights, and inputs of one size."""

    def __init__(self, config: dict, layers: int, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> None:
        self.device, self.dtype, self.layers = device, dtype, layers
        config = {**config, "num_layers": layers}
        with init_empty_weights():
            shapes = {name: tensor.shape for name, tensor in PoseGenTransformer3DModel(**config).state_dict().items()}
        generator = torch.Generator(device).manual_seed(0)

        def random(name: str, shape: torch.Size) -> torch.Tensor:
            if len(shape) == 1 and name.endswith("weight"):
                return torch.ones(shape, device=device, dtype=dtype)
            scale = 0.02 if len(shape) == 1 else shape[1:].numel() ** -0.5
            return torch.empty(shape, device=device, dtype=dtype).normal_(0, scale, generator=generator)

        weights = {name: random(name, shape) for name, shape in shapes.items()}
        self.model = PoseGenTransformer3DModel.from_weights(weights, config, "random weights", dtype)
        self.model.to(device).requires_grad_(False)

    def inputs(self, size: Size, seed: int = 0) -> dict:
        config, generator = self.model.config, torch.Generator(self.device).manual_seed(seed)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(1, *shape, device=self.device, generator=generator).to(self.dtype)

        channels, latents = config.out_channels, (size.frames, size.rows, size.columns)
        return {
            "hidden_states": normal(channels, *latents),
            "condition_latents": normal(channels + 4, *latents),
            "hand_latents": normal(channels, *latents),
            "reference_latents": normal(channels, 1, *latents[1:]),
            "timestep": torch.full((1,), 700.0, device=self.device),
            "encoder_hidden_states": normal(size.text, config.text_dim),
            "encoder_hidden_states_image": normal(size.image, config.image_dim),
        }

    @torch.no_grad()
    def forward(self, inputs: dict, background: SharingPass | None = None) -> torch.Tensor:
        return self.model(**inputs, background=background, return_dict=False)[0]

    def all_blocks(self, inputs: dict) -> Callable[[], torch.Tensor]:
        """A call of the blocks alone, with what the model gives them."""
        taken: list[tuple] = []
        hook = self.model.blocks[0].register_forward_pre_hook(lambda module, given: taken.append(given))
        try:
            self.forward(inputs)
        finally:
            hook.remove()

        @torch.no_grad()
        def run() -> torch.Tensor:
            joint, *rest = taken[0]
            for block in self.model.blocks:
                joint = block(joint, *rest)
            return joint

        return run

    def per_block(self, inputs: dict, **timing: int) -> float:
        return milliseconds(self.all_blocks(inputs), **timing) / self.layers


def block_operations(config: dict, size: Size) -> dict[str, float]:
    """Floating-point operations of one block's forward, by part; a multiplication and an addition are two."""
    dim = config["num_attention_heads"] * config["attention_head_dim"]
    joint, context = size.video + size.reference, size.text + size.image
    return {
        "self-attention, projections": 8.0 * joint * dim * dim,
        "self-attention, scores and values": 4.0 * joint * joint * dim,
        "cross-attention": 4.0 * (size.video + context) * dim * dim + 4.0 * size.video * context * dim,
        "feed-forward": 4.0 * joint * dim * config["ffn_dim"],
    }


class Benchmark:
    """All measurements; each takes the dictionary that it fills in."""

    def __init__(self, report: Report) -> None:
        self.report, self.tiny = report, report.arguments.tiny
        self.device = torch.device("cuda" if report.cuda else "cpu")
        self.config = TINY if self.tiny else WAN
        self.layers = 2 if self.tiny else report.arguments.blocks
        self.sizes = (TOY, TOY) if self.tiny else (P480, P720)
        self.peak_flops: float | None = None
        self.block_ms: dict[str, float] = {}
        self._blocks: Blocks | None = None

    @property
    def blocks(self) -> Blocks:
        """The blocks, made when first needed."""
        if self._blocks is None:
            self._blocks = Blocks(self.config, self.layers, self.device)
        return self._blocks

    def forget_blocks(self) -> None:
        self._blocks = None
        release_memory()

    @contextmanager
    def backend(self, name: str) -> Iterator[None]:
        self.blocks.model.set_attention_backend(name)
        try:
            yield
        finally:
            self.blocks.model.set_attention_backend("native")

    # 1

    def machine(self, figures: dict) -> None:
        figures["torch"], figures["cuda"] = torch.__version__, torch.version.cuda
        figures |= installed_versions("triton", "diffusers", "transformers", "accelerate", "peft", "flash-attn")
        if self.report.cuda:
            properties = torch.cuda.get_device_properties(0)
            figures |= {
                "card": properties.name,
                "memory_gb": gigabytes(properties.total_memory),
                "multiprocessors": properties.multi_processor_count,
                "cudnn": torch.backends.cudnn.version(),
            }
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                attempt(figures, lambda: figures.update(driver=driver_version()))
        side = 256 if self.tiny else 8192
        a, b = (torch.randn(side, side, device=self.device, dtype=torch.bfloat16) for _ in range(2))
        self.peak_flops = 2 * side**3 / (milliseconds(lambda: a @ b, repeats=10, warm_up=3) * 1e-3)
        figures["bf16_matmul_tflops"] = round(self.peak_flops / 1e12, 1)
        number = 1 << (16 if self.tiny else 30)
        source = torch.empty(number, dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        copied = milliseconds(lambda: target.copy_(source), repeats=10)
        figures["device_copy_gb_s_read_and_written"] = round(2 * number / copied / 1e6, 1)
        host = torch.zeros(number, dtype=torch.uint8, pin_memory=self.report.cuda)
        for name, pair in {"pinned_to_device_gb_s": (source, host), "device_to_pinned_gb_s": (host, source)}.items():
            taken = milliseconds(lambda pair=pair: pair[0].copy_(pair[1], non_blocking=True))
            figures[name] = round(number / taken / 1e6, 1)

    # 2

    def working_size(self, figures: dict, size: Size, repeats: int) -> None:
        blocks, inputs = self.blocks, self.blocks.inputs(size)
        operations = block_operations(self.config, size)
        figures |= {
            "size": size.name,
            "video_tokens": size.video,
            "reference_tokens": size.reference,
            "blocks_measured": self.layers,
            "tflop_of_a_block": {name: round(value / 1e12, 3) for name, value in operations.items()},
        }
        with peak_memory(figures, "memory"):
            finite = bool(blocks.forward(inputs).isfinite().all())
        figures["finite"] = finite
        if self.report.cuda:
            weights = sum(parameter.nbytes for parameter in blocks.model.blocks[0].parameters())
            figures["memory"]["weights_of_a_block_gb"] = gigabytes(weights)
            figures["memory"]["whole_model_extrapolated_gb"] = round(
                figures["memory"]["peak_gb"] + gigabytes(weights) * (WAN_LAYERS - self.layers), 2
            )
        heads, width = self.config["num_attention_heads"], self.config["attention_head_dim"]
        shape = (1, size.video + size.reference, heads, width)
        query, key, value = (torch.randn(shape, device=self.device, dtype=torch.bfloat16) for _ in range(3))
        for backend in ("native", "_native_cudnn"):
            result = figures[backend] = {}
            with self.backend(backend):
                attempt(result, self._block_times, result, inputs, size, operations, (query, key, value), repeats)

    def _block_times(self, result, inputs, size, operations, tensors, repeats) -> None:
        attention = milliseconds(lambda: dispatch_attention_fn(*tensors), repeats=repeats)
        block = self.blocks.per_block(inputs, repeats=repeats)
        forward = milliseconds(lambda: self.blocks.forward(inputs), repeats=repeats, warm_up=0)
        rest = max(forward - self.layers * block, 0.0)
        step = BRANCHES * (WAN_LAYERS * block + rest)
        total = sum(operations.values())
        self.block_ms.setdefault(size.name, block)
        result |= {
            "ms_of_a_block": round(block, 3),
            "ms_of_embedding_and_head": round(rest, 3),
            "ms_of_self_attention_alone": round(attention, 3),
            "share_of_self_attention": round(attention / block, 3),
            "tflops": round(total / block / 1e9, 1),
            "tflops_of_self_attention": round(operations["self-attention, scores and values"] / attention / 1e9, 1),
            "extrapolated_seconds_of_a_step_with_guidance": round(step / 1e3, 3),
            "extrapolated_seconds_of_a_segment_of_25_steps": round(step * STEPS / 1e3, 1),
        }
        if self.peak_flops is not None:
            result["share_of_measured_matmul_rate"] = round(total / (block * 1e-3) / self.peak_flops, 3)

    # 3

    def attention_backends(self, figures: dict) -> None:
        size = self.sizes[0]
        heads, width = self.config["num_attention_heads"], self.config["attention_head_dim"]
        shape = (1, size.video + size.reference, heads, width)
        query, key, value = (torch.randn(shape, device=self.device, dtype=torch.bfloat16) for _ in range(3))
        rows, some = slice(0, shape[1], max(shape[1] // 256, 1)), slice(0, 2)
        q, k, v = (part[0, :, some].double().transpose(0, 1) for part in (query[:, rows], key, value))
        expected = ((q @ k.transpose(1, 2) / math.sqrt(width)).softmax(-1) @ v).transpose(0, 1)  # (rows, 2, width)
        operations = block_operations(self.config, size)["self-attention, scores and values"]

        def one(result: dict, backend: str) -> None:
            output = dispatch_attention_fn(query, key, value, backend=backend)
            difference = (output[0, rows, some].double() - expected).abs().max().item()
            taken = milliseconds(lambda: dispatch_attention_fn(query, key, value, backend=backend), repeats=5)
            result |= {"ms": round(taken, 3), "tflops": round(operations / taken / 1e9, 1),
                       "largest_difference_from_float64": float(f"{difference:.3g}"),
                       "relative_error": relative_error(output[0, rows, some], expected)}  # fmt: skip

        modules = {"flash": "flash_attn", "_flash_3": "flash_attn_interface", "sage": "sageattention"}
        for backend in BACKENDS:
            figures[backend] = {}
            if backend in modules and importlib.util.find_spec(modules[backend]) is None:
                figures[backend]["error"] = "not installed"
                continue
            attempt(figures[backend], one, figures[backend], backend)

    def compiled(self, figures: dict) -> None:
        size = self.sizes[0]
        inputs, blocks = self.blocks.inputs(size), self.blocks
        before = blocks.forward(inputs)
        plain = blocks.per_block(inputs)
        compile_with = {"backend": "aot_eager"} if self.tiny else {}
        try:
            blocks.model.compile_repeated_blocks(fullgraph=True, **compile_with)
            begin = time.perf_counter()
            after = blocks.forward(inputs)
            synchronize()
            figures["seconds_of_first_forward"] = round(time.perf_counter() - begin, 2)
            figures["relative_difference"] = relative_error(after, before)
            figures |= {"ms_of_a_block": round(plain, 3), "ms_of_a_compiled_block": round(blocks.per_block(inputs), 3)}
            with self.backend("_native_cudnn"):
                figures["ms_of_a_compiled_block_cudnn"] = None
                if self.report.cuda and self.report.left() > 25:
                    figures["ms_of_a_compiled_block_cudnn"] = round(blocks.per_block(inputs), 3)
            with peak_memory(figures, "memory"):
                blocks.forward(inputs)
        finally:
            self.forget_blocks()

    # 4

    def sharing(self, figures: dict) -> None:
        size, blocks = self.sizes[0], self.blocks
        anchor, other = blocks.inputs(size, 1), blocks.inputs(size, 2)
        plain = milliseconds(lambda: blocks.forward(other))
        figures |= {"size": size.name, "blocks_measured": self.layers, "forward_ms": round(plain, 3)}

        def maps(result: dict) -> None:
            """Subject maps in every block; only the last one shares."""
            config = SharingConfig("paper", [0], [self.layers - 1])
            sharing = BackgroundSharing(config, SUBJECT)
            with fixed_mask(size, 0.5, self.device):
                blocks.forward(anchor, sharing.record(0, "positive"))
                blocks.forward(anchor, sharing.record(0, "negative"))
                positive = milliseconds(lambda: blocks.forward(other, sharing.share(0, "positive")))
                negative = milliseconds(lambda: blocks.forward(other, sharing.share(0, "negative")))
            result["more_ms_of_a_block_for_its_subject_map"] = round((positive - negative) / self.layers, 3)

        attempt(figures, maps, figures)
        for common, precision in itertools.product((0.4, 0.6), ("same", "int10", "fp8")):
            outputs: dict[str, torch.Tensor] = {}
            for kind in ("device", "host"):
                name = f"common {common:.0%}, {kind}, {precision}"
                figures[name] = {}
                attempt(figures[name], self._one_store, figures[name], (anchor, other), common,
                        (kind, precision), plain, outputs)  # fmt: skip
                release_memory()
            if len(outputs) == 2:
                figures[name]["same_bits_as_device"] = torch.equal(outputs["host"], outputs["device"])
        # the anchor's forward beside the other at 5 of 25 steps, besides what the device store takes
        figures["recompute_extrapolated_more_time"] = SHARED_STEPS / STEPS

    def _one_store(self, result, inputs, common, kind_and_precision, plain, outputs) -> None:
        (anchor, other), (kind, precision), blocks = inputs, kind_and_precision, self.blocks
        store = MemoryStore("cpu" if kind == "host" else None)
        sharing = BackgroundSharing(SharingConfig("paper", [0], range(self.layers)), SUBJECT, store, precision)
        pinned = attempt({}, pinned_bytes) or 0
        with fixed_mask(self.sizes[0], common, self.device):
            for branch in ("positive", "negative"):
                synchronize()
                begin = time.perf_counter()
                blocks.forward(anchor, sharing.record(0, branch))
                synchronize()
                recorded = (time.perf_counter() - begin) * 1e3
            again = milliseconds(lambda: blocks.forward(anchor, sharing.record(0, "negative")), warm_up=0, repeats=1)
            taken = {}
            for branch in ("positive", "negative"):
                taken[branch] = milliseconds(lambda branch=branch: blocks.forward(other, sharing.share(0, branch)))
            with peak_memory(result, "memory"):
                outputs[kind] = blocks.forward(other, sharing.share(0, "negative"))
        size = sharing.store.nbytes() / 2 / self.layers
        more = {branch: (value - plain) / self.layers for branch, value in taken.items()}
        segment = STEPS * BRANCHES * WAN_LAYERS * plain / self.layers
        result |= {
            "gb_of_a_block": gigabytes(size),
            "extrapolated_gb_of_a_job": gigabytes(size * SHARED_STEPS * SHARED_LAYERS * BRANCHES),
            "more_ms_of_a_recording_block": round((recorded - plain) / self.layers, 3),
            "more_ms_of_a_block_recording_again": round((again - plain) / self.layers, 3),
            "more_ms_of_a_sharing_block": {branch: round(value, 3) for branch, value in more.items()},
            # without subject maps of the blocks that do not share
            "extrapolated_more_time_of_a_segment": round(
                SHARED_STEPS * SHARED_LAYERS * (more["positive"] + more["negative"]) / segment, 4
            ),
        }
        if kind == "host" and self.report.cuda:
            result["stored_gb"] = gigabytes(sharing.store.nbytes())
            attempt(result, lambda: result.update(more_pinned_gb_taken=gigabytes(pinned_bytes() - pinned)))
        sharing.store.clear()

    # 5

    def lora(self, figures: dict) -> None:
        blocks, inputs = self.blocks, self.blocks.inputs(self.sizes[0])
        before = blocks.forward(inputs)
        figures["ms_of_a_block"] = round(blocks.per_block(inputs), 3)
        add_adapter(blocks.model, "base", rank=16)
        try:
            blocks.model.requires_grad_(False)
            with torch.no_grad():
                for name, parameter in blocks.model.named_parameters():
                    if "lora_B" in name:
                        parameter.normal_(0, 0.01)
            unmerged = blocks.forward(inputs)
            figures["ms_of_a_block_unmerged"] = round(blocks.per_block(inputs), 3)
        finally:
            begin = time.perf_counter()
            merge_adapter(blocks.model, "base")
            blocks.model.requires_grad_(False)
            synchronize()
            figures["seconds_to_merge_a_block"] = round((time.perf_counter() - begin) / self.layers, 4)
        figures["ms_of_a_block_merged"] = round(blocks.per_block(inputs), 3)
        figures["effect_of_the_adapter"] = relative_error(unmerged, before)
        figures["merged_differs_by"] = relative_error(blocks.forward(inputs), unmerged)

    def fp8(self, figures: dict) -> None:
        blocks, inputs = self.blocks, self.blocks.inputs(self.sizes[0])
        before = blocks.forward(inputs)

        def weights() -> float:
            return sum(parameter.nbytes for parameter in blocks.model.blocks.parameters()) / self.layers

        figures |= {"gb_of_a_block": gigabytes(weights()), "ms_of_a_block": round(blocks.per_block(inputs), 3)}
        try:
            blocks.model.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16)
            figures["gb_of_a_block_in_fp8"] = gigabytes(weights())
            with peak_memory(figures, "memory"):
                after = blocks.forward(inputs)
            figures["relative_difference"] = relative_error(after, before)
            figures["ms_of_a_block_in_fp8"] = round(blocks.per_block(inputs), 3)
        finally:
            self.forget_blocks()

    def training(self, figures: dict) -> None:
        size, blocks = self.sizes[0], self.blocks
        inputs = blocks.inputs(size)
        model = blocks.model
        try:
            add_adapter(model, "base", rank=16)
            model.train()
            model.enable_gradient_checkpointing()
            trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
            optimizer = torch.optim.AdamW(trained, lr=1e-4)
            target = torch.randn_like(inputs["hidden_states"])

            def forward() -> torch.Tensor:
                output = model(**inputs, return_dict=False)[0]
                return torch.nn.functional.mse_loss(output.float(), target.float())

            def step() -> None:
                optimizer.zero_grad(set_to_none=True)
                forward().backward()
                optimizer.step()

            step()  # optimizer states are made
            with peak_memory(figures, "memory"):
                taken = milliseconds(step, repeats=3, warm_up=0)
            joint = (size.video + size.reference) * self.config["num_attention_heads"]
            kept = joint * self.config["attention_head_dim"] * 2
            number = sum(parameter.numel() for parameter in trained)
            gradients = [parameter.grad for parameter in trained]
            figures |= {
                "size": size.name, "blocks_measured": self.layers, "trained_parameters": number,
                "dtype_of_trained_parameters": sorted({str(parameter.dtype) for parameter in trained}),
                "all_have_finite_gradients": all(g is not None and bool(g.isfinite().all()) for g in gradients),
                "ms_of_a_step": round(taken, 2), "ms_of_a_step_and_block": round(taken / self.layers, 2),
                "checkpoint_gb_of_a_block": gigabytes(kept),
                "extrapolated_seconds_of_a_step_of_40_blocks": round(taken / self.layers * WAN_LAYERS / 1e3, 2),
            }  # fmt: skip
            if self.report.cuda:
                weights = sum(parameter.nbytes for parameter in model.blocks.parameters()) / self.layers
                more = (WAN_LAYERS - self.layers) * (weights + kept)
                figures["memory"]["extrapolated_gb_of_40_blocks"] = round(
                    figures["memory"]["peak_gb"] + gigabytes(more), 1
                )
        finally:
            self.forget_blocks()

    # all 40 blocks

    def whole_model(self, figures: dict) -> None:
        self.forget_blocks()
        size = self.sizes[0]
        begin = time.perf_counter()
        blocks = Blocks(self.config, 2 if self.tiny else WAN_LAYERS, self.device)
        synchronize()
        figures["seconds_to_make_it"] = round(time.perf_counter() - begin, 2)
        figures["parameters"] = sum(parameter.numel() for parameter in blocks.model.parameters())
        if self.report.cuda:
            figures["allocated_gb"] = gigabytes(torch.cuda.memory_allocated())
        inputs = blocks.inputs(size)
        with peak_memory(figures, "memory"):
            first = milliseconds(lambda: blocks.forward(inputs), repeats=1, warm_up=0)
        figures["ms_of_first_forward"] = round(first, 1)
        if self.report.left() > 1.5 * first / 1e3:
            figures["ms_of_second_forward"] = round(milliseconds(lambda: blocks.forward(inputs), 1, 0), 1)
        if size.name in self.block_ms:
            figures["ms_extrapolated_from_blocks"] = round(self.block_ms[size.name] * WAN_LAYERS, 1)

    # 6

    def correctness(self, figures: dict) -> None:
        """Relative errors against the CPU in float32, each in its own attempt."""
        with one_thread():
            for name, case in Correctness(self.device, self.tiny).all():
                result = figures[name] = {}
                attempt(result, case, result)

    def compiled_correctness(self, figures: dict) -> None:
        with one_thread():
            cases = Correctness(self.device, self.tiny)
            attempt(figures, cases.compiled, figures)
            if self.tiny or self.report.left() > 25:
                figures["with_sharing"] = {}
                attempt(figures["with_sharing"], cases.compiled_with_sharing, figures["with_sharing"])


@contextmanager
def one_thread() -> Iterator[None]:
    """Tiny operations on a CPU are fastest on one thread, above all beside other programs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def driver_version() -> str:
    """The driver's own words."""
    import subprocess

    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()


def pinned_bytes() -> int:
    """Bytes of pinned host memory that torch has taken from the system, cached ones included."""
    if not torch.cuda.is_available():
        return 0
    return int(torch.cuda.memory.host_memory_stats()["allocated_bytes.current"])


@contextmanager
def fixed_mask(size: Size, common: float, device: torch.device) -> Iterator[None]:
    """The subject of every segment is the same upright stripe, so that `common` of the tokens are background."""
    columns = size.columns // 2
    mask = torch.zeros(1, size.frames, size.rows // 2, columns, dtype=torch.bool, device=device)
    mask[..., round(columns * common) :] = True
    with mock.patch.object(SharingPass, "current_mask", return_value=mask):
        yield


class Correctness:
    """A tiny model on the device against itself on the CPU in float32."""

    def __init__(self, device: torch.device, tiny: bool) -> None:
        self.device, self.tiny, self.layers = device, tiny, 4
        self.cpu = Blocks(TINY, self.layers, torch.device("cpu"), torch.float32)
        self.inputs, self.other = self.cpu.inputs(TOY, 1), self.cpu.inputs(TOY, 2)
        self.expected = self.cpu.forward(self.inputs)

    def moved(self, dtype: torch.dtype = torch.float32) -> Blocks:
        blocks = copy.copy(self.cpu)
        blocks.model, blocks.device, blocks.dtype = copy.deepcopy(self.cpu.model), self.device, dtype
        blocks.model.to(self.device)
        if dtype != torch.float32:
            keep = PoseGenTransformer3DModel._keep_in_fp32_modules
            for name, parameter in blocks.model.named_parameters():
                if not any(part in name.split(".") for part in keep):
                    parameter.data = parameter.data.to(dtype)
        return blocks

    def on_device(self, inputs: dict, dtype: torch.dtype = torch.float32) -> dict:
        return {name: tensor.to(self.device, torch.float32 if name == "timestep" else dtype)
                for name, tensor in inputs.items()}  # fmt: skip

    def all(self) -> Iterator[tuple[str, Callable[[dict], None]]]:
        yield "forward, float32", lambda result: self.plain(result, torch.float32)
        yield "forward, bfloat16", lambda result: self.plain(result, torch.bfloat16)
        yield "otsu", self.otsu
        for preset in ("paper", "release"):
            for store in ("device", "host", "disk"):
                yield f"sharing, {preset}, {store}", lambda r, p=preset, s=store: self.shared(r, p, s, "same")
        for precision in ("int10", "fp8"):
            yield f"sharing, paper, host, {precision}", lambda r, p=precision: self.shared(r, "paper", "host", p)
        for kind in ("device", "host", "disk", "recompute"):
            yield f"denoising, sharing, {kind}", lambda result, kind=kind: self.denoised(result, kind)
        for offload in ("block_level", "leaf_level"):
            for stream in (False, True):
                name = f"group offload, {offload}" + (", stream" if stream else "")
                yield name, lambda r, o=offload, s=stream: self.group_offloaded(r, o, s)
        yield "sequential offload", self.sequentially_offloaded
        yield "layerwise casting, fp8", self.cast
        yield "saved and loaded", self.saved
        yield "adapter, merged", self.adapter
        yield "gradients", self.gradients

    def plain(self, result: dict, dtype: torch.dtype) -> None:
        actual = self.moved(dtype).forward(self.on_device(self.inputs, dtype))
        result["relative_error"] = relative_error(actual, self.expected)
        result["largest_error"] = float(f"{(actual.cpu().float() - self.expected).abs().max().item():.3g}")

    def otsu(self, result: dict) -> None:
        values = torch.randn(21, 1560, generator=torch.Generator().manual_seed(3))
        result["same_bits"] = torch.equal(otsu_threshold(values.to(self.device)).cpu(), otsu_threshold(values))
        unit = values.sigmoid()
        result["published_same_bits"] = torch.equal(
            unit_otsu_threshold(unit.to(self.device)).cpu(), unit_otsu_threshold(unit)
        )

    def _sharing(self, blocks: Blocks, store, preset: str, precision: str, inputs: tuple[dict, dict]) -> tuple:
        sharing = BackgroundSharing(SharingConfig(preset, [0, 1], [1, 2, 3], 3), SUBJECT, store, precision)
        first, second = inputs
        outputs = []
        for step in (0, 1):
            for branch in ("positive", "negative"):
                blocks.forward(first, sharing.record(step, branch))
        for _ in range(2):  # a place is read again for every segment
            for step in (0, 1):
                for branch in ("positive", "negative"):
                    outputs.append(blocks.forward(second, sharing.share(step, branch)))
        masks = torch.stack([sharing.subject_masks[place].cpu() for place in sorted(sharing.subject_masks)])
        return outputs, masks

    @functools.cache  # noqa: B019 - this object lives as long as its measurement
    def _reference(self, preset: str) -> tuple:
        return self._sharing(self.cpu, MemoryStore(), preset, "same", (self.inputs, self.other))

    @functools.cache  # noqa: B019
    def _denoised_reference(self) -> torch.Tensor:
        return self._denoise(self.cpu, "device")

    def shared(self, result: dict, preset: str, kind: str, precision: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = {"device": MemoryStore, "host": lambda: MemoryStore("cpu"),
                     "disk": lambda: DiskStore(Path(folder), self.device)}[kind]()  # fmt: skip
            expected, masks = self._reference(preset)
            pair = (self.on_device(self.inputs), self.on_device(self.other))
            actual, own_masks = self._sharing(self.moved(), store, preset, precision, pair)
            result["relative_error"] = max(relative_error(a, e) for a, e in zip(actual, expected, strict=True))
            result["subject_tokens_that_agree"] = round((masks == own_masks).double().mean().item(), 5)
            result["repeats_to_the_bit"] = all(torch.equal(a, b) for a, b in zip(actual[:4], actual[4:], strict=True))
            effect = self.cpu.forward(self.other)
            result["effect_of_sharing"] = relative_error(effect, expected[0])
            store.clear()

    def denoised(self, result: dict, kind: str) -> None:
        result["relative_error"] = relative_error(self._denoise(self.moved(), kind), self._denoised_reference())

    def _denoise(self, blocks: Blocks, kind: str) -> torch.Tensor:
        # imported here, since they need packages that no other measurement does
        from posegen.generate.background.shared_background import SharedBackground, make_store
        from posegen.model.denoise import Conditioning, PoseLatents, denoise, predict_velocity

        def conditioning(inputs: dict):
            return Conditioning(
                pose=PoseLatents(inputs["condition_latents"], inputs["hand_latents"]),
                reference_latents=inputs["reference_latents"],
                text=inputs["encoder_hidden_states"],
                negative_text=-inputs["encoder_hidden_states"],
                image=inputs["encoder_hidden_states_image"],
            )

        steps, scheduler = 5, FlowMatchEulerDiscreteScheduler(shift=5.0)
        anchor = conditioning(self.inputs)
        there = anchor.to(blocks.device, torch.float32)
        with tempfile.TemporaryDirectory() as folder:

            def replay(step, branch, latents, recording) -> None:
                timestep = scheduler.timesteps[step]
                predict_velocity(blocks.model, latents.to(blocks.device), timestep, there, branch, recording)

            sharing = BackgroundSharing(
                make_sharing_config("paper", steps, self.layers), SUBJECT, make_store(kind, Path(folder), blocks.device)
            )
            background = SharedBackground(sharing, kind, Path(folder), replay)
            run = (blocks.model, scheduler)
            denoise(*run, self.inputs["hidden_states"], anchor, steps, background=background.record,
                    on_latents=background.on_latents, stop_after=background.steps_to_record)  # fmt: skip
            background.recorded()
            for _ in range(2):
                latents = denoise(*run, self.other["hidden_states"], conditioning(self.other), steps,
                                  background=background.share)  # fmt: skip
            background.clear()
        return latents

    def _with_sharing(self, blocks: Blocks) -> list[torch.Tensor]:
        pair = (self.on_device(self.inputs), self.on_device(self.other))
        outputs, _ = self._sharing(blocks, MemoryStore(), "paper", "same", pair)
        return [blocks.forward(pair[0]), *outputs]

    @functools.cache  # noqa: B019
    def _expected_with_sharing(self) -> list[torch.Tensor]:
        return self._with_sharing(self.moved())

    def _compare(self, result: dict, blocks: Blocks) -> None:
        expected, actual = self._expected_with_sharing(), self._with_sharing(blocks)
        result["relative_error"] = max(relative_error(a, e) for a, e in zip(actual, expected, strict=True))

    def group_offloaded(self, result: dict, offload_type: str, use_stream: bool) -> None:
        blocks = self.moved()
        blocks.model.to("cpu")
        more = {"num_blocks_per_group": 1} if offload_type == "block_level" else {}
        blocks.model.enable_group_offload(
            onload_device=self.device, offload_device=torch.device("cpu"), offload_type=offload_type,
            use_stream=use_stream, **more,
        )  # fmt: skip
        self._compare(result, blocks)

    def sequentially_offloaded(self, result: dict) -> None:
        blocks = self.moved()
        blocks.model.to("cpu")
        cpu_offload(blocks.model, self.device)
        self._compare(result, blocks)

    def cast(self, result: dict) -> None:
        blocks = self.moved(torch.bfloat16)
        blocks.model.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16)
        result["stored_as"] = str(blocks.model.blocks[0].attn1.to_q.weight.dtype)
        actual = blocks.forward(self.on_device(self.inputs, torch.bfloat16))
        result["relative_error"] = relative_error(actual, self.expected)

    def saved(self, result: dict) -> None:
        blocks = self.moved(torch.bfloat16)
        inputs = self.on_device(self.inputs, torch.bfloat16)
        expected = blocks.forward(inputs)
        with tempfile.TemporaryDirectory() as folder:
            blocks.model.save_pretrained(folder)
            blocks.model = PoseGenTransformer3DModel.from_pretrained(folder, torch_dtype=torch.bfloat16)
            blocks.model.to(self.device)
        result["same_bits"] = torch.equal(blocks.forward(inputs), expected)
        result["dtypes"] = sorted({str(parameter.dtype) for parameter in blocks.model.parameters()})

    def adapter(self, result: dict) -> None:
        blocks, inputs = self.moved(), self.on_device(self.inputs)
        add_adapter(blocks.model, "base", rank=4)
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for name, parameter in blocks.model.named_parameters():
                if "lora_B" in name:
                    parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
        unmerged = blocks.forward(inputs)
        merge_adapter(blocks.model, "base")
        result["effect"] = relative_error(unmerged, self.expected)
        result["relative_error"] = relative_error(blocks.forward(inputs), unmerged)

    def gradients(self, result: dict) -> None:
        def gradients(blocks: Blocks, inputs: dict, checkpointing: bool) -> torch.Tensor:
            blocks.model.requires_grad_(True).train()
            if checkpointing:
                blocks.model.enable_gradient_checkpointing()
            blocks.model(**inputs, return_dict=False)[0].square().mean().backward()
            parameters = blocks.model.named_parameters()
            return torch.cat([parameter.grad.double().cpu().flatten() for _, parameter in parameters])

        here = copy.copy(self.cpu)
        here.model = copy.deepcopy(self.cpu.model)
        actual = gradients(self.moved(), self.on_device(self.inputs), True)
        result["relative_error"] = relative_error(actual, gradients(here, self.inputs, False))

    def compiled(self, result: dict) -> None:
        blocks, inputs = self.moved(), self.on_device(self.inputs)
        begin = time.perf_counter()
        blocks.model.compile_repeated_blocks(fullgraph=True, **({"backend": "aot_eager"} if self.tiny else {}))
        result["relative_error"] = relative_error(blocks.forward(inputs), self.expected)
        result["seconds"] = round(time.perf_counter() - begin, 2)

    def compiled_with_sharing(self, result: dict) -> None:
        blocks = self.moved()
        blocks.model.compile_repeated_blocks(fullgraph=False, **({"backend": "aot_eager"} if self.tiny else {}))
        self._compare(result, blocks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=90, help="time allowed, from the start of the program")
    parser.add_argument("--blocks", type=int, default=4, help="blocks of Wan's size to measure")
    parser.add_argument("--tiny", action="store_true", help="toy sizes on the CPU: does it run at all?")
    parser.add_argument("--only", nargs="+", default=[], help="names of the measurements to make")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of wan_14b.json")
    report = Report(parser.parse_args())
    if not report.cuda and not report.arguments.tiny:
        parser.error("there is no GPU here: --tiny runs the same code at toy sizes")
    for name in ("posegen", "diffusers"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # concerns float32 only
    torch.manual_seed(0)
    if report.arguments.tiny:
        torch.set_num_threads(1)

    benchmark = Benchmark(report)
    small, large = benchmark.sizes
    report.measure("machine", 3, benchmark.machine)
    report.measure("480p", 6, lambda figures: benchmark.working_size(figures, small, 3))
    report.measure("correctness", 12, benchmark.correctness)
    report.measure("sharing", 20, benchmark.sharing)
    report.measure("attention_backends", 5, benchmark.attention_backends)
    report.measure("lora", 4, benchmark.lora)
    report.measure("training", 8, benchmark.training)
    report.measure("fp8", 4, benchmark.fp8)
    report.measure("720p", 12, lambda figures: benchmark.working_size(figures, large, 2))
    report.measure("compiled", 20, benchmark.compiled)
    report.measure("whole_model", 14, benchmark.whole_model)
    report.measure("compiled_correctness", 20, benchmark.compiled_correctness)
    print(report.write().read_text())


if __name__ == "__main__":
    main()
