"""Sides that the data itself assigns: read alike from every format, left-out samples counted, trained on as said."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import train
from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.table import Count, SeasonTable
from report.run import RunFolder
from tests.conftest import CARD, small_seasons

DROPPED = "sample without a side (train, valid, test) in the column of `split` dropped"
SAID = {"p": " Train", "q": "TEST", "r": "", "s": "valid"}


def write(path: Path, header: str, rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])


def card(folder: Path, form: str, file: str, more: str) -> Path:
    (folder / "card.toml").write_text(
        f'name = "n"\nformat = "{form}"\nfiles = "{file}"\nyear = "year"\nsplit = "fold"\n{more}\n'
        'variates = [{name = "a"}]\n[target]\ncolumn = "t"\nunit = "t/ha"\n'
    )
    return folder / "card.toml"


def wide(folder: Path) -> Path:
    write(folder / "w.csv", "place,year,a_0,a_1,t,fold", [[p, 2020, 1, 2, 3, side] for p, side in SAID.items()])
    return card(folder, "wide", "w.csv", "")


def long(folder: Path) -> Path:
    # Of the rows of a sample one need say it; the others agree or are silent.
    rows = [[p, 2020, s, s + 1, 3, side if s else ""] for p, side in SAID.items() for s in (0, 1)]
    write(folder / "l.csv", "place,year,s,a,t,fold", rows)
    return card(folder, "long", "l.csv", 'step = "s"')


def cube(folder: Path) -> Path:
    xr = pytest.importorskip("xarray")
    data = {"a": (("place", "s"), [[1.0, 2.0]] * 4), "t": (("place",), [3.0] * 4)}
    data["fold"] = (("place",), [*SAID.values()])
    xr.Dataset(data, {"place": [*SAID], "s": [0, 1], "year": 2020}).to_netcdf(folder / "c.nc")
    return card(folder, "netcdf", "c.nc", 'step = "s"')


def cube_of_years(folder: Path) -> Path:
    xr = pytest.importorskip("xarray")
    data = {"a": (("place", "time"), [[1.0, 2.0]] * 4), "t": (("place", "year"), [[3.0]] * 4)}
    data["fold"] = (("place", "year"), [[side] for side in SAID.values()])  # type: ignore[list-item]
    days = np.array(["2020-01-01", "2020-01-11"], "datetime64[ns]")
    xr.Dataset(data, {"place": [*SAID], "time": days, "year": [2020]}).to_netcdf(folder / "y.nc")
    return card(folder, "netcdf", "y.nc", 'date = "time"\nseason_steps = 2')


@pytest.mark.parametrize("kind", [wide, long, cube, cube_of_years])
def test_every_format_reads_the_same_sides_and_counts_who_has_none(tmp_path: Path, kind) -> None:  # type: ignore[no-untyped-def]
    path = kind(tmp_path)
    table = read(path)
    assert table.place.tolist() == ["p", "q", "s"]
    assert table.assigned is not None
    assert table.assigned.tolist() == ["train", "test", "valid"]
    assert Count(DROPPED, 1) in table.counts
    assert np.array_equal(table.rows(np.array([2, 0])).assigned, ["valid", "train"])
    unlabelled = read(path, for_prediction=True)
    assert (len(unlabelled), unlabelled.assigned) == (4, None)


def test_a_cube_whose_sides_lie_elsewhere_is_refused(tmp_path: Path) -> None:
    xr = pytest.importorskip("xarray")
    path = cube(tmp_path)
    with xr.open_dataset(tmp_path / "c.nc") as opened:
        other = opened.drop_vars("fold").assign(fold=("region", ["train", "test"])).load()
    other.to_netcdf(tmp_path / "c.nc")
    with pytest.raises(
        InputError,
        match=r"c\.nc: fold, the `split` of the dataset card, lies on \(region\); .* \(place, s\) or \(place\)",
    ):
        read(path)


def test_a_side_is_part_of_the_fingerprint_and_no_side_at_all_is_not(tmp_path: Path) -> None:
    table = read(wide(tmp_path))

    def other(sides: list[str] | None) -> SeasonTable:
        return replace(table, assigned=None if sides is None else np.array(sides))

    prints = {one.fingerprint() for one in (table, other(None), other(["train", "valid", "test"]))}
    assert len(prints) == 3
    with pytest.raises(ValueError, match="'left'"):
        other(["train", "test", "left"])


@pytest.mark.slow
def test_both_stages_train_and_test_as_the_card_says(tmp_path: Path) -> None:
    seasons = small_seasons()
    seasons["fold"] = np.where(seasons["year"] > 2020, "Test", np.where(seasons["year"] == 2018, "valid", "train"))
    seasons.loc[seasons["year"] == 2016, "fold"] = np.nan
    seasons.to_csv(tmp_path / "seasons.csv", index=False)
    (tmp_path / "card.toml").write_text('split = "fold"\n' + CARD)
    flags = ["--data", str(tmp_path / "card.toml"), "--preset", "language-only", "--epochs", "2", "--split", "card"]
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    assert train.main(["--stage", "1", "--out", one, *flags]) == 0
    assert train.main(["--stage", "2", "--out", two, "--from", one, *flags]) == 0
    result = RunFolder.open(tmp_path / "two").read_json("result.json")
    assert [result[f"n_{side}"] for side in ("train", "valid", "test")] == [36, 12, 24]
    assert (result["folds"], DROPPED in result["counts"]) == (["card"], True)
