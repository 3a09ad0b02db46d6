"""The benchmark for GPUs runs at toy sizes on a CPU, by the very same code, and finds nothing wrong there."""

import json
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
QUICK = ["machine", "480p", "correctness", "attention_backends", "lora", "training", "fp8", "whole_model"]
ONLY_ON_A_GPU = {
    ("480p", "_native_cudnn"),
    ("correctness", "group offload, block_level, stream"),
    ("correctness", "group offload, leaf_level, stream"),
}


def test_it_runs_at_toy_sizes(tmp_path):
    command = [sys.executable, "benchmarks/wan_14b.py", "--tiny", "--seconds", "250", "--output", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src"), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "--only", *QUICK], cwd=REPOSITORY, env=environment, check=True, capture_output=True)
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


def test_what_there_is_no_time_for_is_named(tmp_path):
    command = [sys.executable, "benchmarks/wan_14b.py", "--tiny", "--seconds", "0", "--output", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
    subprocess.run(
        [*command, "--only", "machine", "lora"], cwd=REPOSITORY, env=environment, check=True, capture_output=True
    )
    figures = json.loads((tmp_path / "wan_14b.json").read_text())["figures"]
    assert figures["skipped_for_lack_of_time"] == ["machine", "lora"]
