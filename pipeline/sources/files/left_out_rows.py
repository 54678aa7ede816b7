"""Count the rows that `keep` of a card leaves out, and report texts that are nearly those that it keeps."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.findings import Finding
from pipeline.sources.files.wanted_columns import Keep
from pipeline.sources.names.near_names import bare_letters
from pipeline.table import Count

LeftOut = Mapping[tuple[str, str], int]  # (column of `keep`, text) -> rows
SHOWN = 3  # texts of a column


def left_out_by_keep(
    left_out: LeftOut, keep: Keep, files: Sequence[Path]
) -> tuple[tuple[Count, ...], tuple[Finding, ...]]:
    """A count for each column of `keep` that left out rows of `files`, and findings about texts like those kept."""
    where = files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more"
    columns = dict.fromkeys(column for column, _ in left_out)
    counts = [_count(column, _texts(left_out, column), where) for column in columns]
    return tuple(counts), tuple(
        finding for column in columns for finding in _alike(column, _texts(left_out, column), keep[column], where)
    )


def _texts(left_out: LeftOut, column: str) -> Counter[str]:
    """The rows with each text of a column."""
    return Counter({text: rows for (one, text), rows in left_out.items() if one == column})


def _count(column: str, texts: Counter[str], where: str) -> Count:
    shown = [f"{text!r} ({rows:,})" if text else f"empty ({rows:,})" for text, rows in texts.most_common(SHOWN)]
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return Count(f"row of {where} left out by `keep`: {column} is {', '.join(shown)}{more}", sum(texts.values()))


def _alike(column: str, texts: Counter[str], kept: Sequence[str], where: str) -> Iterator[Finding]:
    """A warning for each text that differs from one of `kept` only in capitals, accents or punctuation."""
    for text, rows in texts.items():
        near = next((one for one in kept if bare_letters(one) == bare_letters(text) != ""), None)
        if near is not None:
            sentence = (
                f"`keep` leaves out {rows:,} row{'s' * (rows != 1)} of {where} whose {column} is {text!r}, which "
                f"differs from {near!r} only in capitals, accents or punctuation. If both are one, keep both."
            )
            both = json.dumps([*kept, text], ensure_ascii=False)
            yield Finding("warning", sentence, f"keep = {{ {json.dumps(column, ensure_ascii=False)} = {both} }}")
