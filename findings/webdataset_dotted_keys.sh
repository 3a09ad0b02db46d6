#!/usr/bin/env bash
# Subject: webdataset samples whose key has a dot, such as "clip.0001", written by TarWriter and read by WebDataset.
# Guess: the library's own reader gives back the samples that its own writer took, or the writer refuses the key.
# Reality: the writer takes any key; the reader cuts the name at its first dot. "clip.0001", "clip.0002" and
#   "clip.0003" come back as *one* sample with the key "clip" and the fields "0001.txt", "0002.txt", "0003.txt".
#   Neither side warns. The reader's rule is documented.
# Versions: webdataset 1.0.2, Python 3.11.
# Output seen:
#   written: ['clip.0001', 'clip.0002', 'clip.0003']
#   read: {'clip': ['0001.txt', '0002.txt', '0003.txt']}
#   with a hyphen: {'clip-0001': ['txt'], 'clip-0002': ['txt'], 'clip-0003': ['txt']}
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check webdataset==1.0.2

cat > "$work/find.py" <<'PY'
import sys

import webdataset

path = f"{sys.argv[1]}/samples.tar"


def round_trip(keys):
    with webdataset.TarWriter(path) as writer:
        for key in keys:
            writer.write({"__key__": key, "txt": key})
    samples = webdataset.WebDataset(path, shardshuffle=False)
    return {sample["__key__"]: sorted(name for name in sample if not name.startswith("__")) for sample in samples}


dotted = ["clip.0001", "clip.0002", "clip.0003"]
print(f"written: {dotted}")
found = round_trip(dotted)
print(f"read: {found}")
hyphenated = round_trip([key.replace(".", "-") for key in dotted])
print(f"with a hyphen: {hyphenated}")
if (len(found), len(hyphenated)) != (1, 3):
    sys.exit("changed: dotted keys no longer merge into one sample")
PY
"$work/venv/bin/python" "$work/find.py" "$work"
