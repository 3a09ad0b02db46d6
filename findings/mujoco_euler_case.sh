#!/usr/bin/env bash
# Subject: Euler angles with axes named "xyz" or "XYZ", passed between scipy (or bvh code written with it) and MuJoCo.
# Guess: the case means the same in both; scipy's rule is known: small letters turn about fixed axes, capitals about
#   the moving ones.
# Reality: MuJoCo's rule is the exact opposite: eulerseq="xyz" turns about moving axes and equals scipy's "XYZ", and
#   "XYZ" equals scipy's "xyz". The names are valid in both, so nothing complains; three angles of 30, 50 and 70
#   degrees end 68 degrees apart.
# Versions: mujoco 4.0.0, scipy 1.17.1, numpy 2.4.6, Python 3.11.
# Output seen:
#   MuJoCo xyz against scipy xyz: 67.8 degrees apart
#   MuJoCo xyz against scipy XYZ: 0.0 degrees apart
#   MuJoCo XYZ against scipy xyz: 0.0 degrees apart
#   MuJoCo XYZ against scipy XYZ: 67.8 degrees apart
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check mujoco==4.0.0 scipy==1.17.1 numpy==2.4.6

cat > "$work/find.py" <<'PY'
import sys

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

angles = np.radians([30.0, 50.0, 70.0])
found = []
for ours in ("xyz", "XYZ"):
    quaternion = np.zeros(4)
    mujoco.mju_euler2Quat(quaternion, angles, ours)
    for theirs in ("xyz", "XYZ"):
        between = Rotation.from_quat(quaternion, scalar_first=True).inv() * Rotation.from_euler(theirs, angles)
        found.append(round(float(np.degrees(between.magnitude())), 1))
        print(f"MuJoCo {ours} against scipy {theirs}: {found[-1]} degrees apart")
if found != [67.8, 0.0, 0.0, 67.8]:
    sys.exit("changed: the case of the axes no longer means the opposite in MuJoCo")
PY
"$work/venv/bin/python" "$work/find.py"
