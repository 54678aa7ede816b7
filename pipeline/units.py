"""Conversion of yield units to t/ha."""

from __future__ import annotations

import re

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
    "hg/ha": 1e-4,
    "kg/m2": 10.0,
    "kg/ac": 1e-3 / ACRE_HECTARES,
    "cwt/ac": 100 * POUND_TONNES / ACRE_HECTARES,
}

# Pounds per bushel: USDA Agricultural Handbook 697, Weights, Measures, and Conversion Factors (1992), table 1.
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

# A factor within this relative distance of the unit's own is the same, rounded. Bushels of a crop differ by less.
_SAME_FACTOR = 0.1

# How people and statistical offices spell the two halves of a unit. A ton per hectare is metric, and a ton per acre is
# short (2000 lb). "mg" is read as Mg, because nobody weighs a harvest in milligrams.
_MASSES = {
    "t": "t", "ton": "t", "tons": "t", "tonne": "t", "tonnes": "t", "mt": "t", "metricton": "t", "metrictons": "t",
    "mg": "Mg", "kg": "kg", "kgs": "kg", "kilogram": "kg", "kilograms": "kg", "dt": "dt", "q": "q", "qt": "q",
    "quintal": "q", "quintals": "q", "g": "g", "gram": "g", "grams": "g", "hg": "hg", "lb": "lb", "lbs": "lb",
    "pound": "lb", "pounds": "lb", "bu": "bu", "bushel": "bu", "bushels": "bu", "cwt": "cwt",
}  # fmt: skip
_AREAS = {
    "ha": "ha", "hectare": "ha", "hectares": "ha", "ac": "ac", "acre": "ac", "acres": "ac", "m2": "m2", "m^2": "m2",
    "m²": "m2", "sqm": "m2", "hm2": "ha", "hm^2": "ha", "hm²": "ha",
}  # fmt: skip
_PER = re.compile(r"(?:/|per|_per_|\.per\.)")
_INVERSE = re.compile(r"(?:\*\*|\^)?[-−–](\d)|⁻([¹²])")
_WORDS = re.compile(r"\d+|[^\W\d_]+\d*")
_KNOWN = {unit.casefold(): unit for unit in (*TONNES_PER_HECTARE, "bu/ac")}


def spell_unit(unit: str) -> str:
    """The standard spelling of a known unit; any other unit in lower case without blanks."""
    plain = "".join(unit.split()).casefold().replace("_", "").replace("·", "").strip(".")
    if plain in _KNOWN:
        return _KNOWN[plain]
    # kg ha-1, g m-2, t.ha^-1: an exponent of minus one or two instead of a slash.
    if match := _INVERSE.search(plain):
        power = match[1] or {"¹": "1", "²": "2"}[match[2]]
        area = next((one for one in ("ha", "hm", "ac", "acre", "m") if plain[: match.start()].endswith(one)), "")
        mass = plain[: match.start() - len(area)].rstrip("./*")
        parts = [mass, f"{area}2" if area in ("m", "hm") and power == "2" else area]
    else:
        parts = _PER.split(plain, maxsplit=1)
    if len(parts) != 2:
        return plain
    mass, area = parts[0].strip("."), parts[1].strip(".")
    if mass not in _MASSES or area not in _AREAS:
        return plain
    known = f"{_MASSES[mass]}/{_AREAS[area]}"
    if known == "t/ac":
        known = "ton/ac" if mass in ("ton", "tons") else plain
    return _KNOWN.get(known.casefold(), plain)


def unit_in_name(name: str) -> str | None:
    """The known unit in the name of a column, such as `yield_kg_ha`; None if there is none.

    Only whole words count, so `yield_at_harvest` holds no t/ha. A number before the unit (100 kg/ha) makes it another.
    """
    words = _WORDS.findall(name.casefold())
    for at, mass in enumerate(words):
        area = next((word for word in words[at + 1 : at + 3] if word != "per"), "")
        unit = spell_unit(f"{mass}/{area}")
        if unit in _KNOWN.values():
            return None if at and words[at - 1].isdigit() else unit
    return None


def mass_in_name(name: str) -> str | None:
    """The unit of mass among the whole words of a name, such as kg in `yield_kg`; None if there is none."""
    return next((_MASSES[word] for word in _WORDS.findall(name.casefold()) if word in _MASSES), None)


def area_in_name(name: str) -> bool:
    """Whether a unit of area is among the whole words of a name, as in `ha` or `size (acres)`."""
    return any(word in _AREAS for word in _WORDS.findall(name.casefold()))


def to_tonnes_per_hectare(unit: str | None, *, factor: float | None, crop: str | None, where: str) -> float:
    """The factor that converts a yield in `unit` to t/ha. Upper and lower case are equal.

    `factor` is for units that are not known here. `bu/ac` needs it, or a `crop` with a known legal bushel weight.
    `where` names the card and key for messages. Raises `InputError` if the unit cannot be converted, or if `factor`
    contradicts a known unit.
    """
    if factor is not None:
        _refuse_contradiction(unit, factor, crop, where)
        return factor
    known = ", ".join((*TONNES_PER_HECTARE, "bu/ac"))
    if unit is None:
        raise InputError(f"{where} names neither `unit` nor `factor`; give one of the units {known}.")
    spelling = spell_unit(unit)
    if spelling == "bu/ac":
        return _bushel_tonnes(crop, where) / ACRE_HECTARES
    if spelling in TONNES_PER_HECTARE:
        return TONNES_PER_HECTARE[spelling]
    raise InputError(
        f"{where} has the unit {unit!r}, which is not known. Known units are {known}, also spelled as kg ha-1 or "
        "tonnes per hectare. For any other unit give `factor`, the number that converts it to t/ha."
    )


def _refuse_contradiction(unit: str | None, factor: float, crop: str | None, where: str) -> None:
    spelling = spell_unit(unit or "")
    known = TONNES_PER_HECTARE.get(spelling)
    if spelling == "bu/ac" and crop is not None and crop.casefold() in BUSHEL_POUNDS:
        known = _bushel_tonnes(crop, where) / ACRE_HECTARES
    if known is None or abs(factor / known - 1) <= _SAME_FACTOR:
        return
    raise InputError(
        f"{where} has the unit {unit!r}, which is {known:.6g} t/ha, but `factor` is {factor:g}. Leave out one of the "
        "two; `factor` alone also converts the stored numbers to t/ha."
    )


def _bushel_tonnes(crop: str | None, where: str) -> float:
    if crop is not None and crop.casefold() in BUSHEL_POUNDS:
        return BUSHEL_POUNDS[crop.casefold()] * POUND_TONNES
    problem = "no `crop` is named" if crop is None else f"the bushel of crop {crop!r} is not known"
    raise InputError(
        f"{where} is in bu/ac. The weight of a bushel depends on the crop, and {problem}. Set `crop` to one of "
        f"{', '.join(BUSHEL_POUNDS)}, or give `factor`, the number that converts the unit to t/ha."
    )
