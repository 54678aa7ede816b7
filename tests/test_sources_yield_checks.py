"""Yields in two units, marks of missing data among them, and what is odd but may be right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.sources.checks.yield_checks import Yields, check_yields

PLACES, YEARS = 10, np.arange(2018, 2023)
YEAR = np.repeat(YEARS, PLACES)


def sound(seed: int = 0) -> NDArray[np.float64]:
    return np.round(np.random.default_rng(seed).normal(4, 0.8, len(YEAR)).clip(1, 7), 2)


def yields(target: NDArray[np.float64], factor: float = 1.0) -> Yields:
    return Yields("t.csv", target, YEAR, lambda row: f"t.csv, line {row + 2}", "yield", factor)


def refusal(target: NDArray[np.float64], factor: float = 1.0) -> str:
    with pytest.raises(InputError) as caught:
        check_yields(yields(target, factor))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def with_(rows: NDArray[np.bool_] | slice | int, times: float = 1.0, value: float | None = None) -> NDArray[np.float64]:
    target = sound()
    target[rows] = target[rows] * times if value is None else value
    return target


@pytest.mark.parametrize("seed", range(5))
def test_sound_yields_raise_no_alarm(seed: int) -> None:
    assert check_yields(yields(sound(seed))) == ()


@pytest.mark.parametrize("value", [4846, 350.0, 127.0])
def test_one_yield_in_another_unit_is_refused_with_its_line(value: float) -> None:
    told = refusal(with_(8, value=value))
    assert told.startswith(f"t.csv, line 10, column yield: the yield is {value:,.6g} t/ha")
    assert "[[exclude]]" in told


@pytest.mark.parametrize("times", [1000, 15.9, 10, 0.001, 0.1])
def test_a_year_in_another_unit_is_refused(times: float) -> None:
    told = refusal(with_(YEAR == 2020, times))
    assert "another unit" in told


@pytest.mark.parametrize("times", [1000, 15.9])
def test_every_second_yield_in_another_unit_is_refused(times: float) -> None:
    assert "unit" in refusal(with_(slice(None, None, 2), times))


@pytest.mark.parametrize("mark", [999, 9999, 99999, 65535])
def test_a_mark_of_missing_data_is_refused_even_once(mark: float) -> None:
    told = refusal(with_(7, value=mark))
    assert f"the yield is {mark:g}" in told
    assert f"`missing = [{mark:g}]`" in told


def test_a_mark_is_told_as_it_is_stored() -> None:
    assert "`missing = [99999]`" in refusal(with_(7, value=99.999), factor=0.001)


def test_a_faulty_year_is_reported_and_not_refused() -> None:
    (found,) = check_yields(yields(with_(YEAR == 2019, 1 / 3)))
    assert found.severity == "warning"
    assert "year 2019" in found.sentence
    assert "year = 2019" in found.card_line


def test_a_year_of_failed_harvests_is_no_other_unit() -> None:
    target = sound()
    target[YEAR == 2019] /= np.array([12, 12, 12, 12, 12, 12, 10, 9, 1, 1])
    assert "year 2019" in " ".join(finding.sentence for finding in check_yields(yields(target)))


def test_an_outlier_is_reported_with_its_line() -> None:
    (found,) = check_yields(yields(with_(8, value=38.0)))
    assert found.sentence.startswith("t.csv, line 10, column yield: the yield is 38 t/ha")


def test_a_group_of_yields_far_below_all_others_is_reported_with_their_number() -> None:
    target = sound()
    few = np.zeros(len(target), bool)
    few[:: len(target) // 5] = True
    (found,) = check_yields(yields(np.where(few, target / 1000, target)))
    assert f"{few.sum()} yields lie so far out" in found.sentence
    assert "the next higher one is" in found.sentence


def test_a_field_in_another_unit_is_reported_with_the_number_of_its_yields() -> None:
    target = sound()
    target[3::PLACES] *= 10
    (found,) = check_yields(yields(target))
    assert "5 yields lie so far out" in found.sentence


def test_failed_harvests_that_spread_down_to_zero_are_no_second_unit() -> None:
    target = sound()
    target[::5] = np.geomspace(0.004, 0.2, 10)
    assert all(finding.severity == "warning" for finding in check_yields(yields(target)))


def wide(folder: Path, labels: list[str], keys: str = "") -> Path:
    rows = [f"p{i},2020,{0.2 + i / 100},{0.4 + i / 50},{y}" for i, y in enumerate(labels)]
    (folder / "t.csv").write_text("\n".join(["place,year,a_0,a_1,t", *rows]) + "\n")
    (folder / "card.toml").write_text(
        f'{keys}\nname = "n"\nformat = "wide"\nfiles = "t.csv"\nyear = "year"\nvariates = [{{name = "a"}}]\n'
        'target = {column = "t", unit = "t/ha"}\n'
    )
    return folder / "card.toml"


def test_missing_applies_to_yields(tmp_path: Path) -> None:
    labels = ["3.1", "999", "4.2", "5.0", "3.3"]
    with pytest.raises(InputError, match=r"t\.csv, line 3, column t: the yield is 999"):
        read(wide(tmp_path, labels))
    table = read(wide(tmp_path, labels, "missing = [999]"))
    assert table.target.tolist() == [3.1, 4.2, 5.0, 3.3]
    assert [(c.reason, c.rows) for c in table.counts] == [("sample without a yield dropped", 1)]


def test_a_negative_mark_among_yields_is_missing_and_said(tmp_path: Path) -> None:
    table = read(wide(tmp_path, ["3.1", "-9999", "4.2", "5.0", "3.3"]))
    assert len(table) == 4
    assert "1 yield of -9999 is read as missing" in table.describe_findings()
    assert "missing = [-9999]" in table.describe_findings()
    assert [c.reason for c in table.counts] == ["sample without a yield dropped"]
