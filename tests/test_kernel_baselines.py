"""Controls of the verdict: pictures that say nothing of their sample, and an encoder that never learnt anything."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import predict
import render_cache
import train
from model.encoders import load, resolve
from model.metrics import yield_metrics
from pipeline.splits import Fold, make_folds
from stages.inputs.fold_data import controlled
from stages.runs.command_line import accepts
from stages.yields.fold_offset import fold_offset, known_in
from tests.made_seasons import made
from verdict.kernel_baselines import maps_of

PARTS = ("train", "valid", "test")


@st.composite
def folds(draw):
    """Vectors [2,N,V,D], each telling its sample and variate, and a fold that leaves some samples out."""
    count = draw(st.integers(9, 40))
    cuts = sorted(draw(st.sets(st.integers(2, count - 2), min_size=2, max_size=2)))
    order = np.random.default_rng(draw(st.integers(0, 99))).permutation(count)
    train_, valid, test = np.split(order[: count - 1], cuts)
    vectors = np.arange(count, dtype=np.float16)[:, None, None] + np.zeros((2, count, 3, 4), np.float16)
    return vectors + np.float16(0.25) * np.arange(3)[:, None], Fold("a", *map(np.sort, (train_, valid, test)))


@given(folds(), st.integers(0, 5))
def test_shuffled_vectors_come_from_another_sample_of_the_same_variate_and_part(case, seed):
    vectors, fold = case
    shuffled = controlled(vectors.astype(np.float16), fold, "shuffled", seed)
    source = shuffled[0, :, 0, 0].astype(int)
    np.testing.assert_array_equal(shuffled, vectors[:, source])
    for part in PARTS:
        rows = getattr(fold, part)
        assert sorted(source[rows]) == sorted(rows)
        if len(rows) > 1:
            assert (source[rows] != rows).all()
    np.testing.assert_array_equal(shuffled, controlled(vectors.astype(np.float16), fold, "shuffled", seed))


def test_noise_has_mean_and_spread_of_the_training_rows_and_knows_no_other_row():
    rng = np.random.default_rng(0)
    vectors = rng.normal(3, 2, (2, 4000, 1, 3)).astype(np.float16)
    fold = Fold("a", np.arange(3000), np.arange(3000, 3500), np.arange(3500, 4000))
    noise = controlled(vectors, fold, "noise").astype(np.float64)
    np.testing.assert_allclose(noise.mean(1), vectors[:, :3000].astype(float).mean(1), atol=0.2)
    np.testing.assert_allclose(noise.std(1), vectors[:, :3000].astype(float).std(1), rtol=0.1)
    assert abs(np.corrcoef(noise[0, :, 0, 0], vectors[0, :, 0, 0].astype(float))[0, 1]) < 0.1
    vectors[:, 3000:] = 7
    np.testing.assert_array_equal(noise, controlled(vectors, fold, "noise").astype(np.float64))
    assert controlled(vectors, fold, "none") is vectors


def test_maps_start_from_the_offset_of_the_forecast():
    """Without anything to learn from, each forecast is this offset plus the mean anomaly."""
    rng = np.random.default_rng(0)
    year, place = np.repeat(np.arange(2010, 2018), 9), np.tile([f"p{i}" for i in range(9)], 8)
    level, shock = np.tile(rng.normal(6, 1, 9), 8), np.repeat(rng.normal(0, 1, 8), 9)
    flat = np.zeros((72, 2, 6), np.float32)
    table = replace(
        made(steps=6, samples=72),
        values=flat,
        observed=np.ones(flat.shape, bool),
        target=level + shock + rng.normal(0, 0.3, 72),
        place=place,
        year=year,
    )
    (fold,) = make_folds(table.year, table.place, table.sample_id, split="year")
    fitted = np.sort(np.concatenate([fold.train, fold.valid]))
    known, at = known_in(table, fold, fitted), (table.place[fold.test], table.year[fold.test])
    offset = fold_offset(table, fold).predict(known, *at)
    assert np.ptp(offset) > 0.5
    for forecast in maps_of(table, fold, np.zeros((2, 72, 2, 4), np.float16), seed=0).values():
        np.testing.assert_allclose(forecast - offset, (forecast - offset)[0], atol=1e-9)


@pytest.mark.slow
def test_the_untrained_encoder_is_the_same_in_every_process_and_is_no_other():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    spec = resolve("random:efficientnet-lite0")
    ink = np.random.default_rng(0).integers(0, 256, (4, 224, 224), dtype=np.uint8)
    rgb = np.zeros((4, 3), np.uint8)
    first = load(spec, "torch").encode(ink, rgb)
    assert torch.equal(torch.get_rng_state(), before)
    load.cache_clear()
    torch.manual_seed(6)
    np.testing.assert_array_equal(first, load(spec, "torch").encode(ink, rgb))
    assert first.astype(float).std() > 0.05
    assert spec.to_dict() != resolve("efficientnet-lite0").to_dict()


@pytest.mark.parametrize(
    ("name", "value", "known"),
    [
        ("preset", "language-only", True),
        ("preset", "no-such-preset", False),
        ("no-such-flag", "1", False),
        ("style.y-range", "window", True),
        ("style.y-range", "upwards", False),
        ("control", "noise", True),
        ("views", "2", True),
        ("mixup", None, True),
        ("no-mixup", None, True),
        ("stage", "2", True),
    ],
)
def test_the_parser_says_which_flags_there_are(name, value, known):
    assert accepts(name, value) is known


@pytest.mark.slow
def test_runs_keep_what_baselines_say_and_true_pictures_never_build_on_others(
    small_card, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    data = ["--data", str(small_card)]
    assert render_cache.main([*data, "--workers", "1", "--encoder", "efficientnet-lite0", "--style.size", "32"]) == 0
    flags = [*data, "--epochs", "1", "--style.size", "32"]
    assert train.main(["--stage", "1", *flags, "--control", "shuffled", "--out", "one"]) == 0
    assert train.main(["--stage", "2", *flags, "--from", "one", "--out", "two"]) == 2
    assert "has control 'shuffled', but this run needs None" in capsys.readouterr().err
    assert train.main(["--stage", "2", *flags, "--control", "shuffled", "--from", "one", "--out", "two"]) == 0
    result = json.loads((tmp_path / "two/result.json").read_text())
    assert result["control"] == "shuffled"
    guesses, said = pd.read_parquet("two/baselines.parquet"), pd.read_parquet("two/predictions.parquet")
    truth = said[said["split"] == "test"].set_index("sample_id")["y_true"]
    assert set(guesses["name"]) == set(result["baselines"])
    for name, rows in guesses.groupby("name"):
        assert sorted(rows["sample_id"]) == sorted(truth.index)
        metrics = yield_metrics(truth[rows["sample_id"]].to_numpy(), rows["y_pred"].to_numpy())
        assert metrics["rmse"] == pytest.approx(result["baselines"][name]["rmse"])
    assert predict.main(["--run", "two", *data, "--out", "p.csv"]) == 2
    assert "trained on shuffled pictures" in capsys.readouterr().err
    assert train.main(["--stage", "1", *flags, "--preset", "language-only", "--control", "noise"]) == 2
    assert "reads none" in capsys.readouterr().err
