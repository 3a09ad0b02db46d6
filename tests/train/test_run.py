"""Training as a user runs it: every stage, interruption, bad steps, foreign checkpoints, a full disk, two processes."""

import dataclasses
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file

from posegen.data.encoding import Encoding
from posegen.data.fetching import RemoteFolder
from posegen.data.latent_cache import LatentCache
from posegen.data.shards import open_shards
from posegen.errors import OutputError, PosegenError
from posegen.model import lora
from posegen.model.sources import describe_model, load_pipeline
from posegen.progress import NullProgress
from posegen.train import loop as loop_module
from posegen.train.interruption import Interruption
from posegen.train.run_needs import bytes_of_clip, checkpoint_bytes
from posegen.train.stage_settings import Phase
from posegen.train.train_recipe import read_recipe
from posegen.train.training import (
    TrainingPaths,
    _count_clips,
    _transformer_inputs,
    dry_run,
    estimate_memory,
    train,
)
from serving_files import serving, write_index
from tiny_shards import break_clip, write_shards

CPU = torch.device("cpu")


class StopAfter(NullProgress):
    """Interrupts like Ctrl-C, once a number of steps is done."""

    def __init__(self, step):
        self.step = step

    def update(self, task, done, total):
        if task.startswith("train ") and done == self.step:
            raise KeyboardInterrupt


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return {
        f"{file.relative_to(folder)}:{name}": tensor
        for file in sorted(folder.rglob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def assert_same_bits(first: Path, second: Path) -> None:
    ours, theirs = weights_of(first), weights_of(second)
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert not different, different[:5]


def test_the_stages_follow_each_other(pretrained, based, make_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(based.parents[1], run)
    base = run / "base" / "model"
    stitch = train("stitch", *make_run(run))
    first = load_pipeline(str(pretrained), CPU, torch.float32)
    last = load_pipeline(str(stitch), CPU, torch.float32)
    assert lora.adapter_names(last.transformer) == ["base", "stitch"]
    assert last.config.trained
    plain = {f"{name}": tensor for name, tensor in first.transformer.state_dict().items()}
    for name, tensor in last.transformer.state_dict().items():
        if ".base_layer." in name:
            assert torch.equal(tensor, plain[name.replace(".base_layer.", ".")]), f"{name} was frozen, and changed"
    adapters = {
        name: load_file(stitch / "adapters" / name / "pytorch_lora_weights.safetensors") for name in ("base", "stitch")
    }
    kept = load_file(base / "adapters" / "base" / "pytorch_lora_weights.safetensors")
    assert all(torch.equal(adapters["base"][name], kept[name]) for name in kept)
    assert any(not torch.equal(adapters["stitch"][name], kept[name]) for name in kept)
    records = [json.loads(line) for line in (run / "base" / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if "train/loss" in record] == [1, 2, 3, 4]
    validation = records[-1]
    assert {"validation/loss_true", "validation/loss_shuffled", "validation/loss_true_0.5"} <= validation.keys()
    assert list((run / "base" / "samples").glob("sample_0-*.png"))
    assert list((run / "base" / "samples").glob("sample_0-*.mp4"))
    assert list((run / "base" / "tensorboard").glob("events*"))


@pytest.mark.parametrize(
    ("stage", "more"),
    [
        ("vae", ""),
        ("pretrain", ""),
        ("pretrain", 'optimizer = "muon"\n'),
        ("base", ""),
        ("stitch", ""),
        ("distill", ""),
    ],
)
def test_an_interrupted_run_ends_bit_identical(stage, more, pretrained, based, make_run, tmp_path):
    start = {"vae": None, "pretrain": str(pretrained.parents[1] / "vae" / "model")}.get(stage, str(pretrained))
    if stage in ("stitch", "distill"):
        start = str(based)
    often = {stage: "checkpoint_every = 1\nvalidate_every = 2\n" + more}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    if stage in ("stitch", "distill") or more:
        train(stage, *make_run(whole, start, **{stage: "checkpoint_every = 100\nvalidate_every = 100\n" + more}))
    else:
        whole = (based if stage == "base" else pretrained).parents[1]
    for step in (2, 3):
        with pytest.raises(KeyboardInterrupt):
            train(stage, *make_run(broken, start, **often), StopAfter(step))
        assert not (broken / stage / "model").exists()
    train(stage, *make_run(broken, start, **often))
    assert_same_bits(whole / stage / "model", broken / stage / "model")
    losses = [
        [
            json.loads(line)["train/loss"]
            for line in (folder / stage / "metrics.jsonl").read_text().splitlines()
            if "train/loss" in line
        ]
        for folder in (whole, broken)
    ]
    assert losses[0] == losses[1]


class SignalAfter(NullProgress):
    """Sends a signal to this process once a number of steps is done."""

    def __init__(self, number, step):
        self.number, self.step = number, step

    def update(self, task, done, total):
        if task.startswith("train ") and done == self.step:
            signal.raise_signal(self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_with_a_checkpoint_of_its_step(number, pretrained, based, make_run, tmp_path):
    seldom = "checkpoint_every = 100\n"
    run = tmp_path / "run"
    ended = signal.default_int_handler if number == signal.SIGINT else lambda *_: sys.exit(number)
    before = signal.signal(number, ended)
    try:
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train("base", *make_run(run, str(pretrained), base=seldom), SignalAfter(number, 2))
        assert signal.getsignal(number) is ended
    finally:
        signal.signal(number, before)
    assert [path.name for path in (run / "base" / "checkpoints").iterdir()] == ["step-0000002"]
    train("base", *make_run(run, str(pretrained), base=seldom))
    assert_same_bits(based, run / "base" / "model")


def test_a_second_signal_acts_at_once_and_an_ignored_one_never():
    came = []
    before = signal.signal(signal.SIGTERM, lambda *_: came.append("acted"))
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGHUP)
            assert not interruption.came
            signal.raise_signal(signal.SIGTERM)
            assert interruption.came
            assert not came
            signal.raise_signal(signal.SIGTERM)
            assert came
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGHUP, ignored)


def test_checkpoints_are_written_by_time_too(pretrained, make_run, tmp_path):
    run = tmp_path / "run"
    often = "checkpoint_every = 100\ncheckpoint_minutes = 1e-6\n"
    with pytest.raises(KeyboardInterrupt):  # not a signal: nothing is written for it
        train("base", *make_run(run, str(pretrained), base=often), StopAfter(3))
    assert [path.name for path in sorted((run / "base" / "checkpoints").iterdir())][-1] == "step-0000002"


def test_a_decoder_alone_keeps_what_was_encoded_and_trained(based, make_run, shards, tmp_path):
    only = "decoder_only = true\nlatent_noise = 0.2\nmotion_weight = 1.0\n"
    start, run = based, tmp_path / "run"
    model = train("vae", *make_run(run, str(start), vae=only))
    ours, theirs = weights_of(model), weights_of(start)
    assert ours.keys() == theirs.keys()
    changed = {name.split(":")[1].split(".")[0] for name in ours if not torch.equal(ours[name], theirs[name])}
    assert changed == {name.split(":")[1].split(".")[0] for name in ours if ":decoder" in name}
    first, last = (load_pipeline(str(folder), CPU, torch.float32) for folder in (start, model))
    assert last.vae.config.latents_std == first.vae.config.latents_std
    clips, encoding = open_shards(shards, "train"), Encoding(9)
    files = [LatentCache(tmp_path / "cache", each, torch.float32).prepare(clips, encoding) for each in (first, last)]
    assert files[0] == files[1]
    assert len(list((tmp_path / "cache").glob("*.safetensors"))) == len(clips)
    figures = [json.loads(line) for line in (run / "vae" / "metrics.jsonl").read_text().splitlines()]
    assert all(record["train/loss"] > 0 for record in figures if "train/loss" in record)


def test_a_killed_process_goes_on(warm, pretrained, based, make_run, make_recipe, shards, tmp_path):
    killed = tmp_path / "killed"
    process = warm.posegen(
        "train", "base", "--recipe", make_recipe("killed.toml", base="checkpoint_every = 1\n"), "--output", killed,
        "--data", shards, "--validation", shards, "--cache", shards / "cache", "--init", pretrained,
        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip  # short arguments, read in rows
    checkpoints = killed / "base" / "checkpoints"
    try:
        while process.poll() is None and not list(checkpoints.glob("step-0000001/state.json")):
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    train("base", *make_run(killed, str(pretrained), base="checkpoint_every = 1\n"))
    assert_same_bits(based, killed / "base" / "model")


@pytest.mark.parametrize("stage", ["vae", "base"])
def test_shards_at_a_url_train_as_a_folder_does(stage, pretrained, make_run, shards, tmp_path):
    """Also interrupted, and with room for one shard only, so that they are fetched again and again."""
    start = {"vae": None, "base": str(pretrained)}[stage]
    often = {stage: "checkpoint_every = 1\n"}
    recipe, places = make_run(tmp_path / "folder", start, **often)
    train(stage, recipe, places)
    copy = tmp_path / "copy"
    shutil.copytree(shards, copy, ignore=shutil.ignore_patterns("cache"))
    for split in ("train", "val-same"):
        write_index(copy, split)
    with serving(copy) as server:
        remote = RemoteFolder(
            server.url, tmp_path / "cache" / "shards", 1.5 * (copy / "train-000000.tar").stat().st_size
        )
        recipe, _ = make_run(tmp_path / "url", start, **often)
        places = TrainingPaths(tmp_path / "url", remote, remote, tmp_path / "cache", start)
        with pytest.raises(KeyboardInterrupt):
            train(stage, recipe, places, StopAfter(2))
        train(stage, recipe, places)
    assert_same_bits(tmp_path / "folder" / stage, tmp_path / "url" / stage)


def test_a_finished_stage_is_not_trained_again(pretrained, based, make_run, tmp_path):
    said = []
    progress = NullProgress()
    progress.say = said.append
    run = make_run(tmp_path / "run", str(pretrained))
    shutil.copytree(based.parents[1], tmp_path / "run")
    folder = tmp_path / "run" / "base" / "model"
    stamp = (folder / "model_index.json").stat().st_mtime_ns
    assert train("base", *run, progress) == folder
    assert (folder / "model_index.json").stat().st_mtime_ns == stamp
    assert "finished" in said[-1]
    with pytest.raises(PosegenError, match="run/base was trained with another recipe: choose another output"):
        train("base", *make_run(tmp_path / "run", str(pretrained), base="learning_rate = 0.5\n"))
    notes = tmp_path / "run" / "base" / "finished.json"
    notes.write_text('{"steps": 4}')  # of a version that did not note the recipe
    assert train("base", *run) == folder


def poison(monkeypatch, bad_steps):
    """Losses of these steps (counted from 1) are not finite."""
    original, count = loop_module.Loop._step, iter(range(1, 1000))

    def step(self, batches):
        if next(count) in bad_steps:
            loss = self.stage.loss
            self.stage.loss = lambda *arguments: loss(*arguments) * float("nan")
            try:
                return original(self, batches)
            finally:
                self.stage.loss = loss
        return original(self, batches)

    monkeypatch.setattr(loop_module.Loop, "_step", step)


def test_bad_steps_are_skipped_and_counted(pretrained, make_run, tmp_path, monkeypatch, caplog):
    poison(monkeypatch, {2})
    folder = train("base", *make_run(tmp_path / "run", str(pretrained)))
    assert json.loads((tmp_path / "run" / "base" / "finished.json").read_text())["bad_steps"] == 1
    assert "step 2 skipped: loss nan" in caplog.text
    assert all(tensor.isfinite().all() for tensor in weights_of(folder).values())


def test_bad_steps_that_persist_stop_the_run(pretrained, make_run, tmp_path, monkeypatch):
    poison(monkeypatch, {2, 3})
    with pytest.raises(PosegenError, match="2 steps in a row had a loss or gradient that is not finite"):
        train("base", *make_run(tmp_path / "run", str(pretrained), base="max_bad_steps = 2\n"))


def test_a_checkpoint_of_another_recipe_is_refused(pretrained, make_run, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train("base", *make_run(run, str(pretrained), base="checkpoint_every = 1\n"), StopAfter(2))
    with pytest.raises(PosegenError, match="belongs to another recipe: choose another output"):
        train("base", *make_run(run, str(pretrained), base="checkpoint_every = 1\nlearning_rate = 0.5\n"))
    with pytest.raises(PosegenError, match="belongs to another starting model"):
        train("base", *make_run(run, str(pretrained.parents[1] / "vae" / "model"), base="checkpoint_every = 1\n"))


def test_a_damaged_checkpoint_costs_its_steps_and_nothing_else(pretrained, based, make_run, tmp_path, caplog):
    often = "checkpoint_every = 1\n"
    with pytest.raises(KeyboardInterrupt):
        train("base", *make_run(tmp_path / "stopped", str(pretrained), base=often), StopAfter(3))
    for name in ("weights.safetensors", "optimizer.pt", "state.json"):
        run = tmp_path / name
        shutil.copytree(tmp_path / "stopped", run)
        newest = sorted((run / "base" / "checkpoints").iterdir())[-1] / name
        content = bytearray(newest.read_bytes())
        content[len(content) // 2] ^= 1
        newest.write_bytes(content)
        assert_same_bits(based, train("base", *make_run(run, str(pretrained), base=often)))
        assert f"{newest}: " in caplog.text


def test_a_finished_model_that_is_damaged_is_written_again(pretrained, based, make_run, tmp_path, caplog):
    run = make_run(tmp_path / "run", str(pretrained))
    shutil.copytree(based.parents[1], tmp_path / "run")
    model = tmp_path / "run" / "base" / "model"
    (file, *_) = sorted(model.rglob("*.safetensors"))
    before = {key: tensor.clone() for key, tensor in load_file(file).items()}
    content = bytearray(file.read_bytes())
    content[-3] ^= 8
    file.write_bytes(content)
    train("base", *run)
    assert file.name in caplog.text
    after = load_file(file)
    assert all(torch.equal(tensor, after[key]) for key, tensor in before.items())


def test_a_full_disk_leaves_the_checkpoint_before_whole(pretrained, based, make_run, tmp_path):
    run = make_run(tmp_path / "run", str(pretrained), base="checkpoint_every = 1\n")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Fill(NullProgress):
        def update(self, task, done, total):
            if task.startswith("train ") and done == 3:
                resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))

    try:
        with pytest.raises(OutputError, match="step-0000002 is whole: free some space"):
            train("base", *run, Fill())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    checkpoints = tmp_path / "run" / "base" / "checkpoints"
    assert sorted(path.name for path in checkpoints.iterdir()) == ["step-0000001", "step-0000002"]
    train("base", *run)
    assert_same_bits(tmp_path / "run" / "base" / "model", based)


def test_a_second_run_in_one_folder_is_refused(pretrained, make_run, tmp_path):
    run = make_run(tmp_path / "run", str(pretrained))

    class Again(NullProgress):
        def update(self, task, done, total):
            if task.startswith("train ") and done == 1:
                train("base", *run)

    with pytest.raises(PosegenError, match="another run trains in"):
        train("base", *run, Again())


def test_a_stage_without_the_one_before_says_so(make_run, tmp_path):
    with pytest.raises(PosegenError, match="base needs the model of the stage pretrain"):
        train("base", *make_run(tmp_path / "run"))


@pytest.mark.parametrize("phase", [{"num_frames": 13}, {"num_frames": 5, "of_frames": 13}])
def test_clips_shorter_than_what_a_phase_takes_of_them_are_an_error(phase, pretrained, make_run, tmp_path):
    recipe, places = make_run(tmp_path / "run", str(pretrained))
    longer = dataclasses.replace(recipe.base, phases=(Phase(steps=1, batch_size=4, **phase),))
    with pytest.raises(PosegenError, match="shorter than the 13 frames"):
        train("base", dataclasses.replace(recipe, base=longer), places)


def run_twice(warm, program, arguments):
    """Run a program in two processes that know of each other, as `torchrun` starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = [
        warm(program, arguments, stderr=subprocess.PIPE, environment={
            "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1", "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2",
            "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
        })
        for rank in ("0", "1")
    ]  # fmt: skip  # a table, read in rows
    try:
        errors = [process.communicate(timeout=240)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, error in zip(processes, errors, strict=True):
        assert process.returncode == 0, error[-3000:]


LAUNCHED = """
import sys
sys.path.insert(0, {tests!r})
from warm_process import WarmProcess
process = WarmProcess({server!r}, {program!r}, sys.argv[1:], None, None, None, None, True)
sys.exit(process.wait())
"""
"""What the launcher starts: it has the environment that it gave, and its libraries from the server."""


def run_twice_by_torchrun(warm, folder, program, arguments):
    """The same by the launcher that users call."""
    starter = folder / "launched.py"
    starter.write_text(LAUNCHED.format(tests=str(Path(__file__).parents[1]), server=warm.path, program=program))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", starter]
    return subprocess.run(
        [*command, *arguments], check=False, env=environment, capture_output=True, text=True, timeout=240
    )


TOGETHER = """
import sys
from pathlib import Path
from accelerate import Accelerator
from posegen.train.train_recipe import read_recipe
from posegen.train.training import TrainingPaths, train

Accelerator.end_training = lambda self: None  # the next stage needs the other process again
recipe, output, shards, *stages = sys.argv[1:]
for stage in stages:
    name, _, start = stage.partition(":")
    folder = Path(shards)
    train(name, read_recipe(Path(recipe)), TrainingPaths(Path(output), folder, folder, folder / "cache", start or None))
"""


def test_two_processes_train_as_one_does(warm, pretrained, based, make_run, make_recipe, shards, tmp_path):
    """Every stage, each from where the one process began it."""
    two = tmp_path / "two"
    vae = pretrained.parents[1] / "vae" / "model"
    starts = {"vae": "", "pretrain": vae, "base": pretrained, "stitch": based, "distill": based}
    alone = {"vae": vae, "pretrain": pretrained, "base": based}
    for stage in ("stitch", "distill"):
        alone[stage] = train(stage, *make_run(tmp_path / "one", str(based)))
    stages = [f"{stage}:{start}" for stage, start in starts.items()]
    run_twice(warm, TOGETHER, [make_recipe("one.toml"), two, shards, *stages])
    for stage in starts:
        ours, theirs = weights_of(alone[stage]), weights_of(two / stage / "model")
        assert ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            assert (theirs[name] - tensor).norm() <= 0.01 * tensor.norm(), (stage, name)


BY_COMMAND = """
import sys
from accelerate import Accelerator
from posegen.apps import cli

Accelerator.end_training = lambda self: None  # the next command needs the other process again
recipe, start, *places = sys.argv[1:]
for output, data in zip(places[::2], places[1::2]):
    command = ["train", "base", "--recipe", recipe, "--output", output + "/run", "--data", data, "--validation", data,
               "--cache", output + "/cache", "--init", start]
    assert cli.guarded(lambda: cli.dispatch(cli.parse(command))) == 0
"""


def test_two_processes_train_from_a_url_as_from_the_folder(warm, pretrained, make_recipe, shards, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(shards, copy, ignore=shutil.ignore_patterns("cache"))
    for split in ("train", "val-same"):
        write_index(copy, split)
    with serving(copy) as server:
        places = [tmp_path / "folder", shards, tmp_path / "url", server.url]
        arguments = [make_recipe("two.toml"), pretrained, *places]
        done = run_twice_by_torchrun(warm, tmp_path, BY_COMMAND, list(map(str, arguments)))
        assert done.returncode == 0, done.stderr[-3000:]
        assert sorted({name for name, _ in server.asked if name.endswith(".tar")}) == [
            "train-000000.tar",
            "train-000001.tar",
            "val-same-000000.tar",
        ]
        assert len([name for name, _ in server.asked if name.endswith(".tar")]) == 3, "each once for both processes"
    assert_same_bits(*(tmp_path / name / "run" / "base" / "model" for name in ("folder", "url")))


def test_accumulation_changes_nothing_but_rounding(pretrained, based, make_run, tmp_path):
    parts = train("base", *make_run(tmp_path / "parts", str(pretrained), base="accumulate = 2\n"))
    ours, theirs = (weights_of(model / "adapters") for model in (based, parts))
    for name, tensor in ours.items():
        torch.testing.assert_close(theirs[name], tensor, atol=2e-5, rtol=1e-3, msg=name)


SHARDED = """
import sys
from pathlib import Path
from torch.distributed.tensor import DTensor
from posegen.train.loop import Loop
from posegen.train.stage_settings import Phase
from posegen.train.train_recipe import read_recipe
from posegen.train.training import TrainingPaths, train

original, stops = Loop._step, [3]

def step(self, batches):
    for name, parameter in self.bare.named_parameters():
        assert isinstance(parameter, DTensor), name
    if self.counters.step in stops:
        stops.remove(self.counters.step)
        raise KeyboardInterrupt
    return original(self, batches)

Loop._step = step
stage, recipe, output, shards, cache, start = sys.argv[1:]
run = stage, read_recipe(Path(recipe)), TrainingPaths(Path(output), Path(shards), Path(shards), Path(cache), start)
try:
    train(*run)
except KeyboardInterrupt:
    train(*run)
assert not stops
"""


SHARED_OUT = {
    "pretrain": """
precision = "fp32"
learning_rate = 1e-3
pose_share = 0.5
ema = 0.9
""",
    "base": """
gradient_checkpointing = true
accumulate = 2
""",
}


@pytest.mark.parametrize(
    ("stage", "model", "tolerance"),
    [("pretrain", "", 1e-4), ("base", 'base_weights = "bf16"\nexport = "adapter"\n', 0.1)],
)
def test_sharded_weights_train_as_whole_ones_do(warm, stage, model, tolerance, pretrained, shards, tmp_path):
    """Interrupted, going on, with a moving average or as large bases are trained, and exported whole."""
    start = {"pretrain": pretrained.parents[1] / "vae" / "model", "base": pretrained}[stage]
    recipes = {}
    for name in ("ddp", "fsdp"):
        recipes[name] = tmp_path / f"{name}.toml"
        recipes[name].write_text(
            f'name = "shared"\n[model]\nstart = "{start}"\n{model}[{stage}]\nstrategy = "{name}"\nsteps = 4\n'
            f"num_frames = 5\nbatch_size = 4\ncheckpoint_every = 2\nvalidation_clips = 2\nsample_steps = 1\n"
            + SHARED_OUT[stage]
        )
    run_twice(warm, SHARDED, [stage, recipes["fsdp"], tmp_path / "fsdp", shards, shards / "cache", start])
    train(
        stage,
        read_recipe(recipes["ddp"]),
        TrainingPaths(tmp_path / "ddp", shards, shards, shards / "cache", str(start)),
    )
    ours, theirs = (weights_of(tmp_path / name / stage / "model") for name in ("ddp", "fsdp"))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert (theirs[name] - tensor).norm() <= tolerance * tensor.norm(), name


def test_clips_can_be_encoded_without_training(pretrained, make_run, tmp_path, monkeypatch):
    recipe, places = make_run(tmp_path / "run", start=str(pretrained))
    places = dataclasses.replace(places, cache=tmp_path / "cache")
    assert train("base", recipe, places, encode_only=True) == places.cache
    assert not (tmp_path / "run" / "base" / "checkpoints").exists()
    encoded = sorted(places.cache.iterdir())
    assert encoded

    def not_again(*_):
        raise AssertionError("encoded a second time")

    monkeypatch.setattr(LatentCache, "encode_shard", not_again)
    assert train("base", recipe, places).is_dir()
    assert sorted(places.cache.iterdir()) == encoded


def test_a_damaged_clip_among_a_hundred_is_left_out_of_the_vae(make_run, tmp_path, caplog):
    recipe, places = make_run(tmp_path / "run")
    many = write_shards(tmp_path / "many", "train", shards=100, clips=1)
    for sample in open_shards(many, "train")[7].samples:
        break_clip(sample)
    places = dataclasses.replace(places, train=many)
    assert train("vae", recipe, places).is_dir()
    assert "1 of 100 training clips left out: train-00000007; they are damaged" in caplog.text
    break_clip(open_shards(many, "train")[8].samples[0])
    with pytest.raises(PosegenError, match="2 of 100 training clips cannot be used"):
        train("vae", recipe, dataclasses.replace(places, output=tmp_path / "again"))


def test_a_vae_that_does_not_fit_in_memory_is_told_before_training(make_run, tmp_path):
    recipe, places = make_run(tmp_path / "run")
    large = dataclasses.replace(recipe.vae, phases=(dataclasses.replace(recipe.vae.phases[0], batch_size=10_000_000),))
    with pytest.raises(PosegenError, match="raise accumulate, lower batch_size, num_frames or crop"):
        train("vae", dataclasses.replace(recipe, vae=large), places)


def test_clips_kept_in_memory_change_nothing(pretrained, make_run, tmp_path):
    plain = pretrained.parents[1] / "vae" / "model"
    kept = train("vae", *make_run(tmp_path / "kept", vae="kept_gb = 1\n"))
    assert_same_bits(plain, kept)


def test_a_model_from_scratch_says_at_which_size_it_was_trained(pretrained, shards):
    (size,) = {sample.size for shard in open_shards(shards, "train") for sample in shard.samples}
    assert describe_model(str(pretrained)).trained_size == tuple(size)
    assert describe_model(str(pretrained)).size_for((500, 900)) == tuple(size)


def test_a_dry_run_tells_the_disk_for_encoded_clips_and_for_checkpoints(pretrained, based, make_run, shards, tmp_path):
    recipe, places = make_run(tmp_path / "run", str(pretrained))
    cache = tmp_path / "cache"
    model, inputs = describe_model(str(pretrained)), _transformer_inputs(recipe, str(pretrained), (32, 32))
    train("base", recipe, dataclasses.replace(places, cache=cache), encode_only=True)
    files = list(cache.glob("*.safetensors"))
    written = sum(path.stat().st_size for path in files)
    expected = _count_clips(places) * bytes_of_clip(recipe.base, model, inputs)
    assert expected <= written <= expected + 4000 * len(files)  # their headers
    memory = estimate_memory("base", recipe, str(pretrained), (32, 32), 1)
    newest = max((based.parent / "checkpoints").iterdir())
    found = sum(path.stat().st_size for path in newest.iterdir())
    assert found == pytest.approx(checkpoint_bytes(recipe.base, memory), rel=0.15)  # names of tensors beside them
    assert "time: 4.0 hours" in dry_run("base", recipe, places, 1, 3600.0)


def test_a_dry_run_names_what_would_be_downloaded_and_downloads_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    nothing = TrainingPaths(tmp_path, tmp_path, tmp_path, tmp_path)
    said = dry_run("base", read_recipe("wan2.1-i2v-14b"), nothing, 8)
    assert "downloads Wan-AI/Wan2.1-I2V-14B-720P-Diffusers" in said
    assert not (tmp_path / "hub").exists()
