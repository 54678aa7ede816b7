"""Series compared by file, by year, by sample and with their declared range."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.sources import read
from pipeline.sources.checks.plausibility import Seasons, check_series
from pipeline.table import Variate

STEPS, PLACES, YEARS = 12, 8, range(2018, 2023)
NDVI = Variate("ndvi", low=-0.2, high=1.0)
BARE = Variate("ndvi")


def seasons(variate: Variate = BARE, seed: int = 0, kind: str = "ndvi") -> Seasons:
    """8 places x 5 years of one variate: a vegetation index, rain with many zeros, or temperature around zero."""
    rng = np.random.default_rng(seed)
    n, step = PLACES * len(YEARS), np.arange(STEPS)
    bell = np.exp(-(((step - 6 - rng.normal(0, 0.5, (n, 1))) / 2.2) ** 2))
    values = {
        "ndvi": 0.2 + 0.55 * bell + rng.normal(0, 0.02, (n, STEPS)),
        "rain": np.where(rng.random((n, STEPS)) < 0.4, 0, rng.gamma(0.7, 30, (n, STEPS))),
        "temperature": 8 + 14 * np.sin((step - 3) / 12 * 2 * np.pi) + rng.normal(0, 3, (n, STEPS)),
    }[kind]
    year = np.repeat(np.array(YEARS), PLACES)
    ids = np.array([f"p{row % PLACES}|{one}" for row, one in enumerate(year)])
    return Seasons(
        "t.csv", (variate,), values[:, None].astype(np.float32), year, ids, lambda row: f"t.csv, line {row + 2}"
    )


def changed(table: Seasons, rows: NDArray[np.bool_], change: float, shift: float = 0.0) -> Seasons:
    values = table.values.copy()
    values[rows] = values[rows] * np.float32(change) + np.float32(shift)
    return Seasons(
        table.source, table.variates, values, table.year, table.sample_id, table.where, table.files, table.file
    )


def refusal(table: Seasons) -> str:
    with pytest.raises(InputError) as caught:
        check_series(table)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["ndvi", "rain", "temperature"])
@pytest.mark.parametrize("seed", range(5))
def test_sound_series_raise_no_alarm(kind: str, seed: int) -> None:
    assert check_series(seasons(kind=kind, seed=seed)) == ()


@pytest.mark.parametrize("times", [10_000, 1e-4, 100, 0.01, 10])
@pytest.mark.parametrize("variate", [NDVI, BARE])
def test_a_year_in_another_scale_is_refused_with_its_line(times: float, variate: Variate) -> None:
    table = seasons(variate)
    told = refusal(changed(table, table.year == 2021, times))
    assert told.startswith("t.csv, line 26: ")
    assert "year 2021" in told


@pytest.mark.parametrize("kind", ["rain", "temperature"])
@pytest.mark.parametrize("times", [10, 100])
def test_a_year_of_rain_or_temperature_in_another_scale_is_refused(kind: str, times: float) -> None:
    table = seasons(kind=kind)
    assert "year 2020 is about" in refusal(changed(table, table.year == 2020, times))


def test_kelvin_beside_degrees_is_refused() -> None:
    table = seasons(kind="temperature")
    assert "year 2020" in refusal(changed(table, table.year == 2020, 1, 273.15))


def test_a_file_in_another_scale_is_named() -> None:
    table = seasons()
    one = Seasons(**(vars(table) | {"files": ("a.csv", "b.csv"), "file": (np.arange(len(table.year)) % 4 == 0) * 1}))
    assert "file b.csv" in refusal(changed(one, np.arange(len(table.year)) % 4 == 0, 10_000))


@pytest.mark.parametrize("share", [2, 3, 5])
@pytest.mark.parametrize("times", [10_000, 100])
def test_samples_in_another_scale_are_refused_in_whatever_year_they_stand(share: int, times: float) -> None:
    table = seasons()
    told = refusal(changed(table, np.arange(len(table.year)) % share == 1, times))
    assert "two scales" in told


@pytest.mark.parametrize("scale", [1e-4, 1e-3, 0.01])
def test_a_scale_that_was_applied_twice_is_refused(scale: float) -> None:
    table = seasons(NDVI)
    told = refusal(changed(table, np.ones(len(table.year), bool), scale))
    assert "less than 2% of the declared range -0.2 to 1" in told
    assert "scale applied twice" in told


def found(table: Seasons, *words: str) -> list[Finding]:
    return [f for f in check_series(table) if all(word in f.sentence for word in words)]


def test_a_shift_of_one_year_is_reported_and_not_refused() -> None:
    table = seasons()
    (one,) = found(changed(table, table.year == 2022, 1, 0.1), "year 2022", "above")
    assert one.severity == "warning"
    assert "year = 2022" in one.card_line


@pytest.mark.parametrize("since", [2020, 2021])
@pytest.mark.parametrize(("times", "shift"), [(1.0, 0.1), (1.0, -0.1), (1.05, 0.08)])
def test_a_shift_that_lasts_is_reported_with_its_first_year(since: int, times: float, shift: float) -> None:
    table = seasons()
    (one,) = found(changed(table, table.year >= since, times, shift), "lies", "its earlier level")
    assert f"from {since} on" in one.sentence
    assert ("above" if shift > 0 else "below") in one.sentence
    assert f"before = {since}" in one.card_line


def test_a_trend_and_years_that_differ_are_no_shift_that_lasts() -> None:
    table, rng = seasons(), np.random.default_rng(0)
    for change in (np.linspace(0, 0.1, 5), *rng.normal(0, 0.05, (20, 5))):
        values = table.values + change[table.year - 2018][:, None, None].astype(np.float32)
        assert not found(Seasons(**(vars(table) | {"values": values})), "its earlier level")


@pytest.mark.parametrize("years", [2, 3, 4])
@pytest.mark.parametrize("scale", [1, 10_000])
def test_a_shift_is_found_among_few_years_too(years: int, scale: float) -> None:
    table = seasons()
    keep = table.year >= 2023 - years
    values = table.values[keep].copy()
    values[table.year[keep] == 2022] += np.float32(0.1)
    some = Seasons(**(vars(table) | {"values": values * np.float32(scale), "year": table.year[keep]}))
    assert len(found(some, "lies", "the same at every step")) == 1


def test_a_constant_variate_gets_one_warning() -> None:
    table = seasons()
    (one,) = check_series(Seasons(**(vars(table) | {"values": np.full_like(table.values, 0.37)})))
    assert one.sentence == "ndvi is 0.37 in every cell, so nothing can be learned from it. Is its column the right one?"


def test_exact_zeros_in_a_band_that_has_none_are_reported_and_dry_days_are_not() -> None:
    table = seasons()
    values = table.values.copy()
    values[3, 0, 4] = values[9, 0, 2] = 0
    (one,) = found(Seasons(**(vars(table) | {"values": values})), "exactly 0 in 2 of 480 cells")
    assert one.card_line == f"missing = [0] # among the keys of {one.sentence.split()[0]}"
    assert found(seasons(kind="rain"), "exactly 0") == []


@pytest.mark.parametrize(("value", "what"), [(10.0, "most values of ndvi"), (None, "a value of ndvi far")])
def test_what_lies_outside_of_the_declared_range_is_reported(value: float | None, what: str) -> None:
    table = seasons(NDVI)
    values = table.values.copy()
    if value is None:
        values[5, 0, 3] = -5
    else:
        values[5] *= np.float32(value)
    (one,) = found(Seasons(**(vars(table) | {"values": values})), "outside of the declared range -0.2 to 1")
    assert what in one.sentence
    assert "p5|2018" in one.sentence


def test_one_spike_is_reported_and_read() -> None:
    table = seasons()
    values = table.values.copy()
    values[3, 0, 4] = 5000
    (one,) = found(Seasons(**(vars(table) | {"values": values})), "ndvi is 5000 at step 4 of sample p3|2018")
    assert one.severity == "warning"


def test_a_table_says_what_was_found_and_refuses_before_it_is_built(tmp_path: Path) -> None:
    table = seasons()
    for year in YEARS:
        rows = np.flatnonzero(table.year == year)
        scale = 10_000 if year == 2022 else 1
        lines = [
            f"p{i}," + ",".join(f"{value * scale:.4f}" for value in table.values[row, 0]) + f",{3 + i / 10}"
            for i, row in enumerate(rows)
        ]
        header = "field," + ",".join(f"ndvi_{step}" for step in range(STEPS)) + f",y{year}"
        (tmp_path / f"f_{year}.csv").write_text("\n".join([header, *lines]) + "\n")
    with pytest.raises(InputError, match=r"f_2022\.csv, line 2.*year 2022 is about 9,\d+ times"):
        read(tmp_path)
    (tmp_path / "f_2022.csv").unlink()
    table_read = read(tmp_path)
    assert "8 places in 4 years" in table_read.describe_findings()
    assert all(line.startswith(("warning: ", "note: ")) for line in table_read.describe_findings().splitlines())


def in_years(table: Seasons, *held: int) -> Seasons:
    """The same seasons, with values in these years only."""
    return changed(table, ~np.isin(table.year, held), np.nan)


def test_of_two_years_that_hold_a_variate_one_sentence_says_that_they_differ() -> None:
    table = seasons()
    table = changed(table, table.year == 2021, 1, 0.5)
    (found,) = check_series(in_years(table, 2018, 2021))
    assert found.sentence.startswith("ndvi of year 2018 lies 0.5")
    assert "below that of year 2021, about the same at every step" in found.sentence
    assert found.sentence.endswith("Only these two years hold ndvi, so the data do not show which of them is right.")
    assert found.card_line == ""


def test_of_three_years_that_hold_a_variate_the_odd_one_is_named() -> None:
    table = seasons()
    table = changed(table, table.year == 2021, 1, 0.5)
    (found,) = check_series(in_years(table, 2018, 2020, 2021))
    assert "year 2021 lies 0.496 above that of the other years" in found.sentence
    assert "year = 2021" in found.card_line


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("held", [(2019,), (2018, 2021), (2018, 2020, 2021)])
def test_years_without_the_variate_raise_no_alarm(held: tuple[int, ...]) -> None:
    assert check_series(in_years(seasons(), *held)) == ()


@pytest.mark.filterwarnings("error")
def test_years_that_share_no_step_do_not_hide_the_shift_of_another() -> None:
    table = in_years(seasons(), 2018, 2019, 2020)
    table = changed(table, table.year == 2018, 1, 0.5)
    values, early = table.values.copy(), np.arange(STEPS) < STEPS // 2
    values[(table.year == 2019)[:, None, None] & ~early] = np.nan
    values[(table.year == 2020)[:, None, None] & early] = np.nan
    (found,) = check_series(replace(table, values=values))
    assert found.sentence.startswith("ndvi of year 2018 lies 0.5")


def warm(shift: float, share: float, seed: int = 0) -> Seasons:
    """Temperatures, a share of which is shifted, at random over samples and steps."""
    table = seasons(kind="temperature", seed=seed)
    moved = np.random.default_rng(seed + 50).random(table.values.shape) < share
    return replace(table, values=np.where(moved, table.values + np.float32(shift), table.values))


@pytest.mark.parametrize(("shift", "share"), [(273.15, 0.5), (273.15, 0.1), (-165.0, 0.1)])
def test_values_in_two_ranges_with_a_gap_between_them_are_reported(shift: float, share: float) -> None:
    (found,) = (one for one in check_series(warm(shift, share)) if "two ranges" in one.sentence)
    assert found.severity == "warning"
    assert found.sentence.startswith("ndvi lies in two ranges: ")
    assert " of 480 values between " in found.sentence


@pytest.mark.parametrize(("shift", "share"), [(273.15, 0.01), (60.0, 0.3)])
def test_few_values_or_a_narrow_gap_are_no_second_range(shift: float, share: float) -> None:
    assert not any("two ranges" in one.sentence for one in check_series(warm(shift, share), for_prediction=True))


def test_classes_and_zeros_are_no_second_range() -> None:
    table = seasons(kind="rain")
    wet = np.where(table.values > 0, table.values + np.float32(400), 0)  # no light rain at all
    binary = np.random.default_rng(1).integers(0, 2, table.values.shape).astype(np.float32)
    for values in (wet, binary, 50 * binary + binary[::-1]):
        told = check_series(replace(table, values=values))
        assert not any("two ranges" in one.sentence for one in told)


def test_equal_values_of_a_table_to_be_forecast_have_one_range() -> None:
    table = seasons()
    assert check_series(replace(table, values=np.full_like(table.values, 0.5)), for_prediction=True) == ()
