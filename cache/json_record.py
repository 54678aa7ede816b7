"""JSON records of the cache, parsed as bytes of unknown origin."""

from __future__ import annotations

import json
from typing import Any

FORMAT = 1  # of the files of a cache; any other number is an error, older or newer


class OtherFormat(ValueError):
    """A valid record of another version of this program. It is not damaged, and must not be changed."""


def parse_record(data: str | bytes) -> dict[str, Any]:
    """Parse a JSON object. Raises ValueError for anything else."""
    try:
        record = json.loads(data)
    except RecursionError as error:  # endless brackets must not end in a stack trace
        raise ValueError("nested too deeply") from error
    if not isinstance(record, dict):
        raise ValueError("not an object")
    return record


def parse_versioned(data: str | bytes) -> dict[str, Any]:
    """Parse a record with a format number. Raises OtherFormat if it is another version's number."""
    record = parse_record(data)
    version = record.get("format")
    if type(version) is int and version != FORMAT:
        raise OtherFormat(f"format {version}, this program reads {FORMAT}")
    if version != FORMAT:
        raise ValueError(f"format {version}, this program reads {FORMAT}")
    return record
