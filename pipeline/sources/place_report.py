"""What is always said about places: how many, how often seen, new in the last year, and with how much history."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.findings import Finding
from pipeline.sources.near_names import near_names
from pipeline.table import YieldHistory

SHOWN = 3
MOST_ALONE = 0.5  # of the places may be seen in one year only, or be new in the last one, before it is a warning


def report_places(
    place: NDArray[np.str_], year: NDArray[np.int64], history: YieldHistory, *, for_prediction: bool
) -> tuple[Finding, ...]:
    """Findings about the places of N samples."""
    names = np.unique(place)
    years = np.unique(year)
    every = np.unique(np.concatenate([names, history.place])).tolist()
    found = [*near_names(every, _years_of(place, year)), *_called_na(names, place)]
    sentence = f"{len(names)} places in {len(years)} year{'s' * (len(years) != 1)}."
    alone = new = 0
    if len(years) > 1:
        pairs = np.unique(np.stack([np.unique(place, return_inverse=True)[1], year], axis=1), axis=0)
        seen = np.bincount(pairs[:, 0])
        alone = int((seen == 1).sum())
        earlier = np.unique(place[year < years[-1]])
        new = int((~np.isin(np.unique(place[year == years[-1]]), earlier)).sum())
        sentence += f" {alone} are seen in one year only; {new} of {years[-1]} were never seen before."
    last = len(np.unique(place[year == years[-1]]))
    odd = alone > MOST_ALONE * len(names) or new > MOST_ALONE * last
    found.append(Finding("warning" if odd and not for_prediction else "note", sentence))
    if len(history):
        found.append(_history(names, history))
    return tuple(found)


def _years_of(place: NDArray[np.str_], year: NDArray[np.int64]) -> dict[str, set[int]]:
    """The years of each place."""
    found: dict[str, set[int]] = {}
    for name, one in zip(place.tolist(), year.tolist(), strict=True):
        found.setdefault(name, set()).add(one)
    return found


def _history(names: NDArray[np.str_], history: YieldHistory) -> Finding:
    without = names[~np.isin(names, history.place)]
    known = len(names) - len(without)
    sentence = f"The history knows yields of {known} of the {len(names)} places."
    if len(without):
        sentence += f" {len(without)} places have no history, such as {', '.join(without[:SHOWN].tolist())}."
    return Finding("warning" if len(without) else "note", sentence)


def _called_na(names: NDArray[np.str_], place: NDArray[np.str_]) -> list[Finding]:
    if "NA" not in names:
        return []
    rows = int((place == "NA").sum())
    sentence = f"{rows} rows are of a place called NA, which is read as a name (Namibia, for example)."
    return [Finding("note", sentence, '[[exclude]]\nplace = "NA"\nreason = "the name is missing"')]
