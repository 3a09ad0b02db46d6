"""A table of who may import whom; no cycles between files; nothing heavy too early; each base name exists once."""

import ast
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "posegen"
FILES = sorted(SOURCE.rglob("*.py"))
GROUND = {
    "errors", "types", "progress", "devices", "digests", "cache_folder", "extras", "heap", "offline", "quiet",
    "callable_package", "library_imports",
}  # fmt: skip  # a table, read in rows
"""Files of the ground floor: used by all; they use nothing but each other."""
ALLOWED = {
    "config": set(),
    "media": set(),
    "recipes": {"media"},
    "conditions": {"config", "media"},
    "motion": {"config", "media", "conditions"},
    "model": {"config", "media", "conditions"},
    "generate": {"config", "media", "conditions", "motion", "model"},
    "synthetic": {"media", "conditions"},
    "data": {"media", "conditions", "model"},
    "prepare": {"config", "media", "recipes", "conditions", "model", "data"},
    "train": {"config", "media", "recipes", "model", "data", "prepare"},
    "evaluate": {"config", "media", "conditions", "model", "generate", "synthetic", "data"},
    "serve": {"config", "media", "model", "generate", "evaluate", "prepare"},
    "apps": {"config", "media", "conditions", "motion", "model", "generate", "synthetic", "data", "prepare", "train",
             "evaluate", "serve"},
}  # fmt: skip  # a table, read in rows
"""The packages that a package may import, beside the ground floor; `posegen` and `api`, its functions, import any."""


def module_of(path: Path) -> str:
    name = ".".join(("posegen", *path.relative_to(SOURCE).with_suffix("").parts))
    return name.removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


def package_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@cache
def imported(path: Path) -> frozenset[str]:
    """Modules of posegen that a file imports anywhere, inside functions included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in MODULES}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found |= {name for name in (whole, node.module) if name in MODULES}
                found -= {node.module} if whole in MODULES else set()
    return frozenset(found - {module_of(path)})


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_are_in_the_table(path):
    own = package_of(module_of(path))
    used = {package_of(name) for name in imported(path)} - {own, ""} - GROUND
    if own not in ("", "api"):
        assert used <= ALLOWED.get(own, set()), f"{path.name}: not allowed for {own}"


def test_the_table_holds_no_edge_that_nobody_uses():
    """An edge that is allowed but not used hides the next mistake."""
    used = {(package_of(module_of(path)), package_of(name)) for path in FILES for name in imported(path)}
    allowed = {(package, other) for package, others in ALLOWED.items() for other in others}
    assert allowed <= used


def test_no_files_import_each_other_in_a_circle():
    # `posegen` itself names what it offers for type checkers, and imports nothing but when it is asked for it
    graph = {name: imported(path) for name, path in MODULES.items()} | {"posegen": frozenset()}
    finished: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"a cycle: {' -> '.join((*trail[trail.index(name) :], name))}"
        if name not in finished:
            for other in sorted(graph[name]):
                visit(other, (*trail, name))
            finished.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_each_base_name_exists_once():
    names = Counter(path.name for path in FILES if path.stem != "__init__")
    assert [name for name, count in names.items() if count > 1] == []


def is_type_alias(node):
    """A name in words with capitals, for an array, a choice, a union, or another type's name."""
    name, value = ast.unparse(node.targets[0]), node.value
    arrays = ast.unparse(value).startswith(("UInt8[", "Bool[", "Float[", "Float32[", "Int[", "Literal["))
    in_words = name[0].isupper() and not name.isupper()
    return arrays or (in_words and isinstance(value, ast.BinOp | ast.Name))


def test_each_public_class_and_type_alias_exists_once():
    names = Counter()
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                names[node.name] += 1
            elif isinstance(node, ast.Assign) and is_type_alias(node):
                names[ast.unparse(node.targets[0])] += 1
    assert [name for name, count in names.items() if count > 1 and not name.startswith("_")] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_file_says_what_it_is(path):
    if path.read_text().strip():
        assert ast.get_docstring(ast.parse(path.read_text()))


def test_processes_that_prepare_data_with_embedded_estimators_load_no_torch():
    """There are several beside each core, and each would pay seconds and 200 MB for it."""
    code = "import sys, posegen.prepare.filters.clip_filters, posegen.prepare.stages.samples; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "ray"} & set(loaded)


def test_command_line_imports_nothing_heavy():
    code = "import sys, posegen.apps.cli as c; c.parse(['models']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "diffusers", "transformers", "cv2", "av", "mediapipe"} & set(loaded)


def test_each_test_file_name_exists_once():
    """Test folders are not packages, so pytest cannot import two files of one name."""
    names = Counter(path.name for path in Path(__file__).parent.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
