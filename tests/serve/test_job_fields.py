"""Fields of the API are the options of the commands: the same names, defaults, ranges, checks and words."""

from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posegen.config import GenerateConfig, PreviewConfig, ServeConfig
from posegen.config.base import ranges
from posegen.config.field_docs import field_docs
from posegen.errors import PosegenError
from posegen.serve.job_fields import (
    LEFT_OUT,
    REQUIRED,
    UPLOADED,
    FieldError,
    SentFile,
    explain,
    for_client,
    job_fields,
    make_config,
    read_fields,
)

FILES = {"reference": Path("a.png"), "driving_video": Path("b.mp4")}
KINDS = [GenerateConfig, PreviewConfig]


SERVER = ServeConfig()


def made(texts, files=FILES, server=SERVER, kind=GenerateConfig):
    values = read_fields({name: [text] for name, text in texts.items()}, kind)
    return make_config(kind, values, files, Path("out.mp4"), server)


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_is_a_field_or_is_left_out_for_a_reason(kind):
    of_settings = {field.setting for field in job_fields(kind).values()}
    assert {field.name for field in fields(kind)} == of_settings | set(LEFT_OUT)
    assert not of_settings & set(LEFT_OUT)
    assert all(field.description for field in job_fields(kind).values())


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_and_ranges_are_those_of_the_settings(kind):
    for field in fields(kind):
        shown = next((each for each in job_fields(kind).values() if each.setting == field.name), None)
        if shown is None:
            continue
        assert shown.required == (field.default is MISSING or field.name in REQUIRED)
        assert shown.required or shown.default == field.default
        assert shown.limits == ranges(kind).get(field.name)
        assert field_docs(kind)[field.name]


def test_a_job_without_fields_is_the_command_without_options():
    plain = GenerateConfig(reference=Path("a.png"), driving=Path("b.mp4"), output=Path("out.mp4"))
    assert made({}) == plain


@given(st.integers(-5, 1005), st.floats(-1, 101, allow_nan=False), st.sampled_from(["256x144", "9x9", "wide"]))
def test_values_are_accepted_exactly_where_the_command_accepts_them(steps, guidance, size):
    def accepts(make):
        try:
            return make()
        except PosegenError:
            return None

    mine = accepts(lambda: made({"steps": str(steps), "guidance": repr(guidance), "size": size}))
    theirs = accepts(
        lambda: GenerateConfig(
            reference=Path("a.png"),
            driving=Path("b.mp4"),
            output=Path("out.mp4"),
            steps=steps,
            guidance=guidance,
            size=size,
        )
    )
    assert mine == theirs


@pytest.mark.parametrize(
    ("texts", "field"),
    [
        ({"steps": "0"}, "steps"),
        ({"steps": "eight"}, "steps"),
        ({"steps": "1_0"}, "steps"),
        ({"steps": "9" * 5000}, "steps"),
        ({"guidance": "nan"}, "guidance"),
        ({"hands": "maybe"}, "hands"),
        ({"retarget": "on"}, "retarget"),
        ({"size": "96"}, "size"),
        ({"person": "somebody"}, "person"),
        ({"prompt": " "}, "prompt"),
        ({"prompt": "a\0b"}, "prompt"),
        ({"model": "/etc"}, "model"),
        ({"lora": "../secret.safetensors"}, "lora"),
        ({"stepz": "3"}, "stepz"),
        ({"output": "/etc/passwd"}, "output"),
        ({"device": "cuda"}, "device"),
        ({"driving": "b.mp4"}, "driving"),
        ({"pose": "file"}, "pose"),
        ({"pose": "sapiens1"}, "pose"),
        ({"trust_torchscript": "true"}, "trust_torchscript"),
        ({"start": "3", "end": "2"}, "start"),
    ],
)
def test_an_error_names_the_field(texts, field):
    with pytest.raises(FieldError) as raised:
        made(texts)
    assert raised.value.field == field
    assert field in str(raised.value)
    assert "--" not in str(raised.value)


@pytest.mark.parametrize("name", ["reference", "driving_video"])
def test_a_missing_file_is_named(name):
    with pytest.raises(FieldError) as raised:
        made({}, {other: path for other, path in FILES.items() if other != name})
    assert (raised.value.field, raised.value.code) == (name, "missing")


def test_models_weights_and_lora_files_are_the_server_owners_choice(tmp_path):
    (tmp_path / "style.safetensors").touch()
    (tmp_path / "notes.txt").touch()
    server = ServeConfig(models=("wan2.1-i2v-14b-720p", "mini"), loras=tmp_path, pose_weights="here/vitpose")
    assert made({}, server=server).model == "wan2.1-i2v-14b-720p"
    assert made({"pose": "vitpose"}, server=server).pose_weights == "here/vitpose"
    assert made({}, server=server).pose_weights is None
    assert made({"lora": "style.safetensors:0.5"}, server=server).lora == (f"{tmp_path}/style.safetensors:0.5",)
    for text in ("notes.txt", "style", "style.safetensorsx", ""):
        with pytest.raises(FieldError, match="lora"):
            made({"lora": text}, server=server)


def test_texts_for_clients_name_fields_and_their_own_files():
    file = SentFile(Path("/srv/uploads/ab/abc.png"), "reference", "man.png")
    assert for_client("/srv/uploads/ab/abc.png: --no-hands or `--conditions`", [file]) == (
        "man.png: hands=False or `driving_conditions`"
    )
    error = explain(PosegenError("/srv/uploads/ab/abc.png: cannot be read"), [file])
    assert (error.field, str(error)) == ("reference", "man.png: cannot be read")
    assert explain(PosegenError("no person is found in the reference image")).field == "reference"
    assert explain(PosegenError("nobody is seen in the driving video")).field == "driving_video"
    assert set(UPLOADED) & set(LEFT_OUT) == set()
