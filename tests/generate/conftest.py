"""One mini model for the whole folder, in float32; a short driving video, its conditions, and a job of a narrow model.

Most tests here are about jobs, not about what a picture shows: they take the narrow one (`config.model`).
"""

import copy
from dataclasses import replace
from fractions import Fraction

import pytest

from posegen.config import DEFAULT_PROMPT, ExtractConfig, GenerateConfig
from posegen.media.video import VideoWriter, iterate_frames

SIZE = "96x64"


@pytest.fixture(scope="session")
def driving(made_once, media):
    """Two seconds and a bit of the dancer at 24 frames/s (60 frames), with sound."""

    def make(folder):
        source = media / "dancer.mp4"
        with VideoWriter(folder / "dance.mp4", Fraction(24), size=(640, 360), audio_from=source) as writer:
            for _, frame in zip(range(60), iterate_frames(source), strict=False):
                writer.write(frame)

    return made_once("driving", make) / "dance.mp4"


@pytest.fixture(scope="session")
def loaded():
    """Pipelines of the narrow model by device and dtype, as they were loaded; to be copied."""
    return {}


@pytest.fixture(autouse=True)
def narrow_is_loaded_once(narrow, loaded):
    """Each job has a copy of the narrow model as its folder was first loaded; other models are loaded as ever."""
    from posegen.generate import long_video

    load = long_video.load_pipeline

    def load_or_copy(name, device, dtype, loras=()):
        if name != narrow or loras:
            return load(name, device, dtype, loras)
        if (device, dtype) not in loaded:
            loaded[device, dtype] = load(name, device, dtype)
        return copy.deepcopy(loaded[device, dtype])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(long_video, "load_pipeline", load_or_copy)
        yield


@pytest.fixture(scope="session")
def measured():
    """Background motions by the hash of everything that they depend on."""
    return {}


@pytest.fixture(autouse=True)
def background_motion_is_measured_once(measured):
    """Jobs of one driving video, size and conditions share what the first of them measured; each keeps its own file."""
    from posegen.conditions import background_motion

    measure = background_motion._measure

    def measure_once(driving, conditions, fit, progress):
        key = background_motion._key(driving, conditions, fit)
        if key in measured:
            progress(conditions.num_frames, conditions.num_frames)
        else:
            measured[key] = measure(driving, conditions, fit, progress)
        return measured[key]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(background_motion, "_measure", measure_once)
        yield


@pytest.fixture
def config(driving, media, tmp_path, narrow):
    return GenerateConfig(
        model=narrow,
        reference=media / "man.png",
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
def driving_conditions(driving, made_once):
    """Of the driving video as it is: 60 frames, two base segments and a stitch segment."""
    from posegen.apps.commands import extract

    return made_once(
        "driving-conditions", lambda folder: extract(ExtractConfig(driving=driving, output=folder, size=SIZE))
    )


@pytest.fixture
def ready(config, driving_conditions):
    """The job of `config` without any estimator."""
    return replace(config, conditions=driving_conditions, size=None, person_check=False)


@pytest.fixture(scope="session")
def conditions(driving, made_once):
    """Of the driving video at 40 frames/s: 100 frames, three base segments."""
    from posegen.apps.commands import extract

    return made_once(
        "conditions", lambda folder: extract(ExtractConfig(driving=driving, output=folder, size=SIZE, fps="40"))
    )


@pytest.fixture(scope="session")
def few_conditions(driving, made_once):
    """Of the driving video at 6 frames/s: 15 frames, one base segment."""
    from posegen.apps.commands import extract

    return made_once(
        "few-conditions", lambda folder: extract(ExtractConfig(driving=driving, output=folder, size=SIZE, fps="6"))
    )


@pytest.fixture
def few(config, few_conditions):
    """A job of one base segment of 15 frames, without any estimator."""
    return replace(config, conditions=few_conditions, size=None, person_check=False)


@pytest.fixture
def lean(config, conditions):
    """A job of three base segments with guidance (both branches share), without any estimator."""
    return replace(config, guidance=2.0, conditions=conditions, size=None, person_check=False)
