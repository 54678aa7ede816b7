"""A folder in CY-Bench's layout, made up: yields, NDVI, FPAR, soil, calendar and positions, a file each."""

import csv
from datetime import date, timedelta

import numpy as np

PLACES = {"XX11": (100.7, 290.2), "XX12": (110.0, 300.0), "XX13": (300.5, 200.9)}  # first and last day of the season


def write_rows(path, header, rows):
    """A CSV file."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([header, *rows])


def season(place, year, days_before=90):
    """(first, last) day of a place's season that ends in `year`."""
    start, end = (int(day) for day in PLACES[place])
    first = date(year - (start >= end), 1, 1) + timedelta(start - 1 - days_before)
    return first, date(year, 1, 1) + timedelta(end - 1)


def make_cybench(folder, crop="maize", country="XX", years=range(2001, 2010), seed=0):
    """Write the six files. The stored NDVI of a day is 50 + 200 x the share of the place's season that has passed."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    tail = f"{crop}_{country}.csv"
    yields = [
        [f"winter_{crop}", country, place, year, round(5 + level + rng.normal(0, 0.3), 3), 100.0, 500.0]
        for level, place in enumerate(PLACES)
        for year in years
    ]
    header = ["crop_name", "country_code", "adm_id", "harvest_year", "yield", "harvest_area", "production"]
    write_rows(folder / f"yield_{tail}", header, [*yields, [crop, country, "XX99", 2005, 4.0, 1.0, 4.0]])
    ndvi, fpar = [], []
    for place in PLACES:
        for year in range(years.start - 1, years.stop):
            for first in range(0, 365, 8):
                day = date(year, 1, 1) + timedelta(first)
                ndvi.append([crop, place, f"{day:%Y%m%d}", 50 + 200 * passed(place, day)])
            for month in range(1, 13):
                fpar += [[crop, place, f"{year}{month:02}{day:02}", rng.uniform(10, 90)] for day in (1, 11, 21)]
    fpar[5][3] = 254  # a flag
    write_rows(folder / f"ndvi_{tail}", ["crop_name", "adm_id", "date", "ndvi"], ndvi)
    write_rows(folder / f"fpar_{tail}", ["crop_name", "adm_id", "date", "fpar"], fpar)
    soil = [[crop, place, 15.0 + n, 1.4, 4] for n, place in enumerate(PLACES)]
    write_rows(folder / f"soil_{tail}", ["crop_name", "adm_id", "awc", "bulk_density", "drainage_class"], soil)
    calendar = [[crop, place, *days] for place, days in PLACES.items()]
    write_rows(folder / f"crop_calendar_{tail}", ["crop_name", "adm_id", "sos", "eos"], calendar)
    position = [[crop, place, 40.0 + n, -3.0 - n] for n, place in enumerate(PLACES)]
    write_rows(folder / f"location_{tail}", ["crop_name", "adm_id", "latitude", "longitude"], position)
    return folder


def passed(place, day):
    """The share of the season that has passed on a day, 0 outside of it."""
    for year in (day.year, day.year + 1):
        first, last = season(place, year)
        if first <= day <= last:
            return (day - first).days / 365
    return 0.0
