"""The charts of the data page, made from the summaries."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pipeline.table import SeasonTable
from report.data.places import MOST_PLACES, Positions, Presence
from report.data.season import days_text, step_starts
from report.data.series import Observed, Spread, furthest
from report.data.summary import DataSummary, SeriesLook
from report.data.yields import Yields
from report.interactive import BLUE, GREY, PALE, RED, Chart

MOST_FILES = 30  # boxes in a chart by file
MOST_SERIES = 24  # variates and drivers that get a chart of their own
MOST_RED = 200  # outliers in a chart
LONGEST = 24  # characters of a name on an axis
SHARE = {"thickness": 10, "tickformat": ".0%", "outlinewidth": 0, "len": 0.9}
BY_ROW = {"margin": {"l": 10, "r": 10, "t": 10, "b": 60}}


def rounded(values: Any) -> list[float | None]:
    """Numbers with four significant digits, so that the page stays small. None stands for what is not finite."""
    return [float(f"{v:.4g}") if math.isfinite(v) else None for v in np.asarray(values, np.float64).tolist()]


def grid(values: Any) -> list[list[float | None]]:
    """As `rounded`, for a matrix."""
    return [rounded(row) for row in values]


def short(name: str) -> str:
    """Both ends of a name that is too long for an axis."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2 - 1]}…{name[-LONGEST // 2 :]}"


def axis_names(names: Sequence[str]) -> list[str]:
    """Short names for an axis. Names that would look the same keep their full length, so that each occurs once."""
    cut = Counter(map(short, names))
    return [short(name) if cut[short(name)] == 1 else name for name in names]


def year_axis(years: Sequence[int]) -> dict[str, Any]:
    """An axis of whole years with about ten ticks at most."""
    span = max(years) - min(years) + 1
    step = next(step for step in (1, 2, 5, 10, 20, 50) if span <= 10 * step)
    edge = {"range": [min(years) - 0.6, max(years) + 0.6]}
    return {"title": {"text": "harvest year"}, "tickformat": "d", "dtick": step, "tick0": 0, **edge}


def step_axis(table: SeasonTable) -> dict[str, Any]:
    """An axis of steps with a date under each tick, if all places share them."""
    every = next(n for n in (1, 2, 5, 10, 20, 50, 100, 200) if table.steps <= 5 * n)
    ticks = list(range(0, table.steps, every))
    starts = step_starts(table)
    texts = [f"{tick}<br>{starts[tick].day} {starts[tick]:%b}" if starts else str(tick) for tick in ticks]
    title = f"step, {days_text(table.step_days)} each"
    return {"title": {"text": title}, "tickvals": ticks, "ticktext": texts, "tickangle": 0}


def with_unit(name: str, unit: str) -> str:
    """The label of a quantity on an axis."""
    return name if unit in ("1", "") else f"{name}, {unit}"


def observed_charts(table: SeasonTable, observed: Observed) -> list[Chart]:
    """The share of observed values by variate and step, and by year and step for each variate."""
    centre = (observed.first_steps + (observed.steps - 1) / 2).tolist()
    binned = f" A cell is {observed.steps} steps." if observed.steps > 1 else ""
    shared: dict[str, Any] = {"type": "heatmap", "x": centre, "zmin": 0, "zmax": 1,
              "colorscale": [[0, PALE], [1, BLUE]], "colorbar": SHARE,
              "xgap": 1 if len(centre) <= 40 else 0, "ygap": 1}  # fmt: skip
    names = axis_names(observed.names)
    whole = {**shared, "z": grid(observed.of_all_years), "y": names,
             "hovertemplate": "%{y}, step %{x}: %{z:.1%} observed<extra></extra>"}  # fmt: skip
    layout: dict[str, Any] = {**BY_ROW, "height": 110 + 22 * len(names), "xaxis": step_axis(table),
              "yaxis": {"automargin": True, "autorange": "reversed", "type": "category"}}  # fmt: skip
    charts = [Chart("observed", "By variate and step", f"All years together.{binned}", [whole], layout)]
    years = observed.years.tolist()
    kinds = [("all variates and drivers", observed.of_variates), *zip(observed.names, observed.share, strict=True)]
    traces = [
        {**shared, "name": name, "z": grid(share), "y": [str(year) for year in years], "visible": number == 0,
         "hovertemplate": "%{y}, step %{x}: %{z:.1%} observed<extra></extra>"}
        for number, (name, share) in enumerate(kinds)
    ]  # fmt: skip
    height = 110 + (22 if len(years) <= 20 else 14) * len(years)
    by_year = {**layout, "height": height, "yaxis": {**layout["yaxis"], "autorange": True}}
    charts.append(
        Chart("observed-years", "By year and step", f"The latest year is on top.{binned}", traces, by_year, "Show")
    )
    return charts


def box(found: Sequence[Spread], at: Sequence[Any], horizontal: bool = False) -> dict[str, Any]:
    """Boxes from quantiles; whiskers reach from 5 % to 95 %."""
    q05, q25, q50, q75, q95 = (rounded([one.quantiles[q] for one in found]) for q in range(5))
    place = "y" if horizontal else "x"
    return {"type": "box", place: list(at), "orientation": "h" if horizontal else "v", "lowerfence": q05, "q1": q25,
            "median": q50, "q3": q75, "upperfence": q95, "line": {"color": BLUE, "width": 1.3}, "fillcolor": PALE,
            "name": "quartiles"}  # fmt: skip


def series_charts(series: Sequence[SeriesLook]) -> Iterator[Chart]:
    """The spread of each variate and driver by year."""
    for number, one in enumerate(series[:MOST_SERIES]):
        years = [spread.group for spread in one.by_year]
        if not years:
            continue
        layout = {"height": 260, "margin": {"l": 10, "r": 10, "t": 10, "b": 45}, "xaxis": year_axis(years),
                  "yaxis": {"automargin": True, "title": {"text": with_unit(one.name, one.unit)}}}  # fmt: skip
        yield Chart(f"year-{number}", one.name, "", [box(one.by_year, years)], layout)


def file_charts(series: Sequence[SeriesLook], files: Sequence[str]) -> Iterator[Chart]:
    """The spread of each variate and driver by file. Of many files, those with the most extreme medians are shown."""
    for number, one in enumerate(series[:MOST_SERIES]):
        shown = furthest(one.by_file, MOST_FILES)
        if not shown:
            continue
        names = axis_names([files[spread.group] for spread in shown])
        layout = {"height": 80 + 26 * len(names), "margin": {"l": 10, "r": 10, "t": 10, "b": 45},
                  "xaxis": {"title": {"text": with_unit(one.name, one.unit)}},
                  "yaxis": {"automargin": True, "type": "category", "autorange": "reversed"}}  # fmt: skip
        note = "" if len(shown) == len(one.by_file) else (
            f"The {len(shown)} of {len(one.by_file)} files whose medians lie furthest from the others."
        )  # fmt: skip
        yield Chart(f"file-{number}", one.name, note, [box(shown, names, horizontal=True)], layout)


def yield_chart(table: SeasonTable, yields: Yields) -> Chart:
    """Yields by year: quartiles, a sample of points beside them, and outliers in red."""
    years = [spread.group for spread in yields.by_year]
    # A fixed generator, so that the same table gives the same page.
    aside = np.random.default_rng(0).uniform(-0.3, 0.3, len(yields.points))
    points = {"type": "scatter", "mode": "markers", "name": "yields", "x": rounded_years(table, yields, aside),
              "y": rounded(table.target[yields.points]), "marker": {"size": 4, "color": GREY, "opacity": 0.45},
              "text": table.place[yields.points].tolist(),
              "hovertemplate": "%{text}: %{y} t/ha<extra></extra>"}  # fmt: skip
    traces = [box(yields.by_year, years), points]
    if red := yields.outliers[:MOST_RED]:
        traces.append({"type": "scatter", "mode": "markers", "name": "outliers", "x": [one.year for one in red],
                       "y": rounded([one.value for one in red]), "marker": {"size": 7, "color": RED},
                       "text": [one.place for one in red],
                       "hovertemplate": "%{text} %{x}: %{y} t/ha<extra></extra>"})  # fmt: skip
    shown = len(yields.points)
    some = "" if shown == yields.labelled else f", a sample of {shown:,} of {yields.labelled:,} rows"
    red_of = f"the {MOST_RED} furthest of {len(yields.outliers):,} outliers" * (len(yields.outliers) > MOST_RED)
    note = (
        f"Boxes show quartiles and whiskers the 5 % and 95 % quantiles. Grey points are rows{some}. Red points are "
        f"{red_of or 'outliers'}."
    )
    layout = {"xaxis": year_axis(years), "yaxis": {"automargin": True, "title": {"text": "yield, t/ha"}},
              "margin": {"l": 10, "r": 10, "t": 10, "b": 45}}  # fmt: skip
    return Chart("yields", "Yields by year", note, traces, layout)


def rounded_years(table: SeasonTable, yields: Yields, aside: Any) -> list[float]:
    """The year of each point, moved aside so that points do not hide each other."""
    return [round(x, 2) for x in (table.year[yields.points] + aside).tolist()]


def presence_charts(presence: Presence) -> list[Chart]:
    """How many places each year has, and which ones."""
    years = presence.years.tolist()
    new, all_ = presence.new_by_year, presence.by_year
    bars = [
        {"type": "bar", "name": "seen in an earlier year", "x": years, "y": (all_ - new).tolist(),
         "marker": {"color": BLUE}},
        {"type": "bar", "name": "first seen in this year", "x": years, "y": new.tolist(), "marker": {"color": GREY}},
    ]  # fmt: skip
    few = {"dtick": 1} if all_.max() <= 5 else {}  # no ticks between whole places
    layout = {"barmode": "stack", "height": 300, "showlegend": True, "xaxis": year_axis(years),
              "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
              "yaxis": {"automargin": True, "title": {"text": "places"}, "tickformat": ",d", **few},
              "margin": {"l": 10, "r": 10, "t": 50, "b": 45}}  # fmt: skip
    whole = bool(presence.present.all())
    note = "Every place has a sample in every year." if whole else ""
    charts = [Chart("places-count", "How many places each year has", note, bars, layout)]
    if whole:
        return charts
    some = presence.some()
    total = len(presence.places)
    note = "" if total <= MOST_PLACES else f"A sample of {len(some.places)} of {total:,} places, evenly by name."
    names = axis_names(some.places.tolist())
    trace = {"type": "heatmap", "x": years, "y": names, "z": some.present.astype(int).tolist(),
             "zmin": 0, "zmax": 1, "colorscale": [[0, PALE], [1, BLUE]], "showscale": False, "xgap": 1, "ygap": 1,
             "hovertemplate": "%{y} %{x}<extra></extra>"}  # fmt: skip
    layout = {"height": 90 + 15 * len(some.places), "xaxis": year_axis(years), "margin": BY_ROW["margin"],
              "yaxis": {"automargin": True, "type": "category", "autorange": "reversed", "dtick": 1,
                        "tickfont": {"size": 10}}}  # fmt: skip
    return [*charts, Chart("places", "Which places each year has", note, [trace], layout)]


def map_chart(positions: Positions) -> Chart:
    """Places by longitude and latitude, coloured by their mean yield, or by their number of years."""
    labelled = bool(np.isfinite(positions.mean_yield).any())
    colour = rounded(positions.mean_yield) if labelled else positions.years.tolist()
    what = "mean yield, t/ha" if labelled else "years"
    trace = {"type": "scatter", "mode": "markers", "x": [round(x, 4) for x in positions.longitude.tolist()],
             "y": [round(y, 4) for y in positions.latitude.tolist()], "text": list(positions.names),
             "customdata": positions.years.tolist(),
             "hovertemplate": "%{text}: %{marker.color} " + what.partition(", ")[2] + ", %{customdata} years"
                              "<extra></extra>",
             "marker": {"size": 8 if len(positions.names) <= 500 else 4, "color": colour, "colorscale": "Viridis",
                        "showscale": True, "colorbar": {"thickness": 10, "title": {"text": what, "side": "right"},
                                                        "outlinewidth": 0}}}  # fmt: skip
    # A degree of longitude is shorter than one of latitude by the cosine of the latitude.
    ratio = 1 / max(math.cos(math.radians(float(np.mean(positions.latitude)))), 0.1)
    layout = {"height": 480, "margin": {"l": 10, "r": 10, "t": 10, "b": 45},
              "xaxis": {"title": {"text": "longitude"}, "ticksuffix": "°", "zeroline": False},
              "yaxis": {"title": {"text": "latitude"}, "ticksuffix": "°", "automargin": True, "zeroline": False,
                        "scaleanchor": "x", "scaleratio": ratio}}  # fmt: skip
    note = f"Each point is a place, coloured by its {what.partition(',')[0]}."
    if len(positions.names) < positions.known:
        note += f" A sample of {len(positions.names):,} of {positions.known:,} places."
    if positions.lost:
        note += f" {positions.lost:,} places have no position."
    return Chart("map", "Where the places lie", note, [trace], layout)


def charts_of(seen: DataSummary) -> dict[str, list[Chart]]:
    """The charts of each section."""
    return {
        "observed": observed_charts(seen.table, seen.observed),
        "years": list(series_charts(seen.series)),
        "files": list(file_charts(seen.series, seen.table.files)),
        "yields": [yield_chart(seen.table, seen.yields)] if seen.yields.labelled else [],
        "places": presence_charts(seen.presence),
        "map": [map_chart(seen.positions)] if seen.positions and seen.positions.names else [],
    }
