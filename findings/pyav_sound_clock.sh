#!/usr/bin/env bash
# Subject: where a click at exactly 0.5 s lies after one encode, by the frame.time of PyAV's decoded sound, in several
#   containers.
# Guess: 0.5 s everywhere: encoder delay is written down and removed on decoding, and FLAC, AAC, MP3 and Opus are
#   decoded by the same library.
# Reality: MP4 is exact, and Matroska to its millisecond. In a transport stream and in plain ADTS the 1024 samples of
#   AAC delay stay in (Opus: 312 samples), so the click is 21 ms late. In .mp3 the samples are cut rightly, but the
#   clock begins at 0.023 s: 23 ms late by frame.time, right by counting samples. The files hold sound only.
# Versions: av 18.1.0, numpy 2.4.6, Python 3.11.
# Output seen:
#   aac.mp4: late by 0.0 ms by frame.time, 0.0 ms by counting samples
#   aac.mkv: late by 0.3 ms by frame.time, 0.0 ms by counting samples
#   aac.ts: late by 21.3 ms by frame.time, 21.3 ms by counting samples
#   aac.aac: late by 21.3 ms by frame.time, 21.3 ms by counting samples
#   opus.mp4: late by 0.0 ms by frame.time, 0.0 ms by counting samples
#   opus.ts: late by 6.5 ms by frame.time, 6.5 ms by counting samples
#   mp3.mp3: late by 23.0 ms by frame.time, 0.0 ms by counting samples
#   flac.mkv: late by 0.0 ms by frame.time, 0.0 ms by counting samples
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.4.6

cat > "$work/find.py" <<'PY'
import sys
from fractions import Fraction

import av
import numpy as np

folder, rate = sys.argv[1], 48000


def write(path, codec):
    sound = np.zeros((1, rate), dtype=np.float32)
    sound[0, rate // 2] = 0.9
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        converter = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=rate)
        for converted in converter.resample(frame):
            container.mux(stream.encode(converted))
        container.mux(stream.encode(None))


def late(path):
    """Milliseconds by which the click is late: by the frames' clock, and by counting samples."""
    loudest, by_clock, by_count, counted = -1.0, 0.0, 0.0, 0
    with av.open(path) as container:
        for frame in container.decode(audio=0):
            samples = np.abs(frame.to_ndarray()[0].astype(float))
            if samples.max() > loudest:
                place = int(samples.argmax())
                loudest, by_clock, by_count = samples.max(), frame.time + place / rate, (counted + place) / rate
            counted += frame.samples
    return round((by_clock - 0.5) * 1000, 1) + 0.0, round((by_count - 0.5) * 1000, 1) + 0.0


found = {}
for name, codec in (
    ("aac.mp4", "aac"),
    ("aac.mkv", "aac"),
    ("aac.ts", "aac"),
    ("aac.aac", "aac"),
    ("opus.mp4", "libopus"),
    ("opus.ts", "libopus"),
    ("mp3.mp3", "libmp3lame"),
    ("flac.mkv", "flac"),
):
    write(f"{folder}/{name}", codec)
    found[name] = late(f"{folder}/{name}")
    print(f"{name}: late by {found[name][0]} ms by frame.time, {found[name][1]} ms by counting samples")
expected = {"aac.mp4": (0.0, 0.0), "aac.ts": (21.3, 21.3), "aac.aac": (21.3, 21.3), "mp3.mp3": (23.0, 0.0)}
if any(found[name] != values for name, values in expected.items()):
    sys.exit(f"changed: expected {expected}")
PY
"$work/venv/bin/python" "$work/find.py" "$work"
