"""Adapters on `wan_14b.py`'s blocks: merged or not, in training; and weights in fp8."""

import time

import torch

from posegen.model.lora import add_adapter, merge_adapter
from wan_14b_blocks import WAN_LAYERS, Workbench
from wan_14b_measuring import gigabytes, milliseconds, peak_memory, relative_error, synchronize


def lora(bench: Workbench, figures: dict) -> None:
    blocks, inputs = bench.blocks, bench.blocks.inputs(bench.sizes[0])
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
        figures["seconds_to_merge_a_block"] = round((time.perf_counter() - begin) / bench.layers, 4)
    figures["ms_of_a_block_merged"] = round(blocks.per_block(inputs), 3)
    figures["effect_of_the_adapter"] = relative_error(unmerged, before)
    figures["merged_differs_by"] = relative_error(blocks.forward(inputs), unmerged)


def fp8(bench: Workbench, figures: dict) -> None:
    blocks, inputs = bench.blocks, bench.blocks.inputs(bench.sizes[0])
    before = blocks.forward(inputs)

    def weights() -> float:
        return sum(parameter.nbytes for parameter in blocks.model.blocks.parameters()) / bench.layers

    figures |= {"gb_of_a_block": gigabytes(weights()), "ms_of_a_block": round(blocks.per_block(inputs), 3)}
    try:
        blocks.model.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16)
        figures["gb_of_a_block_in_fp8"] = gigabytes(weights())
        with peak_memory(figures, "memory"):
            after = blocks.forward(inputs)
        figures["relative_difference"] = relative_error(after, before)
        figures["ms_of_a_block_in_fp8"] = round(blocks.per_block(inputs), 3)
    finally:
        bench.forget_blocks()


def training(bench: Workbench, figures: dict) -> None:
    size, blocks = bench.sizes[0], bench.blocks
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
        joint = (size.video + size.reference) * bench.config["num_attention_heads"]
        kept = joint * bench.config["attention_head_dim"] * 2
        number = sum(parameter.numel() for parameter in trained)
        gradients = [parameter.grad for parameter in trained]
        figures |= {
            "size": size.name, "blocks_measured": bench.layers, "trained_parameters": number,
            "dtype_of_trained_parameters": sorted({str(parameter.dtype) for parameter in trained}),
            "all_have_finite_gradients": all(g is not None and bool(g.isfinite().all()) for g in gradients),
            "ms_of_a_step": round(taken, 2), "ms_of_a_step_and_block": round(taken / bench.layers, 2),
            "checkpoint_gb_of_a_block": gigabytes(kept),
            "extrapolated_seconds_of_a_step_of_40_blocks": round(taken / bench.layers * WAN_LAYERS / 1e3, 2),
        }  # fmt: skip
        if bench.report.cuda:
            weights = sum(parameter.nbytes for parameter in model.blocks.parameters()) / bench.layers
            more = (WAN_LAYERS - bench.layers) * (weights + kept)
            figures["memory"]["extrapolated_gb_of_40_blocks"] = round(figures["memory"]["peak_gb"] + gigabytes(more), 1)
    finally:
        bench.forget_blocks()
