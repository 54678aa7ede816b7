"""Findings: oddities of a table that are reported, not rejected, each with a severity and a way to settle it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

# Training stops at an error. A warning may make results wrong. A note states what was assumed or counted. Readers raise
# `InputError` instead of reporting an error, so errors come from checks after reading, such as those of splits.
Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # the worst first


@dataclass(frozen=True)
class Finding:
    """One observation about a table. `card_line` is the line of the dataset card that settles it, or empty."""

    severity: Severity
    sentence: str
    card_line: str = ""


def missing_line(numbers: Sequence[float], variate: str = "") -> str:
    """The line of a card that names numbers as missing data, in the whole table or for one variate."""
    line = f"missing = [{', '.join(f'{number:.10g}' for number in numbers)}]"
    return f"{line} # among the keys of {variate}" if variate else line


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """Findings sorted by severity, the worst first. Findings of the same severity keep their order."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def describe_findings(findings: Iterable[Finding]) -> str:
    """One line per finding, the worst first; empty if there are none."""
    return "\n".join(_line(finding) for finding in by_severity(findings))


def _line(finding: Finding) -> str:
    settle = f" In the dataset card: {'; '.join(finding.card_line.splitlines())}" if finding.card_line else ""
    return f"{finding.severity}: {finding.sentence}{settle}"
