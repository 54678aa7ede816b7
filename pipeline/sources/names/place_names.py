"""Names of places and samples: a normal form for all readers, and repair of leading zeros that spreadsheets drop.

Two spellings are the same name if they differ only in Unicode composition (NFC), in blanks at the ends, in the number
of blanks inside, in NUL padding, or in decimals such as `17019.0`. Nothing else is merged: `Adams` and `ADAMS` stay two
places, and a finding reports them.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.sources.names.place_parts import SEPARATOR, in_each_part, joined_name, parts_of

Names = NDArray[np.str_]

_BLANKS = re.compile(r"[^\S\t\n\r\v\f\x1c-\x1f\x85\u2028\u2029]+")  # white space that breaks no line
_AT_THE_ENDS = " \ufeff\u200b"  # a blank, a byte order mark, a blank of no width
_WHOLE_NUMBER = re.compile(r"(\d+)\.0+")
_DIGITS = re.compile(r"[0-9]+")
SHOWN = 3


def both_columns(columns: Sequence[str]) -> str:
    """What to do about two places of one name that a second column distinguishes."""
    listed = ", ".join(f'"{column}"' for column in columns)
    return (
        "If two places have one name, such as counties in two states, let both columns name the place in the dataset "
        f"card: place = [{listed}]. A column of codes (FIPS, NUTS) does so by itself."
    )


TWO_OF_ONE_NAME = both_columns(["state", "county"])


def normal_name(text: str) -> str:
    """The normal form of a name, in which names are compared and stored."""
    text = text.rstrip("\0")
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    text = _BLANKS.sub(" ", text).strip(_AT_THE_ENDS)
    return match[1] if (match := _WHOLE_NUMBER.fullmatch(text)) else text


def normal_names(names: Names) -> tuple[Names, NDArray[np.int64]]:
    """Returns (distinct normal names, index of each of `names` [G] among them). Normal names keep their order."""
    written = names.tolist()
    normal = [normal_name(name) for name in written]
    if normal == written:
        return names, np.arange(len(names))
    position: dict[str, int] = {}
    codes = [position.setdefault(name, len(position)) for name in normal]
    return np.array(list(position), np.str_), np.array(codes, np.int64)


def without_zeros(name: str) -> str:
    """A name of digits as a spreadsheet shows it: `01001` becomes `1001`. Other names stay; parts are names."""
    return in_each_part(name, _without_zeros)


def _without_zeros(name: str) -> str:
    return name.lstrip("0") or "0" if _DIGITS.fullmatch(name) else name


def lost_zeros(names: Sequence[str]) -> dict[str, str]:
    """Spelling without -> spelling with its leading zeros, for the names (or parts of names) of which both occur.

    No name of digits may be wider than the widest full spelling. Full spellings may have several widths, as codes of
    two levels have (01, a Land, beside 01001, a Kreis), but no two of them may be one number.
    """
    if not any(SEPARATOR in name for name in names):
        return _lost_zeros(names)
    split = [parts_of(name) for name in names]
    width = max(map(len, split))
    repair = [_lost_zeros([parts[i] for parts in split if len(parts) == width]) for i in range(width)]
    full = [
        joined_name([repair[i].get(part, part) for i, part in enumerate(parts)] if len(parts) == width else parts)
        for parts in split
    ]
    return {name: spelled for name, spelled in zip(names, full, strict=True) if name != spelled}


def _lost_zeros(names: Sequence[str]) -> dict[str, str]:
    digits = {name for name in names if _DIGITS.fullmatch(name)}
    padded = {name for name in digits if name.startswith("0") and len(name) > 1}
    by_number = {without_zeros(name): name for name in padded}
    if len(by_number) < len(padded) or max(map(len, digits), default=0) > max(map(len, padded), default=0):
        return {}
    return {short: name for short, name in by_number.items() if short in digits and short != name}


def restore_zeros(place: Names, year: NDArray[np.int64], source: str) -> tuple[Names, tuple[Finding, ...]]:
    """Returns (place [N] with one spelling for each place, findings about repairs).

    `1001` becomes `01001` if both occur and never in the same year. Raises `InputError` if they share a year, because
    then they may be two places.
    """
    repair = lost_zeros(np.unique(place).tolist())
    if not repair:
        return place, ()
    years: dict[str, set[int]] = defaultdict(set)
    for name, one in zip(place.tolist(), year.tolist(), strict=True):
        years[name].add(one)
    spellings: dict[str, list[str]] = defaultdict(list)
    for short, name in sorted(repair.items()):
        spellings[name].append(short)
    pairs = [pair for name, shorter in sorted(spellings.items()) for pair in combinations([*shorter, name], 2)]
    for short, name in sorted(pairs):
        if shared := years[short] & years[name]:
            raise InputError(
                f"{source}: places {short!r} and {name!r} both occur in {min(shared)}. If they are one "
                "place, a program "
                f"such as Excel dropped the leading zero: write {name!r} in every row. If they are two, "
                "give them names "
                "that differ in more than a leading zero."
            )
    repaired = np.array([repair.get(name, name) for name in place.tolist()], np.str_)
    rows = int((repaired != place).sum())
    return repaired, (Finding("warning", _repaired_sentence(repair, f"{rows} rows")),)


def restore_zeros_like(names: Names, known: Names, what: str) -> tuple[Names, tuple[Finding, ...]]:
    """names [H] spelled as `known` spells them if both differ in leading zeros alone, and what was repaired.

    what   whose names these are, for the sentence, such as "the history"
    """
    there = set(np.unique(known).tolist())
    by_number: dict[str, set[str]] = defaultdict(set)
    for name in there:
        by_number[without_zeros(name)].add(name)
    own = set(np.unique(names).tolist())
    repair = {}
    for name in sorted(own - there):
        spelled = by_number.get(without_zeros(name), set())
        # A spelling that occurs here as well belongs to another place.
        if len(spelled) == 1 and not spelled & own:
            repair[name] = next(iter(spelled))
    if not repair:
        return names, ()
    repaired = np.array([repair.get(name, name) for name in names.tolist()], np.str_)
    return repaired, (Finding("warning", _repaired_sentence(repair, what)),)


# How Excel shows a long code: its last digits are lost.
_EXCEL = re.compile(r"\d(?:\.\d+)?E\+\d{2,3}")


def lost_digits(name: str) -> bool:
    """Whether a name, or a part of one, is a code that Excel shortened to its first digits: 1.70191E+11."""
    return any(_EXCEL.fullmatch(part) for part in parts_of(name))


def find_place(shapes: Mapping[str, object], name: str) -> str | None:
    """The key of `shapes` that means this place: the same name, or the only one that differs in leading zeros."""
    if name in shapes:
        return name
    bare = without_zeros(name)
    digits = any(_DIGITS.fullmatch(part) for part in parts_of(name))
    alike = [key for key in shapes if without_zeros(key) == bare] if digits else []
    return alike[0] if len(alike) == 1 else None


def _repaired_sentence(repair: Mapping[str, str], where: str) -> str:
    shown = ", ".join(f"{short} as {name}" for short, name in sorted(repair.items())[:SHOWN])
    more = f" and {len(repair) - SHOWN} more" if len(repair) > SHOWN else ""
    return f"Leading zeros differ in the names of {len(repair)} places of {where}; they are read as one: {shown}{more}."
