"""Series, yields and soil in files of their own, and the card of sources that joins them."""

from datetime import date, timedelta

import numpy as np
import pandas as pd

from pipeline.sources import read

PLACES, YEARS, STEPS = ("p1", "p2", "p3", "p4"), (2018, 2019, 2020, 2021), 20


def series_yields_and_soil():
    """Rows of ten days from 1 April on: place, date, year, step, ndvi and rain; a yield a place and year; soil."""
    rng = np.random.default_rng(1)
    rows = [
        {"place": place, "date": date(year, 4, 1) + timedelta(10 * step), "year": year, "step": step,
         "ndvi": round(rng.uniform(0.1, 0.9), 4), "rain": round(rng.uniform(0, 60), 1)}
        for place in PLACES for year in YEARS for step in range(STEPS)
    ]  # fmt: skip
    series = pd.DataFrame(rows)
    yields = series[["place", "year"]].drop_duplicates().assign(harvest=lambda t: rng.uniform(4, 9, len(t)).round(2))
    soil = pd.DataFrame({"place": PLACES, "clay": [10.0, 20.0, 30.0, 40.0]})
    return series, yields, soil


HEAD = 'name = "t"\nplace = "place"\nstep_days = 10\nseason_start = "04-01"\nseason_steps = 20\n'
TARGET = '[[sources]]\nfiles = "yields.csv"\nyear = "year"\ntarget = { column = "harvest", unit = "t/ha" }\n'
SOIL = '[[sources]]\nfiles = "soil.csv"\nstatic = ["clay"]\n'
CALENDAR = '[[sources]]\nfiles = "calendar.csv"\n{keys}calendar = {{ start = "sos", end = "eos"{more} }}\n'


def write_frames(folder, frames):
    """Each frame as a table in the folder."""
    series, yields, soil = frames
    series.to_csv(folder / "series.csv", index=False)
    yields.to_csv(folder / "yields.csv", index=False)
    soil.to_csv(folder / "soil.csv", index=False)
    return folder


def read_card(folder, text, **how):
    (folder / "card.toml").write_text(text)
    return read(folder / "card.toml", **how)


def dated(name, kind="variates", keys=""):
    return f'[[sources]]\nfiles = "{name}.csv"\ndate = "date"\n{keys}\n{kind} = [{{ name = "{name}" }}]\n'


def cut(folder, frames, name, columns=("place", "date")):
    frames[0][[*columns, name]].to_csv(folder / f"{name}.csv", index=False)
