"""Reject rows that sum up others, such as the last line of an Excel export, which is called "Total"."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.sources.names.place_parts import parts_of

_TOTAL = re.compile(
    r"(?:grand|sub|state|district|county|national|country|region(?:al)?|overall|us|u\.s\.)?[ -]*totals?|"
    r"total (?:general|général|generale|geral)|sum|mean|average|avg\.?|"
    r"gesamt(?:ergebnis|summe)?|insgesamt|summe|mittelwert|durchschnitt|totale|moyenne|promedio|razem|"
    r".+ (?:totals?|gesamt|insgesamt)|"
    r"(?:state|district|county|national|country|regional|province|provincial|overall) (?:average|avg\.?|mean)|"
    r"all (?:fields|plots|farms|places|districts|counties|states|provinces|regions|india)|"
    r"nation[- ]?wide|other (?:\(?combined\)? )?(?:counties|districts)|"
    r"total (?:pa[ií]s|pays|nacional|national|naz?ionale|estado|del? .+|do .+)|"
    r"(?:.+ )?(?:ogółem|всього|усього|итого|összesen|celkem|totaal|toplam|jumlah)(?: .+)?|"
    r"(?:全国|全國)(?:合计|合計|平均)?|.*(?:合计|合計|总计|總計|小计|小計)|"
    r"EU[- ]?2[78](?:_20\d\d)?|european union(?: .+)?",
    re.IGNORECASE,
)


def is_total(name: str) -> bool:
    """Whether a name, or its last part, is that of a row that sums up other rows."""
    return _TOTAL.fullmatch(parts_of(name)[-1].strip(" :")) is not None


def refuse_total_rows(place: NDArray[np.str_], where: Callable[[int], str]) -> None:
    """Raise `InputError` for the first of N samples whose place is a sum of the others."""
    totals = {name for name in np.unique(place).tolist() if is_total(name)}
    rows = np.flatnonzero(np.isin(place, list(totals))) if totals else np.zeros(0, np.int64)
    if not len(rows):
        return
    name = str(place[rows[0]])
    raise InputError(
        f"{where(int(rows[0]))}: the place is called {name!r}, which looks like a sum or mean of the other rows "
        f"and would be used in training as if it were a place ({len(rows)} such sample{'s' * (len(rows) != 1)}). "
        "Remove the row, or leave it out "
        f'in the dataset card: [[exclude]] with place = "{name}" and a reason. If it is a place, give it another name.'
    )
