"""What diffusers offers to its own models works on this one."""

import json
import os
import subprocess
import warnings
from pathlib import Path

import pytest
import torch
from diffusers import FirstBlockCacheConfig
from diffusers.hooks import apply_group_offloading
from diffusers.hooks._helpers import AttentionProcessorRegistry, TransformerBlockRegistry
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry
from tiny_transformer import CONFIG, make_inputs, predict, randomise

from posegen.errors import PosegenError
from posegen.model.background_store import CachePosition
from posegen.model.sharing import BackgroundSharing, SharingConfig
from posegen.model.transformer import PoseGenAttnProcessor, PoseGenTransformer3DModel, PoseGenTransformerBlock


@pytest.fixture
def keep_backend():
    before = _AttentionBackendRegistry._active_backend
    yield
    _AttentionBackendRegistry.set_active_backend(before)


def recorded(model, inputs, preset="paper"):
    sharing = BackgroundSharing(SharingConfig(preset, [0], [2, 3], 2), [2, 3])
    predict(model, inputs, sharing.record(0, "positive"))
    return sharing


def test_declarations():
    name = PoseGenTransformerBlock.__name__
    assert PoseGenTransformer3DModel._repeated_blocks == [name]
    assert PoseGenTransformer3DModel._no_split_modules == [name]
    assert "background" in PoseGenTransformer3DModel._skip_keys
    assert "rope" in PoseGenTransformer3DModel._keep_in_fp32_modules
    assert TransformerBlockRegistry.get(PoseGenTransformerBlock).return_hidden_states_index == 0
    skip = AttentionProcessorRegistry.get(PoseGenAttnProcessor).skip_processor_output_fn
    states = torch.ones(1)
    assert skip(None, states) is states
    assert skip(None, hidden_states=states, encoder_hidden_states=None) is states


def test_attention_backend_reaches_every_processor(model, inputs, keep_backend):
    expected = predict(model, inputs)
    model.set_attention_backend("_native_math")
    processors = [module.processor for module in model.modules() if hasattr(module, "processor")]
    assert len(processors) == 2 * CONFIG["num_layers"]
    assert all(type(processor) is PoseGenAttnProcessor for processor in processors)
    assert {processor._attention_backend for processor in processors} == {AttentionBackendName._NATIVE_MATH}
    torch.testing.assert_close(predict(model, inputs), expected, rtol=0, atol=1e-5)


def test_background_sharing_runs_on_a_backend_without_masks(model, inputs, keep_backend):
    other = make_inputs(seed=9)
    expected = predict(model, other, recorded(model, inputs).share(0, "positive"))
    model.set_attention_backend("_native_flash")  # rejects attention masks
    actual = predict(model, other, recorded(model, inputs).share(0, "positive"))
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


def test_fused_projections(model, inputs):
    expected = predict(model, inputs)
    for module in model.modules():
        if hasattr(module, "fuse_projections") and module is not model:
            module.fuse_projections()
    torch.testing.assert_close(predict(model, inputs), expected, rtol=0, atol=1e-5)


def test_layerwise_casting(model, inputs):
    expected = predict(model, inputs)
    model.enable_layerwise_casting(storage_dtype=torch.bfloat16, compute_dtype=torch.float32)
    assert model.blocks[0].attn1.to_q.weight.dtype == torch.bfloat16
    embeddings = (model.patch_embedding, model.reference_patch_embedding, model.hand_patch_embedding)
    for kept in (*embeddings, model.hand_projection):
        assert kept.weight.dtype == torch.float32
    actual = predict(model, inputs)
    assert (actual - expected).norm() / expected.norm() < 0.05
    predict(model, inputs, recorded(model, inputs).share(0, "positive"))


@pytest.mark.parametrize("kind", ["block_level", "leaf_level"])
def test_group_offloading(model, inputs, kind):
    other = make_inputs(seed=9)
    expected = predict(model, other, recorded(model, inputs).share(0, "positive"))
    apply_group_offloading(
        model, onload_device=torch.device("cpu"), offload_type=kind, num_blocks_per_group=1, use_stream=False
    )
    assert torch.equal(predict(model, other, recorded(model, inputs).share(0, "positive")), expected)


def test_caching_hooks(model, inputs):
    expected = predict(model, inputs)
    sharing = recorded(model, inputs)
    model.enable_cache(FirstBlockCacheConfig(threshold=1e9))
    with model.cache_context("cond"):
        first = predict(model, inputs)
        torch.testing.assert_close(first, expected, rtol=0, atol=1e-5)
        predict(model, inputs.but(timestep=inputs.timestep - 20))  # taken from the cache
        with pytest.raises(PosegenError, match="caching"):
            predict(model, inputs, sharing.share(0, "positive"))
    model.disable_cache()
    assert torch.equal(predict(model, inputs), expected)


# In processes of their own: signature checks, on in tests, cannot be compiled, and two processes talk to each other


PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
import test_diffusers_citizen
print(json.dumps(getattr(test_diffusers_citizen, sys.argv[2])(json.loads(sys.argv[3]))))
"""


def in_processes(warm, function, arguments):
    """What a function here gives for each of the arguments, each in a process, all at once."""
    here = Path(__file__).parent
    processes = [
        warm(PROGRAM, [here, function.__name__, json.dumps(argument)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for argument in arguments
    ]
    said = [process.communicate(timeout=600) for process in processes]
    for process, (_, errors) in zip(processes, said, strict=True):
        assert process.returncode == 0, errors
    return [json.loads(answer) for answer, _ in said]


def tiny():
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    return randomise(PoseGenTransformer3DModel(**CONFIG)).eval()


def compare_compiled(fullgraph):
    model, inputs, other = tiny(), make_inputs(), make_inputs(seed=9)
    expected = [predict(model, other)]
    if not fullgraph:  # choosing tokens is not traced: it breaks the graph
        expected.append(predict(model, other, recorded(model, inputs).share(0, "positive")))
    model.compile_repeated_blocks(fullgraph=fullgraph, backend="aot_eager")
    actual = [predict(model, other)]
    if not fullgraph:
        actual.append(predict(model, other, recorded(model, inputs).share(0, "positive")))
    return max((one - another).abs().max().item() for one, another in zip(actual, expected, strict=True))


@pytest.mark.parametrize("fullgraph", [True, False])
def test_regional_compilation(warm, fullgraph):
    assert in_processes(warm, compare_compiled, [fullgraph])[0] < 1e-5


def compare_parallel(arguments):
    """Largest differences between one process and two: plain, and shared by both presets."""
    rank, file, rows, anything = arguments
    from diffusers import ContextParallelConfig
    from diffusers.hooks import apply_context_parallel
    from diffusers.models._modeling_parallel import ParallelConfig

    model, inputs, other = tiny(), make_inputs(rows=rows), make_inputs(rows=rows, seed=9)
    presets = ("paper", "release")
    expected = [predict(model, other)]
    expected += [predict(model, other, recorded(model, inputs, preset).share(0, "positive")) for preset in presets]
    os.environ |= {"GLOO_SOCKET_IFNAME": "lo"}
    torch.distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    try:
        # what `enable_parallelism` does, which insists on an accelerator
        config = ContextParallelConfig(ulysses_degree=2, ulysses_anything=anything)
        mesh = torch.distributed.device_mesh.init_device_mesh(
            "cpu", config.mesh_shape, mesh_dim_names=config.mesh_dim_names
        )
        parallel = ParallelConfig(context_parallel_config=config)
        parallel.setup(rank, 2, torch.device("cpu"), mesh=mesh)
        for module in model.modules():
            if hasattr(module, "processor"):
                module.processor._parallel_config = parallel
        apply_context_parallel(model, config, model._cp_plan)
        actual = [predict(model, other)]
        for preset in presets:
            sharing = recorded(model, inputs, preset)
            kept = sharing.store.get(CachePosition(0, "positive", 2))["key"].shape[1]
            assert kept < sum(tensor[0, 0].numel() // 4 for tensor in (inputs.hidden_states, inputs.reference_latents))
            actual.append(predict(model, other, sharing.share(0, "positive")))
    finally:
        torch.distributed.destroy_process_group()
    return [(one - another).abs().max().item() for one, another in zip(actual, expected, strict=True)]


@pytest.mark.parametrize(("rows", "anything"), [(8, False), (6, True)])
def test_context_parallelism(warm, tmp_path, rows, anything):
    """Two processes, Ulysses; with 6 rows neither video tokens nor all tokens split evenly by frame."""
    arguments = [(rank, str(tmp_path / "meeting"), rows, anything) for rank in range(2)]
    for differences in in_processes(warm, compare_parallel, arguments):
        assert max(differences) < 1e-5, differences
