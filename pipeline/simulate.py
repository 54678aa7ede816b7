"""Make the simulated demo data: seasons of a crop model, converted to seven satellite series. Nothing is observed.

    python -m pipeline.simulate --out demo/seasons.parquet --seed 0

The weather of ten real sites and the crop model AquaCrop (Steduto et al. 2009, Agron. J. 101:426-437) come with the
PyPI package `aquacrop`, a development dependency. Only `grow` and `site_weather` need it. There are 52 fields. Each has
one rain-fed crop, a soil, a usual sowing date and a nutrient status. They are simulated for the harvest years
1992-2001, the decade that the records of all ten sites share. (The record of Hyderabad begins in 2000, and `CP.dat` is
a copy of Champion.) A season is the calendar year of the harvest, so wheat sown in autumn is green at step 0.

A linear mixture (Settle and Drake 1993, Int. J. Remote Sens. 14:1159-1177) of green leaf, withered leaf or straw, and
soil converts daily canopy, surface water and transpiration to reflectance:

* The end members are round textbook values and are not fitted to any image. Measured spectra: Jacquemoud et al. 1992,
  Remote Sens. Environ. 41:123-132 (soil); Nagler et al. 2000, Remote Sens. Environ. 71:207-215 (straw).
* Wet soil is darker, by the exponential law of Lobell and Asner (2002, Soil Sci. Soc. Am. J. 66:722-727).
* A canopy short of nutrients is redder (less chlorophyll). One short of water is brighter in SWIR1 (less leaf water).
* NDVI: Rouse et al. 1974. EVI: Huete et al. 2002, Remote Sens. Environ. 83:195-213. RVI: Jordan 1969.

Each ten-day step holds the observation of one day, or nothing if that day is cloudy. It has a gain error per season and
band, and noise per observation. The yield is AquaCrop's dry grain yield times factors that no band can show: the
farmer's skill, luck, and progress over the years.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.parser import parse_flags
from pipeline.program import run_program

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

YEARS = range(1992, 2002)
STEPS, STEP_DAYS = 36, 10
DAYS = STEPS * STEP_DAYS
BANDS = ("blue", "red", "NIR", "SWIR1")
VARIATES = (*BANDS, "ndvi", "evi", "RVI")

# Reflectance of pure covers, 0-1, in the order of BANDS.
GREEN = np.array([0.030, 0.035, 0.460, 0.180])
WITHERED = np.array([0.100, 0.200, 0.320, 0.360])
DRY_SOIL = np.array([0.105, 0.195, 0.275, 0.370])
WET_SOIL = 0.45 * DRY_SOIL
DARKENING = np.array([4.0, 4.0, 4.0, 2.5])  # exponent of Lobell and Asner's law, per unit of relative wetness
HUNGRY = np.array([0.010, 0.040, -0.030, 0.020])  # added to GREEN as nutrient status falls from 1 to 0
THIRSTY = np.array([0.0, 0.010, -0.030, 0.070])  # added to GREEN as transpiration falls from potential to 0

# AquaCrop's soils, and the factor of DRY_SOIL and WET_SOIL for each; sand is bright.
SOIL_BRIGHTNESS = {"LoamySand": 1.25, "SandyLoam": 1.10, "Loam": 1.0, "SiltLoam": 1.0, "ClayLoam": 0.85}

STRAW_COVER, STRAW_DAYS = 0.6, 60.0  # share of the peak canopy left as straw at harvest; its e-folding time in days
GAIN_ERROR = 0.03  # sd of the gain per season and band, after calibration and atmospheric correction
VIEW_NOISE, VIEW_FLOOR = 0.025, 0.003  # sd of the noise per observation, relative and absolute
# sd of the part of ln(yield) that no band shows: per field in all years, per site and season, per field and season
SKILL, SITE_LUCK, FIELD_LUCK = 0.10, 0.03, 0.06
PROGRESS = 0.007  # relative rise of yield per year by better cultivars and machines
LEAST_YIELD = 0.1  # t/ha; below it a field is not harvested


@dataclass(frozen=True)
class Cropping:
    """One crop at one site. It is sown in the year before its harvest if `sow` is later in the year than harvest."""

    site: str
    crop: str
    model: str  # AquaCrop's name of the crop
    sow: str  # MM/DD, like `latest_harvest`
    latest_harvest: str
    fields: int
    root_depth: float  # m, in deep soil
    water: float  # % of the soil's available water at the start of the simulation
    spring: float = 1.0  # canopy growth per degree-day, relative to AquaCrop's crop
    ripening: float = 1.0  # degree-days to flower, wither and ripen, relative to AquaCrop's crop

    def sowing(self, year: int, days_later: int) -> date:
        """The sowing day of the crop harvested in `year`."""
        sown = year - (self.sow > self.latest_harvest)
        return date.fromisoformat(f"{sown}-{self.sow.replace('/', '-')}") + timedelta(days=days_later)


# AquaCrop's wheat is Mediterranean. In the north its canopy would close by Christmas, so it grows more slowly there.
CROPPINGS = (
    Cropping("champion", "maize", "MaizeChampionGDD", "05/05", "11/05", 5, 1.7, 95),
    Cropping("champion", "wheat", "WheatGDD", "09/18", "08/31", 4, 1.5, 70),
    # Late maize, sown in December, is common around Cordoba and ripens within the calendar year.
    Cropping("cordoba", "maize", "MaizeGDD", "12/08", "07/31", 5, 1.7, 55),
    Cropping("cordoba", "wheat", "WheatGDD", "05/25", "12/20", 4, 1.5, 60),
    Cropping("tunis", "wheat", "WheatGDD", "11/20", "07/15", 6, 1.2, 40),
    Cropping("brussels", "wheat", "WheatGDD", "10/18", "09/15", 4, 1.2, 60, spring=0.65, ripening=1.08),
    Cropping("cambridge", "wheat", "WheatGDD", "10/12", "09/15", 4, 1.2, 50, spring=0.65, ripening=1.05),
    Cropping("lincolnshire", "wheat", "WheatGDD", "10/12", "09/20", 4, 1.2, 50, spring=0.65, ripening=1.05),
    Cropping("norfolk", "wheat", "WheatGDD", "10/12", "09/15", 4, 1.2, 50, spring=0.65, ripening=1.05),
    Cropping("north_yorks", "wheat", "WheatGDD", "10/02", "09/15", 4, 1.2, 60, spring=0.75, ripening=0.95),
    Cropping("northumberland", "wheat", "WheatGDD", "10/02", "09/15", 4, 1.2, 60, spring=0.75, ripening=0.95),
    Cropping("suffolk", "wheat", "WheatGDD", "10/15", "09/10", 4, 1.2, 50, spring=0.65, ripening=1.08),
)
SITES = sorted({c.site for c in CROPPINGS})


@dataclass(frozen=True)
class Field:
    """Properties of a field that are the same in all years. `nutrients` is 0-1 (1 = no lack); `skill` scales yields."""

    name: str
    index: int
    cropping: Cropping
    soil: str
    brightness: float
    sow_delay: int
    nutrients: float
    root_depth: float
    water: float
    skill: float


@dataclass(frozen=True, eq=False)
class Season:
    """Output of the crop model for one field and harvest year: one value from 0 to 1 per day [DAYS]."""

    canopy: NDArray[np.float64]
    withered: NDArray[np.float64]
    wetness: NDArray[np.float64]
    thirst: NDArray[np.float64]
    nutrients: float
    dry_yield: float  # t/ha


@dataclass(frozen=True, eq=False)
class SiteSeason:
    """What the fields of a site share in a year: days of observation [STEPS], clouds [STEPS], and luck in ln(yield)."""

    day: NDArray[np.int64]
    cloudy: NDArray[np.bool_]
    luck: float


@dataclass
class Made:
    """The rows of the table, and the number of dropped seasons by reason."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


def fields(seed: int) -> list[Field]:
    """All fields. The croppings take turns, so that the first few fields already differ in climate."""
    rounds = range(max(c.fields for c in CROPPINGS))
    places = [(c, number) for number in rounds for c in CROPPINGS if number < c.fields]
    return [_field(seed, index, cropping, number) for index, (cropping, number) in enumerate(places)]


def _field(seed: int, index: int, cropping: Cropping, number: int) -> Field:
    rng = np.random.default_rng([seed, 0, index])
    soil = str(rng.choice(list(SOIL_BRIGHTNESS)))
    return Field(
        name=f"{cropping.site}-{cropping.crop}-{number + 1}",
        index=index,
        cropping=cropping,
        soil=soil,
        brightness=SOIL_BRIGHTNESS[soil] * float(rng.lognormal(0, 0.08)),
        sow_delay=round(np.clip(rng.normal(0, 5), -8, 12)),
        nutrients=float(rng.uniform(0.35, 1.0)),
        root_depth=cropping.root_depth * float(rng.uniform(0.55, 1.0)),
        water=cropping.water + float(rng.normal(0, 8)),
        skill=float(rng.lognormal(0, SKILL)),
    )


def site_weather(site: str) -> pd.DataFrame:
    """The daily record of a site that ships inside `aquacrop`: temperature, rain, reference evapotranspiration."""
    _need_aquacrop()
    from aquacrop.utils import get_filepath, prepare_weather

    return prepare_weather(get_filepath(f"{site}_climate.txt"))


def _need_aquacrop() -> None:
    # Requests pure Python at import. Releases before 3 compile parts of themselves; 3.1.0 is always pure Python.
    os.environ["DEVELOPMENT"] = "True"
    if find_spec("aquacrop") is None:
        raise InputError(
            "The package aquacrop, which simulates the seasons, is not installed; it is a development dependency: "
            "pip install -r requirements-dev.txt."
        )


def grow(place: Field, year: int, seed: int, weather: pd.DataFrame) -> Season | str:
    """Simulate one season. Returns it, or the reason why there is no harvest. `weather` comes from `site_weather`.

    The model runs on after harvest, so that pictures show stubble, soil water and the next sowing. The weather record
    must therefore reach into the growing season after `year`.
    """
    _need_aquacrop()
    from aquacrop import AquaCropModel, Crop, InitialWaterContent, Soil

    rng = np.random.default_rng([seed, 1, place.index, year])
    nutrients = float(np.clip(place.nutrients + rng.normal(0, 0.08), 0.2, 1.0))
    sown = place.cropping.sowing(year, place.sow_delay + round(np.clip(rng.normal(0, 4), -6, 12)))
    water = float(np.clip(place.water + rng.normal(0, 10), 10, 100))
    first = min(sown - timedelta(days=60), date(year, 1, 1))
    last = min(date(year + 1, 12, 31), weather["Date"].iloc[-1].date())
    crop = Crop(
        place.cropping.model,
        planting_date=f"{sown:%m/%d}",
        harvest_date=place.cropping.latest_harvest,
        Zmax=place.root_depth,
        YldWC=90,  # one shipped crop has 0 here and divides by it; the dry yield does not depend on it
    )
    _adapt(crop, place.cropping, nutrients)
    model = AquaCropModel(
        f"{first:%Y/%m/%d}",
        f"{last:%Y/%m/%d}",
        weather,
        Soil(place.soil),
        crop,
        InitialWaterContent(wc_type="Pct", value=[water]),
        off_season=True,
    )
    before = (date(year, 1, 1) - first).days
    model.run_model(num_steps=before + DAYS, process_outputs=True)
    return _season(model, slice(before, before + DAYS), nutrients)


def _adapt(crop: Any, cropping: Cropping, nutrients: float) -> None:
    """Adapt the crop to climate and nutrients. A lack makes the canopy smaller and slower, and reduces biomass."""
    lack = 1.0 - nutrients
    crop.CCx *= 1 - 0.40 * lack
    crop.CGC *= cropping.spring * (1 - 0.25 * lack)
    crop.WP *= 1 - 0.35 * lack
    for stage in ("HIstart", "Flowering", "YldForm", "Senescence", "Maturity"):
        setattr(crop, stage, cropping.ripening * getattr(crop, stage))


def _season(model: Any, days: slice, nutrients: float) -> Season | str:
    growth, water, flux = model.get_crop_growth(), model.get_water_storage(), model.get_water_flux()
    canopy = growth["canopy_cover"].to_numpy()
    ours = (growth["season_counter"].to_numpy() == 0) & (water["growing_season"].to_numpy() == 1)
    harvest = int(np.flatnonzero(ours)[-1])
    dry_yield = float(growth["DryYield"].to_numpy()[harvest])
    if dry_yield < LEAST_YIELD:
        return f"yield below {LEAST_YIELD} t/ha"
    grown, limit = growth["gdd_cum"].to_numpy()[: harvest + 1].max(), model.crop.Maturity
    if grown < limit and canopy[harvest] > 0.05:
        return "not ripe by the latest harvest date"

    peak = np.maximum.accumulate(np.where(ours, canopy, 0.0))
    age = np.clip(np.arange(len(canopy)) - harvest, 0, None)
    straw = STRAW_COVER * peak * np.exp(-age / STRAW_DAYS)
    withered = np.where(age == 0, peak - canopy * ours, straw)
    top = model.soil.profile.iloc[0]
    wetness = (water["th1"].to_numpy() - top["th_dry"]) / (top["th_s"] - top["th_dry"])
    potential = flux["TrPot"].to_numpy()
    thirst = np.divide(potential - flux["Tr"].to_numpy(), potential, np.zeros_like(potential), where=potential > 0)
    return Season(
        canopy=canopy[days],
        withered=np.minimum(withered, 1 - canopy)[days],
        wetness=wetness.clip(0, 1)[days],
        thirst=thirst.clip(0, 1)[days],
        nutrients=nutrients,
        dry_yield=dry_yield,
    )


def share(site: str, year: int, seed: int, rain: NDArray[np.float64]) -> SiteSeason:
    """Observation days, clouds and luck of a site in a season. `rain` [DAYS] in mm brings clouds, which persist."""
    rng = np.random.default_rng([seed, 2, SITES.index(site), year])
    wet = (rain.reshape(STEPS, STEP_DAYS) > 1.0).mean(axis=1)
    cover = rng.normal(size=STEPS)
    for step in range(1, STEPS):
        cover[step] = 0.5 * cover[step - 1] + np.sqrt(0.75) * cover[step]
    cloudy = cover + 1.5 * wet + rng.normal(0, 0.3) > 1.6
    day = np.arange(STEPS) * STEP_DAYS + rng.integers(0, STEP_DAYS, STEPS)
    return SiteSeason(day, cloudy, float(rng.normal(0, SITE_LUCK)))


def reflectance(season: Season, brightness: float) -> NDArray[np.float64]:
    """Noise-free reflectance [4,DAYS] of the linear mixture, 0-1, in the order of BANDS."""
    leaf = GREEN[:, None] + (1 - season.nutrients) * HUNGRY[:, None] + season.thirst * THIRSTY[:, None]
    dryness = np.exp(-DARKENING[:, None] * season.wetness)
    soil = brightness * (WET_SOIL[:, None] + (DRY_SOIL - WET_SOIL)[:, None] * dryness)
    bare = 1 - season.canopy - season.withered
    mix: NDArray[np.float64] = season.canopy * leaf + season.withered * WITHERED[:, None] + bare * soil
    return mix


def observe(season: Season, brightness: float, shared: SiteSeason, rng: np.random.Generator) -> NDArray[np.float32]:
    """What a sensor would deliver: [7,STEPS] in the order of VARIATES. Cloudy steps are NaN in every band."""
    bands = reflectance(season, brightness)[:, shared.day]
    gain = 1 + rng.normal(0, GAIN_ERROR, (len(BANDS), 1))
    noise = rng.normal(size=bands.shape) * np.hypot(VIEW_NOISE * bands, VIEW_FLOOR)
    # Satellite products store integers in units of 1e-4.
    blue, red, nir, swir = np.round((gain * bands + noise).clip(0.005, 1.0), 4)
    ndvi = (nir - red) / (nir + red)
    evi = 2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1)
    series = np.round(np.stack([blue, red, nir, swir, ndvi, evi, nir / red]), 4)
    missed = shared.cloudy | (rng.random(STEPS) < 0.03)  # single fields lose some observations to shadow and haze
    series[:, missed] = np.nan
    return series.astype(np.float32)


def make(seed: int = 0, seasons: int | None = None, workers: int = 2) -> Made:
    """Simulate all seasons, or the first `seasons` of them, year by year. A short run gives the first rows of all."""
    plan = [(place, year) for year in YEARS for place in fields(seed)][:seasons]
    weather = {site: site_weather(site) for site in {place.cropping.site for place, _ in plan}}
    grown: Iterable[Season | str] = Parallel(n_jobs=workers)(
        delayed(grow)(place, year, seed, weather[place.cropping.site]) for place, year in plan
    )
    made = Made()
    for (place, year), season in zip(plan, grown, strict=True):
        if isinstance(season, str):
            made.dropped[season] += 1
            continue
        record = weather[place.cropping.site]
        rain = record.loc[record["Date"].dt.year == year, "Precipitation"].to_numpy()[:DAYS]
        made.rows.append(_row(place, year, seed, season, share(place.cropping.site, year, seed, rain)))
    return made


def _row(place: Field, year: int, seed: int, season: Season, shared: SiteSeason) -> dict[str, Any]:
    rng = np.random.default_rng([seed, 3, place.index, year])
    luck = np.exp(shared.luck + rng.normal(0, FIELD_LUCK))
    unseen = place.skill * luck * (1 + PROGRESS * (year - YEARS[0]))
    series = observe(season, place.brightness, shared, rng)
    row: dict[str, Any] = {"field": place.name, "site": place.cropping.site, "year": year}
    row["yield_t_ha"] = round(season.dry_yield * float(unseen), 2)
    row.update({f"{v}_{t:02d}": series[i, t] for i, v in enumerate(VARIATES) for t in range(STEPS)})
    return row


def table(made: Made) -> pa.Table:
    """The wide Parquet table: field, site, year, yield_t_ha and `{variate}_{00..35}`, with one row per season."""
    import pyarrow as pa

    types = {"field": pa.string(), "site": pa.string(), "year": pa.int32()}
    return pa.table(
        {name: pa.array([row[name] for row in made.rows], types.get(name, pa.float32())) for name in made.rows[0]}
    )


@dataclass(frozen=True)
class Arguments:
    """Simulate the demo seasons and write them as Parquet."""

    out: Path = Path("demo/seasons.parquet")
    """The Parquet file to write."""
    seed: int = 0
    """Seed of everything random: fields, clouds, noise, luck."""
    seasons: int | None = None
    """Simulate only the first n seasons."""
    workers: int = 2
    """Number of processes. The table does not depend on it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_program(
        "pipeline.simulate", lambda: write(parse_flags(Arguments, arguments, __doc__, "pipeline.simulate"))
    )


def write(args: Arguments) -> int:
    """Check the flags, simulate, write the table, and print what was dropped. Returns the exit code."""
    import pyarrow.parquet as pq

    if args.seasons is not None and args.seasons < 1:
        raise InputError(f"--seasons is {args.seasons}; give at least 1, or leave it out for the whole plan.")
    if not args.out.parent.is_dir():
        raise InputError(f"--out {args.out}: the folder {args.out.parent} does not exist; make it first.")
    made = make(args.seed, args.seasons, args.workers)
    dropped = "; ".join(f"{n} dropped: {reason}" for reason, n in sorted(made.dropped.items())) or "none dropped"
    if not made.rows:
        raise InputError(f"--seasons {args.seasons}: no season is left ({dropped}); ask for more.")
    pq.write_table(table(made), args.out, compression="zstd", compression_level=19)
    print(f"{args.out}: {len(made.rows)} simulated seasons ({dropped}), {args.out.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    # Workers import this module by name; functions of `__main__` would be pickled by value.
    from pipeline import simulate

    sys.exit(simulate.main())
