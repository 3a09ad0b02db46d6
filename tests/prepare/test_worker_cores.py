"""One core for each call: no two at once have the same, and all come back."""

import os
import subprocess
import sys
import uuid

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux keeps processes on cores")
_OURS = (
    "import os, sys\n"
    "from posegen.prepare import cores\n"
    "from posegen.prepare.cores import one_core\n"
    f"cores._CLAIM = 'posegen-test-{uuid.uuid4().hex}'\n"
)
"""Claims of these tests only: other runs on this machine come and go."""
_HOLD = (
    f"{_OURS}with one_core() as core:\n"
    "    print(core, len(os.sched_getaffinity(0)), flush=True)\n"
    "    sys.stdin.read()\n"
)


def test_no_two_calls_share_a_core_and_the_last_ones_go_free():
    """One process more than there are cores: each core once, then none; a core is free when its process is killed."""
    allowed = os.sched_getaffinity(0)
    if len(allowed) > 8:
        pytest.skip("one process for each core would be many")
    holders = [
        subprocess.Popen([sys.executable, "-c", _HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(len(allowed) + 1)
    ]
    try:
        said = [tuple(holder.stdout.readline().split()) for holder in holders]
        held = {core for core, _ in said if core != "None"}
        assert len(held) == len([core for core, _ in said if core != "None"])
        assert held <= {str(core) for core in allowed}
        assert ("None", str(len(allowed))) in said
        assert all(count == "1" for core, count in said if core != "None")
        dying = next(holder for holder, (core, _) in zip(holders, said, strict=True) if core != "None")
        core = said[holders.index(dying)][0]
        dying.kill()
        dying.wait()
        again = subprocess.run([sys.executable, "-c", _HOLD], input="", capture_output=True, text=True, check=True)
        assert again.stdout.split()[0] == core
    finally:
        for holder in holders:
            holder.kill()
            holder.communicate()


def test_a_call_after_another_may_use_any_core():
    """The first call's core is not all that is left for the second."""
    script = (
        f"{_OURS}allowed = os.sched_getaffinity(0)\n"
        "with one_core(): pass\n"
        "import socket\n"
        "claims = [socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in allowed]\n"
        "for claim, core in zip(claims, allowed):\n"
        "    claim.bind(f'\\0{cores._CLAIM}-{core}')\n"
        "with one_core() as core: print(core, os.sched_getaffinity(0) == allowed)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", "True"]


def test_a_core_is_free_again_after_the_call():
    """The same process gets one every time."""
    script = f"{_OURS}for _ in range(3):\n    with one_core() as core: print(core)\n"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    cores = done.stdout.split()
    assert len(cores) == 3
    assert "None" not in cores
