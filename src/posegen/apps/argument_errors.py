"""Turns tyro's message about wrong arguments, a box with the help text of whole options, into one line.

Only its text is parsed, because tyro's hooks are private; messages of another version are passed on in one line.
"""

import re
from collections.abc import Sequence

_RULE = re.compile(r"─{5,}")


def one_line(box: str, arguments: Sequence[str], commands: Sequence[str]) -> str:
    """Return the first words of tyro's `box`, its suggestion if it has one, and the help command."""
    command = arguments[0] if arguments and arguments[0] in commands else ""
    rows = [row.strip()[1:-1].rstrip() for row in box.splitlines() if row.strip().startswith("│")]
    sections = [section for section in _RULE.split("\n".join(rows)) if section.strip()]
    help_command = " ".join(["posegen", *([command] if command else []), "--help"])
    return f"{_problem(sections, help_command)}; see {help_command}"


def _problem(sections: Sequence[str], help_command: str) -> str:
    first, *others = [" ".join(section.split()) for section in sections] or ["the arguments are not understood"]
    if first.startswith("Missing from"):
        names = re.findall(r"^ {5}(\S.*)$", sections[0], flags=re.MULTILINE)  # their help texts are farther in
        unknown = [text.removeprefix("Unrecognized options: ") for text in others if text.startswith("Unrecognized")]
        return f"missing {', '.join(names)}{''.join(f' (unknown: {tokens})' for tokens in unknown)}"
    if found := re.fullmatch(r"invalid choice ('.*') for argument '(.+)'\. Expected one of \((.*)\)\.", first):
        value, option, listed = found.groups()
        choices = [choice for choice in re.findall(r"'(.*?)'", listed) if choice != "None"]  # it only stands for unset
        return f"{option} takes {', '.join(choices)}, not {value}"
    if found := re.match(r"Error parsing (--\S+): .*?('.*?')\W*(?:Got errors|$)", first):
        option, value = found.groups()
        if takes := re.search(rf"{option} ([A-Z]+)", others[0] if others else ""):
            return f"{option} takes {takes[1]}, not {value}"
    if found := re.match(r"Missing value for argument '(.+)'\.", first):
        return f"{found[1]} needs a value"
    if found := re.fullmatch(r"Unrecognized options: (.+)", first):
        return _unknown(found[1].split(", "), sections[1:], help_command)
    return first.rstrip(".")


def _unknown(tokens: Sequence[str], sections: Sequence[str], help_command: str) -> str:
    options = ", ".join([token for token in tokens if token.startswith("-")] or tokens)
    for section in sections:
        text = " ".join(section.split())
        if text.startswith("Available subcommands: "):
            return f"{options} is no command; there are {text.removeprefix('Available subcommands: ')}"
        similar = re.search(r"^ +(--\S+)", section, flags=re.MULTILINE)
        if similar and help_command in text:
            return f"unknown: {options}; perhaps you meant {similar[1]}"
    return f"unknown: {options}"
