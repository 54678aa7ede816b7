"""Files that version 0.1.0 wrote are read: a card, a cache, runs of both stages.

tests/data/version_0_1_0.zip was made at commit d129958, the last one of 0.1.0: eight samples of one variate on twelve
steps, drawn on 16 px, and two runs of width 4. `pred.csv` and `pred9.csv` are the forecasts of that version for the
whole season and after nine steps.
"""

import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cache.__main__ as cache_program
import predict
import render_cache
import train
from pipeline.sources import read
from report import summary
from report.run import RunFolder
from report.run_page.page import write_page
from stages.runs.command_line import parse

ARCHIVE = Path(__file__).parent / "data" / "version_0_1_0.zip"
DIGEST = "c1b0f0967aac539e8654643fd59b4e08"  # of the cache's pictures, by `python -m cache stats` of 0.1.0
RENDERED = ["--data", "card.toml", "--split", "year", "--style.size", "16", "--style.margin", "3", "--steps", "9"]


@pytest.fixture
def before(tmp_path, monkeypatch):
    """The working folder holds what 0.1.0 wrote."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_archive_stays_small():
    assert ARCHIVE.stat().st_size < 200_000


def test_the_card_gives_the_same_table(before):
    recorded = RunFolder.open(before / "two").read_json("result.json")
    assert read("card.toml").fingerprint() == recorded["data_fingerprint"]


def test_the_cache_holds_the_same_pictures_and_nothing_is_made_again(before, capsys):
    assert cache_program.main(["fsck", "--full", "--cache", "image_cache"]) == 0
    assert "0 problems" in capsys.readouterr().out
    assert cache_program.main(["stats", "--json", "--cache", "image_cache"]) == 0
    assert json.loads(capsys.readouterr().out)["content_digest"] == DIGEST
    assert render_cache.main([*RENDERED, "--encoder", "efficientnet-lite0", "--dry-run"]) == 0
    assert "0 to draw in 0 slabs, 0 to embed in 0 slabs" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(("flags", "file"), [([], "pred.csv"), (["--as-of", "9"], "pred9.csv")])
def test_predict_gives_the_forecasts_of_that_version(before, flags, file):
    assert predict.main(["--run", "two", "--data", "card.toml", "--out", "now.csv", *flags]) == 0
    now, then = pd.read_csv("now.csv"), pd.read_csv(file)
    assert now["sample_id"].tolist() == then["sample_id"].tolist()
    for column in ("y_pred", "y_lo", "y_hi"):
        np.testing.assert_allclose(now[column], then[column], atol=2e-4)  # t/ha, printed with four digits


def test_the_flags_of_its_config_are_read(before):
    args = parse(["--config", "two/config.json"], "")
    assert (args.stage, args.model.width, args.input.steps, args.style.size) == (2, 4, (9,), 16)
    assert str(args.model.from_) == "one"


@pytest.mark.slow
def test_stage_2_starts_from_its_stage_1_run(before):
    assert train.main(["--config", "two/config.json", "--out", "again"]) == 0
    result, first = (RunFolder.open(before / name).read_json("result.json") for name in ("again", "one"))
    assert (result["from"], result["cache_spec"]) == ("one", first["cache_spec"])


def test_the_page_and_the_summary_are_made_of_its_runs(before, capsys):
    table = read("card.toml")
    for name in ("one", "two"):
        assert "orchard" in write_page(RunFolder.open(before / name), table).read_text()
    assert summary.main(["--runs", "."]) == 0
    shown = capsys.readouterr().out
    for name, metric in (("one", "mse_standardised"), ("two", "rmse")):
        assert f"{RunFolder.open(before / name).read_json('result.json')['metrics'][metric]:.3f}" in shown
