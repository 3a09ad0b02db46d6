"""The API reference builds from docstrings without a warning, and shows every public name."""

import subprocess
import sys
from pathlib import Path

import posegen

ROOT = Path(__file__).resolve().parents[2]


def test_the_reference_builds_strictly_and_is_complete(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    pages = "".join(page.read_text() for page in tmp_path.glob("*.html"))
    missing = [name for name in posegen.__all__ if f".{name}" not in pages and not name.startswith("__")]
    assert missing == []
