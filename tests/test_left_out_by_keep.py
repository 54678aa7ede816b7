"""Rows that `keep` leaves out are counted with their texts, in every layout, in a join and in the history."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.sources import read
from pipeline.table import SeasonTable

CROPS = {"maize": 6, "Maize": 2, "wheat": 3, "rye": 1, "": 1, "oats": 1}  # places of each crop
NAMED = [(f"{crop or 'none'} {n}", crop) for crop, places in CROPS.items() for n in range(places)]
YEARS = (2019, 2020)
KEEP = 'keep = { crop = "maize" }\n'
TARGET = 'target = { column = "t", unit = "t/ha" }\n'


def table(folder: Path, form: str, card: str) -> SeasonTable:
    """Two years of places with a crop each, wide or long, and yields alone in y.csv."""
    wide, long, yields = ["place,crop,year,a_0,a_1,t"], ["place,crop,date,a,t"], ["place,crop,year,t"]
    for i, (place, crop) in enumerate(NAMED):
        for year in YEARS:
            values, t = (0.2 + 0.01 * i, 0.4 + 0.01 * i), 3 + 0.1 * i + 0.03 * (year - 2019)
            wide.append(f"{place},{crop},{year},{values[0]},{values[1]},{t}")
            long += [f"{place},{crop},{year}-0{1 + s}-05,{values[s]},{t}" for s in range(2)]
            yields.append(f"{place},{crop},{year},{t}")
    for name, lines in (("wide", wide), ("long", long), ("y", yields)):
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    past = [line.replace(",2019,", ",2009,").replace(",2020,", ",2010,") for line in yields]
    (folder / "h.csv").write_text("\n".join(past) + "\n")
    (folder / "card.toml").write_text(card.format(form=form))
    return read(folder / "card.toml")


ONE_FILE = 'name = "n"\nformat = "{form}"\nfiles = "{form}.csv"\nvariates = [{{ name = "a" }}]\n' + TARGET.replace(
    "{", "{{"
).replace("}", "}}")


def left_out(found: SeasonTable) -> dict[str, int]:
    return {count.reason: count.rows for count in found.counts if "`keep`" in count.reason and count.lost}


@pytest.mark.parametrize("form", ["wide", "long"])
def test_rows_of_one_file_are_counted_with_their_texts(tmp_path: Path, form: str) -> None:
    keys = 'year = "year"\n' if form == "wide" else 'date = "date"\nstep_days = "month"\nseason_steps = 2\n'
    found = table(tmp_path, form, KEEP.replace("{", "{{").replace("}", "}}") + keys + ONE_FILE)
    assert len(found) == 12
    rows = 1 if form == "wide" else 2
    texts = f"'wheat' ({6 * rows}), 'Maize' ({4 * rows}), empty ({2 * rows}) and 2 more"
    assert left_out(found) == {f"row of {form}.csv left out by `keep`: crop is {texts}": 16 * rows}
    (near,) = [one for one in found.findings if "`keep`" in one.sentence]
    assert near.severity == "warning"
    assert f"`keep` leaves out {4 * rows} rows of {form}.csv whose crop is 'Maize', which differs" in near.sentence
    assert near.card_line == 'keep = { "crop" = ["maize", "Maize"] }'


def test_rows_of_sources_and_of_the_history_are_counted(tmp_path: Path) -> None:
    card = (
        'name = "n"\nstep_days = "month"\nseason_steps = 2\n[history]\nfiles = "h.csv"\ncolumn = "t"\nunit = "t/ha"\n'
        f'{KEEP}[[sources]]\nfiles = "long.csv"\ndate = "date"\n{KEEP}variates = [{{ name = "a" }}]\n'
        f'[[sources]]\nfiles = "y.csv"\nyear = "year"\n{KEEP}{TARGET}'
    )
    found = table(tmp_path, "long", card.replace("{", "{{").replace("}", "}}"))
    assert [reason.split(" left out")[0] for reason in left_out(found)] == [
        "row of y.csv",
        "row of long.csv",
        "row of h.csv",
    ]
    assert sum("which differs from 'maize' only in capitals" in one.sentence for one in found.findings) == 3


def test_a_keep_that_leaves_nothing_out_is_not_counted(tmp_path: Path) -> None:
    every = 'keep = {{ crop = ["maize", "Maize", "wheat", "rye", "oats"] }}\nyear = "year"\n'
    found = table(tmp_path, "wide", every + ONE_FILE)
    assert left_out(found) == {"row of wide.csv left out by `keep`: crop is empty (2)": 2}
    assert "`keep`" not in found.describe_findings()
