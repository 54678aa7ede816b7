"""The page of the data: its size and text, the commands that write it, and the page in a real browser."""

import html
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import render_cache
from pipeline.sources import read
from report.data.__main__ import main
from report.data.charts import charts_of
from report.data.page import headline, page, tables_of, write_data_page
from report.data.summary import summarise
from report.interactive import as_json
from tests.browser import NEEDS, opened
from tests.conftest import CARD, small_seasons
from tests.data_pages import made, numbers_of, saved

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES = 6_000_000


def test_a_page_holds_no_number_that_json_cannot():
    assert as_json({"a": [1.0, float("nan"), (float("inf"), "b")]}) == {"a": [1.0, None, [None, "b"]]}


@pytest.mark.slow
def test_a_large_table_is_summarised_and_says_so(tmp_path):
    table = made(n=100_000, variates=3, steps=36, places=9_000)
    (tmp_path / "t.csv").write_text("")
    seen = summarise(table, str(tmp_path / "t.csv"))
    write_data_page(seen, tmp_path / "data.html")
    text = (tmp_path / "data.html").read_text()
    assert len(text.encode()) < MOST_BYTES
    assert "a sample of 1,500 of 100,000 rows" in text
    assert "A sample of 60 of 9,000 places" in text
    assert headline(seen) == (
        "100,000 samples of 9,000 places in 12 years (2001 to 2012), all with a yield; 3 variates on 36 steps."
    )
    points = sum(len(trace.get("x", [])) for chart in numbers_of(text).values() for trace in chart["data"])
    assert points < 5_000


def test_rows_that_are_still_used_are_not_listed_as_lost(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("ndvi_0,ndvi_1,y2022\n0.1,0.2,3\n0.4,0.5,\n0.3,0.7,4\n")
    found = tables_of(summarise(read(path), str(path)))
    assert [row[0].text for row in found["counts"].rows] == ["sample without a yield dropped"]
    assert [row[0].text.partition(":")[0] for row in found["noted"].rows] == ["sample named after its row"]


def test_names_of_the_data_cannot_become_part_of_the_page(tmp_path):
    frame = small_seasons()
    frame.loc[frame.place == "field3", "place"] = "</script><b>x"
    frame.loc[frame.place == "field4", "place"] = "--blue"
    card = saved(tmp_path, frame)
    text = page(summarise(read(card), str(card)))
    assert "</script><b>x" not in text
    assert "\\u003c/script>\\u003cb>x" in text.replace("\\u003e", ">")


@pytest.mark.slow
def test_the_command_writes_a_page_that_needs_no_network(small_card, tmp_path):
    command = [sys.executable, "-m", "report.data", "--data", str(small_card), "--out", str(tmp_path / "data.html")]
    for _ in range(2):  # an earlier page is replaced
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=True)
    assert ran.stdout.startswith("small: 84 samples of 12 places in 7 years (2016 to 2022), all with a yield; ")
    assert ran.stdout.endswith(f"page: {tmp_path / 'data.html'}\n")
    text = (tmp_path / "data.html").read_text()
    assert len(text.encode()) < MOST_BYTES
    own = text.split("<script>")[0]
    assert not re.search(r'(?:src|href)="(?!data:|#)', own)
    assert own.count("data:image/png;base64") == 8
    for words in ("seasons.csv", read(small_card).fingerprint(), "--split auto takes year"):
        assert words in own


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--data", "nowhere.csv"], "nowhere.csv"),
        (["--out", "data.pdf"], ".html"),
        (["--out", "no/folder/data.html"], "no/folder"),
    ],
)
def test_bad_input_ends_in_a_paragraph_and_exit_2(small_card, tmp_path, capsys, monkeypatch, flags, words):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert main(["--data", str(small_card), *flags]) == 2
    said = capsys.readouterr().err
    assert said.startswith("report.data: ")
    assert words in said
    assert sorted(tmp_path.iterdir()) == before


def test_a_table_to_be_forecast_is_shown_without_yields(tmp_path, capsys):
    card = saved(tmp_path, small_seasons().drop(columns="yield_t_ha"))
    flags = ["--data", str(card), "--out", str(tmp_path / "data.html")]
    assert main(flags) == 2
    assert main([*flags, "--for-prediction"]) == 0
    assert "without yields" in capsys.readouterr().out
    text = (tmp_path / "data.html").read_text()
    assert "No yield is known." in text
    assert "yields" not in numbers_of(text)


def test_a_dry_run_writes_the_page_and_prints_its_path(small_card, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--data", str(small_card), "--encoder", "none", "--cache", str(tmp_path / "cache"), "--dry-run"]
    assert render_cache.main(flags) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("data.html: the contents of the table")
    assert "small: the data" in (tmp_path / "data.html").read_text()
    assert not (tmp_path / "cache").exists()
    (tmp_path / "data.html").unlink()
    (tmp_path / "data.html").mkdir()
    assert render_cache.main(flags) == 0
    assert "data.html could not be written" in capsys.readouterr().err


def test_a_page_that_cannot_be_written_leaves_nothing(small_card, tmp_path):
    (tmp_path / "data.html").mkdir()
    with pytest.raises(OSError, match=r"data\.html could not be written"):
        write_data_page(summarise(read(small_card), str(small_card)), tmp_path / "data.html")
    assert [path.name for path in tmp_path.glob("*data*")] == ["data.html"]


# The browser

MARKS = ".boxlayer path.box, .heatmaplayer image, .scatterlayer .point, .barlayer .point"
PROBE = """
window.addEventListener("load", () => setTimeout(() => {
  const out = {width: innerWidth, needs: document.documentElement.scrollWidth, marks: {}, cut: [], colours: []};
  for (const chart of document.querySelectorAll(".chart")) {
    out.marks[chart.id] = chart.querySelectorAll("MARKS").length;
    const whole = chart.getBoundingClientRect();
    for (const text of chart.querySelectorAll("svg text")) {
      const at = text.getBoundingClientRect();
      if (at.width && (at.left < whole.left - 1 || at.right > whole.right + 1 || at.bottom > whole.bottom + 1))
        out.cut.push(chart.id + ": " + text.textContent);
    }
  }
  for (const part of document.querySelectorAll("h1, h2, h3, h4, p, li, dd, figure, img, .scroll, .chart"))
    if (part.getBoundingClientRect().right > innerWidth + 1) out.cut.push(part.outerHTML.slice(0, 80));
  const list = document.querySelector("select[data-chart]");
  list.selectedIndex = 2; list.dispatchEvent(new Event("change"));
  out.chosen = document.getElementById("chart-" + list.dataset.chart).data.map(trace => trace.visible);
  parent.postMessage(JSON.stringify(out), "*");
}, 1500));
""".replace("MARKS", MARKS)
FRAME = """<!doctype html><html><body style="margin:0"><script>
addEventListener("message", event => {
  const pre = document.createElement("pre"); pre.id = "probe"; pre.textContent = event.data;
  document.body.append(pre);
});
</script><iframe src="inner.html" width="WIDTH" height="2000" style="border:0"></iframe></body></html>"""


def shown(text, folder, width):
    """What the probe finds in a page that is `width` pixels wide (a window of Chromium has at least 500)."""
    (folder / "inner.html").write_text(text.replace("</body>", f"<script>{PROBE}</script></body>"))
    (folder / "frame.html").write_text(FRAME.replace("WIDTH", str(width)))
    dom, console = opened(folder / "frame.html", folder)
    return json.loads(html.unescape(re.search(r'<pre id="probe">(.*?)</pre>', dom, re.S)[1])), console


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    """The page of a table with everything: two files, positions, history of a kind, long names, outliers."""
    folder = tmp_path_factory.mktemp("rich")
    frame = small_seasons()
    frame["place"] = "a municipality with a long name " + frame["place"]
    number = frame["place"].str.extract(r"(\d+)$")[0].astype(float)
    frame = frame.assign(lat=48 + number / 10, lon=8 + (number % 4) / 7)
    frame.loc[5, "yield_t_ha"] = 19.0
    frame, number = frame.drop(index=17), number.drop(17)
    frame[number < 6].to_csv(folder / "first_half_of_the_municipalities.csv", index=False)
    frame[number >= 6].to_csv(folder / "b.csv", index=False)
    card = 'latitude = "lat"\nlongitude = "lon"\nharvest = "08-15"\n' + CARD
    (folder / "card.toml").write_text(
        card.replace('["seasons.csv"]', '["first_half_of_the_municipalities.csv", "b.csv"]')
    )
    return summarise(read(folder / "card.toml"), str(folder / "card.toml"))


@pytest.mark.slow
@NEEDS
@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_loads_without_an_error_and_nothing_is_cut_off(rich, tmp_path, width):
    found, console = shown(page(rich), tmp_path, width)
    assert console == []
    charts = [chart.id for several in charts_of(rich).values() for chart in several]
    assert {*charts} == {"observed", "observed-years", "year-0", "year-1", "file-0", "file-1", "yields", "places-count",
                         "places", "map"}  # fmt: skip
    assert {name for name, marks in found["marks"].items() if marks} == {f"chart-{name}" for name in charts}
    assert found["marks"]["chart-year-0"] == 7
    assert found["marks"]["chart-file-0"] == 2
    assert found["marks"]["chart-map"] == 12
    assert found["marks"]["chart-yields"] == 7 + 83 + len(rich.yields.outliers)
    assert found["cut"] == []
    assert found["needs"] <= found["width"] <= width
    assert found["chosen"] == [False, False, True]
