"""Texts that may name files and stand in tables: no path, no control character."""

from __future__ import annotations

import unicodedata

LONGEST_NAME = 60


def safe_name(text: str) -> str:
    """A file's or folder's name as a table's: run folders are called after it, so it must not lead elsewhere."""
    composed = unicodedata.normalize("NFC", text)
    kept = "".join(c if _may_stand_in_a_name(c) else "-" for c in composed).lstrip(". ")
    return kept[:LONGEST_NAME] or "table"


def _may_stand_in_a_name(character: str) -> bool:
    """Letters, their marks and digits of any script, and what no shell or file system takes for anything else."""
    return unicodedata.category(character)[0] in "LMN" or character in " _.+-"


def control_character(text: str) -> str | None:
    """The first character that breaks lines or columns of whatever the text is written into, or None."""
    if text.isprintable():
        return None
    return next((c for c in text if unicodedata.category(c) in ("Cc", "Zl", "Zp")), None)
