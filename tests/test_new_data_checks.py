"""New seasons against what a run learnt: scale of single rows, one mark, the order of bands, lost zeros."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.table import SeasonTable, Variate
from stages.inputs.new_data_checks import (
    capitals_differ,
    check_scale,
    in_the_order_of,
    spelled_as_in_run,
    unlike_training,
)

FITTED = {"2022": {"scaler": {"mean": [0.45, 20.0], "std": [0.2, 25.0]}}}


def table(values: NDArray[np.float32] | None = None, names: tuple[str, ...] = ("ndvi", "rain")) -> SeasonTable:
    """10 new seasons of a vegetation index and rain."""
    rng = np.random.default_rng(0)
    if values is None:
        values = np.stack([rng.uniform(0.1, 0.9, (10, 6)), rng.gamma(0.7, 30, (10, 6))], axis=1).astype(np.float32)
    place = np.array([f"p{i}" for i in range(10)])
    return SeasonTable(
        name="new",
        values=values,
        observed=~np.isnan(values),
        target=np.full(10, np.nan),
        sample_id=place,
        place=place,
        year=np.full(10, 2023),
        variates=tuple(map(Variate, names)),
        step_days=10.0,
    )


def changed(rows: slice | list[int], times: float) -> SeasonTable:
    values = table().values.copy()
    values[rows, 0] *= np.float32(times)
    return table(values)


def test_seasons_like_those_of_the_run_are_taken() -> None:
    check_scale(table(), FITTED)
    with pytest.raises(InputError, match="ndvi"):
        check_scale(changed(slice(0, 10), 10_000), FITTED)


@pytest.mark.parametrize("rows", [slice(0, 4), [7], slice(0, 10)])
def test_rows_in_another_scale_are_refused_however_few(rows: slice | list[int]) -> None:
    with pytest.raises(InputError, match=r"new.* ndvi .*the run was trained on 0\.45 \+- 0\.2"):
        check_scale(changed(rows, 10_000), FITTED)


def test_the_message_counts_the_rows_and_names_one() -> None:
    with pytest.raises(InputError, match=r"ndvi of 4 of 10 samples is in another unit or scale: sample p0 has"):
        check_scale(changed(slice(0, 4), 10_000), FITTED)


@pytest.mark.parametrize("mark", [-9999.0, -99.0, 65535.0])
def test_one_mark_of_missing_data_is_refused(mark: float) -> None:
    values = table().values.copy()
    values[3, 0, 2] = mark
    with pytest.raises(InputError, match=rf"ndvi of sample p3 is {mark:g} at step 2.*`missing = \[{mark:g}\]`"):
        check_scale(table(values), FITTED)


def test_a_heavy_rain_is_no_mark() -> None:
    values = table().values.copy()
    values[3, 1, 2] = 99
    check_scale(table(values), FITTED)
    values = table().values.copy()
    values[3, 1, 2] = -9999
    with pytest.raises(InputError, match="rain of sample p3 is -9999"):
        check_scale(table(values), FITTED)


def test_bands_in_another_order_are_put_in_that_of_the_run() -> None:
    learnt = table()
    turned = table(np.ascontiguousarray(learnt.values[:, ::-1]), ("rain", "ndvi"))
    back = in_the_order_of(turned, learnt.describe_seasons())
    assert back.fingerprint() == learnt.fingerprint()
    assert back.describe_seasons() == learnt.describe_seasons()
    assert in_the_order_of(learnt, learnt.describe_seasons()) is learnt


def test_static_columns_and_drivers_are_put_in_order_too() -> None:
    rng = np.random.default_rng(1)
    drivers = rng.random((10, 2, 6)).astype(np.float32)
    learnt = replace(
        table(),
        static=rng.random((10, 2)).astype(np.float32),
        static_names=("clay", "sand"),
        drivers=drivers,
        drivers_observed=~np.isnan(drivers),
        driver_names=("rain", "day"),
        driver_units=("mm", "h"),
        drivers_known=np.array([False, True]),
    )
    turned = replace(
        learnt,
        static=learnt.static[:, ::-1].copy(),
        static_names=("sand", "clay"),
        drivers=drivers[:, ::-1].copy(),
        drivers_observed=~np.isnan(drivers[:, ::-1]),
        driver_names=("day", "rain"),
        driver_units=("h", "mm"),
        drivers_known=np.array([True, False]),
    )
    assert in_the_order_of(turned, learnt.describe_seasons()).fingerprint() == learnt.fingerprint()


def test_other_bands_are_left_for_the_refusal() -> None:
    other = table(names=("ndvi", "evi"))
    assert in_the_order_of(other, table().describe_seasons()) is other


def test_places_that_lost_their_zeros_are_those_of_the_run_and_it_is_said() -> None:
    new = replace(table(), place=np.array(["1001", *(f"p{i}" for i in range(1, 10))]))
    spelled, (found,) = spelled_as_in_run(new, ["01001", "p1"])
    assert spelled.place[0] == "01001"
    assert "1001 as 01001" in found.sentence
    assert spelled_as_in_run(table(), ["p0"])[1] == ()


def with_ranges(known: list[bool]) -> dict[str, Any]:
    scaler = {**FITTED["2022"]["scaler"], "known": known}
    return {"2022": {"scaler": scaler, "ranges": [[0.0, 1.0], [0.0, 400.0]]}}


def test_values_outside_the_y_range_of_a_run_are_named_with_their_share() -> None:
    assert list(unlike_training(table(), with_ranges([True, True]))) == []
    (sentence,) = unlike_training(changed(slice(0, 10), 2.0), with_ranges([True, True]))
    values = changed(slice(0, 10), 2.0).values[:, 0]
    assert f"{(values > 1).mean():.0%} of the values of ndvi lie outside 0 to 1" in sentence


def test_a_variate_that_the_run_does_not_know_is_named_and_its_scale_is_not_compared() -> None:
    changed_scale = changed(slice(0, 10), 10_000)
    check_scale(changed_scale, with_ranges([False, True]))
    (sentence,) = unlike_training(changed_scale, with_ranges([False, True]))
    assert sentence.startswith("The values of ndvi are not used")


def test_places_that_differ_in_capitals_are_named_in_both_spellings() -> None:
    known = ["Feld 01", "Feld 02"]
    assert capitals_differ(["FELD 01", "FELD 02"], known).startswith(
        " Names differ only in capitals: FELD 01 and Feld 01."
    )
    assert "1 of these names differ only in capitals: FELD 02 and" in capitals_differ(["Acker", "FELD 02"], known)
    assert capitals_differ(["Acker"], known) == ""
