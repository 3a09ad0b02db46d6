"""Options that the pages name exist, and those that they show with a value are taken by the command line."""

import contextlib
import re
import shlex

import pytest
from pages import HISTORY, PAGES, REPOSITORY, inline_code, name_of
from printed_commands import NEEDED_OPTIONS, OPTIONS_OF_OTHERS, options_of

from posegen.apps import cli
from posegen.errors import PosegenError

SHOWN = sorted(
    {
        (name_of(page), code)
        for page in PAGES
        if name_of(page) not in HISTORY
        for code in inline_code(page.read_text(encoding="utf-8"))
        if re.match(r"--\w", code)
    }
)


def is_taken(command, words):
    """Whether the command takes these words beside those that it needs; one that is needed may be given anew."""
    needed = NEEDED_OPTIONS[command]
    for movements in ("--driving b.mp4", "--motion b.bvh", ""):  # one of them is needed, or among the words
        given = needed.replace("--driving b.mp4", movements)
        with contextlib.suppress(PosegenError):
            cli.parse([command, *shlex.split(given), *words])
            return True
    return False


@pytest.mark.parametrize(("page", "code"), SHOWN)
def test_an_option_that_a_page_shows_is_taken(page, code):
    words = shlex.split(code)
    if (page, code) in OPTIONS_OF_OTHERS:
        return
    if len(words) == 1 and any(words[0] in options_of(command) for command in NEEDED_OPTIONS):
        return  # a name
    assert any(is_taken(command, words) for command in NEEDED_OPTIONS), f"{page}: no command takes {code}"


def rows(page):
    """The rows of the table `you want | say`: the inline code of the second cell, and the whole cell."""
    table = re.search(r"^\| you want \| say \|\n\|[-|]+\n((?:\|.*\n)+)", page, re.MULTILINE)[1]
    return [re.split(r"(?<!\\)\|", line)[2] for line in table.splitlines()]


@pytest.mark.parametrize("cell", rows((REPOSITORY / "docs" / "generate.md").read_text()))
def test_what_to_say_is_taken_as_the_table_says_it(cell):
    """Inline code without a dash is another value of the option before it, or a command, which is tested elsewhere."""
    command, option, tried = "generate", None, 0
    for code in inline_code(re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", cell)):
        words = shlex.split(code)
        if words[0] == "posegen":
            command, tried = words[1], tried + 1
            option = next((word for word in words if word.startswith("--")), None)
        elif words[0].startswith("--"):
            option, tried = words[0], tried + 1
            is_name = len(words) == 1 and words[0] in options_of(command)
            assert is_name or is_taken(command, words), code
        elif code not in cli._COMMANDS:
            assert option is not None, f"{code} is a value of no option"
            assert is_taken(command, [option, *words]), f"{option} {code}"
    assert tried, f"nothing to say in {cell}"


def test_options_of_other_programs_are_theirs():
    for (page, code), program in OPTIONS_OF_OTHERS.items():
        assert (page, code) in SHOWN
        option = shlex.split(code)[0]
        assert f'"{option}"' in (REPOSITORY / program).read_text(), f"{program} has no {option}"
