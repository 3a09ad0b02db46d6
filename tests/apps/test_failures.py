"""Whatever happens, a command ends with one line and an exit code; nothing that was finished is lost."""

import os
import signal
import subprocess
import sys
import zipfile

import av
import pytest

from posegen.apps import failures
from posegen.errors import PosegenError


@pytest.fixture
def logs(tmp_path, monkeypatch):
    monkeypatch.setattr(failures.platformdirs, "user_log_path", lambda name: tmp_path / "logs")
    return tmp_path / "logs"


def raising(error):
    def run():
        raise error

    return run


def read(path):
    """As posegen's own functions: the file that is read is an argument."""
    raise EOFError(f"ended after {path.stat().st_size} bytes")


KINDS = [RecursionError(), OverflowError("too large"), EOFError(), ZeroDivisionError(), zipfile.BadZipFile("no zip"),
         av.error.InvalidDataError(1, "bad", "x.mp4"), OSError(5, "Input/output error")]  # fmt: skip


@pytest.mark.parametrize("error", KINDS, ids=lambda error: type(error).__name__)
def test_what_an_input_can_cause_is_one_line_that_names_a_log(error, logs, capfd):
    assert failures.guarded(raising(error)) == 2
    (line,) = capfd.readouterr().err.splitlines()
    (log,) = logs.iterdir()
    assert str(log) in line
    assert type(error).__name__ in line
    assert "Traceback" in log.read_text()
    assert "raising" in log.read_text() or "run" in log.read_text()


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA out of memory. Tried"), OSError(12, "Cannot allocate memory"),
              RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
              ImportError("x.so: failed to map segment from shared object")],
)  # fmt: skip
def test_too_little_memory_is_said(error, logs, capfd):
    assert failures.guarded(raising(error)) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "not enough memory" in line


def test_a_defect_has_another_code(logs, capfd):
    assert failures.guarded(raising(TypeError("two\nlines"))) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "defect" in line


def test_the_file_that_was_read_is_named(logs, tmp_path, monkeypatch, capfd):
    file = tmp_path / "input.npz"
    file.write_bytes(b"1234")
    code = read.__code__.replace(co_filename=failures.__file__)
    monkeypatch.setattr(read, "__code__", code)
    assert failures.guarded(lambda: read(file)) == 2
    assert f"posegen: {file}: " in capfd.readouterr().err


def test_only_the_newest_logs_are_kept(logs):
    logs.mkdir()
    for number in range(failures._KEPT_LOGS + 5):
        (logs / f"posegen-error-2000{number:02d}.log").touch()
    failures.guarded(raising(TypeError()))
    assert len(list(logs.iterdir())) == failures._KEPT_LOGS


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_are_answered_as_ctrl_c_is(number, code, capfd):
    cleaned = []

    def run():
        try:
            os.kill(os.getpid(), number)
        except KeyboardInterrupt:  # what keeps work when Ctrl-C comes
            cleaned.append(True)
            raise

    before = signal.signal(number, signal.SIG_DFL)  # nohup, for one, has SIGHUP ignored
    try:
        assert failures.guarded(run) == code
        assert cleaned
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)
    (line,) = capfd.readouterr().err.splitlines()
    assert number.name in line


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert failures.guarded(lambda: os.kill(os.getpid(), signal.SIGHUP)) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_too_little_address_space_is_said_before_the_libraries_are_loaded(tmp_path):
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000,) * 2)\n"
        "from posegen.apps import cli\n"
        "sys.exit(cli.guarded(lambda: cli.dispatch(cli.parse(['jobs', sys.argv[1]]))))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "1.5 GB" in line


def test_a_line_of_megabytes_is_cut(capfd):
    assert failures.guarded(raising(PosegenError("a.toml: unknown key " + "x" * 1_000_000))) == 2
    line = capfd.readouterr().err
    assert line.startswith("posegen: a.toml: unknown key xxx")
    assert line.endswith("(1,000,020 characters in all)\n")
    assert len(line) < 2000


def test_an_error_of_the_input_is_its_line(capfd):
    assert failures.guarded(raising(PosegenError("a line"))) == 2
    assert capfd.readouterr().err == "posegen: a line\n"
