"""Refuse a command line that a program cannot take, in one paragraph: the flag, its value, and what is allowed."""

from __future__ import annotations

import difflib
import re
from collections import deque
from collections.abc import Sequence

from pipeline.errors import InputError
from pipeline.flag_table import Flag

NUMBERS = {int: "a whole number", float: "a number"}
NEAR = 0.6  # similarity above which a message names the nearest flag or value
_NEGATIVE = re.compile(r"-(\d|\.|inf$|infinity$|nan$)", re.IGNORECASE)  # a value, although it starts with a dash


def require_valid(flags: Sequence[Flag], given: Sequence[str], manual: str, example: str = "") -> None:
    """Raises InputError for an unknown flag, a value of the wrong type, a stray word, or a required flag left out.

    manual    the command that describes the flags, as in `python train.py --help`
    example   a command line that is complete
    """
    words, places = deque(given), [flag for flag in flags if flag.positional]
    found: dict[str, list[str]] = {}  # of a flag that is given twice, the last values count
    last: Flag | None = None
    while words:
        word = words.popleft()
        if is_flag(word):
            last = flag = find(flags, word, manual)
            values = values_after(flag, word, words, manual)
        elif places:
            flag = places.pop(0)
            values = [word, *values_before_a_flag(words, None if flag.many else 0)]
        else:
            raise InputError(f"{word!r} stands without a flag.{advice(last)} `{manual}` describes the flags.")
        found[flag.name] = values
        for value in values if flag.choices else ():  # the parser refuses a wrong choice even if another one follows
            require_value(flag, value, manual)
    for flag in flags:
        for value in found.get(flag.name, ()):
            require_value(flag, value, manual)
    if missing := [flag.label for flag in flags if flag.required and flag.name not in found]:
        shown = f", as in `{example}`" if example else ""
        what = "it" if len(missing) == 1 else "them"
        raise InputError(f"{' and '.join(missing)} must be given{shown}. `{manual}` describes {what}.")


def is_flag(word: str) -> bool:
    """Whether a word of the command line names a flag; a single dash and a negative number are values."""
    return word.startswith("-") and len(word) > 1 and not _NEGATIVE.match(word)


def find(flags: Sequence[Flag], word: str, manual: str) -> Flag:
    """The flag that a word names. Raises InputError with the nearest one if there is none."""
    name = word.lstrip("-").partition("=")[0].replace("_", "-")
    named = {flag.name: flag for flag in flags if not flag.positional}
    switches = {f"no-{flag.name}": flag for flag in flags if flag.switch}
    if word.startswith("--") and (flag := (named | switches).get(name)):
        return flag
    bare = name.removeprefix("no-")
    near = [bare] if bare in named else difflib.get_close_matches(name, [*named, *switches], 1, NEAR)
    nearest = f" The nearest is {'--' + near[0]}." if near else ""
    raise InputError(f"there is no flag {word.partition('=')[0]}.{nearest} `{manual}` lists all flags.")


def values_after(flag: Flag, word: str, words: deque[str], manual: str) -> list[str]:
    """The values of a named flag, taken from `words`. Raises InputError if it has none, or is a switch with one."""
    _, equals, value = word.partition("=")
    if flag.switch:
        if equals:
            raise InputError(f"--{flag.name} is a switch and takes no value: {switch(flag)}. `{manual}` describes it.")
        return []
    if flag.many:
        return [value] * bool(equals) + values_before_a_flag(words, None)
    values = [value] if equals else values_before_a_flag(words, 1)
    if not values:
        raise InputError(f"--{flag.name} has no value; it must be {allowed(flag)}. `{manual}` describes it.")
    return values


def values_before_a_flag(words: deque[str], most: int | None) -> list[str]:
    """The next words up to the next flag, at most `most` of them (None: any number); they are removed from `words`."""
    values: list[str] = []
    while words and not is_flag(words[0]) and (most is None or len(values) < most):
        values.append(words.popleft())
    return values


def require_value(flag: Flag, value: str, manual: str) -> None:
    """Raises InputError if a flag does not take this value. A flag that parses its text refuses it later, by itself."""
    if value == "None" and flag.default is None:
        return
    if flag.choices:
        if value in flag.choices:
            return
        near = difflib.get_close_matches(value, flag.choices, 1, NEAR)
        nearest = f" The nearest is {near[0]}." if near else ""
        raise InputError(f"--{flag.name} is {value!r}; it must be {allowed(flag)}.{nearest} `{manual}` describes it.")
    if flag.kind in NUMBERS:
        try:
            flag.kind(value)
        except ValueError:
            raise InputError(
                f"--{flag.name} is {value!r}; it must be {allowed(flag)}. `{manual}` describes it."
            ) from None


def allowed(flag: Flag) -> str:
    """What a value of the flag must be."""
    if flag.choices:
        *most, last = flag.choices
        return f"{', '.join(most)} or {last}"
    if flag.kind is None:
        return "a list separated by commas"
    return NUMBERS.get(flag.kind, "a path" if flag.kind.__name__ == "Path" else "a text")


def advice(last: Flag | None) -> str:
    """A sentence on a word that follows the values of the flag `last`."""
    if last is None:
        return " Every value follows its flag."
    if last.switch:
        return f" --{last.name} is a switch and takes no value: {switch(last)}."
    return f" --{last.name} takes one value: separate a list with commas, and quote a glob or a path with blanks."


def switch(flag: Flag) -> str:
    """How a switch is written."""
    return f"write --{flag.name} or --no-{flag.name}"
