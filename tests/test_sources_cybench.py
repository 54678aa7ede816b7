"""CY-Bench's folder layout, as it lies there and without a card."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from model.metrics import nrmse_by_year
from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.sources.geometry import shapes_of
from tests.cybench_folder import PLACES, make_cybench, season, write_rows

ROOT = Path(__file__).resolve().parents[1]
REAL = ROOT.parent / "shared/data/cybench"


def place_mean(table):
    """Forecasts of each year by the place's mean over all other years; the mean of all rows for a new place."""
    pred = np.empty(len(table))
    for row in range(len(table)):
        other = table.year != table.year[row]
        same = other & (table.place == table.place[row])
        pred[row] = table.target[same if same.any() else other].mean()
    return pred


@pytest.mark.skipif(not REAL.exists(), reason="the real data of ../shared/data are not here")
@pytest.mark.parametrize(
    ("folder", "rows", "years", "score"), [("maize/ES", 864, 18, 15.40), ("wheat/NL", 207, 18, 4.75)]
)
def test_the_place_mean_of_the_real_folders_scores_what_cybench_publishes(folder, rows, years, score):
    table = read(REAL / folder)
    assert len(table) == rows
    assert len(np.unique(table.year)) == years
    assert table.year.min() == 2003
    assert round(nrmse_by_year(table.target, place_mean(table), table.year), 2) == score
    assert table.observed.any(axis=(1, 2)).all()
    assert table.variate_names == ("ndvi", "fpar")
    for v in range(2):
        seen = table.values[:, v][table.observed[:, v]]
        assert -0.25 <= seen.min() < seen.max() <= 1
    assert table.static_names == ("awc", "bulk_density")
    assert np.isfinite(table.static).all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_cybench(tmp_path_factory.mktemp("data") / "maize" / "XX")


@pytest.fixture(scope="module")
def table(folder):
    return read(folder)


def test_a_folder_is_read_without_a_card(table):
    assert table.name == "maize_XX"
    assert len(table) == 3 * 7  # three places, 2003 to 2009
    assert table.sample_id[0] == "XX11|2003"
    assert table.season_start == "each place's own start"
    assert not any("XX99" in place for place in table.place)


def test_step_0_is_the_start_of_each_places_own_season(table):
    """NDVI grows with the days that have passed, so equal steps of all places have nearly equal values."""
    steps = table.values[:, 0]
    for step in range(table.steps):
        seen = steps[:, step][~np.isnan(steps[:, step])]
        assert np.abs(seen - (step + 0.5) * 11 / 365).max() < 8 / 365
    assert (~np.isnan(steps[:, 0])).all()


def test_nothing_is_observed_after_a_places_own_harvest(table):
    for row, place in enumerate(table.place):
        first, last = season(place, table.year[row])
        days = (last - first).days
        assert table.days_to_harvest[row] == days
        assert not table.observed[row, :, days // 11 + 1 :].any()


def test_lead_days_count_to_each_places_own_harvest(table):
    assert table.lead_days(3) == np.median(table.days_to_harvest) - 33
    one = table.rows(np.flatnonzero(table.place == "XX12"))
    first, last = season("XX12", 2005)
    assert one.lead_days(3) == (last - first).days - 33
    assert one.as_of(3).lead_days(3) == one.lead_days(3)
    assert table.knows_harvest


def test_a_season_across_new_year_starts_in_the_year_before(table):
    first, last = season("XX13", 2004)
    assert first.year == 2003
    assert last.year == 2004
    row = table.sample_id.tolist().index("XX13|2004")
    assert table.observed[row, 0, 0]


def test_flags_are_not_measurements_and_positions_are_found(folder, table):
    assert np.nanmax(table.values[:, 1]) < 1
    assert shapes_of(folder).of(table)[0] == {"type": "Point", "coordinates": [-3.0, 40.0]}


@pytest.mark.slow
def test_the_first_lines_say_how_the_join_went(folder, tmp_path):
    command = [sys.executable, "render_cache.py", "--data", str(folder), "--encoder", "none", "--dry-run"]
    run = subprocess.run([*command, "--cache", str(tmp_path / "c")], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert lines[0].startswith("maize_XX: 21 samples")
    assert lines[1] == "joined by place and season: 27 place-years of 3 places have series and a yield"
    (yields,) = [line for line in lines if line.startswith("  yield_maize_XX.csv (yield): 4 places, 28 place-years")]
    assert "27 met (XX11 2001, XX11 2002, XX11 2003, ...); 1 did not (XX99 2005)" in yields
    assert any(line.startswith("  soil_maize_XX.csv (awc, bulk_density): 3 places; 3 met") for line in lines)


def test_a_folder_without_yields_is_read_for_prediction(tmp_path, table):
    folder = make_cybench(tmp_path / "new")
    (folder / "yield_maize_XX.csv").rename(folder / "elsewhere.txt")
    copied = folder / "card.toml"
    copied.write_text((ROOT / "cards/cybench.toml").read_text())
    new = read(folder, for_prediction=True)
    assert {*new.sample_id} > {*table.sample_id}
    assert np.isnan(new.target).all()
    rows = np.isin(new.sample_id, table.sample_id)
    np.testing.assert_array_equal(new.values[rows], table.values)
    with pytest.raises(InputError, match=r"yield_\*\.csv.* is not there"):
        read(folder)


def test_a_card_beside_the_files_comes_first(tmp_path):
    folder = make_cybench(tmp_path / "with")
    card = (ROOT / "cards/cybench.toml").read_text().replace("days_before = 90", "days_before = 0")
    (folder / "card.toml").write_text(card)
    table = read(folder)
    assert table.name == "cybench"
    row = table.sample_id.tolist().index("XX13|2006")
    assert table.days_to_harvest[row] == int(PLACES["XX13"][1]) + 365 - int(PLACES["XX13"][0])


def test_places_that_meet_nowhere_are_refused_with_both_spellings(tmp_path):
    folder = make_cybench(tmp_path / "other")
    header = ["crop_name", "country_code", "adm_id", "harvest_year", "yield"]
    write_rows(folder / "yield_maize_XX.csv", header, [["maize", "XX", "xx-11", 2005, 4.0]])
    with pytest.raises(InputError, match=r"no yield of yield_maize_XX.csv \('xx-11' in 2005 .*'XX11'.*No place is in"):
        read(folder)
    write_rows(folder / "yield_maize_XX.csv", header, [["maize", "XX", "XX11", 1950, 4.0]])
    with pytest.raises(InputError, match="1 places are in both, their years are not"):
        read(folder)


def test_other_folders_are_not_taken_for_cybench(tmp_path):
    folder = make_cybench(tmp_path / "two")
    for path in [*folder.iterdir()]:
        (folder / path.name.replace("XX", "YY")).write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="no column looks like"):
        read(folder)


def test_as_of_a_step_shows_each_place_what_was_known_on_its_own_day(tmp_path, table):
    """The table as of step 9 is the one read from files that end, at each place, 99 days into its season."""
    folder = make_cybench(tmp_path / "known")
    for name in ("ndvi", "fpar"):
        path = folder / f"{name}_maize_XX.csv"
        rows = pd.read_csv(path)
        day = pd.to_datetime(rows.date.astype(str)).dt.date
        known = [
            any(0 <= (one - season(place, year)[0]).days < 99 for year in (one.year, one.year + 1))
            for place, one in zip(rows.adm_id, day, strict=True)
        ]
        rows[known].to_csv(path, index=False)
    early = read(folder, season_steps=table.steps)
    wanted = table.as_of(9)
    assert early.sample_id.tolist() == wanted.sample_id.tolist()
    np.testing.assert_array_equal(early.values, wanted.values)
