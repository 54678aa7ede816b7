"""A finding about marks of missing data that the card names but no file contains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.findings import Finding


def unmatched_marks(found: Mapping[float, int], missing: Sequence[float]) -> tuple[Finding, ...]:
    """A finding if a number of `missing` was found in no series, yield or static column.

    found: how often each was
    """
    unmatched = [f"{mark:g}" for mark in missing if not found.get(mark)]
    if not unmatched:
        return ()
    sentence = (
        f"`missing` names {', '.join(unmatched)}, and no cell of the table holds "
        f"{'it' if len(unmatched) == 1 else 'them'}. Give the numbers as they are stored, before any scale, or leave "
        "out what does not occur."
    )
    matched = [f"{mark:g}" for mark in missing if found.get(mark)]
    return (Finding("warning", sentence, f"missing = [{', '.join(matched)}]"),)
