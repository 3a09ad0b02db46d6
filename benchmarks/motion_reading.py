"""Seconds and memory to read ten minutes of motion at 200 Hz, in each format that such recordings come in.

    python benchmarks/motion_reading.py

The files hold a person with 52 joints, fingers included, and 159 channels (BVH) or with 60 points (C3D, TRC), and
are written into a temporary folder first. Each is read in a process of its own; `megabytes` is the peak of
its whole memory, Python and NumPy included. `seconds` is the best of three runs, without the start of Python;
`cpu_seconds` is what that run computed, which other work on the machine changes less.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from results_file import write_result

MINUTES, RATE = 10, 200
READ = """
import json, resource, sys, time
from pathlib import Path
from posegen.motion.motion_files import read_motion
began, computed = time.perf_counter(), time.process_time()
motion = read_motion(Path(sys.argv[1]))
taken, computed = time.perf_counter() - began, time.process_time() - computed
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([taken, computed, peak, len(motion), len(motion.names), float(motion.fps)]))
"""
LIMBS = {"Arm": (15, 0, 0), "ForeArm": (28, 0, 0), "Hand": (25, 0, 0), "UpLeg": (9, -5, 0), "Leg": (0, -42, 1),
         "Foot": (0, -41, -1), "ToeBase": (0, -7, 13)}  # fmt: skip
LEGS = ("UpLeg", "Leg", "Foot", "ToeBase")
FINGERS = ("Thumb", "Index", "Middle", "Ring", "Pinky")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=MINUTES, help="length of the motion")
    arguments = parser.parse_args()
    frames = round(arguments.minutes * 60 * RATE)
    figures: dict[str, object] = {"minutes": arguments.minutes, "rate": RATE}
    with tempfile.TemporaryDirectory() as folder:
        for name, write in (("bvh", write_bvh), ("c3d", write_c3d), ("trc", write_trc)):
            path = Path(folder) / f"motion.{name}"
            write(path, frames)
            runs = [measure(path) for _ in range(3)]
            taken, computed, peak, count, joints, rate = min(runs)
            if (count, rate) != (frames, RATE):
                raise SystemExit(f"{name}: {count} frames at {rate} were read, not {frames} at {RATE}")
            figures[name] = {
                "file_megabytes": round(path.stat().st_size / 1e6),
                "joints": joints,
                "seconds": round(taken, 2),
                "cpu_seconds": round(computed, 2),
                "megabytes": round(peak),
            }
            path.unlink()
    write_result("motion_reading", figures)


def measure(path: Path) -> list[float]:
    """Seconds, seconds of computing, megabytes, frames, joints and rate of one reading."""
    said = subprocess.run([sys.executable, "-c", READ, str(path)], check=True, capture_output=True, text=True).stdout
    return list(json.loads(said))


def write_bvh(path: Path, frames: int) -> None:
    """A skeleton with fingers, all of whose joints move."""
    lines = ["HIERARCHY"]
    joints = 0

    def open_joint(kind: str, name: str, offset: tuple[float, ...]) -> None:
        nonlocal joints
        joints += 1
        channels = "6 Xposition Yposition Zposition" if kind == "ROOT" else "3"
        lines.extend([f"{kind} {name}", "{", f"OFFSET {offset[0]} {offset[1]} {offset[2]}"])
        lines.append(f"CHANNELS {channels} Zrotation Xrotation Yrotation")

    open_joint("ROOT", "Hips", (0, 95, 0))
    for side, sign in (("Left", 1), ("Right", -1)):
        for part in LEGS:
            open_joint("JOINT", f"{side}{part}", (sign * LIMBS[part][0], *LIMBS[part][1:]))
        lines.extend(["End Site", "{", "OFFSET 0 0 6", "}", *["}"] * len(LEGS)])
    for name, height in (("Spine", 10), ("Spine1", 15), ("Spine2", 15)):
        open_joint("JOINT", name, (0, height, 0))
    for name in ("Neck", "Head"):
        open_joint("JOINT", name, (0, 10, 1))
    lines.extend(["End Site", "{", "OFFSET 0 20 0", "}", "}", "}"])
    for side, sign in (("Left", 1), ("Right", -1)):
        for part in ("Shoulder", "Arm", "ForeArm", "Hand"):
            aside, *rest = LIMBS.get(part, (3, 8, 0))
            open_joint("JOINT", f"{side}{part}", (sign * aside, *rest))
        for place, finger in enumerate(FINGERS):
            for joint in range(1, 4):
                open_joint("JOINT", f"{side}Hand{finger}{joint}", (sign * (8 if joint == 1 else 3), 0, 3 - 1.5 * place))
            lines.extend(["End Site", "{", f"OFFSET {sign * 2} 0 0", "}", *["}"] * 3])
        lines.extend(["}"] * 4)
    lines.extend(["}"] * 4)
    lines.extend(["MOTION", f"Frames: {frames}", f"Frame Time: {1 / RATE:.6f}"])
    random = np.random.default_rng(0)
    block = random.normal(scale=20, size=(1000, 3 + 3 * joints))
    rows = [" ".join(f"{value:.6f}" for value in row) for row in block]
    with path.open("w") as stream:
        stream.write("\n".join(lines) + "\n")
        for first in range(0, frames, len(rows)):
            stream.write("\n".join(rows[: frames - first]) + "\n")


def point_names() -> list[str]:
    names = [
        f"{letter}{joint}" for letter in "LR" for joint in ("SJC", "EJC", "WJC", "HJC", "KJC", "AJC", "HEE", "TOE")
    ]
    return [*names, *(f"M{number}" for number in range(60 - len(names)))]


def points(frames: int) -> np.ndarray:
    block = np.random.default_rng(0).normal(scale=500, size=(1000, 60, 3)).astype(np.float32)
    return np.concatenate([block] * -(-frames // 1000))[:frames]


def write_c3d(path: Path, frames: int) -> None:
    """As the manual describes the format, with the long counter of frames."""
    import struct

    names = point_names()

    def parameter(name: str, kind: int, sides: tuple[int, ...], raw: bytes, group: int = 1) -> bytes:
        body = struct.pack("bB", kind, len(sides)) + bytes(sides) + raw + b"\0"
        return struct.pack("bb", len(name), group) + name.encode() + struct.pack("<h", len(body) + 2) + body

    section = struct.pack("bb", 5, -1) + b"POINT" + struct.pack("<h", 3) + b"\0"
    section += struct.pack("bb", 5, -2) + b"TRIAL" + struct.pack("<h", 3) + b"\0"
    section += parameter("LABELS", -1, (4, 60), "".join(name.ljust(4) for name in names).encode())
    section += parameter("UNITS", -1, (2,), b"mm")
    for name, value in (("ACTUAL_START_FIELD", 1), ("ACTUAL_END_FIELD", frames)):
        section += parameter(name, 2, (2,), struct.pack("<HH", value % 65536, value // 65536), 2)
    section = b"\0\0" + struct.pack("BB", 2, 84) + section
    head = bytes([2, 0x50]) + struct.pack("<HHHHHfHHf", 60, 0, 1, min(frames, 65535), 0, -1.0, 4, 0, RATE)
    with path.open("wb") as stream:
        stream.write(head.ljust(512, b"\0") + section.ljust(1024, b"\0"))
        for first in range(0, frames, 20_000):
            part = points(min(20_000, frames - first))
            stream.write(np.concatenate([part, np.zeros((*part.shape[:2], 1), np.float32)], axis=2).tobytes())


def write_trc(path: Path, frames: int) -> None:
    names = point_names()
    block = ["\t".join(f"{value:.4f}" for value in row.ravel()) for row in points(1000)]
    with path.open("w") as stream:
        stream.write("PathFileType\t4\t(X/Y/Z)\tmotion.trc\nDataRate\tNumFrames\tNumMarkers\tUnits\n")
        stream.write(f"{RATE}\t{frames}\t60\tmm\nFrame#\tTime\t" + "\t\t\t".join(names) + "\n\n\n")
        for number in range(frames):
            stream.write(f"{number + 1}\t{number / RATE:.4f}\t{block[number % 1000]}\n")


if __name__ == "__main__":
    main()
