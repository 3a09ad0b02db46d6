"""The benchmark for GPUs runs at toy sizes on a CPU, by the very same code, and finds nothing wrong there."""

import json
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
QUICK = ["machine", "480p", "correctness", "attention_backends", "lora", "training", "fp8", "whole_model"]
ONLY_ON_A_GPU = {
    ("480p", "_native_cudnn"),
    ("correctness", "group offload, block_level, stream"),
    ("correctness", "group offload, leaf_level, stream"),
}
PROGRAM = """
import os, runpy, sys
os.chdir(sys.argv[1])
sys.path.insert(0, "benchmarks")
sys.argv = ["benchmarks/wan_14b.py", *sys.argv[2:]]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(warm, *arguments):
    done = warm.run(PROGRAM, [REPOSITORY, "--tiny", *arguments])
    assert done.returncode == 0, done.stderr


def test_it_runs_at_toy_sizes(warm, tmp_path):
    run(warm, "--seconds", "250", "--output", tmp_path, "--only", *QUICK)
    figures = json.loads((tmp_path / "wan_14b.json").read_text())["figures"]
    assert set(QUICK) <= set(figures)
    assert figures["skipped_for_lack_of_time"] == []
    for name in QUICK:
        assert "error" not in figures[name], figures[name]
        for part, result in figures[name].items():
            if name == "attention_backends" or (name, part) in ONLY_ON_A_GPU or not isinstance(result, dict):
                continue
            assert "error" not in result, (name, part, result)
            assert result.get("relative_error", 0) < 0.05, (name, part, result)
    assert figures["attention_backends"]["native"]["relative_error"] < 0.01


def test_what_there_is_no_time_for_is_named(warm, tmp_path):
    run(warm, "--seconds", "0", "--output", tmp_path, "--only", "machine", "lora")
    figures = json.loads((tmp_path / "wan_14b.json").read_text())["figures"]
    assert figures["skipped_for_lack_of_time"] == ["machine", "lora"]
