"""docs/files.md is generated, docs/architecture.md names real files, and docs/style.md is followed."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = ("src", "benchmarks", "examples", "tools")


def test_the_page_of_files_is_up_to_date():
    subprocess.run([sys.executable, ROOT / "tools" / "list_files.py", "--check"], check=True)


def test_the_architecture_page_names_files_that_exist():
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert len(named) == 30
    assert [name for name in named if not (ROOT / "src" / "posegen" / name).exists()] == []


def test_docstrings_begin_with_a_verb_or_a_noun():
    found = []
    for path in sorted(path for folder in CODE for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                line = (ast.get_docstring(node) or "").split("\n")[0]
                if re.match(r"(Of|Whose|What|Who|Which|Where|Whether|How)\b", line):
                    found.append(f"{path.relative_to(ROOT)}: {line}")
    assert found == []


def test_unformatted_code_has_its_reason_beside_it():
    bare = re.compile(r"fmt: (skip|off)$", re.MULTILINE)
    assert [path for path in (ROOT / "src").rglob("*.py") if bare.search(path.read_text())] == []
