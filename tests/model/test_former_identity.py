"""A checkpoint that an earlier version wrote is resumed while the model it started from is untouched."""

import os
import shutil

from posegen.model.former_identity import is_former_identity
from posegen.model.sources import model_identity


def noted(folder):
    """The identity as earlier versions wrote it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return f"{folder} " + " ".join(f"{each.name}:{each.stat().st_size}:{each.stat().st_mtime_ns}" for each in files)


def test_an_untouched_folder_is_recognised_and_no_other(narrow, tmp_path):
    folder, other = (shutil.copytree(narrow, tmp_path / name / "my model") for name in ("one", "two"))
    (other / "vae" / "added.json").write_text("{}")
    text, identity = noted(folder), model_identity(str(folder))
    assert is_former_identity(text, identity)
    assert not is_former_identity(noted(other), identity)
    assert not is_former_identity("mini 70f534036f49211a", identity)
    assert not is_former_identity(identity, identity)
    os.utime(next(folder.rglob("*.safetensors")), (1, 1))  # what has happened since cannot be known
    assert not is_former_identity(text, identity)
