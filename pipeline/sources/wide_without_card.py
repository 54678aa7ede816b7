"""Wide tables without a card: bands `{band}_{step}`, yields `y<year>` in t/ha, ten days per step."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.sources.files.columns import column_names
from pipeline.sources.files.csv_text import refuse_lines_above_header
from pipeline.sources.files.memory_budget import Budget
from pipeline.sources.files.unnamed_columns import refuse_unnamed_columns
from pipeline.sources.labels import refuse_odd_year, year_in_name
from pipeline.sources.place_column import place_column
from pipeline.sources.times.calendar import likely_meaning
from pipeline.sources.times.dates_in_header import refuse_dates_in_header
from pipeline.sources.wide import WideFile, refuse_other_steps
from pipeline.sources.wide_steps import add_step, equal_steps

STEP_DAYS = 10.0
_BAND = re.compile(r"(.+)_(\d+)")
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_YEAR_COLUMNS = ("year", "harvest_year")
_YIELD = re.compile(r"[yY](\d{4})")


def plan_plain(
    files: Sequence[Path], year: int | None, for_prediction: bool, budget: Budget
) -> tuple[tuple[WideFile, ...], tuple[str, ...], tuple[Finding, ...]]:
    """Returns (what to read from each file, the band names in the order of the first file's columns, findings).

    Yields of years before a file's label year are read as known history. Those of later years are never read.
    """
    if year is not None and len(files) > 1:
        raise InputError(
            f"--year {year} names the year of one file, but {len(files)} are given ({files[0]}, {files[1]}, ...); put "
            "the year into each file's name instead (such as fields_2022.csv)."
        )
    first, bands = _plan_file(files[0], year, for_prediction)
    plans = [first]
    for path in files[1:]:
        other, _ = _plan_file(path, year, for_prediction)
        refuse_other_steps(first, other)
        # The same columns, in the first file's order: bands may stand in another order here.
        plans.append(replace(other, steps=first.steps))
    headers = [column_names(path) for path in files]
    used = {name for columns in first.steps for name in columns} | {
        name for name in headers[0] if _YIELD.fullmatch(name)
    }
    place, found = place_column(files, headers, sorted(used), budget)
    steps = len(first.steps[0])
    assumed = Finding(
        "note",
        f"A table without a card counts {STEP_DAYS:g} days a step, so its {steps} steps from 1 January are "
        f"{steps * STEP_DAYS:g} days{likely_meaning(steps) if steps not in (36, 37) else ''}.",
        f"step_days = {STEP_DAYS:g}",
    )
    return tuple(replace(plan, place=(place,) if place else ()) for plan in plans), bands, (*found, assumed)


def _plan_file(path: Path, year: int | None, for_prediction: bool) -> tuple[WideFile, tuple[str, ...]]:
    header = column_names(path)
    refuse_dates_in_header(path, header)
    bands: dict[str, dict[int, str]] = {}
    yields: dict[int, str] = {}
    for name in header:
        if match := _YIELD.fullmatch(name):
            yields[int(match[1])] = name
        elif match := _BAND.fullmatch(name):
            add_step(path, bands.setdefault(match[1], {}), int(match[2]), name)
    if not bands:
        refuse_lines_above_header(path, lambda cells: any(map(_BAND.fullmatch, cells)))
        refuse_unnamed_columns(path, header)
        raise InputError(
            f"{path}: no column looks like {{band}}_{{step}} (ndvi_00 ... ndvi_35, or ndvi_1 ... ndvi_12); its columns "
            f"are {', '.join(header[:8])}. Tables of another layout, long ones among them, need a dataset card."
        )
    _refuse_bands_of_years(path, tuple(bands))
    label = _label_year(path, sorted(yields), year, for_prediction)
    plan = WideFile(
        path=path,
        steps=equal_steps(path, bands),
        year=label,
        target=yields.get(label),
        earlier={earlier: column for earlier, column in yields.items() if earlier < label},
        said=next((name for name in header if name.casefold() in _YEAR_COLUMNS), None),
    )
    return plan, tuple(bands)


def _refuse_bands_of_years(path: Path, bands: Sequence[str]) -> None:
    """Raise `InputError` if two bands differ in a year only, as seasons of several years side by side do."""
    of: dict[str, str] = {}
    for band in bands:
        other = of.setdefault(_YEAR.sub("<year>", band), band)
        if other != band:
            raise InputError(
                f"{path}: the columns of {other}_<step> and {band}_<step> differ in the year only, but a row of a "
                "table without a card is one season. Write one file per year, with its year in the file's name "
                f"({band.strip('_')}_1 as {_YEAR.sub('', band).strip('_')}_1 in fields_{_YEAR.findall(band)[0]}.csv), "
                "or a long table with a card."
            )


def _label_year(path: Path, yields: Sequence[int], year: int | None, for_prediction: bool) -> int:
    """The year whose yield this file's bands belong to.

    A single yield column gives the year, unless the name of the file contradicts it. A table read for prediction may
    contain only yields of earlier years, so there the name of the file decides first.
    """
    for found in (*yields, *([] if year is None else [year])):
        refuse_odd_year(found, str(path))
    if not yields and not for_prediction:
        raise InputError(
            f"{path}: there is no yield column y<year> (such as y2022, in t/ha); add it, or describe the table in a "
            "dataset card."
        )
    named = year_in_name(path)
    if year is None and named is not None and len(yields) == 1 and named != yields[0] and not for_prediction:
        raise InputError(
            f"{path}: the file's name holds the year {named}, but its only yield column is y{yields[0]}. If its bands "
            f"are of {yields[0]}, give --year {yields[0]} or rename the file; if they are of {named}, add the column "
            f"y{named}, and y{yields[0]} becomes the history."
        )
    label = year
    if label is None and len(yields) == 1 and not (for_prediction and named):
        label = yields[0]
    if label is None:
        label = named
    present = f"yields of {', '.join(f'y{y}' for y in yields)}" if yields else "no y<year> column"
    if label is None:
        raise InputError(
            f"{path}: the file has {present}, and its name does not hold one year; name the year of its bands with "
            "--year."
        )
    if label not in yields and not for_prediction:
        raise InputError(
            f"{path}: there is no yield column y{label}; the file has {present}. Name its year with --year."
        )
    return label
