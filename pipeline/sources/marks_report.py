"""What is said about the marks of missing data that a card names and no file holds."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.findings import Finding
from pipeline.sources.columns import Columns, marks_of


def unmatched_marks(parts: Sequence[Columns], missing: Sequence[float]) -> tuple[Finding, ...]:
    """A finding if a number of `missing` was found in no series, yield or static column."""
    found = marks_of(parts)
    unmatched = [f"{mark:g}" for mark in missing if not found.get(mark)]
    if not unmatched:
        return ()
    sentence = (
        f"`missing` names {', '.join(unmatched)}, and no cell of the table holds "
        f"{'it' if len(unmatched) == 1 else 'them'}. "
        "It names numbers as they are stored, before any scale."
    )
    return (Finding("warning", sentence, f"missing = [{', '.join(unmatched)}]"),)
