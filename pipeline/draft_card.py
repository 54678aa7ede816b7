"""Inspect data files and draft a dataset card. What the files do not show becomes a question in the card.

    python -m pipeline.draft_card yields.csv ndvi.csv soil.csv --out card.toml

The card is read once after it is written, so that the last lines of output report what is still missing.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from pipeline.card import safe_name
from pipeline.card.questions import ASK
from pipeline.drafts.draft_steps import STEPS_UNKNOWN, grid_lines, grid_of, source_lines
from pipeline.drafts.draft_variates import missing_line, variate_sections
from pipeline.drafts.draft_yield import asked_target, target_lines, target_section
from pipeline.drafts.inspect_table import TableLook, inspect_table
from pipeline.drafts.likely_yields import most_like_a_yield
from pipeline.drafts.written_years import are_seasons
from pipeline.errors import InputError
from pipeline.parser import parse_flags
from pipeline.plural import plural
from pipeline.program import run_program
from pipeline.sources import read
from pipeline.sources.files.cybench import cybench_card
from pipeline.sources.files.locate_files import TABLES, advice_on_ending, kind_of
from pipeline.sources.place_column import state_column
from pipeline.sources.row_kinds import MOST_VALUES, keep_line, kind_columns, listed
from pipeline.toml_text import quoted, quoted_list


@dataclass(frozen=True)
class Arguments:
    """Draft a dataset card from data files."""

    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """One or several data files, CSV or Parquet."""
    out: Path = Path("card.toml")
    """The card to write. An existing card is not replaced."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""

    def work() -> int:
        args = parse_flags(Arguments, arguments, __doc__, "pipeline.draft_card")
        return draft(args.files, args.out)

    return run_program("pipeline.draft_card", work)


def draft(files: Sequence[Path], out: Path) -> int:
    """Inspect the files, write the card, and read it back. Returns the exit code.

    Raises `InputError` if a file cannot be read or if `out` exists already.
    """
    if not files:
        raise InputError(
            "No file is named. Give the data files, as in python -m pipeline.draft_card ndvi.csv yields.csv."
        )
    if out.exists():
        raise InputError(f"{out}: this card exists already; name another with --out, or remove it.")
    if not out.parent.is_dir():
        raise InputError(f"{out.parent}: this folder does not exist; make it, or name another with --out.")
    looks = []
    for path in files:
        if not path.exists():
            raise InputError(f"{path}: there is no such file.")
        if kind_of(path) not in TABLES:
            raise InputError(
                f"{path}: a card is drafted from tables ({', '.join(TABLES)}); docs/card.md shows one for cubes."
                f"{advice_on_ending(path)}"
            )
        looks.append(inspect_table(path))
    _refuse_years_in_headers(looks)
    try:
        out.write_text(card_text(looks, out), encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{out}: the card cannot be written ({error.strerror}); name another place with --out."
        ) from None
    asked = out.read_text(encoding="utf-8").count(ASK)
    print(f"{out}: a card for {plural(len(looks), 'file')}, "
          f"with {plural(asked, 'question')} in its comments")  # fmt: skip
    if (known := cybench_card(files)) is not None:
        print(
            f"These are files of CY-Bench: --data {shlex.quote(str(files[0].parent))} "
            f"reads all of {known.name} without a card."
        )
    for line in _what_is_read(looks, out):
        print(line)
    print(f"Answer the questions, then: {_dry_run(out)}")
    return 0


def _what_is_read(looks: Sequence[TableLook], card: Path) -> Iterator[str]:
    """What the drafted card reads, or why it cannot be read yet. A time that is not understood comes first."""
    unread = [f"{look.path}: {look.times.problem}." for look in looks if look.times.problem]
    unread += [
        f"{look.path}: no column is called a yield; is it {' or '.join(look.likely_yields)}? Then remove the # before "
        "the lines of the target in the card, and give the unit."
        for look in _with_likely_yields(looks)
    ]
    if unread:
        yield f"It cannot be read yet: {unread[0]}"
        return
    try:
        table = read(card)
    except InputError as error:
        yield f"It cannot be read yet: {error}"
        return
    yield from table.notes
    sizes = (plural(len(table), "sample"), plural(len(table.variates), "variate"), plural(table.steps, "step"))
    yield f"It reads {' x '.join(sizes)}. {table.describe_yields()} {table.describe_counts()}"


def _dry_run(data: Path) -> str:
    return shlex.join(["python", "render_cache.py", "--data", str(data), "--encoder", "none", "--dry-run"])


def _refuse_years_in_headers(looks: Sequence[TableLook]) -> None:
    """Raise `InputError` if the yield columns of several files have different names, as a card names only one."""
    yearly = [look for look in looks if look.year_yields and look.layout == "wide" and "year" not in look.roles]
    if len({look.year_yields for look in yearly}) > 1:
        one, other = yearly[0], next(look for look in yearly if look.year_yields != yearly[0].year_yields)
        raise InputError(
            f"{one.path.name} has its yields in {one.year_yields[-1]}, {other.path.name} in {other.year_yields[-1]}, "
            "but a card names one column for all files. If a step is ten days and yields are in t/ha, no card is "
            f"needed: {_dry_run(one.path.parent)}. Otherwise give the column the same name in all files."
        )


def card_text(looks: Sequence[TableLook], out: Path) -> str:
    """The card, in TOML."""
    series = [look for look in looks if look.layout]
    alike = len({look.layout for look in series}) == 1 and len({tuple(sorted(look.columns)) for look in series}) == 1
    first = series[0] if series else looks[0]
    whole = alike and (first.target is not None or first.year_yields)
    beside = [look for look in looks if look not in series] if series else []
    single = (whole and all(_is_history(look) for look in beside)) or len(looks) == 1
    lines = [
        "# Drafted from the files. Check every line, and answer each QUESTION.",
        f"name = {quoted(safe_name(_stem(first.path)))}",
    ]
    lines += _single(series or [first], beside, out) if single else _several(looks, out)
    return "\n".join(lines) + "\n"


def _single(series: Sequence[TableLook], beside: Sequence[TableLook], out: Path) -> Iterator[str]:
    first = series[0]
    yield f'format = "{first.layout or "long"}"'
    yield f"files = [{', '.join(quoted(_relative(look.path, out)) for look in series)}]"
    yield from _form(first)
    yield from _time_problem(series)
    if first.layout is None:
        yield f"# {ASK}where are the series? {first.path.name} has neither ndvi_1, ndvi_2, ... nor a date or step"
        yield "# If they are in another file, name both files when you draft the card"
        yield f"# {ASK}{STEPS_UNKNOWN}"
    yield from _keys(first)
    if "sample_id" in first.roles and first.layout == "long":
        yield f"sample_id = {quoted(first.roles['sample_id'])}"
    yield from grid_lines([look for look in series if look.layout])
    if first.static:
        yield f"static = {quoted_list(first.static)}"
    yield from missing_line(series)
    yield from _questions(series)
    for key in ("latitude", "longitude"):
        if {"latitude", "longitude"} <= {*first.roles}:
            yield f"{key} = {quoted(first.roles[key])}"
    yield ""
    yield from target_section(series)
    for name, keys in variate_sections(series):
        yield from ("", "[[variates]]", f"name = {quoted(name)}", *keys)
    for look in beside:
        yield from ("", "[history]", f"files = [{quoted(_relative(look.path, out))}]")
        yield f"place = {_place(look)}"
        yield f"year = {quoted(look.roles['year'])}"
        yield from target_lines([look])


def _several(looks: Sequence[TableLook], out: Path) -> Iterator[str]:
    """A [[sources]] section for each file. Files with the same columns share one."""
    groups: dict[tuple[str, ...], list[TableLook]] = {}
    for look in looks:
        groups.setdefault(tuple(sorted(look.columns)), []).append(look)
    calendar = any("start" in look.roles for look in looks)
    series = [look for look in looks if look.layout]
    likely = _with_likely_yields(looks)
    grid = grid_of(series, own_start=calendar)
    yield from grid_lines(series, own_start=calendar)
    for group in groups.values():
        first = group[0]
        yield from ("", "[[sources]]", f"files = [{', '.join(quoted(_relative(look.path, out)) for look in group)}]")
        yield from _form(first)
        yield from _time_problem(group)
        if first.layout == "wide":
            yield 'format = "wide"'
        yield from _keys(first, source=True)
        yield from source_lines(first, grid)
        yield from missing_line(group)
        yield from _questions(group)
        if "start" in first.roles:
            yield f"calendar = {{ start = {quoted(first.roles['start'])}, end = {quoted(first.roles['end'])} }}"
        if {"latitude", "longitude"} <= {*first.roles}:
            yield f"latitude = {quoted(first.roles['latitude'])}"
            yield f"longitude = {quoted(first.roles['longitude'])}"
        if first.static and "start" not in first.roles:
            yield f"static = {quoted_list(first.static)}"
        if first.target is not None:
            yield from ("[sources.target]", *target_lines(group))
        elif first in likely:
            yield from asked_target("sources.target", first.likely_yields, "")
        for name, keys in variate_sections(group):
            yield from ("[[sources.variates]]", f"name = {quoted(name)}", *keys)
    if not likely and all(look.target is None for look in looks):
        yield ""
        yield from asked_target("sources.target", (), "which file and column hold it, and in which unit?")


def _with_likely_yields(looks: Sequence[TableLook]) -> list[TableLook]:
    """The files that may hold the yield under another name, if none has a column that is called so."""
    if any(look.target is not None or look.year_yields for look in looks):
        return []
    return [look for look in looks if look.likely_yields]


def _form(look: TableLook) -> Iterator[str]:
    """Separator, decimal sign and encoding of a CSV file, if they are not the usual ones."""
    if look.form is None:
        return
    if look.form.separator != ",":
        yield f"separator = {quoted(look.form.separator)}"
    if look.form.decimal != ".":
        yield f"decimal = {quoted(look.form.decimal)}"
    if look.form.encoding != "utf-8":
        yield f"encoding = {quoted(look.form.encoding)}"


def _keys(look: TableLook, source: bool = False) -> Iterator[str]:
    if "place" in look.roles:
        yield f"place = {_place(look)}"
    else:
        yield f'# {ASK}which column names the place? place = "..."'
    if "year" in look.roles and not (source and "date" in look.roles and look.target is None):
        numbered = source and look.layout is not None and "date" not in look.roles
        of_row = "in which step 1 lies" if look.layout == "wide" else "of the step, also if the harvest is in the next"
        meaning = f"the calendar year {of_row}" if numbered else "the year of the harvest"
        yield f"year = {quoted(look.roles['year'])} # {ASK}is it {meaning}?"
    elif look.layout == "wide" and not look.year_yields:
        yield f'# {ASK}which year is each row of? year = "...", or a year in the file\'s name'
    for key in ("date", "step"):
        if key in look.roles and look.layout == "long":
            asked = f" # {ASK}{look.times.question}" if look.times.question else ""
            yield f"{key} = {quoted(look.roles[key])}{asked}"


def _time_problem(looks: Sequence[TableLook]) -> Iterator[str]:
    """Why the time of the rows cannot be read, and what to write."""
    for problem in dict.fromkeys(look.times.problem for look in looks if look.times.problem):
        yield f"# {ASK}{problem}"


def _place(look: TableLook) -> str:
    """The column of the place, together with that of the state if a name occurs in two states."""
    place, state = look.roles["place"], state_column(list(look.columns))
    if state is None or state == place:
        return quoted(place)
    pairs = np.unique(np.stack([look.columns[name].codes for name in (place, state)], axis=1), axis=0)
    return quoted_list((state, place)) if len(np.unique(pairs[:, 0])) < len(pairs) else quoted(place)


def _questions(looks: Sequence[TableLook]) -> Iterator[str]:
    for question in dict.fromkeys(question for look in looks for question in look.questions):
        yield f"# {ASK}{question}"
    first = looks[0]
    if first.target is None and not first.year_yields and not first.likely_yields:
        return
    for name in kind_columns(list(first.columns)):
        column = first.columns[name]
        if name in first.roles.values() or are_seasons(column.texts):
            continue
        codes, rows = np.unique(column.codes[column.codes >= 0], return_counts=True)
        values = [column.texts[code] for code in codes.tolist() if column.texts[code].strip()]
        if not 2 <= len(values) <= MOST_VALUES or column.numbers is not None:
            continue
        yield f"# {ASK}column {name} holds {listed(values)}; are their yields of one kind? If not, keep one value:"
        yield f"# {keep_line(name, most_like_a_yield(values) or column.texts[codes[np.argmax(rows)]])}"


def _is_history(look: TableLook) -> bool:
    return look.target is not None and look.layout is None and {"place", "year"} <= {*look.roles}


def _relative(path: Path, out: Path) -> str:
    return Path(os.path.relpath(path.resolve(), out.resolve().parent)).as_posix()


def _stem(path: Path) -> str:
    kind = kind_of(path)
    return path.name[: -len(kind)] if kind else path.name


if __name__ == "__main__":
    sys.exit(main())
