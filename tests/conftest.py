"""Fixtures that several test folders use."""

import contextlib
import gc
import os
import shutil
from pathlib import Path

import filelock
import hypothesis
import pytest

import typecheckers

# Processes that start Ray for the first time in an empty HOME write its token at once, and do not know the others' then
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
gc.disable()  # until the tests begin: libraries make a million objects while they are imported, and keep them all
typecheckers.use_beartype_alone_where_no_shape_is_named()
hypothesis.settings.register_profile("posegen", deadline=None)  # machines may be slow, and have other work
hypothesis.settings.load_profile("posegen")

REAL_MEDIA = os.environ.get("POSEGEN_REAL_MEDIA", "")
LEFT_OUT = "real media: "
"""Begins the reason of a test that is skipped for want of real media."""
LONGEST = ("test_prepare_runs.py", "test_run.py", "test_killed_jobs.py", "test_long_video.py")
"""Files whose tests take longest: they begin first, so that no process is left with one when the others are done."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


def pytest_configure():
    if REAL_MEDIA and not Path(REAL_MEDIA).is_dir():
        raise pytest.UsageError(
            f"POSEGEN_REAL_MEDIA={REAL_MEDIA} is no folder: name the folder of real media, or leave it unset"
        )


@pytest.hookimpl(wrapper=True, tryfirst=True)  # so that the line comes below that of the terminal reporter
def pytest_sessionfinish(session):
    result = yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")  # a worker process has none
    skipped = [] if reporter is None else reporter.stats.get("skipped", [])
    reasons = [report.longrepr[2].removeprefix("Skipped: ") for report in skipped if isinstance(report.longrepr, tuple)]
    left_out = [reason.removeprefix(LEFT_OUT) for reason in reasons if reason.startswith(LEFT_OUT)]
    if left_out:
        tests = "1 test of real media was" if len(left_out) == 1 else f"{len(left_out)} tests of real media were"
        reporter.write_line(f"{tests} left out: {'; '.join(sorted(set(left_out)))}")
    return result


@pytest.fixture(scope="session")
def media() -> Path:
    """Folder of small rendered videos and a picture; its README says what they show."""
    return Path(__file__).parent / "media_files"


@pytest.fixture
def real_media():
    """`real_media(name)`: a file of the folder that POSEGEN_REAL_MEDIA names; without it, the test is left out."""

    def find(name):
        if not REAL_MEDIA:
            pytest.skip(f"{LEFT_OUT}POSEGEN_REAL_MEDIA names no folder")
        path = Path(REAL_MEDIA, name).resolve()
        if not path.is_file():
            pytest.skip(f"{LEFT_OUT}{REAL_MEDIA} holds no {name}")
        return path

    return find


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """`made_once(name, make)`: a folder that `make(folder)` fills, once for all processes of a test run; to be read."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent

    def once(name, make):
        folder, finished = place / name, place / f"{name}.made"
        with filelock.FileLock(place / f"{name}.lock"):
            if not finished.exists():
                shutil.rmtree(folder, ignore_errors=True)  # half of it, where another process failed
                folder.mkdir()
                make(folder)
                finished.touch()
        return folder

    return once


@pytest.fixture(scope="session")
def warm(tmp_path_factory):
    """Starts processes that have imported everything, from one server for a whole test run: see `warm_process`."""
    from warm_process import Warm

    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    warm = Warm(place, filelock.FileLock(place / "warm.lock"))
    yield warm
    warm.close()


@pytest.fixture(scope="session")
def mini():
    """The mini with random weights, in float32."""
    from posegen.model.mini import build_mini

    return build_mini()


@pytest.fixture(scope="session")
def narrow(made_once):
    """The folder of a model with the mini's layers, a sixth of its width, and random weights."""

    def make(folder):
        import torch

        from posegen.model.autoencoder import AutoencoderLightVideo
        from posegen.model.mini import build_mini

        model = build_mini(heads=1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model.register_modules(
                vae=AutoencoderLightVideo(32, encoder_channels=[8, 16, 16], decoder_channels=[16, 16, 8])
            )
        model.register_to_config(trained=True)
        model.save_pretrained(folder)

    return str(made_once("narrow", make))


@pytest.fixture
def full_disk():
    """`with full_disk(size)`: a real limit on the size of files stands for a full disk."""
    resource = pytest.importorskip("resource")  # of POSIX

    @contextlib.contextmanager
    def limit(size):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@pytest.fixture
def s3():
    """A bucket of an S3-compatible store, as a URL."""
    import s3fs

    from serving_files import serving_s3

    with serving_s3() as address:
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem(endpoint_url=address).mkdir("bucket")
        yield "s3://bucket"


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium: the system's. Without one, tests of pages are skipped, but never where CI is set."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        how = "tests of pages need Chromium: `make browser` installs it, where apt-get can"
        pytest.fail(how) if os.environ.get("CI") else pytest.skip(how)
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=quiet, timeout=250_000)
        yield chromium
        chromium.close()
