"""Yields of a district copied onto its fields: said at once, and never on two sides of a split."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.calibration import conformal_margin
from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.sources.checks.repeated_labels import label_groups
from pipeline.splits import SPLITS, joined_places, make_folds
from stages.yields.coverage import coverage
from stages.yields.fold_offset import groups_of
from stages.yields.yield_forecaster import Yields
from stages.yields.yield_scores import best_baseline, places_of, rows_of

RNG = np.random.default_rng(1)


def copied(districts: int = 9, rows: int = 499, years: int = 1) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Yields of districts with two decimals, on fields that lie in them."""
    yields = RNG.choice(np.arange(350, 750), (years, districts), replace=False) / 100
    district, year = RNG.integers(0, districts, rows), RNG.integers(0, years, rows)
    return yields[year, district], 2020 + year


def test_copies_are_found_and_said_at_once() -> None:
    target, year = copied()
    group, (found,) = label_groups(target, year, None, None)
    assert len(np.unique(group)) == 9
    assert found.severity == "warning"
    assert found.sentence.startswith(
        "499 rows have 9 different pairs of year and yield, so the sample size is nearer 9 than 499."
    )
    assert "[target] group" in found.card_line


def test_equal_yields_of_two_years_are_two_groups() -> None:
    target, year = copied(years=3, districts=5, rows=200)
    group, _ = label_groups(target, year, None, None)
    assert all(len(np.unique(year[group == one])) == 1 for one in np.unique(group))


@pytest.mark.parametrize("step", [0.1, 0.0673, 0.5])
def test_yields_that_are_rounded_are_no_copies(step: float) -> None:
    target = np.round(np.round(RNG.normal(5, 1, 400) / step) * step, 4)
    group, found = label_groups(target, np.full(400, 2020), None, None)
    assert len(np.unique(group)) == 400
    assert [one.severity for one in found] == ["note"]


def test_different_yields_are_their_own_groups_without_a_word() -> None:
    group, found = label_groups(RNG.normal(5, 1, 50), np.full(50, 2020), None, None)
    assert (group.tolist(), found) == (list(range(50)), ())


def test_the_column_of_the_card_names_the_groups(tmp_path: Path) -> None:
    rows = [f"f{i},d{i // 4},2020,{0.2 + i / 100},{0.4 + i / 90},{3 + i // 4}" for i in range(12)]
    rows.append("f12,,2020,0.3,0.5,4")
    (tmp_path / "t.csv").write_text("\n".join(["place,district,year,a_0,a_1,t", *rows]) + "\n")
    card = (
        'name = "n"\nformat = "wide"\nfiles = "t.csv"\nyear = "year"\nvariates = [{name = "a"}]\n'
        'target = {column = "t", unit = "t/ha"GROUP}\n'
    )
    (tmp_path / "card.toml").write_text(card.replace("GROUP", ', group = "district"'))
    table = read(tmp_path / "card.toml")
    assert table.group_column == "district"
    assert len(np.unique(table.group)) == 4
    assert "13 rows in 4 groups of district and year: the sample size is nearer 4" in table.describe_findings()
    (tmp_path / "card.toml").write_text(card.replace("GROUP", ""))
    found = read(tmp_path / "card.toml")
    assert found.fingerprint() != table.fingerprint()
    (tmp_path / "card.toml").write_text(card.replace("GROUP", ', group = "distrct"'))
    with pytest.raises(InputError, match="did you mean district"):
        read(tmp_path / "card.toml")
    assert read(tmp_path / "card.toml", for_prediction=True).group.tolist() == list(range(13))


def test_a_long_table_takes_the_group_of_each_sample(tmp_path: Path) -> None:
    rows = [f"f{i},d{i // 2},2020,{s},{0.2 + i / 50 + s / 10},{3 + i // 2}" for i in range(6) for s in range(3)]
    (tmp_path / "t.csv").write_text("\n".join(["place,d,y,s,a,t", *rows]) + "\n")
    (tmp_path / "card.toml").write_text(
        'name = "n"\nformat = "long"\nfiles = "t.csv"\nyear = "y"\nstep = "s"\nvariates = [{name = "a"}]\n'
        'target = {column = "t", unit = "t/ha", group = "d"}\n'
    )
    assert read(tmp_path / "card.toml").group.tolist() == [0, 0, 2, 2, 4, 4]
    (tmp_path / "t.csv").write_text((tmp_path / "t.csv").read_text().replace("f1,d0,2020,2", "f1,d9,2020,2"))
    with pytest.raises(InputError, match=r"sample f1\|2020 is of group d9 here and of d0 in another row"):
        read(tmp_path / "card.toml")


@st.composite
def labelled(draw: st.DrawFn) -> tuple[NDArray[np.int64], NDArray[np.str_], NDArray[np.str_], NDArray[np.int64]]:
    """Districts of fields over years: year, place, sample_id, group."""
    districts, fields, years = draw(st.integers(8, 14)), draw(st.integers(1, 4)), draw(st.integers(3, 5))
    rows = [(d, f, 2010 + y) for d in range(districts) for f in range(fields) for y in range(years)]
    order = draw(st.permutations(range(len(rows))))
    rows = [rows[i] for i in order]
    year = np.array([y for _, _, y in rows])
    place = np.array([f"d{d}f{f}" for d, f, _ in rows])
    first = {key: i for i, key in reversed([*enumerate((d, y) for d, _, y in rows)])}
    group = np.array([first[d, y] for d, _, y in rows])
    return year, place, np.array([f"{p}|{y}" for p, y in zip(place, year, strict=True)]), group


@settings(max_examples=60, deadline=None)
@given(labelled(), st.sampled_from([split for split in SPLITS if split != "card"]), st.integers(0, 9))
def test_no_yield_stands_on_two_sides(
    table: tuple[NDArray[np.int64], NDArray[np.str_], NDArray[np.str_], NDArray[np.int64]], split: str, seed: int
) -> None:
    year, place, sample_id, group = table
    for fold in make_folds(year, place, sample_id, split=split, seed=seed, group=group):  # type: ignore[arg-type]
        sides = [set(group[rows].tolist()) for rows in (fold.train, fold.valid, fold.test)]
        assert sum(map(len, sides)) == len(set().union(*sides))


@settings(max_examples=40, deadline=None)
@given(labelled(), st.sampled_from(["place", "random", "year"]), st.integers(0, 9))
def test_rows_of_their_own_are_split_as_without_groups(
    table: tuple[NDArray[np.int64], NDArray[np.str_], NDArray[np.str_], NDArray[np.int64]], split: str, seed: int
) -> None:
    year, place, sample_id, _ = table
    own = make_folds(year, place, sample_id, split=split, seed=seed, group=np.arange(len(year)))  # type: ignore[arg-type]
    for one, other in zip(make_folds(year, place, sample_id, split=split, seed=seed), own, strict=True):  # type: ignore[arg-type]
        assert one.test.tolist() == other.test.tolist()
        assert one.valid.tolist() == other.valid.tolist()


def test_places_that_share_yields_through_others_are_held_out_together() -> None:
    place = np.array(["a", "b", "b", "c", "d"])
    assert joined_places(place, np.array([0, 0, 2, 2, 4])).tolist() == ["a", "a", "a", "a", "d"]
    assert joined_places(place, np.arange(5)).tolist() == place.tolist()


def test_cross_fitting_leaves_out_the_rows_of_one_yield_together(tmp_path: Path) -> None:
    rows = [
        (f"f{n}", year, f"d{n // 2}", 4 + n // 2 + (year - 2018) * 0.1) for n in range(20) for year in range(2018, 2022)
    ]
    frame = pd.DataFrame(rows, columns=["place", "year", "district", "yield"])
    for step in range(4):
        frame[f"ndvi_{step}"] = np.random.default_rng(step).uniform(0.1, 0.9, len(frame))
    frame.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "card.toml").write_text(
        'name = "t"\nformat = "wide"\nfiles = ["t.csv"]\nyear = "year"\n[[variates]]\nname = "ndvi"\n'
        '[target]\ncolumn = "yield"\nunit = "t/ha"\ngroup = "district"\n'
    )
    table = read(tmp_path / "card.toml")
    for split in ("random", "place"):
        fold = make_folds(table.year, table.place, table.sample_id, split=split, group=table.group)[0]  # type: ignore[arg-type]
        out = groups_of(table, fold, fold.train)
        together = table.group[fold.train]
        assert all(len(set(out[together == one].tolist())) == 1 for one in np.unique(together))
        named = [set(table.place[fold.train][out == one].tolist()) for one in np.unique(out)]
        assert max(map(len, named)) == 2


def test_sides_of_the_data_that_tear_a_yield_are_refused_with_the_way_out() -> None:
    year, place = np.full(6, 2020), np.array(list("abcdef"))
    sides = np.array(["train", "train", "valid", "valid", "test", "test"])
    group = np.array([0, 0, 2, 2, 0, 5])
    with pytest.raises(InputError, match=r"samples 'b' and 'e' share one yield.*train.*test.*\[target\] `group`"):
        make_folds(year, place, place, split="card", assigned=sides, group=group)
    assert make_folds(year, place, place, split="card", assigned=sides)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=60), st.integers(1, 5))
def test_copies_of_a_yield_change_no_margin(shortfall: list[float], copies: int) -> None:
    once = np.array(shortfall)
    again, group = np.repeat(once, copies), np.repeat(np.arange(len(once)), copies)
    assert conformal_margin(again, group) == conformal_margin(once) == conformal_margin(once, np.arange(len(once)))


def forecasts(copies: int) -> pd.DataFrame:
    """Test rows of 40 districts in two years, each district's yield on `copies` fields."""
    rng = np.random.default_rng(3)
    yields, error = rng.normal(5, 1, 80), rng.normal(0, 0.6, 80)
    rows = pd.DataFrame({"y_true": yields, "y_pred": yields + error, "district": np.arange(80) // 2})
    rows["year"], rows["yield_group"] = 2020 + np.arange(80) % 2, np.arange(80)
    rows = rows.loc[rows.index.repeat(copies)].reset_index(drop=True)
    rows["place"] = rows["district"].astype(str) + "f" + (rows.index % copies).astype(str)
    rows["sample_id"] = rows["place"] + "|" + rows["year"].astype(str)
    return rows.assign(split="test", fold="all", y_lo=rows["y_pred"] - 1, y_hi=rows["y_pred"] + 1)


def test_copies_of_a_yield_narrow_no_interval_of_a_report() -> None:
    once, copied = forecasts(1), forecasts(6)
    for frame in (once, copied):
        assert len(np.unique(places_of(frame))) == 40
    found = []
    for frame in (once, copied):
        guesses = frame[["sample_id", "fold"]].assign(name="mean", y_pred=5.0)
        found.append((coverage(frame), best_baseline(frame, guesses, {"mean": {"rmse": 1.0}})))
    (share, lead), (share_copied, lead_copied) = found
    assert [share_copied[name] for name in ("share", "low", "high")] == pytest.approx(
        [share[name] for name in ("share", "low", "high")]
    )
    assert (share["n"], share_copied["n"]) == (80, 480)
    assert lead_copied["over"] == lead["over"] == "40 places"
    for name in ("lead", "low", "high"):
        assert lead_copied[name] == pytest.approx(lead[name])
    alone = coverage(copied.drop(columns="yield_group"))
    assert alone["high"] - alone["low"] < 0.5 * (share["high"] - share["low"])


def test_predictions_name_the_yield_that_rows_share() -> None:
    table = SimpleNamespace(
        sample_id=np.array(["a", "b"]), place=np.array(["a", "b"]), year=np.array([2020, 2020]),
        target=np.array([5.0, 5.0]), group=np.array([0, 0]), shares_yields=True,
    )  # fmt: skip
    one = Yields(*(np.array([5.0]),) * 3)
    fold = SimpleNamespace(name="all", valid=np.array([0]), test=np.array([1]))
    rows = rows_of(SimpleNamespace(table=table, fold=fold), one, one)  # type: ignore[arg-type]
    assert rows["yield_group"].tolist() == [0, 0]
    table.shares_yields = False
    assert "yield_group" not in rows_of(SimpleNamespace(table=table, fold=fold), one, one)  # type: ignore[arg-type]
