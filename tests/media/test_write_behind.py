"""Laws of writing on another thread: order, everything accepted is written, errors reach the producer."""

import threading

import pytest

from posegen.errors import OutputError
from posegen.media.write_behind import WriteBehind


def pass_on(items, write, depth=3):
    with WriteBehind(write, depth) as behind:
        for item in items:
            behind.put(item)


def test_everything_is_written_in_order_on_another_thread():
    written, threads = [], set()

    def write(item):
        written.append(item)
        threads.add(threading.get_ident())

    pass_on(range(20), write)
    assert written == list(range(20))
    assert threading.get_ident() not in threads


def test_the_producer_is_at_most_depth_items_ahead():
    go, written, ahead = threading.Semaphore(0), [], []

    def write(item):
        assert go.acquire(timeout=30)
        written.append(item)

    with WriteBehind(write, depth=2) as behind:
        for item in range(8):
            if item >= 3:  # one is being written, two wait
                go.release()
            behind.put(item)
            ahead.append(item + 1 - len(written))
        for _ in range(8):
            go.release()
    assert written == list(range(8))
    assert max(ahead) <= 2 + 2


def test_what_was_accepted_is_written_when_the_producer_fails():
    written = []

    def items():
        yield from range(5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pass_on(items(), written.append)
    assert written == list(range(5))


@pytest.mark.parametrize("bad", [0, 5, 9])
def test_an_error_of_writing_ends_the_producer_and_nothing_follows(bad):
    written = []

    def write(item):
        if item == bad:
            raise OutputError("disk full")
        written.append(item)

    with pytest.raises(OutputError, match="disk full"):
        pass_on(range(10), write)
    assert written == list(range(bad))
