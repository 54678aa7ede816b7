"""CSV files line by line: the header, line numbers, and the error message for a cell that the fast reader rejected."""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TextIO

from pipeline.errors import InputError
from pipeline.plural import plural
from pipeline.sources.files.csv_format import SEPARATORS, USUAL, CsvFormat, CsvKeys, format_of
from pipeline.sources.files.not_a_number import hint
from pipeline.sources.files.swallowed_lines import swallowed_by
from pipeline.sources.files.titles import MOST_LINES, refuse_titles, title_or_footnote

MISSING = ("", "NA", "NaN", "nan", "null")
MISSING_NAMES = ("", "NaN", "nan", "null")  # NA is a name: Namibia, North America
# As the fast reader reads numbers: ASCII digits, and only blanks and tabs around them.
_NUMBER = re.compile(
    r"[ \t]*[+-]?(\d+\.?\d*(e[+-]?\d+)?|\.\d+(e[+-]?\d+)?|inf|infinity|nan)[ \t]*", re.IGNORECASE | re.ASCII
)
_MAGIC = {
    b"PAR1": "a Parquet file (.parquet)",
    b"\x1f\x8b": "a gzip file (.csv.gz)",
    b"PK\x03\x04": "a zip archive or a spreadsheet (.xlsx)",
    b"\x89HDF": "a NetCDF or HDF5 file (.nc)",
    b"CDF": "a NetCDF file (.nc)",
}
_SAMPLE_BYTES = 1 << 20
MOST_WORDS = 8  # in a message
# Advice for a text in a static column.
CATEGORY = " A category, such as a soil type, needs one column of 0 and 1 for each of its names."


def is_csv(path: Path) -> bool:
    """Whether the file's ending is that of CSV, compressed or not."""
    return path.name.lower().endswith((".csv", ".csv.gz"))


def is_gzip(path: Path) -> bool:
    """Whether the file's ending is that of gzip."""
    return path.suffix.lower() == ".gz"


def open_text(path: Path, form: CsvFormat) -> TextIO:
    """Open the file as decompressed text. Invalid bytes become surrogates, so that a message can name them."""
    if is_gzip(path):
        return gzip.open(path, "rt", encoding=form.codec, errors="surrogateescape", newline="")
    return path.open(encoding=form.codec, errors="surrogateescape", newline="")


def read_header(path: Path, keys: CsvKeys = USUAL) -> list[str]:
    """The column names. Raises `InputError` if the file is empty, is not text, or does not match its ending."""
    start = _first_bytes(path)
    if not start.strip():
        raise InputError(f"{path}: the file is empty; it needs a header line and at least one row.")
    for magic, kind in _MAGIC.items():
        if start.startswith(magic):
            raise InputError(f"{path}: this is {kind}, not CSV text; give the file the ending of its real format.")
    if b"\0" in start and not start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and not keys.encoding:
        raise InputError(f"{path}: this is not CSV text (it holds NUL bytes); export the table again as CSV in UTF-8.")
    line, header = next(_rows(path, format_of(path, keys)), (1, []))
    _refuse_bad_text(path, line, header)
    if sum(bool(name.strip()) for name in header) == 1:
        most = max(max(header, key=len).count(separator) for separator in SEPARATORS) + 1
        refuse_lines_above_header(path, lambda cells: len(cells) > most, keys)
    if len(header) == 1 and (other := next((mark for mark in ",;\t|" if mark in header[0]), None)):
        raise InputError(
            f"{path}: line {line} separates its columns with {other!r}, but the dataset card names another separator; "
            "correct `separator`."
        )
    return header


def refuse_lines_above_header(path: Path, is_header: Callable[[Sequence[str]], bool], keys: CsvKeys = USUAL) -> None:
    """Raise `InputError` if a line below the first one of a CSV file is its header, below titles or comments."""
    if is_csv(path):
        with open_text(path, format_of(path, keys)) as text:
            refuse_titles(path, list(islice(text, MOST_LINES)), is_header)


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as raw:
        start = raw.read(4096)
        if path.suffix != ".gz" or not start:
            return start
        if not start.startswith(b"\x1f\x8b"):
            raise InputError(f"{path}: the file is not gzip data; drop the .gz ending or compress it.")
        raw.seek(0)
        with gzip.GzipFile(fileobj=raw) as stream:
            return _decompress(path, stream, 4096)


def _decompress(path: Path, stream: gzip.GzipFile, size: int) -> bytes:
    try:
        return stream.read(size)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path}: the compressed file is damaged ({error}); fetch or export it again.") from None


def estimate_rows(path: Path) -> int:
    """An estimate of the number of rows, from the first megabyte and the size of the file."""
    with path.open("rb") as raw:
        if is_gzip(path):
            with gzip.GzipFile(fileobj=raw) as stream:
                sample = _decompress(path, stream, _SAMPLE_BYTES)
        else:
            sample = raw.read(_SAMPLE_BYTES)
        share_read = raw.tell() / max(path.stat().st_size, 1)
    return round(sample.count(b"\n") / max(share_read, 1e-9)) + 1


def line_of(path: Path, row: int, keys: CsvKeys = USUAL) -> int:
    """The line number, as an editor counts from 1, on which data row `row` (from 0) ends."""
    for number, (line, _) in enumerate(_rows(path, format_of(path, keys)), start=-1):
        if number == row:
            return line
    raise ValueError(f"{path} has no row {row}")


def cells_of(path: Path, row: int, keys: CsvKeys = USUAL) -> dict[str, str]:
    """The text of each cell of a row by its column, exactly as it is in the file."""
    rows = _rows(path, format_of(path, keys))
    _, header = next(rows)
    for number, (_, cells) in enumerate(rows):
        if number == row:
            return dict(zip(header, cells, strict=True))
    raise ValueError(f"{path} has no row {row}")


def refuse_swallowed_lines(path: Path, keys: CsvKeys = USUAL) -> None:
    """Raise `InputError` if a cell of the file holds whole lines of the table."""
    form = format_of(path, keys)
    rows = _rows(path, form)
    above, header = next(rows)
    for line, cells in rows:
        if (
            error := swallowed_by(path, above + 1, line, cells=cells, header=header, separator=form.separator)
        ) is not None:
            raise error
        above = line


def padded(texts: Collection[str]) -> list[str]:
    """The texts of `missing`, each without and with a blank before it, after it, or on both sides."""
    return [form for text in texts for form in (text, f" {text}", f"{text} ", f" {text} ")]


def explain(
    path: Path,
    numbers: Collection[str],
    static: Collection[str],
    *,
    detail: str,
    keys: CsvKeys = USUAL,
    missing: Collection[str] = (),
) -> InputError:
    """The error message for the first invalid line or cell of the file; `detail` if none is found."""
    form = format_of(path, keys)
    sign = "comma" if form.decimal == "," else "point"
    empty = {*MISSING, *padded(missing)}
    rows = _rows(path, form)
    _, header = next(rows)
    if next(_rows(path, form), None) is not None and next(rows, None) is None:
        return InputError(f"{path}: the file has a header but no row below it; it needs at least one.")
    rows = _rows(path, form)
    above, _ = next(rows)
    number_columns = [(header.index(name), name) for name in numbers]
    try:
        for line, cells in rows:
            _refuse_bad_text(path, line, cells)
            if (
                error := swallowed_by(path, above + 1, line, cells=cells, header=header, separator=form.separator)
            ) is not None:
                return error
            above = line
            if len(cells) != len(header):
                if len(cells) > len(header):
                    refuse_lines_above_header(path, cells.__eq__, keys)
                return InputError(
                    f"{path}, line {line}: {plural(len(cells), 'column')}, the header has {len(header)}; look for a "
                    f"missing or an unquoted {form.separator!r}.{title_or_footnote(cells)}"
                )
            for place, name in number_columns:
                if cells[place] not in empty and not _NUMBER.fullmatch(_with_point(cells[place], form)):
                    others = _other_words(rows, [place for place, _ in number_columns], {*empty, cells[place]})
                    return InputError(
                        f"{path}, line {line}, column {name}: {cells[place]!r} is not a number. Write numbers with "
                        f"a decimal {sign} and no other sign, and leave the cell empty (or NA) if there is none."
                        f"{hint(cells[place], header, form)}{others}{CATEGORY * (name in static)}"
                    )
    except InputError as refused:
        return refused
    return InputError(f"{path}: the table cannot be read ({detail}); export it again as CSV in UTF-8.")


def _other_words(rows: Iterable[tuple[int, list[str]]], columns: Sequence[int], known: Collection[str]) -> str:
    """A sentence with the other texts without a digit in these columns of the rows; empty if there are none."""
    words = {
        cells[column]: None
        for _, cells in rows
        for column in columns
        if column < len(cells)
        and cells[column] not in known
        and not any(map(str.isdigit, cells[column]))
        and not _NUMBER.fullmatch(cells[column])
    }
    if not words:
        return ""
    listed = ", ".join(map(repr, [*words][:MOST_WORDS]))
    more = f" and {len(words) - MOST_WORDS} more" if len(words) > MOST_WORDS else ""
    return f" Other texts among the numbers: {listed}{more}."


def _with_point(cell: str, form: CsvFormat) -> str:
    """The cell with a decimal point, for `_NUMBER`. With the wrong decimal sign it no longer matches."""
    return cell if form.decimal == "." else cell.replace(".", "?").replace(",", ".")


def _rows(path: Path, form: CsvFormat) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of every line that is not blank, the header first."""
    with open_text(path, form) as text:
        reader = csv.reader(text, delimiter=form.separator)
        try:
            for cells in reader:
                if cells and not (form.sep_line and reader.line_num == 1):
                    yield reader.line_num, cells
        except (csv.Error, EOFError, OSError, zlib.error) as error:
            raise InputError(
                f"{path}: the text breaks off after line {reader.line_num} ({error}); fetch or export it again."
            ) from None


def _refuse_bad_text(path: Path, line: int, cells: list[str]) -> None:
    for text in cells:
        if not text.isascii() and (bad := next((c for c in text if "\ud800" <= c <= "\udfff"), None)):
            raise InputError(
                f"{path}, line {line}: the byte 0x{ord(bad) - 0xDC00:02x} in {text.encode('ascii', 'replace')!r} is "
                "not UTF-8; save the file as UTF-8, or name its `encoding` in a dataset card."
            )
