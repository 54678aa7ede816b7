"""Findings about places: their number, how often they occur, which are new in the last year, and their history."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

from pipeline.findings import Finding
from pipeline.sources.names.near_names import near_names
from pipeline.sources.names.place_parts import parts_of
from pipeline.table import YieldHistory

SHOWN = 3
# Words that programs write for an unknown name, in small letters. A place may be called so, as None in Italy.
NO_NAMES = frozenset(("na", "n/a", "#n/a", "<na>", "n.a.", "null", "none", "nan", "nil", "missing", "unknown"))
MOST_ALONE = 0.5  # share of places that may occur in only one year, or be new in the last year, without a warning


def report_places(
    place: NDArray[np.str_], year: NDArray[np.int64], history: YieldHistory, *, for_prediction: bool
) -> tuple[Finding, ...]:
    """Findings about the places of N samples."""
    names = np.unique(place)
    years = np.unique(year)
    every = np.unique(np.concatenate([names, history.place])).tolist()
    findings = [*near_names(every, lambda: _years_of(place, year)), *_named_like_missing(names, place)]
    sentence = f"The table has {_counted(len(names), 'place')} in {_counted(len(years), 'year')}."
    alone = new = 0
    if len(years) > 1:
        pairs = np.unique(np.stack([np.unique(place, return_inverse=True)[1], year], axis=1), axis=0)
        seen = np.bincount(pairs[:, 0])
        alone = int((seen == 1).sum())
        earlier = np.unique(place[year < years[-1]])
        new = int((~np.isin(np.unique(place[year == years[-1]]), earlier)).sum())
        sentence += (
            f" {_counted(alone, 'place')} {'occur' if alone > 1 else 'occurs'} in only one year."
            if alone
            else " Each place occurs in two years or more."
        )
        sentence += (
            f" {_counted(new, 'place')} of {years[-1]} {'do' if new > 1 else 'does'} not occur in an earlier year."
            if new
            else f" Each place of {years[-1]} also occurs in an earlier year."
        )
    last = len(np.unique(place[year == years[-1]]))
    odd = alone > MOST_ALONE * len(names) or new > MOST_ALONE * last
    findings.append(Finding("warning" if odd and not for_prediction else "note", sentence))
    if len(history):
        findings.append(_history(names, history))
    return tuple(findings)


def _counted(n: int, what: str) -> str:
    """A number with its noun, as in "1 place" or "2 places"."""
    return f"{n} {what}{'s' * (n > 1)}"


def _years_of(place: NDArray[np.str_], year: NDArray[np.int64]) -> dict[str, set[int]]:
    """The years of each place."""
    years: dict[str, set[int]] = {}
    for name, one in zip(place.tolist(), year.tolist(), strict=True):
        years.setdefault(name, set()).add(one)
    return years


def _history(names: NDArray[np.str_], history: YieldHistory) -> Finding:
    without = names[~np.isin(names, history.place)]
    known = len(names) - len(without)
    sentence = f"The history has yields of {known} of {_counted(len(names), 'place')}."
    if len(without) == 1:
        sentence += f" Place {without[0]} has no history."
    elif len(without):
        sentence += f" {len(without)} places have no history, such as {', '.join(without[:SHOWN].tolist())}."
    return Finding("warning" if len(without) else "note", sentence)


def _named_like_missing(names: NDArray[np.str_], place: NDArray[np.str_]) -> list[Finding]:
    """Findings about places whose name, or a part of it, is a word that programs write for an unknown name."""
    found = []
    for name in names.tolist():
        parts = parts_of(name)
        words = [part for part in parts if part.casefold() in NO_NAMES]
        if not words:
            continue
        rows = int((place == name).sum())
        has = f"{rows} row{'s have' if rows != 1 else ' has'} the place {name}, which is read as a name"
        spelled = json.dumps(name if len(parts) == 1 else parts, ensure_ascii=False)
        line = f'[[exclude]]\nplace = {spelled}\nreason = "the name is missing"'
        if words == ["NA"]:
            found.append(Finding("note", f"{has} (for example Namibia).", line))
        else:
            sentence = f"{has}. Programs write {words[0]} for an unknown name; then these rows are of several places."
            found.append(Finding("warning", sentence, line))
    return found
