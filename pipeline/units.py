"""Yield units, as factors to t/ha."""

from __future__ import annotations

from difflib import get_close_matches

from pipeline.errors import InputError

# Exact by definition (international yard and pound agreement, 1959).
POUND_TONNES = 0.45359237e-3
ACRE_HECTARES = 0.40468564224

TONNES_PER_HECTARE = {
    "t/ha": 1.0,
    "Mg/ha": 1.0,
    "kg/ha": 1e-3,
    "dt/ha": 0.1,
    "q/ha": 0.1,
    "g/m2": 0.01,
    "lb/ac": POUND_TONNES / ACRE_HECTARES,
    "ton/ac": 2000 * POUND_TONNES / ACRE_HECTARES,
}

# Pounds in a bushel: USDA Agricultural Handbook 697, Weights, Measures, and Conversion Factors (1992), table 1.
BUSHEL_POUNDS = {
    "maize": 56.0,
    "corn": 56.0,
    "sorghum": 56.0,
    "rye": 56.0,
    "flaxseed": 56.0,
    "soybean": 60.0,
    "wheat": 60.0,
    "barley": 48.0,
    "oats": 32.0,
    "rice": 45.0,
}

# A factor this near its unit is the same thing, rounded; bushels of one crop differ by less, too.
_SAME_FACTOR = 0.1

_SPELLINGS = {unit.casefold(): factor for unit, factor in TONNES_PER_HECTARE.items()}


def to_tonnes_per_hectare(unit: str | None, *, factor: float | None, crop: str | None, where: str) -> float:
    """What a yield in `unit` is multiplied with to give t/ha.

    `factor` stands for units that are not known here; beside one that is known and says otherwise it is refused, for
    nobody can tell which of the two is meant. `bu/ac` needs it, or a `crop` whose legal bushel weight is known. `where`
    names the card and key for the message. Raises `InputError` for a unit that cannot be converted. Upper and lower
    case are equal.
    """
    if factor is not None:
        _refuse_contradiction(unit, factor, crop, where)
        return factor
    known = ", ".join((*TONNES_PER_HECTARE, "bu/ac"))
    if unit is None:
        raise InputError(f"{where} names neither `unit` nor `factor`; give one of the units {known}.")
    spelling = "".join(unit.split()).casefold()
    if spelling == "bu/ac":
        return _bushel_tonnes(crop, where) / ACRE_HECTARES
    if spelling in _SPELLINGS:
        return _SPELLINGS[spelling]
    near = get_close_matches(spelling, _SPELLINGS, n=1)
    hint = f" (nearest: {near[0]})" if near else ""
    raise InputError(
        f"{where} has the unit {unit!r}, which cannot be converted to t/ha{hint}. Known units: {known}. "
        "For any other, give `factor`, the number that turns it into t/ha."
    )


def _refuse_contradiction(unit: str | None, factor: float, crop: str | None, where: str) -> None:
    spelling = "".join((unit or "").split()).casefold()
    known = _SPELLINGS.get(spelling)
    if spelling == "bu/ac" and crop is not None and crop.casefold() in BUSHEL_POUNDS:
        known = _bushel_tonnes(crop, where) / ACRE_HECTARES
    if known is None or abs(factor / known - 1) <= _SAME_FACTOR:
        return
    raise InputError(
        f"{where} has the unit {unit!r}, which is {known:.6g} t/ha, and `factor` {factor:g}, which is not. `factor` "
        "alone turns the stored numbers into t/ha: leave out one of the two."
    )


def _bushel_tonnes(crop: str | None, where: str) -> float:
    if crop is not None and crop.casefold() in BUSHEL_POUNDS:
        return BUSHEL_POUNDS[crop.casefold()] * POUND_TONNES
    found = "no `crop` is named" if crop is None else f"the bushel of crop {crop!r} is not known"
    raise InputError(
        f"{where} is in bu/ac, whose weight depends on the crop, and {found}. Set `crop` to one of "
        f"{', '.join(BUSHEL_POUNDS)}, or give `factor`, the number that turns it into t/ha."
    )
