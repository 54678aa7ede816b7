"""Report times that look like local midnight stored as UTC, which may be the day before or after the local day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from pipeline.findings import Finding

NOON = 12 * 60
DAY = 24 * 60
QUARTER_HOUR = 15  # zones differ from UTC by whole quarters of an hour
NEAR = 1  # minutes from a quarter of an hour


def zones_of_texts(names: Sequence[str], column: str) -> tuple[Finding, ...]:
    """Findings about distinct dates as they are written. Texts that are not dates are skipped."""
    minutes = []
    for name in names:
        try:
            when = datetime.fromisoformat(name)
        except ValueError:
            continue
        minutes.append(when.hour * 60 + when.minute + when.second / 60)
    return _zone_finding(np.array(minutes), str(names[0]) if len(names) else "", column)


def zones_of_times(times: NDArray[np.datetime64], column: str) -> tuple[Finding, ...]:
    """Findings about the times of a cube."""
    times = times[~np.isnat(times)]
    minutes = (times - times.astype("datetime64[D]")).astype("timedelta64[s]").astype(np.int64) / 60
    return _zone_finding(minutes, str(times[0].astype("datetime64[m]")) if len(times) else "", column)


def _zone_finding(minutes: NDArray[np.float64], example: str, column: str) -> tuple[Finding, ...]:
    """A finding if all times lie near one hour other than midnight and noon, or two hours in a row (summer time)."""
    nearest = np.round(minutes / QUARTER_HOUR) * QUARTER_HOUR
    hours = np.unique(nearest % DAY)
    alike = len(hours) == 1 or (len(hours) == 2 and hours[1] - hours[0] == 60)
    if not alike or (np.abs(minutes - nearest) > NEAR).any() or {0.0, float(NOON)} & {*hours.tolist()}:
        return ()
    written = " or ".join(f"{int(one) // 60:02d}:{int(one) % 60:02d}" for one in hours)
    sentence = (
        f"All times of {column} stand at {written} (such as {example}), which looks like midnight of another time zone "
        "stored as UTC. Each is read as the day that is written, which may be one day off the local one."
    )
    return (Finding("warning", sentence),)
