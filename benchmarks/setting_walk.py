"""Count how often one setting, on its way from the command to the transformer, passes through one object.

    python benchmarks/setting_walk.py [--source ../before/src]

Makes a small video with the mini up to the first call of its transformer. For each object that carries settings it
counts the calls of its methods and properties (by a profile function), and how often other code of posegen reads any of
its attributes, plain fields included. `--source` measures another checkout, in the same way.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STATIONS = ("posegen.config.generate", "posegen.generate.")
"""Modules whose dataclasses are watched: those that carry settings between files."""

WATCH = """
import collections, dataclasses, json, sys
from pathlib import Path

from posegen.config import GenerateConfig
from posegen.generate import long_video
from posegen.model.transformer import PoseGenTransformer3DModel

demo, output, stations = Path(sys.argv[1]), Path(sys.argv[2]), tuple(sys.argv[3].split())
reads, calls, objects, watched = collections.Counter(), collections.Counter(), {}, set()


def watch(kind):
    plain = kind.__getattribute__

    def read(self, name):
        caller = sys._getframe(1)
        inside = caller.f_locals.get("self") is self or not caller.f_globals.get("__name__", "").startswith("posegen.")
        if not name.startswith("__") and not inside:
            objects[id(self)] = self  # so that no other takes its number
            reads[(kind.__name__, id(self))] += 1
        return plain(self, name)

    kind.__getattribute__ = read
    watched.add(kind)


def on_call(frame, event, argument):
    if event == "call" and "posegen" in frame.f_code.co_filename and frame.f_code.co_varnames[:1] == ("self",):
        owner = frame.f_locals.get("self")
        if type(owner) in watched:
            objects[id(owner)] = owner
            calls[(type(owner).__name__, id(owner))] += 1


class Reached(Exception):
    pass


def reached(*arguments, **named):
    raise Reached


config = GenerateConfig(
    reference=demo / "reference.png", driving=demo / "driving.mp4", conditions=demo / "conditions", output=output,
    steps=2, prompt="A person dances.",
)
for name, module in list(sys.modules.items()):
    if name.startswith(stations):
        for kind in list(vars(module).values()):
            if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__module__ == name:
                watch(kind)
PoseGenTransformer3DModel.forward = reached
sys.setprofile(on_call)
try:
    long_video.generate_video(config)
except Reached:
    sys.setprofile(None)
most = {}
for (kind, number), count in reads.items():
    most[kind] = max(most.get(kind, (0, 0)), (calls[(kind, number)], count))
print(json.dumps(most))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, default=ROOT / "src", help="the src folder of a checkout")
    arguments = parser.parse_args()
    environment = {**os.environ, "PYTHONPATH": str(arguments.source.resolve()), "OMP_NUM_THREADS": "1"}
    demo = ROOT / "src" / "posegen" / "demo"
    with tempfile.TemporaryDirectory() as folder:
        code = [sys.executable, "-c", WATCH, str(demo), str(Path(folder) / "result.mp4"), " ".join(STATIONS)]
        said = subprocess.run(code, env=environment, check=True, capture_output=True, text=True).stdout
    counts = json.loads(said.splitlines()[-1])
    print("calls  reads")
    for kind, (calls, reads) in sorted(counts.items(), key=lambda item: item[1], reverse=True):
        print(f"{calls:5}  {reads:5}  {kind}")


if __name__ == "__main__":
    main()
