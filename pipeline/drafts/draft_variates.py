"""The lines of a drafted card about its variates: their columns, ranges and marks of missing data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.card.questions import ASK
from pipeline.drafts.inspect_table import TableLook, usual_marks
from pipeline.drafts.quality_names import is_called_quality
from pipeline.scaling import snapped
from pipeline.toml_text import quoted

_INDICES = ("ndvi", "evi", "savi", "gndvi", "ndwi", "lswi", "msavi", "ndre")


def variate_sections(looks: Sequence[TableLook]) -> Iterator[tuple[str, list[str]]]:
    first = looks[0]
    for band in first.bands:
        keys = [] if band.pattern == f"{band.name}_{{step}}" else [f"pattern = {quoted(band.pattern)}"]
        yield band.name, [*keys, *_range(band.name, np.concatenate([look.numbers(band.columns) for look in looks]))]
    for name in first.series if not first.bands else ():
        yield name, _range(name, np.concatenate([look.numbers([name]) for look in looks]))


def missing_line(looks: Sequence[TableLook]) -> Iterator[str]:
    groups = [band.columns for band in looks[0].bands] or [(name,) for name in looks[0].series]
    marks = sorted({mark for look in looks for names in groups for mark in usual_marks(look.numbers(names))})
    if marks:
        yield f"missing = [{', '.join(map(_mark_text, marks))}] # {ASK}do these stand for missing data?"


def _range(name: str, numbers: NDArray[np.float64]) -> list[str]:
    rest = numbers[~np.isin(numbers.astype(np.float32), np.array(usual_marks(numbers), np.float32))]
    rest = rest[~np.isnan(rest)]
    if len(rest) == 0:
        return [f"# {ASK}it holds no number; leave it out?"]
    low, high = float(rest.min()), float(rest.max())
    index = name.lower().split("_")[0] in _INDICES and not is_called_quality(name)
    if index and low >= -1.5 and high <= 1.5:
        return ["low = -0.2 # the usual range of the index", "high = 1.0"]
    if index and 500 <= high <= 11_000:  # lower ones are bytes or hundredths, of several scales
        scale, times = ("1e-3", "1,000") if high <= 1_100 else ("1e-4", "10,000")
        return [f"scale = {scale} # {ASK}it reaches {high:g}: is it stored x {times}?", "low = -0.2", "high = 1.0"]
    bottom, top = snapped(low, high)
    stored = f"it reaches {high:g}, and an index at most 1: how is it stored? scale = ..., offset = ..."
    return [
        f"# {ASK}{stored}" if index and high > 1.5 else f'# {ASK}unit = "..."?',
        f"low = {bottom:g} # {ASK}numbers reach from {low:g} to {high:g}; which range is possible?",
        f"high = {top:g}",
    ]


def _mark_text(mark: int | float) -> str:
    """A mark as the shortest number that reads as the same float32: 1e20, not 100000002004087734272."""
    if abs(mark) < 1e15:
        return str(mark)
    return repr(float(str(np.float32(mark)))).replace("e+", "e")
