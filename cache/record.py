"""JSON records of the cache, read as what they are: bytes of unknown origin."""

from __future__ import annotations

import json
from typing import Any


def parse_record(data: str | bytes) -> dict[str, Any]:
    """The object that the bytes hold. Raises ValueError where they hold anything else."""
    try:
        record = json.loads(data)
    except RecursionError as error:  # brackets without end are no reason to end with a stack trace
        raise ValueError("nested too deeply") from error
    if not isinstance(record, dict):
        raise ValueError("not an object")
    return record
