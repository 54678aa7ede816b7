"""What the columns of a table seem to be: names, dates, steps, yields, series. Guesses for a card to start from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.drafts.bands import Band, bands_of
from pipeline.drafts.column_roles import roles_of, take_written_year
from pipeline.drafts.harvest_names import choose_yield, is_called_amount, is_called_yield
from pipeline.drafts.likely_yields import likely_yields
from pipeline.drafts.quality_names import OF_QUALITY, without_quality
from pipeline.drafts.read_columns import Column, read_columns
from pipeline.drafts.row_dates import RowTimes, row_times, several_dates_a_year, times_of
from pipeline.drafts.season_constants import is_constant_in_seasons, season_groups
from pipeline.errors import InputError
from pipeline.sources.files.columns import column_names
from pipeline.sources.files.csv_format import CsvFormat, format_of
from pipeline.sources.files.csv_text import is_csv
from pipeline.sources.files.missing_values import Stored, marks_in
from pipeline.sources.files.unnamed_columns import refuse_unnamed_columns
from pipeline.sources.files.years_in_header import refuse_years_in_header

AT_HARVEST = (
    "By its name it is measured at harvest. It is known only after the season, so no forecast may use it. Is it the "
    "yield? Then name it under [target]. Was it measured on each date of the season? Then add it under [[variates]]"
)
ONE_PER_SEASON = (
    "It has one number per season, so it is no series. Is it known before the season? Then name it in `static`; if the "
    "card has several sources, move it to a file with one row per place and year first. If it is known only after the "
    "season, no forecast may use it"
)
_YEAR_YIELD = re.compile(r"[yY](19|20)\d\d")
_DATE_IN_NAME = re.compile(r"(19|20)\d\d[-_]?(0[1-9]|1[0-2])[-_]?([0-2]\d|3[01])")
# Codes, which are numbers in form only, and words of those that are of no place.
_CODE = re.compile(
    r"(?<![a-z])(geoid\d*|(state|county)fp|fips|ansi|gid|ags|nuts|iso|ibge|code|id)(?![a-z])", re.IGNORECASE
)
_OF_NO_PLACE = re.compile(
    r"(?<![a-z])(element|item|year|month|domain|flag|crop|commodity|product|unit|source|class|status)", re.IGNORECASE
)
_ROW_NAMES = ("id", "fid", "objectid", "index", "system:index", ".geo", "unnamed: 0", "", "sample_id", "crop_name")


@dataclass(frozen=True)
class TableLook:
    """What one file seems to hold. roles: `place`, `year`, `date`, `step`, ... -> column."""

    path: Path
    rows: int
    form: CsvFormat | None
    columns: Mapping[str, Column]
    roles: Mapping[str, str]
    target: str | None
    likely_yields: tuple[str, ...]
    bands: tuple[Band, ...]
    series: tuple[str, ...]
    static: tuple[str, ...]
    year_yields: tuple[str, ...]
    times: RowTimes
    questions: tuple[str, ...] = ()

    @property
    def layout(self) -> str | None:
        """wide, long, or None where it holds no series."""
        if self.bands:
            return "wide"
        return "long" if self.series and ("date" in self.roles or "step" in self.roles) else None

    @property
    def dates(self) -> NDArray[np.datetime64] | None:
        """The day of each row; None without dates that can be read."""
        return self.times.dates

    def numbers(self, names: Iterable[str]) -> NDArray[np.float64]:
        """All known numbers of some columns, one after the other."""
        return np.concatenate([self.columns[name].known for name in names])


def inspect_table(path: Path) -> TableLook:
    """Look at the first rows of a CSV or Parquet file. Raises `InputError` where it cannot be read."""
    header = column_names(path)
    refuse_unnamed_columns(path, header)
    if twice := next((name for name in header if header.count(name) > 1), None):
        raise InputError(
            f"{path}: column {twice} occurs {header.count(twice)} times in the header; give each its own name."
        )
    form = format_of(path) if is_csv(path) else None
    columns = read_columns(path, header, form)
    if dated := [name for name in header if _DATE_IN_NAME.search(name)]:
        raise InputError(
            f"{path}: its columns carry dates ({', '.join(dated[:3])}, ...), so it is neither wide, with numbered "
            "steps, nor long. Bring it into rows of place, date and value (DataFrame.melt of pandas) and draft again."
        )
    questions: list[str] = []
    roles = roles_of(columns, questions)
    times = row_times(columns, roles)
    called = [roles.pop(role, None) for role in ("date", "step")]
    dates = times.dates
    if dates is None and "year" not in roles:
        take_written_year(columns, roles, questions)
    named = {*roles.values(), *called, times.date, *times.parts}
    numbered = [name for name in header if name not in named and not is_called_yield(name)]
    long = dates is not None and "place" in roles and several_dates_a_year(dates, columns[roles["place"]])
    bands, quality = without_quality(() if long else bands_of(numbered), lambda band: band.name)
    if bands:
        questions += [times.problem] if times.problem and called[0] else []
        times = RowTimes(date=times.date if dates is not None else None, step=times.step, dates=dates)
    elif times.date is None and times.step is None:
        refuse_years_in_header(path, header)
        questions += times_of(columns)
    roles |= {role: name for role, name in (("date", times.date), ("step", times.step)) if name}
    taken = {*roles.values(), *times.parts, *(name for band in (*bands, *quality) for name in band.columns)}
    year_yields = tuple(name for name in header if _YEAR_YIELD.fullmatch(name))
    free = [name for name in header if name not in taken and name not in year_yields and name.lower() not in _ROW_NAMES]
    targets = [name for name in free if is_called_yield(name) and columns[name].numbers is not None]
    target, unsure = choose_yield(targets, path.name)
    questions += unsure
    numeric = [name for name in free if name not in targets and columns[name].numbers is not None]
    codes = [name for name in numeric if _CODE.search(name) and columns[name].whole]
    if of_places := [name for name in codes if not _OF_NO_PLACE.search(name)]:
        questions.append(
            f"{', '.join(of_places)}: codes of places by their names, and left out. Does one name the place?"
        )
    numeric = [name for name in numeric if name not in codes]
    moves = not bands and ("date" in roles or "step" in roles)
    series, static, left_out = _series_and_static(
        {name: columns[name] for name in numeric}, roles, columns, dates, moves
    )
    if times.problem and not series:
        questions.append(times.problem)
        times = RowTimes()
        roles.pop("date")
    left_out = {band.name: OF_QUALITY for band in quality} | left_out
    questions += [f"{name} of {path.name}: left out. {why}" for name, why in left_out.items()]
    searched = target is None and not year_yields
    likely = likely_yields(columns, [name for name in free if name not in series]) if searched else ()
    return TableLook(
        path=path,
        rows=len(next(iter(columns.values())).codes),
        form=form,
        columns=columns,
        roles=roles,
        target=target,
        likely_yields=likely,
        bands=bands,
        series=series,
        static=tuple(name for name in static if name not in likely),
        year_yields=year_yields,
        times=times,
        questions=tuple(questions),
    )


def _series_and_static(
    numeric: Mapping[str, Column],
    roles: Mapping[str, str],
    columns: Mapping[str, Column],
    dates: NDArray[np.datetime64] | None,
    moves: bool,
) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, str]]:
    """Series, static numbers, and columns that are left out, with the reason and a question.

    moves: whether rows are dates or steps of a season, so that a column may be a series
    """
    place = columns[roles["place"]] if "place" in roles else None
    still = [name for name, column in numeric.items() if place is not None and _constant_by(place, column)]
    series = tuple(name for name in numeric if name not in still) if moves else ()
    series, quality = without_quality(series, str)
    left_out = dict.fromkeys(quality, OF_QUALITY)
    left_out |= {name: AT_HARVEST for name in (*still, *series) if is_called_amount(name)}
    if series and place is not None:
        year = columns[roles["year"]].codes if "year" in roles else None
        groups = season_groups(place.codes, year, dates)
        seasonal = [name for name in series if is_constant_in_seasons(_numbers(numeric[name]), groups)]
        left_out |= {name: ONE_PER_SEASON for name in seasonal if name not in left_out}
    kept, static = (tuple(name for name in names if name not in left_out) for names in (series, still))
    return kept, static, left_out


def usual_marks(numbers: NDArray[np.float64]) -> list[int | float]:
    """Usual marks of missing data that lie far from all other numbers, as the readers look for them."""
    with np.errstate(over="ignore"):
        found = marks_in([numbers.astype(np.float32)], Stored(), least_cells=1).marks.astype(np.float64)
    return [int(mark) if mark == int(mark) else round(mark, 4) for mark in sorted(set(found.tolist()))]


def _numbers(column: Column) -> NDArray[np.float64]:
    assert column.numbers is not None
    return column.numbers


def _constant_by(place: Column, column: Column) -> bool:
    known = ~np.isnan(_numbers(column)) & (place.codes >= 0)
    if not known.any():
        return False
    pairs = np.unique(np.stack([place.codes[known].astype(np.float64), _numbers(column)[known]], axis=1), axis=0)
    return len(pairs) == len(np.unique(place.codes[known])) and len(pairs) < max(2, known.sum() + 1)
