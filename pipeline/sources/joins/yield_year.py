"""Check of a join by year: whether yields of the year of sowing meet seasons that are named after their harvest.

A shift by one year always meets more if yields begin before the seasons and end before them: the satellite is younger
than the records, and the last season has no yield yet. So meeting more is not enough. A shift is reported in two cases.
Gaps: within the years of both files, yields lack a season and the seasons of the next year lack a yield.
Ends: the first seasons begin exactly one year after the first yields, and the other `season_year` would make them meet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.card import DatasetCard, SourceCard
from pipeline.findings import Finding
from pipeline.sources.aggregate import Index
from pipeline.sources.joins.season_keys import YEARS
from pipeline.sources.times.calendar import Calendar

LEAST = 4  # pairs of a yield and a season that only a shift brings together
MUCH_MORE = 1.5  # times the pairs that meet without a shift
RARE = 0.1  # of the place-years in the usual year; years with fewer are no first or last year


@dataclass(frozen=True)
class Shifted:
    """Yields counted `off` years later: how many of all meet a season now, and how many would.

    place, year   an example of a yield that would meet a season
    """

    off: int
    yields: int
    now: int
    then: int
    place: int
    year: int


def better_shift(seasons: Index, yields: Index, renamed: int, *, settled: bool = False) -> Shifted | None:
    """The shift of the yields by a year that meets clearly more seasons, or None.

    seasons, yields   place * YEARS + year of each season and of each yield
    renamed           the shift that the other `season_year` makes up for; 0 if it changes nothing
    settled           whether the card says that the first years of both agree
    """
    shared = np.intersect1d(seasons // YEARS, yields // YEARS)
    seasons, yields = (np.unique(keys[np.isin(keys // YEARS, shared)]) for keys in (seasons, yields))
    if not len(shared):
        return None
    now = len(np.intersect1d(seasons, yields))
    for off in (1, -1):
        then = np.intersect1d(seasons, yields + off) - off  # keys of the yields
        if len(then) <= now:
            continue
        unmet = then[~np.isin(then, seasons)]
        gaps = unmet[~np.isin(unmet + off, yields) & _within(unmet, seasons) & _within(unmet + off, yields)]
        at_the_ends = off == renamed and not settled and _ends_fit(seasons, yields + off)
        many = len(then) - now >= max(1, len(shared) // 2)
        if (len(gaps) >= LEAST and len(then) >= MUCH_MORE * now) or (at_the_ends and many):
            place, year = divmod(int(unmet[0]), YEARS)
            return Shifted(off=off, yields=len(yields), now=now, then=len(then), place=place, year=year)
    return None


def report_shift(
    card: DatasetCard, source: SourceCard, seasons: Index, *, yields: Index, renamed: int, names: NDArray[np.str_]
) -> tuple[Finding, ...]:
    """A finding if yields of the source would meet clearly more seasons one year later or earlier."""
    # A card with `season_year = "end"` has answered the question whether the year is that of the harvest.
    settled = card.season_year == "end" and "season_year" in card.model_fields_set
    found = better_shift(seasons, yields, renamed, settled=settled)
    if found is None:
        return ()
    later, other = ("later", "start") if found.off > 0 else ("earlier", "end")
    sentence = (
        f"Of {found.yields:,} yields of {source.label} at places of the series, {found.now:,} meet a season. If each "
        f"yield counted for the year {'after' if found.off > 0 else 'before'} its own, {found.then:,} would. For "
        f"example, the yield of {names[found.place]} in {found.year} meets no season, but one is called "
        f"{found.year + found.off}. "
    )
    if found.off != renamed:
        sign = "Add 1 to" if found.off > 0 else "Subtract 1 from"
        sentence += (
            f"Is column {source.year} one year off? {sign} the year in the yield file, if the yields belong one year "
            f"{later}."
        )
        return (Finding("warning", sentence),)
    if found.off > 0:
        sentence += (
            f"Is column {source.year} the year of sowing? Then name seasons after the year in which they start. If it "
            'is the year of the harvest, write season_year = "end".'
        )
    else:
        sentence += (
            f"Is column {source.year} the year of the harvest? Then name seasons after the year in which they end."
        )
    return (Finding("warning", sentence, f'season_year = "{other}"'),)


def renamed_by(calendar: Calendar, steps: int) -> int:
    """By how many years seasons have later names than with the other `season_year`: 1, 0 or -1."""
    other = replace(calendar, season_year="start" if calendar.season_year == "end" else "end")
    day = np.array(["2001-12-31"], "datetime64[D]")
    return int(calendar.season_of(day, steps)[0][0] - other.season_of(day, steps)[0][0])


def _within(keys: Index, others: Index) -> NDArray[np.bool_]:
    """Which keys have a year between the first and the last year of the others."""
    years = others % YEARS
    within: NDArray[np.bool_] = (keys % YEARS >= years.min()) & (keys % YEARS <= years.max())
    return within


def _ends_fit(seasons: Index, yields: Index) -> bool:
    """Whether both begin in one year, and end in one year or with a last season that has no yield yet."""
    first, last = _first_and_last(seasons)
    begins, ends = _first_and_last(yields)
    return first == begins and last - ends in (0, 1)


def _first_and_last(keys: Index) -> tuple[int, int]:
    """The first and last year without those of few places."""
    years, counts = np.unique(keys % YEARS, return_counts=True)
    usual = years[counts >= RARE * np.median(counts)]
    return int(usual[0]), int(usual[-1])
