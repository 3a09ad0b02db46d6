"""Worker processes that are copies of one with its libraries, for tests that are not about how a process begins."""

import subprocess
import sys

import pytest

from posegen.prepare import isolated

WORKER = """
import sys
sys.path[:] = {path!r}
from posegen.prepare import isolated
isolated._end_with = lambda parent: None  # whoever asks is not its parent here
isolated.work()
"""


@pytest.fixture(scope="session")
def copied_workers(warm):
    """`with copied_workers():` in which `Isolated` starts copies; each is a real process that can crash or hang."""

    def start(command, stdin, stdout, env) -> subprocess.Popen:
        return warm(WORKER.format(path=sys.path), stdin=stdin, stdout=stdout, environment=env, text=False)

    class Copied(pytest.MonkeyPatch):
        def __enter__(self):
            self.setattr(isolated, "_launch", start)

        def __exit__(self, *_):
            self.undo()

    return Copied
