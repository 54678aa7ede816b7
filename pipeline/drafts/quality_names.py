"""Columns that are called a quality flag, a count of pixels or a spread, as satellite exports put beside a mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
OF_QUALITY = (
    "By its name it is a quality flag, a count of pixels or a spread, no measurement of the crop. If it is one, add it "
    "under [[variates]]"
)
_QUALITY = re.compile(
    r"(?<![a-z])(?:qa\d*|qc|quality|reliability|flags?|mask|scl|msk|clouds?|cloudy|cldprb|shadow|usefulness|detailedqa"
    r"|summaryqa|counts?|n_?obs|n_?valid|valid|n_?pix(?:els?)?|pixels?|std|std_?dev|st_?dev|sd|variance|cv)(?![a-z])"
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def is_called_quality(name: str) -> bool:
    """Whether the name says how a number was measured, as `QA60`, `NDVI_count` and `NDVI_stdDev` do."""
    return _QUALITY.search(_CAMEL.sub("_", name).lower()) is not None


def without_quality(found: Sequence[T], name_of: Callable[[T], str]) -> tuple[tuple[T, ...], tuple[T, ...]]:
    """Those that measure the crop, and those that say how it was measured. If all say so, all are kept."""
    quality = tuple(one for one in found if is_called_quality(name_of(one)))
    measured = tuple(one for one in found if one not in quality)
    return (measured, quality) if measured else (tuple(found), ())
