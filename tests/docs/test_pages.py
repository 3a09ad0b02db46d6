"""Links of the pages lead somewhere, their Python snippets run, and the settings files that they show can be read."""

import re
import shutil
from collections import Counter
from importlib import resources
from urllib.parse import unquote

import pytest
from pages import HISTORY, PAGES, REPOSITORY, blocks, inline_code, name_of, prose
from printed_commands import SNIPPETS

from posegen.media.video import probe_video
from posegen.prepare.prepare_recipe import read_prepare_recipe

LINK = re.compile(r"!?\[[^]]*\]\(\s*<?([^)<>\s]+)>?(?:\s+\"[^\"]*\")?\s*\)")
DEMO = resources.files("posegen") / "demo"


def anchors(text):
    """The anchors of the headings, as GitHub makes them: lower case, hyphens, numbers for repetitions."""
    found, seen = set(), Counter()
    for heading in re.findall(r"^#{1,6} +(.+?)#*$", prose(text), re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading.strip())
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_somewhere(page):
    text = prose(page.read_text(encoding="utf-8"))
    broken = []
    for target in LINK.findall(text):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        file = (page.parent / path).resolve() if path else page
        inside = file.is_relative_to(REPOSITORY)
        if not inside or not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            broken.append(target)
    assert not broken


def test_anchors_are_githubs():
    text = "# `posegen`: *Read* the code\n## A\n## A\n```\n# no heading\n```\n## Two words, 3\n"
    assert anchors(text) == {"posegen-read-the-code", "a", "a-1", "two-words-3"}


@pytest.mark.parametrize("page", [page for page in PAGES if name_of(page) not in HISTORY], ids=name_of)
def test_source_files_that_a_page_names_are_there(page):
    places = (REPOSITORY, REPOSITORY / "src" / "posegen", REPOSITORY / "benchmarks", REPOSITORY / "tests", page.parent)
    codes = inline_code(page.read_text(encoding="utf-8"))
    named = [found[0] for code in codes if (found := re.match(r"[\w/]+\.py\b", code)) and "NAME" not in code]
    assert not [name for name in named if not any((place / name).exists() for place in places)]


@pytest.mark.parametrize(
    ("page", "number"),
    [(page, number) for page in PAGES for number in range(len(blocks(page.read_text(encoding="utf-8"), "python")))],
    ids=lambda value: value if isinstance(value, int) else name_of(value),
)
def test_python_snippets_run(page, number, narrow, tmp_path, monkeypatch):
    """Each is in a table of changes that make it small: a snippet that is in no table fails."""
    code = blocks(page.read_text(encoding="utf-8"), "python")[number]
    changes, made = SNIPPETS[name_of(page), number]
    for printed, small in changes.items():
        assert printed in code
        code = code.replace(printed, small)
    shutil.copy(DEMO / "reference.png", tmp_path / "person.png")
    shutil.copy(DEMO / "driving.mp4", tmp_path / "dance.mp4")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, name_of(page), "exec"), {"NARROW": narrow})
    assert probe_video(tmp_path / made).num_frames == 8


def test_the_recipe_of_the_page_on_prepare_can_be_read(tmp_path):
    (text,) = blocks((REPOSITORY / "docs" / "prepare.md").read_text(encoding="utf-8"), "toml")
    (tmp_path / "recipe.toml").write_text(text)
    read_prepare_recipe(tmp_path / "recipe.toml")
