"""Findings about places: their number, how often they occur, which are new in the last year, and their history."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.findings import Finding
from pipeline.sources.names.near_names import near_names
from pipeline.table import YieldHistory

SHOWN = 3
MOST_ALONE = 0.5  # share of places that may occur in only one year, or be new in the last year, without a warning


def report_places(
    place: NDArray[np.str_], year: NDArray[np.int64], history: YieldHistory, *, for_prediction: bool
) -> tuple[Finding, ...]:
    """Findings about the places of N samples."""
    names = np.unique(place)
    years = np.unique(year)
    every = np.unique(np.concatenate([names, history.place])).tolist()
    findings = [*near_names(every, lambda: _years_of(place, year)), *_called_na(names, place)]
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


def _called_na(names: NDArray[np.str_], place: NDArray[np.str_]) -> list[Finding]:
    if "NA" not in names:
        return []
    rows = int((place == "NA").sum())
    sentence = (
        f"{rows} row{'s have' if rows != 1 else ' has'} the place NA, which is read as a name (for example Namibia)."
    )
    return [Finding("note", sentence, '[[exclude]]\nplace = "NA"\nreason = "the name is missing"')]
