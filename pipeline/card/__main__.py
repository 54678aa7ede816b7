"""Write the reference of the dataset card into docs/card.md, from the model that checks cards.

    python -m pipeline.card

The tables replace everything between the two marks in the file. Each row has the text below the key in
`pipeline/card/sections.py` or `dataset_card.py`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo

from pipeline.card.dataset_card import DatasetCard
from pipeline.card.sections import (
    CalendarCard,
    DriverCard,
    ExcludeCard,
    HistoryCard,
    RadiometryCard,
    Section,
    SourceCard,
    TargetCard,
    VariateCard,
)
from pipeline.card.values import Files, Finite, Keep, MonthDay, PlaceColumns, PlaceParts, Positive, StepLength, Year
from pipeline.errors import InputError
from pipeline.flag_table import documentation
from pipeline.parser import parse_flags
from pipeline.program import run_program

BEGIN, END = "<!-- made by `python -m pipeline.card`; do not edit -->", "<!-- end of what is made -->"
SECTIONS: dict[str, type[Section]] = {
    "Keys at the top": DatasetCard,
    "`[[variates]]`": VariateCard,
    "`[[drivers]]`": DriverCard,
    "`[target]`": TargetCard,
    "`[history]`": HistoryCard,
    "`[[exclude]]`": ExcludeCard,
    "`[radiometry]`": RadiometryCard,
    "`[[sources]]`": SourceCard,
    "`calendar` of a source": CalendarCard,
}
# What a value looks like in the card, by its type.
VALUES: list[tuple[Any, str]] = [
    (Files, "text or list"),
    (PlaceColumns, "text or list"),
    (PlaceParts, "text or list"),
    (Keep, "table of text or lists"),
    (StepLength, 'number, `"month"` or `"dekad"`'),
    (MonthDay, '`"MM-DD"`'),
    (Positive, "number above 0"),
    (Finite, "number"),
    (Year, "year"),
]


@dataclass(frozen=True)
class Arguments:
    """Write the reference of the card."""

    out: Path = Path("docs/card.md")
    """The Markdown file with the two marks."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_program("pipeline.card", lambda: write(parse_flags(Arguments, arguments, __doc__, "pipeline.card").out))


def write(path: Path) -> int:
    """Replace the reference in a Markdown file. Returns the exit code."""
    path.write_text(with_reference(path.read_text(), path))
    print(f"{path}: {len(SECTIONS)} tables")
    return 0


def with_reference(text: str, path: Path) -> str:
    """The text of a Markdown file with the reference of today's model. Raises InputError if a mark is missing."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise InputError(f"{path} needs the two marks of the reference once each: {BEGIN} and {END}.")
    return text.partition(BEGIN)[0] + f"{BEGIN}\n\n{reference()}\n{END}" + text.partition(END)[2]


def reference() -> str:
    """A Markdown table for each section of a card."""
    return "\n".join(line for title, section in SECTIONS.items() for line in table(title, section))


def table(title: str, section: type[Section]) -> Iterator[str]:
    """The lines of one table. A section that extends another one lists only its own keys."""
    texts, hints = documentation(section), get_type_hints(section, include_extras=True)
    (base,) = section.__bases__
    yield f"### {title}"
    yield ""
    if issubclass(base, Section) and base is not Section:
        (known,) = (name for name, one in SECTIONS.items() if one is base)
        yield f"All keys of {known}, and:"
        yield ""
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for name, field in section.model_fields.items():
        if name not in getattr(base, "model_fields", {}):
            yield f"| `{name}` | {value_of(hints[name])} | {default_of(field)} | {' '.join(texts[name].split())} |"
    yield ""


def value_of(hint: Any) -> str:
    """What a value of this type looks like in a card."""
    for known, text in VALUES:
        if hint == known:
            return text
    arguments = [one for one in get_args(hint) if one is not type(None)]
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(dict.fromkeys(value_of(one) for one in arguments))
    if get_origin(hint) is Literal:
        return ", ".join(quoted(one) for one in arguments if one != "sources")  # which `flattened` sets, not a card
    if get_origin(hint) is list:
        inner = arguments[0]
        return "tables" if isinstance(inner, type) and issubclass(inner, Section) else f"list of {value_of(inner)}"
    if isinstance(hint, type) and issubclass(hint, Section):
        return "table"
    if hint in (str, int, float, bool):
        return {str: "text", int: "whole number", float: "number", bool: "true or false"}[hint]
    return value_of(arguments[0])  # Annotated


def default_of(field: FieldInfo) -> str:
    """The default of a key, `required`, or nothing if the key may be left out."""
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if default is None or default in ("", [], {}):
        return ""
    return quoted(default[0] if isinstance(default, tuple) else default)


def quoted(value: str | float | bool) -> str:
    """A value as the card spells it, in a cell of a Markdown table."""
    text = f"{value:g}" if isinstance(value, float) else json.dumps(value)
    return f"`{text}`".replace("|", r"\|")


if __name__ == "__main__":
    sys.exit(main())
