"""An exported run forecasts anywhere what the run forecast, and its ONNX is torch to 1e-5."""

import json
import re
import shutil

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch

import predict
import train
from model.export import onnx
from model.export.__main__ import load_part
from model.export.__main__ import main as export_main
from model.export.onnx import Forecasting, difference, write_onnx
from model.training.errors import Refused
from report.run import RunFolder
from tests.conftest import CARD, small_seasons
from tests.tasks import joint_task

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Stage 1 and 2 on the small table; stage 2 exported."""
    folder = tmp_path_factory.mktemp("export")
    small_seasons().to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD)
    flags = ["--data", str(folder / "card.toml"), "--preset", "language-only", "--epochs", "3"]
    assert train.main(["--stage", "1", *flags, "--out", str(folder / "one")]) == 0
    assert train.main(["--stage", "2", *flags, "--from", str(folder / "one"), "--out", str(folder / "two")]) == 0
    assert export_main(["--run", str(folder / "two"), "--out", str(folder / "model")]) == 0
    return folder


def test_predict_reads_the_folder_anywhere_and_says_the_same(exported, tmp_path):
    shutil.copytree(exported / "model", tmp_path / "elsewhere")
    forecasts = []
    for name, run in (("a", exported / "two"), ("b", tmp_path / "elsewhere")):
        out = tmp_path / f"{name}.csv"
        assert predict.main(["--run", str(run), "--data", str(exported / "card.toml"), "--out", str(out)]) == 0
        forecasts.append(out.read_bytes())
    assert forecasts[0] == forecasts[1]


def test_onnx_says_what_torch_says_on_the_run_s_own_seasons(exported):
    part = load_part(RunFolder(exported / "two"), "2022", 2)
    path = exported / "model" / "2022.onnx"
    assert difference(part.eval(), path, 50) <= 1e-5
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [found.name for found in session.get_inputs()]
    assert names == ["first_values", "first_observed", "second_values", "second_observed"]


def test_onnx_with_pictures_is_torch_to_1e_5_for_any_number_of_samples(tmp_path):
    part = Forecasting(joint_task().module).eval()
    assert write_onnx(part, tmp_path / "x.onnx") <= 1e-5
    assert difference(part, tmp_path / "x.onnx", 33) <= 1e-5
    with torch.no_grad():
        part.forecaster.yields.out.bias += 1.0
    assert difference(part, tmp_path / "x.onnx", 33) > 0.1  # the check can fail


def test_an_onnx_that_differs_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx, "difference", lambda *args: 1e-3)
    with pytest.raises(Refused, match=r"differs from torch by 1\.0e-03"):
        write_onnx(Forecasting(joint_task().module), tmp_path / "x.onnx")
    assert list(tmp_path.glob("*.onnx")) == []


def test_the_card_tells_data_scores_limits_and_what_is_to_be_filled_in(exported):
    card = (exported / "model" / "README.md").read_text()
    result = json.loads((exported / "two" / "result.json").read_text())
    for part in ("## Data", "## Scores on test rows", "RMSE, t/ha", "## Limits", "## Licence of the weights"):
        assert part in card
    assert result["data_fingerprint"] in card
    assert f"{result['metrics']['rmse']:.3f}" in card
    better = re.search(r"lower RMSE on the same rows: (.*)\.", card)[1].split(", ")
    for name, row in result["baselines"].items():
        assert f"| {name} | {row['r2']:.3f}" in card
        assert (name in better) == (row["rmse"] < result["metrics"]["rmse"])
    assert card.count("To be filled in") + card.count("to be filled in") == 2


def test_without_the_packages_the_message_says_what_to_install(exported, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(onnx, "find_spec", lambda name: None if name == "onnxscript" else name)
    out = tmp_path / "model"
    assert export_main(["--run", str(exported / "two"), "--out", str(out)]) == 2
    assert "pip install onnx onnxruntime onnxscript" in capsys.readouterr().err
    assert not out.exists()
    assert export_main(["--run", str(exported / "two"), "--out", str(out), "--no-onnx"]) == 0
    assert {path.name for path in out.iterdir()} == {
        "config.json",
        "fitted.json",
        "model.safetensors",
        "README.md",
        "result.json",
    }


def test_a_stage_1_run_exports_its_completion_and_stage_2_builds_on_the_folder(exported, tmp_path):
    out = tmp_path / "model"
    assert export_main(["--run", str(exported / "one"), "--out", str(out)]) == 0
    assert (out / "2022.onnx").is_file()
    flags = ["--data", str(exported / "card.toml"), "--preset", "language-only", "--epochs", "3", "--stage", "2"]
    assert train.main([*flags, "--from", str(out), "--out", str(tmp_path / "two")]) == 0
    forecasts = [pd.read_parquet(run / "predictions.parquet")["y_pred"] for run in (tmp_path / "two", exported / "two")]
    np.testing.assert_array_equal(*forecasts)


def test_a_folder_that_is_no_run_and_one_that_is_full_are_refused(exported, tmp_path, capsys):
    assert export_main(["--run", str(tmp_path)]) == 2
    assert "not a complete run" in capsys.readouterr().err
    assert export_main(["--run", str(exported / "two"), "--out", str(exported / "model")]) == 2
    assert "not empty" in capsys.readouterr().err
