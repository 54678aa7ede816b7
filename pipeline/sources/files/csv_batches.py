"""Read the wanted columns of a CSV file as Arrow batches. Numbers are parsed strictly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from pipeline.sources.files import csv_text
from pipeline.sources.files.csv_format import format_of, refuse_unclear_points
from pipeline.sources.files.swallowed_lines import LineCounter
from pipeline.sources.files.wanted_columns import Wanted

_BLOCK_BYTES = 1 << 23


def csv_batches(path: Path, wanted: Wanted) -> Iterator[Any]:
    """Batches of rows: names as strings, numbers as float64. Raises `InputError` at an invalid cell or line."""
    numbers = (*wanted.exact, *wanted.measured)
    form = format_of(path, wanted.keys)
    refuse_unclear_points(path, form, numbers)
    convert = pacsv.ConvertOptions(
        column_types={**dict.fromkeys(wanted.texts, pa.string()), **dict.fromkeys(numbers, pa.float64())},
        include_columns=list(wanted.names),
        null_values=[*csv_text.MISSING, *csv_text.padded(wanted.missing_texts)],
        strings_can_be_null=False,  # a place may be called NA; empty texts are found later
        decimal_point=form.decimal,
    )
    zipped = "gzip" if csv_text.is_gzip(path) else None
    stream = LineCounter(lambda: pa.input_stream(str(path), compression=zipped))
    rows = 0
    try:
        for batch in pacsv.open_csv(
            stream,
            read_options=pacsv.ReadOptions(
                block_size=_BLOCK_BYTES,
                use_threads=True,
                encoding="utf8" if form.encoding == "utf-8" else form.encoding,
                skip_rows=int(form.sep_line),
            ),
            parse_options=pacsv.ParseOptions(newlines_in_values=True, delimiter=form.separator),
            convert_options=convert,
        ):
            rows += len(batch)
            yield batch
    except (pa.ArrowInvalid, OSError, UnicodeError) as error:
        detail = str(error)
        raise csv_text.explain(
            path, numbers, wanted.static, detail=detail, keys=wanted.keys, missing=wanted.missing_texts
        ) from None
    if stream.lines() > rows + 1 + form.sep_line:
        csv_text.refuse_swallowed_lines(path, wanted.keys)
