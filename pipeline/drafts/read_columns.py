"""Read the first rows of a table: the texts of its columns and, where they are, the numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.sources.files.arrow_numbers import numbers_of
from pipeline.sources.files.columns import column_names
from pipeline.sources.files.csv_format import CsvFormat
from pipeline.sources.files.csv_text import explain, is_gzip

MOST_ROWS = 200_000  # are looked at
EMPTY = ("", "NA", "NaN", "nan", "null")


@dataclass(frozen=True)
class Column:
    """One column: texts[codes], code -1 where empty; numbers [R] if nearly all cells are numbers, else None."""

    name: str
    texts: tuple[str, ...]
    codes: NDArray[np.int64]
    numbers: NDArray[np.float64] | None

    @property
    def whole(self) -> bool:
        """Whether all of its numbers are whole."""
        known = self.known
        return len(known) > 0 and bool((known == np.floor(known)).all())

    @property
    def known(self) -> NDArray[np.float64]:
        """Its numbers, without those that are missing."""
        return np.empty(0) if self.numbers is None else self.numbers[~np.isnan(self.numbers)]


def read_columns(path: Path, names: Sequence[str], form: CsvFormat | None) -> dict[str, Column]:
    """The columns of the first rows. Raises `InputError` if the file cannot be read."""
    table = _head(path, form)
    return {name: _column(name, table.column(name), form) for name in names}


def _head(path: Path, form: CsvFormat | None) -> pa.Table:
    batches: list[pa.RecordBatch] = []
    rows = 0
    try:
        for batch in _batches(path, form):
            batches.append(batch)
            rows += batch.num_rows
            if rows >= MOST_ROWS:
                break
    except (pa.ArrowException, OSError, UnicodeError) as error:
        if form is not None:
            raise explain(path, (), (), detail=str(error)) from None
        raise InputError(f"{path}: the table cannot be read ({error}); export it again.") from None
    if rows == 0:
        raise InputError(f"{path}: the file has a header but no row below it; it needs at least one.")
    return pa.Table.from_batches(batches)


def _batches(path: Path, form: CsvFormat | None) -> Iterable[pa.RecordBatch]:
    if form is None:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=MOST_ROWS):
            yield pa.RecordBatch.from_arrays([column.cast(pa.string()) for column in batch.columns], batch.schema.names)
        return
    names = column_names(path)
    yield from pacsv.open_csv(
        pa.input_stream(str(path), compression="gzip" if is_gzip(path) else None),
        read_options=pacsv.ReadOptions(
            encoding="utf8" if form.encoding == "utf-8" else form.encoding, skip_rows=int(form.sep_line)
        ),
        parse_options=pacsv.ParseOptions(delimiter=form.separator, newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )


def _column(name: str, cells: Any, form: CsvFormat | None) -> Column:
    encoded = cells.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    texts = tuple("" if text is None else str(text) for text in encoded.dictionary.to_pylist())
    codes = numbers_of(encoded.indices, -1).astype(np.int64)
    decimal = form.decimal if form else "."
    each = [_number(text, decimal) for text in texts]
    wrong = [text for text, number in zip(texts, each, strict=True) if number is None and text.strip() not in EMPTY]
    numbers = None
    if len(wrong) <= 0.02 * len(texts) and any(number is not None for number in each):
        known = np.array([np.nan if number is None else number for number in each] + [np.nan])
        numbers = known[codes]
    return Column(name, texts, codes, numbers)


def _number(text: str, decimal: str) -> float | None:
    try:
        number = float(text.strip().replace(decimal, "."))
    except ValueError:
        return None
    return number if np.isfinite(number) else None
