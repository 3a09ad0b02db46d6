#!/usr/bin/env bash
# Subject: how long each frame of an animated image lasts, by Pillow's ImageSequence and info["duration"].
# Guess: one loop over ImageSequence.Iterator gives each frame's duration, whatever the format, as it does for GIF and
#   APNG.
# Reality: WebP and AVIF set info["duration"] when the pixels are decoded, not when the frame is sought. Without
#   load() the key is missing on every frame. Code that says info.get("duration", 100) plays every such file at 10
#   frames per second, however long its frames are.
# Versions: pillow 13.0.0, Python 3.11.
# Output seen:
#   gif: iterated [100, 200, 300, 400], after load() [100, 200, 300, 400]
#   png: iterated [100, 200, 300, 400], after load() [100, 200, 300, 400]
#   webp: iterated [None, None, None, None], after load() [100, 200, 300, 400]
#   avif: iterated [None, None, None, None], after load() [100, 200, 300, 400]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check pillow==13.0.0

cat > "$work/find.py" <<'PY'
import sys

from PIL import Image, ImageSequence

folder = sys.argv[1]
durations = [100, 200, 300, 400]
images = [Image.new("RGB", (32, 32), (value, value, value)) for value in (10, 80, 160, 250)]
found = {}
for name in ("gif", "png", "webp", "avif"):
    path = f"{folder}/a.{name}"
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0)
    with Image.open(path) as image:
        iterated = [frame.info.get("duration") for frame in ImageSequence.Iterator(image)]
    with Image.open(path) as image:
        loaded = []
        for frame in ImageSequence.Iterator(image):
            frame.load()
            loaded.append(frame.info.get("duration"))
    found[name] = [[value if value is None else int(value) for value in row] for row in (iterated, loaded)]
    print(f"{name}: iterated {found[name][0]}, after load() {found[name][1]}")
late = [[None] * 4, durations]
if found != {"gif": [durations] * 2, "png": [durations] * 2, "webp": late, "avif": late}:
    sys.exit("changed: WebP and AVIF no longer set the duration only when the pixels are decoded")
PY
"$work/venv/bin/python" "$work/find.py" "$work"
