"""Summarises a user study: means with intervals, agreement between people, shares of comparisons won; as tables.

`study_database.py` keeps questions and answers.
"""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posegen.errors import PosegenError
from posegen.evaluate.study.study_database import ASPECTS, Choice, Rating
from posegen.media.files import write_whole

_DRAWS = 4000


@dataclass(frozen=True)
class Estimate:
    """A mean, its 95 % interval (None where there is none), and the number of answers."""

    value: float
    low: float | None
    high: float | None
    answers: int

    def text(self, digits: int = 2) -> str:
        """`3.21 [2.90, 3.55]`."""
        spread = "" if self.low is None or self.high is None else f" [{self.low:.{digits}f}, {self.high:.{digits}f}]"
        return f"{self.value:.{digits}f}{spread}"


@dataclass(frozen=True)
class StudyResults:
    """Figures of a study.

    means: (method, aspect) -> rating 0..5; won: method -> share of its comparisons won, a tie counting half;
    agreement: aspect -> Krippendorff's alpha (None where too few people rated the same videos).
    """

    methods: tuple[str, ...]
    people: int
    means: dict[tuple[str, str], Estimate]
    won: dict[str, Estimate]
    agreement: dict[str, float | None]


def summarise(ratings: Sequence[Rating], choices: Sequence[Choice], asked: Iterable[str] = ()) -> StudyResults:
    """The figures of all answers. asked: all methods of the study. Raises `PosegenError` if there is no answer."""
    if not ratings and not choices:
        raise PosegenError("nobody has answered yet")
    methods = set(asked)
    methods |= {rating.method for rating in ratings} | {method for choice in choices for method in choice.methods}
    means, won = {}, {}
    for method in sorted(methods):
        for aspect in ASPECTS:
            own = [rating for rating in ratings if (rating.method, rating.aspect) == (method, aspect)]
            if own:
                means[method, aspect] = mean_of_answers(
                    [each.rating for each in own], [each.person for each in own], [each.clip for each in own]
                )
        compared = [choice for choice in choices if method in choice.methods]
        if compared:
            shares = [0.5 if each.better is None else float(each.better == method) for each in compared]
            won[method] = mean_of_answers(shares, [each.person for each in compared], [each.clip for each in compared])
    people = {rating.person for rating in ratings} | {choice.person for choice in choices}
    agreement = {aspect: krippendorff_alpha([each for each in ratings if each.aspect == aspect]) for aspect in ASPECTS}
    return StudyResults(tuple(sorted(methods)), len(people), means, won, agreement)


def mean_of_answers(values: Sequence[float | int], people: Sequence[int], clips: Sequence[str]) -> Estimate:
    """Mean of answers and its 95 % interval over people and clips.

    Answers of one person are alike, and so are those about one clip: both are drawn anew, independently (the pigeonhole
    bootstrap, Owen 2007), always the same draws. No interval where both are single.
    """
    given = np.asarray(values, np.float64)
    numbers = [np.unique(np.asarray(each), return_inverse=True)[1] for each in (people, clips)]
    counts = [int(each.max()) + 1 for each in numbers]
    value = float(given.mean())
    if max(counts) == 1:
        return Estimate(value, None, None, len(given))
    random = np.random.default_rng(0)
    weights = np.ones((_DRAWS, len(given)))
    for number, count in zip(numbers, counts, strict=True):
        if count > 1:
            weights *= random.multinomial(count, np.full(count, 1 / count), size=_DRAWS)[:, number]
    totals = weights.sum(axis=1)
    means = (weights @ given)[totals > 0] / totals[totals > 0]
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(value, float(low), float(high), len(given))


def krippendorff_alpha(ratings: Sequence[Rating]) -> float | None:
    """Agreement on one aspect, 1 = all alike, 0 = as by chance, ratings taken as an interval scale.

    None where no video was rated by two people, or where all ratings are the same (then alpha is not defined).
    """
    import krippendorff

    videos = sorted({(rating.clip, rating.method) for rating in ratings})
    people = sorted({rating.person for rating in ratings})
    table = np.full((len(people), len(videos)), np.nan)
    for rating in ratings:
        table[people.index(rating.person), videos.index((rating.clip, rating.method))] = rating.rating
    if not table.size:
        return None
    paired = table[:, (~np.isnan(table)).sum(axis=0) > 1]
    if not paired.size or len(np.unique(paired[~np.isnan(paired)])) < 2:
        return None
    alpha = float(krippendorff.alpha(reliability_data=paired, level_of_measurement="interval"))
    return alpha if math.isfinite(alpha) else None


def markdown(results: StudyResults) -> str:
    """The tables; best in bold."""
    lines = [
        "# User study",
        "",
        f"{results.people} people. Ratings from 0 to 5; in brackets 95 % intervals over people and clips. "
        "Comparisons won: a tie counts half.",
        "",
        "| method | " + " | ".join(ASPECTS) + " | comparisons won | ratings |",
        "|---" * (len(ASPECTS) + 3) + "|",
    ]
    best = {
        aspect: max((found.value for (_, each), found in results.means.items() if each == aspect), default=None)
        for aspect in ASPECTS
    }
    for method in results.methods:
        found = [results.means.get((method, aspect)) for aspect in ASPECTS]
        texts = [
            "–" if each is None else f"**{each.text()}**" if each.value == best[aspect] else each.text()
            for aspect, each in zip(ASPECTS, found, strict=True)
        ]
        won = results.won[method].text() if method in results.won else "–"
        count = max((each.answers for each in found if each is not None), default=0)
        lines.append(f"| {method.replace('|', chr(92) + '|')} | " + " | ".join(texts) + f" | {won} | {count} |")
    alphas = [f"{aspect} {'–' if alpha is None else f'{alpha:.2f}'}" for aspect, alpha in results.agreement.items()]
    scale = "Krippendorff's alpha, interval; 1 = all alike, 0 = as by chance"
    lines += ["", f"Agreement between people ({scale}): {', '.join(alphas)}."]
    return "\n".join(lines) + "\n"


def write_results(
    folder: Path, ratings: Sequence[Rating], choices: Sequence[Choice], asked: Iterable[str] = ()
) -> tuple[StudyResults, list[Path]]:
    """Write ratings.csv, choices.csv (people as numbers, no names) and study.md, with all methods asked about.

    Raises `PosegenError` where nobody has answered, `OutputError` where nothing can be written.
    """
    results = summarise(ratings, choices, asked)
    rated = [[each.person, each.clip, each.method, each.aspect, each.rating] for each in ratings]
    chosen = [[each.person, each.clip, *each.methods, each.better or "same"] for each in choices]
    contents = {
        "ratings.csv": _csv(["person", "clip", "method", "aspect", "rating"], rated),
        "choices.csv": _csv(["person", "clip", "left", "right", "better"], chosen),
        "study.md": markdown(results),
    }
    for name, content in contents.items():
        write_whole(folder / name, content.encode())
    return results, [folder / name for name in contents]


def _csv(heading: list[str], rows: Sequence[Sequence[object]]) -> str:
    content = io.StringIO()
    csv.writer(content, lineterminator="\n").writerows([heading, *rows])
    return content.getvalue()
