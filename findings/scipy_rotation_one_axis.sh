#!/usr/bin/env bash
# Subject: scipy Rotation.from_euler with one axis and a plain list of angles, one for each frame of a clip.
# Guess: from_euler("z", [350, 10]) is two rotations, as it was documented for years, and a list of one angle is a
#   stack of one rotation.
# Reality: since 1.17 a list is the angles of *one* rotation. Two angles raise ValueError, which one notices; a list
#   of one angle loses its frame axis silently: (1, 3, 3) became (3, 3), so clips of a single frame break later, or
#   broadcast. Write the angles as a column.
# Versions: scipy 1.16.3 and 1.17.1, numpy 2.3.5, Python 3.11.
# Output seen:
#   1.16.3: two angles (2, 3, 3), one angle (1, 3, 3), column of two (2, 3, 3)
#   1.17.1: two angles ValueError, one angle (3, 3), column of two (2, 3, 3)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check numpy==2.3.5

cat > "$work/find.py" <<'PY'
import sys

import scipy
from scipy.spatial.transform import Rotation


def shape(angles):
    try:
        return Rotation.from_euler("z", angles, degrees=True).as_matrix().shape
    except ValueError:
        return "ValueError"


found = [shape([350, 10]), shape([10]), shape([[350], [10]])]
print(f"{scipy.__version__}: two angles {found[0]}, one angle {found[1]}, column of two {found[2]}")
expected = {
    "1.16.3": [(2, 3, 3), (1, 3, 3), (2, 3, 3)],
    "1.17.1": ["ValueError", (3, 3), (2, 3, 3)],
}[scipy.__version__]
if found != expected:
    sys.exit(f"changed: expected {expected}")
PY
for version in 1.16.3 1.17.1; do
    "$work/venv/bin/pip" install -q --disable-pip-version-check --no-deps "scipy==$version"
    "$work/venv/bin/python" "$work/find.py"
done
