"""JSON records of the cache, read as what they are: bytes of unknown origin."""

from __future__ import annotations

import json
from typing import Any

FORMAT = 1  # of the files of a cache; another number is refused, older or newer


class OtherFormat(ValueError):
    """A sound record of another version of this program: nothing is damaged, and nothing of it may be touched."""


def parse_record(data: str | bytes) -> dict[str, Any]:
    """The object that the bytes hold. Raises ValueError where they hold anything else."""
    try:
        record = json.loads(data)
    except RecursionError as error:  # brackets without end are no reason to end with a stack trace
        raise ValueError("nested too deeply") from error
    if not isinstance(record, dict):
        raise ValueError("not an object")
    return record


def parse_versioned(data: str | bytes) -> dict[str, Any]:
    """The same for records that carry the format. Raises OtherFormat where it is not this program's."""
    record = parse_record(data)
    found = record.get("format")
    if type(found) is int and found != FORMAT:
        raise OtherFormat(f"format {found}, this program reads {FORMAT}")
    if found != FORMAT:
        raise ValueError(f"format {found}, this program reads {FORMAT}")
    return record
