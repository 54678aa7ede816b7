"""From run folders to the sentence and the page, which a real browser opens, sorts and draws."""

import json
import re
import shutil

import numpy as np
import pytest

import ablate
from tests.browser import NEEDS, opened
from tests.conftest import CARD, small_seasons
from tests.matrices import finished
from tests.reference_statistics import rmse
from verdict.arms import ARMS, CONTROLS, MAPS, WITH, WITHOUT
from verdict.results import collect

pytestmark = pytest.mark.slow

CHARTS = ("differences", "seeds", "groups", "cost")


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    """A finished matrix over leave-year-out whose pictures help, and the flags that made it."""
    folder = tmp_path_factory.mktemp("verdict")
    small_seasons().to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD)
    flags = ["--data", str(folder / "card.toml"), "--cache", str(folder / "cache"), "--split", "leave-year-out"]
    flags += ["--encoder", "efficientnet-lite0", "--seeds", "2", "--out", str(folder / "m"), "--draws", "2000"]
    made = finished(flags, {WITH: 0.05})
    assert ablate.main(flags) == 0
    return folder, flags, made


def test_the_sentence_follows_from_the_runs(matrix):
    folder, _, made = matrix
    record = json.loads((folder / "m" / "verdict.json").read_text())
    outcomes = collect(made.jobs, "year")
    truth, said = outcomes.truth, outcomes.arms
    gain = rmse(truth, said[WITHOUT].forecasts) - rmse(truth, said[WITH].forecasts)
    assert record["sentence"].startswith(f"Pictures lower the error by {gain:.3f} t/ha (95 %: ")
    (one,) = (c for c in record["comparisons"] if c["arm"] == WITH)
    assert one["difference"]["rmse"]["value"] == pytest.approx(-gain)
    assert one["difference"]["groups"] == 7
    assert one["difference"]["p"] == pytest.approx(2**-6)
    assert one["rule"] == pytest.approx(8 * 2**-6)  # of eight comparisons that the rule reads
    assert one["holm"] == pytest.approx(len(record["comparisons"]) * 2**-6)
    assert (record["verdict"], record["held_out"]) == ("cannot tell", "year")
    assert "above zero, but p is 0.016" in record["because"]
    assert set(record["arms"]) == {*(a.name for a in made.arms), *(m.name for m in MAPS), "global mean", "place mean",
                                   "offset alone", "ridge"}  # fmt: skip
    compared = {c["arm"]: c["against"] for c in record["comparisons"]}
    assert compared == {name: said[name].arm.against for name in said}
    assert record["rendering"][WITH]["pictures"] == 336
    assert record["rendering"][WITH]["embed"] == 8.0


def test_rows_are_those_of_the_table_whatever_the_order_in_the_runs(matrix):
    _, _, made = matrix
    outcomes = collect(made.jobs, "year")
    order = np.argsort(made.table.sample_id)
    np.testing.assert_array_equal(outcomes.sample_id, made.table.sample_id[order])
    np.testing.assert_array_equal(outcomes.truth, made.table.target[order])
    np.testing.assert_array_equal(outcomes.place, made.table.place[order])
    assert all(said.forecasts.shape == (2, len(made.table)) for said in outcomes.arms.values())


@pytest.mark.parametrize(
    ("split", "errors", "word"),
    [
        ("place", {WITH: 0.02}, "keep"),
        ("place", {WITH: 0.3, WITHOUT: 0.05}, "drop"),
        ("place", {WITH: 0.3, MAPS[0].name: 0.02}, "drop"),
        ("forward", {WITH: 0.02}, "cannot tell"),
    ],
)
def test_each_word_is_said_where_the_errors_ask_for_it(small_card, tmp_path, capsys, split, errors, word):
    flags = ["--data", str(small_card), "--cache", str(tmp_path / "c"), "--split", split, "--out", str(tmp_path / "m")]
    flags += ["--encoder", "efficientnet-lite0", "--seeds", "2", "--draws", "2000", "--arms", "controls"]
    finished(flags, errors)
    assert ablate.main(flags) == 0
    said = capsys.readouterr().out
    assert f": {word}.\n" in said
    assert ("the interval cannot be trusted" in said) == (split == "forward")


def test_runs_that_are_missing_are_named_and_what_is_there_is_compared(matrix, tmp_path, capsys, monkeypatch):
    folder, flags, _ = matrix
    shutil.copytree(folder / "m", tmp_path / "m")
    shutil.rmtree(tmp_path / "m" / "shuffled" / "seed1" / "stage2")
    at = flags.index("--out") + 1
    monkeypatch.setattr(ablate, "render", lambda *_: 0)
    assert ablate.main([*flags[:at], str(tmp_path / "m"), *flags[at + 1 :]]) == 1  # no cache: it fails
    said = capsys.readouterr()
    assert "failed: shuffled, seed 1, stage2: exit 2, " in said.err
    record = json.loads((tmp_path / "m" / "verdict.json").read_text())
    seeds = {c["arm"]: c["difference"]["seeds"] for c in record["comparisons"]}
    assert (seeds["shuffled"], seeds["noise"]) == (1, 2)
    page = (tmp_path / "m" / "verdict.html").read_text()
    assert "Not everything ran:" in page


def test_the_page_needs_no_network_and_says_how_it_was_made(matrix):
    folder, _, made = matrix
    page = (folder / "m" / "verdict.html").read_text()
    own = page.split("<script>")[0]
    assert not re.search(r'(?:src|href)="(?!data:)', own)
    assert "python ablate.py --data" in own
    assert "--control shuffled --seed 1" in own
    for fact in (made.table.fingerprint(), "a machine", "abc", "efficientnet-lite0"):
        assert fact in own
    assert own.count("data:image/png;base64") == 2  # both y-ranges
    assert "\N{GREATER-THAN OR EQUAL TO} 10" in own  # the arm that was resumed


PROBE = """
window.addEventListener("load", () => setTimeout(() => {
  const out = {};
  for (const id of CHARTS) out[id] = document.querySelectorAll("#chart-" + id + " .scatterlayer .point").length;
  out.bars = document.querySelectorAll("#chart-differences .errorbar").length;
  out.labels = [...document.querySelectorAll("#chart-groups .textpoint")].map(t => t.textContent);
  out.columns = {};
  for (const table of document.querySelectorAll("table[id]")) {
    out.columns[table.id] = [...table.tHead.rows[0].cells].map((head, at) => {
      const read = () => [...table.tBodies[0].rows].map(r => r.cells[at].dataset.value ?? r.cells[at].textContent);
      head.click(); const up = read(), said = head.getAttribute("aria-sort");
      head.click(); return {up, down: read(), said, then: head.getAttribute("aria-sort")};
    });
  }
  const pre = document.createElement("pre"); pre.id = "probe";
  pre.textContent = JSON.stringify(out); document.body.append(pre);
}, 500));
""".replace("CHARTS", json.dumps(CHARTS))


@NEEDS
def test_the_page_loads_without_an_error_sorts_and_draws(matrix, tmp_path):
    folder, _, made = matrix
    dom, console = opened(folder / "m" / "verdict.html", tmp_path, PROBE)
    assert console == []
    found = json.loads(
        re.search(r'<pre id="probe">(.*?)</pre>', dom, re.S)[1].replace("&gt;", ">").replace("&amp;", "&")
    )
    compared = len(made.arms) + len(MAPS) + 4
    assert {chart: found[chart] for chart in CHARTS} == {
        "differences": compared,
        "seeds": 2 * compared,
        "groups": 7,
        "cost": len(made.arms),
    }
    assert found["bars"] == compared
    assert sorted(found["labels"]) == [str(year) for year in range(2016, 2023)]
    assert set(found["columns"]) >= {"table-arms", "table-comparisons", "table-rendering"}
    for columns in found["columns"].values():
        for column in columns:
            assert (column["said"], column["then"]) == ("ascending", "descending")
            full = [value for value in column["up"] if value]
            assert sorted(column["up"]) == sorted(column["down"])
            if all(re.fullmatch(r"-?[\d.]+(e-?\d+)?|inf", value) for value in full):
                up, down = ([float(v) for v in column[way] if v] for way in ("up", "down"))
                assert up == sorted(up)
                assert down == sorted(down, reverse=True)


@NEEDS
def test_an_error_on_a_page_would_be_seen(tmp_path):
    page = tmp_path / "wrong.html"
    page.write_text("<html><body>hello</body></html>")
    _, console = opened(page, tmp_path, "missing.function()")
    assert len(console) == 1
    assert "missing is not defined" in console[0]


def test_every_arm_that_runs_has_its_own_folder(matrix):
    _, _, made = matrix
    folders = [job.folder for job in made.jobs]
    assert len(set(folders)) == len(folders) == 2 * (len(made.arms) + 1)
    assert {arm.name for arm in made.arms} | set(made.left_out) == {arm.name for arm in ARMS}
    assert set(CONTROLS) <= {arm.name for arm in made.arms}
