"""Numbers with their nouns, in the singular or the plural."""

from __future__ import annotations


def plural(n: int, what: str) -> str:
    """A number and its noun, as in "1 slab" or "1,200 slabs"."""
    return f"{n:,} {what}{'s' * (n != 1)}"
