"""Read columns of CSV and Parquet files by name, in blocks. Series are stored as float32."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.card import place_key
from pipeline.errors import InputError
from pipeline.sources.files import csv_text
from pipeline.sources.files.arrow_numbers import numbers_of
from pipeline.sources.files.csv_batches import csv_batches
from pipeline.sources.files.csv_format import USUAL, CsvKeys
from pipeline.sources.files.left_out_rows import LeftOut
from pipeline.sources.files.memory_budget import Budget
from pipeline.sources.files.parquet_batches import BATCH_ROWS, open_parquet, parquet_batches
from pipeline.sources.files.stored_numbers import Marks, as_measured, count_marks, without_marks
from pipeline.sources.files.unnamed_columns import refuse_unnamed_columns
from pipeline.sources.files.wanted_columns import Keep, Wanted
from pipeline.sources.files.years_in_header import refuse_years_in_header
from pipeline.sources.names.place_names import normal_name, normal_names
from pipeline.sources.names.place_parts import joined_columns

_SHOWN = 8  # texts of a column in a message
Unread = Callable[[int], Mapping[str, str]]  # the texts of a row by their columns


def no_texts(row: int) -> Mapping[str, str]:
    """The unread texts of rows whose file is not known."""
    return {}


@dataclass(frozen=True)
class Text:
    """A text column: `names[codes]`, with code -1 for an empty cell. names [G], codes [R] int64."""

    names: NDArray[np.str_]
    codes: NDArray[np.int64]

    def strings(self) -> NDArray[np.str_]:
        """The text of each row [R]."""
        return self.names[self.codes]


@dataclass(frozen=True)
class Columns:
    """R rows of one or several files. measured [R,M] float32; `where(row)` returns file and line, for messages.

    marks     number of cells of each column with each number of `missing`
    file      [R] which of several files each row is in; None for rows of one file
    unread    returns the texts of a row in the columns that no number or name is taken from, for messages
    left_out  rows that `keep` left out, by column and text
    """

    text: Mapping[str, Text]
    exact: Mapping[str, NDArray[np.float64]]
    measured: NDArray[np.float32]
    where: Callable[[int], str]
    marks: Marks = field(default_factory=dict)
    file: NDArray[np.int32] | None = None
    unread: Unread = no_texts
    left_out: LeftOut = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.measured)

    def rows(self, chosen: NDArray[np.int64]) -> Columns:
        """The rows `chosen` [n], in this order."""
        return Columns(
            text={name: Text(text.names, text.codes[chosen]) for name, text in self.text.items()},
            exact={name: numbers[chosen] for name, numbers in self.exact.items()},
            measured=self.measured[chosen],
            where=lambda row: self.where(int(chosen[row])),
            marks=self.marks,
            file=None if self.file is None else self.file[chosen],
            unread=lambda row: self.unread(int(chosen[row])),
            left_out=self.left_out,
        )


def column_names(path: Path, keys: CsvKeys = USUAL) -> list[str]:
    """The column names of a CSV or Parquet file, without reading its rows."""
    if csv_text.is_csv(path):
        return csv_text.read_header(path, keys)
    return [str(name) for name in open_parquet(path).schema_arrow.names]


def require(path: Path, present: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise `InputError` if the file lacks a column or has it twice. The message names the nearest column."""
    absent = next((name for name in wanted if name not in present), None)
    if absent is not None:
        csv_text.refuse_lines_above_header(path, lambda cells: absent in cells)
        refuse_unnamed_columns(path, present)
        refuse_years_in_header(path, present)
    for name in wanted:
        count = present.count(name)
        if count == 1:
            continue
        if count > 1:
            raise InputError(f"{path}: column {name} occurs {count} times in the header; give each its own name.")
        near = get_close_matches(name, present, n=1, cutoff=0.5)
        hint = (
            f"did you mean {near[0] if near[0] == near[0].strip() else repr(near[0])}?"
            if near
            else f"it has {', '.join(present[:12])}"
        )
        more = "" if near or len(present) <= 12 else f" and {len(present) - 12} more"
        raise InputError(
            f"{path}: there is no column {name}; {hint}{more}. Correct the name in the file or the dataset card."
        )


def load_columns(files: Sequence[tuple[Path, Wanted]], budget: Budget) -> list[Columns]:
    """Read the wanted columns of every file. The budget is claimed for all files before the first is read.

    Raises `InputError` if a column is missing, a cell is invalid, or the memory does not suffice.
    """
    for path, wanted in files:
        require(path, column_names(path, wanted.keys), wanted.names)
        budget.claim(path, _row_count(path), wanted.bytes_per_row)
    return [_load(path, wanted) for path, wanted in files]


def joined(parts: Sequence[Columns]) -> Columns:
    """The rows of several files with the same columns, concatenated."""
    if len(parts) == 1:
        return parts[0]
    return Columns(
        text={name: merged([part.text[name] for part in parts]) for name in parts[0].text},
        exact={name: np.concatenate([part.exact[name] for part in parts]) for name in parts[0].exact},
        measured=np.concatenate([part.measured for part in parts]),
        where=joined_where(parts),
        unread=joined_unread(parts),
        marks=marks_of(parts),
        file=np.repeat(np.arange(len(parts), dtype=np.int32), [len(part) for part in parts]),
        left_out=left_out_of(parts),
    )


def marks_of(parts: Sequence[Columns]) -> Marks:
    """The number of cells of each column with each number of `missing` in all parts."""
    return dict(sum((Counter(part.marks) for part in parts), Counter[tuple[str, float]]()))


def left_out_of(parts: Sequence[Columns]) -> LeftOut:
    """The rows that `keep` left out of all parts, by column and text."""
    return dict(sum((Counter(part.left_out) for part in parts), Counter[tuple[str, str]]()))


def joined_where(parts: Sequence[Columns]) -> Callable[[int], str]:
    """A function that returns the file and line of a row of `joined(parts)`."""

    def where(row: int) -> str:
        part, own = _part_of(parts, row)
        return part.where(own)

    return where


def joined_unread(parts: Sequence[Columns]) -> Unread:
    """A function that returns the unread texts of a row of `joined(parts)`."""

    def unread(row: int) -> Mapping[str, str]:
        part, own = _part_of(parts, row)
        return part.unread(own)

    return unread


def _part_of(parts: Sequence[Columns], row: int) -> tuple[Columns, int]:
    """The part that holds a row of `joined(parts)`, and its position in that part."""
    ends = np.cumsum([len(part) for part in parts])
    part = int(np.searchsorted(ends, row, side="right"))
    return parts[part], row - int(ends[part]) + len(parts[part])


def merged(texts: Sequence[Text]) -> Text:
    """Several text columns, concatenated."""
    if len(texts) == 1 and not (texts[0].codes < 0).any():
        names, inverse = np.unique(texts[0].names, return_inverse=True)
        return Text(names, inverse[texts[0].codes])
    names, inverse = np.unique(np.concatenate([t.names for t in texts]), return_inverse=True)
    offsets = np.cumsum([0, *(len(t.names) for t in texts[:-1])])
    codes = [
        np.where(t.codes < 0, -1, np.append(inverse, 0)[np.maximum(t.codes, 0) + offset])
        for t, offset in zip(texts, offsets, strict=True)
    ]
    return Text(names, np.concatenate(codes))


def filled(text: Text) -> NDArray[np.str_]:
    """The text of each row [R]; empty for an empty cell."""
    return np.append(text.names, "")[text.codes]


def _load(path: Path, wanted: Wanted) -> Columns:
    def where(row: int) -> str:
        return f"{path}, {_row_name(path, row, wanted)}"

    texts: dict[str, list[Any]] = {name: [] for name in wanted.texts}
    exacts: dict[str, list[NDArray[np.float64]]] = {name: [] for name in wanted.exact}
    blocks: list[NDArray[np.float32]] = []
    marks: Counter[tuple[str, float]] = Counter()
    rows = 0
    for batch in _read_ahead(csv_batches(path, wanted) if csv_text.is_csv(path) else parquet_batches(path, wanted)):
        for name in wanted.texts:
            texts[name].append(batch.column(name).dictionary_encode())
        for name in wanted.exact:
            numbers = _finite(path, batch, name, rows, wanted)
            if name in wanted.yields:
                marks.update(count_marks(name, numbers, wanted.missing))
                numbers = without_marks(numbers, wanted.missing)
            elif name in wanted.static:
                marks.update(count_marks(name, numbers, wanted.missing))
            exacts[name].append(numbers)
        blocks.append(_measured_block(path, batch, wanted, rows, marks))
        rows += len(batch)
    if rows == 0:
        raise InputError(f"{path}: the file has a header but no row below it; it needs at least one.")
    text = {name: _encoded(chunks, name in wanted.places) for name, chunks in texts.items()}
    columns = Columns(
        text=with_joined_place(text, wanted.place),
        exact={name: np.concatenate(chunks) for name, chunks in exacts.items()},
        measured=np.concatenate(blocks),
        where=where,
        unread=lambda row: _unread_texts(path, row, wanted),
        marks=dict(marks),
    )
    return _kept(path, columns, wanted.keep) if wanted.keep else columns


def _kept(path: Path, columns: Columns, keep: Keep) -> Columns:
    """The rows that hold one of the texts of every column of `keep`. Raises `InputError` if there is none."""
    kept = np.ones(len(columns), bool)
    left_out: dict[tuple[str, str], int] = {}
    for name, texts in keep.items():
        text = columns.text[name]
        wanted = np.flatnonzero(np.isin(text.names, [normal_name(one) for one in texts]))
        fits = np.isin(text.codes, wanted)
        others, rows = np.unique(text.codes[kept & ~fits], return_counts=True)
        spelled = ["" if code < 0 else str(text.names[code]) for code in others.tolist()]
        left_out |= {(name, one): n for one, n in zip(spelled, rows.tolist(), strict=True)}
        kept &= fits
        if not kept.any():
            found = text.names[np.unique(text.codes[text.codes >= 0])].tolist()
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            raise InputError(
                f"{path}, column {name}: `keep` of the dataset card leaves no row; {' or '.join(map(repr, texts))} is "
                f"wanted, and the column holds {', '.join(map(repr, found[:_SHOWN]))}{more}. Correct `keep`, "
                "or leave the file out of `files`."
            )
    return replace(columns.rows(np.flatnonzero(kept)), left_out=left_out)


def _unread_texts(path: Path, row: int, wanted: Wanted) -> dict[str, str]:
    """The texts of a row in the columns that are not wanted, or only for `keep`, which may allow several texts."""
    used = {*wanted.text, *wanted.exact, *wanted.measured}
    if csv_text.is_csv(path):
        cells = csv_text.cells_of(path, row, wanted.keys)
        return {name: text for name, text in cells.items() if name not in used}
    names = [name for name in column_names(path) if name not in used]
    for batch in open_parquet(path).iter_batches(batch_size=BATCH_ROWS, columns=names):
        if row < len(batch):
            return {name: str(batch.column(name)[row].as_py() or "") for name in names}
        row -= len(batch)
    raise ValueError(f"{path} has too few rows")


def _row_count(path: Path) -> int:
    if csv_text.is_csv(path):
        return csv_text.estimate_rows(path)
    return int(open_parquet(path).metadata.num_rows)


def _read_ahead(batches: Iterator[Any]) -> Iterator[Any]:
    """The same batches; a thread reads the next one while the caller works on this one."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        following = thread.submit(next, batches, None)
        while (batch := following.result()) is not None:
            following = thread.submit(next, batches, None)
            yield batch


def with_joined_place(text: Mapping[str, Text], place: Sequence[str]) -> Mapping[str, Text]:
    """The text columns, plus a joined one if several columns name the place."""
    if len(place) < 2:
        return text
    return {**text, place_key(place): Text(*joined_columns([(text[part].names, text[part].codes) for part in place]))}


def _row_name(path: Path, row: int, wanted: Wanted) -> str:
    return f"line {csv_text.line_of(path, row, wanted.keys)}" if csv_text.is_csv(path) else f"row {row + 1}"


def _measured_block(
    path: Path, batch: Any, wanted: Wanted, first_row: int, marks: Counter[tuple[str, float]]
) -> NDArray[np.float32]:
    block = np.empty((len(batch), len(wanted.measured)), np.float32)
    for m, (name, scale) in enumerate(zip(wanted.measured, wanted.scale, strict=True)):
        numbers = _finite(path, batch, name, first_row, wanted)
        marks.update(count_marks(name, numbers, wanted.marks_of(m)))
        block[:, m] = as_measured(numbers, wanted.marks_of(m), scale)
        if np.isinf(block[:, m]).any():
            row = first_row + int(np.argmax(np.isinf(block[:, m])))
            raise _infinite(path, row, name, wanted)
    return block


def _finite(path: Path, batch: Any, name: str, first_row: int, wanted: Wanted) -> NDArray[np.float64]:
    numbers: NDArray[np.float64] = numbers_of(batch.column(name), np.nan)
    infinite = np.isinf(numbers)
    if infinite.any():
        raise _infinite(path, first_row + int(np.argmax(infinite)), name, wanted)
    return numbers


def _infinite(path: Path, row: int, name: str, wanted: Wanted) -> InputError:
    value = f"{csv_text.cells_of(path, row, wanted.keys)[name]!r}" if csv_text.is_csv(path) else "the value"
    return InputError(
        f"{path}, {_row_name(path, row, wanted)}, column {name}: {value} is infinite, or too large for a float32 "
        "(3.4e38). Leave the cell empty (or NA) if nothing was measured."
    )


def _encoded(chunks: Sequence[Any], na_is_a_name: bool) -> Text:
    """Convert dictionary-encoded Arrow text to normal names and codes."""
    encoded = pa.chunked_array(chunks).unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    names, position = normal_names(np.array(encoded.dictionary.to_pylist(), dtype=np.str_))
    empty = np.isin(names, csv_text.MISSING_NAMES if na_is_a_name else csv_text.MISSING)
    # The last entry is that of a null, whose code is -1.
    return Text(names, np.append(np.where(empty[position], -1, position), -1)[numbers_of(encoded.indices, -1)])
