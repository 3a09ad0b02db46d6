"""Speed of `wan_14b.py`'s blocks: the machine itself, working sizes, attention backends, compiled blocks, all 40."""

import importlib.util
import math
import time
import warnings

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn

from results_file import installed_versions
from wan_14b_blocks import BRANCHES, STEPS, WAN_LAYERS, Blocks, Size, Workbench, block_operations
from wan_14b_measuring import attempt, gigabytes, milliseconds, peak_memory, relative_error, synchronize

BACKENDS = ("native", "_native_cudnn", "_native_flash", "_native_efficient", "flash", "_flash_3", "sage")


def machine(bench: Workbench, figures: dict) -> None:
    figures["torch"], figures["cuda"] = torch.__version__, torch.version.cuda
    figures |= installed_versions("triton", "diffusers", "transformers", "accelerate", "peft", "flash-attn")
    if bench.report.cuda:
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
    side = 256 if bench.tiny else 8192
    a, b = (torch.randn(side, side, device=bench.device, dtype=torch.bfloat16) for _ in range(2))
    bench.peak_flops = 2 * side**3 / (milliseconds(lambda: a @ b, repeats=10, warm_up=3) * 1e-3)
    figures["bf16_matmul_tflops"] = round(bench.peak_flops / 1e12, 1)
    number = 1 << (16 if bench.tiny else 30)
    source = torch.empty(number, dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    copied = milliseconds(lambda: target.copy_(source), repeats=10)
    figures["device_copy_gb_s_read_and_written"] = round(2 * number / copied / 1e6, 1)
    host = torch.zeros(number, dtype=torch.uint8, pin_memory=bench.report.cuda)
    for name, pair in {"pinned_to_device_gb_s": (source, host), "device_to_pinned_gb_s": (host, source)}.items():
        taken = milliseconds(lambda pair=pair: pair[0].copy_(pair[1], non_blocking=True))
        figures[name] = round(number / taken / 1e6, 1)


def driver_version() -> str:
    """The driver's own words."""
    import subprocess

    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()


def working_size(bench: Workbench, figures: dict, size: Size, repeats: int) -> None:
    blocks, inputs = bench.blocks, bench.blocks.inputs(size)
    operations = block_operations(bench.config, size)
    figures |= {
        "size": size.name,
        "video_tokens": size.video,
        "reference_tokens": size.reference,
        "blocks_measured": bench.layers,
        "tflop_of_a_block": {name: round(value / 1e12, 3) for name, value in operations.items()},
    }
    with peak_memory(figures, "memory"):
        finite = bool(blocks.forward(inputs).isfinite().all())
    figures["finite"] = finite
    if bench.report.cuda:
        weights = sum(parameter.nbytes for parameter in blocks.model.blocks[0].parameters())
        figures["memory"]["weights_of_a_block_gb"] = gigabytes(weights)
        figures["memory"]["whole_model_extrapolated_gb"] = round(
            figures["memory"]["peak_gb"] + gigabytes(weights) * (WAN_LAYERS - bench.layers), 2
        )
    heads, width = bench.config["num_attention_heads"], bench.config["attention_head_dim"]
    shape = (1, size.video + size.reference, heads, width)
    query, key, value = (torch.randn(shape, device=bench.device, dtype=torch.bfloat16) for _ in range(3))
    for backend in ("native", "_native_cudnn"):
        result = figures[backend] = {}
        with bench.backend(backend):
            attempt(result, _block_times, bench, result, inputs, size, operations, (query, key, value), repeats)


def _block_times(bench: Workbench, result, inputs, size, operations, tensors, repeats) -> None:
    attention = milliseconds(lambda: dispatch_attention_fn(*tensors), repeats=repeats)
    block = bench.blocks.per_block(inputs, repeats=repeats)
    forward = milliseconds(lambda: bench.blocks.forward(inputs), repeats=repeats, warm_up=0)
    rest = max(forward - bench.layers * block, 0.0)
    step = BRANCHES * (WAN_LAYERS * block + rest)
    total = sum(operations.values())
    bench.block_ms.setdefault(size.name, block)
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
    if bench.peak_flops is not None:
        result["share_of_measured_matmul_rate"] = round(total / (block * 1e-3) / bench.peak_flops, 3)


def attention_backends(bench: Workbench, figures: dict) -> None:
    size = bench.sizes[0]
    heads, width = bench.config["num_attention_heads"], bench.config["attention_head_dim"]
    shape = (1, size.video + size.reference, heads, width)
    query, key, value = (torch.randn(shape, device=bench.device, dtype=torch.bfloat16) for _ in range(3))
    rows, some = slice(0, shape[1], max(shape[1] // 256, 1)), slice(0, 2)
    q, k, v = (part[0, :, some].double().transpose(0, 1) for part in (query[:, rows], key, value))
    expected = ((q @ k.transpose(1, 2) / math.sqrt(width)).softmax(-1) @ v).transpose(0, 1)  # (rows, 2, width)
    operations = block_operations(bench.config, size)["self-attention, scores and values"]

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


def compiled(bench: Workbench, figures: dict) -> None:
    size = bench.sizes[0]
    inputs, blocks = bench.blocks.inputs(size), bench.blocks
    before = blocks.forward(inputs)
    plain = blocks.per_block(inputs)
    compile_with = {"backend": "aot_eager"} if bench.tiny else {}
    try:
        blocks.model.compile_repeated_blocks(fullgraph=True, **compile_with)
        begin = time.perf_counter()
        after = blocks.forward(inputs)
        synchronize()
        figures["seconds_of_first_forward"] = round(time.perf_counter() - begin, 2)
        figures["relative_difference"] = relative_error(after, before)
        figures |= {"ms_of_a_block": round(plain, 3), "ms_of_a_compiled_block": round(blocks.per_block(inputs), 3)}
        with bench.backend("_native_cudnn"):
            figures["ms_of_a_compiled_block_cudnn"] = None
            if bench.report.cuda and bench.report.left() > 25:
                figures["ms_of_a_compiled_block_cudnn"] = round(blocks.per_block(inputs), 3)
        with peak_memory(figures, "memory"):
            blocks.forward(inputs)
    finally:
        bench.forget_blocks()


def whole_model(bench: Workbench, figures: dict) -> None:
    bench.forget_blocks()
    size = bench.sizes[0]
    begin = time.perf_counter()
    blocks = Blocks(bench.config, 2 if bench.tiny else WAN_LAYERS, bench.device)
    synchronize()
    figures["seconds_to_make_it"] = round(time.perf_counter() - begin, 2)
    figures["parameters"] = sum(parameter.numel() for parameter in blocks.model.parameters())
    if bench.report.cuda:
        figures["allocated_gb"] = gigabytes(torch.cuda.memory_allocated())
    inputs = blocks.inputs(size)
    with peak_memory(figures, "memory"):
        first = milliseconds(lambda: blocks.forward(inputs), repeats=1, warm_up=0)
    figures["ms_of_first_forward"] = round(first, 1)
    if bench.report.left() > 1.5 * first / 1e3:
        figures["ms_of_second_forward"] = round(milliseconds(lambda: blocks.forward(inputs), 1, 0), 1)
    if size.name in bench.block_ms:
        figures["ms_extrapolated_from_blocks"] = round(bench.block_ms[size.name] * WAN_LAYERS, 1)
