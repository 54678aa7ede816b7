"""Write forecasts as CSV, Parquet or GeoJSON, and summarise them by place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from report.atomic_write import write_whole

ENDINGS = (".csv", ".parquet", ".geojson")


def write_table(path: Path, rows: pd.DataFrame, shapes: Sequence[Mapping[str, Any] | None] = ()) -> None:
    """Write rows in the format of the ending of `path`. `shapes` (only for .geojson): a geometry or None per row."""
    writers = {
        ".csv": lambda at: rows.to_csv(at, index=False, float_format="%.4f"),
        ".parquet": lambda at: rows.to_parquet(at, index=False),
        ".geojson": lambda at: at.write_text(geojson(rows, shapes)),
    }
    write_whole(path, writers[path.suffix.lower()])


def geojson(rows: pd.DataFrame, shapes: Sequence[Mapping[str, Any] | None]) -> str:
    """A FeatureCollection (RFC 7946) with one feature per row. Numbers that are not finite become null."""
    features = [
        {
            "type": "Feature",
            "geometry": shape,
            "properties": {name: _plain(value) for name, value in zip(rows.columns, row, strict=True)},
        }
        for row, shape in zip(rows.itertuples(index=False, name=None), shapes, strict=True)
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}, allow_nan=False)


def by_place(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per place: number of forecasts, years, mean, minimum, maximum, and mean interval width, all in t/ha.

    That width is not the interval of the mean, because errors of one place or year are correlated.
    """
    with_width = rows.assign(width=rows["y_hi"] - rows["y_lo"])
    groups = with_width.groupby("place")
    return groups.agg(
        n=("y_pred", "size"),
        first_year=("year", "min"),
        last_year=("year", "max"),
        y_pred=("y_pred", "mean"),
        y_pred_least=("y_pred", "min"),
        y_pred_most=("y_pred", "max"),
        interval_width=("width", "mean"),
    ).reset_index()


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float):
        return round(value, 4) if np.isfinite(value) else None
    return value
