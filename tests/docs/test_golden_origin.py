"""Every golden file is listed with its origin in `tests/golden/README.md`, and is the one that was listed."""

import hashlib
import re

from pages import REPOSITORY

GOLDEN = REPOSITORY / "tests" / "golden"
ROW = re.compile(r"^\| `([^`]+)` \| `([0-9a-f]{64})` \|", re.MULTILINE)


def test_every_golden_file_is_listed_with_its_hash():
    listed = dict(ROW.findall((GOLDEN / "README.md").read_text(encoding="utf-8")))
    there = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in GOLDEN.iterdir() if path.suffix != ".md"
    }
    assert listed == there
