"""One spelling of each place for all sources of a card, if a spreadsheet dropped leading zeros in some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.findings import Finding
from pipeline.sources.files.columns import Text
from pipeline.sources.names.place_names import lost_zeros, restore_zeros, restore_zeros_like
from pipeline.sources.names.place_parts import parts_of

YEARS = 10_000


@dataclass(frozen=True)
class PlacesOfSource:
    """The places of R rows of one source, in a year each (0: in every year); label: the files, for messages."""

    label: str
    place: Text
    year: NDArray[np.int64]


def spelled_alike(sources: Sequence[PlacesOfSource]) -> tuple[list[Text], tuple[Finding, ...]]:
    """The places of each source, spelled as the source with the most leading zeros spells them, and what was repaired.

    Raises `InputError` if one source has `1001` and `01001` in the same year.
    """
    texts: list[Text] = []
    findings: list[Finding] = []
    for one in sources:
        text, repaired = _within(one)
        texts.append(text)
        findings += repaired
    order = sorted(range(len(texts)), key=lambda i: -_zeros(texts[i]))
    known = texts[order[0]].names
    for i in order[1:]:
        names, repaired = restore_zeros_like(texts[i].names, known, sources[i].label)
        texts[i] = Text(names, texts[i].codes)
        findings += repaired
        known = np.union1d(known, names)
    return texts, tuple(findings)


def _zeros(text: Text) -> int:
    """How many of its names have a part with a leading zero."""
    return sum(any(part.startswith("0") for part in parts_of(name)) for name in text.names.tolist())


def _within(one: PlacesOfSource) -> tuple[Text, tuple[Finding, ...]]:
    if not lost_zeros(one.place.names.tolist()):
        return one.place, ()
    pairs = np.unique(one.place.codes * YEARS + one.year)
    names, years = one.place.names[pairs // YEARS], pairs % YEARS
    repaired, findings = restore_zeros(names, years, one.label)
    spelled = dict(zip(names.tolist(), repaired.tolist(), strict=True))
    return Text(np.array([spelled.get(name, name) for name in one.place.names.tolist()]), one.place.codes), findings
