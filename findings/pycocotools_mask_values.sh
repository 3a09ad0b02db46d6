#!/usr/bin/env bash
# Subject: pycocotools.mask.encode of a uint8 mask that holds more than one value besides 0 (255 with soft edges, or
#   part labels 1, 2, 3).
# Guess: every pixel that is not 0 is foreground, as in numpy, OpenCV and Pillow; or such a mask is refused.
# Reality: each *change of value* going down a column switches between background and foreground. A person mask of 255
#   with an edge of 128 becomes its own outline, and a nested label becomes a hole. No error. Encode `mask > 0`.
# Versions: pycocotools 2.0.11, numpy 2.4.6, Python 3.11.
# Output seen:
#   pixels above 0: 36, area after encode: 20, of mask > 0: 36
#   ........
#   .######.
#   .#....#.
#   .#....#.
#   .#....#.
#   .#....#.
#   .######.
#   ........
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check --no-deps numpy==2.4.6 pycocotools==2.0.11

cat > "$work/find.py" <<'PY'
import sys

import numpy as np
from pycocotools import mask as coco_mask

mask = np.zeros((8, 8), dtype=np.uint8, order="F")
mask[1:7, 1:7] = 128  # the soft edge
mask[2:6, 2:6] = 255
encoded = coco_mask.encode(mask)
area = int(coco_mask.area(encoded))
binary = int(coco_mask.area(coco_mask.encode(np.asfortranarray(mask > 0))))
print(f"pixels above 0: {(mask > 0).sum()}, area after encode: {area}, of mask > 0: {binary}")
for row in coco_mask.decode(encoded):
    print("".join(".#"[value] for value in row))
if (area, binary) != (20, 36):
    sys.exit("changed: a mask with two values no longer turns inside out")
PY
"$work/venv/bin/python" "$work/find.py"
