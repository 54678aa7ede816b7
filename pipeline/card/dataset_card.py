"""The whole dataset card: its top-level keys, its sections, and checks across them."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from pipeline.card.complaints import complaints
from pipeline.card.flatten import flattened
from pipeline.card.sections import (
    DriverCard,
    ExcludeCard,
    HistoryCard,
    RadiometryCard,
    Section,
    SourceCard,
    TargetCard,
    VariateCard,
)
from pipeline.card.values import (
    Decimal,
    Encoding,
    Files,
    Finite,
    Keep,
    MonthDay,
    PlaceColumns,
    Separator,
    StepLength,
    TableName,
    Text,
    place_key,
)
from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.units import TONNES_PER_HECTARE, spell_unit, to_tonnes_per_hectare

_LISTS = ("variates", "drivers", "sources", "exclude")  # sections with double brackets


def _advice_on_toml(error: tomllib.TOMLDecodeError) -> str:
    """What to correct, by the message of the parser."""
    twice = re.search(r"Cannot (?:declare|mutate|overwrite|redefine).*?\(([^)]*)\)", str(error))
    keys = re.findall(r"'([^']+)'", twice[1]) if twice else []
    if keys and keys[-1] in _LISTS:
        return f"Write double brackets each time, as in [[{'.'.join(keys)}]], because there may be several."
    return "Write texts in quotes and lists in [ ]."


class DatasetCard(Section):
    """All keys of a dataset card. `load` reads a card and raises `InputError` if it is invalid."""

    name: TableName
    """Name of the data set: letters, digits, spaces and `_ . + -`. Run folders are named after it."""
    format: Literal["wide", "long", "netcdf", "zarr", "sources"]
    """Layout of the files. A card with `[[sources]]` leaves it out."""
    files: Files
    """The files, relative to the card: a name, a glob or a list."""
    variates: Annotated[list[VariateCard], Field(min_length=1)]
    """Measured quantities that are drawn."""
    drivers: list[DriverCard] = Field(default_factory=list)
    """Weather or calendar, read as numbers and never drawn."""
    sources: list[SourceCard] = Field(default_factory=list)
    """Files of a card with several sources, instead of `format`, `files` and the tables of one file."""
    source: str = ""
    """Where the data are from; for the reader."""
    licence: str = ""
    """Licence of the data; for the reader."""
    crop: Text | None = None
    """Crop; needed to convert bushels."""
    sample_id: Text | None = None
    """Column that names a sample, if a place has several in a year."""
    place: PlaceColumns = ("place",)
    """Column of the place, or a list of columns that name it together."""
    year: Text | None = None
    """Column of the harvest year."""
    date: Text | None = None
    """Column of the date of a row (long tables, cubes)."""
    step: Text | None = None
    """Column of the numbered step of a row, instead of `date`."""
    first_step: Annotated[int, Field(ge=0, le=1)] | None = None
    """Number of the first step; 1 by default, or 0 if there is a step 0."""
    step_days: StepLength = 10.0
    """Days per step of the season grid."""
    season_start: MonthDay | None = None
    """Day on which a season starts; `calendar_start` by default."""
    calendar_start: MonthDay = "01-01"
    """Day on which step 1 of a stored row begins."""
    harvest: MonthDay | None = None
    """Day of the harvest, from which lead times count; the end of the season by default."""
    season_steps: Annotated[int, Field(ge=2)] | None = None
    """Number of steps of a season; that of the data by default."""
    season_year: Literal["end", "start"] = "end"
    """A season across New Year is named after the year in which it ends or starts."""
    step_year: Literal["calendar", "season"] | None = None
    """Whether rows with numbered steps have the calendar year or the year of the season."""
    cut: Annotated[int, Field(ge=1)] | None = None
    """Step from which stage 1 completes the season, counted from 0; half of the season by default."""
    target: TargetCard | None = None
    """The yield."""
    static: list[Text] = Field(default_factory=list)
    """Columns of numbers that do not change within a season."""
    split: Text | None = None
    """Column that says train, valid or test, for `--split card`."""
    keep: Keep = Field(default_factory=dict)
    """Read only rows with these texts, as in `{ Element = "Yield" }`; a list allows several texts of a column."""
    missing: list[Finite | Text] = Field(default_factory=list)
    """Stored numbers or texts that mean "not measured". A common mark that is not named here is an error."""
    date_order: Literal["dmy", "mdy"] | None = None
    """Order of day and month in dates such as 03/02/2019."""
    separator: Separator | None = None
    """Character between columns."""
    decimal: Decimal | None = None
    """Decimal sign."""
    encoding: Encoding | None = None
    """Encoding of the files, such as `cp1252`."""
    exclude: list[ExcludeCard] = Field(default_factory=list)
    """Samples to leave out."""
    history: HistoryCard | None = None
    """Known yields of earlier years."""
    radiometry: RadiometryCard | None = None
    """Level groups such as flights."""
    latitude: Text | None = None
    """Column of the latitude of a sample in degrees, for maps and for forecasts of unseen places."""
    longitude: Text | None = None
    """Column of the longitude."""
    geometry: Text | None = None
    """GeoJSON file with the outlines of places, for maps and for forecasts of unseen places."""

    _path: Path = PrivateAttr(default=Path("card.toml"))

    @model_validator(mode="after")
    def _hold_together(self) -> DatasetCard:
        if (self.format == "sources") != bool(self.sources):
            raise ValueError("`format` must be wide, long, netcdf or zarr; a card with [[sources]] leaves it out")
        if self.format == "wide" and (self.date or self.step):
            raise ValueError("a wide table has one column per step; leave out `date` and `step`")
        if self.format not in ("wide", "sources") and (self.date is None) == (self.step is None):
            raise ValueError(f"format {self.format!r} needs one of `date` and `step`, the column of the time")
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError("`latitude` and `longitude` belong together, the columns of one position")
        if self.geometry is not None and self.latitude is not None:
            raise ValueError("`geometry` and `latitude` both give the positions of samples; leave out one of them")
        if self.keep and self.format in ("netcdf", "zarr"):
            raise ValueError(f"format {self.format!r} has no rows to `keep`")
        if self.latitude is not None and not self.sources and self.format not in ("wide", "long"):
            raise ValueError(f"format {self.format!r} does not use `latitude`; name a `geometry` file")
        repeated = [name for name, count in Counter(v.name for v in self.series).items() if count > 1]
        if repeated:
            raise ValueError(f"variate {repeated[0]} is named twice")
        for variate in () if self.sources else self.series:
            unused = "column" if self.format == "wide" else "pattern"
            if getattr(variate, unused) is not None:
                raise ValueError(f"variate {variate.name}: format {self.format!r} does not use `{unused}`")
        for name in self.radiometry.variates if self.radiometry else ():
            if name not in (known := [v.name for v in self.variates]):
                raise ValueError(f"`radiometry` lists {name!r}; the card's variates are {', '.join(known)}")
        self._refuse_a_day_between_steps()
        self._refuse_places_of_other_parts()
        return self

    def _refuse_places_of_other_parts(self) -> None:
        """Raise ValueError unless `place` has the same number of columns everywhere, as a join needs."""
        named = [(f"the source {one.label}", one.place or self.place) for one in self.sources] or [("", self.place)]
        named += [("[history]", self.history.place)] if self.history else []
        (first, columns), *others = named
        for where, other in others:
            if len(other) != len(columns):
                raise ValueError(
                    f"`place` of {where} is {place_key(other)}, {len(other)} column{'s' * (len(other) > 1)}, and "
                    f"{f'`place` of {first}' if first else '`place` at the top'} is {place_key(columns)}, "
                    f"{len(columns)}; a place has the same number of columns everywhere, in the same order"
                )

    def _refuse_a_day_between_steps(self) -> None:
        allowed = {"month": ("01",), "dekad": ("01", "11", "21")}.get(str(self.step_days))
        for key in ("season_start", "calendar_start"):
            day = getattr(self, key)
            if allowed and day and day[3:] not in allowed:
                raise ValueError(f"`{key}` {day} must fall on day {' or '.join(allowed)} of a month (step_days)")

    @classmethod
    def load(cls, path: str | Path) -> DatasetCard:
        """Read and check a card. Raises `InputError` naming the file, the key, the value and what is allowed."""
        path = Path(path)
        try:
            keys = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{path}: this dataset card does not exist; check the path given as data.") from None
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: the dataset card is not UTF-8 ({error.reason}); save it as UTF-8.") from None
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"{path}: the dataset card is not valid TOML: {error}. {_advice_on_toml(error)}") from None
        except RecursionError:
            raise InputError(
                f"{path}: the dataset card nests brackets too deeply to be read; no key needs more than a list in a "
                "list."
            ) from None
        if not keys.keys() & cls.model_fields.keys():
            raise InputError(
                f"{path}: this TOML file is no dataset card, because it has none of a card's keys (name, format, "
                'files, variates, ...); README.md, "Your own table", shows one.'
            )
        return cls.from_keys(keys, path)

    @classmethod
    def from_keys(cls, keys: Mapping[str, Any], path: Path) -> DatasetCard:
        """The card with these keys, as if it were read from `path`. Relative files start from that folder.

        Raises `InputError` if a key is invalid.
        """
        try:
            card = cls.model_validate(flattened(keys, path) if "sources" in keys else dict(keys))
        except ValidationError as error:
            raise InputError(f"{path}: the dataset card cannot be used. {complaints(error, cls)}") from None
        card._path = path
        return card

    @property
    def series(self) -> tuple[VariateCard, ...]:
        """Variates, then drivers. Both are read in the same way, as one series per sample."""
        return (*self.variates, *self.drivers)

    @property
    def place_key(self) -> str:
        """The name of the place column among the columns that were read."""
        return place_key(self.place)

    @property
    def path(self) -> Path:
        """The path of the card."""
        return self._path

    def unit_findings(self) -> tuple[Finding, ...]:
        """A note for each yield unit whose spelling differs from that of a known unit."""
        units = [part.unit for part in (self.target, self.history) if part is not None and part.unit is not None]
        spelled = {unit: spell_unit(unit) for unit in units if spell_unit(unit).casefold() != unit.casefold()}
        known = {unit: name for unit, name in spelled.items() if name in (*TONNES_PER_HECTARE, "bu/ac")}
        return tuple(
            Finding("note", f"The yield unit {unit!r} is read as {name}.", f'unit = "{name}"')
            for unit, name in known.items()
        )

    @property
    def missing_numbers(self) -> tuple[float, ...]:
        """The stored numbers that stand for missing data."""
        return tuple(float(mark) for mark in self.missing if not isinstance(mark, str))

    @property
    def missing_texts(self) -> tuple[str, ...]:
        """The texts that stand for missing data in numeric columns."""
        return tuple(mark for mark in self.missing if isinstance(mark, str))

    def target_factor(self) -> float:
        """The factor that converts the target column to t/ha; 1 if the card has no target. Raises `InputError`."""
        if self.target is None:
            return 1.0
        where = f"{self.path}: [target] column {self.target.column}"
        return to_tonnes_per_hectare(self.target.unit, factor=self.target.factor, crop=self.crop, where=where)

    def history_factor(self) -> float:
        """The factor that converts the history column to t/ha; 1 if the card has no history. Raises `InputError`."""
        if self.history is None:
            return 1.0
        where = f"{self.path}: [history] column {self.history.column}"
        return to_tonnes_per_hectare(self.history.unit, factor=self.history.factor, crop=self.crop, where=where)
