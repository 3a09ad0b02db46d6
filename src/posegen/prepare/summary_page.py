"""The report of a prepared data set: one HTML page from the index, on which thresholds can be tried.

It shows what each stage left, how scores are spread, and clips on both sides of each threshold. The index is read in
pieces; counts are of all clips, while distributions and trials are of a sample when there are many. The page is
`page/report.html` with its style and script put in.
"""

import base64
import contextlib
import datetime
import html
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from posegen.errors import PosegenError
from posegen.extras import require_extra
from posegen.media.files import write_whole
from posegen.prepare.filters.clip_filters import Threshold

SAMPLED = 20_000
"""Clips in the page at most."""
SHOWN = 36
"""Thumbnails of each filter: spread over its scores, half of them near the threshold."""
_BATCH = 4096
_OTHERS = ("person_motion", "camera_moved", "camera_jitter", "background_motion", "person_area")
"""Columns that are shown as statistics besides the filters' own."""
_STAGES = {"duplicate": "not a duplicate", "manual": "kept by people"}


@dataclass
class _Count:
    """Counts over all rows."""

    sources: set[str] = field(default_factory=set)
    failed_sources: int = 0
    clips: int = 0
    seconds: float = 0.0
    scored: int = 0
    scored_seconds: float = 0.0
    kept: int = 0
    kept_seconds: float = 0.0
    left: Counter[str] = field(default_factory=Counter)
    left_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    alone: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    rates: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


def write_report(index: Path, thresholds: Mapping[str, Threshold], output: Path) -> None:
    """Write the page. `index` is the Parquet index of a data set, `thresholds` those that it was judged by.

    Raises `PosegenError` if the index cannot be read, `OutputError` if the page cannot be written.
    """
    with index_errors(index):
        page = report_page(index, thresholds).encode()
    write_whole(output, page)


def report_page(index: Path, thresholds: Mapping[str, Threshold]) -> str:
    """Return the page as text."""
    file = open_index(index)
    columns = set(file.schema_arrow.names)
    filters = {name: each for name, each in thresholds.items() if each.column in columns}
    scores = sorted({each.column for each in filters.values()} | (set(_OTHERS) & columns))
    count, sample = _read(file, filters, scores)
    chosen = {name: _chosen(sample[each.column], each) for name, each in filters.items()}
    wanted = sorted({int(row) for rows in chosen.values() for row in rows})
    pictures = _pictures(file, [int(sample["row"][row]) for row in wanted])
    data = {
        "filters": [
            {
                "name": name,
                "column": each.column,
                "minimum": each.minimum,
                "maximum": each.maximum,
                "shown": [int(row) for row in chosen[name]],
                "dropped": count.dropped[name],
                "alone": count.alone[name],
            }
            for name, each in filters.items()
        ],
        "scores": {name: [_short(value) for value in sample[name].tolist()] for name in scores},
        "others": [name for name in _OTHERS if name in columns],
        "seconds": [_short(value) for value in sample["seconds"].tolist()],
        "clips": {row: sample["clip"][row] for row in wanted},
        "total": {"scored": count.scored, "seconds": round(count.scored_seconds, 1), "sampled": len(sample["seconds"])},
        "funnel": _funnel(count, filters),
        "pictures": {row: picture for row, picture in zip(wanted, pictures, strict=True) if picture},
    }
    return _page(data, count)


@contextlib.contextmanager
def index_errors(index: Path) -> Iterator[None]:
    """Turn the errors of reading a damaged index, or one with values of other kinds, into `PosegenError`."""
    import pyarrow as pa  # type: ignore[import-untyped]

    try:
        yield
    except (OSError, pa.ArrowException, TypeError, ValueError, ArithmeticError) as error:
        reason = " ".join(str(error).splitlines())[:120]
        raise PosegenError(f"{index}: not an index of clips, or a damaged one ({reason})") from None


def open_index(index: Path) -> Any:
    """Open the Parquet file of an index. Raises `PosegenError` if it is missing, or not an index."""
    require_extra("prepare", "reading an index of clips")
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    with index_errors(index):
        file = pq.ParquetFile(index)
    lacking = {"clip", "source", "start", "end", "width", "height", "fps", "kept", "dropped_by"}
    lacking -= set(file.schema_arrow.names)
    if lacking:
        raise PosegenError(f"{index}: not an index of clips: it has no column {sorted(lacking)[0]!r}")
    return file


def _read(file: Any, filters: Mapping[str, Threshold], scores: list[str]) -> tuple[_Count, dict[str, Any]]:
    """Count all rows, and return at most `SAMPLED` of the clips with scores, by column, with their row numbers."""
    count, random = _Count(), np.random.default_rng(0)
    kept: list[dict[str, Any]] = []
    plain = ["clip", "source", "start", "end", "width", "height", "fps", "kept", "dropped_by", "reason"]
    names = [name for name in (*plain, *scores) if name in file.schema_arrow.names]
    for number, row in enumerate(_rows(file, names)):
        _add(count, row, filters)
        if not row["clip"] or "error" in (row["dropped_by"] or ()):
            continue
        row["row"] = number
        if len(kept) < SAMPLED:
            kept.append(row)
        elif (place := int(random.integers(count.scored))) < SAMPLED:
            kept[place] = row
    sample: dict[str, Any] = {
        name: np.array([np.nan if row.get(name) is None else row[name] for row in kept], float) for name in scores
    }
    sample["seconds"] = np.array([row["end"] - row["start"] for row in kept], float)
    return count, sample | {"clip": [row["clip"] for row in kept], "row": [row["row"] for row in kept]}


def _rows(file: Any, names: list[str]) -> Iterator[dict[str, Any]]:
    for batch in file.iter_batches(_BATCH, columns=names):
        yield from batch.to_pylist()


def _add(count: _Count, row: dict[str, Any], filters: Mapping[str, Threshold]) -> None:
    """Count one row."""
    count.sources.add(row["source"])
    dropped = set(row["dropped_by"] or ())
    if "error" in dropped and row.get("reason"):
        count.reasons[row["reason"].splitlines()[0][:160]] += 1
    if not row["clip"]:
        count.failed_sources += 1
        return
    seconds = float(row["end"] - row["start"])
    count.clips, count.seconds = count.clips + 1, count.seconds + seconds
    count.sizes[f"{row['width']}×{row['height']}"] += 1
    count.rates[f"{row['fps']:.4g}"] += 1
    if "error" in dropped:
        return
    count.scored, count.scored_seconds = count.scored + 1, count.scored_seconds + seconds
    for name in dropped:
        count.dropped[name] += 1
        count.alone[name] += len(dropped) == 1
    still = True
    for name in (*filters, *_STAGES):
        still = still and name not in dropped
        count.left[name] += still
        count.left_seconds[name] += seconds * still
    if row["kept"]:
        count.kept, count.kept_seconds = count.kept + 1, count.kept_seconds + seconds


def _funnel(count: _Count, filters: Mapping[str, Threshold]) -> list[dict[str, Any]]:
    """Return the clips and hours left after each stage."""
    steps = [("cut into clips", count.clips, count.seconds), ("readable", count.scored, count.scored_seconds)]
    steps += [(name, count.left[name], count.left_seconds[name]) for name in filters]
    steps += [(label, count.left[name], count.left_seconds[name]) for name, label in _STAGES.items()]
    steps.append(("in the data set", count.kept, count.kept_seconds))
    return [{"name": name, "clips": clips, "hours": seconds / 3600} for name, clips, seconds in steps]


def _chosen(values: np.ndarray, threshold: Threshold) -> list[int]:
    """Choose rows to show for a filter, by rising score: spread over all scores, and near each limit."""
    order = [int(row) for row in np.argsort(values, kind="stable") if math.isfinite(values[row])]
    if len(order) <= SHOWN:
        return order
    places = set(np.linspace(0, len(order) - 1, SHOWN // 2).round().astype(int).tolist())
    limits = [limit for limit in (threshold.minimum, threshold.maximum) if limit is not None]
    for limit in limits:
        at = int(np.searchsorted(values[order], limit, side="left" if limit == threshold.minimum else "right"))
        reach = SHOWN // 4 // len(limits)
        places |= set(range(max(0, at - reach), min(len(order), at + reach)))
    return [order[place] for place in sorted(places)]


def _pictures(file: Any, rows: list[int]) -> list[str]:
    """Return thumbnails of rows, in the given order, as data URLs; empty where there is none."""
    found: dict[int, str] = {}
    if "thumbnail" not in file.schema_arrow.names:
        return [""] * len(rows)
    wanted, start = set(rows), 0
    for batch in file.iter_batches(_BATCH, columns=["thumbnail"]):
        pictures = batch.column(0)
        for number in wanted & set(range(start, start + len(pictures))):
            content = pictures[number - start].as_py()
            if content:
                found[number] = f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
        start += len(pictures)
    return [found.get(row, "") for row in rows]


def _page(data: dict[str, Any], count: _Count) -> str:
    folder = resources.files("posegen.prepare") / "page"
    page, style, script = ((folder / f"report.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))
    facts = {
        "sources": f"{len(count.sources):,}",
        "clips": f"{count.clips:,}",
        "kept": f"{count.kept:,}",
        "hours": f"{count.kept_seconds / 3600:,.2f}",
        "all_hours": f"{count.seconds / 3600:,.2f}",
        "date": datetime.date.today().isoformat(),
        "sizes": _table(count.sizes, "size"),
        "rates": _table(count.rates, "frames a second"),
        "reasons": _table(count.reasons, "reason") if count.reasons else "<p class='hint'>none</p>",
    }
    for name, value in facts.items():
        page = page.replace(f"{{{{ {name} }}}}", value)
    content = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    return page.replace("/* style */", style).replace("/* script */", script).replace("{{ data }}", content)


def _table(counter: Counter[str], heading: str, most: int = 12) -> str:
    rows = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{number:,}</td></tr>" for name, number in counter.most_common(most)
    )
    rest = len(counter) - most
    note = f"<p class='hint'>and {rest} more</p>" if rest > 0 else ""
    return f"<table><thead><tr><th>{heading}</th><td>clips</td></tr></thead><tbody>{rows}</tbody></table>{note}"


def _short(value: float) -> float | None:
    """Round to four digits, so that the page stays small; None where nothing was measured."""
    return float(f"{value:.4g}") if math.isfinite(value) else None
