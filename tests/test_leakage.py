"""Test rows may say what they like: nothing that is trained moves."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

import render_cache
import train
from pipeline.duplicates import twins
from pipeline.sources import read
from pipeline.splits import make_folds
from report.run import RunFolder
from stages.yields.fold_offset import known_in, rehearsals
from stages.yields.yield_forecaster import Forecaster
from stages.yields.yield_learners import LabelledRows
from stages.yields.yield_stage import ForecastStage
from tests.conftest import CARD, small_seasons


def spoil(table: pd.DataFrame, rows: pd.Series) -> pd.DataFrame:
    """Other numbers, gaps and yields in some rows."""
    rng = np.random.default_rng(9)
    spoiled = table.copy()
    bands = [column for column in table if "_0" in column or "_1" in column]
    spoiled.loc[rows, bands] = rng.uniform(-0.1, 0.9, (int(rows.sum()), len(bands)))
    spoiled.loc[rows, bands[3]] = np.nan
    spoiled.loc[rows, "yield_t_ha"] = rng.uniform(1, 9, int(rows.sum()))
    return spoiled


@pytest.mark.slow
@pytest.mark.parametrize("split", ["year", "place"])
def test_changing_test_rows_changes_no_weight_no_scale_and_no_offset(tmp_path, split):
    table = small_seasons()
    (tmp_path / "card.toml").write_text(CARD)
    table.to_csv(tmp_path / "seasons.csv", index=False)
    read_table = read(tmp_path / "card.toml")
    fold = make_folds(read_table.year, read_table.place, read_table.sample_id, split=split)[0]
    tested = set(read_table.sample_id[fold.test].tolist())
    names = table["place"] + "|" + table["year"].astype(str)
    runs = []
    for name, data in (("plain", table), ("spoiled", spoil(table, names.isin(tested)))):
        data.to_csv(tmp_path / "seasons.csv", index=False)
        flags = ["--data", str(tmp_path / "card.toml"), "--preset", "language-only", "--epochs", "2", "--split", split]
        flags += ["--folds", fold.name]
        one, two = str(tmp_path / name / "one"), str(tmp_path / name / "two")
        assert train.main(["--stage", "1", "--out", one, *flags]) == 0
        assert train.main(["--stage", "2", "--out", two, "--from", one, *flags]) == 0
        runs.append((RunFolder(tmp_path / name / "one"), RunFolder(tmp_path / name / "two")))
    for plain, spoiled in zip(*runs, strict=True):
        weights = [load_file(run.path / "model.safetensors") for run in (plain, spoiled)]
        fitted = [run.read_json("fitted.json")[fold.name] for run in (plain, spoiled)]
        mine = [name for name in weights[0] if name.startswith(f"{fold.name}/")]
        assert mine
        for name in mine:
            np.testing.assert_array_equal(weights[0][name], weights[1][name], err_msg=name)
        fitted[0].pop("selection", None), fitted[1].pop("selection", None)  # averaged over test rows, for the report
        assert fitted[0] == fitted[1]


@pytest.mark.parametrize("split", ["year", "forward", "leave-year-out", "place", "random"])
def test_no_rehearsal_and_no_offset_knows_a_label_that_is_held_out(small_card, split):
    table = read(small_card)
    for fold in make_folds(table.year, table.place, table.sample_id, split=split):
        held = {(table.place[i], table.year[i]) for i in fold.test}
        learnt = np.sort(np.concatenate([fold.train, fold.valid]))
        for known in [known_in(table, fold, learnt), *(case.known for case in rehearsals(table, fold))]:
            assert not held & set(zip(known.place.tolist(), known.year.tolist(), strict=True))
        for case in rehearsals(table, fold):
            asked = set(zip(case.place.tolist(), case.year.tolist(), strict=True))
            assert not asked & set(zip(case.known.place.tolist(), case.known.year.tolist(), strict=True))
            assert not asked & held


def with_copies(table: pd.DataFrame, place: str, year: int, other: str, in_year: int) -> pd.DataFrame:
    """The season of `place` and `year` once more, under another name; its yield stays what it was there."""
    copied = table.copy()
    bands = [column for column in table if column.startswith(("ndvi_", "NIR_"))]
    source = copied[(copied["place"] == place) & (copied["year"] == year)].index[0]
    copy = copied[(copied["place"] == other) & (copied["year"] == in_year)].index[0]
    copied.loc[copy, bands] = copied.loc[source, bands]
    return copied


@pytest.mark.parametrize("split", ["year", "leave-year-out", "place", "random"])
def test_a_season_that_is_there_twice_is_never_learnt_from_and_tested(tmp_path, capsys, split):
    """Copies in two years are refused by splits of years, those of two places by splits of places."""
    by_year = with_copies(small_seasons(), "field0", 2022, "field0", 2017)
    by_place = with_copies(small_seasons(), "field0", 2022, "field5", 2022)
    (tmp_path / "card.toml").write_text(CARD)
    flags = ["--stage", "1", "--data", str(tmp_path / "card.toml"), "--preset", "language-only", "--epochs", "1"]
    codes = []
    for number, data in enumerate((by_year, by_place)):
        data.to_csv(tmp_path / "seasons.csv", index=False)
        table = read(tmp_path / "card.toml")
        group = twins(table)
        folds = make_folds(table.year, table.place, table.sample_id, split=split)
        apart = any(set(group[f.test]) & set(group[np.concatenate([f.train, f.valid])]) for f in folds)
        codes.append(train.main([*flags, "--split", split, "--out", str(tmp_path / f"run{number}")]))
        said = capsys.readouterr().err
        assert codes[-1] == (2 if apart else 0)
        assert ("have the same numbers at every step" in said) == apart
    assert codes == {"year": [2, 0], "leave-year-out": [2, 0], "place": [0, 2], "random": codes}[split]


def test_flat_seasons_are_not_taken_for_copies(small_card):
    table = read(small_card)
    flat = table.values.copy()
    flat[:9] = 0.0
    flat[9:20] = np.nan
    same = replace(table, values=flat, observed=~np.isnan(flat))
    assert twins(same).tolist() == list(range(len(table)))
    flat = flat.copy()
    flat[:2] = table.values[30]
    assert twins(replace(table, values=flat, observed=~np.isnan(flat)))[:2].tolist() == [0, 0]


@pytest.mark.slow
def test_permuted_yields_cannot_be_forecast(tmp_path):
    """Whatever says more than the mean on held-out years of meaningless yields has seen them."""
    flags = ["--split", "leave-year-out", "--folds", "2018,2020,2022", "--epochs", "15"]
    pictures = ["--cache", str(tmp_path / "cache"), "--style.size", "32"]
    scores = {}
    for name, seed in (("true", None), ("permuted", 0), ("permuted again", 1)):
        table = small_seasons()
        if seed is not None:
            table["yield_t_ha"] = np.random.default_rng(seed).permutation(table["yield_t_ha"])
        folder = tmp_path / name.replace(" ", "-")
        folder.mkdir()
        (folder / "card.toml").write_text(CARD)
        table.to_csv(folder / "seasons.csv", index=False)
        data = ["--data", str(folder / "card.toml"), *pictures, "--split", "leave-year-out"]
        assert render_cache.main([*data, "--workers", "1", "--encoder", "efficientnet-lite0"]) == 0
        data = ["--data", str(folder / "card.toml"), *pictures, *flags]
        assert train.main(["--stage", "1", *data, "--out", str(folder / "one")]) == 0
        two = ["--stage", "2", *data, "--from", str(folder / "one"), "--members", "2"]
        assert train.main([*two, "--out", str(folder / "two")]) == 0
        result = RunFolder(folder / "two").read_json("result.json")
        scores[name] = {"model": result["metrics"]["r2"]} | {k: b["r2"] for k, b in result["baselines"].items()}
    assert scores["true"]["model"] > 0.5  # the same model, where there is something to learn
    for name in ("permuted", "permuted again"):
        assert scores[name].pop("model") <= 0
        assert np.mean(list(scores[name].values())) <= 0  # of ten baselines one may be lucky


class Watched(np.ndarray):
    """Yields that tell `log` which rows are looked at by their positions."""

    log: ClassVar[list[tuple[str, set[int]]]] = []

    def __getitem__(self, index):
        if isinstance(index, np.ndarray) and index.dtype != bool:
            self.log.append(("label", set(index.tolist())))
        return np.asarray(self)[index]


@pytest.mark.slow
def test_test_rows_are_forecast_once_and_after_everything_is_learnt(small_card, tmp_path, monkeypatch):
    log = Watched.log = []

    def read_and_watch(*args, **kwargs):
        table = read(*args, **kwargs)
        return replace(table, target=table.target.view(Watched))

    def labelled(table, fold, offset, rows, fitted=None):
        log.append(("learn", set(rows.tolist())))
        return of(table, fold, offset, rows, fitted)

    def forecast(self, table, season, index=None):
        log.append(("forecast", set(index.tolist())))
        return anomalies(self, table, season, index)

    of, anomalies = LabelledRows.of, Forecaster.anomalies
    monkeypatch.setattr("stages.runs.run_inputs.read", read_and_watch)
    monkeypatch.setattr(LabelledRows, "of", labelled)
    monkeypatch.setattr(Forecaster, "anomalies", forecast)
    flags = ["--data", str(small_card), "--preset", "language-only", "--epochs", "2", "--split", "forward"]
    one = str(tmp_path / "one")
    assert train.main(["--stage", "1", *flags, "--out", one]) == 0
    assert log == []  # stage 1 reads no yield

    def mark_and_train(self, prepared, trainer):
        log.append(("fold", set()))
        return train_fold(self, prepared, trainer)

    train_fold = ForecastStage.train_fold
    monkeypatch.setattr(ForecastStage, "train_fold", mark_and_train)
    assert train.main(["--stage", "2", *flags, "--from", one, "--out", str(tmp_path / "two")]) == 0
    table = read(small_card)
    folds = make_folds(table.year, table.place, table.sample_id, split="forward")
    assert any(kind == "label" for kind, _ in log)
    begins = [at for at, (kind, _) in enumerate(log) if kind == "fold"]
    for fold, start, stop in zip(folds, [0, *begins[1:]], [*begins[1:], len(log)], strict=True):
        events, test = log[start:stop], set(fold.test.tolist())
        (forecast_at,) = (at for at, (kind, rows) in enumerate(events) if kind == "forecast" and rows & test)
        before, after = events[:forecast_at], events[forecast_at + 1 :]
        assert events[forecast_at] == ("forecast", test)
        learnt = set().union(*(rows for kind, rows in before if kind == "learn"))
        assert learnt == {*fold.train.tolist(), *fold.valid.tolist()}  # all other rows, and all before the forecast
        assert not set().union(*(rows for _, rows in before)) & test  # no label of a test row is read before it
        assert not any(kind == "learn" for kind, _ in after)
    # A test year of one fold is validated on and learnt from by the next; the last year's is forecast once in all.
    last = set(folds[-1].test.tolist())
    assert [rows for kind, rows in log if kind == "forecast" and rows & last] == [last]
    assert not any(kind == "learn" and rows & last for kind, rows in log)
