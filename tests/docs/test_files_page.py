"""docs/files.md is generated, and docs/architecture.md names files that exist."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_of_files_is_up_to_date():
    subprocess.run([sys.executable, ROOT / "tools" / "list_files.py", "--check"], check=True)


def test_the_architecture_page_names_files_that_exist():
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert len(named) == 30
    assert [name for name in named if not (ROOT / "src" / "posegen" / name).exists()] == []
