"""Ray's token: made once, whole, however many runs begin at the same time."""

import subprocess
import time

import filelock
import pytest

from posegen.errors import PosegenError
from posegen.prepare.engine import ensure_token

BEGINS = """
from posegen.prepare.engine import Engine
print("begins", flush=True)
with Engine(None, 1):
    import ray
    print(ray.get(ray.remote(lambda: 5).remote()), flush=True)
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty HOME, and Ray's defaults."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.timeout(300)
def test_two_first_runs_at_the_same_time_use_one_token(warm, home):
    folder = home / ".ray"
    folder.mkdir()
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with filelock.FileLock(folder / "auth_token.lock"):  # as a third run has it, which is about to make the token
        runs = [warm(BEGINS, **streams) for _ in range(2)]
        assert [run.stdout.readline() for run in runs] == ["begins\n"] * 2
        time.sleep(1.5)
        assert not (folder / "auth_token").exists(), "nobody makes a token of their own"
        (folder / "auth_token").write_text("5" * 64)
    ends = [run.communicate(timeout=200) for run in runs]
    assert [(run.returncode, said) for run, (said, _) in zip(runs, ends, strict=True)] == [(0, "5\n")] * 2, ends
    assert (folder / "auth_token").read_text() == "5" * 64


def test_a_token_is_made_once_for_its_owner_alone(home):
    path = home / ".ray" / "auth_token"
    ensure_token()
    token = path.read_text()
    assert len(token) == 64
    assert path.stat().st_mode & 0o077 == 0
    ensure_token()
    assert path.read_text() == token
    path.write_text("")  # of a process that was killed before it wrote
    ensure_token()
    assert len(path.read_text()) == 64
    assert sorted(each.name for each in path.parent.iterdir() if each.suffix != ".lock") == ["auth_token"]


@pytest.mark.parametrize(
    ("name", "value"), [("RAY_AUTH_MODE", "disabled"), ("RAY_AUTH_TOKEN", "5"), ("RAY_AUTH_TOKEN_PATH", "there")]
)
def test_what_the_environment_says_of_tokens_holds(home, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    ensure_token()
    assert not (home / ".ray").exists()


def test_a_home_without_room_for_a_token_is_one_line(home):
    (home / ".ray").write_text("a file where a folder belongs")
    with pytest.raises(PosegenError, match="RAY_AUTH_TOKEN_PATH"):
        ensure_token()
