"""Report numbered steps whose column, or whose number in a year, contradicts the length of a step, `step_days`."""

from __future__ import annotations

import re

from pipeline.card import DatasetCard, SourceCard, StepDays
from pipeline.findings import Finding
from pipeline.sources.times.calendar import USUAL_STEPS, Calendar, likely_meaning

# The numbers of steps that are a year of another length far more often than a season of ten-day steps.
YEARS_OF_STEPS = (12, 23, 24, 26, 46, 52)
_WORDS: dict[StepDays, frozenset[str]] = {
    "month": frozenset(("month", "months", "monat", "monate", "mes", "mês", "meses", "mois", "mese", "mesi", "maand")),
    "dekad": frozenset(("dekad", "dekads", "dekade", "dekaden", "decad", "decade", "década", "decada")),
    7: frozenset(("week", "weeks", "isoweek", "woche", "wochen", "kw", "semana", "semaine", "settimana")),
}
_FEWEST_AND_MOST_DAYS: dict[StepDays, tuple[float, float]] = {"month": (28, 31), "dekad": (9, 11), 7: (7, 8)}
_MOST_STEPS: dict[StepDays, int] = {"month": 12, "dekad": 37, 7: 53}  # in a year; higher numbers are no such steps
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def length_in_name(name: str) -> StepDays | None:
    """The length of a step by a column's name, such as "month" of `month` and 7 of `iso_week`; None if it has none."""
    words = {*re.findall(r"[^\W\d_]+", _CAMEL.sub("_", name).lower())}
    return next((length for length, known in _WORDS.items() if words & known), None)


def step_length_findings(
    card: DatasetCard, found: int, column: str | None, source: SourceCard | None = None
) -> tuple[Finding, ...]:
    """A finding if `found` numbered steps are probably longer or shorter than the card says.

    column   of the step; None in a wide table
    source   the source of a card with several, whose own `step_days` goes before that of the card
    """
    written = "step_days" in card.model_fields_set
    step_days = card.step_days
    if source is not None and source.step_days is not None:
        written, step_days = True, source.step_days
    days = Calendar(step_days).days
    of_file = f" of {source.label}" if source is not None else ""
    named = length_in_name(column) if column else None
    if named is not None and found <= _MOST_STEPS[named] and not _is_near(named, days):
        what = {"month": "months", "dekad": "dekads", 7: "weeks"}[named]
        sentence = (
            f"By its name, column {column}{of_file} numbers {what}, but `step_days` is {_written(step_days)}"
            f"{'' if written else ', as the card does not give it'}. Step {found} is read as the days "
            f"{(found - 1) * days + 1:.0f} to {found * days:.0f} from the first day of step 1."
        )
        return (Finding("warning", sentence, _line(named, source)),)
    if written or found not in YEARS_OF_STEPS or USUAL_STEPS[found] == step_days:
        return ()
    sentence = (
        f"The card does not give `step_days`, so the {found} steps{of_file} count {days:g} days each and are "
        f"{found * days:g} days{likely_meaning(found)}. If a step is {days:g} days, write step_days = {days:g}."
    )
    return (Finding("warning", sentence, _line(USUAL_STEPS[found], source)),)


def _is_near(named: StepDays, days: float) -> bool:
    fewest, most = _FEWEST_AND_MOST_DAYS[named]
    return fewest <= days <= most


def _written(step_days: object) -> str:
    return f'"{step_days}"' if isinstance(step_days, str) else f"{step_days:g}"


def _line(step_days: object, source: SourceCard | None) -> str:
    line = f"step_days = {_written(step_days)}"
    return line if source is None else f"[[sources]]\n{line}"
