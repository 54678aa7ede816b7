"""Counts of what a reader dropped, averaged or assumed."""

from __future__ import annotations

from pipeline.table import Count


def counted(reason: str, rows: int, lost: bool = True) -> tuple[Count, ...]:
    """The count, or an empty tuple if it is zero. `lost` is that of `Count`."""
    return (Count(reason, rows, lost),) if rows else ()
