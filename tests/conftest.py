"""Fixtures that several test folders use."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_media() -> Path:
    """Folder of real videos and pictures, kept beside the checkout."""
    folder = REPOSITORY.parent / "shared" / "media"
    assert folder.is_dir(), f"{folder} is missing: the tests use real media"
    return folder
