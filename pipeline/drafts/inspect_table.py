"""What the columns of a table seem to be: names, dates, steps, yields, series. Guesses for a card to start from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.drafts.harvest_names import choose_yield, is_called_amount, is_called_yield
from pipeline.drafts.quality_names import OF_QUALITY, without_quality
from pipeline.drafts.season_constants import is_constant_in_seasons, season_groups
from pipeline.drafts.written_years import are_seasons, are_two_digits, ask_for_four_digits, ask_for_seasons
from pipeline.errors import InputError
from pipeline.sources.files.arrow_numbers import numbers_of
from pipeline.sources.files.columns import column_names
from pipeline.sources.files.csv_format import CsvFormat, format_of
from pipeline.sources.files.csv_text import explain, is_csv, is_gzip
from pipeline.sources.files.missing_values import Stored, marks_in
from pipeline.sources.files.unnamed_columns import refuse_unnamed_columns
from pipeline.sources.files.years_in_header import refuse_years_in_header
from pipeline.sources.times.dates import DateError, parse_days

AT_HARVEST = (
    "By its name it is measured at harvest. It is known only after the season, so no forecast may use it. Is it the "
    "yield? Then name it under [target]. Was it measured on each date of the season? Then add it under [[variates]]"
)
ONE_PER_SEASON = (
    "It has one number per season, so it is no series. Is it known before the season? Then name it in `static`; if the "
    "card has several sources, move it to a file with one row per place and year first. If it is known only after the "
    "season, no forecast may use it"
)
MOST_ROWS = 200_000  # are looked at
LEAST_STEPS = 3  # columns that differ in one number make a band
_NAMES: Mapping[str, tuple[str, ...]] = {
    "place": ("place", "adm_id", "county", "district", "field", "field_id", "plot", "parcel", "region", "geoid", "fips",
              "province", "municipality", "landkreis", "kreis", "gemeinde", "departement", "country", "location",
              "site", "station", "name", "id"),
    "year": ("year", "harvest_year", "season_year", "season", "jahr", "annee", "año", "ano"),
    "date": ("date", "day", "time", "datum", "fecha", "timestamp", "system:time_start"),
    "step": ("step", "dekad", "week", "month", "period", "schritt"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon", "lng", "long"),
    "start": ("sos", "start_of_season", "season_start", "planting", "sowing"),
    "end": ("eos", "end_of_season", "season_end", "maturity", "harvest_day"),
    "sample_id": ("sample_id",),
}  # fmt: skip
_YEAR_YIELD = re.compile(r"[yY](19|20)\d\d")
_DATE_IN_NAME = re.compile(r"(19|20)\d\d[-_]?(0[1-9]|1[0-2])[-_]?([0-2]\d|3[01])")
_LIKE_A_DATE = re.compile(r"(19|20)\d\d([-_/.]?)(0\d|1[0-2])\2([0-2]\d|3[01])|\d{1,2}([./-])\d{1,2}\5(19|20)\d\d")
_PARTS_OF_DATES = ("doy", "dayofyear", "day_of_year", "mo", "month", "dy", "day")
# Codes of places, which are numbers in form only.
_CODE = re.compile(
    r"(?<![a-z])(geoid\d*|(state|county)fp|fips|ansi|gid|ags|nuts|iso|ibge|code|id)(?![a-z])", re.IGNORECASE
)
_ROW_NAMES = ("id", "fid", "objectid", "index", "system:index", ".geo", "unnamed: 0", "", "sample_id", "crop_name")
_EMPTY = ("", "NA", "NaN", "nan", "null")


@dataclass(frozen=True)
class Column:
    """One column: texts[codes], code -1 where empty; numbers [R] if nearly all cells are numbers, else None."""

    name: str
    texts: tuple[str, ...]
    codes: NDArray[np.int64]
    numbers: NDArray[np.float64] | None

    @property
    def whole(self) -> bool:
        """Whether all of its numbers are whole."""
        known = self.known
        return len(known) > 0 and bool((known == np.floor(known)).all())

    @property
    def known(self) -> NDArray[np.float64]:
        """Its numbers, without those that are missing."""
        return np.empty(0) if self.numbers is None else self.numbers[~np.isnan(self.numbers)]


@dataclass(frozen=True)
class Band:
    """Columns that differ in one number: steps of one variate. pattern has `{step}` for it."""

    name: str
    pattern: str
    steps: tuple[int, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True)
class TableLook:
    """What one file seems to hold. roles: `place`, `year`, `date`, `step`, ... -> column."""

    path: Path
    rows: int
    form: CsvFormat | None
    columns: Mapping[str, Column]
    roles: Mapping[str, str]
    target: str | None
    bands: tuple[Band, ...]
    series: tuple[str, ...]
    static: tuple[str, ...]
    year_yields: tuple[str, ...]
    dates: NDArray[np.datetime64] | None
    questions: tuple[str, ...] = field(default=())

    @property
    def layout(self) -> str | None:
        """wide, long, or None where it holds no series."""
        if self.bands:
            return "wide"
        return "long" if self.series and ("date" in self.roles or "step" in self.roles) else None

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
    table = _head(path, form)
    columns = {name: _column(name, table.column(name), form) for name in header}
    if dated := [name for name in header if _DATE_IN_NAME.search(name)]:
        raise InputError(
            f"{path}: its columns carry dates ({', '.join(dated[:3])}, ...), so it is neither wide, with numbered "
            "steps, nor long. Bring it into rows of place, date and value (DataFrame.melt of pandas) and draft again."
        )
    questions: list[str] = []
    roles = _roles(columns, questions)
    dates = _dates(columns[roles["date"]], questions) if "date" in roles else None
    if dates is None:
        roles.pop("date", None)
        if "year" not in roles:
            _take_written_year(columns, roles, questions)
    long = dates is not None and "place" in roles and _several_dates_a_year(dates, columns[roles["place"]])
    numbered = [name for name in header if name not in roles.values() and not is_called_yield(name)]
    bands = () if long else _bands(numbered)
    bands, quality = without_quality(bands, lambda band: band.name)
    if dates is None and "step" not in roles and not bands:
        refuse_years_in_header(path, header)
        questions += _times_of(columns)
    taken = {*roles.values(), *(name for band in (*bands, *quality) for name in band.columns)}
    year_yields = tuple(name for name in header if _YEAR_YIELD.fullmatch(name))
    free = [name for name in header if name not in taken and name not in year_yields and name.lower() not in _ROW_NAMES]
    targets = [name for name in free if is_called_yield(name) and columns[name].numbers is not None]
    target, unsure = choose_yield(targets, path.name)
    questions += unsure
    numeric = [name for name in free if name not in targets and columns[name].numbers is not None]
    codes = [name for name in numeric if _CODE.search(name) and columns[name].whole]
    if codes:
        questions.append(f"{', '.join(codes)}: codes of places by their names, and left out. Does one name the place?")
    numeric = [name for name in numeric if name not in codes]
    moves = not bands and ("date" in roles or "step" in roles)
    series, static, left_out = _series_and_static(
        {name: columns[name] for name in numeric}, roles, columns, dates, moves
    )
    left_out = {band.name: OF_QUALITY for band in quality} | left_out
    questions += [f"{name} of {path.name}: left out. {why}" for name, why in left_out.items()]
    return TableLook(
        path=path,
        rows=table.num_rows,
        form=form,
        columns=columns,
        roles=roles,
        target=target,
        bands=bands,
        series=series,
        static=static,
        year_yields=year_yields,
        dates=dates,
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


def _head(path: Path, form: CsvFormat | None) -> pa.Table:
    batches: list[pa.RecordBatch] = []
    rows = 0
    try:
        for batch in _batches(path, form):
            batches.append(batch)
            rows += batch.num_rows
            if rows >= MOST_ROWS:
                break
    except (pa.ArrowException, OSError, UnicodeError) as error:
        if form is not None:
            raise explain(path, (), (), detail=str(error)) from None
        raise InputError(f"{path}: the table cannot be read ({error}); export it again.") from None
    if rows == 0:
        raise InputError(f"{path}: the file has a header but no row below it; it needs at least one.")
    return pa.Table.from_batches(batches)


def _batches(path: Path, form: CsvFormat | None) -> Iterable[pa.RecordBatch]:
    if form is None:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=MOST_ROWS):
            yield pa.RecordBatch.from_arrays([column.cast(pa.string()) for column in batch.columns], batch.schema.names)
        return
    names = column_names(path)
    yield from pacsv.open_csv(
        pa.input_stream(str(path), compression="gzip" if is_gzip(path) else None),
        read_options=pacsv.ReadOptions(
            encoding="utf8" if form.encoding == "utf-8" else form.encoding, skip_rows=int(form.sep_line)
        ),
        parse_options=pacsv.ParseOptions(delimiter=form.separator, newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )


def _column(name: str, cells: Any, form: CsvFormat | None) -> Column:
    encoded = cells.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    texts = tuple("" if text is None else str(text) for text in encoded.dictionary.to_pylist())
    codes = numbers_of(encoded.indices, -1).astype(np.int64)
    decimal = form.decimal if form else "."
    each = [_number(text, decimal) for text in texts]
    wrong = [text for text, number in zip(texts, each, strict=True) if number is None and text.strip() not in _EMPTY]
    numbers = None
    if len(wrong) <= 0.02 * len(texts) and any(number is not None for number in each):
        known = np.array([np.nan if number is None else number for number in each] + [np.nan])
        numbers = known[codes]
    return Column(name, texts, codes, numbers)


def _number(text: str, decimal: str) -> float | None:
    try:
        number = float(text.strip().replace(decimal, "."))
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _roles(columns: Mapping[str, Column], questions: list[str]) -> dict[str, str]:
    lower = {name.lower(): name for name in reversed(list(columns))}
    roles = {role: lower[name] for role, names in _NAMES.items() for name in reversed(names) if name in lower}
    if "year" in roles and not _is_year(columns[roles["year"]]):
        roles.pop("year")
    if "year" not in roles and (found := next((n for n, c in columns.items() if _is_year(c)), None)):
        roles["year"] = found
    if "step" in roles and not (columns[roles["step"]].whole and columns[roles["step"]].known.min() >= 0):
        name = roles.pop("step")
        if columns[name].texts:
            questions.append(
                f"column {name} holds {columns[name].texts[0]!r}; steps are whole numbers, such as 1 to 12"
            )
    if "date" in roles and "step" in roles:
        roles.pop("step")
    if ("start" in roles) != ("end" in roles):
        roles.pop("start", None), roles.pop("end", None)
    if "place" not in roles:
        texts = [name for name, column in columns.items() if column.numbers is None and name not in roles.values()]
        likely = next((name for name in texts if 1 < len(columns[name].texts) < len(columns[name].codes)), None)
        if likely is not None:
            roles["place"] = likely
            questions.append(f"no column is called place, county, field or alike; {likely} is taken for the place")
    return roles


def _take_written_year(columns: Mapping[str, Column], roles: dict[str, str], questions: list[str]) -> None:
    """Make a column of years in another form the role `year`, with a question that says what to write instead."""
    for name, column in columns.items():
        if are_seasons(column.texts):
            questions.append(ask_for_seasons(name, next(text for text in column.texts if text.strip())))
        elif name.lower() in _NAMES["year"] and are_two_digits(column.known):
            questions.append(ask_for_four_digits(name, column.known[0]))
        else:
            continue
        roles["year"] = name
        return


def _is_year(column: Column) -> bool:
    known = column.known
    return column.whole and bool((known >= 1900).all() and (known <= 2100).all())


def _dates(column: Column, questions: list[str]) -> NDArray[np.datetime64] | None:
    """The days of a column; None where they are not written as the reader needs them."""
    days = np.full(len(column.texts) + 1, np.datetime64("NaT"), "datetime64[D]")
    written = [code for code, text in enumerate(column.texts) if text.strip() not in _EMPTY]
    try:
        days[written] = np.array(parse_days([column.texts[code] for code in written]), "datetime64[D]")
    except DateError as error:
        questions.append(f"column {column.name}: {error.text!r} {error}")
        return None
    found: NDArray[np.datetime64] = days[column.codes]
    return found


def _several_dates_a_year(dates: NDArray[np.datetime64], place: Column) -> bool:
    """Whether places have several dates in a year, as in a long table. A wide one may have a date of sowing a row."""
    seasons = np.unique(np.stack([place.codes, dates.astype("datetime64[Y]").astype(np.int64)], axis=1), axis=0)
    return len(dates) >= 2 * len(seasons)


def _times_of(columns: Mapping[str, Column]) -> list[str]:
    """Questions about columns that seem to hold dates or parts of dates, in a table without a date and a step."""
    dated = [
        name for name, column in columns.items() if (texts := [text.strip() for text in column.texts if text.strip()])
        and all(_LIKE_A_DATE.match(text) for text in texts)
    ]  # fmt: skip
    found = [
        f'{name} holds {columns[name].texts[0]!r}; is that the date? date = "{name}", with days such as 2018-05-17'
        for name in dated
    ]
    parts = [name for name, column in columns.items() if name.lower() in _PARTS_OF_DATES and column.whole]
    if parts and not dated:
        listed = " and ".join(parts)
        found.append(f"{listed} may say when a row was measured; write a column of dates such as 2018-05-17?")
    return found


def _bands(names: Sequence[str]) -> tuple[Band, ...]:
    """Groups of names that differ in one whole number and count on without a gap."""
    groups: dict[str, dict[int, str]] = {}
    for name in names:
        for match in re.finditer(r"\d+", name):
            pattern = f"{name[: match.start()]}{{step}}{name[match.end() :]}"
            groups.setdefault(pattern, {})[int(match[0])] = name
    found: list[Band] = []
    taken: set[str] = set()
    for pattern, steps in sorted(groups.items(), key=lambda group: -len(group[1])):
        numbers = sorted(steps)
        runs = numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        if len(steps) >= LEAST_STEPS and numbers[0] in (0, 1) and runs and not taken & {*steps.values()}:
            columns = tuple(steps[number] for number in numbers)
            name = re.sub(r"([_\- .])[_\- .]+", r"\1", pattern.replace("{step}", "")).strip("_- .") or "value"
            found.append(Band(name, pattern, tuple(numbers), columns))
            taken |= {*columns}
    return tuple(sorted(found, key=lambda band: names.index(band.columns[0])))


def _numbers(column: Column) -> NDArray[np.float64]:
    assert column.numbers is not None
    return column.numbers


def _constant_by(place: Column, column: Column) -> bool:
    known = ~np.isnan(_numbers(column)) & (place.codes >= 0)
    if not known.any():
        return False
    pairs = np.unique(np.stack([place.codes[known].astype(np.float64), _numbers(column)[known]], axis=1), axis=0)
    return len(pairs) == len(np.unique(place.codes[known])) and len(pairs) < max(2, known.sum() + 1)
