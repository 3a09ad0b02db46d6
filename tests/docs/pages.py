"""What the project's pages print: commands, options, Python snippets; read from the Markdown as a reader sees it.

A command is every command of a fenced `bash`, `sh` or `console` block, and inline code in prose and tables that begins
with one of `PROGRAMS` and another word. A program's name alone (`make`) is a name. Inline code that begins with a dash
shows options of a command. Bash itself takes blocks apart (comments, continued lines, quotes, loops, variables), with
functions in the place of the programs and an empty PATH, so that nothing runs.
"""

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = ("docs", "src", "tests", "benchmarks", "examples", "integrations")
PAGES = sorted(
    [
        *REPOSITORY.glob("*.md"),
        *(page for folder in FOLDERS for page in (REPOSITORY / folder).rglob("*.md")),
    ]
)
HISTORY = {"CHANGELOG.md"}
"""Pages of commands as they were at the time: not run."""
PROGRAMS = ("posegen", "make", "python", "pip", "torchrun", "hf", "git", "source", "cd", "cp", "pre-commit", "curl")
_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_VARIABLES = r"(?:[A-Z_]+=\S* )*"
_COMMAND = re.compile(rf"{_VARIABLES}(?:\S*\.venv/bin/)?(?:{'|'.join(PROGRAMS)}) \S")
_IN_ENVIRONMENT = re.compile(rf"^( *{_VARIABLES})\S*\.venv/bin/(?=\w)", re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """A command as a page prints it."""

    page: str
    words: tuple[str, ...]
    environment: tuple[str, ...] = ()
    inline: bool = False

    def __str__(self) -> str:
        return shlex.join(self.words)


def name_of(page: Path) -> str:
    """The page's path in the repository."""
    return page.relative_to(REPOSITORY).as_posix()


def blocks(text: str, *languages: str) -> list[str]:
    """The fenced blocks in one of the languages."""
    return [
        re.sub(rf"^{indent}", "", body, flags=re.MULTILINE)
        for indent, language, body in _FENCE.findall(text)
        if language in languages
    ]


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return _FENCE.sub("", text)


def inline_code(text: str) -> list[str]:
    """The inline code of prose and tables; line breaks inside of it are spaces, as a reader sees them."""
    return [" ".join(code.split()) for _, code in _INLINE.findall(prose(text))]


def commands(page: Path) -> list[Command]:
    """All commands that the page prints, blocks first."""
    text, found = page.read_text(encoding="utf-8"), []
    scripts = [(block, False) for block in blocks(text, "bash", "sh", "shell")]
    for block in blocks(text, "console"):
        typed = [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]
        scripts.append(("\n".join(typed), False))
    scripts += [(code, True) for code in inline_code(text) if _COMMAND.match(code)]
    for script, inline in scripts:
        for environment, words in taken_apart(script):
            found.append(Command(name_of(page), words, environment, inline))
    return found


def taken_apart(script: str) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """(variables set for it, words) of each command that bash would run. Unknown programs and bad syntax raise.

    A program of the project's own environment (`.venv/bin/python`) is shown by its name.
    """
    script = _IN_ENVIRONMENT.sub(r"\1", script)
    programs = "\n".join(f'{program}() {{ shown {program} "$@"; }}' for program in PROGRAMS)
    prologue = f"""
shown() {{
    local name
    for name in $(compgen -e); do
        case $name in PWD|OLDPWD|SHLVL|_) ;; *) printf '%s=%s\\0' "$name" "${{!name}}" ;; esac
    done
    printf '\\036\\0'
    printf '%s\\0' "$@"
    printf '\\035\\0'
}}
{programs}
"""
    done = subprocess.run(
        ["/bin/bash", "--noprofile", "--norc", "-f", "-e", "-u", "-c", f"{prologue}\nPATH=\n{script}"],
        capture_output=True,
        text=True,
        env={},
        cwd="/",
        timeout=20,
        check=False,
    )
    if done.returncode or done.stderr:
        raise ValueError(f"bash cannot take this apart:\n{script}\n{done.stderr}")
    found = []
    for record in done.stdout.split("\035\0")[:-1]:
        environment, words = record.split("\036\0")
        found.append((tuple(environment.split("\0")[:-1]), tuple(words.split("\0")[:-1])))
    return found
