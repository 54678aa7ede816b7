"""A small table that tests change into those that people send, and its warnings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.sources import read
from pipeline.table import SeasonTable

PLACES, YEARS = [f"c{i}" for i in range(8)], range(2017, 2023)
BANDS = [f"ndvi_{step}" for step in range(1, 13)]
CARD = """name = "t"
format = "{form}"
files = "t*.csv"
place = "place"
year = "year"
step_days = "month"
{keys}
[[variates]]
name = "ndvi"
[target]
column = "yield"
unit = "{unit}"
"""


def seasons() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = []
    for i, place in enumerate(PLACES):
        for year in YEARS:
            peak = rng.uniform(0.4, 0.8)
            curve = 0.15 + peak * np.exp(-(((np.arange(12) - 6.6) / 2.4) ** 2)) + rng.normal(0, 0.01, 12)
            target = round(3 + 4 * peak + 0.2 * i + rng.normal(0, 0.2), 2)
            rows.append(
                {"place": place, "year": year} | dict(zip(BANDS, curve.round(4), strict=True)) | {"yield": target}
            )
    return pd.DataFrame(rows)


def dated(day: Callable[[int, int], object]) -> pd.DataFrame:
    rows = [
        {"place": row.place, "year": row.year, "date": day(row.year, month), "ndvi": row[f"ndvi_{month}"]}
        | {"yield": row["yield"]}
        for _, row in seasons().iterrows()
        for month in range(1, 13)
    ]
    return pd.DataFrame(rows)


def table(folder: Path, frame: pd.DataFrame, form: str = "wide", keys: str = "", unit: str = "t/ha") -> SeasonTable:
    frame.to_csv(folder / "t.csv", index=False)
    return by_card(folder, form, keys, unit)


def by_card(folder: Path, form: str = "wide", keys: str = "", unit: str = "t/ha") -> SeasonTable:
    keys = f'date = "date"\n{keys}' if form == "long" else keys
    (folder / "card.toml").write_text(CARD.format(form=form, keys=keys, unit=unit), encoding="utf-8")
    return read(folder / "card.toml")


def warnings(found: SeasonTable) -> str:
    return "\n".join(finding.sentence for finding in found.findings if finding.severity == "warning")
