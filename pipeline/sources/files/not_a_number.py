"""Explain a text in a column of numbers: what it seems to be, and how to correct it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from pipeline.sources.files.csv_format import CsvFormat
from pipeline.units import TONNES_PER_HECTARE, spell_unit

_SEASON = re.compile(r"\s*((?:19|20)\d\d)\s*[-/–_]\s*((?:19|20)?\d\d)\s*")
_THOUSANDS = re.compile(r"\s*[+-]?\d{1,3}(?:([.,' \u00a0\u2009\u202f’])\d{3})+([.,]\d*)?\s*")
_MARKED = re.compile(r"\s*([+-]?\d+(?:[.,]\d+)?)\s*(\*+|[†‡§¹²³⁴⁵]|\(?[A-Za-z]{1,3}\)?|\[\w+\]|\(\d\))\s*")
_PERCENT = re.compile(r"\s*[+-]?\d+(?:[.,]\d+)?\s*%\s*")
_COMMA = re.compile(r"[\s\"']*([+-]?\d+,\d+)[\s\"']*")
_LIMIT = re.compile(r"\s*[<>≤≥]\s*=?\s*\d+(?:[.,]\d+)?\s*")
_SPREADSHEET = re.compile(r"\s*#(DIV/0!|N/A|REF!|VALUE!|NUM!|NAME\?|NULL!)\s*", re.IGNORECASE)
_PLAIN = re.compile(r"[+-]?\d+(?:[.,]\d+)?", re.ASCII)
_UNITS = (
    *(unit.casefold() for unit in TONNES_PER_HECTARE),
    *("bu/ac", "mm", "cm", "°c", "degc", "kelvin", "%", "kg", "ha", "tonnes", "mm/day", "mm/month", "m3/m3", "mj/m2"),
)
_MONTHS = (
    *("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec"),
    *("january", "february", "march", "april", "june", "july", "august", "september", "october", "november"),
    *("december", "mär", "mai", "okt", "dez", "ene", "abr", "ago", "dic", "fev", "avr", "juin"),
)


def hint(text: str, header: Sequence[str] = (), form: CsvFormat | None = None) -> str:
    """A sentence about a text that is not a number, with a blank in front; empty if nothing is known about it.

    header, form: the column names and the format of the CSV file that holds the text
    """
    if unseen := _unseen(text):
        return unseen
    if _SPREADSHEET.fullmatch(text):
        return f" It is an error of a spreadsheet: correct its formula, or empty the cell.{_leave_out(text)}"
    if text.isspace():
        blanks = "a blank" if len(text) == 1 else "blanks only"
        return f' It holds {blanks}: empty the cell, or name it in the dataset card: missing = ["{text}"].'
    if not any(character.isdigit() for character in text):
        return _of_words(text, header)
    if match := _SEASON.fullmatch(text):
        return (
            " It names two years, and only you know which one the season is called after: write the year of the "
            f"harvest alone, {match[1]} or {_later(int(match[1]), match[2])}."
        )
    if match := _THOUSANDS.fullmatch(text):
        return f" {_thousands(text.strip(), match[1], match[2])}{_decimal_commas(text, form)}"
    if _PERCENT.fullmatch(text):
        return " Write it without the sign, and `scale = 0.01` in the dataset card if it is a percentage."
    if _LIMIT.fullmatch(text):
        return f" It is a limit: write the number that it stands for, or empty the cell.{_leave_out(text)}"
    if match := _COMMA.fullmatch(text):
        return _decimal_commas(text, form) or f" If the comma is a decimal sign, write {match[1].replace(',', '.')}."
    if match := _MARKED.fullmatch(text):
        return (
            f" {match[2]!r} seems to be a footnote of {match[1]}, or its unit: remove it if the number holds, or empty "
            f"the cell if it does not.{_leave_out(text)}"
        )
    return ""


def _leave_out(text: str) -> str:
    return f' missing = ["{text.strip()}"] in the dataset card leaves such cells out.'


def _of_words(text: str, header: Sequence[str]) -> str:
    """The advice on a text without a digit: part of a header or of a line of units, a month, or missing data."""
    plain = text.strip().casefold()
    if plain in (name.strip().casefold() for name in header):
        return " It is the name of a column, so this line seems to repeat the header: remove the line."
    if spell_unit(plain.strip("()[]")).casefold() in _UNITS:
        return " It seems to be a unit: remove the line of units, and give units in the dataset card."
    if plain.strip(".") in _MONTHS:
        return " It seems to be a month: write months as whole numbers, 1 to 12."
    return f' If it stands for missing data, name it in the dataset card: missing = ["{text.strip()}"].'


def _unseen(text: str) -> str:
    """The advice on a number with characters that are not seen, such as a no-break space, or digits of other widths."""
    odd = [one for one in text if not one.isascii() and (one.isspace() or unicodedata.category(one) in ("Cf", "Nd"))]
    ascii_digits = (str(unicodedata.digit(one, "")) or unicodedata.normalize("NFKC", one) for one in text)
    rest = "".join(one for one in ascii_digits if unicodedata.category(one[0]) != "Cf").strip()
    if not odd or (rest and not _PLAIN.fullmatch(rest)):
        return ""
    name = f"U+{ord(odd[0]):04X} ({unicodedata.name(odd[0], 'no name').lower()})"
    return f" It holds the character {name}: {f'write {rest}' if rest else 'empty the cell'}."


def _decimal_commas(text: str, form: CsvFormat | None) -> str:
    """The advice on a number with one comma in a file that is read with decimal points, and could be with commas."""
    if form is None or form.separator == "," or form.decimal != "." or not _COMMA.fullmatch(text):
        return ""
    return ' If commas are the decimal sign of the whole file, set decimal = "," in a dataset card.'


def _later(first: int, written: str) -> int:
    """The second year of 1999/00, 2015/16 or 2015/2016."""
    if len(written) == 4:
        return int(written)
    year = first // 100 * 100 + int(written)
    return year if year >= first else year + 100


def _thousands(text: str, separator: str, decimals: str | None) -> str:
    """A number without its thousands separators. A single comma or point may also be a decimal sign."""
    plain = text.replace(separator, "")
    if separator in ",." and text.count(separator) == 1 and decimals is None:
        return f"It may be {plain} with a separator of thousands, or {text.replace(',', '.')}: write which one it is."
    return f"{separator!r} seems to separate thousands: write {plain} instead."
