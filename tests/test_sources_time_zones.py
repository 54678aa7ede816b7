"""Times that look like local midnight stored as UTC are reported, in texts and in milliseconds; others are not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pipeline.sources import read

CARD = """name = "n"
format = "long"
files = "t.csv"
year = "y"
date = "d"
step_days = "month"
season_start = "01-01"
season_steps = 12
variates = [{name = "a"}]
target = {column = "t", unit = "t/ha"}
"""


def findings(folder: Path, times: Sequence[object]) -> str:
    rows = [f"p,2020,{time},{0.1 + step / 20},3" for step, time in enumerate(times)]
    (folder / "t.csv").write_text("\n".join(["place,y,d,a,t", *rows]) + "\n")
    (folder / "card.toml").write_text(CARD)
    return read(folder / "card.toml").describe_findings()


def midnights(zone: str) -> list[datetime]:
    """The 15th of each month at midnight of a zone, in UTC."""
    return [datetime(2020, month, 15, tzinfo=ZoneInfo(zone)).astimezone(UTC) for month in range(1, 13)]


def milliseconds(times: Sequence[datetime]) -> list[int]:
    return [round(time.timestamp() * 1000) for time in times]


@pytest.mark.parametrize("hour", ["22:00:00+00:00", "22:00:05Z", "21:59:58Z", "18:30:00Z", "13:30:00Z"])
def test_times_that_are_midnight_elsewhere_are_reported(tmp_path: Path, hour: str) -> None:
    told = findings(tmp_path, [f"2020-0{month}-01T{hour}" for month in range(4, 8)])
    assert "which looks like midnight of another time zone stored as UTC" in told
    if hour.startswith(("22", "21")):
        assert "All times of d stand at 22:00 (such as" in told


@pytest.mark.parametrize(
    "hour", ["00:00:00", "00:00:05", "23:59:59", "12:00:00", "10:37:12", "10:30:21.024Z", "10:30:00Z"]
)
def test_midnight_noon_and_the_time_of_an_overpass_are_not_reported(tmp_path: Path, hour: str) -> None:
    assert "time zone" not in findings(tmp_path, [f"2020-0{month}-01T{hour}" for month in range(4, 8)])


@pytest.mark.parametrize(
    ("zone", "stand"),
    [
        ("Europe/Berlin", "22:00 or 23:00"),
        ("Europe/London", "00:00 or 23:00"),
        ("Asia/Kolkata", "18:30"),
        ("Asia/Shanghai", "16:00"),
    ],
)
def test_midnights_of_a_zone_are_reported_with_one_that_is_not_midnight_in_utc(
    tmp_path: Path, zone: str, stand: str
) -> None:
    times = midnights(zone)
    example = next(time for time in times if time.hour)
    texts = [f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in times]
    assert f"All times of d stand at {stand} (such as {example:%Y-%m-%dT%H:%M:%SZ})" in findings(tmp_path, texts)
    told = findings(tmp_path, milliseconds(times))
    assert f"All times of d stand at {stand} (such as {milliseconds([example])[0]})" in told


def test_milliseconds_of_days_and_of_overpasses_are_not_reported(tmp_path: Path) -> None:
    days = midnights("UTC")
    assert "time zone" not in findings(tmp_path, milliseconds(days))
    passes = [day + timedelta(hours=10, minutes=30 + 3 * (step % 4), seconds=7) for step, day in enumerate(days)]
    assert "time zone" not in findings(tmp_path, milliseconds(passes))
