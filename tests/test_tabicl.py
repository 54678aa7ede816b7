"""The optional learner TabICL: its context, its weights from a file or the hub, and what is refused.

The package carries no weights, so a small network with random weights stands for the trained one.
"""

from __future__ import annotations

import importlib.util
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

import explain
import predict
import train
from model.encoders import hub
from model.encoders.spec import file_digest
from model.learners import tabicl
from model.learners.features import Features
from model.learners.tabicl import FILE, REPOSITORY, Checkpoint, InContext
from model.learners.tabular import TABICL, Tabular, TabularRows
from model.training.errors import Refused
from report.run import RunFolder
from stages.runs.command_line import parse
from stages.runs.run_inputs import prepare_inputs
from stages.yields.yield_forecaster import Forecaster
from tests.conftest import CARD, small_seasons

pytest.importorskip("tabicl", reason="the package tabicl is not installed")
SIZES = {"num_quantiles": 19, "embed_dim": 8, "col_num_blocks": 1, "col_nhead": 2, "col_num_inds": 4,
         "row_num_blocks": 1, "row_nhead": 2, "row_num_cls": 2, "icl_num_blocks": 1, "icl_nhead": 2}  # fmt: skip


def write_network(path, seed=0, max_classes=0):
    """A checkpoint of TabICL's form with random weights; by default its layers would start at zero."""
    from tabicl._model.tabicl import TabICL

    torch.manual_seed(seed)
    network = TabICL(max_classes=max_classes, **SIZES)
    state = {name: t + 0.3 * torch.randn_like(t) if t.is_floating_point() else t for name, t in
             network.state_dict().items()}  # fmt: skip
    torch.save({"config": {"max_classes": max_classes, **SIZES}, "state_dict": state}, path)
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_network(tmp_path_factory.mktemp("tabicl") / "small.ckpt")


class NoMap:
    """Stands for the feature map, which this learner only keeps."""

    names = ("numbers",)

    @staticmethod
    def state():
        return {}

    @staticmethod
    def record():
        return {}


def made_rows(n=30, seed=0):
    rng = np.random.default_rng(seed)
    columns = rng.normal(0, 1, (n, 4))
    columns[0, 3] = np.nan
    features = Features({"numbers": torch.from_numpy(columns).float()}, columns)
    return TabularRows(features, np.array(["p"] * n), np.full(n, 2020), rng.normal(5, 1, n)), rng.normal(0, 1, n)


@settings(max_examples=5, deadline=None)
@given(factor=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_forecasts_have_the_unit_of_the_anomaly_and_follow_the_context(weights, factor, shift):
    rng = np.random.default_rng(0)
    known, asked, anomaly = rng.normal(0, 1, (30, 4)), rng.normal(0, 1, (6, 4)), rng.normal(0, 1, 30)
    checkpoint = Checkpoint.find(weights)

    def forecast(y):
        return InContext(known, y, checkpoint, seed=0).predict(asked, quantiles=True)

    base = forecast(anomaly)
    assert base.shape == (6, 3)
    assert (base[:, 1] <= base[:, 2]).all()
    np.testing.assert_allclose(forecast(shift + factor * anomaly), shift + factor * base, atol=2e-3 * factor)
    assert not np.allclose(forecast(anomaly[::-1].copy()), base, atol=1e-3)


@pytest.mark.parametrize("quantiles", [False, True])
def test_it_forecasts_the_same_after_it_was_saved(weights, quantiles, monkeypatch):
    rows, anomaly = made_rows()
    known = rows.rows(np.arange(20))
    checkpoint = Checkpoint.find(weights)
    fitted = Tabular.fit(NoMap, known, anomaly[:20], (TABICL,), quantiles=quantiles, checkpoint=checkpoint)
    monkeypatch.setattr("model.learners.tabular.FeatureMap.from_state", lambda record, state: NoMap)
    again = Tabular.from_state(json.loads(json.dumps(fitted.record())), load(save(fitted.state())))
    forecast = fitted.forecast(rows)[TABICL]
    assert forecast.shape == (30, 3 if quantiles else 1)
    np.testing.assert_array_equal(again.forecast(rows)[TABICL], forecast)


@pytest.fixture(scope="module")
def run(tmp_path_factory, weights):
    """A run of two folds whose only learner is TabICL, and its own copy of the weights."""
    folder = tmp_path_factory.mktemp("tabicl_run")
    small_seasons().to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD)
    shutil.copy(weights, folder / "small.ckpt")
    common = ["--data", str(folder / "card.toml"), "--preset", "language-only", "--split", "forward"]
    assert train.main(["--stage", "1", *common, "--epochs", "1", "--out", str(folder / "one")]) == 0
    assert train.main([*flags_of(folder), "--out", str(folder / "two")]) == 0
    return folder


def flags_of(folder):
    """The flags of a stage-2 run on the small table."""
    learner = ["--learner", "tabicl", "--tabicl-weights", str(folder / "small.ckpt")]
    data = ["--data", str(folder / "card.toml"), "--preset", "language-only", "--split", "forward"]
    return ["--stage", "2", *data, *learner, "--steps", "6", "--from", str(folder / "one")]


@pytest.mark.slow
def test_a_loaded_run_forecasts_as_it_did_in_training(run, tmp_path):
    result = json.loads((run / "two" / "result.json").read_text())
    assert set(result["learners"]) == {"offset", TABICL}
    members = pd.read_parquet(run / "two" / "members.parquet").query("name == @TABICL").set_index("sample_id")
    inputs = prepare_inputs(parse(flags_of(run), ""))
    for prepared in inputs.prepared:
        rows, forecaster = prepared.fold.test, Forecaster.load(RunFolder(run / "two"), prepared.fold.name)
        base, found = forecaster.anomalies(inputs.table, prepared.seasons[0], rows)
        stored = members.loc[inputs.table.sample_id[rows], "y_pred"]
        np.testing.assert_allclose(np.maximum(base + found[TABICL].point, 0), stored, atol=1e-5)
        assert np.ptp(found[TABICL].point) > 1e-3
    assert explain.main(["--run", str(run / "two"), "--out", str(tmp_path / "explained")]) == 0


@pytest.mark.slow
def test_a_run_whose_weights_are_gone_or_others_is_refused(run, tmp_path, capsys):
    flags = ["--run", str(run / "two"), "--data", str(run / "card.toml"), "--out", str(tmp_path / "out.csv")]
    weights = run / "small.ckpt"
    kept = weights.read_bytes()
    weights.unlink()
    assert predict.main(flags) == 2
    assert f"{weights}, the weights of TabICL, is missing" in capsys.readouterr().err
    write_network(weights, seed=1)
    assert predict.main(flags) == 2
    assert f"has the digest {file_digest(weights)}, but the run used weights of TabICL with" in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()
    weights.write_bytes(kept)
    assert predict.main(flags) == 0


def refused(card, *more):
    return train.main(["--stage", "2", "--data", str(card), "--preset", "language-only", *more])


def test_what_cannot_be_used_is_refused_before_anything_is_read(small_card, tmp_path, weights, monkeypatch, capsys):
    other = write_network(tmp_path / "classes.ckpt", max_classes=3)
    (tmp_path / "text.ckpt").write_text("no weights")
    for path, said in ((other, "weights for 3 classes"), (tmp_path / "text.ckpt", "holds no weights of TabICL"),
                       (tmp_path / "none.ckpt", "is missing")):  # fmt: skip
        assert refused(small_card, "--learner", "tabicl", "--tabicl-weights", str(path)) == 2
        assert said in capsys.readouterr().err
    assert refused(small_card, "--tabicl-weights", str(weights)) == 2
    assert "is for --learner tabicl, but --learner is ensemble" in capsys.readouterr().err
    monkeypatch.setattr(hub, "obstacle", lambda repo, filename: ConnectionError("no route"))
    monkeypatch.setattr(hub, "cached", lambda repo, filenames: None)
    assert refused(small_card, "--learner", "tabicl") == 2
    said = capsys.readouterr().err
    assert (
        f"--learner tabicl without --tabicl-weights needs {FILE} of {REPOSITORY}: the local hub cache has no such file"
        in said
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert refused(small_card, "--learner", "tabicl") == 2
    assert f"needs the package tabicl, which is not installed. Run: {tabicl.INSTALL}" in capsys.readouterr().err


def test_weights_in_the_cache_of_the_hub_are_found_without_a_path(weights, monkeypatch):
    monkeypatch.setattr(hub, "cached", lambda repo, files: weights if (repo, files) == (REPOSITORY, (FILE,)) else None)
    assert Checkpoint.find(None) == Checkpoint(str(weights), file_digest(weights))
    with pytest.raises(Refused, match="digest"):
        Checkpoint.find(None, "0" * 32)
