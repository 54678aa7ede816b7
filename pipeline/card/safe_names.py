"""Texts that are safe as file names and in tables: without path separators and control characters."""

from __future__ import annotations

import unicodedata

LONGEST_NAME = 60


def safe_name(text: str) -> str:
    """The name of a table from that of a file or folder. It is used in run folders, so it must not contain a path."""
    composed = unicodedata.normalize("NFC", text)
    safe = "".join(c if _may_stand_in_a_name(c) else "-" for c in composed).lstrip(". ")
    return safe[:LONGEST_NAME] or "table"


def _may_stand_in_a_name(character: str) -> bool:
    """Whether it is a letter, mark or digit of any script, or a sign without meaning to shells and file systems."""
    return unicodedata.category(character)[0] in "LMN" or character in " _.+-"


def control_character(text: str) -> str | None:
    """The first character that would break the lines or columns of a table with this text, or None."""
    if text.isprintable():
        return None
    return next((c for c in text if unicodedata.category(c) in ("Cc", "Zl", "Zp")), None)
