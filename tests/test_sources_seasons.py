"""Seasons put together from stored rows, what the card excludes, known yields, and the shipped real data."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.table import Count, SeasonTable

CARDS = Path(__file__).resolve().parents[1] / "cards"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real data of ../shared/data is not here")


def write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def reasons(table: SeasonTable) -> dict[str, int]:
    return {count.reason: count.rows for count in table.counts}


def calendar_rows(folder: Path, card: str, places: int = 2, years: Sequence[int] = (2000, 2001, 2002)) -> Path:
    """Rows of 12 months; month m of year y of place p is 100 p + 12 (y - 2000) + m, so a season counts on."""
    rows = [
        [f"p{p}", y, *(100 * p + 12 * (y - 2000) + m for m in range(1, 13)), y - 1990]
        for p in range(places)
        for y in years
    ]
    write(folder / "rows.csv", ["place", "year", *(f"rain_{m}" for m in range(1, 13)), "t"], rows)
    (folder / "card.toml").write_text(
        'name = "n"\nformat = "wide"\nfiles = "rows.csv"\nyear = "year"\nstep_days = "month"\n'
        f'variates = [{{name = "rain"}}]\ntarget = {{column = "t", unit = "t/ha"}}\n{card}'
    )
    return folder / "card.toml"


def test_a_season_across_new_year_is_put_together_from_two_rows(tmp_path: Path) -> None:
    table = read(calendar_rows(tmp_path, 'season_start = "07-01"'))
    assert table.sample_id.tolist() == ["p0|2001", "p0|2002", "p1|2001", "p1|2002"]
    assert table.values[0, 0].tolist() == [*range(7, 19)]
    assert table.values[3, 0].tolist() == [*range(100 + 19, 100 + 31)]
    assert table.target.tolist() == [11.0, 12.0, 11.0, 12.0]
    assert [c.rows for c in table.counts] == [2]
    assert "half of its season" in table.counts[0].reason


def test_a_season_may_be_called_after_the_year_it_starts_in(tmp_path: Path) -> None:
    table = read(calendar_rows(tmp_path, 'season_start = "07-01"\nseason_year = "start"'))
    assert table.sample_id.tolist() == ["p0|2000", "p0|2001", "p1|2000", "p1|2001"]
    assert table.values[0, 0].tolist() == [*range(7, 19)]
    assert table.target.tolist() == [10.0, 11.0, 10.0, 11.0]


def test_a_season_within_a_row_is_cut_from_it(tmp_path: Path) -> None:
    table = read(calendar_rows(tmp_path, 'season_start = "03-01"\nseason_steps = 5'))
    assert len(table) == 6
    assert table.values[1, 0].tolist() == [15, 16, 17, 18, 19]


def test_rows_may_start_on_another_day_than_new_year(tmp_path: Path) -> None:
    table = read(calendar_rows(tmp_path, 'calendar_start = "10-01"\nseason_start = "12-01"\nseason_steps = 3'))
    assert table.values[0, 0].tolist() == [3, 4, 5]
    assert table.season_start == "12-01"


def test_the_order_of_rows_does_not_matter_across_new_year(tmp_path: Path) -> None:
    card = calendar_rows(tmp_path, 'season_start = "07-01"')
    before = read(card)
    header, *rows = (tmp_path / "rows.csv").read_text().splitlines()
    (tmp_path / "rows.csv").write_text("\n".join([header, *reversed(rows)]) + "\n")
    after = read(card)
    assert (after.fingerprint(), after.counts) == (before.fingerprint(), before.counts)


def test_an_excluded_year_is_no_sample_but_still_serves_the_next_season(tmp_path: Path) -> None:
    without = 'season_start = "07-01"\n[[exclude]]\nyear = 2001\nreason = "hail"'
    table = read(calendar_rows(tmp_path, without))
    assert table.sample_id.tolist() == ["p0|2002", "p1|2002"]
    assert table.values[0, 0].tolist() == [*range(19, 31)]
    assert Count("sample excluded by the dataset card: hail", 2) in table.counts


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        ('place = "p0"', ["p1|2000", "p1|2001", "p1|2002"]),
        ('place = "p0"\nyear = 2001', ["p0|2000", "p0|2002", "p1|2000", "p1|2001", "p1|2002"]),
        ('sample_id = "p1|2000"', ["p0|2000", "p0|2001", "p0|2002", "p1|2001", "p1|2002"]),
        ('place = "misspelt"', ["p0|2000", "p0|2001", "p0|2002", "p1|2000", "p1|2001", "p1|2002"]),
    ],
)
def test_a_rule_excludes_what_matches_all_its_keys_and_is_told_even_if_nothing_does(
    tmp_path: Path, rule: str, left: list[str]
) -> None:
    table = read(calendar_rows(tmp_path, f'[[exclude]]\n{rule}\nreason = "hail"'))
    assert table.sample_id.tolist() == left
    nothing = "" if len(left) < 6 else " (place = 'misspelt' matches no sample)"
    assert table.counts == (Count(f"sample excluded by the dataset card{nothing}: hail", 6 - len(left)),)


def test_a_rule_whose_samples_were_dropped_before_is_not_called_misspelt(tmp_path: Path) -> None:
    card = calendar_rows(tmp_path, '[[exclude]]\nyear = 1990\nreason = "hail"', years=(1990, 1991))
    assert [c.rows for c in read(card).counts] == [2, 0]  # 1990 yields 0 t/ha
    assert "matches no sample" not in read(card).describe_counts()


def test_history_comes_from_its_own_file_in_its_own_unit_without_what_is_excluded(tmp_path: Path) -> None:
    card = calendar_rows(
        tmp_path,
        '[history]\nfiles = "past.csv"\ncolumn = "kg"\nunit = "kg/ha"\n[[exclude]]\nyear = 1999\nreason = "hail"',
    )
    rows = [["p1", 1998, 2500], ["p0", 1999, 4000], ["p0", 1998, 3000], ["p0", 1997, 0], ["p0", 1996, ""]]
    write(tmp_path / "past.csv", ["place", "year", "kg"], rows)
    table = read(card)
    assert table.history.place.tolist() == ["p0", "p1"]
    assert table.history.year.tolist() == [1998, 1998]
    assert table.history.target.tolist() == [3.0, 2.5]
    assert reasons(table)["known yield of the history excluded by the dataset card: hail"] == 1
    assert reasons(table)["known yield of zero or below left out of the history"] == 1


PAST = '[history]\nfiles = "past.csv"\ncolumn = "t"\nunit = "t/ha"'


def test_a_history_that_knows_no_place_of_the_table_is_refused_but_not_for_prediction(tmp_path: Path) -> None:
    card = calendar_rows(tmp_path, PAST)
    write(tmp_path / "past.csv", ["place", "year", "t"], [["P0", 1998, 9], ["P1", 1998, 9]])
    with pytest.raises(InputError, match=r"card\.toml: \[history\] knows yields of 2 places, such as 'P0', and none"):
        read(card)
    assert "known yield of the history without use: none of its places is in the table" in reasons(
        read(card, for_prediction=True)
    )


@pytest.mark.parametrize(("past", "doubted"), [(9000, True), (40, True), (28, False), (4, False), (3, True)])
def test_a_history_whose_median_is_three_times_off_is_told(tmp_path: Path, past: float, doubted: bool) -> None:
    card = calendar_rows(tmp_path, PAST)
    write(tmp_path / "past.csv", ["place", "year", "t"], [["p0", 1998, past]])
    told = (
        f"1 x known yield of the history, with a median of {past:.3g} t/ha where the labels have 11: look at the unit"
    )
    assert (told in read(card).describe_counts()) == doubted


@pytest.fixture(scope="module")
def zambia() -> tuple[SeasonTable, Callable[[str, int, str, int], float]]:
    with (DATA / "zambia_maize" / "climate_summary.csv").open() as file:
        cells = {(row["district"], int(row["year"])): row for row in csv.DictReader(file)}
    return read(CARDS / "zambia_maize.toml"), lambda place, year, band, month: float(
        cells[place, year][f"{band}_{month}"]
    )


@needs_data
def test_zambia_seasons_run_from_july_to_june(
    zambia: tuple[SeasonTable, Callable[[str, int, str, int], float]],
) -> None:
    table, cell = zambia
    assert table.values.shape == (864, 3, 12)
    assert (table.season_start, len(set(table.place.tolist()))) == ("07-01", 72)
    for index in range(0, 864, 97):
        place, year = str(table.place[index]), int(table.year[index])
        for v, (band, scale) in enumerate([("pre", 1), ("tmp", 1), ("ndvi", 1e-4)]):
            by_hand = [cell(place, year - 1, band, m) * scale for m in range(7, 13)]
            by_hand += [cell(place, year, band, m) * scale for m in range(1, 7)]
            np.testing.assert_array_equal(table.values[index, v], np.float32(by_hand))


@needs_data
def test_zambia_leaves_out_2011_with_its_reason(
    zambia: tuple[SeasonTable, Callable[[str, int, str, int], float]],
) -> None:
    table, cell = zambia
    assert 2011 not in table.year
    assert [c.rows for c in table.counts if "2011 look faulty" in c.reason] == [72]
    in_2012 = int(np.flatnonzero((table.place == "Chibombo") & (table.year == 2012))[0])
    assert table.values[in_2012, 0, 0] == np.float32(cell("Chibombo", 2011, "pre", 7))


@needs_data
def test_zambia_read_for_prediction_has_every_year_that_has_both_halves() -> None:
    table = read(CARDS / "zambia_maize.toml", for_prediction=True)
    assert set(table.year.tolist()) == set(range(2002, 2022)) - {2011}
    assert len(table) == 19 * 72


@needs_data
def test_illinois_ends_before_harvest_and_knows_its_history() -> None:
    table = read(CARDS / "illinois_soybean.toml")
    assert table.values.shape == (480, 7, 19)
    assert table.observed.all()
    assert (len(table.history), int(table.history.year.min())) == (4128, 1980)
    assert reasons(table) == {"observation row dropped, because it is outside the 19 steps of its season": 480 * 7}
    whole = read(CARDS / "illinois_soybean.toml", season_steps=26)
    assert whole.values.shape == (480, 7, 26)
    np.testing.assert_array_equal(whole.values[:, :, :19], table.values)


def test_a_shipped_card_says_where_its_data_comes_from_when_it_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "zambia.toml").write_text((CARDS / "zambia_maize.toml").read_text())
    with pytest.raises(InputError, match=r"climate_summary\.csv.*comes from github\.com/cropmosaiks.*Put it"):
        read(tmp_path / "zambia.toml")
