"""`kill -9` at random moments: whatever was going on, the same command ends with the same bytes.

One process has everything imported and the model loaded, and forks a child for each run, so that most moments lie
inside the work itself.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

KILLS = 20
SCRIPT = """
import functools, json, os, random, signal, sys, time
from pathlib import Path

import torch

import posegen.generate.long_video as long_video
from posegen.config import GenerateConfig

def start(config):
    child = os.fork()
    if child == 0:
        try:
            long_video.generate_video(config)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return child

def wait(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

settings = json.loads(sys.argv[1])
paths = {name: Path(settings[name]) for name in ("reference", "driving", "conditions")}
output, kills = Path(settings["output"]), int(sys.argv[2])

def config(name):
    return GenerateConfig(**{**settings, **paths, "output": output.with_name(name)})

torch.set_num_threads(1)  # a pool of threads would not come along with a fork
long_video.load_pipeline = functools.cache(long_video.load_pipeline)
long_video.load_pipeline(settings["model"], torch.device("cpu"), torch.float32)
began = time.monotonic()
assert wait(start(config("whole.mp4"))) == 0
whole, duration = output.with_name("whole.mp4").read_bytes(), time.monotonic() - began
random, killed, resumed = random.Random(int(sys.argv[3])), 0, 0
for job in range(kills):
    mine = config(f"killed{job}.mp4")
    child = start(mine)
    time.sleep(duration * random.random() ** 0.5)  # at any moment; later ones, when segments are there, are likelier
    os.kill(child, signal.SIGKILL)
    killed += wait(child) == -signal.SIGKILL
    folder = mine.output.with_suffix(".posegen")
    resumed += bool(list(folder.glob("job-*/segments/[0-9]*.mkv")))
    assert mine.output.exists() == (mine.output.is_file() and mine.output.read_bytes() == whole)
    assert wait(start(mine)) == 0
    assert mine.output.read_bytes() == whole, f"job {job} ends otherwise"
    left = [path.name for path in mine.output.parent.rglob("*.part*")]
    assert not left, left
print(json.dumps({"killed": killed, "resumed": resumed}))
"""


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("store", ["memory", "disk", "recompute"])
def test_whenever_a_job_is_killed_it_ends_with_the_same_bytes(warm, ready, lean, tmp_path, store):
    job = replace(ready, guidance=2.0) if store == "memory" else lean  # two or three base segments; both branches share
    settings = {**asdict(job), "output": tmp_path / "result.mp4", "sharing_store": store, "steps": 1}
    text = json.dumps({name: str(value) if isinstance(value, Path) else value for name, value in settings.items()})
    kills = KILLS if store == "memory" else 3
    done = warm.run(SCRIPT, [text, kills, 5], timeout=1700)
    assert done.returncode == 0, done.stderr[-2000:]
    counted = json.loads(done.stdout.splitlines()[-1])
    assert counted["killed"] >= kills // 2  # most were in the middle of something
    assert store != "memory" or counted["resumed"] >= 4
