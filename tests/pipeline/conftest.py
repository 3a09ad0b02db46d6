"""One mini model for the whole folder, in float32."""

import pytest

from posegen.pipeline.mini import build_mini


@pytest.fixture(scope="session")
def mini():
    return build_mini()
