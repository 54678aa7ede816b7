"""Places of two files that do not meet because their names are spelled in two ways, as `F001` and `f001` or `f1`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pipeline.findings import Finding
from pipeline.sources.names.near_names import bare_letters, without_kind

_LEADING_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
CAPITALS = "capitals"
LETTERS = "capitals, accents or punctuation"
ZEROS = "zeros before a number"
KIND = "a word such as County"


@dataclass(frozen=True)
class NearPairs:
    """Pairs of names (one of each file) that are nearly the same, and in what they differ."""

    pairs: tuple[tuple[str, str], ...]
    differ_in: str

    @property
    def example(self) -> str:
        """The first pair, in words."""
        return f"such as {self.pairs[0][0]!r} and {self.pairs[0][1]!r}"


def unmet_names(names: Iterable[str], others: Iterable[str]) -> NearPairs | None:
    """Names of one file that do not occur in the other, which spells them in another way; None if there are none."""
    own, known = set(names), set(others)
    unmet, unknown = own - known, known - own
    if not unmet and not unknown:
        return None
    found: dict[tuple[str, str], str] = {}
    for ours, theirs in _groups_of_both(own, known, bare_letters):
        new, missed = [name for name in ours if name in unmet], [name for name in theirs if name in unknown]
        if new or missed:
            pair = (new or ours)[0], (missed or theirs)[0]
            found[pair] = CAPITALS if pair[0].casefold() == pair[1].casefold() else LETTERS
    # A second name that differs in a zero or a word is often another place, so these pairs must be unmet on both sides.
    for key, reason in ((_without_zeros, ZEROS), (without_kind, KIND)):
        left = unmet - {pair[0] for pair in found}, unknown - {pair[1] for pair in found}
        found |= {(a[0], b[0]): reason for a, b in _groups_of_both(*left, key) if len(a) == len(b) == 1}
    if not found:
        return None
    reasons = set(found.values())
    if LETTERS in reasons:
        reasons.discard(CAPITALS)
    ordered = [reason for reason in (CAPITALS, LETTERS, ZEROS, KIND) if reason in reasons]
    return NearPairs(tuple(sorted(found)), " or in ".join(ordered))


def report_unmet_names(names: Iterable[str], label: str, others: Iterable[str], other: str) -> tuple[Finding, ...]:
    """A finding if places of the file `label` miss those of the file `other` because of their spelling."""
    near = unmet_names(names, others)
    if near is None:
        return ()
    n = len(near.pairs)
    places = f"{n} places of {label} do not meet places" if n > 1 else f"1 place of {label} does not meet a place"
    sentence = (
        f"{places} of {other}, because the names differ in {near.differ_in} ({near.example}). They are read as "
        "different places. If they are the same, give them the same spelling in both files."
    )
    return (Finding("warning", sentence),)


def advice_on_spelling(names: Iterable[str], others: Iterable[str], otherwise: str) -> str:
    """What to do if no name is in both: the difference in spelling with an example, or else the given advice."""
    own = set(names)
    near = unmet_names(own, others)
    if near is None:
        return otherwise
    how_many = "The names" if len(near.pairs) == len(own) else f"{len(near.pairs)} of {len(own)} names"
    return (
        f"{how_many} differ only in {near.differ_in} ({near.example}). If they are the same places, give them the same "
        "spelling in both files."
    )


def _groups_of_both(
    names: Iterable[str], others: Iterable[str], key: Callable[[str], str]
) -> list[tuple[list[str], list[str]]]:
    """The sorted names of each key that occurs on both sides."""
    groups = []
    for side in (names, others):
        group: dict[str, list[str]] = defaultdict(list)
        for name in sorted(side):
            group[key(name)].append(name)
        groups.append(group)
    first, second = groups
    return [(first[one], second[one]) for one in first.keys() & second.keys() if one]


def _without_zeros(name: str) -> str:
    """A name's letters, and its numbers without leading zeros; nothing for decimals, since 1.05 is not 1.5."""
    return "" if "." in name else _LEADING_ZEROS.sub("", bare_letters(name))
