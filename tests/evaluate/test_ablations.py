"""Ablations: variants differ in what is switched and in nothing else; one command makes, scores and goes on."""

import dataclasses
import json
from pathlib import Path

import pytest

from planned_jobs import resolved
from posegen.config import AblateConfig, BenchmarkConfig, GenerateConfig
from posegen.errors import PosegenError
from posegen.evaluate.ablations import ABLATIONS, ablate, sharing_variants, variant_config
from posegen.evaluate.benchmark_file import read_benchmark
from posegen.evaluate.making import make_benchmark
from posegen.generate.planning.job_identity import identity_of
from posegen.model.sources import describe_model
from posegen.progress import NullProgress

SECONDS = 2.6
"""41 frames of the mini's 16 a second: two base segments, so that there is a background to share."""


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    output = tmp_path_factory.mktemp("clips")
    return make_benchmark(BenchmarkConfig("val-same", output, clips=1, seconds=SECONDS, size="256x144"), NullProgress())


@pytest.mark.parametrize("name", list(ABLATIONS))
def test_variants_differ_in_what_is_switched_and_in_nothing_else(name, benchmark, tmp_path):
    config, mini = AblateConfig(name, tmp_path, steps=4), describe_model("mini")
    clip = read_benchmark(benchmark).clips[0]
    variants = ABLATIONS[name].variants(mini, 4)
    known = {field.name for field in dataclasses.fields(GenerateConfig)}
    if not all(set(changes) <= known for changes in variants.values()):
        with pytest.raises(PosegenError, match="cannot switch"):
            ablate(config, NullProgress())
        return
    made = {each: variant_config(config, clip, each, changes) for each, changes in variants.items()}
    settings = {each: identity_of(one) for each, one in made.items()}
    assert len({json.dumps(one, sort_keys=True) for one in settings.values()}) == len(variants) > 1
    switched = {key for changes in variants.values() for key in changes}
    rest = [{key: value for key, value in one.items() if key not in switched} for one in settings.values()]
    assert all(one == rest[0] for one in rest)
    assert len({one.output for one in made.values()}) == len(variants)


def test_the_grid_shares_what_its_names_say(benchmark, tmp_path):
    config, mini = AblateConfig("sharing", tmp_path, steps=4), describe_model("mini")
    clip = read_benchmark(benchmark).clips[0]
    variants = sharing_variants(mini, 4)
    shared = {}
    for name, changes in variants.items():
        sharing = resolved(variant_config(config, clip, name, changes)).sharing.config
        shared[name] = None if sharing is None else (len(sharing.steps), len(sharing.layers))
        if sharing is not None:
            assert max(sharing.layers) == mini.num_layers - 1  # the last layers
            assert min(sharing.steps) == 0  # the first steps
    assert shared["off"] is None
    assert shared["without mask"] == shared["paper"]
    grid = {name: counts for name, counts in shared.items() if "×" in name}
    assert len(grid) == len(set(grid.values())) == 9
    for name, (steps, layers) in grid.items():
        assert name == f"{steps} of 4 steps × {layers} of {mini.num_layers} layers"


@pytest.mark.timeout(600)
def test_one_command_makes_scores_and_goes_on(benchmark, narrow, tmp_path):
    config = AblateConfig(
        "reference-tokens", tmp_path / "out", benchmark, narrow, steps=1, cache=tmp_path / "cache", device="cpu"
    )
    evaluation, paths = ablate(config, NullProgress())
    assert evaluation.rows == ["on", "off", "truth"]
    assert all(path.stat().st_size for path in paths)
    videos = {name: tmp_path / "out" / "videos" / name / "000.mp4" for name in ("on", "off")}
    on, off = (videos[name].read_bytes() for name in ("on", "off"))
    assert on != off  # tokens matter, even to one step
    content = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert content["scores"]["off"]["PSNR"]["value"] == evaluation.cells["off", "PSNR"].value
    assert content["variants"] == {"on": {}, "off": {"reference_tokens": False}}
    assert "seam flicker" in content["scores"]["on"]
    assert not list(Path(tmp_path / "out" / "videos").rglob("*.posegen"))
    # the same command makes nothing again, and what was lost is made again, bit for bit
    kept = videos["on"].stat().st_mtime_ns
    videos["off"].unlink()
    ablate(config, NullProgress())
    assert videos["on"].stat().st_mtime_ns == kept
    assert videos["off"].read_bytes() == off
    # other settings make it anew
    ablate(dataclasses.replace(config, seed=1), NullProgress())
    assert videos["on"].stat().st_mtime_ns != kept
