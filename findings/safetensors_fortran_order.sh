#!/usr/bin/env bash
# Subject: safetensors.numpy.save_file with an array that is not C-contiguous (a transpose, a slice with a step).
# Guess: the array comes back as it was, as from every earlier release and from numpy.save; or an error is raised, as
#   safetensors.torch does for such tensors.
# Reality: 0.8.0 writes the memory as it lies under the logical shape. A transposed array comes back scrambled, a
#   slice with a step comes back with the neighbours that the step left out. No error, no warning. 0.7.0 is right.
#   np.ascontiguousarray before saving helps. Reported upstream as safetensors issue 825.
# Versions: safetensors 0.8.0 and 0.7.0, numpy 2.4.6, Python 3.11.
# Output seen:
#   0.7.0 transpose [[0, 3], [1, 4], [2, 5]] every second [0, 2, 4]
#   0.8.0 transpose [[0, 1], [2, 3], [4, 5]] every second [0, 1, 2]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check numpy==2.4.6

cat > "$work/find.py" <<'PY'
import sys

import numpy as np
import safetensors
from safetensors.numpy import load_file, save_file

folder, expectation = sys.argv[1:]
numbers = np.arange(6)
inputs = {"transpose": numbers.reshape(2, 3).T, "every second": numbers[::2]}
save_file(inputs, f"{folder}/arrays.safetensors")
loaded = load_file(f"{folder}/arrays.safetensors")
print(safetensors.__version__, *(f"{name} {loaded[name].tolist()}" for name in inputs))
found = "right" if all(np.array_equal(loaded[name], inputs[name]) for name in inputs) else "scrambled"
if found != expectation:
    sys.exit(f"changed: safetensors {safetensors.__version__} is {found}, expected {expectation}")
PY
for pair in 0.7.0=right 0.8.0=scrambled; do
    "$work/venv/bin/pip" install -q --disable-pip-version-check "safetensors==${pair%=*}"
    "$work/venv/bin/python" "$work/find.py" "$work" "${pair#*=}"
done
