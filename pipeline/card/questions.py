"""Questions that a drafted card still asks."""

from __future__ import annotations

from pathlib import Path

from pipeline.findings import Finding
from pipeline.plural import plural

ASK = "QUESTION: "  # begins a question in a comment of a drafted card


def open_questions(path: Path) -> tuple[Finding, ...]:
    """A warning that counts the questions of a card, if it has any. A card that is no file has none."""
    asked = path.read_text(encoding="utf-8").count(ASK) if path.is_file() else 0
    if not asked:
        return ()
    sentence = (
        f"{path.name} still has {plural(asked, 'question')}. Until you answer them, columns, units and ranges may be "
        "guesses. Search for QUESTION, correct the line, and delete the question."
    )
    return (Finding("warning", sentence),)
