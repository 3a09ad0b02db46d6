"""The job server under load: 200 queued jobs, 50 clients that read status and video at once, and what the worker loses.

    python benchmarks/serve_load.py

The first job makes the demo's video with the mini; all others wait. When its first segment begins, the clients start:
each asks for the status of a random job, and every third time for a piece of a finished video or the growing one, twice
a second, as pages and scripts do. `seconds` of the worker are those between its first segment and its end, on the wall
and as computed, against the same work of `posegen generate` before and after (median of both). `second_job` is the
delay to the first segment of a second job of the same model against that of the first. Run it on a machine that does
nothing else: server, clients and worker share its cores.
"""

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from importlib import resources
from pathlib import Path

from posegen.serve.client import Client, ServerError
from results_file import installed_versions, write_result

DEMO = Path(str(resources.files("posegen") / "demo"))
JOB = {"seed": 1, "retarget": "off", "person_check": False, "size": "256x144"}
COMMAND = """
import json, os, sys, time
from pathlib import Path
from posegen.config import GenerateConfig
from posegen.generate.long_video import generate_video

class Moments:
    first = None
    def update(self, task, done, total):
        if task.startswith("segment ") and self.first is None:
            self.first = time.monotonic(), time.process_time()
    def say(self, line):
        pass

job = json.loads(sys.argv[1])
moments = Moments()
generate_video(GenerateConfig(**job), moments)
print(json.dumps([time.monotonic() - moments.first[0], time.process_time() - moments.first[1]]))
"""


def command_seconds(folder: Path, steps: int) -> list[float]:
    """Seconds of the segments of the plain command: on the wall, and computed."""
    job = {**JOB, "steps": steps, "reference": str(DEMO / "reference.png"), "driving": str(DEMO / "driving.mp4")}
    output = str(folder / "command" / "result.mp4")
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, json.dumps({**job, "output": output})],
        capture_output=True, text=True, check=True,
    )  # fmt: skip  # one call
    for path in (folder / "command" / "result.posegen").glob("job-*"):
        subprocess.run(["rm", "-r", str(path)], check=True)
    return list(json.loads(done.stdout.splitlines()[-1]))


def cpu_seconds(pid: int) -> float:
    """Seconds that a process has computed so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Clients:
    """Readers in threads; `statuses`, `pieces`: seconds of each answer; `errors`: what else came."""

    def __init__(self, server: str, jobs: list[str], finished: str, running: str, count: int, pause: float) -> None:
        self.client, self.jobs, self.finished, self.running = Client(server), jobs, finished, running
        self.statuses: list[float] = []
        self.pieces: list[float] = []
        self.errors: list[str] = []
        self.pause, self._stop = pause, threading.Event()
        self._threads = [threading.Thread(target=self._read, args=(number,)) for number in range(count)]

    def run(self, seconds: float) -> None:
        """Read for so long."""
        for thread in self._threads:
            thread.start()
        self._stop.wait(seconds)
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _read(self, number: int) -> None:
        chance = random.Random(number)
        self._stop.wait(chance.random() * self.pause)
        turn = number
        while not self._stop.is_set():
            turn += 1
            began = time.monotonic()
            try:
                if turn % 3:
                    self.client.get(chance.choice(self.jobs))
                    self.statuses.append(time.monotonic() - began)
                else:
                    self._piece(turn % 2 == 0)
                    self.pieces.append(time.monotonic() - began)
            except (ServerError, OSError) as error:
                self.errors.append(repr(error))
            self._stop.wait(max(0.0, self.pause - (time.monotonic() - began)))

    def _piece(self, growing: bool) -> None:
        path = f"/v1/videos/{self.running}/growing" if growing else f"/v1/videos/{self.finished}/content"
        headers = {} if growing else {"Range": "bytes=0-65535"}
        try:
            with self.client._answer("GET", path, headers) as response:
                response.read(65536 if not growing else 4096)
        except ServerError as error:
            if not (growing and error.status == 409):  # nothing to watch yet
                raise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between two requests of a client")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--output", default="serve_load", help="name of the result")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        command_seconds(folder, 1)  # conditions are made once
        before = command_seconds(folder, arguments.steps)
        command = [sys.executable, "-m", "posegen.apps.cli", "serve", "--folder", str(folder / "server"), "--port", "0"]
        environment = {**os.environ, "COLUMNS": "300"}
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
            figures = loaded(arguments, server, folder)
            server.terminate()
        after = command_seconds(folder, arguments.steps)
    for place, name in enumerate(("wall", "computed")):
        alone = statistics.mean((before[place], after[place]))
        mine = figures[f"worker_{name}_seconds"]
        figures |= {f"command_{name}_seconds": [round(before[place], 2), round(after[place], 2)]}
        figures |= {f"worker_speed_{name}": round(alone / float(str(mine)), 3)}
    figures["versions_of_server"] = installed_versions("fastapi", "starlette", "uvicorn")
    write_result(arguments.output, figures)


def loaded(arguments: argparse.Namespace, server: subprocess.Popen, folder: Path) -> dict[str, object]:
    """Figures of the server under load."""
    address = re.search(r"http://\S+(?=/)", server.stderr.readline())[0]
    client = Client(address)
    files = {"reference": DEMO / "reference.png", "driving_video": DEMO / "driving.mp4"}
    small = client.create_video(**files, **JOB | {"size": "96x64"}, steps=1, end=1.0)
    first = client.wait(small["id"])
    again = client.wait(client.create_video(**files, **JOB | {"size": "96x64", "seed": 2}, steps=1, end=1.0)["id"])
    ids = {name: sent["id"] for name, sent in small["files"].items()}
    warm = client.create_video(**ids, **JOB, steps=1)  # leaves its conditions, as the command's first run does
    client.wait(warm["id"])
    running = client.create_video(**ids, **JOB, steps=arguments.steps)["id"]
    jobs = [running]
    while len(jobs) < arguments.jobs:
        jobs.append(client.create_video(**ids, **JOB, steps=arguments.steps)["id"])
    while client.get(running)["segment"] is None:
        time.sleep(0.1)
    log = (folder / "server" / "logs" / "video-auto.log").read_text()
    worker = int(re.findall(r"process (\d+)", log)[-1])
    began, computed = time.monotonic(), cpu_seconds(worker)
    readers = Clients(address, jobs, small["id"], running, arguments.clients, arguments.pause)
    server_before = cpu_seconds(server.pid)
    thread = threading.Thread(target=readers.run, args=(arguments.seconds,))
    thread.start()
    wall = work = None
    while thread.is_alive() or wall is None:
        if wall is None and client.get(running)["status"] == "completed":
            wall, work = time.monotonic() - began, cpu_seconds(worker) - computed
        time.sleep(0.2)
    server_cpu = cpu_seconds(server.pid) - server_before
    thread.join()
    states = client.videos(limit=1000)
    return {
        "clients": arguments.clients,
        "jobs": arguments.jobs,
        "seconds": arguments.seconds,
        "pause_seconds": arguments.pause,
        "requests": len(readers.statuses) + len(readers.pieces),
        "errors": len(readers.errors),
        "first_error": readers.errors[0] if readers.errors else None,
        "status_milliseconds": quantiles(readers.statuses),
        "video_milliseconds": quantiles(readers.pieces),
        "worker_wall_seconds": round(wall, 2),
        "worker_computed_seconds": round(work, 2),
        "server_computed_seconds": round(server_cpu, 2),
        "jobs_kept": len(states) - 3,
        "first_segment_after_seconds": [first["first_segment_after"], again["first_segment_after"]],
        "second_job": round(again["first_segment_after"] / first["first_segment_after"], 3),
    }


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Median, 95th percentile and maximum, in milliseconds."""
    ordered = sorted(seconds)
    return {
        name: round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)
        for name, share in (("median", 0.5), ("p95", 0.95), ("maximum", 1.0))
    }


if __name__ == "__main__":
    main()
