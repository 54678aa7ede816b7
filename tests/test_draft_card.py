"""A drafted card reads the files it was drafted from, asks what they do not say, and never replaces a card."""

import shlex
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import draft_card
from pipeline.card import DatasetCard
from pipeline.drafts.quality_names import is_called_quality
from pipeline.sources import read
from tests.cybench_folder import make_cybench

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared/data"


def long_rows(places=("Münster", "Köln", "Soest"), years=(2019, 2020, 2021)):
    rng = np.random.default_rng(0)
    return pd.DataFrame([
        {"Landkreis": place, "Jahr": year, "Datum": date(year, 4, 1) + timedelta(8 * step),
         "NDVI": round(0.2 + 0.04 * step + rng.normal(0, 0.02), 4), "rain": round(rng.uniform(0, 40), 1),
         "Ertrag_dt_ha": 50 + 3.5 * year % 7, "clay": 10 + len(place)}
        for place in places for year in years for step in range(16)
    ])  # fmt: skip


def drafted(capsys, *files, out):
    assert draft_card.main([*map(str, files), "--out", str(out)]) == 0
    return capsys.readouterr().out, out.read_text(encoding="utf-8")


def test_a_semicolon_file_with_decimal_commas(tmp_path, capsys):
    rows = long_rows()
    rows.to_csv(tmp_path / "ernte.csv", sep=";", decimal=",", index=False, encoding="cp1252")
    said, text = drafted(capsys, tmp_path / "ernte.csv", out=tmp_path / "card.toml")
    for line in ('separator = ";"', 'decimal = ","', 'encoding = "cp1252"', 'place = "Landkreis"', 'date = "Datum"',
                 'files = ["ernte.csv"]', 'step_days = 8', 'season_start = "04-01"', 'static = ["clay"]',
                 'column = "Ertrag_dt_ha"', 'unit = "dt/ha"', 'name = "NDVI"'):  # fmt: skip
        assert line in text
    assert "It reads 9 samples x 2 variates" in said
    table = read(tmp_path / "card.toml")
    assert {*table.place} == {"Münster", "Köln", "Soest"}
    assert table.variates[0].high == 1.0
    assert 1 < np.median(table.target) < 10


def test_counties_of_one_name_in_two_states_are_named_by_both_columns(tmp_path, capsys):
    rows = long_rows(("Adams", "Brown"))
    rows = pd.concat([rows.assign(state=state, NDVI=rows.NDVI + shift) for state, shift in (("IL", 0), ("IA", 0.01))])
    rows.rename(columns={"Landkreis": "county"}).to_csv(tmp_path / "t.csv", index=False)
    said, text = drafted(capsys, tmp_path / "t.csv", out=tmp_path / "card.toml")
    assert 'place = ["state", "county"]' in text
    assert "It reads 12 samples" in said
    rows[rows.state == "IL"].rename(columns={"Landkreis": "county"}).to_csv(tmp_path / "t.csv", index=False)
    _, text = drafted(capsys, tmp_path / "t.csv", out=tmp_path / "one.toml")
    assert 'place = "county"' in text


def test_counts_spreads_and_quality_flags_are_left_out_with_a_question(tmp_path, capsys):
    rows = long_rows()
    beside = {"NDVI_stdDev": 0.05, "NDVI_count": 120, "CLOUD_PCT": 12, "SummaryQA": 1, "QA60": 0}
    rows.assign(**{name: number + rows.rain / 100 for name, number in beside.items()}).to_csv(
        tmp_path / "long.csv", index=False
    )
    said, text = drafted(capsys, tmp_path / "long.csv", out=tmp_path / "card.toml")
    for name in beside:
        assert f"# QUESTION: {name} of long.csv: left out. By its name it is a quality flag" in text
    assert "2 variates" in said
    assert 'static = ["clay"]' in text
    wide = pd.DataFrame({"place": [f"p{n}" for n in range(6)], "year": 2020, "yield_t_ha": np.linspace(3, 6, 6)})
    for step in range(12):
        wide[f"ndvi_{step}"] = np.linspace(0.2, 0.6, 6) + step / 100
        wide[f"ndvi_{step}_count"] = np.arange(6) + step
    wide.to_csv(tmp_path / "wide.csv", index=False)
    said, text = drafted(capsys, tmp_path / "wide.csv", out=tmp_path / "wide.toml")
    assert "# QUESTION: ndvi_count of wide.csv: left out." in text
    assert "6 samples x 1 variate x 12 steps" in said


def test_a_spread_alone_is_kept_without_the_range_of_its_index(tmp_path, capsys):
    rows = long_rows().drop(columns="rain").rename(columns={"NDVI": "NDVI_stdDev"})
    rows.to_csv(tmp_path / "t.csv", index=False)
    said, text = drafted(capsys, tmp_path / "t.csv", out=tmp_path / "card.toml")
    assert "1 variate " in said
    assert "usual range of the index" not in text


@pytest.mark.parametrize("name", ["NDVI", "NDVI_mean", "sigma0_vv", "canopy_cover", "B8", "standing_water", "county"])
def test_a_measurement_is_not_taken_for_a_quality_flag(name):
    assert not is_called_quality(name)


def test_a_wide_file_of_stored_numbers_with_marks(tmp_path, capsys):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {"id": range(12), "county": [f"c{n % 4}" for n in range(12)], "year": [2019 + n // 4 for n in range(12)]}
    )
    for month in range(1, 13):
        rows[f"ndvi_{month}"] = rng.integers(2000, 8000, 12)
    rows.loc[3, "ndvi_4"] = -9999
    rows["yield"] = rng.integers(3000, 9000, 12)
    rows.to_csv(tmp_path / "t.csv", index=False)
    said, text = drafted(capsys, tmp_path / "t.csv", out=tmp_path / "card.toml")
    assert 'place = "county"' in text
    assert "scale = 1e-4 # QUESTION: " in text
    assert "missing = [-9999] # QUESTION: " in text
    assert 'step_days = "month" # QUESTION: 12 steps' in text
    assert 'unit = "kg/ha" # QUESTION: is it? The median is' in text
    assert "It reads 12 samples x 1 variate x 12 steps" in said
    assert read(tmp_path / "card.toml").values[0, 0, 0] < 1


def test_a_yield_that_may_be_either_unit_is_asked_and_not_guessed(tmp_path, capsys):
    rows = pd.DataFrame({"field": [f"f{n}" for n in range(9)], "year": 2020, "yield": np.linspace(60, 160, 9)})
    for step in range(4):
        rows[f"ndvi_{step}"] = 0.1 * step
    rows.to_csv(tmp_path / "t.csv", index=False)
    said, text = drafted(capsys, tmp_path / "t.csv", out=tmp_path / "card.toml")
    assert "QUESTION: the median is 110: is it dt/ha, bu/ac (with crop = ...) or t/ha?" in text
    assert "It cannot be read yet: " in said
    assert "names neither `unit` nor `factor`" in said


def test_several_files_become_sources(tmp_path, capsys):
    folder = make_cybench(tmp_path / "XX")
    said, text = drafted(capsys, *sorted(folder.glob("*.csv")), out=tmp_path / "card.toml")
    assert text.count("[[sources]]") == 6
    assert 'calendar = { start = "sos", end = "eos" }' in text
    assert "target" in text
    assert f"--data {folder} reads all of maize_XX without a card" in said
    table = read(tmp_path / "card.toml")
    assert len(table) == 27
    assert table.season_start == "each place's own start"
    assert DatasetCard.load(tmp_path / "card.toml").latitude == "latitude"


def test_a_table_and_its_history(tmp_path, capsys):
    rows = long_rows()
    rows.to_csv(tmp_path / "t.csv", index=False)
    years = pd.DataFrame(
        [
            {"Landkreis": p, "Jahr": y, "Ertrag_dt_ha": 50.0 + y % 5}
            for p in {*rows.Landkreis}
            for y in range(2000, 2019)
        ]
    )
    years.to_csv(tmp_path / "h.csv", index=False)
    _, text = drafted(capsys, tmp_path / "t.csv", tmp_path / "h.csv", out=tmp_path / "card.toml")
    assert text.count("[history]") == 1
    assert len(read(tmp_path / "card.toml").history) == 3 * 19


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"card.toml": "x", "a.csv": "place,year,ndvi_0,ndvi_1,ndvi_2\na,2020,1,2,3\n"}, "this card exists already"),
        ({"a.txt": "x"}, "a card is drafted from tables"),
        ({}, "a.csv: there is no such file"),
        ({"a.csv": "field,NDVI_20220401,NDVI_20220411\nx,0.1,0.2\n"}, "its columns carry dates"),
        ({"a.csv": "Table 12, wheat\nfield,ndvi_0,ndvi_1\nx,1,2\n"}, "the header seems to be line 2"),
        ({"a.csv": "field,ndvi_0,ndvi_1\nx,1,2\nSource: USDA\n"}, "if that is a footnote"),
        ({"a.csv": "Area,Y2016,Y2017,Y2018\nx,5,6,7\n"}, "3 of its columns are years (Y2016, Y2017, Y2018, ...)"),
        ({"a.tsv": "x"}, "name it a.csv"),
        ({"a.csv": "field,ndvi_0\n"}, "no row below it"),
        ({"a.csv": "field,ndvi_0,ndvi_0\nx,1,2\n"}, "occurs 2 times"),
        ({"a.csv": "f,n_0,n_1,n_2,y2020\nx,1,2,3,4\n", "b.csv": "f,n_0,n_1,n_2,y2021\nx,1,2,3,4\n"},
         "b.csv in y2021, but a card names one column"),
    ],
)  # fmt: skip
def test_what_cannot_be_drafted_ends_in_one_paragraph_and_writes_nothing(tmp_path, capsys, files, told):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    named = [tmp_path / name for name in files if name != "card.toml"] or [tmp_path / "a.csv"]
    assert draft_card.main([*map(str, named), "--out", str(tmp_path / "card.toml")]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.strip().splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {*files}


@pytest.mark.slow
def test_the_command_and_then_the_one_it_names(tmp_path):
    long_rows().to_csv(tmp_path / "t.csv", index=False)
    draft = [sys.executable, "-m", "pipeline.draft_card", str(tmp_path / "t.csv"), "--out", str(tmp_path / "card.toml")]
    run = subprocess.run(draft, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    command = run.stdout.strip().splitlines()[-1].partition("then: python ")[2].split()
    follow = subprocess.run(
        [sys.executable, *command, "--cache", str(tmp_path / "c")], cwd=ROOT, capture_output=True, text=True
    )
    assert follow.returncode == 0, follow.stderr


def test_the_next_command_quotes_a_path_with_blanks(tmp_path, capsys):
    folder = tmp_path / "my data"
    folder.mkdir()
    long_rows().to_csv(folder / "t.csv", index=False)
    said, _ = drafted(capsys, folder / "t.csv", out=folder / "card.toml")
    command = shlex.split(said.strip().splitlines()[-1].partition("then: ")[2])
    assert command == [
        "python",
        "render_cache.py",
        "--data",
        str(folder / "card.toml"),
        "--encoder",
        "none",
        "--dry-run",
    ]


@pytest.mark.parametrize(("most", "scale"), [(950, "1e-3"), (1100, "1e-3"), (9500, "1e-4"), (10_000, "1e-4")])
def test_the_scale_of_a_stored_index_is_guessed_from_its_highest_number(tmp_path, capsys, most, scale):
    rows = long_rows().drop(columns="rain")
    rows["NDVI"] = (rows.NDVI / rows.NDVI.max() * most).round()
    rows.to_csv(tmp_path / "t.csv", index=False)
    _, text = drafted(capsys, tmp_path / "t.csv", out=tmp_path / "card.toml")
    times = {"1e-3": "1,000", "1e-4": "10,000"}[scale]
    assert f"scale = {scale} # QUESTION: it reaches {most}: is it stored x {times}?" in text
    assert 0.9 < np.nanmax(read(tmp_path / "card.toml").values) <= 1.1


@pytest.mark.parametrize("most", [92, 250])
def test_an_index_of_bytes_or_hundredths_is_asked_about_without_a_guess(tmp_path, capsys, most):
    rows = long_rows()
    rows["NDVI"] = (rows.NDVI / rows.NDVI.max() * most).round()
    rows.to_csv(tmp_path / "t.csv", index=False)
    _, text = drafted(capsys, tmp_path / "t.csv", out=tmp_path / "card.toml")
    assert f"QUESTION: it reaches {most}, and an index at most 1: how is it stored? scale = ..., offset = ..." in text
    assert "\nscale =" not in text


@pytest.mark.skipif(not SHARED.exists(), reason="the real data of ../shared/data are not here")
@pytest.mark.parametrize(
    ("files", "rows"),
    [
        ("illinois_soybean/*.csv.gz", 480),
        ("zambia_maize/*.csv", 936),
        ("cybench/maize/ES/*.csv", 950),
        ("cybench/wheat/NL/*.csv", 230),
    ],
)
def test_real_tables_are_read_by_their_drafted_card(tmp_path, capsys, files, rows):
    said, _ = drafted(capsys, *sorted(SHARED.glob(files)), out=tmp_path / "card.toml")
    assert f"It reads {rows} samples" in said
    assert len(read(tmp_path / "card.toml")) == rows


def test_yields_of_other_years_are_asked_about_and_ranges_hold_the_data(tmp_path, capsys):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"field": [f"f{n}" for n in range(30)]})
    for step in range(12):
        rows[f"nir_{step:02}"] = rng.uniform(0.171, 0.422, 30).round(3)
    for year in (2020, 2021, 2022):
        rows[f"y{year}"] = rng.normal(5, 1, 30).round(2)
    rows.to_csv(tmp_path / "fields_2022.csv", index=False)
    drafted(capsys, tmp_path / "fields_2022.csv", out=tmp_path / "card.toml")
    text = (tmp_path / "card.toml").read_text()
    assert "y2020, y2021: yields of other years, which this card does not read" in text
    (variate,) = DatasetCard.load(tmp_path / "card.toml").variates
    numbers = rows.filter(like="nir_").to_numpy()
    assert variate.low <= numbers.min()
    assert variate.high >= numbers.max()


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        (lambda rows: rows[["Landkreis", "Jahr", "Ertrag_dt_ha"]].drop_duplicates(), "where are the series?"),
        (lambda rows: rows.assign(month="Jan").drop(columns="Datum"), "column month holds 'Jan'; steps are whole"),
        (lambda rows: rows.assign(MO=4, DY=1).drop(columns="Datum"), "MO and DY may say when a row was measured"),
    ],
)
def test_one_file_without_a_date_and_a_step_is_asked_about(tmp_path, capsys, change, asked):
    change(long_rows()).to_csv(tmp_path / "t.csv", index=False)
    said, text = drafted(capsys, tmp_path / "t.csv", out=tmp_path / "card.toml")
    assert asked in text
    assert "QUESTION: how many days is a step" in text
    assert "[history]" not in text
    assert "It cannot be read yet: " in said


@pytest.mark.parametrize(
    ("column", "unit"),
    [("yield_qt_ha", 'unit = "q/ha" # QUESTION: is it'), ("yield_hkg_ha", 'unit = "t/ha" # QUESTION: is it?'),
     ("yield (1000 kg/ha)", 'unit = "t/ha" # QUESTION: is it?'), ("yield_at_harvest", "# QUESTION: is it? The median"),
     ("yield kg per ha", 'unit = "kg/ha" # QUESTION: is it, as the name of the column says? The median is 11')],
)  # fmt: skip
def test_a_unit_in_the_name_of_a_column_is_whole_words_and_a_question(tmp_path, capsys, column, unit):
    rows = long_rows()
    rows[column] = 11.0
    rows.drop(columns="Ertrag_dt_ha").to_csv(tmp_path / "t.csv", index=False)
    _, text = drafted(capsys, tmp_path / "t.csv", out=tmp_path / "card.toml")
    assert unit in text


def test_bands_named_by_numbers_are_no_steps_where_a_place_has_several_dates_a_year(tmp_path, capsys):
    rows = long_rows().drop(columns="rain")
    for band in range(1, 8):
        rows[f"SR_B{band}"] = rows.NDVI * band
    rows.to_csv(tmp_path / "t.csv", index=False)
    said, text = drafted(capsys, tmp_path / "t.csv", out=tmp_path / "card.toml")
    assert 'format = "long"' in text
    assert 'name = "SR_B7"' in text
    assert "It reads 9 samples x 8 variates" in said


def test_codes_of_places_are_no_static_columns(tmp_path, capsys):
    rows = long_rows()
    codes = {place: n + 1 for n, place in enumerate(sorted({*rows.Landkreis}))}
    rows = rows.assign(**{"State ANSI": 17, "GEOID": rows.Landkreis.map(codes) + 17000})
    rows.rename(columns={"Landkreis": "county"}).to_csv(tmp_path / "t.csv", index=False)
    _, text = drafted(capsys, tmp_path / "t.csv", out=tmp_path / "card.toml")
    assert 'static = ["clay"]' in text
    assert "QUESTION: State ANSI, GEOID: codes of places by their names, and left out" in text


def test_several_files_without_a_yield_are_asked_about(tmp_path, capsys):
    rows = long_rows()
    rows.drop(columns="Ertrag_dt_ha").to_csv(tmp_path / "s.csv", index=False)
    years = rows[["Landkreis", "Jahr"]].drop_duplicates().assign(number=range(9))
    years.to_csv(tmp_path / "y.csv", index=False)
    _, text = drafted(capsys, tmp_path / "s.csv", tmp_path / "y.csv", out=tmp_path / "card.toml")
    assert "QUESTION: no column is called a yield; which file and column hold it" in text


def test_the_season_ends_with_the_last_step_that_has_data(tmp_path, capsys):
    rows = pd.DataFrame([
        {"place": place, "date": date(year, 4, 1) + timedelta(10 * step), "ndvi": 0.2 + 0.01 * step + 0.001 * year % 1,
         "year": year, "yield": 5.0 + year % 3}
        for place in ("a", "b") for year in (2019, 2020, 2021) for step in range(19)
    ])  # fmt: skip  # the last date is 28 September
    rows.to_csv(tmp_path / "t.csv", index=False)
    _, text = drafted(capsys, tmp_path / "t.csv", out=tmp_path / "card.toml")
    assert "season_steps = 19 # up to the last step with data" in text
    table = read(tmp_path / "card.toml")
    assert not [finding for finding in table.findings if "no value in any sample" in finding.sentence]


def test_a_column_of_several_crops_is_a_question_with_the_line_that_keeps_one(tmp_path, capsys):
    rows = long_rows().assign(crop=lambda t: np.where(t.Landkreis == "Soest", "Weizen", "Mais"))
    rows.to_csv(tmp_path / "t.csv", index=False)
    _, text = drafted(capsys, tmp_path / "t.csv", out=tmp_path / "card.toml")
    assert "QUESTION: column crop holds Mais and Weizen; are their yields of one kind?" in text
    assert '\n# keep = { crop = "Mais" }\n' in text
    rows.assign(crop="Mais").to_csv(tmp_path / "t.csv", index=False)
    _, text = drafted(capsys, tmp_path / "t.csv", out=tmp_path / "one.toml")
    assert "keep" not in text
