"""Every way a source can be wrong: one paragraph with file, place, value and advice, and no season table is built."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputError
from pipeline.sources import read

HEAD = "place,a_0,a_1,b_0,b_1,y2022"
GOOD = "p,1,2,3,4,5\n"
WIDE = """
name = "n"
format = "wide"
files = ["rows.csv"]
year = "year"
variates = [{name = "a"}]
target = {column = "t", unit = "t/ha"}
"""
ROWS = "place,year,a_0,a_1,t\n"
LONG = WIDE.replace('"wide"', '"long"')
SOIL = 'static = ["soil"]' + WIDE
FLIGHTS = WIDE + "[radiometry]\ngroup = 'flight'\n"
FLIGHTS_OF_STEPS = LONG + "step = 's'\n[radiometry]\ngroup = 'flight'\n"
BY_STEP, BY_DATE = LONG + 'step = "s"\n', LONG + 'date = "d"\n'


@dataclass(frozen=True)
class Case:
    """Files to write (text, bytes, or columns of a Parquet file), what is read, and what the paragraph must hold."""

    name: str
    files: dict[str, Any]
    data: str
    told: tuple[str, ...]
    arguments: dict[str, Any] = field(default_factory=dict)


CASES = [
    Case("missing file, near", {"field.csv": HEAD}, "fields.csv", ("fields.csv", "no such file", "did you mean")),
    Case("missing file, no near name", {"pyproject.toml": "x", "card.toml": WIDE}, "nope.toml",
         ("nope.toml", "no such file or folder; check the path")),
    Case("missing file, near but for its ending", {"seasons.parquet": b"x"}, "seasons.csv",
         ("no such file", "did you mean", "seasons.parquet")),
    Case("empty folder", {"f/readme.md": "x"}, "f", ("no data file and no card", ".parquet")),
    Case("two cards", {"f/a.toml": WIDE, "f/b.toml": WIDE}, "f", ("2 cards (a.toml, b.toml)", "name one")),
    Case("empty glob", {}, "*.csv", ("*.csv", "no file matches")),
    Case("missing file of a card", {"c.toml": WIDE}, "c.toml", ("rows.csv", "c.toml", "Put it in that place")),
    Case("file of another format", {"c.toml": WIDE.replace(".csv", ".nc"), "rows.nc": b"x"}, "c.toml",
         ("rows.nc", "format 'wide'", "reads .csv")),
    Case("cube without a card", {"c.nc": b"x"}, "c.nc", ("c.nc", "needs a dataset card")),
    Case("no cube", {"c.toml": LONG.replace("rows.csv", "c.nc").replace('"long"', '"netcdf"') + 'step = "s"',
                     "c.nc": b"no cube"}, "c.toml", ("c.nc", "cannot be opened as netcdf", "Export it again")),
    Case("empty parquet", {"f.parquet": b""}, "f.parquet", ("f.parquet", "empty")),
    Case("cut parquet", {"f.parquet": b"PAR1" + bytes(64)}, "f.parquet", ("not a Parquet file", "Export it again")),
    Case("parquet called csv", {"f.csv": b"PAR1abc"}, "f.csv", ("f.csv", "is a Parquet file", "ending")),
    Case("spreadsheet called csv", {"f.csv": b"PK\x03\x04"}, "f.csv", ("spreadsheet (.xlsx)", "ending")),
    Case("binary junk", {"f.csv": b"ab\0cd"}, "f.csv", ("f.csv", "not CSV text", "NUL")),
    Case("gzip called csv", {"f.csv": gzip.compress(b"x")}, "f.csv", ("gzip file (.csv.gz)",)),
    Case("csv called gzip", {"f.csv.gz": HEAD}, "f.csv.gz", ("f.csv.gz", "not gzip", "drop the .gz")),
    Case("cut gzip", {"f.csv.gz": gzip.compress((HEAD + "\n" + GOOD * 9).encode())[:-20]}, "f.csv.gz",
         ("f.csv.gz", "damaged", "again")),
    Case("no utf-8 in the header", {"f.csv": b"pl\xe4ce,a_0\n"}, "f.csv", ("f.csv, line 1", "0xe4", "UTF-8")),
    Case("no utf-8 in a row", {"f.csv": f"{HEAD}\n{GOOD}pl\xe4ce,1,2,3,4,5\n".encode("latin-1")}, "f.csv",
         ("f.csv, line 3", "0xe4", "save the file as UTF-8")),
    Case("a mark of missing data", {"f.csv": f"{HEAD}\n{GOOD}q,-99,2,-99,4,5\nr,1,-99,3,4,5\n"}, "f.csv",
         ("f.csv, line 3, column a_0", "-99 stands in 2 cells", "`missing = [-99]`", "leave those cells empty")),
    Case("header only", {"f.csv": HEAD + "\n"}, "f.csv", ("f.csv", "no row below it")),
    Case("semicolons", {"f.csv": HEAD.replace(",", ";")}, "f.csv", ("f.csv", "a header but no row")),
    Case("a row too short", {"f.csv": f"{HEAD}\n{GOOD}\nq,1,2\n"}, "f.csv", ("f.csv, line 4", "3 columns", "has 6")),
    Case("text in a series", {"f.csv": f"{HEAD}\n{GOOD}\n\nq,1,cloud,3,4,5\n"}, "f.csv",
         ("f.csv, line 5, column a_1", "'cloud' is not a number", "leave the cell empty")),
    Case("decimal comma", {"f.csv": f'{HEAD}\nq,1,"2,5",3,4,5\n'}, "f.csv", ("line 2, column a_1", "'2,5'", "decimal")),
    Case("text in a yield", {"f.csv": f"{HEAD}\nq,1,2,3,4,5 t\n"}, "f.csv", ("line 2, column y2022", "'5 t'")),
    Case("text in parquet", {"f.parquet": {"a_0": ["1", "x"], "a_1": [1.0, 2.0], "y2022": [3.0, 3.0]}}, "f.parquet",
         ("f.parquet, row 1, column a_0", "'1' is not a number", "Store the column as numbers")),
    Case("truth in parquet", {"f.parquet": {"a_0": [True], "a_1": [1.0], "y2022": [3.0]}}, "f.parquet",
         ("row 1, column a_0", "True is not a number")),
    Case("infinite", {"f.csv": f"{HEAD}\n{GOOD}q,1,2,-inf,4,5\n"}, "f.csv",
         ("f.csv, line 3, column b_0", "'-inf' is infinite", "Leave the cell empty")),
    Case("infinite yield", {"f.csv": f"{HEAD}\nq,1,2,3,4,inf\n"}, "f.csv", ("line 2, column y2022", "infinite")),
    Case("too large", {"f.csv": f"{HEAD}\nq,1e39,2,3,4,5\n"}, "f.csv", ("column a_0", "'1e39'", "3.4e38")),
    Case("infinite in parquet", {"f.parquet": {"a_0": [1.0, float("inf")], "a_1": [1.0, 1.0], "y2022": [3.0, 3.0]}},
         "f.parquet", ("f.parquet, row 2, column a_0", "infinite")),
    Case("unequal steps", {"f.csv": "place,a_0,a_1,b_0,y2022\np,1,2,3,5\n"}, "f.csv",
         ("band a has 2 steps (a_0 to a_1)", "band b has 1 step (b_0 to b_0)", "same steps")),
    Case("a gap in the steps", {"f.csv": "a_0,a_1,a_3,y2022\n1,2,3,5\n"}, "f.csv", ("no column for step 2", "a_3")),
    Case("steps from seven", {"f.csv": "a_7,a_8,y2022\n1,2,5\n"}, "f.csv", ("column a_7", "count from 0 or 1")),
    Case("a step twice", {"f.csv": "a_0,a_1,a_01,y2022\n1,2,3,5\n"}, "f.csv", ("a_1 and a_01 are both step 1",)),
    Case("a column twice", {"f.csv": "place,place,a_0,a_1,y2022\np,q,1,2,5\n"}, "f.csv", ("place occurs 2 times",)),
    Case("no bands", {"f.csv": "place,ndvi,y2022\np,1,5\n"}, "f.csv", ("{band}_{step}", "place, ndvi", "card")),
    Case("no yield column", {"f.csv": "a_0,a_1\n1,2\n"}, "f.csv", ("no yield column y<year>", "dataset card")),
    Case("several yield columns", {"f.csv": "a_0,a_1,y2020,y2021\n1,2,3,4\n"}, "f.csv", ("y2020, y2021", "--year")),
    Case("the year has no column", {"f.csv": HEAD + "\n" + GOOD}, "f.csv", ("no yield column y2019", "y2022"),
         {"year": 2019}),
    Case("a year for two files", {"a.csv": HEAD, "b.csv": HEAD}, "*.csv", ("--year 2022", "2 are given"),
         {"year": 2022}),
    Case("prediction without a year", {"f.csv": "a_0,a_1\n1,2\n"}, "f.csv", ("no y<year> column", "--year"),
         {"for_prediction": True}),
    Case("impossible year", {"f.csv": HEAD + "\n" + GOOD}, "f.csv", ("--year", "1066", "1900-2100"), {"year": 1066}),
    Case("impossible yield column", {"f.csv": "a_0,a_1,y1850\n1,2,5\n"}, "f.csv", ("f.csv", "1850", "1900-2100")),
    Case("another year's file differs",
         {"2021.csv": HEAD.replace("2022", "2021") + "\n" + GOOD, "2022.csv": "a_0,a_1,c_0,c_1,y2022\n1,2,3,4,5\n"},
         "*.csv", ("2022.csv", "2021.csv", "lacks b_0, b_1", "also has c_0, c_1")),
    Case("duplicate sample", {"f.csv": f"{HEAD}\n{GOOD}q,1,2,3,4,5\n{GOOD}"}, "f.csv",
         ("f.csv, line 4", "sample p|2022", "f.csv, line 2", "`sample_id`")),
    Case("no place", {"f.csv": f"{HEAD}\n{GOOD},1,2,3,4,5\n"}, "f.csv", ("line 3, column place", "empty", "Fill it")),
    Case("no yield is left", {"f.csv": f"{HEAD}\np,1,2,3,4,\nq,1,2,3,4,0\nr,1,2,3,4,-2\n"}, "f.csv",
         ("none of the 3 samples", "1 x sample without a yield", "2 x sample with a yield of zero or below")),
    Case("nothing observed", {"f.csv": f"{HEAD}\np,,,,,5\n"}, "f.csv", ("none of the 1", "without any observation")),
    Case("yields in kg", {"f.csv": f"{HEAD}\np,1,2,3,4,8500\n"}, "f.csv", ("8500 t/ha", "State the unit")),
    Case("season too long", {"f.csv": HEAD + "\n" + GOOD}, "f.csv", ("`season_steps` is 9", "2 steps"),
         {"season_steps": 9}),
    Case("season too short", {"f.csv": HEAD + "\n" + GOOD}, "f.csv", ("season_steps is 1", "at least 2"),
         {"season_steps": 1}),
    Case("toml syntax", {"c.toml": "name = \n"}, "c.toml", ("c.toml", "not valid TOML", "line 1")),
    Case("toml not utf-8", {"c.toml": b'name = "\xe4"'}, "c.toml", ("c.toml", "not UTF-8")),
    Case("nested toml", {"c.toml": "a = " + "[" * 5000 + "]" * 5000}, "c.toml", ("c.toml", "nests brackets too")),
    Case("another toml", {"c.toml": "[project]\ndescription = 'x'\n[tool.ruff]\nline-length = 3\n"}, "c.toml",
         ("c.toml: this TOML file is no dataset card", "name, format, files", "README.md")),
    Case("a name that leads out", {"c.toml": WIDE.replace('"n"', '"x/../../../evil"')}, "c.toml",
         ("`name` is 'x/../../../evil'", "letters, digits, spaces", "60 at most")),
    Case("wrong type", {"c.toml": WIDE + "season_steps = 3.5"}, "c.toml", ("`season_steps` is 3.5", "integer")),
    Case("unknown key", {"c.toml": WIDE + 'plase = "x"'}, "c.toml", ("`plase`", "`place`")),
    Case("unknown column", {"c.toml": WIDE.replace('"t"', '"yeild"'), "rows.csv": ROWS.replace(",t", ",yield")},
         "c.toml", ("rows.csv", "no column yeild", "did you mean yield?")),
    Case("unknown band", {"c.toml": WIDE.replace('"a"', '"aa"'), "rows.csv": ROWS}, "c.toml",
         ("aa_<step>", "a_<step>?")),
    Case("unknown unit", {"c.toml": WIDE.replace("t/ha", "kg/hm"), "rows.csv": ROWS}, "c.toml",
         ("c.toml", "'kg/hm'", "kg/ha", "lb/ac", "`factor`")),
    Case("unit and factor", {"c.toml": WIDE.replace('"t/ha"', '"t/ha", factor = 0.1'), "rows.csv": ROWS}, "c.toml",
         ("c.toml: [target] column t", "'t/ha', which is 1 t/ha", "`factor` is 0.1", "Leave out one")),
    Case("bushels of nothing", {"c.toml": WIDE.replace("t/ha", "bu/ac"), "rows.csv": ROWS}, "c.toml",
         ("bu/ac", "no `crop`", "soybean")),
    Case("no target in the card", {"c.toml": WIDE.replace("target", "#"), "rows.csv": ROWS}, "c.toml", ("[target]",)),
    Case("a year outside", {"c.toml": WIDE, "rows.csv": ROWS + "p,20200,1,2,3\n"}, "c.toml",
         ("rows.csv, line 2, column year", "20200", "1900-2100")),
    Case("half a year", {"c.toml": WIDE, "rows.csv": ROWS + "p,2020.5,1,2,3\n"}, "c.toml", ("2020.5", "whole number")),
    Case("no year", {"c.toml": WIDE, "rows.csv": ROWS + "p,2020,1,2,3\nq,,1,2,3\n"}, "c.toml",
         ("rows.csv, line 3, column year", "missing")),
    Case("no year anywhere", {"c.toml": WIDE.replace("year =", "#"), "rows.csv": ROWS}, "c.toml",
         ("rows.csv", "names no `year`", "--year")),
    Case("scale forgotten", {"c.toml": WIDE.replace('"a"', '"a", low = 0.0, high = 1.0'),
                             "rows.csv": ROWS + "p,2020,7158,7252,3\n"}, "c.toml",
         ("100% of the values of a", "0.0 to 1.0 (median 7205)", "`scale`")),
    Case("scale forgotten above", {"c.toml": WIDE.replace('"a"', '"a", unit = "mm", high = 1.0'),
                                   "rows.csv": ROWS + "p,2020,7158,7252,3\n"}, "c.toml",
         ("outside its range up to 1.0 mm (median",)),
    Case("rows shorter than a year", {"c.toml": WIDE + 'season_start = "01-11"', "rows.csv": ROWS + "p,2020,1,2,3\n"},
         "c.toml", ("starts on 01-11", "whole year", "2 steps of 10 days", "`step_days`")),
    Case("a band missing in the second year",
         {"2021.csv": "a_0,a_1,a_2,b_0,b_1,b_2,y2021\n1,2,3,4,5,6,5\n", "2022.csv": "a_0,a_1,a_2,y2022\n1,2,3,5\n"},
         "*.csv", ("2022.csv", "it lacks b_0 ... b_2. All files")),
    Case("no column of a band", {"c.toml": WIDE.replace('"a"', '"vh"'), "rows.csv": ROWS}, "c.toml",
         ("no column is called vh_<step>", "its columns are place, year, a_0, a_1, t.")),
    Case("unknown driver", {"c.toml": WIDE + "[[drivers]]\nname = 'rains'", "rows.csv": "rain_0,rain_1," + ROWS},
         "c.toml", ("rows.csv", "no column is called rains_<step>", "did you mean rain_<step>?")),
    Case("a driver with other steps", {"c.toml": WIDE + "[[drivers]]\nname = 'rain'", "rows.csv": "rain_0," + ROWS},
         "c.toml", ("band a has 2 steps", "band rain has 1 step")),
    Case("a driver in another unit", {"c.toml": WIDE + "[[drivers]]\nname = 'rain'\nlow = 0.0\nhigh = 9.0",
                                      "rows.csv": f"rain_0,rain_1,{ROWS}70,80,p,2020,1,2,3\n"}, "c.toml",
         ("100% of the values of rain lie outside its range 0.0 to 9.0",)),
    Case("a mark in a driver", {"c.toml": WIDE + "[[drivers]]\nname = 'rain'",
                                "rows.csv": f"rain_0,rain_1,{ROWS}-999,1,p,2020,1,2,3\n-999,2,q,2020,1,2,3\n"},
         "c.toml", ("line 2, column rain_0", "-999 stands in 2 cells", "`missing = [-999]`")),
    Case("text in a static column", {"c.toml": SOIL, "rows.csv": f"soil,{ROWS}1,p,2020,1,2,3\nloam,q,2020,1,2,3\n"},
         "c.toml", ("line 3, column soil", "'loam' is not a number", "A category", "one column of 0 and 1 for each")),
    Case("text in a static column of parquet",
         {"c.toml": SOIL.replace(".csv", ".parquet"),
          "rows.parquet": {"soil": ["loam"], "place": ["p"], "year": [2020], "a_0": [1.0], "a_1": [2.0], "t": [3.0]}},
         "c.toml", ("row 1, column soil", "'loam' is not a number", "A category")),
    Case("a mark in a static column",
         {"c.toml": SOIL, "rows.csv": f"soil,{ROWS}-9999,p,2020,1,2,3\n-9999,q,2020,1,2,3\n7,r,2020,1,2,3\n"}, "c.toml",
         ("rows.csv, line 2, column soil", "-9999 stands in 2 cells", "`missing = [-9999]`")),
    Case("a static number too large", {"c.toml": SOIL, "rows.csv": f"soil,{ROWS}1e39,p,2020,1,2,3\n"}, "c.toml",
         ("rows.csv, line 2, column soil: 1e+39", "3.4e38")),
    Case("no column of groups", {"c.toml": FLIGHTS, "rows.csv": "flights," + ROWS}, "c.toml",
         ("rows.csv", "no column flight", "did you mean flights?")),
    Case("no group", {"c.toml": FLIGHTS, "rows.csv": f"flight,{ROWS}x,p,2020,1,2,3\n,q,2020,1,2,3\n"}, "c.toml",
         ("rows.csv, line 3, column flight", "empty")),
    Case("groups of one", {"c.toml": FLIGHTS, "rows.csv": f"flight,{ROWS}x,p,2020,1,2,3\ny,q,2020,1,2,3\n"},
         "c.toml", ("c.toml: 100% of the values of a have", "fewer than 3 samples in", "`group` of [radiometry]")),
    Case("groups without a ratio",
         {"c.toml": FLIGHTS, "rows.csv": "flight," + ROWS + "".join(f"x,p{i},2020,1,{i - 1},3\n" for i in range(3))},
         "c.toml", ("rows.csv, line 2: a has a median of 0 in flight x", "above zero", "its `variates` in")),
    Case("groups of dates without a ratio",
         {"c.toml": FLIGHTS_OF_STEPS, "rows.csv": "flight,place,year,s,a,t\n" + "".join(
             f"x{s},p{i},2020,{s},{s - 1},3\n" for i in range(3) for s in (0, 1))},
         "c.toml", ("rows.csv, line 2: a has a median of -1 in flight x0", "above zero")),
    Case("no side", {"c.toml": 'split = "f"\n' + WIDE, "rows.csv": f"f,{ROWS}Train,p,2020,1,2,3\nrest,q,2020,1,2,3\n"},
         "c.toml", ("rows.csv, line 3, column f", "'rest' is none of train, valid, test")),
    Case("no column of sides", {"c.toml": 'split = "fld"\n' + WIDE, "rows.csv": "fold," + ROWS}, "c.toml",
         ("rows.csv", "no column fld", "did you mean fold?")),
    Case("two sides in a sample",
         {"c.toml": 'split = "f"\n' + BY_STEP,
          "rows.csv": "f,place,year,s,a,t\ntrain,p,2020,1,1,3\ntest,p,2020,2,1,3\n"},
         "c.toml", ("rows.csv, line 3, column f", "p|2020 is on the side test here and train in another row")),
    Case("nobody has a side", {"c.toml": 'split = "f"\n' + WIDE, "rows.csv": f"f,{ROWS},p,2020,1,2,3\n"}, "c.toml",
         ("none of the 1", "1 x sample without a side (train, valid, test)")),
    Case("cut outside of the season", {"c.toml": WIDE + "cut = 2", "rows.csv": ROWS + "p,2020,1,2,3\n"}, "c.toml",
         ("c.toml: `cut` is 2", "of 2 steps it must be 1 to 1")),
    Case("one step", {"f.csv": "place,a_0,y2022\np,1,3\n"}, "f.csv", ("a season of 1 step", "at least 2")),
    Case("two rows to choose from",
         {"c.toml": WIDE + 'season_start = "07-01"\nstep_days = 183\nsample_id = "id"',
          "rows.csv": "id," + ROWS + "i,p,2020,1,2,3\nj,p,2020,1,2,3\n"}, "c.toml",
         ("rows.csv, line 3", "place p has year 2020 twice", "line 2")),
    Case("history disagrees",
         {"c.toml": WIDE + '[history]\nfiles = "past.csv"\ncolumn = "t"\nunit = "t/ha"', "rows.csv": ROWS,
          "past.csv": "place,year,t\np,2019,3\np,2019,4\n"}, "c.toml", ("place p in 2019", "3 and 4 t/ha")),
    Case("two yields in a sample", {"c.toml": BY_STEP, "rows.csv": "place,year,s,a,t\np,2020,1,1,3\np,2020,2,1,4\n"},
         "c.toml", ("rows.csv, line 3, column t", "p|2020", "4 here and 3", "`sample_id`")),
    Case("a step twice in a sample", {"c.toml": BY_STEP, "rows.csv": "place,year,s,a,t\np,2020,1,1,3\np,2020,1,2,3\n"},
         "c.toml", ("rows.csv, line 3", "p|2020 has step 1 already", "line 2")),
    Case("half a step", {"c.toml": BY_STEP, "rows.csv": "place,year,s,a,t\np,2020,1.5,1,3\n"}, "c.toml",
         ("rows.csv, line 2, column s", "1.5", "whole numbers from 1")),
    Case("a step before the first",
         {"c.toml": BY_STEP + "first_step = 1", "rows.csv": "place,year,s,a,t\np,2020,0,1,3\n"}, "c.toml",
         ("column s", "the step is 0", "from 1", "`first_step`")),
    Case("no date", {"c.toml": BY_DATE, "rows.csv": "place,year,d,a,t\np,2020,17 May 2020,1,3\n"}, "c.toml",
         ("rows.csv, line 2, column d", "'17 May 2020' is not a date", "2018-05-17")),
    Case("the file's name and the yield contradict each other", {"f_2021.csv": f"{HEAD}\n{GOOD}"}, "f_2021.csv",
         ("f_2021.csv", "holds the year 2021", "only yield column is y2022", "--year 2022", "add the column y2021")),
    Case("a year column and the yield contradict each other",
         {"f.csv": f"year,{HEAD}\n2022,{GOOD}2021,q,1,2,3,4,5\n"}, "f.csv",
         ("f.csv, line 3, column year", "the row is of 2021", "here 2022", "1 of 2 rows", 'year = "year"')),
    Case("two years side by side", {"f.csv": "place,a_2021_0,a_2021_1,a_2022_0,a_2022_1,y2022\n" + GOOD}, "f.csv",
         ("a_2021_<step> and a_2022_<step> differ in the year only", "a_2022_1 as a_1 in fields_2022.csv")),
    Case("a title above the header", {"f.csv": f"Table 12\n\n{HEAD}\n{GOOD}"}, "f.csv",
         ("line 1 is 'Table 12', and the header seems to be line 3", "Remove the 2 lines")),
    Case("a title with commas above the header", {"f.csv": f"# USDA, 2022\n{HEAD}\n{GOOD}"}, "f.csv",
         ("line 1 is '# USDA, 2022', and the header seems to be line 2", "Remove the line above the header")),
    Case("a title above the header of a card", {"c.toml": WIDE, "rows.csv": f"Yields, t/ha\n{ROWS}p,2020,1,1,3\n"},
         "c.toml", ("line 1 is 'Yields, t/ha', and the header seems to be line 2",)),
    Case("a title above a semicolon header", {"f.csv": f"Table 12\n{HEAD.replace(',', ';')}\n{GOOD}"}, "f.csv",
         ("line 1 is 'Table 12', and the header seems to be line 2",)),
    Case("a footnote below the table", {"f.csv": f"{HEAD}\n{GOOD}Source: USDA\n"}, "f.csv",
         ("f.csv, line 3: 1 column, the header has 6", "nothing but 'Source: USDA': if that is a footnote")),
    Case("a footnote with all columns", {"c.toml": BY_STEP, "rows.csv": "place,year,s,a,t\np,2020,1,1,3\nUSDA,,1,,\n"},
         "c.toml", ("line 3, column year", "the year is missing", "if it is a footnote")),
    Case("a title with semicolons above the header", {"f.csv": f"Table 12; wheat\n{HEAD}\n{GOOD}"}, "f.csv",
         ("line 1 is 'Table 12; wheat', and the header seems to be line 2",)),
    Case("one column per year", {"c.toml": WIDE.replace('"wide"', '"long"') + 'step = "s"',
                                 "rows.csv": "geo,2016 ,2017 ,2018 ,2018F\np,5.1,5.2,5.3,e\n"}, "c.toml",
         ("rows.csv: 3 of its columns are years (2016, 2017, 2018, ...)", 'id_vars=["geo"]', "one row per place")),
    Case("one column per year, as Eurostat writes it",
         {"c.toml": LONG + 'step = "s"', "rows.csv": "freq,geo\\TIME;Y2016;Y2017;Y2018\nA,p;5.1;5.2;5.3\n"}, "c.toml",
         ("are years (Y2016, Y2017, Y2018, ...)", "at its commas first")),
    Case("tabs under another ending", {"f.tsv": HEAD.replace(",", "\t")}, "f.tsv",
         ("f.tsv", "this ending is not read", "name it f.csv")),
    Case("tabs under another ending in a card", {"c.toml": BY_STEP.replace("rows.csv", "rows.tsv"), "rows.tsv": "x"},
         "c.toml", ("rows.tsv", "which reads .csv", "name it rows.csv")),
    Case("date missing", {"c.toml": BY_DATE, "rows.csv": "place,year,d,a,t\np,2020,,1,3\n"}, "c.toml",
         ("line 2, column d", "empty")),
    Case("date in another century", {"c.toml": BY_DATE, "rows.csv": "place,year,d,a,t\np,2020,1820-05-17,1,3\n"},
         "c.toml", ("line 2, column d", "1820", "1900-2100")),
    Case("season over a year", {"c.toml": BY_DATE + "season_steps = 40",
                                "rows.csv": "place,year,d,a,t\np,2020,2020-05-17,1,3\n"}, "c.toml",
         ("40 steps of 10 days", "more than a year", "36 or less")),
    Case("two places in a sample",
         {"c.toml": BY_STEP + 'sample_id = "i"', "rows.csv": "i,place,year,s,a,t\nx,p,2020,1,1,3\nx,q,2020,2,1,3\n"},
         "c.toml", ("rows.csv, line 3", "sample x has place q here and p before", "line 2")),
    Case("two years in a sample",
         {"c.toml": BY_STEP + 'sample_id = "i"', "rows.csv": "i,place,year,s,a,t\nx,p,2020,1,1,3\nx,p,2021,2,1,3\n"},
         "c.toml", ("line 3", "sample x has year 2021 here and 2020 before")),
    Case("a named sample across rows",
         {"c.toml": BY_STEP + 'sample_id = "i"\nseason_start = "07-01"\nseason_steps = 36',
          "rows.csv": "i,place,year,s,a,t\nx,p,2020,30,1,3\n"}, "c.toml",
         ("36 steps from 07-01", "without `sample_id`")),
]  # fmt: skip


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    if isinstance(content, dict):
        pq.write_table(pa.table(content), path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_cannot_be_meant_is_refused_in_one_paragraph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    def build(**_: Any) -> None:
        raise AssertionError("a season table was built")

    monkeypatch.setattr("pipeline.sources.assemble.SeasonTable", build)
    for name, content in case.files.items():
        write(tmp_path / name, content)
    with pytest.raises(InputError) as caught:
        read(f"{tmp_path}/{case.data}", **case.arguments)
    message = str(caught.value)
    assert [fragment for fragment in case.told if fragment not in message] == [], message
    assert "\n" not in message
    assert message.endswith((".", "?"))


def test_no_file_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="no data file is named"):
        read([])


@pytest.mark.parametrize("nothing", ["", "  "])
def test_an_empty_data_argument_is_not_the_folder_one_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing: str
) -> None:
    write(tmp_path / "f.csv", f"{HEAD}\n{GOOD}")
    monkeypatch.chdir(tmp_path)
    assert len(read(".")) == 1
    for data in (nothing, [nothing]):
        with pytest.raises(InputError, match="--data is empty; give a card"):
            read(data)


@pytest.mark.parametrize("kind", [".csv", ".csv.gz", ".parquet"])
def test_memory_is_asked_for_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    rows = 20_000
    path = tmp_path / f"f{kind}"
    text = (HEAD + "\n" + "".join(f"p{i},1,2,3,4,5\n" for i in range(rows))).encode()
    if kind == ".parquet":
        write(path, {"a_0": [1.0] * rows, "a_1": [1.0] * rows, "y2022": [3.0] * rows})
    else:
        write(path, gzip.compress(text) if kind == ".csv.gz" else text)

    def load(*_: Any) -> Callable[..., None]:
        raise AssertionError("the file was read")

    monkeypatch.setattr("pipeline.sources.files.columns._load", load)
    with pytest.raises(InputError, match=r"about (19|20),\d\d\d rows.* GB, but 0\.0005 GB may be used\. Give more"):
        read(path, memory_gb=0.0005)


def test_the_memory_of_several_files_is_added_up(tmp_path: Path) -> None:
    for year in (2020, 2021):
        body = "".join(f"p{i},1,2,3,4,5\n" for i in range(1000))
        write(tmp_path / f"f{year}.csv", HEAD.replace("2022", str(year)) + "\n" + body)
    assert len(read(tmp_path / "f2020.csv", memory_gb=0.0002)) == 1000
    with pytest.raises(InputError, match=r"f2021\.csv: .*0\.0002 GB may be used"):
        read(tmp_path, memory_gb=0.0002)
