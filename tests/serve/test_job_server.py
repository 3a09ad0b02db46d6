"""Jobs from the first request to the last byte, with a real worker: the video is that of the command."""

import contextlib
import threading
import time

import pytest

pytest.importorskip("fastapi", reason="tests of the job server need the extra `serve`")

from posegen.config import GenerateConfig, ServeConfig
from posegen.generate.long_video import generate_video
from posegen.media.video import VideoWriter, probe_video
from posegen.serve.client import ServerError
from posegen.serve.job_worker import Worker

FIELDS = {"size": "96x64", "steps": 6, "retarget": "off", "dtype": "float32", "seed": 5}


@pytest.fixture
def working(serving_jobs, narrow):
    """`with working() as (client, store, workers)`: a server, and a worker of each kind in this process."""

    @contextlib.contextmanager
    def start(**settings):
        with serving_jobs(models=(narrow,), **settings) as (client, store):
            config = ServeConfig(folder=store.folder, models=(narrow,), **settings)
            workers = {kind: Worker(config, kind, "cpu", f"{kind}-cpu") for kind in ("video", "preview")}
            threads = [threading.Thread(target=worker.run) for worker in workers.values()]
            for thread in threads:
                thread.start()
            try:
                yield client, store, workers
            finally:
                for worker in workers.values():
                    worker.stopping.set()
                for thread in threads:
                    thread.join()
                for worker in workers.values():
                    worker.store.close()

    return start


def until(client, name, holds, seconds=240):
    deadline = time.monotonic() + seconds
    while not holds(job := client.get(name)):
        assert time.monotonic() < deadline, job
        assert job["status"] not in ("failed", "completed"), job
        time.sleep(0.05)
    return job


def test_videos_are_the_commands_and_one_model_serves_them(working, media, short_dance, narrow, tmp_path):
    inputs = {"reference": media / "man.png", "driving_video": short_dance}
    command = GenerateConfig(
        reference=media / "man.png",
        driving=short_dance,
        output=tmp_path / "command.mp4",
        model=narrow,
        device="cpu",
        **FIELDS,
    )
    generate_video(command)
    whole = command.output.read_bytes()
    with working() as (client, store, workers):
        first, second = (client.create_video(**inputs, **FIELDS)["id"] for _ in range(2))
        until(client, second, lambda job: (job["segment"] or 0) >= 2)
        assert client.change(second, "pause")["status"] in ("in_progress", "paused")
        until(client, second, lambda job: job["status"] == "paused")
        assert list((store.folder / "jobs" / second).glob("result.posegen/job-*/segments/*.mkv"))
        client.change(second, "resume")
        client.wait(second)
        for name in (first, second):
            assert client.download(name, tmp_path / f"{name}.mp4").read_bytes() == whole
        assert workers["video"].model.loads == 1
        made = client.get(first)
        assert (made["frames"], made["width"], made["height"], made["fps"]) == (36, 64, 96, 24.0)
        assert made["outputs"] == {"video": f"/v1/videos/{first}/content?variant=video"}
        events = list(client.events(first))
        assert [event.data["segment"] for event in events if event.kind == "segment"] == [0, 1, 2, 3]
        assert {"plan", "note", "status", "progress"} <= {event.kind for event in events}
        texts = " ".join(event.data.get("text", "") for event in events)
        assert "man.png" in texts
        assert str(tmp_path) not in texts.replace(str(narrow), "")
        again = list(client.events(first, after=next(event.id for event in reversed(events) if event.id)))
        assert [event.kind for event in again] == ["progress"]
        part = client._connect()
        part.request("GET", f"/v1/videos/{first}/content", headers={"Range": "bytes=100-299"})
        response = part.getresponse()
        assert (response.status, response.read()) == (206, whole[100:300])
        part.close()
        client.delete(first)
        assert not (store.folder / "jobs" / first).exists()


def test_a_video_is_watched_while_it_grows_by_several(working, media, narrow, tmp_path):
    with working() as (client, _, _):
        fields = FIELDS | {"steps": 2, "fps": "20", "person_check": False, "side_by_side": True}
        name = client.create_video(reference=media / "man.png", driving_video=media / "dancer.mp4", **fields)["id"]
        until(client, name, lambda job: job["growing"])
        seen = {}

        def watch(number):
            with client._answer("GET", f"/v1/videos/{name}/growing") as response:
                seen[number] = response.read()

        watchers = [threading.Thread(target=watch, args=(number,)) for number in range(2)]
        for watcher in watchers:
            watcher.start()
        done = client.wait(name)
        for watcher in watchers:
            watcher.join(60)
        assert seen[0] == seen[1]
        (tmp_path / "seen.mp4").write_bytes(seen[0])
        assert probe_video(tmp_path / "seen.mp4").num_frames == done["frames"]
        assert set(done["outputs"]) == {"video", "side_by_side"}
        assert probe_video(client.download(name, tmp_path / "beside.mp4", "side_by_side")).width == 3 * 64


def test_a_preview_shows_everybody_and_its_work_is_taken_up(working, media, tmp_path):
    with working() as (client, store, _):
        inputs = {"reference": media / "man.png", "driving_video": media / "crossing.mp4"}
        fields = FIELDS | {"retarget": "full", "person": "1"}
        preview = client.wait(client.create_preview(**inputs, **fields)["id"])
        found = client.get(preview["id"])["findings"]
        assert [(each["number"], each["followed"]) for each in found["people"]] == [(1, True), (2, False)]
        assert all(0 <= side <= 1 for each in found["people"] for side in each["box"])
        assert (found["width"], found["height"], found["frames"]) == (64, 96, 40)
        assert found["estimated_seconds"] is None
        assert all(each["start"] <= each["stop"] <= 40 or each["start"] == each["stop"] for each in found["segments"])
        for address in (found["reference"], found["people"][0]["picture"], *found["videos"].values()):
            with client._answer("GET", address) as response:
                assert len(response.read()) > 500
        with pytest.raises(ServerError):
            client._json("GET", f"/v1/previews/{preview['id']}/files/conditions.key")
        name = client.create_video(**inputs, **fields)["id"]
        job = until(client, name, lambda job: (job["segment"] or 0) >= 1)
        counted = [event.data for event in store.events(name) if event.kind == "note"]
        assert not [data for data in counted if "looking for the hands" in data["text"]]  # nothing was extracted again
        client.delete(name)
        until_gone(client, name)
        assert job["files"]["driving_video"]["name"] == "crossing.mp4"
        assert not (store.folder / "jobs" / name).exists()


def until_gone(client, name):
    deadline = time.monotonic() + 60
    with contextlib.suppress(ServerError):
        while time.monotonic() < deadline:
            client.get(name)
            time.sleep(0.05)
    with pytest.raises(ServerError):
        client.get(name)


def test_a_job_that_cannot_be_done_names_the_field_and_the_next_one_is_done(working, media, tmp_path):
    import numpy as np

    from posegen.media.image import write_image

    write_image(tmp_path / "wall.png", np.full((160, 96, 3), 128, np.uint8))
    still = tmp_path / "still.mp4"
    with VideoWriter(still, 10, (96, 96)) as writer:
        for _ in range(3):
            writer.write(np.zeros((96, 96, 3), np.uint8))
    with working() as (client, _, _):
        wrong = [
            client.create_video(reference=tmp_path / "wall.png", driving_video=still, **FIELDS)["id"],
            client.create_video(reference=media / "man.png", driving_video=still, **FIELDS, start=50.0)["id"],
            client.create_video(reference=media / "man.png", driving_video=still, **FIELDS | {"size": "97x64"})["id"],
        ]
        found = []
        for name in wrong:
            with pytest.raises(ServerError) as raised:
                client.wait(name)
            found.append(raised.value.field)
            assert raised.value.code == "invalid_value"
        assert found == ["reference", "start", "size"]
