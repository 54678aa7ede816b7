"""The page of new forecasts: a map, a table, how sure they are, and what changed since an earlier forecast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import InputError
from pipeline.plural import plural
from report.interactive import BLUE, GREY, LEGEND, RED, Cell, Chart, SortedTable, fill_template
from report.map_chart import Quantity, map_chart
from report.run_page.charts import axis, rounded

MOST_BARS = 60  # places or samples in a chart
MOST_ROWS = 1_500  # of the table


@dataclass(frozen=True, eq=False)
class ForecastPage:
    """What the page shows.

    rows      sample_id, place, year, y_pred, y_lo, y_hi in t/ha
    shapes    a GeoJSON geometry or None per row; empty if no positions are known
    known     yields that the run knew: place, year, target in t/ha
    earlier   an earlier forecast of the same samples, with the columns of `rows`; None if there is none
    moment    what was known of the seasons, in words
    about     how well the run forecast its test rows, in words
    warnings  sentences about forecasts whose interval is likely too narrow
    """

    rows: pd.DataFrame
    shapes: Sequence[Mapping[str, Any] | None]
    known: pd.DataFrame
    earlier: pd.DataFrame | None
    moment: str
    about: str
    warnings: Sequence[str]
    command: str

    def html(self) -> str:
        """The HTML text."""
        rows = self.rows.assign(width=self.rows["y_hi"] - self.rows["y_lo"], usual=self._usual(), change=self._change())
        return fill_template(
            Path(__file__).parent,
            "forecast_page.html",
            list(self._charts(rows)),
            page=self,
            years=", ".join(map(str, sorted(rows["year"].unique()))),
            headline=self._headline(rows),
            table=self._table(rows),
        )

    def _usual(self) -> pd.Series:
        """The mean of the known yields of each sample's place in earlier years [n]; NaN if there is none."""
        pairs = self.rows[["place", "year"]].assign(row=range(len(self.rows)))
        met = pairs.merge(self.known.drop_duplicates(["place", "year"]), on="place", suffixes=("", "_known"))
        means = met[met["year_known"] < met["year"]].groupby("row")["target"].mean()
        return means.reindex(range(len(self.rows))).set_axis(self.rows.index)

    def _change(self) -> pd.Series:
        """Forecast minus the earlier forecast of the same sample [n]; NaN if there is none."""
        if self.earlier is None:
            return pd.Series(np.nan, self.rows.index)
        before = self.earlier.set_index("sample_id")["y_pred"]
        return self.rows["y_pred"] - self.rows["sample_id"].map(before)

    def _headline(self, rows: pd.DataFrame) -> str:
        pred = rows["y_pred"]
        text = (
            f"{plural(len(rows), 'forecast')} {self.moment}: {pred.mean():.2f} t/ha on average, from {pred.min():.2f} "
            f"to {pred.max():.2f} t/ha. A 90 % interval is {rows['width'].mean():.2f} t/ha wide on average."
        )
        usual = rows["usual"].notna()
        if usual.any():
            more = float((rows["y_pred"] - rows["usual"])[usual].mean())
            side = "above" if more > 0 else "below"
            text += f" The mean is {abs(more):.2f} t/ha {side} earlier known yields of the same places."
        change = rows["change"].dropna()
        if len(change):
            text += (
                f" Since the earlier forecast the mean changed by {change.mean():+.2f} t/ha: "
                f"{plural(int((change > 0).sum()), 'forecast')} rose and {int((change < 0).sum()):,} fell."
            )
        return text

    def _charts(self, rows: pd.DataFrame) -> Iterator[Chart]:
        yield from self._map(rows)
        yield _interval_chart(rows)
        if rows["change"].notna().any():
            yield _change_chart(rows)

    def _map(self, rows: pd.DataFrame) -> Iterator[Chart]:
        placed = {
            place: shape
            for place, shape in zip(rows["place"], self.shapes, strict=bool(self.shapes))
            if shape is not None
        }
        if not placed:
            return
        means = rows.assign(above=rows["y_pred"] - rows["usual"]).groupby("place")
        means = means[["y_pred", "width", "above", "change"]].mean().loc[list(placed)]
        shown = [
            Quantity("forecast", means["y_pred"].to_numpy()),
            Quantity("width of the 90 % interval", means["width"].to_numpy()),
            Quantity("forecast minus earlier yields of the place", means["above"].to_numpy(), signed=True),
            Quantity("change since the earlier forecast", means["change"].to_numpy(), signed=True),
        ]
        known = [one for one in shown if np.isfinite(one.values).any()]
        left = rows["place"].nunique() - len(placed)
        note = f"{left:,} places have no position and are not drawn." if left else ""
        yield map_chart(list(placed), list(placed.values()), known, note)

    def _table(self, rows: pd.DataFrame) -> SortedTable:
        more = {"usual": "mean of earlier yields", "change": "change since the earlier forecast"}
        more = {name: head for name, head in more.items() if rows[name].notna().any()}
        cells = []
        for row in rows.head(MOST_ROWS).to_dict("records"):
            numbers = [row[name] for name in ("y_pred", "y_lo", "y_hi", "width")]
            cells.append(
                [
                    Cell(str(row["place"])),
                    Cell(str(row["year"]), row["year"]),
                    *(Cell(f"{one:.2f}", one) for one in numbers),
                    *(_maybe(row[name], signed=name == "change") for name in more),
                ]
            )
        head = ["place", "year", "forecast", "90 % from", "to", "width", *more.values()]
        note = "All numbers but the year are in t/ha."
        if len(rows) > MOST_ROWS:
            note += f" The first {MOST_ROWS:,} of {len(rows):,}; the file has all."
        return SortedTable("forecasts", "Every forecast", note, head, cells)


def _maybe(value: float, signed: bool) -> Cell:
    return Cell("") if np.isnan(value) else Cell(f"{value:+.2f}" if signed else f"{value:.2f}", value)


def _label(rows: pd.DataFrame) -> list[str]:
    """Names for an axis: places, with the year if there are several, with the sample if these are not distinct."""
    names = rows["place"].astype(str)
    if rows["year"].nunique() > 1:
        names = names + ", " + rows["year"].astype(str)
    if names.duplicated().any():
        names = rows["sample_id"].astype(str)
    return [str(name) for name in names]


def _some(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """At most MOST_BARS rows, evenly spaced in their order, and a sentence if some are left out."""
    if len(rows) <= MOST_BARS:
        return rows, ""
    at = np.linspace(0, len(rows) - 1, MOST_BARS).round().astype(int)
    return rows.iloc[at], f" {MOST_BARS} of {len(rows):,}, evenly spaced."


def _interval_chart(rows: pd.DataFrame) -> Chart:
    """Each forecast with its interval, in order, and the mean of earlier yields of its place."""
    shown, left = _some(rows.sort_values("y_pred", kind="stable"))
    names = _label(shown)
    dots = {"type": "scatter", "mode": "markers", "name": "forecast, 90 % interval", "y": names,
            "x": rounded(shown["y_pred"]), "marker": {"color": RED, "size": 8},
            "error_x": {"type": "data", "symmetric": False, "array": rounded(shown["y_hi"] - shown["y_pred"]),
                        "arrayminus": rounded(shown["y_pred"] - shown["y_lo"]), "color": GREY, "thickness": 1.2},
            "hovertemplate": "%{y}: %{x:.2f} t/ha<extra></extra>"}  # fmt: skip
    traces: list[dict[str, Any]] = [dots]
    known = shown["usual"].notna().to_numpy()
    if known.any():
        usual = rounded(shown["usual"][known])
        traces.append(
            {"type": "scatter", "mode": "markers", "name": "mean of earlier yields", "x": usual,
             "y": [name for name, one in zip(names, known, strict=True) if one],
             "marker": {"color": BLUE, "size": 8, "symbol": "diamond-open"},
             "hovertemplate": "%{y}: %{x:.2f} t/ha before<extra></extra>"}
        )  # fmt: skip
    layout = {"height": 140 + 16 * len(shown), "showlegend": True, "legend": LEGEND,
              "xaxis": axis("t/ha", side="bottom"),
              "yaxis": {"type": "category", "automargin": True, "dtick": 1, "tickfont": {"size": 11}}}  # fmt: skip
    return Chart(
        "intervals", "Forecasts and how sure they are", f"From the lowest to the highest.{left}", traces, layout
    )


def _change_chart(rows: pd.DataFrame) -> Chart:
    """The places whose forecast changed most."""
    change = rows.groupby("place")["change"].mean().dropna()
    largest = change.loc[change.abs().sort_values(ascending=False).index[:MOST_BARS]].sort_values()
    bars = {"type": "bar", "orientation": "h", "y": [str(one) for one in largest.index], "x": rounded(largest),
            "marker": {"color": BLUE}, "hovertemplate": "%{y}: %{x:+.2f} t/ha<extra></extra>"}  # fmt: skip
    note = "The latest forecast minus the earlier one, by place."
    if len(largest) < len(change):
        note += f" The {MOST_BARS} of {len(change):,} places that changed most."
    layout = {"height": 120 + 16 * len(largest), "xaxis": axis("t/ha"),
              "yaxis": {"type": "category", "automargin": True, "dtick": 1, "tickfont": {"size": 11}}}  # fmt: skip
    return Chart("changes", "What changed since the earlier forecast", note, [bars], layout)


def read_forecasts(path: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """An earlier .csv or .parquet of predict.py. Raises InputError if it has no forecast of a sample of `rows`."""
    if not path.is_file():
        raise InputError(f"--since {path} is no file; name the .csv or .parquet that predict.py wrote earlier.")
    try:
        earlier = (
            pd.read_parquet(path) if path.suffix.lower() == ".parquet" else pd.read_csv(path, dtype={"sample_id": str})
        )
    except (OSError, ValueError) as error:
        raise InputError(f"--since {path} cannot be read ({error}); name a .csv or .parquet of predict.py.") from error
    if not {"sample_id", "y_pred"} <= set(earlier.columns):
        there = ", ".join(map(str, earlier.columns[:6]))
        raise InputError(f"--since {path} has the columns {there}, but needs sample_id and y_pred of predict.py.")
    if not earlier["sample_id"].isin(rows["sample_id"]).any():
        raise InputError(
            f"--since {path} forecasts other samples: {earlier['sample_id'].iloc[0] if len(earlier) else 'none'}, and "
            f"not {rows['sample_id'].iloc[0]}. Name a forecast of the same seasons."
        )
    return earlier.drop_duplicates("sample_id")
