"""Every page in Chromium at 1280 and 400 pixels: accessible by axe-core, nothing cut off, no word to the console."""

import contextlib
import html
import json
import re
import zlib
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

import ablate
import explain
import train
from pipeline.sources import read
from report.compare.__main__ import main as compare
from report.data.__main__ import main as look
from report.forecast_page import ForecastPage
from report.run_list import write_list
from tests.browser import NEEDS, opened
from tests.conftest import CARD, small_seasons
from tests.matrices import finished
from verdict.arms import WITH

pytestmark = [pytest.mark.slow, NEEDS]

AXE = files("axe_core_python").joinpath("axe.min.js").read_text()
WIDTHS = (1280, 400)
PAGES = ("stage-1", "stage-2", "explain", "compare", "list", "data", "forecasts", "verdict")

# Tables and code that scroll are meant to be wider than a phone.
MEASURE = """
addEventListener("load", () => setTimeout(async () => {
  const wide = [...document.querySelectorAll("main *")].filter(one => one.getClientRects().length &&
    !one.closest(".scroll, pre, svg, .js-plotly-plot") && one.getBoundingClientRect().right > innerWidth + 1);
  const found = await axe.run(document, { resultTypes: ["violations"] });
  const charts = [...document.querySelectorAll(".chart")];
  document.title = JSON.stringify({
    width: innerWidth,
    cut: wide.map(one => one.tagName + "." + one.className + "#" + one.id),
    scroll: document.documentElement.scrollWidth,
    empty: charts.filter(one => !one.querySelector(".trace, .point, .js-fill, .hm image")).map(one => one.id),
    outside: charts.filter(one => one.getBoundingClientRect().right > innerWidth + 1).map(one => one.id),
    faults: found.violations.map(one => one.id + ": " + one.nodes.slice(0, 3).map(
      node => node.target + " " + (node.any[0] ? node.any[0].message : "")).join(" | ")),
  });
}, 300));
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The path of each page."""
    folder = tmp_path_factory.mktemp("all-pages")
    runs = folder / "runs"
    small_seasons().to_csv(folder / "seasons.csv", index=False)
    card = folder / "card.toml"
    square = [[0, 0], [1, 0], [1, 1], [0, 0]]
    shapes = {f"field{n}": {"type": "Polygon", "coordinates": [[[x + 2 * n, y + 40] for x, y in square]]}
              for n in range(12)}  # fmt: skip
    features = [{"type": "Feature", "properties": {"place": name}, "geometry": shape} for name, shape in shapes.items()]
    (folder / "fields.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    card.write_text(CARD.replace("step_days", 'geometry = "fields.geojson"\nstep_days', 1))
    flags = ["--data", str(card), "--preset", "language-only", "--split", "forward", "--epochs", "2", "--steps", "6,9"]
    assert train.main(["--stage", "1", *flags, "--out", str(runs / "one")]) == 0
    two = ["--stage", "2", *flags, "--from", str(runs / "one")]
    assert train.main([*two, "--out", str(runs / "two")]) == 0
    assert train.main([*two, "--learner", "gp", "--out", str(runs / "gp")]) == 0
    assert explain.main(["--run", str(runs / "two")]) == 0
    assert compare([str(runs / "two"), str(runs / "gp"), "--out", str(folder / "compare.html")]) == 0
    assert look(["--data", str(card), "--out", str(folder / "data.html")]) == 0
    table = read(card)
    now = table.year == 2022
    pred = table.target[now]
    rows = pd.DataFrame({"sample_id": table.sample_id[now], "place": table.place[now], "year": table.year[now],
                         "y_pred": pred, "y_lo": pred - 1, "y_hi": pred + 1})  # fmt: skip
    known = pd.DataFrame({"place": table.place, "year": table.year, "target": table.target})
    page = ForecastPage(rows=rows, shapes=[shapes[place] for place in rows["place"]], known=known,
                        earlier=rows.assign(y_pred=pred + np.linspace(-1, 1, len(rows))), moment="after 9 of 12 steps",
                        about="On 36 held-out samples.", warnings=["No sample is observed."],
                        command="python predict.py")  # fmt: skip
    (folder / "forecasts.html").write_text(page.html())
    return {
        "stage-1": runs / "one" / "report.html",
        "stage-2": runs / "two" / "report.html",
        "explain": runs / "two" / "explain" / "explain.html",
        "compare": folder / "compare.html",
        "list": write_list(runs),
        "data": folder / "data.html",
        "forecasts": folder / "forecasts.html",
        "verdict": verdict_page(folder),
    }


def verdict_page(folder):
    """The page of a finished matrix of arms."""
    flags = ["--data", str(folder / "card.toml"), "--cache", str(folder / "cache"), "--split", "leave-year-out"]
    flags += ["--encoder", "efficientnet-lite0", "--out", str(folder / "matrix"), "--draws", "1000"]
    finished(flags, {WITH: 0.05})
    assert ablate.main(flags) == 0
    return folder / "matrix" / "verdict.html"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_and_nothing_is_cut_off(pages, tmp_path, name, width, dark):
    found, console = measured(pages[name], tmp_path, width, dark)
    assert console == []
    assert found["width"] == width
    assert found["faults"] == []
    assert found["cut"] == []
    assert found["outside"] == []
    assert found["empty"] == []
    assert found["scroll"] <= width


def test_a_dark_page_is_printed_on_white(pages, tmp_path):
    paper = tmp_path / "page.pdf"
    flags = [f"--print-to-pdf={paper}", "--no-pdf-header-footer", "--blink-settings=preferredColorScheme=0"]
    _, console = opened(pages["stage-2"], tmp_path, arguments=flags)
    assert console == []
    streams = re.findall(rb"stream\r?\n(.*?)endstream", paper.read_bytes(), re.DOTALL)
    fills = b""
    for stream in streams:
        with contextlib.suppress(zlib.error):  # fonts and pictures
            fills += b" ".join(re.findall(rb"[\d. ]+ rg", zlib.decompress(stream)))
    assert b" 1 1 1 rg" in fills  # --paper of the light scheme
    assert b" .1333 .1333 .1333 rg" in fills  # --ink
    assert b" .0784 .0902 .1059 rg" not in fills  # --paper of the dark scheme


def measured(page, folder, width, dark):
    """What MEASURE finds in a page in a frame of that width, and the lines of the console."""
    inner = folder / "inner.html"
    inner.write_text(page.read_text().replace("</body>", f"<script>{AXE}</script><script>{MEASURE}</script></body>"))
    outer = folder / "outer.html"
    outer.write_text(f"""<!doctype html><html lang="en"><title>none</title><body style="margin:0">
<iframe src="inner.html" style="border:0;width:{width}px;height:2400px"></iframe><script>
setInterval(() => {{ document.title = document.querySelector("iframe").contentDocument.title; }}, 200);
</script></body></html>""")
    flags = ["--dump-dom", "--allow-file-access-from-files"]
    flags += ["--blink-settings=preferredColorScheme=0"] if dark else []
    dom, console = opened(outer, folder, arguments=flags)
    return json.loads(html.unescape(re.search(r"<title>(.*?)</title>", dom, re.S)[1])), console
