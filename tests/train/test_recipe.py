"""Recipes: those that come with posegen are right, and every slip is named."""

import pytest

from posegen.errors import PosegenError
from posegen.train.stage_settings import STAGES
from posegen.train.train_recipe import read_recipe

STAGE = "steps = 10\nnum_frames = 9\nbatch_size = 4\n"
FP8 = 'base_weights = "fp8"\nexport = "adapter"'
GOOD = f'name = "test"\n[model]\nstart = "mini"\n[base]\n{STAGE}'


def read(tmp_path, text):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return read_recipe(path)


def test_the_14b_recipe_is_the_methods():
    recipe = read_recipe("wan2.1-i2v-14b")
    for stage in ("base", "stitch"):
        settings = recipe.stage(stage)
        assert (settings.steps, settings.phases[0].batch_size, settings.phases[0].num_frames) == (4000, 8, 81)
        assert (settings.rank, settings.alpha, settings.learning_rate, settings.warmup) == (16, 16, 1e-4, 0.1)
        assert (settings.hand_skeleton_dropout, settings.hand_normal_dropout) == (0.1, 0.1)
        assert settings.gradient_checkpointing


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "learning_rat = 1.0\n", r"\[base\] has the unknown key 'learning_rat'"),
        (GOOD + 'learning_rate = "high"\n', r"base\.learning_rate must be float, not 'high'"),
        (GOOD + "learning_rate = -1\n", "learning_rate must be positive"),
        (GOOD + "text_dropout = 1.5\n", "text_dropout must be between 0 and 1"),
        (GOOD + "kl_weight = 0.1\n", r"\[base\] kl_weight has no meaning in this stage \(it belongs to \[vae\]\)"),
        (GOOD + "from_base = false\n", r"\[base\] from_base has no meaning .* \[stitch\]"),
        (GOOD + f"[vae]\nrank = 16\n{STAGE}", r"\[vae\] rank has no meaning .* \[base\] \[stitch\]"),
        (GOOD + 'stage = "base"\n', r"\[base\] has the unknown key 'stage'"),
        (GOOD + "[vae]\nof_frames = 33\n" + STAGE, r"\[vae\] of_frames has no meaning"),
        (GOOD + 'precision = "fp16"\n', "precision must be one of bf16, fp32"),
        (GOOD + "accumulate = 3\n", "batch_size 4 cannot be split into accumulate = 3"),
        (GOOD + "decoder_only = true\n", r"\[base\] decoder_only has no meaning in this stage"),
        (GOOD + "[vae]\nlatent_noise = 0.1\n" + STAGE, "latent_noise is for decoder_only"),
        (GOOD + "[vae]\ndecoder_only = true\nfit_clips = 8\n" + STAGE, "fit_clips changes the encoder"),
        (GOOD + "[vae]\nmotion_weight = -1\n" + STAGE, "motion_weight must not be negative"),
        (GOOD + "crop = 64\n", "only the vae is trained on crops"),
        (GOOD + "of_frames = 5\n", r"of_frames must be 1 \+ 4k and at least num_frames, not 5"),
        (GOOD.replace("[base]", "[stitch]") + "of_frames = 33\n", r"\[stitch\] of_frames has no meaning"),
        (GOOD + f'[vae]\nstrategy = "fsdp"\n{STAGE}', "is for transformers"),
        (GOOD + 'optimizer = "muon"\nstrategy = "fsdp"\n', "needs whole matrices"),
        (GOOD + "learning_rate = nan\n", r"base\.learning_rate must be a finite number, not nan"),
        (GOOD + "seed = -1\n", r"\[base\] seed must be from 0 to 2\^63 - 1, not -1"),
        (GOOD.replace('"mini"', '"mini"\nseed = -1'), r"\[model\] seed must be from 0"),
        (GOOD + "betas = [1.5, 0.9]\n", r"betas must be at least 0 and less than 1, not \(1\.5, 0\.9\)"),
        (GOOD + "ema = 1.0\n", "ema must be at least 0 and less than 1, not 1.0"),
        (GOOD + "weight_decay = -0.1\n", "weight_decay must not be negative"),
        (GOOD + "final_learning_rate = -1e-5\n", "final_learning_rate must not be negative"),
        (GOOD + "final_learning_rate = 1e-3\n", r"final_learning_rate 0\.001 is higher than learning_rate 0\.0001"),
        (GOOD + "alpha = 0\n", "alpha must be positive"),
        (GOOD + "[vae]\nkl_weight = -1\n" + STAGE, "kl_weight must not be negative"),
        (GOOD + "[vae]\nfit_clips = -1\n" + STAGE, "fit_clips must not be negative"),
        (GOOD + "[vae]\nkeep_linear = true\nfit_clips = 8\n" + STAGE, "fit_clips changes the linear code"),
        (GOOD + "[vae]\ndecoder_only = true\nkl_weight = 0.1\n" + STAGE, "kl_weight has no meaning with decoder_only"),
        (GOOD + "[stitch]\nfrom_base = true\nrank = 8\n" + STAGE, r"\[stitch\] rank has no meaning with from_base"),
        (GOOD + "[vae]\nwindows = 2\n" + STAGE, r"\[vae\] windows and mirror have no meaning"),
        (GOOD + "[vae]\nmirror = true\n" + STAGE, r"\[vae\] windows and mirror have no meaning"),
        (GOOD + "[vae]\ngradient_checkpointing = true\n" + STAGE, "gradient_checkpointing has no meaning in this"),
        (GOOD + '[vae]\noptimizer = "muon"\n' + STAGE, "for the matrices of transformers"),
        (
            GOOD + "[data]\nsize = [-192, 112]\n",
            r"\[data\] size must be \[height, width\] in pixels, not \[-192, 112\]",
        ),
        (GOOD + "[data]\nsizes = [[192, 112], [112]]\n", r"sizes"),
        (GOOD + "[data]\nsize = [192, 112]\nsizes = [[192, 112]]\n", "has both size and sizes"),
        (GOOD + "[data]\nsize = [192, 0]\n", "size must be"),
        (GOOD.replace("num_frames = 9", "num_frames = 8"), r"num_frames must be 1 \+ 4k, not 8"),
        (GOOD.replace("batch_size = 4\n", ""), "lacks 'batch_size'"),
        (GOOD.replace('start = "mini"', ""), r"\[model\] lacks 'start'"),
        (GOOD.replace('"mini"', '"scratch:14b"'), "only the mini can be built from scratch"),
        (GOOD.replace('"mini"', '"mini"\nlayers = 2'), "of a model from scratch"),
        (GOOD.replace('"mini"', '"scratch:mini"\nheads = -1'), r"\[model\] heads must be from 0 to 1000, not -1"),
        (
            GOOD.replace('"mini"', '"scratch:mini"\nlayers = 100000'),
            r"\[model\] layers must be from 0 to 1000, not 100000",
        ),
        (GOOD.replace('"mini"', f'"mini"\n{FP8}') + 'strategy = "fsdp"\n', "cannot shard fp8"),
        (GOOD.replace('"mini"', f'"mini"\n{FP8}') + f"[pretrain]\n{STAGE}", "trains all weights"),
        (GOOD.replace('"mini"', '"mini"\nbase_weights = "bf16"'), 'set export = "adapter"'),
        (GOOD + "[[base.phases]]\nsteps = 1\nnum_frames = 1\nbatch_size = 1\n", "unknown key 'batch_size'"),
        ("name = 3\n", "lacks 'model'"),
        ("name = \n", "not a recipe in TOML"),
    ],
)
def test_slips_are_named(tmp_path, text, message):
    with pytest.raises(PosegenError, match=message):
        read(tmp_path, text)


def test_a_byte_order_mark_is_skipped(tmp_path):
    (tmp_path / "marked.toml").write_text(GOOD, encoding="utf-8-sig")
    assert read_recipe(tmp_path / "marked.toml") == read(tmp_path, GOOD)


def test_a_missing_file_and_a_missing_stage_are_named(tmp_path):
    with pytest.raises(PosegenError, match=r"none\.toml: no such"):
        read_recipe(tmp_path / "none.toml")
    with pytest.raises(PosegenError, match="has no stage stitch: it has base"):
        read(tmp_path, GOOD).stage("stitch")


def test_phases_follow_each_other(tmp_path):
    phases = "".join(f"[[base.phases]]\nsteps = {n}\nnum_frames = {f}\nbatch_size = 2\n" for n, f in ((3, 1), (2, 9)))
    settings = read(tmp_path, f'name = "t"\n[model]\nstart = "mini"\n[base]\nseed = 1\n{phases}').stage("base")
    assert settings.steps == 5
    places = [settings.place(step) for step in range(5)]
    assert [(phase.num_frames, step) for phase, step in places] == [(1, 0), (1, 1), (1, 2), (9, 0), (9, 1)]


def test_checkpoints_of_older_versions_still_belong_to_their_recipes(tmp_path):
    """Fingerprints as version 0.2.0 computed them, when all stages had one class of settings."""
    text = f"""name = "kept"
[model]
start = "scratch:mini"
layers = 2
[vae]
crop = 16
motion_weight = 0.5
log_every = 1
{STAGE}
[pretrain]
pose_share = 0.5
pixel_weight = 0.25
[[pretrain.phases]]
steps = 3
num_frames = 1
windows = 2
batch_size = 4
[base]
rank = 8
optimizer = "muon"
compile = true
{STAGE}
[stitch]
from_base = true
{STAGE}
"""
    recipe = read(tmp_path, text)
    assert [recipe.fingerprint(stage) for stage in STAGES if stage != "distill"] == [
        "bdef932676615e84",
        "ec368c73c9407c82",
        "f0194b451908aa36",
        "f665d386925e990a",
    ]


def test_what_changes_the_result_changes_the_fingerprint(tmp_path):
    plain = read(tmp_path, GOOD).fingerprint("base")
    assert read(tmp_path, GOOD + 'log_every = 3\nstrategy = "fsdp"\n').fingerprint("base") == plain
    assert read(tmp_path, GOOD + '[data]\ntrain = "elsewhere"\n').fingerprint("base") == plain
    assert read(tmp_path, GOOD + "learning_rate = 2e-4\n").fingerprint("base") != plain
    assert read(tmp_path, GOOD.replace("steps = 10", "steps = 11")).fingerprint("base") != plain


def test_a_processor_without_bfloat16_computes_in_float32_but_for_small_frozen_weights():
    mini, large = (read_recipe(name) for name in ("mini", "wan2.1-i2v-14b-one-gpu"))
    assert mini.computed_on(True) == mini
    assert {mini.computed_on(False).stage(name).precision for name in ("vae", "pretrain", "base")} == {"fp32"}
    assert mini.stage("vae").precision == "bf16"
    assert large.computed_on(False) == large
