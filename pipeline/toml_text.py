"""Texts and lists of a drafted card, written in TOML."""

from __future__ import annotations

import json
from collections.abc import Sequence


def quoted(text: str) -> str:
    """A text of a card, in quotation marks."""
    return json.dumps(text, ensure_ascii=False)


def quoted_list(texts: Sequence[str]) -> str:
    """A list of texts."""
    return f"[{', '.join(quoted(text) for text in texts)}]"
