"""Counts of what a reader dropped, averaged or assumed."""

from __future__ import annotations

from pipeline.table import Count


def counted(reason: str, rows: int) -> tuple[Count, ...]:
    """The count, or an empty tuple if it is zero."""
    return (Count(reason, rows),) if rows else ()
