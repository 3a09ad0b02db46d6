"""The form of the scripts in findings/; they install packages, so nothing here runs them."""

import re
import subprocess
from pathlib import Path

import pytest

FINDINGS = Path(__file__).parents[1] / "findings"
SCRIPTS = sorted(FINDINGS.glob("*.sh"))
FIELDS = ["Subject", "Guess", "Reality", "Versions", "Output seen"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_form(script: Path) -> None:
    """Each script has the fields of its head in order, cleans up, pins its packages, can fail, and is valid bash."""
    text = script.read_text()
    head, _, _ = text.partition("set -euo pipefail")
    assert re.findall(r"^# (Subject|Guess|Reality|Versions|Output seen)\b[^:]*:", head, re.MULTILINE) == FIELDS
    assert all(line.startswith("#") for line in head.splitlines())
    assert re.search(r"^#   \S", head.split("# Output seen")[1], re.MULTILINE)
    assert "trap 'rm -rf \"$work\"' EXIT" in text
    assert "sys.exit(" in text
    assert "posegen" not in text
    for packages in re.findall(r"pip\" install ((?:[^\n]*\\\n)*[^\n]*)", text):
        names = [word for word in packages.replace("\\", " ").split() if not word.startswith("-")]
        assert names
        assert all("==" in name for name in names)
    subprocess.run(["bash", "-n", script], check=True)


def test_list() -> None:
    """The README lists every script once."""
    listed = re.findall(r"^\| \[(\w+\.sh)\]\(\1\)", (FINDINGS / "README.md").read_text(), re.MULTILINE)
    assert listed == [script.name for script in SCRIPTS]
