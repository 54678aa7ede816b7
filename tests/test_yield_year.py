"""Yields with the year of sowing are reported if seasons are named after the harvest; ordinary joins are not."""

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import InputError
from pipeline.sources.joins.season_keys import YEARS
from pipeline.sources.joins.yield_year import better_shift
from tests.joined_sources import read_card

PLACES = [f"f{i}" for i in range(8)]
CARD = (
    'name = "t"\nplace = "place"\nstep_days = 30\n{keys}\n[[sources]]\nfiles = "s.csv"\ndate = "date"\n'
    'variates = [{{ name = "ndvi" }}]\n[[sources]]\nfiles = "y.csv"\nyear = "year"\n'
    'target = {{ column = "yield", unit = "t/ha" }}\n'
)
ACROSS = 'season_start = "10-01"\nseason_steps = 6\n'
WITHIN = 'season_start = "04-01"\nseason_steps = 6\n'


def write(folder, starts, years, month_day="10-01"):
    """Seasons of six steps that start in these years, and yields of these years; both for each place or as pairs."""
    rng = np.random.default_rng(0)
    pairs = [one if isinstance(one, tuple) else (place, one) for one in starts for place in PLACES]
    pd.DataFrame(
        [
            {
                "place": place,
                "date": str(np.datetime64(f"{year}-{month_day}") + 30 * step),
                "ndvi": rng.uniform(0.1, 0.9),
            }
            for place, year in dict.fromkeys(pairs)
            for step in range(6)
        ]
    ).to_csv(folder / "s.csv", index=False)
    pairs = [one if isinstance(one, tuple) else (place, one) for one in years for place in PLACES]
    yields = [
        {"place": place, "year": year, "yield": round(rng.uniform(4, 9), 2)} for place, year in dict.fromkeys(pairs)
    ]
    pd.DataFrame(yields).to_csv(folder / "y.csv", index=False)


def alarms(folder, keys):
    table = read_card(folder, CARD.format(keys=keys))
    return [one for one in table.findings if one.severity == "warning" and "counted for the year" in one.sentence]


def test_yields_of_the_sowing_year_are_reported_with_the_line_that_settles_it(tmp_path):
    write(tmp_path, range(2014, 2020), range(2014, 2020))
    (finding,) = alarms(tmp_path, ACROSS)
    assert "Of 48 yields of y.csv at places of the series, 40 meet a season." in finding.sentence
    assert "for the year after its own, 48 would" in finding.sentence
    assert "the yield of f0 in 2014 meets no season, but one is called 2015." in finding.sentence
    assert "Is column year the year of sowing?" in finding.sentence
    assert finding.card_line == 'season_year = "start"'
    assert not alarms(tmp_path, ACROSS + finding.card_line)
    assert len(read_card(tmp_path, CARD.format(keys=ACROSS + finding.card_line))) == 48
    assert not alarms(tmp_path, ACROSS + 'season_year = "end"')  # the question is answered


def test_yields_of_the_harvest_year_are_reported_if_seasons_are_named_after_their_start(tmp_path):
    write(tmp_path, range(2014, 2020), range(2015, 2021))
    (finding,) = alarms(tmp_path, ACROSS + 'season_year = "start"')
    assert "for the year before its own, 48 would" in finding.sentence
    assert finding.card_line == 'season_year = "end"'
    assert not alarms(tmp_path, ACROSS)


def test_a_season_that_runs_and_yields_that_are_missing_hide_nothing(tmp_path):
    rng = np.random.default_rng(1)
    known = [(place, year) for place in PLACES for year in range(2014, 2019) if rng.random() < 0.8]
    write(tmp_path, range(2014, 2020), known)
    assert alarms(tmp_path, ACROSS)


@pytest.mark.parametrize(
    ("starts", "years"),
    [
        (range(2014, 2020), range(2015, 2021)),  # a plain join
        (range(2014, 2020), range(1990, 2020)),  # a longer history, and the last season has no yield yet
        (range(2014, 2020), range(1990, 2019)),  # two seasons without a yield
        (range(2000, 2020), range(2010, 2020)),  # a longer satellite record
        (range(2017, 2020), range(2000, 2019)),  # three seasons only
        (range(2014, 2020), range(2016, 2024)),  # yields beyond the last season
        (range(2014, 2020), range(2015, 2021, 2)),  # a survey every second year
    ],
)
def test_ordinary_joins_raise_no_alarm(tmp_path, starts, years):
    write(tmp_path, starts, years)
    assert not alarms(tmp_path, ACROSS)


def test_in_a_season_of_one_calendar_year_only_gaps_raise_the_alarm(tmp_path):
    write(tmp_path, range(2015, 2021), range(2014, 2020), "04-01")
    assert not alarms(tmp_path, WITHIN)
    sown = [
        (place, year) for at, place in enumerate(PLACES) for year in ((2012, 2014, 2017), (2013, 2016, 2018))[at % 2]
    ]
    write(tmp_path, [(place, year + 1) for place, year in sown], [*sown, ("f0", 2013)], "04-01")
    (finding,) = alarms(tmp_path, WITHIN)
    assert "Add 1 to the year in the yield file" in finding.sentence
    assert finding.card_line == ""


def test_if_no_year_meets_the_error_says_how_many_would_one_year_later(tmp_path):
    write(tmp_path, [2014], [2014])
    with pytest.raises(
        InputError, match=r"for the year after its own, 8 of 8 would meet. Is their year that of sowing"
    ):
        read_card(tmp_path, CARD.format(keys=ACROSS))


def keys(pairs):
    return np.array([place * YEARS + year for place, year in pairs])


@pytest.mark.parametrize("seed", range(20))
def test_random_gaps_in_both_files_raise_no_alarm(seed):
    rng = np.random.default_rng(seed)
    share, first = rng.uniform(0.3, 1), int(rng.integers(1990, 2010))
    drawn = [(place, year) for place in range(30) for year in range(first, 2021)]
    yields = keys(pair for pair in drawn if rng.random() < share)
    seasons = keys(pair for pair in drawn if pair[1] >= 2012 and rng.random() < rng.uniform(0.5, 1))
    assert better_shift(seasons, yields, 0) is None
    assert better_shift(seasons, yields, 1) is None


CUT = 'season_start = "10-01"\nseason_steps = 3\n'


@pytest.mark.parametrize(
    ("keys", "asked"),
    [
        (CUT, True),
        (CUT + 'season_year = "end"\n', False),
        (CUT + 'harvest = "12-28"\n', False),
        (ACROSS, False),
        (WITHIN, False),
        ('season_start = "04-01"\nseason_steps = 9\n', False),  # a summer crop that is harvested in December
        ('season_start = "08-15"\nseason_steps = 3\n', False),  # a short season that ends in November
    ],
)
def test_a_season_that_is_cut_in_december_asks_for_its_harvest(tmp_path, keys, asked):
    write(tmp_path, range(2014, 2020), range(2014, 2021), keys[len('season_start = "') :][:5])
    table = read_card(tmp_path, CARD.format(keys=keys))
    found = [one for one in table.findings if "is called 2019, after the year of its last step" in one.sentence]
    assert [one.card_line for one in found] == ['harvest = "MM-DD"'] * asked
    if asked:
        assert "The season from 2019-10-01 to 2019-12-29" in found[0].sentence
        with pytest.raises(InputError, match=r"season_steps = 5 or more"):
            read_card(tmp_path, CARD.format(keys=keys + 'harvest = "06-30"\n'))
