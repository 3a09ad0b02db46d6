"""Set-up: what goes wrong is explained in one line, and the tables of extras agree with pyproject.toml."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pytest

from posegen.errors import PosegenError
from posegen.extras import EXTRAS, missing_modules, require_extra

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import set_up  # noqa: E402

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOWHERE = ["--isolated", "--no-input", "--disable-pip-version-check", "--retries", "1", "--index-url",
           "http://127.0.0.1:9/simple"]  # fmt: skip  # a table, read in rows


def names(requirements):
    return {re.split(r"[^\w.-]", line)[0].lower().replace("_", "-") for line in requirements}


def test_table_of_extras_names_what_pyproject_installs():
    installed = PROJECT["optional-dependencies"]
    assert set(EXTRAS) == set(installed) - {"dev", "docs"}
    packages = importlib.metadata.packages_distributions()
    for extra, modules in EXTRAS.items():
        wanted = {package.lower().replace("_", "-") for module in modules for package in packages.get(module, [module])}
        assert names(installed[extra]) <= wanted, extra


def test_a_missing_extra_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(EXTRAS, "train", ("tensorboard", "no_such_module"))
    assert missing_modules("train") == ["no_such_module"]
    with pytest.raises(PosegenError, match=r"no_such_module.*pip install 'posegen\[train\]'"):
        require_extra("train", "training")


def test_no_network_is_told_from_what_pip_really_prints(tmp_path, capsys):
    command = [sys.executable, "-m", "pip", "download", *NOWHERE, "--dest", str(tmp_path), "einops"]
    with pytest.raises(set_up.SetUpError, match="no package index answers"):
        set_up.run_step("einops", command, tmp_path / "log")
    assert "NewConnectionError" in (tmp_path / "log").read_text()
    assert capsys.readouterr().out.startswith("set-up: einops ...")


def test_a_full_disk_is_told_before_and_while_packages_install(tmp_path, monkeypatch):
    monkeypatch.setattr(set_up.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=1000))
    with pytest.raises(set_up.SetUpError, match=r"0\.0 GB free .* about 2\.5 are needed"):
        set_up.check_place(tmp_path / "venv", "demo")
    with pytest.raises(set_up.SetUpError, match="the disk became full at 'torch'"):
        set_up.run_step("torch", ["sh", "-c", "cat /dev/zero > /dev/full"], tmp_path / "log")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_told(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(set_up.SetUpError, match="cannot be written"):
        set_up.check_place(tmp_path / "venv", "demo")


def test_a_place_that_is_a_file_is_told(tmp_path):
    (tmp_path / "venv").write_text("")
    with pytest.raises(set_up.SetUpError, match="cannot be written"):
        set_up.check_place(tmp_path / "venv", "demo")


def test_an_old_python_is_refused_by_make(tmp_path):
    old = tmp_path / "python3"
    claim = "import sys; sys.version_info = (3, 10)"
    old.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} -c "{claim}; $2"\nexit 9\n')
    old.chmod(0o755)
    for target in ("demo", "test"):
        done = subprocess.run(
            ["make", "-C", str(ROOT), target, f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode
        assert "posegen needs Python 3.11 or newer" in done.stdout
        assert not (tmp_path / "venv").exists()


def test_what_is_declared_is_what_is_pinned():
    """Every requirement has a pinned version in constraints.txt that lies inside its bounds."""
    from packaging.requirements import Requirement

    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    pinned = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in (line.split("==") for line in lines)}
    optional = PROJECT["optional-dependencies"].values()
    for text in [*PROJECT["dependencies"], *(line for extra in optional for line in extra)]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pinned[re.sub(r"[-_.]+", "-", requirement.name).lower()]), text
