#!/usr/bin/env bash
# Subject: an animated AVIF, written by Pillow, read by PyAV through streams.video[0].
# Guess: four frames, as for GIF and APNG: an image file has one video stream.
# Reality: the file holds two streams. Stream 0 is the still cover (one frame, time base 1/1), stream 1 is the
#   animation. Reading streams.video[0], or container.decode(video=0), ends after one frame without an error.
#   streams.best("video") is the animation.
# Versions: av 18.1.0, pillow 13.0.0, Python 3.11.
# Output seen:
#   gif: streams 1, frames of video[0] 4
#   avif: streams 2, frames of video[0] 1, frames of best("video") 4 at [0.0, 0.1, 0.3, 0.6] s
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 pillow==13.0.0

cat > "$work/find.py" <<'PY'
import sys

import av
from PIL import Image

folder = sys.argv[1]
images = [Image.new("RGB", (32, 32), (value, value, value)) for value in (10, 80, 160, 250)]
for name in ("gif", "avif"):
    images[0].save(f"{folder}/a.{name}", save_all=True, append_images=images[1:], duration=[100, 200, 300, 400])


def times(path, choose):
    with av.open(path) as container:
        return [round(float(frame.time), 3) for frame in container.decode(choose(container))]


def count_streams(path):
    with av.open(path) as container:
        return len(container.streams)


gif = times(f"{folder}/a.gif", lambda container: container.streams.video[0])
print(f"gif: streams {count_streams(f'{folder}/a.gif')}, frames of video[0] {len(gif)}")
streams = count_streams(f"{folder}/a.avif")
first = times(f"{folder}/a.avif", lambda container: container.streams.video[0])
best = times(f"{folder}/a.avif", lambda container: container.streams.best("video"))
print(f'avif: streams {streams}, frames of video[0] {len(first)}, frames of best("video") {len(best)} at {best} s')
if (len(gif), streams, len(first), len(best)) != (4, 2, 1, 4):
    sys.exit("changed: video[0] of an animated AVIF is no longer a single still frame")
PY
"$work/venv/bin/python" "$work/find.py" "$work"
