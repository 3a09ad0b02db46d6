"""Whatever happens, a command ends with one line and an exit code; nothing that was finished is lost."""

import importlib
import os
import signal
import subprocess
import sys
import zipfile

import av
import pytest

from posegen.apps import failures
from posegen.errors import PosegenError
from posegen.extras import EXTRAS


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


KINDS = [
    RecursionError(),
    OverflowError("too large"),
    EOFError(),
    ZeroDivisionError(),
    zipfile.BadZipFile("no zip"),
    av.error.InvalidDataError(1, "bad", "x.mp4"),
    OSError(5, "Input/output error"),
]


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
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        ImportError("x.so: failed to map segment from shared object"),
    ],
)
def test_too_little_memory_is_said(error, logs, capfd):
    assert failures.guarded(raising(error)) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "not enough memory" in line


def importing(text, folder, name):
    """An error of a real import: of a module with this text."""
    (folder / f"{name}.py").write_text(text)
    sys.path.insert(0, str(folder))
    try:
        importlib.import_module(name)
    except Exception as error:
        return error
    finally:
        sys.path.remove(str(folder))
        importlib.invalidate_caches()


MODULES = [
    ("import no_such_package", "no_such_package", "pip install 'no_such_package'"),
    ("import einops.no_such_part", "einops.no_such_part", "pip install --force-reinstall 'einops>="),
    ("from einops import no_such_name", "einops", "pip install --force-reinstall 'einops>="),
    ("raise ModuleNotFoundError('none', name='cv2')", "cv2", "pip install --force-reinstall 'opencv-contrib-python>="),
    ("import posegen.no_such_part", "posegen.no_such_part", "pip install --force-reinstall --no-deps posegen"),
    (
        "try:\n    import no_such_package\nexcept ImportError as e:\n    raise RuntimeError('wrapped') from e",
        "no_such_package",
        "pip install 'no_such_package'",
    ),
    ("raise ImportError('of no name')", "broken_5", "pip install 'broken_5'"),
    ("raise ImportError('libGL.so.1: cannot open shared object file: No such file', name='cv2')", "cv2", "libGL.so.1"),
    ("import ctypes; ctypes.CDLL('libno_such.so.7')", "libno_such.so.7", "package of your system"),
]


@pytest.mark.parametrize(("text", "module", "mended"), MODULES, ids=range(len(MODULES)))
def test_a_module_that_cannot_be_imported_is_named_with_what_mends_it(text, module, mended, logs, tmp_path, capfd):
    assert failures.guarded(raising(importing(text, tmp_path, "broken_5"))) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert module in line
    assert mended in line
    assert "defect" not in line
    assert "Traceback" in next(logs.iterdir()).read_text()


def test_a_missing_module_of_an_extra_names_the_extra(logs, capfd, monkeypatch):
    monkeypatch.setitem(EXTRAS, "evaluate", (*EXTRAS["evaluate"], "no_such_package"))
    error = ModuleNotFoundError("No module named 'no_such_package.part'", name="no_such_package.part")
    assert failures.guarded(raising(error)) == 2
    assert "pip install 'posegen[evaluate]'" in capfd.readouterr().err


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
