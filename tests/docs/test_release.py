"""The version has one home, and whatever repeats it agrees; the files for those who carry on can be read."""

import re
import tomllib

import yaml
from pages import REPOSITORY

import posegen


def test_the_version_is_the_packages_everywhere():
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert "version" not in settings["project"]
    assert settings["project"]["dynamic"] == ["version"]
    assert settings["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "posegen.__version__"}
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    newest = re.search(r"^## \[?([\d.]+)", (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert posegen.__version__ == citation["version"] == newest


def test_the_citation_names_the_project_and_the_paper():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()  # what version 1.2.0 requires
    assert citation["cff-version"] == "1.2.0"
    (paper,) = citation["references"]
    assert paper["identifiers"][0]["value"] == "arXiv:2508.05091"


def test_the_changelog_is_sorted():
    """As keepachangelog.com has it: versions, and in each the kinds of change, in this order."""
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert len(versions) >= 2
    for version in versions:
        kinds = re.findall(r"^### (.+)$", version, re.MULTILINE)
        assert kinds == [kind for kind in ("Added", "Changed", "Fixed") if kind in kinds]
        assert kinds


def test_hooks_run_the_ruff_of_the_environment_and_fetch_nothing():
    settings = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repository in settings["repos"] for hook in repository["hooks"]]
    assert {repository["repo"] for repository in settings["repos"]} == {"local"}
    assert {hook["language"] for hook in hooks} == {"system"}
    assert all(hook["entry"].startswith(".venv/bin/ruff ") for hook in hooks)
