"""Worker processes: renewed, replaced when they die, and never left behind."""

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from posegen.errors import OutputError, PosegenError
from posegen.synthetic.workers import default_workers, run_in_processes

PROGRAM = """
import functools, sys
sys.path.insert(0, {tests!r})
from test_workers import sleep
from posegen.synthetic.workers import run_in_processes
if __name__ == "__main__":
    run_in_processes(functools.partial(sleep, sys.argv[1]), range(4), 2, print, print)
"""


def square(number, tell):
    tell(1)
    return os.getpid(), number**2


def die_once(folder, number, tell):
    if number == 1 and not os.path.exists(f"{folder}/died"):
        Path(folder, "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die(number, tell):
    os._exit(9)


def fail(number, tell):
    raise OutputError(f"no place for {number}")


def sleep(folder, number, tell):
    Path(folder, str(os.getpid())).touch()
    time.sleep(60)


def run(task, numbers, workers=2):
    told, done = [], {}
    run_in_processes(task, numbers, workers, lambda *step: told.append(step), done.__setitem__)
    return told, done


def test_many_more_tasks_than_a_process_is_given_are_all_done():
    told, done = run(square, range(40))
    assert {number: result for number, (_, result) in done.items()} == {n: n**2 for n in range(40)}
    assert sorted(told) == [(number, 1) for number in range(40)]
    processes = [process for process, _ in done.values()]
    assert max(processes.count(process) for process in processes) <= 8
    assert os.getpid() not in processes


def test_a_process_that_dies_is_replaced(tmp_path, caplog):
    assert run(functools.partial(die_once, str(tmp_path)), range(4))[1] == {n: n for n in range(4)}
    assert "died" in caplog.text


def test_processes_that_keep_dying_end_in_one_line():
    with pytest.raises(PosegenError, match="fewer workers"):
        run(die, range(3))


def test_what_a_task_raises_is_raised_with_its_traceback():
    with pytest.raises(OutputError, match="no place for") as caught:
        run(fail, range(3))
    assert "in fail" in caught.value.__notes__[0]


def test_default_is_at_least_one():
    assert 1 <= default_workers() <= os.cpu_count()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_its_parent(number, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(tests=str(Path(__file__).parent)))
    started = tmp_path / "started"
    started.mkdir()
    parent = subprocess.Popen(
        [sys.executable, program, started],
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  (ignored in background runs)
    )
    deadline = time.monotonic() + 60
    while len(list(started.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = [int(path.name) for path in started.iterdir()]
    assert len(workers) == 2
    if number == signal.SIGINT:
        os.killpg(parent.pid, number)  # as a terminal does
    else:
        parent.send_signal(number)
    said = parent.communicate(timeout=20)[1].decode()
    deadline = time.monotonic() + 10
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, workers))
    assert said.count("Traceback") == (number == signal.SIGINT), said  # the parent's own


def alive(process):
    return psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE
