"""What was noticed about a table and not refused: a sentence, how much it matters, and what settles it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

# Training will stop at an error; a warning may make results wrong; a note states what was assumed or counted. Readers
# raise `InputError` instead of reporting an error, so errors come from what is checked after reading, such as splits.
Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # the worst first


@dataclass(frozen=True)
class Finding:
    """One observation about a table. `card_line` is the line of the dataset card that settles it; it may be empty."""

    severity: Severity
    sentence: str
    card_line: str = ""


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first; findings of one severity keep their order."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def describe_findings(findings: Iterable[Finding]) -> str:
    """One line per finding, the worst first; empty if there are none."""
    return "\n".join(_line(finding) for finding in by_severity(findings))


def _line(finding: Finding) -> str:
    settle = f" In the dataset card: {'; '.join(finding.card_line.splitlines())}" if finding.card_line else ""
    return f"{finding.severity}: {finding.sentence}{settle}"
