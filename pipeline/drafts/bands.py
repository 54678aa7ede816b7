"""Columns of a wide table that differ in one number: the steps of a variate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

LEAST_STEPS = 3  # columns that differ in one number make a band


@dataclass(frozen=True)
class Band:
    """Columns that differ in one number: steps of one variate. pattern has `{step}` for it."""

    name: str
    pattern: str
    steps: tuple[int, ...]
    columns: tuple[str, ...]


def bands_of(names: Sequence[str]) -> tuple[Band, ...]:
    """Groups of names that differ in one whole number and count on without a gap."""
    groups: dict[str, dict[int, str]] = {}
    for name in names:
        for match in re.finditer(r"\d+", name):
            pattern = f"{name[: match.start()]}{{step}}{name[match.end() :]}"
            groups.setdefault(pattern, {})[int(match[0])] = name
    found: list[Band] = []
    taken: set[str] = set()
    for pattern, steps in sorted(groups.items(), key=lambda group: -len(group[1])):
        numbers = sorted(steps)
        runs = numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        if len(steps) >= LEAST_STEPS and numbers[0] in (0, 1) and runs and not taken & {*steps.values()}:
            columns = tuple(steps[number] for number in numbers)
            name = re.sub(r"([_\- .])[_\- .]+", r"\1", pattern.replace("{step}", "")).strip("_- .") or "value"
            found.append(Band(name, pattern, tuple(numbers), columns))
            taken |= {*columns}
    return tuple(sorted(found, key=lambda band: names.index(band.columns[0])))
