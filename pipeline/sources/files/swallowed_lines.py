"""Reject CSV files in which an unbalanced quotation mark turns many lines into the text of one cell.

Lines are counted while the file is read. It is searched for such a cell only if it holds more lines than rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.plural import plural

_BLOCK_BYTES = 1 << 23
_BREAK = re.compile(r"\r\n|\r|\n")


class LineCounter:
    """A stream of bytes that counts its line breaks from the first block with a quotation mark on.

    Most files have none, and a search for one mark is several times as fast as a count of all line breaks.
    """

    def __init__(self, opened: Callable[[], Any]) -> None:
        self._opened, self._stream = opened, opened()
        self._quoted, self._before, self._lines = False, 0, 0
        self.closed = False

    def read(self, size: int) -> Any:
        """The next bytes, as a buffer."""
        block = self._stream.read_buffer(size)
        self._quoted = self._quoted or bool(_bytes_equal(block, '"').any())
        if self._quoted:
            self._lines += _breaks(block)
        else:
            self._before += len(block)
        return block

    def lines(self) -> int:
        """The number of lines of the whole stream, once it is read; 0 if it has no quotation mark."""
        if not self._quoted:
            return 0
        lines, stream, left = self._lines, self._opened(), self._before
        while left and len(block := stream.read_buffer(min(left, _BLOCK_BYTES))):
            lines, left = lines + _breaks(block), left - len(block)
        return lines


def _breaks(block: Any) -> int:
    return int(np.count_nonzero(_bytes_equal(block, "\n")))


def _bytes_equal(block: Any, character: str) -> NDArray[np.bool_]:
    equal: NDArray[np.bool_] = np.frombuffer(block, np.uint8) == ord(character)
    return equal


def swallowed_by(
    path: Path, first: int, last: int, *, cells: list[str], header: list[str], separator: str
) -> InputError | None:
    """The error about a cell that holds whole lines of the table, as a remark of several lines does not.

    first, last: the lines on which the row of `cells` begins and ends
    """
    for place, cell in enumerate(cells):
        _, *more = _BREAK.split(cell)
        if not more or max(line.count(separator) for line in more) < len(header) - 1:
            continue
        named = f", column {header[place]}" if place < len(header) else ""
        return InputError(
            f"{path}, line {first}{named}: a quotation mark begins a cell that ends on line {last}, so "
            f"{plural(last - first, 'line')} below it would be read as its text. Remove the quotation marks that "
            "enclose no cell, or write each of them twice within a quoted cell."
        )
    return None
