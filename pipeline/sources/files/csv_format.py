"""The form of CSV files: separator, decimal sign and encoding, as the card states them or as the file shows them.

A form is inferred from the file only if it is unambiguous, and it is reported. The usual form, comma-separated UTF-8
with decimal points, is not reported.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import zlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pipeline.errors import InputError

SEPARATORS = (",", ";", "\t", "|")
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SAMPLE_BYTES = 1 << 20
_SAMPLE_LINES = 1000
_SEP_LINE = re.compile(r'\s*"?sep=(.)"?\s*', re.IGNORECASE)
_POINT, _COMMA = re.compile(r"\s*[+-]?\d+\.\d+\s*"), re.compile(r"\s*[+-]?\d*,\d+([eE][+-]?\d+)?\s*")
_THOUSANDS = re.compile(r"\s*[+-]?[1-9]\d{0,2}(,\d{3})+\s*")
# A number as others write thousands: 1.051 is 1051 in much of Europe and South America.
_POINTS = re.compile(r"\s*[+-]?[1-9]\d{0,2}(\.\d{3})+\s*")
_WHOLE = re.compile(r"\s*[+-]?\d+\s*")
_NEXT = 10.0  # ratio of the least number with a point, read as thousands, to the largest whole number beside it
_LATIN = "cp1252"  # Latin-1 as Windows writes it


@dataclass(frozen=True)
class CsvKeys:
    """The form of CSV files that a card states; None for what it leaves open."""

    separator: str | None = None
    decimal: str | None = None
    encoding: str | None = None


@dataclass(frozen=True)
class CsvFormat:
    """How to read one file.

    sep_line  its first line is Excel's `sep=;`, and the header follows
    unclear   columns whose points may separate thousands -> such a number and a whole number beside it
    """

    separator: str = ","
    decimal: str = "."
    encoding: str = "utf-8"
    sep_line: bool = False
    unclear: tuple[tuple[str, str, str], ...] = ()

    @property
    def codec(self) -> str:
        """The encoding for Python's decoder, which must skip a byte order mark."""
        return "utf-8-sig" if self.encoding == "utf-8" else self.encoding


USUAL = CsvKeys()


def format_of(path: Path, keys: CsvKeys = USUAL) -> CsvFormat:
    """The format of a file. Raises `InputError` if it is ambiguous and no key decides."""
    stat = path.stat()
    return _format_of(path, keys, stat.st_mtime_ns, stat.st_size)


def refuse_unclear_points(path: Path, form: CsvFormat, names: Collection[str]) -> None:
    """Raise `InputError` if points in one of these columns may separate thousands."""
    for name, pointed, whole in form.unclear:
        if name in names:
            raise InputError(
                f"{path}, column {name}: {pointed!r} may be a decimal number or thousands, as it stands beside whole "
                f'numbers such as {whole!r}. For decimal numbers set decimal = "." in a dataset card; for thousands '
                "write the numbers without points."
            )


def format_notes(files: Iterable[Path], keys: CsvKeys) -> tuple[str, ...]:
    """Sentences on the forms that were inferred from CSV files, one for all files of the same form."""
    assumed: dict[str, list[str]] = {}
    for path in files:
        if path.name.lower().endswith((".csv", ".csv.gz")) and (form := _assumed(format_of(path, keys), keys)):
            assumed.setdefault(form, []).append(path.name)
    return tuple(
        f"{_some(names)}: read {form}. If that is wrong, set `separator`, `decimal` or `encoding` in a dataset card"
        for form, names in assumed.items()
    )


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more files"


def _assumed(found: CsvFormat, keys: CsvKeys) -> str:
    form = []
    if keys.separator is None and found.separator != ",":
        form.append(f"with {_NAMES.get(found.separator, repr(found.separator))} between columns")
    if keys.decimal is None and found.decimal != ".":
        form.append("with decimal commas")
    if keys.encoding is None and found.encoding != "utf-8":
        name = "Windows-1252 (Latin-1)" if found.encoding == _LATIN else found.encoding.upper()
        form.append(f"as {name} text")
    return ", ".join(form)


@lru_cache(maxsize=512)
def _format_of(path: Path, keys: CsvKeys, modified: int, size: int) -> CsvFormat:
    raw = _first_bytes(path)
    encoding = keys.encoding or _by_mark(raw)
    text, encoding = _decoded(path, raw, encoding)
    lines = text.splitlines()[:_SAMPLE_LINES]
    named = _SEP_LINE.fullmatch(lines[0]) if lines else None
    body = lines[1:] if named else lines
    separator = keys.separator or (named[1] if named else _separator(path, body))
    if encoding is None:
        # Excel uses semicolons together with Windows-1252. Any other text must be UTF-8, or its encoding be named.
        encoding = _LATIN if separator == ";" and not _is_utf8(raw) else "utf-8"
    rows = list(_parsed(body, separator))
    decimal = keys.decimal or (_decimal(path, rows[1:]) if separator != "," else ".")
    if decimal == separator:
        raise InputError(
            f"{path}: `separator` and `decimal` are both {separator!r}; numbers and columns could not be separated."
        )
    unclear = _unclear_points(rows) if keys.decimal is None and separator != "," and decimal == "." else ()
    return CsvFormat(separator, decimal, encoding, named is not None, unclear)


def _first_bytes(path: Path) -> bytes:
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            return file.read(_SAMPLE_BYTES)
    except (OSError, EOFError, zlib.error):  # the reader reports damaged files
        return b""


def _by_mark(raw: bytes) -> str | None:
    """The encoding that a byte order mark names."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8" if raw.startswith(codecs.BOM_UTF8) else None


def _decoded(path: Path, raw: bytes, encoding: str | None) -> tuple[str, str | None]:
    if encoding is None or encoding == "utf-8":
        return raw.decode("utf-8-sig", errors="surrogateescape"), encoding
    cut = len(raw) // 4 * 4 if len(raw) == _SAMPLE_BYTES else len(raw)
    try:
        return codecs.getincrementaldecoder(encoding)().decode(raw[:cut]), encoding
    except UnicodeError as error:
        raise InputError(
            f"{path}: the text is not {encoding} ({error}); correct `encoding` in the dataset card."
        ) from None


def _is_utf8(raw: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(raw)
    except UnicodeError:
        return False
    return True


def _parsed(lines: Sequence[str], separator: str) -> Iterable[list[str]]:
    try:
        yield from (cells for cells in csv.reader(lines, delimiter=separator) if cells)
    except csv.Error:  # the reader reports the line
        return


def _separator(path: Path, lines: Sequence[str]) -> str:
    """The separator that splits all lines into the same number of columns (two or more); a comma if none does.

    Raises `InputError` if several do equally well.
    """
    fitting = {}
    for separator in SEPARATORS:
        widths = {len(cells) for cells in _parsed(lines[:-1] if len(lines) == _SAMPLE_LINES else lines, separator)}
        if len(widths) == 1 and (width := widths.pop()) > 1:
            fitting[separator] = width
    if len(fitting) == 1:
        return next(iter(fitting))
    if not fitting:
        return _by_header(lines)
    most = max(fitting, key=lambda one: fitting[one])
    if most == "," or list(fitting.values()).count(fitting[most]) == 1:
        return most
    names = " or ".join(_NAMES[one] for one in fitting)
    raise InputError(
        f'{path}: the columns may be separated by {names}. State which in a dataset card, as in separator = "{most}".'
    )


def _by_header(lines: Sequence[str]) -> str:
    """The separator if rows differ in length: a comma, unless the header has only one other separator."""
    header = next((line for line in lines if line.strip()), "")
    widths = {one: len(next(iter(_parsed([header], one)), [])) for one in SEPARATORS}
    others = [one for one in SEPARATORS[1:] if widths[one] > 1]
    return others[0] if widths[","] <= 1 and len(others) == 1 else ","


def _decimal(path: Path, rows: Sequence[Sequence[str]]) -> str:
    """The decimal sign of the numbers below the header.

    Raises `InputError` if both signs occur, or if all numbers with commas look like 1,234.
    """
    cells = [cell for row in rows for cell in row]
    comma = next((cell for cell in cells if _COMMA.fullmatch(cell)), None)
    point = next((cell for cell in cells if _POINT.fullmatch(cell)), None)
    if comma is None:
        return "."
    if point is not None:
        raise InputError(
            f"{path}: {comma.strip()!r} and {point.strip()!r} are both in the table, so its decimal sign is not clear. "
            'State it in a dataset card, decimal = "," or decimal = ".", or write all numbers in the same way.'
        )
    if all(_THOUSANDS.fullmatch(cell) for cell in cells if _COMMA.fullmatch(cell)):
        raise InputError(
            f"{path}: {comma.strip()!r} may be a decimal number or thousands. For decimal numbers set decimal = "
            '"," in a dataset card; for thousands write the numbers without commas.'
        )
    return ","


def _unclear_points(rows: Sequence[Sequence[str]]) -> tuple[tuple[str, str, str], ...]:
    """Columns in which all numbers with a point look like 1.051, and others are whole, as 989 is.

    Numbers that would lie far above the whole ones if their points separated thousands are decimal numbers.
    """
    found = []
    for name, *cells in zip(*rows, strict=False):
        pointed = [cell for cell in cells if _POINT.fullmatch(cell)]
        whole = max((cell for cell in cells if _WHOLE.fullmatch(cell)), key=lambda cell: abs(int(cell)), default=None)
        if not pointed or whole is None or not all(_POINTS.fullmatch(cell) for cell in pointed):
            continue
        if min(abs(int(cell.replace(".", ""))) for cell in pointed) <= _NEXT * abs(int(whole)):
            found.append((name, pointed[0].strip(), whole.strip()))
    return tuple(found)
