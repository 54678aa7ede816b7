"""The sections of a card: variates, drivers, target, exclusions, history, radiometry, sources."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.card.values import (
    Decimal,
    Encoding,
    Files,
    Finite,
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
    unit: Line = "1"
    column: Text | None = None
    pattern: Text | None = None
    scale: Finite = 1.0
    offset: Finite = 0.0
    low: Finite | None = None
    high: Finite | None = None

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


class TargetCard(Section):
    """`[target]`: the yield column. `unit`, or else `factor`, converts it to t/ha.

    `group` is the column of the district, farm or trial whose yield was copied to several samples.
    """

    column: Text
    unit: Text | None = None
    factor: Positive | None = None
    group: Text | None = None


class ExcludeCard(Section):
    """`[[exclude]]`: leave out samples that match every key given here. Every report states the `reason`."""

    reason: Text
    year: Year | None = None
    before: Year | None = None
    after: Year | None = None
    place: PlaceParts | None = None
    sample_id: Text | None = None

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
    column: Text
    place: PlaceColumns = ("place",)
    year: Text = "year"
    unit: Text | None = None
    factor: Positive | None = None


class RadiometryCard(Section):
    """`[radiometry]`: bring each (group, step) to the same level. `group` is a column of flights, dates or sensors."""

    group: Text
    variates: list[Text] = Field(default_factory=list)


class CalendarCard(Section):
    """`calendar` of a source: the columns with the first and last day of the season of each place.

    Days are days of the year (1 to 366), dates, or MM-DD. The season starts `days_before` days earlier.
    """

    start: Text
    end: Text
    days_before: Annotated[int, Field(ge=0, le=365)] = 0


class SourceCard(Section):
    """`[[sources]]`: files of one kind, with their key columns and what is read from them.

    Keys have the same meaning as at the top of a card. If they are left out, `place`, `missing`, `step_days`,
    `calendar_start`, `date_order`, `separator`, `decimal` and `encoding` are taken from there.
    """

    files: Files
    format: Literal["wide", "long", "netcdf", "zarr"] = "long"
    optional: bool = False
    place: PlaceColumns | None = None
    year: Text | None = None
    date: Text | None = None
    step: Text | None = None
    first_step: Annotated[int, Field(ge=0, le=1)] | None = None
    step_days: StepLength | None = None
    calendar_start: MonthDay | None = None
    variates: list[VariateCard] = Field(default_factory=list)
    drivers: list[DriverCard] = Field(default_factory=list)
    target: TargetCard | None = None
    static: list[Text] = Field(default_factory=list)
    calendar: CalendarCard | None = None
    latitude: Text | None = None
    longitude: Text | None = None
    missing: list[Finite | Text] | None = None
    date_order: Literal["dmy", "mdy"] | None = None
    separator: Separator | None = None
    decimal: Decimal | None = None
    encoding: Encoding | None = None

    @model_validator(mode="after")
    def _hold_together(self) -> SourceCard:
        if not (self.variates or self.drivers or self.target or self.static or self.calendar or self.latitude):
            raise ValueError(
                f"the source {self.files[0]!r} gives nothing; name its `variates`, `drivers`, `target`, `static`, "
                "`calendar`, or `latitude` and `longitude`"
            )
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError("`latitude` and `longitude` belong together, the columns of one position")
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
