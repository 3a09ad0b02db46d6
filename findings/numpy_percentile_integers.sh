#!/usr/bin/env bash
# Subject: numpy.percentile and numpy.quantile of signed integers, for example 16-bit sound samples.
# Guess: the result is a float64, so the arithmetic is, too: the middle of -30000 and 30000 is 0, as numpy.median
#   says.
# Reality: the difference of the two neighbours is taken in the integers' own type and wraps around. The 50th
#   percentile of int16 [-30000, 30000] is 32768, above the maximum; the 25th is -31384, below the minimum. Scalars
#   warn; along an axis nothing does. Unsigned integers are safe. Convert to float first. Upstream: numpy pull request
#   30376.
# Versions: numpy 2.4.6, Python 3.11.
# Output seen:
#   percentiles 25, 50 along an axis: [-31384.0, 32768.0], warnings: 0, median: 0.0
#   the same as float64: [-15000.0, 0.0]
#   40 samples of a full-scale int16 square wave: percentile 50 = 32768.0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check numpy==2.4.6

cat > "$work/find.py" <<'PY'
import sys
import warnings

import numpy as np

samples = np.array([[-30000], [30000]], dtype=np.int16)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    found = np.percentile(samples, [25, 50], axis=0)[:, 0].tolist()
median = float(np.median(samples, axis=0)[0])
print(f"percentiles 25, 50 along an axis: {found}, warnings: {len(caught)}, median: {median}")
right = np.percentile(samples.astype(float), [25, 50], axis=0)[:, 0].tolist()
print(f"the same as float64: {right}")
wave = np.repeat(np.array([-30000, 30000], dtype=np.int16), 20)[:, None]
middle = float(np.percentile(wave, 50, axis=0)[0])
print(f"40 samples of a full-scale int16 square wave: percentile 50 = {middle}")
if (found, len(caught), median, middle) != ([-31384.0, 32768.0], 0, 0.0, 32768.0):
    sys.exit("changed: numpy.percentile of int16 no longer wraps around silently")
PY
"$work/venv/bin/python" "$work/find.py"
