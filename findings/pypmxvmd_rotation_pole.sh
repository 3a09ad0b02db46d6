#!/usr/bin/env bash
# Subject: a VMD motion file (MikuMikuDance) loaded and saved by pypmxvmd, unchanged.
# Guess: the rotations stay what they were. The library shows them as Euler angles, which have a pole, but at a pole
#   only the three numbers are ambiguous, not the rotation.
# Reality: 200 random rotations come back exactly, but the pole lies at a turn of 90 degrees about the vertical axis,
#   which hand-made key frames often have, and there the lean is dropped: sideways and leaning forward by 30 degrees
#   comes back upright, without a message. At 89.9 degrees all is well. Keep the file's quaternions instead.
# Versions: pypmxvmd 2.7.2, numpy 2.4.6, Python 3.11.
# Output seen:
#   200 random rotations: off by 0.0 degrees after loading and saving
#   turned by 45, leaning by 30: off by 0.0 degrees after loading and saving
#   turned by 89, leaning by 30: off by 0.0 degrees after loading and saving
#   turned by 89.9, leaning by 30: off by 0.0 degrees after loading and saving
#   turned by 90, leaning by 30: off by 30.0 degrees after loading and saving
#   turned by -90, leaning by 30: off by 30.0 degrees after loading and saving
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check pypmxvmd==2.7.2 numpy==2.4.6

cat > "$work/find.py" <<'PY'
import contextlib
import io
import struct
import sys

import numpy as np
import pypmxvmd

folder = sys.argv[1]
HEAD, FRAME, QUATERNION = 54, 111, 31  # bytes: before the first frame, of a frame, from a frame's start to its rotation


def turned_and_leaning(turn, lean):
    """The quaternion (x, y, z, w) of leaning about x and then turning about y, in degrees."""
    a, b = np.radians(turn) / 2, np.radians(lean) / 2
    return np.array([np.sin(b) * np.cos(a), np.cos(b) * np.sin(a), -np.sin(b) * np.sin(a), np.cos(b) * np.cos(a)])


def write(path, quaternions):
    data = b"Vocaloid Motion Data 0002".ljust(30, b"\0") + b"model".ljust(20, b"\0")
    data += struct.pack("<I", len(quaternions))
    for number, quaternion in enumerate(quaternions):
        data += b"center".ljust(15, b"\0") + struct.pack("<I7f", number, 0, 0, 0, *quaternion)
        data += bytes([20] * 8 + [107] * 8) * 4  # the curves between key frames: straight
    with open(path, "wb") as file:
        file.write(data + bytes(20))  # no faces, cameras, lights, shadows, inverse kinematics


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    count = struct.unpack_from("<I", data, HEAD - 4)[0]
    return np.array([struct.unpack_from("<4f", data, HEAD + FRAME * i + QUATERNION) for i in range(count)])


def worst(quaternions):
    write(f"{folder}/in.vmd", quaternions)
    with contextlib.redirect_stdout(io.StringIO()):
        pypmxvmd.save_vmd(pypmxvmd.load_vmd(f"{folder}/in.vmd"), f"{folder}/out.vmd")
    before, after = read(f"{folder}/in.vmd").astype(float), read(f"{folder}/out.vmd").astype(float)
    before, after = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (before, after))
    apart = np.minimum(np.linalg.norm(before - after, axis=1), np.linalg.norm(before + after, axis=1))
    return round(float(np.degrees(4 * np.arcsin(apart / 2)).max()), 2)


random = np.random.default_rng(0).standard_normal((200, 4))
found = {"200 random rotations": worst(random / np.linalg.norm(random, axis=1, keepdims=True))}
for turn, lean in ((45, 30), (89, 30), (89.9, 30), (90, 30), (-90, 30)):
    found[f"turned by {turn}, leaning by {lean}"] = worst([turned_and_leaning(turn, lean)])
for name, degrees in found.items():
    print(f"{name}: off by {degrees} degrees after loading and saving")
if not (found["200 random rotations"] < 0.1 and max(found.values()) > 20):
    sys.exit("changed: rotations near the pole survive loading and saving")
PY
"$work/venv/bin/python" "$work/find.py" "$work"
