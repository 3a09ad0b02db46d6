"""A job server without workers, and a small driving video."""

import contextlib
import os
from dataclasses import replace
from fractions import Fraction

import pytest

from posegen.config import ServeConfig
from posegen.extras import missing_modules

SIZE = "96x64"


@pytest.fixture
def needs_server():
    """Leaves a test out where the extra `serve` is not installed, but never where CI is set."""
    missing = missing_modules("serve")
    if missing:
        how = f"tests of the job server need {', '.join(missing)}: pip install 'posegen[serve]'"
        pytest.fail(how) if os.environ.get("CI") else pytest.skip(how)


@pytest.fixture
def serving_jobs(needs_server, tmp_path):
    """`with serving_jobs(**settings) as (client, service)`: a server that takes jobs and does none of them."""
    from posegen.serve.client import Client
    from posegen.serve.job_server import job_server
    from posegen.serve.job_store import JobStore

    @contextlib.contextmanager
    def serving(**settings):
        config = replace(ServeConfig(folder=tmp_path / "server", port=0), **settings)
        with job_server(config) as (server, gate, _), server:
            store = JobStore(config.folder)
            yield Client(f"http://127.0.0.1:{server.port}", gate.token), store
            store.close()

    return serving


@pytest.fixture(scope="session")
def short_dance(made_once, media):
    """A second and a half of the dancer at 24 frames/s: 36 frames, two base segments of the mini."""
    from posegen.media.video import VideoWriter, iterate_frames

    def make(folder):
        with VideoWriter(folder / "dance.mp4", Fraction(24), size=(320, 180)) as writer:
            for _, frame in zip(range(36), iterate_frames(media / "dancer.mp4"), strict=False):
                writer.write(frame[::2, ::2])

    return made_once("short-dance", make) / "dance.mp4"
