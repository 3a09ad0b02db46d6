#!/usr/bin/env bash
# Subject: GIF files written by OpenCV's own writer, and its setting IMWRITE_GIF_QUALITY, 1 to 8.
# Guess: up to 256 colours chosen for each frame, as by Pillow and ffmpeg, so that a grey ramp is kept exactly; a
#   higher quality is better.
# Reality: the default is a fixed palette of 3 + 3 + 2 bits: grey 160 becomes (144, 144, 170), greys turn blue and a
#   photo has 22 dB. A higher quality is *worse*: at 8 the ramp keeps 4 greys, at 3 only black and white. The best is
#   1, still 13 dB below Pillow. Write GIF with Pillow or PyAV.
# Versions: opencv-python-headless 5.0.0.93, pillow 13.0.0, scikit-image 0.26.0 for its photo, Python 3.11.
# Output seen:
#   Pillow: ramp 256 colours, exact; photo 256 colours, 36.5 dB
#   OpenCV, default: ramp 20 colours, 20.9 dB; photo 92 colours, 22.1 dB
#   OpenCV, quality 1: ramp 8 colours, 21.5 dB; photo 66 colours, 23.1 dB
#   OpenCV, quality 3: ramp 2 colours, 7.8 dB; photo 8 colours, 7.8 dB
#   OpenCV, quality 8: ramp 4 colours, 17.4 dB; photo 37 colours, 18.4 dB
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check \
    opencv-python-headless==5.0.0.93 pillow==13.0.0 scikit-image==0.26.0

cat > "$work/find.py" <<'PY'
import sys

import cv2
import numpy as np
from PIL import Image
from skimage import data

path = f"{sys.argv[1]}/frame.gif"
ramp = np.repeat(np.tile(np.arange(256, dtype=np.uint8), (64, 1))[..., None], 3, axis=2)
photo = data.astronaut()[:256, :256]


def measure(image):
    with Image.open(path) as written:
        pixels = np.asarray(written.convert("RGB")).astype(float)
    squared = ((pixels - image) ** 2).mean()
    return len(np.unique(pixels.reshape(-1, 3), axis=0)), 10 * np.log10(255**2 / max(squared, 1e-9))


found = {}
for name in ("Pillow", None, 1, 3, 8):
    row = []
    for image in (ramp, photo):
        if name == "Pillow":
            Image.fromarray(image).save(path)
        else:
            cv2.imwrite(path, image[..., ::-1], [] if name is None else [cv2.IMWRITE_GIF_QUALITY, name])
        row += measure(image)
    found[name] = row
    label = name if name == "Pillow" else f"OpenCV, {'default' if name is None else f'quality {name}'}"
    exact = "exact" if row[1] > 100 else f"{row[1]:.1f} dB"
    print(f"{label}: ramp {row[0]} colours, {exact}; photo {row[2]} colours, {row[3]:.1f} dB")
if not (found[None][3] < found["Pillow"][3] - 8 and found[8][3] < found[1][3] - 2 and found[3][0] == 2):
    sys.exit("changed: OpenCV's GIF colours are no longer coarse, or a higher quality is better now")
PY
"$work/venv/bin/python" "$work/find.py" "$work"
