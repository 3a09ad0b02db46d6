"""The queue: its order, who takes what, and what becomes of a job when it is paused, killed, or deleted."""

import threading

import pytest

from posegen.errors import PosegenError
from posegen.serve.job_store import (
    FORMAT,
    MAX_ATTEMPTS,
    JobStore,
    QueueFullError,
    StoredUpload,
    UnknownJobError,
    WrongStatusError,
)


@pytest.fixture
def store(tmp_path):
    made = JobStore(tmp_path)
    yield made
    made.close()


def add(store, number=1, kind="video"):
    return [store.add(kind, {"seed": each}, {"reference": f"{each:064x}"}, 100).id for each in range(number)]


def test_jobs_are_taken_in_order_each_by_one_worker(store, tmp_path):
    names, taken = add(store, 30), []
    other = JobStore(tmp_path)  # as another process has it

    def work(mine, worker):
        while job := mine.claim("video", worker):
            taken.append(job.id)

    threads = [threading.Thread(target=work, args=(mine, str(n))) for n, mine in enumerate((store, other, store))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert sorted(taken) == sorted(names)
    assert add(store, 3, "preview")
    assert store.claim("video", "a") is None  # previews are for another worker


def test_moving_changes_the_order(store):
    a, b, c, d = add(store, 4)
    store.move(d, a)
    store.move(a, None)
    store.move(c, b)
    assert list(store.places()) == [d, c, b, a]
    assert [store.claim("video", "w").id for _ in range(4)] == [d, c, b, a]
    with pytest.raises(WrongStatusError, match=a):
        store.move(a, None)


def test_a_job_that_waits_is_paused_resumed_cancelled_and_retried(store):
    first, second = add(store, 2)
    assert store.pause(first).status == "paused"
    assert store.claim("video", "w").id == second
    assert store.resume(first).status == "queued"
    assert store.cancel(first).status == "cancelled"
    for does in (store.pause, store.resume, store.cancel):
        with pytest.raises(WrongStatusError, match="cancelled"):
            does(first)
    assert store.retry(first).status == "queued"
    with pytest.raises(UnknownJobError):
        store.cancel("video_0")


@pytest.mark.parametrize(("wish", "status"), [("pause", "paused"), ("cancel", "cancelled")])
def test_a_job_in_progress_learns_what_is_wished_even_if_its_worker_dies(store, wish, status):
    (name,) = add(store)
    store.claim("video", "w")
    assert store.report(name, {"stage": "conditions"}) is None
    assert getattr(store, wish)(name).status == "in_progress"
    assert store.report(name, {}) == wish
    store.hand_back("w", "signal 9")
    assert store.job(name).status == status
    assert store.job(name).wish is None


def test_a_job_whose_worker_dies_comes_first_again_and_fails_at_last(store):
    first, _ = add(store, 2)
    for _ in range(MAX_ATTEMPTS):
        assert store.claim("video", "w").id == first
        assert store.hand_back("somebody else", "signal 9") == []
        assert store.hand_back("w", "signal 9") == [first]
    job = store.job(first)
    assert (job.status, job.error["code"]) == ("failed", "worker_died")
    assert store.retry(first).attempts == 0


def test_a_worker_that_is_stopped_costs_no_attempt(store):
    (name,) = add(store)
    for _ in range(2 * MAX_ATTEMPTS):
        assert store.claim("video", "w").id == name
        store.hand_back("w")
    assert store.job(name).status == "queued"


def test_what_a_killed_server_left_is_queued_whatever_its_workers_were_called(store):
    names = add(store, 3)
    for worker in ("video-cuda:0", "video-cuda:1"):
        store.claim("video", worker)
    store.pause(names[1])
    store.hand_back_all()
    assert [store.job(name).status for name in names] == ["queued", "paused", "queued"]
    assert store.job(names[0]).attempts == 0


def test_deleting_waits_for_the_worker(store):
    first, second = add(store, 2)
    assert store.delete(second)
    store.claim("video", "w")
    assert not store.delete(first)
    assert store.report(first, {}) == "delete"
    store.hand_back("w", "signal 9")
    for name in (first, second):
        with pytest.raises(UnknownJobError):
            store.job(name)
        assert store.events(name) == []


def test_the_queue_has_an_end(store):
    add(store, 3)
    with pytest.raises(QueueFullError):
        store.add("video", {}, {}, most=3)


def test_lists_are_read_in_parts(store):
    names = add(store, 7)
    assert [job.id for job in store.jobs("video", 3, oldest_first=True)] == names[:3]
    assert [job.id for job in store.jobs("video", 9, names[2], oldest_first=True)] == names[3:]
    assert [job.id for job in store.jobs("video", 9, names[2])] == names[1::-1]


def test_events_come_in_order_and_resume(store):
    (name,) = add(store)
    for number in range(5):
        store.tell(name, "segment", {"segment": number})
    events = store.events(name)
    assert [event.kind for event in events] == ["status", *["segment"] * 5]
    assert store.events(name, events[3].number) == events[4:]


def test_a_file_that_a_job_uses_is_not_forgotten(store):
    (name,) = add(store)
    upload = StoredUpload(f"{0:064x}", "image", "a.png", "uploads/a.png", 3, {"width": 1}, 5.0)
    store.keep_upload(upload)
    assert store.upload(upload.sha256) == upload
    assert not store.forget_upload(upload.sha256)
    store.delete(name)
    assert store.forget_upload(upload.sha256)
    assert store.upload(upload.sha256) is None


def test_a_damaged_or_newer_database_is_one_line(tmp_path, store):
    with store._changing() as database:
        database.execute(f"PRAGMA user_version = {FORMAT + 1}")
    store.close()
    with pytest.raises(PosegenError, match="newer"):
        JobStore(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "jobs.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(PosegenError, match=r"jobs\.sqlite"):
        JobStore(tmp_path / "other")
