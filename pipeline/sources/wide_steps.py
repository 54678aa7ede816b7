"""The columns of the steps in the header of a wide file, by the patterns of a card or the bands of a table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path

from pipeline.card import DatasetCard
from pipeline.errors import InputError
from pipeline.plural import plural
from pipeline.sources.files.csv_text import refuse_lines_above_header
from pipeline.sources.files.unnamed_columns import refuse_unnamed_columns


def steps_of(path: Path, header: Sequence[str], pattern: str) -> dict[int, str]:
    """Step number -> column, for the columns that fit `pattern`."""
    before, after = (re.escape(part) for part in pattern.split("{step}"))
    fits = re.compile(rf"{before}(\d+){after}")
    found: dict[int, str] = {}
    for name in header:
        if match := fits.fullmatch(name):
            add_step(path, found, int(match[1]), name)
    if not found:
        refuse_lines_above_header(path, lambda cells: any(map(fits.fullmatch, cells)))
        refuse_unnamed_columns(path, header)
        wanted = pattern.replace("{step}", "<step>")
        bands = {(one := re.sub(r"\d+", "<step>", name, count=1)).replace("<step>", ""): one for name in header}
        near = get_close_matches(pattern.replace("{step}", ""), bands, n=1, cutoff=0.5)
        hint = f"did you mean {bands[near[0]]}?" if near else f"its columns are {', '.join(grouped(header))}."
        raise InputError(
            f"{path}: no column is called {wanted}, as in {pattern.replace('{step}', '00')}; {hint} Correct the names "
            "in the file, or `column` in the dataset card."
        )
    return found


def grouped(header: Sequence[str]) -> list[str]:
    """Columns with the steps of each band in one text, such as `ndvi_00 ... ndvi_35`."""
    bands: dict[str, list[str]] = {}
    for name in header:
        bands.setdefault(re.sub(r"\d+", "<step>", name, count=1), []).append(name)
    return [", ".join(names) if len(names) < 3 else f"{names[0]} ... {names[-1]}" for names in bands.values()]


def add_step(path: Path, found: dict[int, str], step: int, column: str) -> None:
    """Record a column of a band. Raises `InputError` for two columns of one step, such as `ndvi_1` and `ndvi_01`."""
    if step in found:
        raise InputError(f"{path}: columns {found[step]} and {column} are both step {step}; remove one of them.")
    found[step] = column


def equal_steps(
    path: Path, bands: Mapping[str, Mapping[int, str]], card: DatasetCard | None = None
) -> tuple[tuple[str, ...], ...]:
    """The columns [V][C] in step order. Raises `InputError` for gaps and for bands that differ in their steps."""
    first_step = card.first_step if card else None
    for band, steps in bands.items():
        numbers = sorted(steps)
        gap = next((b for a, b in pairwise(numbers) if b != a + 1), None)
        if gap is not None:
            raise InputError(
                f"{path}: band {band} has no column for step {gap - 1} (there is {steps[gap]}); every step needs one, "
                "empty where nothing was observed."
            )
        allowed = (0, 1) if first_step is None else (first_step,)
        if numbers[0] not in allowed:
            advice = _count_from_one(card, steps) if card else _NAME_THE_BANDS
            raise InputError(
                f"{path}: the first step of band {band} is column {steps[numbers[0]]}; steps count from "
                f"{' or '.join(map(str, allowed))}. {advice}"
            )
    first, *others = bands
    for band in others:
        if bands[band].keys() != bands[first].keys():
            raise InputError(
                f"{path}: band {first} has {_range(bands[first])}, band {band} has {_range(bands[band])}; all bands "
                "need the same steps. Add the missing columns, empty where nothing was observed, or name the bands "
                "to read in a dataset card."
            )
    return tuple(tuple(steps[number] for number in sorted(steps)) for steps in bands.values())


_NAME_THE_BANDS = "Columns that are no band must not look like one; a dataset card names the bands."


def _count_from_one(card: DatasetCard, steps: Mapping[int, str]) -> str:
    """What to do about columns of a card that are numbered from another step on, such as the months 4 to 10."""
    first = min(steps)
    if first <= 1:
        return f"Correct `first_step` in {card.path}."
    is_month = card.step_days == "month" and max(steps) <= 12
    day = f'"{first:02d}-01"' if is_month else "the day on which the first one begins"
    return f"Number them from 1 to {len(steps)}, and let `calendar_start` in {card.path} be {day}."


def _range(steps: Mapping[int, str]) -> str:
    return f"{plural(len(steps), 'step')} ({steps[min(steps)]} to {steps[max(steps)]})"
