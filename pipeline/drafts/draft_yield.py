"""The section of a drafted card that names the column of the yield and its unit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.card.questions import ASK
from pipeline.drafts.harvest_names import is_called_yield
from pipeline.drafts.inspect_table import TableLook
from pipeline.toml_text import quoted
from pipeline.units import area_in_name, mass_in_name, unit_in_name

_AREA = re.compile(r"area|área|fl[aä]ch|flaech|superfic|surface|hectare|acreage|oppervlak", re.IGNORECASE)
_NO_AREA = re.compile(r"leaf|lai|index|per(?![a-z])|/|temp|albedo|pressure|reflect", re.IGNORECASE)


def target_section(looks: Sequence[TableLook]) -> Iterator[str]:
    """The section [target] for files with the same columns."""
    first = looks[0]
    if first.target is None and not first.year_yields:
        yield from asked_target("target", first.likely_yields, "which holds it, and in which unit?")
        return
    yield "[target]"
    yield from target_lines(looks)


def asked_target(section: str, likely: Sequence[str], otherwise: str) -> Iterator[str]:
    """The question which column is the yield, and the section to fill in. `otherwise` asks if no column is likely."""
    question = f"is it {' or '.join(likely)}? In which unit?" if likely else otherwise
    unit = (unit_in_name(likely[0]) or "...") if likely else "t/ha"
    yield f"# {ASK}no column is called a yield; {question}"
    yield from (f"# [{section}]", f"# column = {quoted(likely[0] if likely else '...')}", f'# unit = "{unit}"')


def target_lines(looks: Sequence[TableLook]) -> Iterator[str]:
    """Column and unit of the yield, for files with the same columns."""
    first = looks[0]
    column = first.target or first.year_yields[-1]
    yield f"column = {quoted(column)}"
    if first.target is None and len(first.year_yields) > 1:
        unread = ", ".join(first.year_yields[:-1])
        yield f"# {ASK}{unread}: yields of other years, which this card does not read. List them under [history]?"
    known = np.concatenate([look.columns[column].known for look in looks if column in look.columns])
    median = float(np.median(known[known > 0])) if (known > 0).any() else 0.0
    named = unit_in_name(column)
    mass, area = mass_in_name(column), _area_column(first)
    likely = "t/ha" if median <= 25 else "kg/ha"
    if named is not None:
        yield f'unit = "{named}" # {ASK}is it, as the name of the column says? The median is {median:.4g}'
    elif mass is not None and area is not None:
        yield f"# {ASK}is {column} a total of the whole area? Its name has {mass} but no area."
        yield f"# Column {area} may be that area. If it is a total, divide it by {area} first."
        yield "# If it is per area already, give its unit:"
        yield f'# unit = "{mass}/{"ac" if mass in ("bu", "lb", "cwt") else "ha"}" # the median is {median:.4g}'
    elif 25 < median < 500:
        yield f'# {ASK}the median is {median:.4g}: is it dt/ha, bu/ac (with crop = ...) or t/ha? unit = "..."'
    else:
        yield f'unit = "{likely}" # {ASK}is it? The median is {median:.4g}'


def _area_column(look: TableLook) -> str | None:
    """The first column of numbers that is called an area, such as `ha`, `Area_ha` or `hectares`."""
    bands = {name for band in look.bands for name in band.columns}
    return next((name for name in look.columns if name not in bands and _is_area(look, name)), None)


def _is_area(look: TableLook, name: str) -> bool:
    if look.columns[name].numbers is None or name in (*look.roles.values(), *look.series):
        return False
    if is_called_yield(name) or _NO_AREA.search(name) or mass_in_name(name) or unit_in_name(name):
        return False
    return _AREA.search(name) is not None or area_in_name(name)
