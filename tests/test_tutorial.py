"""Every command of docs/tutorial.md runs, in its order, and makes what the page says."""

import json
import os
import re
import shlex
import subprocess
import sys

import pandas as pd
import pytest

from tests.browser import NEEDS, opened
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "tutorial.md").read_text()
COMMANDS = re.findall(r"^    python (.*)$", PAGE, re.M)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which all commands ran. Training is cut to one epoch, and the table to its last six years."""
    folder = tmp_path_factory.mktemp("tutorial")
    for name in ("demo", "examples"):
        (folder / name).symlink_to(ROOT / name)
    table = folder / "tutorial" / "seasons.csv"
    for command in COMMANDS:
        program, *flags = shlex.split(command)
        flags += ["--epochs", "1"] if program == "train.py" else []
        start = [program, *flags] if program == "-m" else [str(ROOT / program), *flags]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run([sys.executable, *start], cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        if "examples/tutorial.py" in command:
            pd.read_csv(table).query("year >= 1995").to_csv(table, index=False)
        if "draft_card" in command:
            (card,) = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
            (folder / "tutorial" / "card.toml").write_text(card)
            (folder / "tutorial" / "now.toml").write_text(card.replace('["seasons.csv"]', '["now.csv"]'))
    return folder / "tutorial"


def test_the_page_shows_the_whole_chain():
    programs = [shlex.split(command)[:2] for command in COMMANDS]
    assert ["-m", "pipeline.draft_card"] in programs
    for program in ("render_cache.py", "train.py", "explain.py", "predict.py"):
        assert program in [name for name, *_ in programs]


def test_every_field_is_forecast_and_the_map_has_its_outlines(folder):
    april, june = (pd.read_csv(folder / f"{month}.csv") for month in ("april", "june"))
    assert len(april) == len(june) == 16
    assert (june["y_lo"] <= june["y_pred"]).all()
    assert (june["y_pred"] <= june["y_hi"]).all()
    features = json.loads((folder / "june.geojson").read_text())["features"]
    assert {one["geometry"]["type"] for one in features} == {"Polygon"}
    assert len(pd.read_csv(folder / "places.csv")) == 16


def test_the_tokens_have_a_row_per_fold_sample_variate_and_window(folder):
    tokens = pd.read_parquet(folder / "tokens.parquet")
    assert len(tokens) == 3 * 16 * 3 * 2
    assert not tokens.duplicated(["fold", "sample_id", "variate", "window"]).any()
    numbers = tokens.filter(regex=r"^f\d+$")
    assert numbers.shape[1] > 16
    assert numbers.notna().all(axis=None)
    assert numbers.std().gt(0).any()


@NEEDS
def test_the_page_of_the_forecasts_says_what_changed_and_draws_it(folder, tmp_path):
    april, june = (pd.read_csv(folder / f"{month}.csv").set_index("sample_id") for month in ("april", "june"))
    change = june["y_pred"] - april["y_pred"]
    script = """
    document.title = JSON.stringify(Object.fromEntries([...document.querySelectorAll(".chart")].map(
      chart => [chart.id, chart.querySelectorAll(".point").length])));"""
    dom, console = opened(folder / "june.html", tmp_path, script)
    assert console == []
    marks = json.loads(re.search(r"<title>(.*?)</title>", dom)[1].replace("&quot;", '"'))
    assert marks == {"chart-map": 16, "chart-intervals": 32, "chart-changes": 16}
    headline = re.search(r'id="headline">(.*?)</p>', dom, re.S)[1]
    assert f"the mean changed by {change.mean():+.2f} t/ha" in headline
    assert f"{(change > 0).sum()} forecasts rose and {(change < 0).sum()} fell" in headline
    assert "days before harvest" in dom
    body = re.search(r'<table id="table-forecasts">.*?<tbody>(.*?)</tbody>', dom, re.S)[1]
    assert body.count("<tr") == 16
