"""A history that contradicts the labels, or holds them one year off, is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.sources.checks.unit_switch import unit_switch
from pipeline.sources.history_checks import check_history
from pipeline.table import YieldHistory

PLACES = [f"p{i}" for i in range(8)]
YEARS = list(range(2010, 2020))
RNG = np.random.default_rng(3)
TRUTH = {(p, y): round(float(RNG.normal(4, 1)), 2) for p in PLACES for y in YEARS}


def check(known: dict[tuple[str, int], float], labels: dict[tuple[str, int], float]) -> str:
    keys = sorted(known)
    history = YieldHistory(
        np.array([p for p, _ in keys]), np.array([y for _, y in keys]), np.array([known[key] for key in keys])
    )
    place, year = np.array([p for p, _ in labels]), np.array([y for _, y in labels])
    found = check_history(history, place, year, target=np.array([*labels.values()]), source="card.toml")
    return " ".join(finding.sentence for finding in found)


LABELS = {key: value for key, value in TRUTH.items() if key[1] >= 2015}


def test_a_history_of_other_years_and_one_that_repeats_the_labels_are_read() -> None:
    assert check({key: value for key, value in TRUTH.items() if key[1] < 2015}, LABELS) == ""
    assert check(TRUTH, LABELS) == ""
    assert check({key: value + 0.002 for key, value in TRUTH.items()}, LABELS) == ""


@pytest.mark.parametrize("off", [-1, 1])
@pytest.mark.parametrize("every", [1, 2])
def test_a_history_one_year_off_is_refused_also_in_a_rotation(off: int, every: int) -> None:
    shifted = {(p, y + off): value for (p, y), value in TRUTH.items() if y % every == 0}
    labels = {key: value for key, value in LABELS.items() if key[1] % every == 0}
    with pytest.raises(InputError, match=r"\[history\] is one year off.*would know its own answer"):
        check(shifted, labels)


def test_yields_that_hardly_change_are_not_one_year_off() -> None:
    same = {(p, y): 2.0 + i for i, p in enumerate(PLACES) for y in YEARS}
    assert check(same, {key: value for key, value in same.items() if key[1] >= 2015}) == ""


def test_a_history_that_contradicts_the_labels_is_refused_and_one_odd_place_year_reported() -> None:
    with pytest.raises(InputError, match=r"\[history\] contradicts the labels in \d+ of 40 place-years"):
        check({key: value * 1.3 for key, value in TRUTH.items()}, LABELS)
    assert "in 1 of 40 place-years" in check(TRUTH | {("p0", 2016): 9.0}, LABELS)


def test_a_history_in_another_unit_is_refused() -> None:
    with pytest.raises(InputError, match="times the labels of the same 8 places"):
        check({key: value * 15.9 for key, value in TRUTH.items() if key[1] < 2015}, LABELS)


def test_noise_cannot_be_forecast_by_a_shifted_history(tmp_path: Path) -> None:
    labels = [(p, y) for p, y in LABELS if y % 2 == 0]
    rows = [f"{p},{y},0.{3 + i % 5},0.{4 + i % 3},{TRUTH[p, y]}" for i, (p, y) in enumerate(labels)]
    (tmp_path / "t.csv").write_text("\n".join(["place,year,a_0,a_1,t", *rows]) + "\n")
    past = [f"{p},{y - 1},{value}" for (p, y), value in TRUTH.items() if y % 2 == 0]
    (tmp_path / "past.csv").write_text("\n".join(["place,year,t", *past]) + "\n")
    (tmp_path / "card.toml").write_text(
        'name = "n"\nformat = "wide"\nfiles = "t.csv"\nyear = "year"\nvariates = [{name = "a"}]\n'
        'target = {column = "t", unit = "t/ha"}\nhistory = {files = "past.csv", column = "t", unit = "t/ha"}\n'
    )
    with pytest.raises(InputError, match=r"card\.toml: \[history\] is one year off"):
        read(tmp_path / "card.toml")


def test_yield_columns_without_a_card_that_contradict_each_other_are_named_as_columns(tmp_path: Path) -> None:
    for year in (2015, 2016):
        past = [y for y in YEARS if y < year]
        header = ["place", "a_0", "a_1", *(f"y{y}" for y in (*past, year))]
        rows = [[p, "0.3", "0.4", *(str(1.5 * TRUTH[p, y]) for y in past), str(TRUTH[p, year])] for p in PLACES]
        lines = [",".join(cells) for cells in (header, *rows)]
        (tmp_path / f"t_{year}.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"`y<year>` columns .* contradicts the labels in 8 of 8 place-years") as found:
        read(tmp_path)
    assert "Correct the yields or the years in the names of these columns" in str(found.value)
    assert "[history]" not in str(found.value)


@pytest.mark.parametrize("mark", ["-9999", "999"])
def test_marks_in_a_history_are_found_and_named_by_the_card(tmp_path: Path, mark: str) -> None:
    (tmp_path / "t.csv").write_text("place,year,a_0,a_1,t\np,2020,0.3,0.4,3\nq,2020,0.3,0.5,4\n")
    past = [f"p,{y},{3 + y / 10}" for y in range(1, 9)]
    (tmp_path / "past.csv").write_text("place,year,t\n" + "\n".join(line.replace("p,", "p,200") for line in past))
    with (tmp_path / "past.csv").open("a") as file:
        file.write(f"\nq,2005,{mark}\nq,2006,4\n")
    card = (
        'name = "n"\nformat = "wide"\nfiles = "t.csv"\nyear = "year"\nvariates = [{name = "a"}]\n'
        'target = {column = "t", unit = "t/ha"}\nhistory = {files = "past.csv", column = "t", unit = "t/ha"}\n'
    )
    (tmp_path / "card.toml").write_text(f"missing = [{mark}]\n{card}")
    assert len(read(tmp_path / "card.toml").history) == 9
    (tmp_path / "card.toml").write_text(card)
    if mark == "999":
        with pytest.raises(InputError, match=r"past\.csv, line 10, column t: the known yield of the history is 999"):
            read(tmp_path / "card.toml")
    else:
        assert len(read(tmp_path / "card.toml").history) == 9


def switch(known: dict[tuple[str, int], float]) -> str:
    keys = sorted(known)
    history = YieldHistory(
        np.array([p for p, _ in keys]), np.array([y for _, y in keys]), np.array([known[key] for key in keys])
    )
    found = unit_switch(history, "card.toml", "[history]")
    return " ".join(f"{finding.severity}: {finding.sentence} {finding.card_line}" for finding in found)


def test_a_history_that_changes_its_unit_is_reported_with_year_and_factor() -> None:
    told = switch({(p, y): value * (10 if y < 2014 else 1) for (p, y), value in TRUTH.items()})
    assert told.startswith("warning: card.toml: from 2014 on, the known yields of [history] are about ")
    assert "times lower than before" in told
    assert 8 < float(told.split("are about ")[1].split()[0]) < 13
    assert "before = 2014" in told
    told = switch({(p, y): value * (10 if y >= 2017 else 1) for (p, y), value in TRUTH.items()})
    assert "from 2017 on" in told
    assert "times higher" in told
    assert "after = 2016" in told


def test_yields_that_grow_over_decades_or_fail_in_one_year_are_no_change_of_unit() -> None:
    assert switch(TRUTH) == ""
    assert switch({(p, y): 0.8 * 1.05 ** (y - 1960) for p in PLACES for y in range(1960, 2021)}) == ""
    assert switch({key: value * (0.1 if key[1] == 2014 else 1) for key, value in TRUTH.items()}) == ""


def test_the_finding_about_a_change_of_unit_is_one_of_the_table(tmp_path: Path) -> None:
    rows = [f"{p},{y},0.{2 + i},0.{3 + i},{TRUTH[p, y]}" for i, p in enumerate(PLACES[:7]) for y in YEARS]
    (tmp_path / "t.csv").write_text("\n".join(["place,year,a_0,a_1,t", *rows]) + "\n")
    past = [f"{p},{y},{TRUTH[p, y + 10] * (10 if y < 2006 else 1)}" for p in PLACES[:7] for y in range(2000, 2010)]
    (tmp_path / "h.csv").write_text("\n".join(["place,year,t", *past]) + "\n")
    (tmp_path / "card.toml").write_text(
        'name = "n"\nformat = "wide"\nfiles = "t.csv"\nyear = "year"\nvariates = [{name = "a"}]\n'
        '[target]\ncolumn = "t"\nunit = "t/ha"\n[history]\nfiles = "h.csv"\ncolumn = "t"\nunit = "t/ha"\n'
    )
    assert "from 2006 on, the known yields of [history]" in read(tmp_path / "card.toml").describe_findings()
