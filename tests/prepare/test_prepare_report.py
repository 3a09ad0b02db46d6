"""The report of a data set: exact counts, and in a real browser: offline, from disk, thresholds that can be tried."""

import json
import re

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from posegen.errors import PosegenError
from posegen.prepare import summary_page as report
from posegen.prepare.filters.clip_filters import DEFAULT_THRESHOLDS, Threshold, judge

THRESHOLDS = {name: DEFAULT_THRESHOLDS[name] for name in ("person_area", "static_camera", "blur")}
COLUMNS = ("person_area", "camera_moved", "sharpness", "person_motion")


def rows(clips, seed=0):
    """Clips with random scores, judged; one source that could not be read; one clip that repeats another."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(clips):
        scores = dict(zip(COLUMNS, (random.random(), random.exponential(0.012), random.random(), 0.2), strict=True))
        kept, dropped = judge(scores, THRESHOLDS)
        picture = np.full((40, 60, 3), int(255 * scores["person_area"]), np.uint8)
        found.append({
            "clip": f"clip{number} </script><b>", "source": f"video {number // 5}", "start": 4.0 * number,
            "end": 4.0 * number + 3.6, "width": 640, "height": 360 + 360 * (number % 2), "fps": 24.0, "kept": kept,
            "dropped_by": dropped, "reason": "", "thumbnail": cv2.imencode(".jpg", picture)[1].tobytes(), **scores,
        })  # fmt: skip  # a table, read in rows
    repeats = next(row for row in found if row["kept"])
    repeats.update(kept=False, dropped_by=["duplicate"])
    none = dict.fromkeys(COLUMNS)
    found.append({"clip": "", "source": "broken", "start": 0.0, "end": 0.0, "width": 0, "height": 0, "fps": 0.0,
                  "kept": False, "dropped_by": ["error"], "reason": "<not> a video", "thumbnail": b"",
                  **none})  # fmt: skip  # a table, read in rows
    return found


def written(folder, found):
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("clip", "source", "reason")),
            ("dropped_by", pa.list_(pa.string())),
            *((name, pa.float64()) for name in ("start", "end", "fps", *COLUMNS)),
            *((name, pa.int64()) for name in ("width", "height")),
            ("kept", pa.bool_()),
            ("thumbnail", pa.binary()),
        ]
    )
    pq.write_table(pa.Table.from_pylist(found, schema=schema), folder / "index.parquet")
    return folder / "index.parquet"


def data_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_counts_are_those_of_the_index(tmp_path):
    found = rows(200)
    data = data_of(report.report_page(written(tmp_path, found), THRESHOLDS))
    clips = found[:-1]
    steps = {step["name"]: step for step in data["funnel"]}
    assert steps["cut into clips"]["clips"] == 200
    assert steps["cut into clips"]["hours"] == pytest.approx(200 * 3.6 / 3600)
    names: list[str] = []
    for name in THRESHOLDS:
        names.append(name)
        assert steps[name]["clips"] == sum(not set(names) & set(row["dropped_by"]) for row in clips)
    assert steps["in the data set"]["clips"] == sum(row["kept"] for row in clips)
    blur = next(each for each in data["filters"] if each["name"] == "blur")
    assert blur["alone"] == sum(row["dropped_by"] == ["blur"] for row in clips)
    assert {each["column"] for each in data["filters"]} == {"person_area", "camera_moved", "sharpness"}


def test_many_clips_are_sampled_and_said_to_be(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "SAMPLED", 50)
    monkeypatch.setattr(report, "_BATCH", 64)
    found = rows(300)
    data = data_of(report.report_page(written(tmp_path, found), THRESHOLDS))
    assert data["total"]["sampled"] == 50
    assert data["total"]["scored"] == 300
    by_name = {row["clip"]: row for row in found}
    assert 40 <= len(data["clips"]) <= 50
    for row, name in data["clips"].items():  # picture, name and score of one clip stay together
        assert data["scores"]["sharpness"][int(row)] == pytest.approx(by_name[name]["sharpness"], rel=1e-3)
    assert len(set(data["clips"].values())) == len(data["clips"])
    assert max(int(name[4:].split()[0]) for name in data["clips"].values()) > 200  # not just the first


def test_something_else_than_an_index_is_refused(tmp_path):
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(PosegenError, match="not an index of clips"):
        report.report_page(tmp_path / "text.parquet", THRESHOLDS)
    pq.write_table(pa.table({"clip": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(PosegenError, match="has no column"):
        report.report_page(tmp_path / "other.parquet", THRESHOLDS)


def test_an_index_that_breaks_while_it_is_read_is_refused(tmp_path):
    from posegen.serve.screening import read_rows

    index = written(tmp_path, rows(200))
    content = bytearray(index.read_bytes())
    content[4:2000] = bytes(1996)  # the end, which says what there is, stays whole
    index.write_bytes(content)
    report.open_index(index)
    for read in (lambda: report.write_report(index, THRESHOLDS, tmp_path / "page.html"), lambda: read_rows(index)):
        with pytest.raises(PosegenError) as caught:
            read()
        assert str(index) in str(caught.value)
    assert not (tmp_path / "page.html").exists()


def test_an_index_of_too_many_rows_or_too_long_texts_is_not_read_whole(tmp_path, monkeypatch):
    from posegen.serve import screening as screen

    index = written(tmp_path, rows(200))
    assert len(screen.read_rows(index)) > 100
    monkeypatch.setattr(screen, "_LONGEST_ROW", 10)
    with pytest.raises(PosegenError, match="texts are too long"):
        screen.read_rows(index)
    monkeypatch.setattr(screen, "MAX_ROWS", 100)
    with pytest.raises(PosegenError, match="201 clips; at most 100"):
        screen.read_rows(index)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("width", [1280, 375])
def test_thresholds_can_be_tried_in_a_browser(browser, tmp_path, width):
    found = rows(200)
    report.write_report(written(tmp_path, found), THRESHOLDS, tmp_path / "report.html")
    context = browser.new_context(viewport={"width": width, "height": 800}, offline=True)
    context.set_default_timeout(120_000)
    page, troubles, asked = context.new_page(), [], []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "report.html").as_uri())
    clips = found[:-1]

    def passing(**limits):
        own = {**THRESHOLDS, **limits}
        return sum(judge({name: float(f"{row[name]:.4g}") for name in COLUMNS}, own)[0] for row in clips)

    assert page.inner_text("#would").startswith(f"{passing()} of 200 ")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    assert page.input_value("#recipe") == ""
    page.fill("input[data-filter=blur]", "0.25")
    assert page.inner_text("#would").startswith(f"{passing(blur=Threshold('sharpness', minimum=0.25))} of 200 ")
    assert page.input_value("#recipe").split("\n")[:3] == [
        "[filters.thresholds.blur]",
        'column = "sharpness"',
        "minimum = 0.25",
    ]
    # dragging: the line of person_area to the right end of its histogram drops (nearly) everything
    page.locator("#filter-person_area svg").evaluate("(svg) => svg.scrollIntoView({ block: 'center' })")
    area = page.locator("#filter-person_area .catch").bounding_box()
    box = page.locator("#filter-person_area svg").bounding_box()
    page.mouse.move(area["x"] + area["width"] / 2, area["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.99, area["y"] + 40, steps=4)
    page.mouse.up()
    limit = float(page.input_value("input[data-filter=person_area]"))
    assert limit > 0.95
    moved = {"blur": Threshold("sharpness", minimum=0.25), "person_area": Threshold("person_area", minimum=limit)}
    assert page.inner_text("#would").startswith(f"{passing(**moved)} of 200 ")
    shown = page.locator("#filter-person_area .kept figcaption").all_inner_texts()
    assert all(float(text) >= limit - 0.005 for text in shown)
    page.wait_for_function("() => document.querySelector('#filter-person_area .dropped img').naturalWidth === 60")
    page.click("#reset")
    assert page.inner_text("#would").startswith(f"{passing()} of 200 ")
    assert not troubles
    assert not [url for url in asked if not url.startswith(("file:", "data:"))]
    context.close()
