"""Compare what a cube says about a variable with the card: a scale that both apply, and units that differ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.card import VariateCard
from pipeline.findings import Finding

SAME = 0.01  # relative difference of two scales that are one
# Units that a number alone does not tell apart, with the words for each. The first word is that of messages.
_TEMPERATURES = (
    ("K", "kelvin", "degk", "deg_k", "degree_kelvin", "degrees_kelvin"),
    (
        "C",
        "°c",
        "degc",
        "deg_c",
        "celsius",
        "degree_c",
        "degrees_c",
        "degree_celsius",
        "degrees_celsius",
        "deg celsius",
    ),
    ("F", "°f", "degf", "deg_f", "fahrenheit", "degree_fahrenheit", "degrees_fahrenheit"),
)
_DEPTHS = (
    ("mm", "millimeter", "millimetre", "kg m-2", "kg/m2", "kg m**-2"),
    ("cm",),
    ("m", "meter", "metre", "metres"),
)


def compare_attributes(path: Path, variate: VariateCard, attributes: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Findings about a variate and the attributes of its variable in the cube `path`."""
    return (*_two_scales(path, variate, attributes), *_two_units(path, variate, attributes))


def _two_scales(path: Path, variate: VariateCard, attributes: Mapping[str, Any]) -> tuple[Finding, ...]:
    of_file = float(attributes.get("scale_factor", 1.0))
    if of_file == 1 or variate.scale == 1:
        return ()
    told = (
        f"{path.name}: the file scales {variate.column or variate.name} by {of_file:.6g} (its `scale_factor`), and the "
        f"dataset card scales the result by {variate.scale:g} again."
    )
    if math.isclose(of_file, variate.scale, rel_tol=SAME):
        sentence = f"{told} Both are the same scale, so the values of {variate.name} seem to be scaled twice."
        return (Finding("warning", f"{sentence} Leave `scale` out of the card.", "scale = 1"),)
    return (Finding("note", f"{told} That is right if the second one converts a unit."),)


def _two_units(path: Path, variate: VariateCard, attributes: Mapping[str, Any]) -> tuple[Finding, ...]:
    """A warning if both units are known and differ, although the card converts nothing."""
    if variate.scale != 1 or variate.offset != 0:
        return ()
    for units in (_TEMPERATURES, _DEPTHS):
        of_file, of_card = _unit(units, attributes.get("units")), _unit(units, variate.unit)
        if of_file and of_card and of_file != of_card:
            advice = "offset = -273.15" if (of_file, of_card) == ("K", "C") else f'unit = "{of_file}"'
            sentence = (
                f"{path.name}: the file gives {variate.column or variate.name} in {of_file} (its `units`), the dataset "
                f"card in {of_card}, and neither `scale` nor `offset` converts it."
            )
            return (Finding("warning", sentence, advice),)
    return ()


def _unit(units: tuple[tuple[str, ...], ...], text: object) -> str | None:
    """The first word of the unit that a text means; None if it is none of these."""
    word = str(text).strip().casefold()
    return next((words[0] for words in units if word in (one.casefold() for one in words)), None)
