"""Long tables on the step grid, and the calendar behind it."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.card import StepDays
from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.sources.aggregate import mean_in_cells, repeated_rows
from pipeline.sources.times.calendar import Calendar
from pipeline.table import Count, SeasonTable

CARDS = Path(__file__).resolve().parents[1] / "cards"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def table_of(folder: Path, card: str, header: str, rows: Iterable[Sequence[object]], **arguments: int) -> SeasonTable:
    """The table of rows with variate `a` and yield `t`, by a card of format long with these further lines."""
    write(folder / "long.csv", header.split(","), rows)
    (folder / "card.toml").write_text(
        f'name = "n"\nformat = "long"\nfiles = "long.csv"\n{card}\n[[variates]]\nname = "a"\n'
        '[target]\ncolumn = "t"\nunit = "t/ha"\n'
    )
    return read(folder / "card.toml", **arguments)


def shown(table: SeasonTable) -> list[list[float | None]]:
    return [[None if np.isnan(x) else float(x) for x in row] for row in table.values[:, 0]]


def test_irregular_dates_are_averaged_in_their_step_and_the_rest_stays_unobserved(tmp_path: Path) -> None:
    rows = [
        ["p", "2020-01-01", 1, 5],
        ["p", "2020-01-10", 2, 5],
        ["p", "2020-01-11", 4, ""],
        ["p", "2020-01-31", "", 5],
        ["p", "2020-02-01", 0, 5],
    ]
    table = table_of(tmp_path, 'date = "d"\nseason_steps = 5', "place,d,a,t", rows)
    assert shown(table) == [[1.5, 4.0, None, 0.0, None]]
    assert table.observed[0, 0].tolist() == [True, True, False, True, False]
    assert (table.sample_id.tolist(), table.target.tolist()) == (["p|2020"], [5.0])


def test_dates_outside_of_the_season_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [["p", "2020-05-01", 1, 5], ["p", "2020-05-21", 2, 5], ["p", "2021-04-30", 9, 5]]
    table = table_of(tmp_path, 'date = "d"\nseason_start = "05-01"\nseason_steps = 2', "place,d,a,t", rows)
    assert shown(table) == [[1.0, None]]
    assert table.counts == (Count("observation row dropped, because it is outside the 2 steps of its season", 2),)


def test_a_season_of_dates_crosses_new_year_and_is_called_after_its_end(tmp_path: Path) -> None:
    rows = [
        ["p", "2019-07-15", 1, ""],
        ["p", "2020-03-01", 2, 5],
        ["p", "2020-06-30", 3, ""],
        ["p", "2020-07-01", 4, 6],
    ]
    card = 'date = "d"\nstep_days = "month"\nseason_start = "07-01"'
    table = table_of(tmp_path, card, "place,d,a,t", rows)
    assert table.sample_id.tolist() == ["p|2020", "p|2021"]
    assert shown(table) == [[1.0, *[None] * 7, 2.0, *[None] * 2, 3.0], [4.0, *[None] * 11]]
    assert table.target.tolist() == [5.0, 6.0]


def test_a_yield_belongs_to_the_year_its_row_names_and_values_to_their_date(tmp_path: Path) -> None:
    rows = [["p", 2019, f"2019-{m:02d}-01", m, 3] for m in range(1, 13)]
    rows += [["p", 2020, f"2020-{m:02d}-01", 12 + m, 4] for m in range(1, 13)]
    card = 'date = "d"\nyear = "y"\nstep_days = "month"\nseason_start = "07-01"'
    table = table_of(tmp_path, card, "place,y,d,a,t", rows)
    # 2019 holds January to June only, and 2021 has no yield.
    assert table.sample_id.tolist() == ["p|2019", "p|2020"]
    assert shown(table) == [[None] * 6 + [float(m) for m in range(1, 7)], [float(m) for m in range(7, 19)]]
    assert table.target.tolist() == [3.0, 4.0]


def test_dates_may_carry_a_time_and_parquet_dates_are_the_same(tmp_path: Path) -> None:
    days = ["2020-01-03", "2020-01-14T10:30:00Z", "2020-01-25 08:00:00"]
    before = table_of(tmp_path, 'date = "d"', "place,d,a,t", [["p", d, i, 5] for i, d in enumerate(days)])
    columns = {"place": ["p"] * 3, "d": [date(2020, 1, d) for d in (3, 14, 25)], "a": [0.0, 1.0, 2.0], "t": [5.0] * 3}
    pq.write_table(pa.table(columns), tmp_path / "long.parquet")
    card = (tmp_path / "card.toml").read_text().replace("long.csv", "long.parquet")
    (tmp_path / "card.toml").write_text(card)
    assert read(tmp_path / "card.toml").fingerprint() == before.fingerprint()


def test_steps_are_taken_as_they_are(tmp_path: Path) -> None:
    rows = [["p", 2020, 1, 1.5, 5], ["p", 2020, 3, 2.5, ""], ["q", 2020, 2, 3.5, 6]]
    table = table_of(tmp_path, 'step = "s"\nyear = "y"', "place,y,s,a,t", rows)
    assert shown(table) == [[1.5, None, 2.5], [None, 3.5, None]]


def test_steps_that_nobody_observed_yet_are_unobserved_up_to_the_cards_season(tmp_path: Path) -> None:
    rows = [["p", 2020, 0, 1.5, 5], ["p", 2020, 1, 2.5, 5]]
    for card in (
        'step = "s"\nyear = "y"\nseason_steps = 4',
        'step = "s"\nyear = "y"\nseason_steps = 4\nsample_id = "id"',
    ):
        table = table_of(tmp_path, card, "id,place,y,s,a,t", [["x", *row] for row in rows])
        assert shown(table) == [[1.5, 2.5, None, None]]


def test_months_of_two_years_make_one_season(tmp_path: Path) -> None:
    rows = [["p", y, m, 12 * (y - 2019) + m, y - 2000] for y in (2019, 2020) for m in range(1, 13)]
    card = 'step = "s"\nyear = "y"\nstep_days = "month"\nseason_start = "07-01"'
    table = table_of(tmp_path, card, "place,y,s,a,t", rows)
    assert table.sample_id.tolist() == ["p|2020"]
    assert shown(table) == [[float(m) for m in range(7, 19)]]
    assert [c.rows for c in table.counts] == [1]


def test_rows_belong_to_the_sample_they_name(tmp_path: Path) -> None:
    rows = [["b", "p", 2020, 1, 1, 5], ["a", "p", 2020, 1, 2, 6], ["b", "p", 2020, 2, 3, 5]]
    table = table_of(tmp_path, 'sample_id = "id"\nstep = "s"\nyear = "y"', "id,place,y,s,a,t", rows)
    assert table.sample_id.tolist() == ["a", "b"]
    assert table.place.tolist() == ["p", "p"]
    assert shown(table) == [[2.0, None], [1.0, 3.0]]
    assert table.target.tolist() == [6.0, 5.0]


def test_dates_of_a_named_sample_count_from_the_start_of_its_season(tmp_path: Path) -> None:
    rows = [
        ["a", "p", 2020, "2019-10-05", 1, 5],
        ["a", "p", 2020, "2020-01-05", 2, 5],
        ["a", "p", 2020, "2020-10-05", 9, 5],
    ]
    card = 'sample_id = "id"\ndate = "d"\nyear = "y"\nstep_days = "month"\nseason_start = "10-01"\nseason_steps = 6'
    table = table_of(tmp_path, card, "id,place,y,d,a,t", rows)
    assert shown(table) == [[1.0, None, None, 2.0, None, None]]
    assert table.counts == (Count("observation row dropped, because it is outside the 6 steps of its season", 1),)


def test_the_year_may_come_from_the_file_name(tmp_path: Path) -> None:
    write(tmp_path / "long_2021.csv", ["place", "s", "a", "t"], [["p", 0, 1, 5], ["p", 1, 2, 5]])
    (tmp_path / "card.toml").write_text(
        'name = "n"\nformat = "long"\nfiles = "long_*.csv"\nstep = "s"\nvariates = [{name = "a"}]\n'
        'target = {column = "t", unit = "t/ha"}'
    )
    assert read(tmp_path).year.tolist() == [2021]
    assert read(tmp_path, year=2019).year.tolist() == [2019]


def test_a_long_table_read_for_prediction_needs_no_yield(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text(
        'name = "n"\nformat = "long"\nfiles = "long.csv"\nstep = "s"\nyear = "y"\nvariates = [{name = "a"}]\n'
        'target = {column = "t", unit = "t/ha"}'
    )
    write(tmp_path / "long.csv", ["place", "y", "s", "a"], [["p", 2020, 0, 1], ["p", 2020, 1, 2]])
    assert np.isnan(read(tmp_path, for_prediction=True).target).all()
    with pytest.raises(InputError, match="no column t"):
        read(tmp_path)


cells = st.one_of(st.none(), st.floats(0.25, 16, width=32))  # of one scale: two are refused


@settings(max_examples=30, deadline=None)
@given(data=st.data(), n=st.integers(1, 5), v=st.integers(1, 3), t=st.integers(2, 6))
def test_a_wide_table_written_long_reads_the_same(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, n: int, v: int, t: int
) -> None:
    folder = tmp_path_factory.mktemp("round")
    # The last step of the first row is always there: unobserved steps at the end leave no trace in a long table.
    numbers = [[[data.draw(cells) for _ in range(t)] for _ in range(v)] for _ in range(n)]
    numbers[0][0][t - 1] = 0.5
    yields = [data.draw(st.floats(2, 8)) for _ in range(n)]
    header = ["place", *(f"b{b}_{s}" for b in range(v) for s in range(t)), "y2020"]
    flat = [[f"p{i}", *("" if x is None else repr(x) for b in row for x in b), y] for i, (row, y) in
            enumerate(zip(numbers, yields, strict=True))]  # fmt: skip
    wide = read(write(folder / "wide.csv", header, flat))

    rows = [
        [wide.sample_id[i], wide.place[i], wide.year[i], s,
         *("" if np.isnan(x) else repr(float(x)) for x in wide.values[i, :, s]), repr(float(wide.target[i]))]
        for i in range(len(wide))
        for s in range(t)
    ]  # fmt: skip
    random.Random(n).shuffle(rows)
    names = [f"b{b}" for b in range(v)]
    write(folder / "long.csv", ["id", "place", "y", "s", *names, "t"], rows)
    variates = ", ".join(f'{{name = "{name}"}}' for name in names)
    for ids in ("", 'sample_id = "id"\n'):
        (folder / "card.toml").write_text(
            f'name = "n"\nformat = "long"\nfiles = "long.csv"\nstep = "s"\nyear = "y"\n{ids}variates = [{variates}]\n'
            'target = {column = "t", unit = "t/ha"}'
        )
        assert read(folder / "card.toml").fingerprint() == wide.fingerprint()


@pytest.mark.skipif(not DATA.is_dir(), reason="the real data of ../shared/data is not here")
def test_illinois_reads_the_same_by_sample_or_place_from_csv_or_parquet_in_any_order(tmp_path: Path) -> None:
    before = read(CARDS / "illinois_soybean.toml")
    source = DATA / "illinois_soybean"
    table = pacsv.read_csv(source / "illinois_soybean_hls_long.csv.gz")
    order = np.random.default_rng(0).permutation(len(table))
    pq.write_table(table.take(pa.array(order)).select(table.column_names[::-1]), tmp_path / "shuffled.parquet")
    card = (CARDS / "illinois_soybean.toml").read_text()
    card = card.replace("../../shared/data/illinois_soybean/illinois_soybean_hls_long.csv.gz", "shuffled.parquet")
    card = card.replace("../../shared/data/illinois_soybean", str(source))
    for text in (card, card.replace('sample_id = "sample_id"\n', "")):
        (tmp_path / "card.toml").write_text(text)
        assert read(tmp_path / "card.toml").fingerprint() == before.fingerprint()


def mean_by_hand(rows: list[tuple[int, int, float]], n: int, steps: int) -> list[list[float | None]]:
    """The slow twin of `mean_in_cells`, one variate."""
    found: dict[tuple[int, int], list[float]] = {}
    for sample, step, value in rows:
        if not np.isnan(value):
            found.setdefault((sample, step), []).append(value)
    return [
        [float(np.float32(sum(c) / len(c))) if (c := found.get((i, s))) else None for s in range(steps)]
        for i in range(n)
    ]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 4), st.one_of(st.just(np.nan), st.integers(-99, 99).map(float))),
        max_size=40,
    )
)
def test_means_in_cells_agree_with_their_slow_twin(rows: list[tuple[int, int, float]]) -> None:
    sample, step, value = (np.array([row[k] for row in rows]) for k in range(3))
    fast = mean_in_cells(value.astype(np.float32)[:, None], sample.astype(int), step.astype(int), 4, 5)[:, 0]
    assert [[None if np.isnan(x) else float(x) for x in row] for row in fast] == mean_by_hand(rows, 4, 5)


def test_rows_of_one_place_and_date_are_averaged_and_counted(tmp_path: Path) -> None:
    rows = [["p", "2020-01-01", 1, 5], ["p", "2020-01-02", 5, 5], ["p", "2020-01-01", 3, 5], ["q", "2020-01-01", 7, 5]]
    for ids in ("", '\nsample_id = "place"'):
        table = table_of(tmp_path, f'date = "d"\nseason_steps = 2{ids}', "place,d,a,t", rows)
        assert shown(table) == [[3.0, None], [7.0, None]]
        assert table.counts == (
            Count("observation row averaged with an earlier one of its place and date", 1, lost=False),
        )


def test_rows_that_share_a_date_but_not_a_variate_are_no_repetition() -> None:
    nan = np.nan
    measured = np.array([[1, nan], [nan, 2], [nan, 3], [1, 1]], np.float32)
    sample, day = np.array([0, 0, 0, 1]), np.array([5, 5, 5, 5])
    assert repeated_rows(measured[[0, 1, 3]], sample[[0, 1, 3]], day[[0, 1, 3]]) == 0
    assert repeated_rows(measured, sample, day) == 1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-3, 3), st.booleans(), st.booleans()), max_size=30))
def test_repeated_rows_agree_with_their_slow_twin(rows: list[tuple[int, int, bool, bool]]) -> None:
    found, by_hand = set(), 0
    for sample, day, *seen in rows:
        cells_of_row = {(sample, day, v) for v in (0, 1) if seen[v]}
        by_hand += bool(cells_of_row & found)
        found |= cells_of_row
    measured = np.array([[1.0 if s else np.nan for s in row[2:]] for row in rows], np.float32).reshape(-1, 2)
    sample, day = (np.array([row[k] for row in rows], np.int64) for k in (0, 1))  # type: ignore[assignment]
    assert repeated_rows(measured, sample, day) == by_hand


def season_by_hand(day: date, step_days: StepDays, start: str, steps: int, label: str) -> tuple[int, int]:
    """The slow twin of `Calendar.season_of`: walk from the season's first day, a day at a time."""
    month, first = map(int, start.split("-"))
    begin = date(day.year, month, first)
    if begin > day:
        begin = date(day.year - 1, month, first)

    def step_of(other: date) -> int:
        if isinstance(step_days, float):
            return int((other - begin).days // step_days)
        walked, step = begin, 0
        while walked < other:
            walked += timedelta(days=1)
            step += walked.day in ((1,) if step_days == "month" else (1, 11, 21))
        return step

    if label == "start":
        return begin.year, step_of(day)
    last = next(d for k in range(800) if step_of(d := begin + timedelta(days=k)) == steps - 1)
    return last.year, step_of(day)


@settings(max_examples=150, deadline=None)
@given(
    st.dates(date(1999, 1, 1), date(2025, 12, 31)),
    st.sampled_from(
        [("month", 12), ("month", 5), ("dekad", 36), ("dekad", 20), (10.0, 36), (14.0, 19), (16.0, 23), (8.0, 40)]
    ),
    st.sampled_from(["01-01", "03-21", "07-01", "10-11", "12-21"]),
    st.sampled_from(["end", "start"]),
)  # fmt: skip
def test_seasons_of_dates_agree_with_their_slow_twin(
    day: date, grid: tuple[StepDays, int], start: str, label: str
) -> None:
    step_days, steps = grid
    start = f"{start[:3]}01" if step_days == "month" else start
    calendar = Calendar(step_days, start, "01-01", "end" if label == "end" else "start")
    days = np.array([day], "datetime64[D]")
    year, step = calendar.season_of(days, steps)
    by_hand = season_by_hand(day, step_days, start, steps, label)
    assert step[0] == by_hand[1]
    # Where the last step begins around New Year, a leap day decides its year; the calendar's rule has no leap years.
    slack = 1 if isinstance(step_days, float) and near_new_year(start, steps, step_days) else 0
    assert abs(int(year[0]) - by_hand[0]) <= slack
    assert calendar.step_in(year, days, steps)[0] == step[0]


def near_new_year(start: str, steps: int, step_days: float) -> bool:
    begin = date(2001, int(start[:2]), int(start[3:])).timetuple().tm_yday - 1 + (steps - 1) * step_days
    return abs(begin - 365) <= 1


@pytest.mark.parametrize(
    ("step_days", "start", "offset"),
    [("month", "07-01", 6), ("dekad", "10-11", 28), (10.0, "07-01", 18), (14.0, "01-01", 0), (30.4375, "07-01", 6)],
)
def test_the_season_starts_at_the_nearest_step_of_a_row(step_days: StepDays, start: str, offset: int) -> None:
    assert Calendar(step_days, start).offset == offset


def test_a_row_that_starts_in_autumn_counts_its_offset_across_new_year() -> None:
    assert Calendar("month", "02-01", "10-01").offset == 4
