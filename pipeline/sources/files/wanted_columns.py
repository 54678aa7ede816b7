"""Which columns of a file to read, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.card import DatasetCard, SourceCard
from pipeline.sources.files.csv_format import USUAL, CsvKeys

Keep = Mapping[str, Sequence[str]]  # column -> texts
# Peak bytes per cell while reading, when blocks, their concatenation and the season arrays are all in memory.
_MEASURED_BYTES, _EXACT_BYTES, _TEXT_BYTES = 18, 24, 64


@dataclass(frozen=True)
class Wanted:
    """Which columns to read, and how. No other column of a file is ever parsed.

    text           names of places, ids, dates
    exact          numbers that stay float64: years, steps, yields, soil
    measured       numbers of the series: NaN for `missing`, times `scale` (one per column), then float32
    own_missing    numbers that stand for missing data in one column of `measured` alone; none if it is empty
    static         those of `exact` that are static columns; errors about texts in them give advice on categories
    keys           the form of CSV files that the card states
    places         those of `text` that name a place or sample, in which NA is a name (Namibia, North America)
    yields         those of `exact` to which `missing` also applies
    missing_texts  texts in numeric columns that stand for missing data, such as "(D)"
    place          columns of `text` that name the place together; if several, they are also read as one, `place_key`
    keep           column -> texts: rows with another text are left out
    """

    text: tuple[str, ...] = ()
    exact: tuple[str, ...] = ()
    measured: tuple[str, ...] = ()
    scale: tuple[float, ...] = ()
    missing: tuple[float, ...] = ()
    own_missing: tuple[tuple[float, ...], ...] = ()
    static: tuple[str, ...] = ()
    keys: CsvKeys = USUAL
    places: tuple[str, ...] = ()
    yields: tuple[str, ...] = ()
    missing_texts: tuple[str, ...] = ()
    place: tuple[str, ...] = ()
    keep: Keep = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Every column name once, in order."""
        return tuple(dict.fromkeys((*self.texts, *self.exact, *self.measured)))

    @property
    def texts(self) -> tuple[str, ...]:
        """Every column that is read as text, once."""
        return tuple(dict.fromkeys((*self.text, *self.keep)))

    def marks_of(self, column: int) -> tuple[float, ...]:
        """The numbers that stand for missing data in a column of `measured`."""
        own = self.own_missing[column] if self.own_missing else ()
        return tuple(dict.fromkeys((*self.missing, *own)))

    @property
    def bytes_per_row(self) -> float:
        """An upper estimate of the memory per row while reading, in bytes."""
        return _MEASURED_BYTES * len(self.measured) + _EXACT_BYTES * len(self.exact) + _TEXT_BYTES * len(self.texts)


def csv_keys(card: DatasetCard, source: SourceCard | None = None) -> CsvKeys:
    """The form of CSV files that a card, or one source of it, states."""
    named = [(getattr(source, key, None) or getattr(card, key)) for key in ("separator", "decimal", "encoding")]
    return CsvKeys(*named)
