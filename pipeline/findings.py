"""What a reader noticed about a table and did not refuse: a sentence, how much it matters, and what settles it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["warning", "note"]  # a warning may make results wrong; a note states what was assumed or counted


@dataclass(frozen=True)
class Finding:
    """One observation about a table. `card_line` is the line of the dataset card that settles it; it may be empty."""

    severity: Severity
    sentence: str
    card_line: str = ""


def describe_findings(findings: Iterable[Finding]) -> str:
    """One line per finding, warnings first; empty if there are none."""
    ordered = sorted(findings, key=lambda finding: finding.severity != "warning")
    return "\n".join(_line(finding) for finding in ordered)


def _line(finding: Finding) -> str:
    settle = f" In the dataset card: {'; '.join(finding.card_line.splitlines())}" if finding.card_line else ""
    return f"{finding.severity}: {finding.sentence}{settle}"
