"""Coverage of the 90 % intervals on test rows, by year and by place, with confidence intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.calibration import INTERVAL, share_over_groups, wilson


def coverage(predictions: pd.DataFrame) -> dict[str, Any]:
    """Coverage for result.json, from the test rows of predictions.parquet.

    n, share, low, high  of all rows; low to high is Wilson's 95 % interval, which assumes independent yields (rows that
                         share one yield count as one)
    over_years           95 % interval from resampling whole years; None with fewer than 6 years
    by_year, by_place    n, share, low and high of each year and place
    """
    test = predictions[predictions["split"] == "test"]
    held = ((test["y_true"] >= test["y_lo"]) & (test["y_true"] <= test["y_hi"])).to_numpy()
    group = test["yield_group"].to_numpy() if "yield_group" in test else np.arange(len(test))
    over_years = share_over_groups(held, test["year"].to_numpy())
    return {
        "nominal": INTERVAL,
        **_share(held, group),
        "over_years": None if over_years is None else list(over_years),
        "by_year": [
            {"year": int(year), **_share(held[at], group[at])} for year, at in test.groupby("year").indices.items()
        ],
        "by_place": [
            {"place": str(place), **_share(held[at], group[at])} for place, at in test.groupby("place").indices.items()
        ],
    }


def _share(held: NDArray[np.bool_], group: NDArray[np.int64]) -> dict[str, Any]:
    yields = len(np.unique(group))
    low, high = wilson(float(held.mean()) * yields, yields)
    return {"n": len(held), "share": float(held.mean()), "low": low, "high": high}
