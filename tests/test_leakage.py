"""Test rows may say what they like: nothing that is trained moves."""

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

import train
from pipeline.sources import read
from pipeline.splits import make_folds
from report.run import RunFolder
from stages.forecasting import known_in, rehearsals
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


@pytest.mark.parametrize("split", ["year", "place"])
def test_changing_test_rows_changes_no_weight_no_scale_and_no_offset(tmp_path, split):
    table = small_seasons()
    (tmp_path / "card.toml").write_text(CARD)
    table.to_csv(tmp_path / "seasons.csv", index=False)
    read_table = read(tmp_path / "card.toml")
    fold = make_folds(read_table.year, read_table.place, read_table.sample_id, split)[0]
    tested = set(read_table.sample_id[fold.test].tolist())
    names = table["place"] + "|" + table["year"].astype(str)
    runs = []
    for name, data in (("plain", table), ("spoiled", spoil(table, names.isin(tested)))):
        data.to_csv(tmp_path / "seasons.csv", index=False)
        flags = ["--data", str(tmp_path / "card.toml"), "--preset", "language-only", "--epochs", "2", "--split", split]
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
    for fold in make_folds(table.year, table.place, table.sample_id, split):
        held = {(table.place[i], table.year[i]) for i in fold.test}
        learnt = np.sort(np.concatenate([fold.train, fold.valid]))
        for known in [known_in(table, fold, learnt), *(case.known for case in rehearsals(table, fold))]:
            assert not held & set(zip(known.place.tolist(), known.year.tolist(), strict=True))
        for case in rehearsals(table, fold):
            asked = set(zip(case.place.tolist(), case.year.tolist(), strict=True))
            assert not asked & set(zip(case.known.place.tolist(), case.known.year.tolist(), strict=True))
            assert not asked & held
