#!/usr/bin/env bash
# Subject: video with an alpha channel in WebM (VP9, yuva420p), the usual format for cut-out people, read by PyAV.
# Guess: what PyAV encoded as yuva420p it decodes as yuva420p, as it does for FFV1 and ProRes; and to_ndarray("rgba")
#   has the alpha.
# Reality: the alpha is in the file, but the default decoder ("vp9", FFmpeg's own) drops it: frames are yuv420p and
#   "rgba" is opaque everywhere. No warning. Decoding the packets by av.CodecContext.create("libvpx-vp9", "r") gives
#   the alpha.
# Versions: av 18.1.0, numpy 2.4.6, Python 3.11.
# Output seen:
#   a.mkv, default decoder ffv1: yuva420p, alpha left and right [255, 0]
#   a.webm, default decoder vp9: yuv420p, alpha left and right [255, 255]
#   a.webm, decoder libvpx-vp9: yuva420p, alpha left and right [255, 0]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.4.6

cat > "$work/find.py" <<'PY'
import sys

import av
import numpy as np

folder = sys.argv[1]
red = np.zeros((64, 64, 4), dtype=np.uint8)
red[..., 0] = 255
red[:, :32, 3] = 255  # the right half is transparent


def write(path, codec, pixel_format):
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, pixel_format
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(red, format="rgba").reformat(format=pixel_format)))
        container.mux(stream.encode(None))


def show(name, frame):
    alpha = frame.to_ndarray(format="rgba")[32, [8, 56], 3].tolist()
    print(f"{name}: {frame.format.name}, alpha left and right {alpha}")
    return alpha


found = []
for name, codec in (("a.mkv", "ffv1"), ("a.webm", "libvpx-vp9")):
    write(f"{folder}/{name}", codec, "yuva420p")
    with av.open(f"{folder}/{name}") as container:
        decoder = container.streams.video[0].codec_context.codec.name
        found.append(show(f"{name}, default decoder {decoder}", next(container.decode(video=0))))
with av.open(f"{folder}/a.webm") as container:
    decoder = av.CodecContext.create("libvpx-vp9", "r")
    frames = [frame for packet in container.demux(video=0) for frame in decoder.decode(packet if packet.size else None)]
found.append(show("a.webm, decoder libvpx-vp9", frames[0]))
if found != [[255, 0], [255, 255], [255, 0]]:
    sys.exit("changed: the default decoder no longer drops the alpha channel of WebM")
PY
"$work/venv/bin/python" "$work/find.py" "$work"
