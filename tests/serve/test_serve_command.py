"""`posegen serve` as a process: the commands and the snippet of its page, and its end."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="tests of the job server need the extra `serve`")

from posegen.serve.client import Client

PAGE = Path(__file__).resolve().parents[2] / "docs" / "serve.md"
SOURCE = Path(__file__).resolve().parents[2] / "src"
SMALL = "-F seed=7 -F size=96x64 -F steps=30 -F retarget=off -F person_check=false -F dtype=float32"


@contextlib.contextmanager
def posegen_serve(folder, narrow, port=0):
    """`posegen serve` in a session of its own; yields the process and its address."""
    command = [sys.executable, "-m", "posegen.apps.cli", "serve", "--folder", str(folder), "--models", narrow]
    command += ["--port", str(port), "--devices", "cpu"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", "COLUMNS": "300"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            line = process.stderr.readline()
            yield process, re.search(r"http://\S+(?=/)", line)[0]
        finally:
            process.terminate()
            process.wait(60)


def commands_of_the_page():
    """The curl commands, in order."""
    return re.findall(r"^curl .*", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def run(command, folder, server, video):
    """Run one of them as a shell does."""
    script = f"SERVER={server}; ID={video or ''}; {command.replace('-F seed=7', SMALL)}"
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=300, check=True
    ).stdout


@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("curl") is None, reason="the page's commands need curl")
def test_the_command_serves_and_stops(tmp_path, media, narrow, short_dance):
    shutil.copy(media / "man.png", tmp_path / "person.png")
    shutil.copy(short_dance, tmp_path / "dance.mp4")
    create, status, events, growing, pause, content, everything, delete = commands_of_the_page()
    with posegen_serve(tmp_path / "server", narrow) as (process, server):
        video = json.loads(run(create, tmp_path, server, None))["id"]
        assert json.loads(run(status, tmp_path, server, video))["status"] == "queued"
        client = Client(server)
        while (client.get(video)["segment"] or 0) < 1:
            time.sleep(0.1)
        assert json.loads(run(pause, tmp_path, server, video))["id"] == video
        while client.get(video)["status"] != "paused":
            time.sleep(0.1)
        assert client.change(video, "resume")["status"] == "queued"
        while not (job := client.get(video))["growing"] and job["status"] != "completed":
            time.sleep(0.05)
        if job["status"] != "completed":
            run(growing, tmp_path, server, video)
            assert (tmp_path / "so_far.mp4").stat().st_size > 1000
        assert "event: segment" in run(events, tmp_path, server, video)
        run(content, tmp_path, server, video)
        assert len(json.loads(run(everything, tmp_path, server, video))["data"]) == 1
        (snippet,) = re.findall(r"```py\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        small = snippet.replace("http://127.0.0.1:8420", server).replace("seed=7", "seed=7, size='96x64', steps=1")
        done = subprocess.run(
            [sys.executable, "-c", small.replace("person.png", str(tmp_path / "person.png"))],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )
        assert done.returncode == 0, done.stderr
        assert "progress" in done.stdout
        assert json.loads(run(delete, tmp_path, server, video))["deleted"]
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
        assert time.monotonic() - began < 30
    logs = " ".join(path.read_text() for path in (tmp_path / "server" / "logs").iterdir())
    assert "Traceback" not in logs
    for pid in re.findall(r"process (\d+)", logs):
        assert not Path(f"/proc/{pid}").exists(), "a worker is left"
