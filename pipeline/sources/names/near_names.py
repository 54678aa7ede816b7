"""Report place names that are nearly the same. They are read as different places, but may be one."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from pipeline.findings import Finding

SHOWN = 3
_BETWEEN_LETTERS = re.compile(r"(?<!\d) +| +(?!\d| )")
# Words that offices add to a name or leave out.
_KINDS = re.compile(
    r"\s+(?:county|parish|borough|district|province|region|oblast|co\.|landkreis|kreis)$|^(?:landkreis|kreis)\s+"
)
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+")


def near_names(names: Sequence[str], years: Callable[[], Mapping[str, set[int]]] = dict) -> tuple[Finding, ...]:
    """A finding if names differ only in capitals, accents, punctuation or a word such as County.

    years   returns the years of each name. Richmond and Richmond County are two places if both occur in one year.
    """
    like: dict[str, list[str]] = defaultdict(list)
    for name in names:
        like[bare_letters(name)].append(name)
    pairs = sorted(tuple(sorted(group)) for key, group in like.items() if len(group) > 1 and key)
    if pairs:
        shown = _shown(pairs)
        sentence = (
            f"{_groups(len(pairs))} only in capitals, accents or punctuation ({shown}). They are read as different "
            "places. If they are the same, give them the same spelling."
        )
        return (Finding("warning", sentence),)
    return _of_one_kind(like, years)


def _of_one_kind(like: Mapping[str, Sequence[str]], years: Callable[[], Mapping[str, set[int]]]) -> tuple[Finding, ...]:
    """Names that differ in the kind of place or in a separator of thousands, and never occur in one year."""
    bare: dict[str, list[str]] = defaultdict(list)
    for group in like.values():
        bare[without_kind(group[0])] += group
    groups = [tuple(sorted(group)) for key, group in bare.items() if len(group) > 1 and key]
    if not groups:
        return ()
    years_of = years()
    pairs = sorted(group for group in groups if _never_together([years_of.get(name, set()) for name in group]))
    if not pairs:
        return ()
    sentence = (
        f"{_groups(len(pairs))} only in a word such as County or in a separator of thousands ({_shown(pairs)}), and "
        "never occur in the same year. They are read as different places. If they are the same, give them the same "
        "spelling."
    )
    return (Finding("warning", sentence),)


def _groups(n: int) -> str:
    return "Place names differ" if n == 1 else f"{n} groups of place names differ"


def _never_together(years: Sequence[set[int]]) -> bool:
    return all(years) and sum(map(len, years)) == len(set[int]().union(*years))


def _shown(pairs: Sequence[Sequence[str]]) -> str:
    more = f" and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
    return "; ".join(" and ".join(map(repr, group)) for group in pairs[:SHOWN]) + more


def without_kind(name: str) -> str:
    """A name's letters without the kind of place; a code without its separators of thousands."""
    if name.isalnum():  # neither a blank nor a comma
        return bare_letters(name)
    return name.replace(",", "") if _THOUSANDS.fullmatch(name) else bare_letters(_KINDS.sub("", name.casefold()))


def bare_letters(name: str) -> str:
    """A name without capitals, accents, blanks and punctuation; names without letters have none."""
    if name.isascii() and name.isalnum():
        return name.casefold()
    plain = unicodedata.normalize("NFKD", name).casefold()
    kept = "".join(c if unicodedata.category(c)[0] in "LN" else " " for c in plain if not unicodedata.combining(c))
    return _BETWEEN_LETTERS.sub("", kept.strip())  # plots 1-1 and 11 are two
