"""Formats the tables of an evaluation: Markdown for people, CSV for programs, a few lines for the terminal."""

import csv
import io
from collections.abc import Sequence

from posegen.evaluate.evaluation import Evaluation
from posegen.evaluate.metrics.metric import Score
from posegen.evaluate.report.score_tables import Cell

_COLUMNS = ("method", "score", "better", "unit", "value", "low", "high", "clips", "samples", "protocol", "resolution",
            "window", "stride", "network", "sampling_bias")  # fmt: skip  # a table, read in rows
_ARROWS = {"higher": "↑", "lower": "↓"}


def heading(score: Score) -> str:
    """Heading of a column: name, arrow towards better, unit."""
    return f"{score.name} {_ARROWS[score.better]}" + (f" ({score.unit})" if score.unit else "")


def number(score: Score, value: float) -> str:
    """A value with the score's digits."""
    return f"{value:.{score.digits}f}"


def interval(score: Score, cell: Cell) -> str:
    """[low, high], or nothing for a single clip."""
    return "" if cell.low is None or cell.high is None else f"[{number(score, cell.low)}, {number(score, cell.high)}]"


def fewer_clips(evaluation: Evaluation, cell: Cell) -> str:
    """The number of clips behind a cell, where it is not the whole benchmark."""
    total = len(evaluation.benchmark.clips)
    return "" if len(cell.clips) == total else f"({len(cell.clips)} of {total} clips)"


def coverage(evaluation: Evaluation, row: str) -> str:
    """The share of the benchmark's clips that a row covers, as 3/4."""
    return f"{len(evaluation.clips[row])}/{len(evaluation.benchmark.clips)}"


def resolutions(evaluation: Evaluation, score: Score, rows: Sequence[str]) -> list[str]:
    """Sizes, WIDTH×HEIGHT, at which the frames of these rows were measured."""
    results = [result for row in rows for result in evaluation.results[row].values()]
    if score.name in evaluation.fitted:
        return sorted({evaluation.rules.describe(each.truth_size or each.footage.size) for each in results})
    return sorted({"{1}×{0}".format(*each.footage.size) for each in results})


def how_measured(evaluation: Evaluation, score: Score) -> str:
    """Resolution, window, stride, samples and network of a score."""
    rules = evaluation.rules
    sizes = resolutions(evaluation, score, [*evaluation.results])
    size = f"{sizes[0]} (width × height)" if len(sizes) == 1 else f"{len(sizes)} sizes"
    if rules.size is not None and score.name in evaluation.fitted:
        part = "central part of each frame" if rules.fit == "crop" else "whole frame, stretched"
        size = f"{' or '.join(sizes)} ({part})"
    windows = f", windows of {rules.window} frames, stride {rules.stride}" if score.per == "window" else ""
    counts = [
        cell.samples for (row, name), cell in evaluation.cells.items() if name == score.name and row in evaluation.rows
    ]
    samples = str(counts[0]) if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"
    unit = score.per.replace("window", f"window of {rules.window}")
    weight = "" if score.frechet else f"; every {'measurement' if rules.weighted else 'clip'} counts alike"
    cells = [evaluation.cells.get((row, score.name)) for row in evaluation.rows]
    biases = [cell.bias for cell in cells if cell is not None and cell.bias is not None]
    sampling = f"; sampling alone adds at least {number(score, max(biases))}" if biases else ""
    return f"{size}{windows}; samples ({unit}): {samples}; network: {score.network}{weight}{sampling}"


def markdown(evaluation: Evaluation) -> str:
    """The report without images."""
    rules, scores = evaluation.rules, evaluation.scores
    lines = [f"# {_cell(evaluation.benchmark.name)}", "", _cell(evaluation.benchmark.about), ""]
    lines += [
        f"Protocol `{rules.name}`, {len(evaluation.benchmark.clips)} clips. In brackets: 95 % intervals over clips. "
        "Bold: the best of the methods that have all clips, where their numbers are of the same clips. "
        "`truth` is the ground truth, scored like a method.",
        "",
    ]
    lines += [*(f"- {rule}" for rule in rules.rules()), ""]
    lines += ["| method | clips | " + " | ".join(heading(score) for score in scores) + " |"]
    lines += ["|---" * (len(scores) + 2) + "|"]
    for row in evaluation.rows:
        texts = []
        for score in scores:
            cell = evaluation.cells.get((row, score.name))
            shown = "–" if cell is None else number(score, cell.value)
            bold = f"**{shown}**" if row in evaluation.best[score.name] else shown
            texts.append(bold if cell is None else _joined(bold, interval(score, cell), fewer_clips(evaluation, cell)))
        lines.append(f"| {_cell(row)} | {coverage(evaluation, row)} | " + " | ".join(texts) + " |")
    lines += ["", "## How each score was measured", ""]
    for score in scores:
        about = f" {_cell(score.about[:1].upper() + score.about[1:])}." if score.about else ""
        lines.append(f"- **{score.name}**: {how_measured(evaluation, score)}.{about}")
    remarks = all_remarks(evaluation)
    if remarks:
        lines += ["", "## To know", "", *(f"- {_cell(text)}" for text in remarks)]
    return "\n".join(lines) + "\n"


def all_remarks(evaluation: Evaluation) -> list[str]:
    """Warnings, and notes about results."""
    notes = [f"{matched.method.name}: {note}" for matched in evaluation.methods for note in matched.notes]
    return [*evaluation.warnings, *notes]


def scores_csv(evaluation: Evaluation) -> str:
    """One line for each method and score, with everything that a number needs beside it."""
    rules = evaluation.rules
    rows: list[list[object]] = [list(_COLUMNS)]
    for row in evaluation.rows:
        for score in evaluation.scores:
            cell = evaluation.cells.get((row, score.name))
            if cell is not None:
                sizes = resolutions(evaluation, score, [row])
                windows = (rules.window, rules.stride) if score.per == "window" else ("", "")
                size = sizes[0] if len(sizes) == 1 else "several"
                bias = "" if cell.bias is None else cell.bias
                rows.append([row, score.name, score.better, score.unit, cell.value, cell.low, cell.high,
                             len(cell.clips), cell.samples, rules.name, size, *windows, score.network,
                             bias])  # fmt: skip  # a table, read in rows
    return _csv(rows)


def clips_csv(evaluation: Evaluation) -> str:
    """One line for each method, clip and score that a clip has of its own."""
    rows: list[list[object]] = [["method", "clip", "score", "value", "samples"]]
    for row in evaluation.rows:
        for clip, found in evaluation.clips[row].items():
            rows += [
                [row, clip, name, value, found.samples.get(name, "")] for name, value in sorted(found.values.items())
            ]
    return _csv(rows)


def lines_for_terminal(evaluation: Evaluation) -> list[str]:
    """Each score's numbers, and the warnings."""
    lines = []
    for score in evaluation.scores:
        cells = [(row, evaluation.cells.get((row, score.name))) for row in evaluation.rows]
        shown = [
            _joined(row, number(score, cell.value), interval(score, cell), fewer_clips(evaluation, cell))
            for row, cell in cells
            if cell
        ]
        lines.append(f"{heading(score)}: {', '.join(shown)}  ({how_measured(evaluation, score)})")
    return [*lines, *(f"note: {text}" for text in all_remarks(evaluation))]


def _joined(*texts: str) -> str:
    return " ".join(text for text in texts if text)


def _cell(text: str) -> str:
    """Escape text for a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")


def _csv(rows: list[list[object]]) -> str:
    content = io.StringIO()
    csv.writer(content, lineterminator="\n").writerows(rows)
    return content.getvalue()
