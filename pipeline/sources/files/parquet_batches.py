"""Read the wanted columns of a Parquet file as Arrow batches. Texts in columns of numbers are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import InputError
from pipeline.sources.files import csv_text
from pipeline.sources.files.wanted_columns import Wanted

BATCH_ROWS = 1 << 14


def open_parquet(path: Path) -> Any:
    """The opened file. Raises `InputError` if it is empty or not a Parquet file."""
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; it needs columns and at least one row.")
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path}: this is not a Parquet file, or it is cut short ({error}). Export it again, or give it the "
            "ending of its real format."
        ) from None


def parquet_batches(path: Path, wanted: Wanted) -> Iterator[Any]:
    """Batches of rows: names as strings, numbers as float64. Raises `InputError` if a column is not of its kind."""
    first_row = 0
    try:
        for batch in open_parquet(path).iter_batches(batch_size=BATCH_ROWS, columns=list(wanted.names)):
            arrays = [
                batch.column(name).cast(pa.string())
                if name in wanted.texts and name not in wanted.exact
                else _parquet_numbers(path, name, _nulled(batch.column(name), wanted), first_row, name in wanted.static)
                for name in wanted.names
            ]
            yield pa.RecordBatch.from_arrays(arrays, names=list(wanted.names))
            first_row += len(batch)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: the Parquet file is damaged ({error}); export it again.") from None


def _nulled(column: Any, wanted: Wanted) -> Any:
    """A text column as numbers, if `missing` names texts and all other cells are numbers."""
    kind = column.type
    if not wanted.missing_texts or not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return column
    empty = {*csv_text.MISSING, *csv_text.padded(wanted.missing_texts)}
    texts = [None if value in empty else value for value in column.to_pylist()]
    try:
        return pa.array(texts, pa.string()).cast(pa.float64())
    except pa.ArrowInvalid:
        return column


def _parquet_numbers(path: Path, name: str, column: Any, first_row: int, static: bool) -> Any:
    """The column as float64. Raises `InputError`, with the first value, if it is not numeric."""
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return column.cast(pa.float64())
    row = next((r for r, value in enumerate(column) if value.is_valid), 0)
    raise InputError(
        f"{path}, row {first_row + row + 1}, column {name}: {column[row].as_py()!r} is not a number (the column "
        f"holds {kind}). Store the column as numbers, with nulls for missing ones.{csv_text.CATEGORY * static}"
    )
