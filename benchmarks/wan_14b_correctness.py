"""Correctness on `wan_14b.py`'s device: a tiny model there against itself on the CPU in float32."""

import copy
import functools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from accelerate import cpu_offload
from diffusers import FlowMatchEulerDiscreteScheduler

from posegen.model.background_store import DiskStore, MemoryStore
from posegen.model.lora import add_adapter, merge_adapter
from posegen.model.sharing import BackgroundSharing, SharingConfig, make_sharing_config
from posegen.model.subject import otsu_threshold, unit_otsu_threshold
from posegen.model.transformer import PoseGenTransformer3DModel
from wan_14b_blocks import SUBJECT, TINY, TOY, Blocks, Workbench
from wan_14b_measuring import attempt, one_thread, relative_error


def correctness(bench: Workbench, figures: dict) -> None:
    """Relative errors against the CPU in float32, each in its own attempt."""
    with one_thread():
        for name, case in Correctness(bench.device, bench.tiny).all():
            result = figures[name] = {}
            attempt(result, case, result)


def compiled_correctness(bench: Workbench, figures: dict) -> None:
    with one_thread():
        cases = Correctness(bench.device, bench.tiny)
        attempt(figures, cases.compiled, figures)
        if bench.tiny or bench.report.left() > 25:
            figures["with_sharing"] = {}
            attempt(figures["with_sharing"], cases.compiled_with_sharing, figures["with_sharing"])


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
        from posegen.model.denoise import Conditioning, PoseLatents, Sampling, StepHooks, denoise, predict_velocity

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
            sampling = Sampling(steps)
            hooks = StepHooks(on_latents=background.on_latents, stop_after=background.steps_to_record)
            denoise(*run, self.inputs["hidden_states"], anchor, sampling, background.record, hooks)
            background.recorded()
            for _ in range(2):
                other = conditioning(self.other)
                latents = denoise(*run, self.other["hidden_states"], other, sampling, background.share)
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
