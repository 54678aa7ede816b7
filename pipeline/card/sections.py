"""The sections of a card: variates, drivers, target, exclusions, history, radiometry, sources."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.card.values import (
    Decimal,
    Encoding,
    Files,
    Finite,
    Keep,
    Line,
    MonthDay,
    PlaceColumns,
    PlaceParts,
    Positive,
    Separator,
    StepLength,
    Text,
    Year,
)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class VariateCard(Section):
    """`[[variates]]`: one measured quantity, stored number x `scale` + `offset`. `low`/`high` limit the result."""

    name: Line
    """Name of the variate."""
    unit: Line = "1"
    """Unit of the values after `scale` and `offset`."""
    column: Text | None = None
    """Column of a long table, or variable of a cube; `name` by default."""
    pattern: Text | None = None
    """Column names of a wide table, with `{step}` in place of the number; `<name>_{step}` by default."""
    scale: Finite = 1.0
    """Stored number x `scale` + `offset` is the value in `unit`."""
    offset: Finite = 0.0
    """See `scale`."""
    low: Finite | None = None
    """Lower end of the physical range, after `scale` and `offset`, and of the y-axis of the plots."""
    high: Finite | None = None
    """Upper end of that range."""
    missing: list[Finite] = Field(default_factory=list)
    """Stored numbers of this variate alone that mean "not measured", beside those of the card."""

    @model_validator(mode="after")
    def _hold_together(self) -> VariateCard:
        if self.scale == 0:
            raise ValueError(f"variate {self.name}: `scale` must not be 0")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"variate {self.name}: `low` {self.low} must be below `high` {self.high}")
        if self.pattern is not None and self.pattern.count("{step}") != 1:
            raise ValueError(f"variate {self.name}: `pattern` {self.pattern!r} must hold {{step}} once")
        return self

    @property
    def step_pattern(self) -> str:
        """The column name of a wide table, with `{step}` where the number stands."""
        return self.pattern or f"{self.name}_{{step}}"


class DriverCard(VariateCard):
    """`[[drivers]]`: what acts on the crop; used as numbers, never drawn. `known`: known ahead, as day length is."""

    known: bool = False
    """true: known ahead, like a calendar or a weather forecast; a mid-season forecast then reads all of it."""


class TargetCard(Section):
    """`[target]`: the yield column. `unit`, or else `factor`, converts it to t/ha.

    `group` is the column of the district, farm or trial whose yield was copied to several samples.
    """

    column: Text
    """Column of the yield."""
    unit: Text | None = None
    """t/ha, kg/ha, dt/ha, bu/ac (with `crop`), lb/ac or g/m2."""
    factor: Positive | None = None
    """Stored yield x `factor` is t/ha, instead of `unit`."""
    group: Text | None = None
    """Column of the district, farm or trial whose one yield was copied to several samples."""


class ExcludeCard(Section):
    """`[[exclude]]`: leave out samples that match every key given here. Every report states the `reason`."""

    reason: Text
    """Why; every report states it."""
    year: Year | None = None
    """Samples of this harvest year."""
    before: Year | None = None
    """Samples of earlier harvest years."""
    after: Year | None = None
    """Samples of later harvest years."""
    place: PlaceParts | None = None
    """Samples of this place; a list of its parts if `place` of the card is a list."""
    sample_id: Text | None = None
    """This sample."""

    @model_validator(mode="after")
    def _name_something(self) -> ExcludeCard:
        if not self._keys():
            raise ValueError("`exclude` must name years (`before`, `after`), a `year`, a `place` or a `sample_id`")
        return self

    def describe_keys(self) -> str:
        """Its keys and values, as the card spells them."""
        return ", ".join(f"{key} = {value!r}" for key, value in self._keys().items())

    def _keys(self) -> dict[str, int | str | list[str]]:
        names = ("year", "before", "after", "place", "sample_id")
        keys = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.place is not None:
            keys["place"] = self.place[0] if len(self.place) == 1 else [*self.place]
        return keys


class HistoryCard(Section):
    """`[history]`: known yields of earlier years in files of their own, one row per place and year."""

    files: Files
    """The files, relative to the card."""
    column: Text
    """Column of the yield."""
    place: PlaceColumns = ("place",)
    """Column of the place, or a list of columns."""
    year: Text = "year"
    """Column of the harvest year."""
    unit: Text | None = None
    """As in `[target]`; needed unless there is a `factor`."""
    factor: Positive | None = None
    """As in `[target]`."""
    keep: Keep = Field(default_factory=dict)
    """Read only rows with these texts, as at the top."""


class RadiometryCard(Section):
    """`[radiometry]`: bring each (group, step) to the same level. `group` is a column of flights, dates or sensors."""

    group: Text
    """Column of the flight, date or sensor."""
    variates: list[Text] = Field(default_factory=list)
    """The variates to level; all by default."""


class CalendarCard(Section):
    """`calendar` of a source: the columns with the first and last day of the season of each place.

    Days are days of the year (1 to 366), dates, or MM-DD. The season starts `days_before` days earlier.
    """

    start: Text
    """Column of the first day of the season: day of the year (1 to 366), date or MM-DD."""
    end: Text
    """Column of the last day of the season."""
    days_before: Annotated[int, Field(ge=0, le=365)] = 0
    """The season starts this many days before `start`."""


class SourceCard(Section):
    """`[[sources]]`: files of one kind, with their key columns and what is read from them.

    Keys have the same meaning as at the top of a card. If they are left out, `place`, `missing`, `step_days`,
    `calendar_start`, `date_order`, `separator`, `decimal` and `encoding` are taken from there.
    """

    files: Files
    """The files, relative to the card: a name, a glob or a list."""
    format: Literal["wide", "long", "netcdf", "zarr"] = "long"
    """Layout of the files; cubes (netcdf, zarr) give series only."""
    optional: bool = False
    """true: the source is left out if its files are missing."""
    place: PlaceColumns | None = None
    """Column of the place, or a list of columns; the card's by default."""
    year: Text | None = None
    """Column of the year; needed with `target` and with numbered steps."""
    date: Text | None = None
    """Column of the date of a row."""
    step: Text | None = None
    """Column of the numbered step of a row."""
    first_step: Annotated[int, Field(ge=0, le=1)] | None = None
    """Number of the first step; 1 by default, or 0 if there is a step 0."""
    step_days: StepLength | None = None
    """Days per step of this source; the card's by default."""
    calendar_start: MonthDay | None = None
    """Day on which step 1 of a row begins; the card's by default."""
    step_year: Literal["calendar", "season"] | None = None
    """Whether rows with numbered steps have the calendar year or the year of the season."""
    variates: list[VariateCard] = Field(default_factory=list)
    """Series to read, with the keys of `[[variates]]`."""
    drivers: list[DriverCard] = Field(default_factory=list)
    """Series to read, with the keys of `[[drivers]]`."""
    target: TargetCard | None = None
    """The yield, with the keys of `[target]`; one source has it."""
    static: list[Text] = Field(default_factory=list)
    """Columns of numbers of a place or, with `year`, of a place and year."""
    calendar: CalendarCard | None = None
    """Season of each place, with the keys below."""
    latitude: Text | None = None
    """Column of the latitude of a place in degrees, for maps and for forecasts of unseen places."""
    longitude: Text | None = None
    """Column of the longitude."""
    keep: Keep = Field(default_factory=dict)
    """Read only rows with these texts, as in `{ Element = "Yield" }`; a list allows several texts of a column."""
    missing: list[Finite | Text] | None = None
    """Stored numbers or texts that mean "not measured"; the card's by default."""
    date_order: Literal["dmy", "mdy"] | None = None
    """Order of day and month in dates; the card's by default."""
    separator: Separator | None = None
    """Character between columns; the card's by default."""
    decimal: Decimal | None = None
    """Decimal sign; the card's by default."""
    encoding: Encoding | None = None
    """Encoding of the files; the card's by default."""

    @model_validator(mode="after")
    def _hold_together(self) -> SourceCard:
        if not (self.variates or self.drivers or self.target or self.static or self.calendar or self.latitude):
            raise ValueError(
                f"the source {self.files[0]!r} gives nothing; name its `variates`, `drivers`, `target`, `static`, "
                "`calendar`, or `latitude` and `longitude`"
            )
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError("`latitude` and `longitude` belong together, the columns of one position")
        if self.format in ("netcdf", "zarr") and self.keep:
            raise ValueError(f"format {self.format!r} has no rows to `keep`")
        if self.format in ("netcdf", "zarr") and (self.target or self.static or self.calendar or self.latitude):
            raise ValueError(f"format {self.format!r} gives only series in a source; read the rest from tables")
        if self.target is not None and self.year is None:
            raise ValueError(f"the source {self.files[0]!r} has a `target` and needs `year`, the column of its year")
        return self

    @property
    def series(self) -> tuple[VariateCard, ...]:
        """Variates, then drivers."""
        return (*self.variates, *self.drivers)

    @property
    def label(self) -> str:
        """Its files, as the card spells them."""
        return ", ".join(self.files)
