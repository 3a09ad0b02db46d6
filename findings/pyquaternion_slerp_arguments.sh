#!/usr/bin/env bash
# Subject: pyquaternion's Quaternion.slerp(q0, q1, amount), a function of two key frames.
# Guess: it only reads its two arguments.
# Reality: it normalises both in place, and when the two lie in opposite half-spaces it negates the first one for
#   good. Interpolating along a track therefore changes the key frames: signs flip, and a second pass from q1's side
#   sees others than the file held. q.rotate(), q.rotation_matrix and q.yaw_pitch_roll normalise q in place, too.
# Versions: pyquaternion 0.9.9, numpy 2.4.6, Python 3.11.
# Output seen:
#   before slerp: first [1.0, 0.0, 0.0, 0.0] second [-2.7, -0.3, 0.0, 0.0]
#   after slerp: first [-1.0, 0.0, 0.0, 0.0] second [-0.994, -0.11, 0.0, 0.0]
#   norm before and after reading rotation_matrix: 2.236 1.0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check --no-deps pyquaternion==0.9.9 numpy==2.4.6

cat > "$work/find.py" <<'PY'
import sys

from pyquaternion import Quaternion


def values(quaternion):
    return [round(float(value), 3) + 0.0 for value in quaternion.elements]


first, second = Quaternion(1, 0, 0, 0), Quaternion(-2.7, -0.3, 0, 0)
print(f"before slerp: first {values(first)} second {values(second)}")
Quaternion.slerp(first, second, 0.5)
print(f"after slerp: first {values(first)} second {values(second)}")
third = Quaternion(2, 0, 1, 0)
norms = [round(third.norm, 3)]
third.rotation_matrix  # only read
norms.append(round(third.norm, 3))
print("norm before and after reading rotation_matrix:", *norms)
if (values(first), values(second)[0], norms) != ([-1.0, 0.0, 0.0, 0.0], -0.994, [2.236, 1.0]):
    sys.exit("changed: slerp or rotation_matrix no longer alters its arguments")
PY
"$work/venv/bin/python" "$work/find.py"
