"""A map without a network: outlines or points of places, coloured by one of several quantities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.sources.geometry import middle
from report.interactive import GREY, Chart

Geometry = Mapping[str, Any]
MOST_PLACES = 3_000  # on a map; more are thinned
MOST_CORNERS = 12_000  # of all outlines together; finer outlines are thinned
BINS = 12  # colours of outlines
SCALES = {  # from low to high
    "yield": ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"],
    "change": ["#2166ac", "#92c5de", "#f0f0f0", "#f4a582", "#b2182b"],
}


@dataclass(frozen=True, eq=False)
class Quantity:
    """A number per place [P], in t/ha. `signed` ones have colours that are neutral at zero."""

    name: str
    values: NDArray[np.float64]
    signed: bool = False


def map_chart(
    places: Sequence[str], shapes: Sequence[Geometry], quantities: Sequence[Quantity], note: str, name: str = "map"
) -> Chart:
    """A chart with a menu of quantities. Outlines are drawn for areas, points for the rest.

    shapes  a GeoJSON geometry per place [P], in degrees
    """
    rows = np.unique(np.linspace(0, len(places) - 1, min(len(places), MOST_PLACES)).round().astype(np.int64))
    if len(rows) < len(places):
        note += f" {len(rows):,} of {len(places):,} places, evenly spaced among their names."
    at = np.array([middle(shapes[row]) for row in rows])
    outlines = thinned([list(_rings(shapes[row])) for row in rows])
    traces: list[dict[str, Any]] = []
    for number, one in enumerate(quantities):
        shown = {"name": one.name, "visible": number == 0}
        values = one.values[rows]
        low, high = _limits(values, one.signed)
        scale = SCALES["change" if one.signed else "yield"]
        if any(outlines):
            traces += [trace | shown for trace in _filled(outlines, values, low, high, scale)]
        traces.append(
            _points(at, [places[row] for row in rows], values, outlines=outlines, limits=(low, high), scale=scale)
            | shown
        )
    # A degree of longitude is shorter than one of latitude by the cosine of the latitude.
    ratio = 1 / max(float(np.cos(np.deg2rad(at[:, 1].mean()))), 0.1)
    layout = {
        "height": 480,
        "margin": {"l": 10, "r": 10, "t": 10, "b": 45},
        "xaxis": {"title": {"text": "longitude"}, "ticksuffix": "°", "automargin": True, "zeroline": False},
        "yaxis": {"title": {"text": "latitude"}, "ticksuffix": "°", "automargin": True, "zeroline": False,
                  "scaleanchor": "x", "scaleratio": ratio},
    }  # fmt: skip
    return Chart(name, "Places", note, traces, layout, "Show")


def _limits(values: NDArray[np.float64], signed: bool) -> tuple[float, float]:
    """The ends of the colour scale: the 2 % and 98 % quantiles, so that one place does not take all colours."""
    known = values[np.isfinite(values)]
    if not len(known):
        return -1.0, 1.0
    if signed:
        top = float(np.quantile(np.abs(known), 0.98)) or 1.0
        return -top, top
    low, high = (float(one) for one in np.quantile(known, [0.02, 0.98]))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _points(
    at: NDArray[np.float64],
    names: list[str],
    values: NDArray[np.float64],
    *,
    outlines: Sequence[Sequence[Any]],
    limits: tuple[float, float],
    scale: Sequence[str],
) -> dict[str, Any]:
    stops = [[round(n / (len(scale) - 1), 3), colour] for n, colour in enumerate(scale)]
    marker = {
        "color": [round(float(v), 3) if np.isfinite(v) else None for v in values], "colorscale": stops,
        "cmin": round(limits[0], 3), "cmax": round(limits[1], 3), "showscale": True,
        "size": 9 if len(names) <= 500 else 5, "opacity": [0.0 if outline else 0.9 for outline in outlines],
        "colorbar": {"title": {"text": "t/ha"}, "outlinewidth": 0, "thickness": 12},
    }  # fmt: skip
    return {"type": "scatter", "mode": "markers", "x": at[:, 0].round(4).tolist(), "y": at[:, 1].round(4).tolist(),
            "text": names, "marker": marker,
            "hovertemplate": "%{text}: %{marker.color:.2f} t/ha<extra></extra>"}  # fmt: skip


def _filled(
    outlines: Sequence[Sequence[NDArray[np.float64]]],
    values: NDArray[np.float64],
    low: float,
    high: float,
    scale: Sequence[str],
) -> Iterator[dict[str, Any]]:
    """A trace for each colour that occurs, with all outlines of that colour. Outlines without a number are empty."""
    known = np.isfinite(values)
    of = np.where(known, np.clip((np.where(known, values, low) - low) / (high - low) * BINS, 0, BINS - 1), -1).astype(
        int
    )
    for number in np.unique(of):
        x: list[float | None] = []
        y: list[float | None] = []
        for row in np.flatnonzero(of == number).tolist():
            for ring in outlines[row]:
                x += [*ring[:, 0].tolist(), None]
                y += [*ring[:, 1].tolist(), None]
        if x:
            colour = "rgba(0,0,0,0)" if number < 0 else _colour((number + 0.5) / BINS, scale)
            yield {"type": "scatter", "mode": "lines", "x": x, "y": y, "fill": "toself", "fillcolor": colour,
                   "line": {"color": GREY, "width": 0.6}, "hoverinfo": "skip"}  # fmt: skip


def _colour(share: float, scale: Sequence[str]) -> str:
    """The colour of a scale at a share from 0 to 1."""
    at = share * (len(scale) - 1)
    first = min(int(at), len(scale) - 2)
    ends = [np.array([int(scale[n][i : i + 2], 16) for i in (1, 3, 5)]) for n in (first, first + 1)]
    mixed = ends[0] + (at - first) * (ends[1] - ends[0])
    return "#" + "".join(f"{int(one):02x}" for one in mixed.round())


def thinned(outlines: Sequence[Sequence[NDArray[np.float64]]]) -> list[list[NDArray[np.float64]]]:
    """Outlines with at most about MOST_CORNERS corners in all: every k-th corner, and at least four of each ring."""
    total = sum(len(ring) for rings in outlines for ring in rings)
    every = max(1, -(-total // MOST_CORNERS))
    return [[_every(ring, every) for ring in rings] for rings in outlines]


def _every(ring: NDArray[np.float64], step: int) -> NDArray[np.float64]:
    step = max(1, min(step, (len(ring) - 1) // 4))
    return np.concatenate([ring[:-1:step], ring[-1:]]).round(4)


def _rings(geometry: Geometry) -> Iterator[NDArray[np.float64]]:
    """The rings [n,2] of an area, longitude first; none of points and lines."""
    if geometry["type"] == "Polygon":
        yield from (np.array(ring, np.float64)[:, :2] for ring in geometry["coordinates"])
    elif geometry["type"] == "MultiPolygon":
        yield from (np.array(ring, np.float64)[:, :2] for part in geometry["coordinates"] for ring in part)
