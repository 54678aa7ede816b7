"""The commands of the README, end to end on a small table: in subprocesses where imports matter."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import predict
import render_cache
import train
from cache.__main__ import main as cache_main
from report.run import RunFolder

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
ENCODER = "efficientnet-lite0"


def run(*command, cwd):
    return subprocess.run([sys.executable, *map(str, command)], cwd=cwd, capture_output=True, text=True)


def text(captured):
    return captured.out + captured.err


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """The three commands on the small table, run once: render, stage 1, stage 2."""
    from tests.conftest import CARD, small_seasons

    folder = tmp_path_factory.mktemp("chain")
    small_seasons().to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD)
    data = ["--data", folder / "card.toml", "--cache", folder / "cache"]
    done = {
        "render": run(ROOT / "render_cache.py", "--workers", 16, "--encoder", ENCODER, *data, cwd=folder),
        "stage 1": run(ROOT / "train.py", "--stage", 1, "--epochs", 3, "--out", "one", *data, cwd=folder),
        "stage 2": run(
            ROOT / "train.py", "--stage", 2, "--epochs", 3, "--out", "two", "--from", "one", *data, cwd=folder
        ),
    }
    for name, process in done.items():
        assert process.returncode == 0, f"{name}: {process.stdout}{process.stderr}"
    return folder, done


def test_rendering_says_what_it_did(chain):
    last = chain[1]["render"].stdout.strip().splitlines()[-1]
    assert "336 series, 336 distinct images, 336 drawn, 0 reused" in last
    assert "336 embedded" in last


def test_a_run_folder_keeps_its_contract(chain):
    one, two = (RunFolder.open(chain[0] / name) for name in ("one", "two"))
    files = {"config.json", "metrics.jsonl", "predictions.parquet", "result.json", "model.safetensors", "report.html"}
    for folder in (one, two):
        assert files <= {path.name for path in folder.path.iterdir()}
        result = folder.read_json("result.json")
        assert {"stage", "preset", "split", "seed", "n_train", "n_valid", "n_test", "metrics", "baselines", "encoder",
                "cache_spec", "data_fingerprint", "commit", "version", "seconds"} <= set(result)  # fmt: skip
        assert {"read", "key", "draw", "embed", "train", "evaluate"} <= set(result["seconds"])
        assert result["encoder"] == ENCODER
        assert result["n_train"] + result["n_valid"] + result["n_test"] == 84
    completion = pd.read_parquet(one.path / "predictions.parquet")
    assert {"sample_id", "variate", "step", "split", "y_true", "y_pred"} <= set(completion)
    assert completion["step"].between(6, 11).all()
    forecast = pd.read_parquet(two.path / "predictions.parquet")
    assert {"sample_id", "place", "year", "split", "y_true", "y_pred", "y_lo", "y_hi"} <= set(forecast)
    test = forecast[forecast["split"] == "test"]
    assert len(test) == test["sample_id"].nunique() == 12
    assert (test["year"] == 2022).all()
    assert ((test["y_lo"] <= test["y_pred"]) & (test["y_pred"] <= test["y_hi"])).all()


def test_metrics_are_those_of_the_predictions(chain):
    forecast = pd.read_parquet(chain[0] / "two" / "predictions.parquet")
    test = forecast[forecast["split"] == "test"]
    error = test["y_pred"] - test["y_true"]
    metrics = json.loads((chain[0] / "two" / "result.json").read_text())["metrics"]
    assert metrics["rmse"] == pytest.approx(np.sqrt((error**2).mean()))
    assert metrics["mae"] == pytest.approx(error.abs().mean())
    assert metrics["r2"] == pytest.approx(1 - (error**2).sum() / ((test["y_true"] - test["y_true"].mean()) ** 2).sum())


def test_rendering_again_does_nothing_and_a_dry_run_touches_nothing(chain, capsys):
    folder = chain[0]
    cache = folder / "cache"
    before = sorted((p, p.stat().st_mtime_ns) for p in (cache / "images").rglob("*"))
    data = ["--data", str(folder / "card.toml"), "--cache", str(cache), "--encoder", ENCODER]
    assert render_cache.main(data) == 0
    assert "0 drawn, 336 reused; 0 embedded, 336 reused" in capsys.readouterr().out
    assert sorted((p, p.stat().st_mtime_ns) for p in (cache / "images").rglob("*")) == before
    assert render_cache.main([*data, "--dry-run", "--cache", str(folder / "other")]) == 0
    assert "336 to draw" in capsys.readouterr().out
    assert not (folder / "other").exists()


def test_the_preview_and_the_estimate_come_before_the_work(chain, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = ["--data", str(chain[0] / "card.toml"), "--cache", str(tmp_path / "cache"), "--encoder", ENCODER]
    assert render_cache.main([*data, "--dry-run", "--preview"]) == 0
    out = text(capsys.readouterr())
    assert {path.name for path in tmp_path.iterdir()} == {"preview.png", "data.html"}
    with Image.open(tmp_path / "preview.png") as sheet:
        assert sheet.size == (4 * (224 + 8) + 8, 6 * (224 + 34 + 8) + 8)  # 2 variates, numbers; 3 samples, 2 windows
    megabytes = float(re.search(r"estimate: .* and ([\d.]+) MB", out)[1])
    written = sum(p.stat().st_size for p in (chain[0] / "cache").glob("*/*/slabs/*/c/**/0")) / 1e6
    assert megabytes == pytest.approx(written, rel=0.3)


def test_an_estimate_comes_from_the_history_of_the_cache_without_a_trial(chain, capsys, monkeypatch):
    def trial(images):
        raise AssertionError("a trial, although the rates are known")

    first = json.loads(min((chain[0] / "cache" / "history").glob("*.json")).read_text())
    stages, engine = first["stages"], "openvino" if "OpenVINO" in first["by"] else "torch"
    monkeypatch.setattr("cache.run_log.ENOUGH", 300)
    monkeypatch.setattr("cache.estimate._trial_drawing", trial)
    data = ["--data", str(chain[0] / "card.toml"), "--cache", str(chain[0] / "cache"), "--encoder", ENCODER]
    data += ["--engine", engine, "--views", "10", "--dry-run"]
    assert render_cache.main([*data, "--workers", "16"]) == 0
    out = capsys.readouterr().out
    missing, estimate = (
        int(re.search(r"([\d,]+) to embed", out)[1].replace(",", "")),
        re.search(r"embed (\d+)\) and ([\d.]+) MB", out),
    )
    assert int(estimate[1]) == pytest.approx(missing * stages["embed"]["seconds"] / stages["embed"]["written"], abs=1)
    with pytest.raises(AssertionError, match="a trial"):  # another number of workers has another rate
        render_cache.main([*data, "--workers", "3"])


def test_a_y_range_that_cuts_is_named_before_the_work(chain, tmp_path, capsys):
    card = (chain[0] / "card.toml").read_text()
    (chain[0] / "narrow.toml").write_text(re.sub(r"high = [\d.]+", "high = 0.3", card, count=1))
    data = ["--data", str(chain[0] / "narrow.toml"), "--cache", str(tmp_path / "cache"), "--encoder", "none"]
    assert render_cache.main([*data, "--dry-run"]) == 0
    assert "of its values lie outside its y-range" in capsys.readouterr().out


def test_other_folds_share_their_pictures(chain, capsys):
    folder = chain[0]
    data = ["--data", str(folder / "card.toml"), "--cache", str(folder / "cache"), "--encoder", ENCODER]
    assert render_cache.main([*data, "--split", "leave-year-out", "--dry-run"]) == 0
    drawn = int(capsys.readouterr().out.split(" distinct images, ")[1].split(" to draw")[0])
    assert drawn <= 336 * 0.05


def test_predict_forecasts_new_seasons_without_a_yield_column(chain, capsys):
    folder = chain[0]
    new = pd.read_csv(folder / "seasons.csv").query("year == 2022").drop(columns="yield_t_ha")
    new.to_csv(folder / "new.csv", index=False)
    (folder / "new.toml").write_text((folder / "card.toml").read_text().replace("seasons.csv", "new.csv"))
    out = folder / "forecast.csv"
    arguments = ["--run", str(folder / "two"), "--data", str(folder / "new.toml"), "--cache", str(folder / "cache")]
    assert predict.main([*arguments, "--out", str(out)]) == 0, text(capsys.readouterr())
    forecast = pd.read_csv(out)
    assert list(forecast) == ["sample_id", "place", "year", "y_pred", "y_lo", "y_hi", "in_training"]
    assert not forecast["in_training"].any()  # 2022 is the year that the run held out
    old = pd.read_parquet(folder / "two" / "predictions.parquet").query("split == 'test'").set_index("place")["y_pred"]
    same_numbers = forecast.set_index("place")["y_pred"]
    # The same seasons give the same forecast: predict.py and train.py are one code path.
    np.testing.assert_allclose(same_numbers[old.index], old, atol=1e-3)
    assert predict.main([*arguments, "--out", str(out)]) == 2
    assert "exists" in capsys.readouterr().err


def test_predict_refuses_a_table_of_other_seasons(chain, capsys):
    folder = chain[0]
    (folder / "weekly.toml").write_text((folder / "card.toml").read_text().replace("step_days = 10", "step_days = 7"))
    arguments = ["--run", folder / "two", "--data", folder / "weekly.toml", "--out", folder / "weekly.csv"]
    assert predict.main(list(map(str, arguments))) == 2
    message = capsys.readouterr().err
    assert "step_days 7" in message
    assert "10" in message
    assert not (folder / "weekly.csv").exists()


@pytest.fixture
def ask(chain, tmp_path, capsys):
    """Forecast changed seasons: exit code and everything that was said."""
    cache = shutil.copytree(chain[0] / "cache", tmp_path / "cache")

    def forecast(change, out="forecast.csv"):
        new = pd.read_csv(chain[0] / "seasons.csv").query("year == 2022").drop(columns="yield_t_ha")
        bands = [column for column in new if column.startswith(("ndvi", "NIR"))]
        change(new, bands)
        new.to_csv(tmp_path / "seasons.csv", index=False)
        (tmp_path / "card.toml").write_text((chain[0] / "card.toml").read_text())
        data = ["--data", str(tmp_path / "card.toml"), "--cache", str(cache)]
        code = predict.main(["--run", str(chain[0] / "two"), "--out", str(tmp_path / out), *data])
        return code, text(capsys.readouterr())

    return forecast


def test_predict_refuses_numbers_of_another_scale(ask, tmp_path):
    def a_hundred_times(new, bands):
        new[[b for b in bands if b.startswith("NIR")]] *= 100

    code, said = ask(a_hundred_times)
    assert code == 2
    assert "NIR of" in said
    assert "the run was trained on" in said
    assert not (tmp_path / "forecast.csv").exists()


@pytest.mark.parametrize("value", [-9999.0, 65535.0])
def test_predict_refuses_one_mark_of_missing_data_and_rows_of_another_scale(ask, tmp_path, value):
    def one_mark(new, bands):
        new.loc[new.index[3], bands[5]] = value

    code, said = ask(one_mark)
    assert (code, f"{value:g} stands in 1 cell" in said) == (2, True), said

    def four_rows(new, bands):
        new.loc[new.index[:4], bands] *= 10_000

    code, said = ask(four_rows)
    assert (code, "4 of 12 samples" in said) == (2, True), said
    assert not (tmp_path / "forecast.csv").exists()


def test_predict_takes_bands_in_another_order(chain, tmp_path, capsys):
    new = pd.read_csv(chain[0] / "seasons.csv").query("year == 2022").drop(columns="yield_t_ha")
    new[[*new.columns[::-1]]].to_csv(tmp_path / "seasons.csv", index=False)
    straight = (chain[0] / "card.toml").read_text()
    variates = '[[variates]]\nname = "NIR"\n[[variates]]\nname = "ndvi"\nlow = -0.2\nhigh = 1.0\n'
    turned = f'{straight.partition("[[")[0]}{variates}[target]\ncolumn = "yield_t_ha"\nunit = "t/ha"\n'
    shutil.copytree(chain[0] / "cache", tmp_path / "cache")
    forecasts = []
    for name, card in (("turned", turned), ("straight", straight)):
        (tmp_path / "card.toml").write_text(card)
        arguments = ["--run", chain[0] / "two", "--data", tmp_path / "card.toml", "--cache", tmp_path / "cache"]
        code = predict.main([*map(str, arguments), "--out", str(tmp_path / f"{name}.csv")])
        assert code == 0, text(capsys.readouterr())
        forecasts.append(pd.read_csv(tmp_path / f"{name}.csv"))
    pd.testing.assert_frame_equal(*forecasts)


def test_predict_says_where_the_interval_is_worth_less(ask):
    def half_a_season(new, bands):
        late = new["place"] == "field3"
        new.loc[late, [b for b in bands if int(b[-2:]) >= 6]] = np.nan

    code, said = ask(half_a_season)
    assert code == 0
    assert "In 1 sample, such as field3|2022, fewer steps are observed than in any training season" in said
    assert "was in the run's data" not in said


def test_predict_says_that_rows_it_learnt_from_are_no_forecast(ask):
    def another_year(new, bands):
        new["year"] = 2020

    code, said = ask(another_year)
    assert code == 0
    assert "12 samples (same place and year). For these rows, which have in_training = True, y_pred is a fit" in said


@pytest.mark.parametrize(
    ("out", "said"), [("forecast.xlsx", "must end in .csv"), ("nowhere/forecast.csv", "no folder")]
)
def test_predict_refuses_an_output_that_cannot_be_before_the_work(ask, out, said):
    code, message = ask(lambda new, bands: None, out)
    assert (code, said in message) == (2, True)


def test_training_without_a_cache_names_the_command_that_makes_it(chain, tmp_path, capsys):
    data = ["--data", str(chain[0] / "card.toml"), "--cache", str(tmp_path / "none")]
    assert train.main(["--stage", "1", "--out", str(tmp_path / "x"), *data]) == 2
    assert (
        f"python render_cache.py --data {chain[0] / 'card.toml'} --cache {tmp_path / 'none'}" in capsys.readouterr().err
    )
    assert not (tmp_path / "x").exists()


def test_stage_2_without_stage_1_names_the_command(chain, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = ["--data", str(chain[0] / "card.toml"), "--cache", str(chain[0] / "cache")]
    assert train.main(["--stage", "2", *data]) == 2
    assert f"python {ROOT / 'train.py'} --stage 1 --data" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_same_seed_gives_the_same_weights_bit_for_bit(chain, tmp_path):
    folder = chain[0]
    arguments = ["--stage", "1", "--epochs", "3", "--data", str(folder / "card.toml"), "--cache", str(folder / "cache")]
    assert train.main([*arguments, "--out", str(tmp_path / "again")]) == 0
    assert train.main([*arguments, "--out", str(tmp_path / "other"), "--seed", "1"]) == 0
    weights = [(f / "model.safetensors").read_bytes() for f in (folder / "one", tmp_path / "again", tmp_path / "other")]
    assert weights[0] == weights[1] != weights[2]


def test_the_training_path_imports_no_plotting_and_no_encoder(chain, tmp_path):
    code = """
import sys, train
write_run = train.write_run
def after_training(*inputs, **named):  # the page, written last, needs Pillow
    names = ("matplotlib", "open_clip", "timm", "transformers", "zarr", "PIL", "plotly")
    print("loaded", [name for name in names if name in sys.modules])
    write_run(*inputs, **named)
train.write_run = after_training
assert train.main(sys.argv[1:]) == 0
"""
    data = ["--data", chain[0] / "card.toml", "--cache", chain[0] / "cache"]
    done = run("-c", code, "--stage", 1, "--epochs", 1, "--out", tmp_path / "run", *data, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "loaded []" in done.stdout.splitlines()


@pytest.mark.parametrize("preset", ["language-only", "vision-only", "no-alignment"])
def test_every_preset_runs_both_stages(chain, tmp_path, preset):
    folder = chain[0]
    arguments = [
        "--epochs",
        "1",
        "--preset",
        preset,
        "--data",
        str(folder / "card.toml"),
        "--cache",
        str(folder / "cache"),
    ]
    one, two = tmp_path / "one", tmp_path / "two"
    assert train.main(["--stage", "1", "--out", str(one), *arguments]) == 0
    assert train.main(["--stage", "2", "--out", str(two), "--from", str(one), *arguments]) == 0
    encoder = json.loads((two / "result.json").read_text())["encoder"]
    assert encoder == (None if preset == "language-only" else ENCODER)


def test_stats_and_contact_sheet(chain, tmp_path, capsys):
    cache = str(chain[0] / "cache")
    assert cache_main(["stats", "--cache", cache, "--json"]) == 0
    stats = json.loads(capsys.readouterr().out)
    assert (stats["images"], stats["series"]) == (336, 336)
    assert cache_main(["show", "--cache", cache, "--out", str(tmp_path / "sheet.png")]) == 0
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    "arguments",
    [
        ["--workers", "0"],
        ["--data", "nowhere.csv"],
        ["--encoder", "open_clip:ViT-B-32/nowhere.pt"],
        ["--style.size", "3"],
        ["--seed", "-1"],
        ["--memory-gb", "0"],
        ["--scheduler", "tcp://127.0.0.1:9"],
    ],
)
def test_bad_arguments_exit_2_and_write_nothing(chain, tmp_path, capsys, arguments):
    cache = tmp_path / "cache"
    given = ["--data", str(chain[0] / "card.toml"), "--cache", str(cache), *arguments]
    assert render_cache.main(given) == 2
    assert len(capsys.readouterr().err.strip()) > 40
    assert not cache.exists()


@pytest.mark.parametrize(
    ("mine", "said"), [("cache", "is a file"), ("cache/fields.csv", "other files in it (fields.csv)")]
)
def test_a_cache_where_other_things_are_is_refused_and_they_stay(chain, tmp_path, capsys, mine, said):
    (tmp_path / mine).parent.mkdir(exist_ok=True)
    (tmp_path / mine).write_text("mine")
    for more in ([], ["--dry-run"]):
        given = ["--data", str(chain[0] / "card.toml"), "--cache", str(tmp_path / "cache"), *more]
        assert render_cache.main(given) == 2
        assert said in capsys.readouterr().err
    assert [path.read_text() for path in tmp_path.rglob("*") if path.is_file()] == ["mine"]


@pytest.mark.parametrize(
    ("out", "said"), [("sheet.md", "must end in .png"), ("nowhere/sheet.png", "no folder"), ("folder.png", "exists")]
)
def test_a_sheet_that_cannot_be_written_is_refused_before_the_work(chain, tmp_path, capsys, out, said):
    (tmp_path / "folder.png").mkdir()
    assert cache_main(["show", "--cache", str(chain[0] / "cache"), "--out", str(tmp_path / out)]) == 2
    assert said in capsys.readouterr().err


def test_a_full_cache_that_cannot_be_written_to_is_no_error(chain, capsys, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("cache.folder.Folder.replace", refuse)
    data = ["--data", str(chain[0] / "card.toml"), "--cache", str(chain[0] / "cache")]
    assert render_cache.main([*data, "--encoder", ENCODER]) == 0
    assert "this run is not recorded" in capsys.readouterr().out
    assert render_cache.main([*data, "--encoder", "none", "--style.size", "32"]) == 1
    assert "Permission denied" in capsys.readouterr().err
