"""Answers about clips: the latest counts, undo takes it back, and the file can be read from its bytes."""

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posegen.errors import OutputError, PosegenError
from posegen.prepare.answers import FILE, Answer, Answers, read_answers

TAGS = [(), ("a",), ("it's", 'ein "é"'), ("a; DROP TABLE answers",)]
STEP = st.tuples(st.sampled_from("xyz"), st.sampled_from([True, False, None]), st.sampled_from(TAGS))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.one_of(STEP, st.none()), max_size=12))
def test_undo_and_reopening_are_as_a_list_that_is_popped(tmp_path_factory, steps):
    path = tmp_path_factory.mktemp("answers") / FILE
    model = []
    for step in steps:
        answers = Answers(path)  # every time as if the page had been started anew
        if step is None:
            assert answers.undo() == (model.pop()[0] if model else None)
        else:
            clip, keep, tags = step
            answers.say(clip, Answer(keep, tags))
            model.append((clip, Answer(keep, tags)))
        assert answers.all() == dict(model)
    if path.exists():
        assert read_answers(path.read_bytes()) == dict(model)


def test_no_file_is_no_answers_and_another_file_is_refused(tmp_path):
    assert read_answers(None) == {}
    with pytest.raises(PosegenError, match="holds no answers"):
        read_answers(b"something else" * 100)
    with sqlite3.connect(tmp_path / "other.sqlite") as connection:
        connection.execute("CREATE TABLE study (x)")
    with pytest.raises(PosegenError, match="holds no answers"):
        read_answers((tmp_path / "other.sqlite").read_bytes())
    (tmp_path / "text.sqlite").write_text("no database, but long enough to be looked at" * 30)
    with pytest.raises(OutputError, match="cannot be read or written"):
        Answers(tmp_path / "text.sqlite")
    with pytest.raises(PosegenError, match="a tag has"):
        Answer(None, (" ",))
