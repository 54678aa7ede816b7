"""HTML pages in one file that opens offline. It contains Plotly, style and script, sortable tables and hover charts.

A chart may name the colours of interactive.css, such as `BLUE`. The script replaces each name with the colour of the
light or the dark scheme.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from PIL import Image
from plotly.offline import get_plotlyjs

BLUE, RED, GREEN, GREY, PALE = "--blue", "--red", "--green", "--grey", "--pale"
_AXIS = {"gridcolor": "--line", "zerolinecolor": "--grey", "linecolor": "--grey", "tickcolor": "--grey"}
LEGEND: dict[str, Any] = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}  # above a chart, also in lines
LAYOUT: dict[str, Any] = {
    "margin": {"l": 10, "r": 20, "t": 35, "b": 45},
    "showlegend": False,
    "height": 420,
    "hovermode": "closest",
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "font": {"family": "system-ui, sans-serif", "size": 12, "color": "--ink"},
    "template": {"layout": {"xaxis": _AXIS, "yaxis": _AXIS}},
}


@dataclass(frozen=True)
class Cell:
    """The text that a table shows, and the number that it sorts by. If that is None, it sorts by the text.

    link  the address that the text leads to, if not empty
    best  whether the text is bold, as the best of its column
    """

    text: str
    value: float | None = None
    link: str = ""
    best: bool = False


@dataclass(frozen=True)
class SortedTable:
    """A table of a page. `marked` has the positions of the rows that are set off from the others."""

    id: str
    title: str
    note: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    marked: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Chart:
    """A chart of a page, with traces and layout in Plotly's form.

    choose   if not empty, the traces of one name are shown at a time, and this is the label of the menu of names
    wide     whether the chart takes the whole width of a grid
    """

    id: str
    title: str
    note: str
    traces: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]
    choose: str = ""
    wide: bool = False

    @property
    def choices(self) -> list[str]:
        """The names of the menu."""
        return list(dict.fromkeys(str(trace["name"]) for trace in self.traces))


def fill_template(folder: Path, name: str, charts: Sequence[Chart], **values: Any) -> str:
    """A whole page from the template `name` of `folder`.

    The template gets `values`, `charts`, `style`, and the `script` that draws the charts. Plotly is left out if there
    are no charts.
    """
    here = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, here]), autoescape=True, undefined=jinja2.StrictUndefined
    )
    drawn = {chart.id: {"data": list(chart.traces), "layout": LAYOUT | dict(chart.layout)} for chart in charts}
    # "<" could end the script element that contains the numbers.
    numbers = json.dumps(as_json(drawn), separators=(",", ":")).replace("<", "\\u003c")
    code = _text(here / "interactive.js")
    plotly = f"<script>{get_plotlyjs()}</script>\n" if charts else ""
    return environment.get_template(name).render(
        **values,
        charts=charts,
        style=Markup(_text(here / "interactive.css")),
        script=Markup(f"{plotly}<script>\nconst drawn = {numbers};\n{code}</script>"),
    )


def as_json(value: Any) -> Any:
    """The same value, with None for every number that JSON cannot represent."""
    if isinstance(value, Mapping):
        return {name: as_json(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def picture(image: Image.Image) -> str:
    """The image as a PNG in a data URL."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
