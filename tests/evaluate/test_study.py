"""A user study: who is asked what, nobody twice, answers checked; figures against independent computations."""

import csv
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from posegen.errors import PosegenError
from posegen.evaluate.study.study_database import ASPECTS, AlreadyAnsweredError, Choice, Rating, Study
from posegen.evaluate.study.study_results import krippendorff_alpha, mean_of_answers, summarise, write_results

VIDEOS = {"one": ["ours", "theirs", "old"], "two": ["ours", "theirs"], "three": ["ours", "old", "theirs"]}


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path / "deep" / "answers.sqlite", VIDEOS)


def fitting(question, rating=3):
    return {"choice": "left"} if question.kind == "pair" else dict.fromkeys(ASPECTS, rating)


def questions_of(study, person):
    """Answers everything, and returns what was asked."""
    asked = []
    while (question := study.next_question(person)) is not None:
        asked.append(question)
        study.answer(person, question.token, fitting(question))
    return asked


def test_everybody_is_asked_everything_once_in_an_order_of_their_own(study):
    first, second = (questions_of(study, study.enter(name)) for name in ("Ann", "Bob"))
    for asked in (first, second):
        rated = [(question.clip, question.first) for question in asked if question.kind == "rate"]
        assert sorted(rated) == sorted((clip, method) for clip, methods in VIDEOS.items() for method in methods)
        pairs = [(q.clip, frozenset((q.first, q.second))) for q in asked if q.kind == "pair"]
        assert len(pairs) == len(set(pairs)) == 3 + 1 + 3
        assert {question.total for question in asked} == {8 + 7}
    assert [(q.clip, q.first, q.second) for q in first] != [(q.clip, q.first, q.second) for q in second]


def test_sides_and_places_tell_nothing(tmp_path):
    study = Study(tmp_path / "answers.sqlite", {str(clip): ["ours", "theirs"] for clip in range(10)})
    left, place = Counter(), {"ours": [], "theirs": []}
    for number in range(40):
        person = study.enter(f"person {number}")
        for question in questions_of(study, person):
            if question.kind == "pair":
                left[question.first] += 1
            else:
                place[question.first].append(question.place)
    assert left["ours"] == pytest.approx(200, abs=45)  # 4.5 standard deviations
    assert np.mean(place["ours"]) == pytest.approx(np.mean(place["theirs"]), abs=1.5)


def test_few_questions_go_where_answers_are_fewest(tmp_path):
    study = Study(tmp_path / "answers.sqlite", VIDEOS, pairwise=False, per_person=4)
    asked = Counter()
    for number in range(6):
        questions = questions_of(study, study.enter(str(number)))
        assert len(questions) == 4
        asked.update((question.clip, question.first) for question in questions)
    assert set(asked.values()) == {3}  # 6 people x 4 questions over 8 videos


def test_a_name_goes_on_where_it_stopped(study, tmp_path):
    person = study.enter("Ann  Lee")
    question = study.next_question(person)
    study.answer(person, question.token, fitting(question))
    reopened = Study(study.path, VIDEOS)
    assert reopened.enter(" ann lee ") == person
    assert reopened.next_question(person).place == 1
    assert reopened.knows(person)
    assert not reopened.knows("somebody")


def test_nobody_answers_twice_not_even_at_once(study):
    person = study.enter("Ann")
    question = study.next_question(person)
    study.answer(person, question.token, fitting(question, 2))
    with pytest.raises(AlreadyAnsweredError):
        study.answer(person, question.token, fitting(question, 5))
    assert {each.rating for each in study.ratings()} == {2}
    following = study.next_question(person)

    def again(rating):
        try:
            study.answer(person, following.token, fitting(following, rating))
        except AlreadyAnsweredError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(again, [0, 1, 2, 3, 4, 5] * 4))
    assert sum(taken) == 1
    assert len(study.ratings()) == 2 * len(ASPECTS)


@pytest.mark.parametrize(
    "answer",
    [{}, {"choice": "left"}, dict.fromkeys(ASPECTS, 6), dict.fromkeys(ASPECTS, -1), dict.fromkeys(ASPECTS, 2.5),
     dict.fromkeys(ASPECTS, True), dict.fromkeys(ASPECTS[:2], 3), {**dict.fromkeys(ASPECTS, 3), "more": 3}],
)  # fmt: skip  # short arguments, read in rows
def test_an_answer_that_does_not_fit_is_refused_and_changes_nothing(study, answer):
    person = study.enter("Ann")
    question = study.next_question(person)
    with pytest.raises(PosegenError):
        study.answer(person, question.token, answer)
    assert study.ratings() == []
    assert study.next_question(person) == question


def test_other_peoples_questions_and_strangers_are_refused(study):
    ann, bob = study.enter("Ann"), study.enter("Bob")
    question = study.next_question(ann)
    with pytest.raises(PosegenError, match="no such question"):
        study.answer(bob, question.token, fitting(question))
    with pytest.raises(PosegenError, match="enter a name"):
        study.answer("", question.token, fitting(question))
    with pytest.raises(PosegenError, match="name is needed"):
        study.enter("  ")


def test_a_folder_keeps_one_study(study):
    with pytest.raises(PosegenError, match="another study"):
        Study(study.path, {"one": ["ours"]})
    with pytest.raises(PosegenError, match="another study"):
        Study(study.path, VIDEOS, identity="other videos")
    study.path.write_text("no database" * 100)
    with pytest.raises(PosegenError, match="cannot be read"):
        Study(study.path, VIDEOS)


def naive_alpha(table):
    """Krippendorff's alpha for an interval scale, from its definition by pairs."""
    units = [[value for value in column if not np.isnan(value)] for column in table.T]
    units = [unit for unit in units if len(unit) > 1]
    total = sum(len(unit) for unit in units)
    within = sum(sum((a - b) ** 2 for a in unit for b in unit) / (len(unit) - 1) for unit in units) / total
    everything = [value for unit in units for value in unit]
    between = sum((a - b) ** 2 for a in everything for b in everything) / (total * (total - 1))
    return 1 - within / between


def test_agreement_is_krippendorffs(tmp_path):
    random = np.random.default_rng(0)
    worth = random.integers(0, 6, 12)
    table = np.clip(worth + random.integers(-1, 2, (5, 12)), 0, 5).astype(float)
    table[random.random(table.shape) < 0.3] = np.nan

    def as_ratings(table):
        return [
            Rating(person + 1, str(video), "m", ASPECTS[0], int(value))
            for person, row in enumerate(table)
            for video, value in enumerate(row)
            if not np.isnan(value)
        ]

    assert krippendorff_alpha(as_ratings(table)) == pytest.approx(naive_alpha(table), abs=1e-9)
    assert krippendorff_alpha(as_ratings(np.array([[1.0, 4, 2]] * 3))) == pytest.approx(1)
    assert krippendorff_alpha(as_ratings(table[:1])) is None  # one person agrees with nobody
    assert krippendorff_alpha(as_ratings(np.full((3, 4), 2.0))) is None
    assert krippendorff_alpha([]) is None


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    covered, widths = 0, []
    for seed in range(60):
        random = np.random.default_rng(seed)
        people, clips = np.meshgrid(np.arange(12), np.arange(10), indexing="ij")
        values = 3 + random.normal(0, 0.5, 12)[people] + random.normal(0, 0.5, 10)[clips]
        values = (values + random.normal(0, 0.3, values.shape)).ravel()
        found = mean_of_answers(values.tolist(), people.ravel().tolist(), [str(each) for each in clips.ravel()])
        covered += found.low <= 3 <= found.high
        widths.append(found.high - found.low)
        assert found.value == pytest.approx(values.mean())
    assert covered >= 51  # 95 % of 60 would be 57; an interval over answers alone covers about 35
    assert 0.5 < np.mean(widths) < 1.5
    alone = mean_of_answers([2, 4], [1, 1], ["a", "a"])
    assert (alone.value, alone.low, alone.answers) == (3, None, 2)


def test_results_are_written_without_names(study, tmp_path):
    liked = {"ours": 5, "theirs": 3, "old": 1}
    for name in ("Ann", "Bob"):
        person = study.enter(name)
        while (question := study.next_question(person)) is not None:
            if question.kind == "pair":
                better = "left" if liked[question.first] > liked[question.second] else "right"
                study.answer(person, question.token, {"choice": better})
            else:
                study.answer(person, question.token, dict.fromkeys(ASPECTS, liked[question.first]))
    results, paths = write_results(tmp_path / "results", study.ratings(), study.choices())
    assert results.people == 2
    assert results.means["ours", ASPECTS[0]].value == 5
    assert (results.won["ours"].value, results.won["old"].value) == (1, 0)
    assert results.won["theirs"].value == pytest.approx(2 / 5)  # beats old twice, loses to ours thrice
    assert results.agreement[ASPECTS[1]] == pytest.approx(1)
    contents = [path.read_text() for path in paths]
    assert not any(name.casefold() in content.casefold() for content in contents for name in ("Ann ", "Bob"))
    rows = list(csv.DictReader(contents[0].splitlines()))
    assert len(rows) == 2 * 8 * 3
    row = next(line for line in contents[2].splitlines() if line.startswith("| ours"))
    assert row.count("**5.00") == 3


def test_a_tie_counts_half_and_nothing_is_an_error():
    results = summarise([], [Choice(1, "a", ("x", "y"), None), Choice(2, "a", ("y", "x"), "x")])
    assert (results.won["x"].value, results.won["y"].value) == (0.75, 0.25)
    with pytest.raises(PosegenError, match="nobody has answered"):
        summarise([], [])
