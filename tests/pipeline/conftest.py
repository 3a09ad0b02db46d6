"""One mini model for the whole folder, in float32, and a narrow one as a folder; a short driving video, its conditions.

Most tests here are about jobs, not about what a picture shows: they take the narrow one (`config.model`).
"""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from posegen.config import DEFAULT_PROMPT, ExtractConfig, GenerateConfig
from posegen.media.video import VideoWriter, iterate_frames
from posegen.model.autoencoder import AutoencoderLightVideo
from posegen.pipeline.mini import build_mini

SIZE = "96x64"


@pytest.fixture(scope="session")
def mini():
    return build_mini()


@pytest.fixture(scope="session")
def narrow(tmp_path_factory):
    """The folder of a model with the mini's layers, a sixth of its width, and random weights."""
    model = build_mini(heads=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model.register_modules(
            vae=AutoencoderLightVideo(32, encoder_channels=[8, 16, 16], decoder_channels=[16, 16, 8])
        )
    model.register_to_config(trained=True)
    folder = tmp_path_factory.mktemp("narrow")
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def driving(tmp_path_factory, shared_media):
    """Two seconds and a bit of the dancer at 24 frames/s (60 frames), with sound, a third of the size."""
    path = tmp_path_factory.mktemp("driving") / "dance.mp4"
    source = shared_media / "driving_dance_full_body.mp4"
    with VideoWriter(path, Fraction(24), size=(640, 360), audio_from=source) as writer:
        for _, frame in zip(range(60), iterate_frames(source), strict=False):
            writer.write(np.ascontiguousarray(frame[1::3, 1::3]))
    return path


@pytest.fixture
def config(driving, shared_media, tmp_path, narrow):
    return GenerateConfig(
        model=narrow,
        reference=shared_media / "reference_man_half_body.png",
        driving=driving,
        output=tmp_path / "result.mp4",
        size=SIZE,
        steps=2,
        dtype="float32",
        anchor=0,
        prompt=DEFAULT_PROMPT,
        retarget="off",
    )


@pytest.fixture(scope="session")
def conditions(driving, tmp_path_factory):
    """Of the driving video at 40 frames/s: 100 frames, three base segments."""
    from posegen.apps.commands import extract

    folder = tmp_path_factory.mktemp("conditions")
    extract(ExtractConfig(driving=driving, output=folder, size=SIZE, fps="40"))
    return folder


@pytest.fixture
def lean(config, conditions):
    """A job of three base segments with guidance (both branches share), without any estimator."""
    return replace(config, guidance=2.0, conditions=conditions, size=None, person_check=False)
