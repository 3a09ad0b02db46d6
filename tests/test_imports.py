"""Data flows one way: a file imports only from its own station and those above it; and nothing heavy too early."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "posegen"
STATIONS = ["digests", "errors", "extras", "quiet", "types", "config", "media", "recipes", "conditions", "model",
            "pipeline", "synthetic", "data", "train", "evaluate", "apps"]  # fmt: skip
FILES = sorted(path for path in SOURCE.rglob("*.py") if path.parent != SOURCE or path.stem != "__init__")


def station_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_stations(path: Path) -> set[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names += [node.module or ""]
            if node.module == "posegen":
                names += [f"posegen.{alias.name}" for alias in node.names if not alias.name.startswith("__")]
    return {name.split(".")[1] for name in names if name.startswith("posegen.")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_flow_one_way(path):
    own = STATIONS.index(station_of(path))
    later = {name for name in imported_stations(path) if STATIONS.index(name) > own}
    assert not later, f"{path.name} ({station_of(path)}) imports from later stations: {sorted(later)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_file_says_what_it_is(path):
    if path.read_text().strip():
        assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_architecture_page_names_every_file(path):
    page = (SOURCE.parents[1] / "docs" / "architecture.md").read_text()
    if path.stem != "__init__":
        assert f"`{path.relative_to(SOURCE)}`" in page


def test_processes_that_prepare_data_with_embedded_estimators_load_no_torch():
    """There are several beside each core, and each would pay seconds and 200 MB for it."""
    code = "import sys, posegen.prepare.filters.clip_filters, posegen.prepare.stages.samples; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "ray"} & set(loaded)


def test_command_line_imports_nothing_heavy():
    code = "import sys, posegen.apps.cli as c; c.parse(['models']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "diffusers", "transformers", "cv2", "av", "mediapipe"} & set(loaded)
