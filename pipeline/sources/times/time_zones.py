"""Report times that look like local midnight stored as UTC, which may be the day before or after the local day."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.findings import Finding
from pipeline.sources.times.dates import time_of

NOON = 12 * 60
DAY = 24 * 60
QUARTER_HOUR = 15  # zones differ from UTC by whole quarters of an hour
# The offsets from UTC that are no whole hours, from the Marquesas to Chatham.
PARTS_OF_HOURS = (-9.5, -3.5, -2.5, 3.5, 4.5, 5.5, 5.75, 6.5, 8.75, 9.5, 10.5, 12.75, 13.75)
MIDNIGHTS = (*range(0, DAY, 60), *(-round(60 * hours) % DAY for hours in PARTS_OF_HOURS))
NEAR = 1 / 6  # minutes from a quarter of an hour
BEFORE_MIDNIGHT = 23 * 60


def zones_of_texts(names: Sequence[str], column: str) -> tuple[Finding, ...]:
    """Findings about distinct dates as they are written. Texts that are not dates are skipped."""
    times = [(name, when) for name in names if (when := time_of(name)) is not None]
    minutes = [when.hour * 60 + when.minute + when.second / 60 for _, when in times]
    return _zone_finding(np.array(minutes), lambda at: times[at][0], column)


def zones_of_times(times: NDArray[np.datetime64], column: str) -> tuple[Finding, ...]:
    """Findings about the times of a cube."""
    times = times[~np.isnat(times)]
    minutes = (times - times.astype("datetime64[D]")).astype("timedelta64[s]").astype(np.int64) / 60
    return _zone_finding(minutes, lambda at: str(times[at].astype("datetime64[m]")), column)


def _zone_finding(minutes: NDArray[np.float64], example: Callable[[int], str], column: str) -> tuple[Finding, ...]:
    """A finding if all times lie near one hour other than midnight and noon, or two hours in a row (summer time).

    Midnights of London are 00:00 in winter and 23:00 in summer.
    """
    nearest = np.round(minutes / QUARTER_HOUR) * QUARTER_HOUR
    hours = np.unique(nearest % DAY)
    if not np.isin(hours, MIDNIGHTS).all():
        return ()
    alike = len(hours) == 1 or (len(hours) == 2 and hours[1] - hours[0] == 60)
    elsewhere = alike and not {0.0, float(NOON)} & {*hours.tolist()}
    summer_only = hours.tolist() == [0, BEFORE_MIDNIGHT]
    if not (elsewhere or summer_only) or (np.abs(minutes - nearest) > NEAR).any():
        return ()
    written = " or ".join(f"{int(one) // 60:02d}:{int(one) % 60:02d}" for one in hours)
    one = example(int(np.argmax(nearest % DAY > 0)))
    sentence = (
        f"All times of {column} stand at {written} (such as {one}), which looks like midnight of another time zone "
        "stored as UTC. Each is read as the day that is written, which may be one day off the local one."
    )
    return (Finding("warning", sentence),)
