"""The text of --help and --help-all."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from pipeline.flag_table import Flag

FLAG_WIDTH = 26  # columns of the flags
MOST_COLUMNS = 110


def short_help(flags: Sequence[Flag], description: str, command: str, names: Sequence[str]) -> str:
    """The help of the flags `names`, in that order, below the first two paragraphs of `description`."""
    known = {flag.name: flag for flag in flags}
    lines = [*head(command, "[FLAGS]", description.strip().split("\n\n")[:2])]
    for name in names:
        lines += described(known[name].label, text_of(known[name]))
    rest = len(flags) - len(names)
    return "\n".join(
        [*lines, "", f"--help-all shows these and {rest} more flags, in groups. --version prints the version."]
    )


def full_help(flags: Sequence[Flag], description: str, command: str) -> str:
    """The help of all flags, in their groups, below the whole `description`."""
    places = [flag.label for flag in flags if flag.positional]
    lines = [*head(command, " ".join([*places, "[FLAGS]"]), description.strip().split("\n\n"))]
    ordered = sorted(flags, key=lambda flag: flag.group != ("", ""))  # groups follow the flags outside of any
    for (name, text), inside in groupby(ordered, key=lambda flag: flag.group):
        if name:
            lines += ["", f"{name} options: {text}"]
        for flag in inside:
            lines += described(flag.label, text_of(flag))
    return "\n".join([*lines, "", "--version prints the version."])


def commands_help(commands: Mapping[str, type[Any]], description: str, command: str) -> str:
    """The help of a program with subcommands: what each does."""
    lines = [*head(command, "COMMAND [FLAGS]", description.strip().split("\n\n"))]
    for name, kind in commands.items():
        lines += described(name, kind.__doc__ or "")
    return "\n".join([*lines, "", f"`{command} COMMAND --help` shows the flags. --version prints the version."])


def head(command: str, takes: str, paragraphs: Sequence[str]) -> Iterator[str]:
    """The lines above the flags."""
    yield from (f"usage: {command} {takes}", "")
    for paragraph in paragraphs:
        yield from (*paragraph.splitlines(), "")


def described(label: str, text: str) -> list[str]:
    """The lines of one flag: its label, and its text beside or below it."""
    width = min(shutil.get_terminal_size((100, 40)).columns, MOST_COLUMNS)
    wrapped = textwrap.wrap(" ".join(text.split()), width - FLAG_WIDTH) or [""]
    above = []
    if len(label) >= FLAG_WIDTH - 3:
        above, label = [f"  {label}"], ""
    beside = f"  {label}" if label else ""
    return [*above, f"{beside:{FLAG_WIDTH}}{wrapped[0]}", *(" " * FLAG_WIDTH + line for line in wrapped[1:])]


def text_of(flag: Flag) -> str:
    """The flag's text and its default in brackets, unless the text explains it."""
    if flag.required:
        return f"{flag.text} Required."
    if flag.switch or flag.default in (None, (), ""):
        return flag.text
    shown = " ".join(map(str, flag.default)) if isinstance(flag.default, tuple) else flag.default
    return f"{flag.text} [{shown}]"
