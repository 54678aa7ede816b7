"""The dataset card: a small TOML beside the data that says what its columns mean."""

from __future__ import annotations

import codecs
import glob
import math
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Mapping
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.table import FIRST_YEAR, LAST_YEAR
from pipeline.units import TONNES_PER_HECTARE, spell_unit, to_tonnes_per_hectare

StepDays = float | Literal["month", "dekad"]
LONGEST_NAME = 60


def _month_day(text: str) -> str:
    try:
        day = date.fromisoformat(f"2001-{text}")
    except ValueError:
        raise ValueError('a day of the year as "MM-DD", such as "07-01" (not 02-29)') from None
    return f"{day:%m-%d}"


def _step_days(value: Any) -> StepDays:
    if value in ("month", "dekad"):
        return value  # type: ignore[no-any-return]
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 366:
        return float(value)
    raise ValueError('a number of days (over 0, at most 366), or "month" or "dekad" (10 days, three a month)')


def _encoding(text: str) -> str:
    try:
        return codecs.lookup(text).name
    except LookupError:
        raise ValueError('the name of an encoding, such as "utf-8", "latin-1", "cp1252" or "utf-16"') from None


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def safe_name(text: str) -> str:
    """A file's or folder's name as a table's: run folders are called after it, so it must not lead elsewhere."""
    composed = unicodedata.normalize("NFC", text)
    kept = "".join(c if _may_stand_in_a_name(c) else "-" for c in composed).lstrip(". ")
    return kept[:LONGEST_NAME] or "table"


def _may_stand_in_a_name(character: str) -> bool:
    """Letters, their marks and digits of any script, and what no shell or file system takes for anything else."""
    return unicodedata.category(character)[0] in "LMN" or character in " _.+-"


def _table_name(text: str) -> str:
    if (safe := safe_name(text)) == unicodedata.normalize("NFC", text):
        return safe
    raise ValueError(
        f"letters, digits, spaces and _ . + - only, {LONGEST_NAME} at most and no dot or space in front: run folders "
        "are called after it"
    )


def control_character(text: str) -> str | None:
    """The first character that breaks lines or columns of whatever the text is written into, or None."""
    if text.isprintable():
        return None
    return next((c for c in text if unicodedata.category(c) in ("Cc", "Zl", "Zp")), None)


def _one_line(text: str) -> str:
    if control_character(text) is not None:
        raise ValueError("one line without tabs or other control characters")
    return text


Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]
TableName = Annotated[str, Field(min_length=1), AfterValidator(_table_name)]
Line = Annotated[str, Field(min_length=1), AfterValidator(_one_line)]
Encoding = Annotated[str, AfterValidator(_encoding)]
MonthDay = Annotated[str, AfterValidator(_month_day)]
Files = Annotated[list[Text], BeforeValidator(_listed), Field(min_length=1)]
Year = Annotated[int, Field(ge=FIRST_YEAR, le=LAST_YEAR)]


Separator = Literal[",", ";", "\t", "|"]
Decimal = Literal[".", ","]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class VariateCard(_Part):
    """`[[variates]]`: one measured quantity, stored number x `scale` + `offset`; `low`/`high` hold after that."""

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
    """`[[drivers]]`: what acts on the crop, read as numbers and never drawn. `known`: ahead, as a calendar is."""

    known: bool = False


class TargetCard(_Part):
    """`[target]`: the yield column; `unit`, or else `factor`, turns it into t/ha.

    `group` is the column of the district, farm or trial whose one yield was copied onto several samples.
    """

    column: Text
    unit: Text | None = None
    factor: Positive | None = None
    group: Text | None = None


class ExcludeCard(_Part):
    """`[[exclude]]`: samples that match every key given here are left out; every report says why."""

    reason: Text
    year: Year | None = None
    before: Year | None = None
    after: Year | None = None
    place: Text | None = None
    sample_id: Text | None = None

    @model_validator(mode="after")
    def _name_something(self) -> ExcludeCard:
        if not self._keys():
            raise ValueError("`exclude` must name years (`before`, `after`), a `year`, a `place` or a `sample_id`")
        return self

    def describe_keys(self) -> str:
        """What it matches, as the card spells it."""
        return ", ".join(f"{key} = {value!r}" for key, value in self._keys().items())

    def _keys(self) -> dict[str, int | str]:
        names = ("year", "before", "after", "place", "sample_id")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class HistoryCard(_Part):
    """`[history]`: known yields of the places, one row a place and year, in files of their own."""

    files: Files
    column: Text
    place: Text = "place"
    year: Text = "year"
    unit: Text | None = None
    factor: Positive | None = None


class RadiometryCard(_Part):
    """`[radiometry]`: bring each (group, step) to one level; `group` is a column: flight, date, sensor."""

    group: Text
    variates: list[Text] = Field(default_factory=list)


class CalendarCard(_Part):
    """`calendar` of a source: the columns of each place's first and last day of the season.

    They hold days of the year (1 to 366), dates, or MM-DD. days_before: start that many days earlier.
    """

    start: Text
    end: Text
    days_before: Annotated[int, Field(ge=0, le=365)] = 0


class SourceCard(_Part):
    """`[[sources]]`: files of one kind, with the columns that place their rows and what is read from them.

    Keys mean what they mean at the top of a card. Those left out here are the card's: `place`, `missing`, `step_days`,
    `calendar_start`, `date_order`, `separator`, `decimal`, `encoding`.
    """

    files: Files
    format: Literal["wide", "long", "netcdf", "zarr"] = "long"
    optional: bool = False
    place: Text | None = None
    year: Text | None = None
    date: Text | None = None
    step: Text | None = None
    first_step: Annotated[int, Field(ge=0, le=1)] | None = None
    step_days: Annotated[StepDays, PlainValidator(_step_days)] | None = None
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
            raise ValueError(f"format {self.format!r} gives series here; read all else from tables")
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


class DatasetCard(_Part):
    """All keys of a dataset card. `load` reads one; a wrong one raises `InputError`."""

    name: TableName
    format: Literal["wide", "long", "netcdf", "zarr", "sources"]
    files: Files
    variates: Annotated[list[VariateCard], Field(min_length=1)]
    drivers: list[DriverCard] = Field(default_factory=list)
    sources: list[SourceCard] = Field(default_factory=list)
    source: str = ""
    licence: str = ""
    crop: Text | None = None
    sample_id: Text | None = None
    place: Text = "place"
    year: Text | None = None
    date: Text | None = None
    step: Text | None = None
    first_step: Annotated[int, Field(ge=0, le=1)] | None = None
    step_days: Annotated[StepDays, PlainValidator(_step_days)] = 10.0
    season_start: MonthDay | None = None
    calendar_start: MonthDay = "01-01"
    harvest: MonthDay | None = None
    season_steps: Annotated[int, Field(ge=2)] | None = None
    season_year: Literal["end", "start"] = "end"
    step_year: Literal["calendar", "season"] | None = None
    cut: Annotated[int, Field(ge=1)] | None = None
    target: TargetCard | None = None
    static: list[Text] = Field(default_factory=list)
    split: Text | None = None
    missing: list[Finite | Text] = Field(default_factory=list)
    date_order: Literal["dmy", "mdy"] | None = None
    separator: Separator | None = None
    decimal: Decimal | None = None
    encoding: Encoding | None = None
    exclude: list[ExcludeCard] = Field(default_factory=list)
    history: HistoryCard | None = None
    radiometry: RadiometryCard | None = None
    latitude: Text | None = None
    longitude: Text | None = None
    geometry: Text | None = None

    _path: Path = PrivateAttr(default=Path("card.toml"))

    @model_validator(mode="after")
    def _hold_together(self) -> DatasetCard:
        if (self.format == "sources") != bool(self.sources):
            raise ValueError("`format` is wide, long, netcdf or zarr; a card with [[sources]] leaves it out")
        if self.format == "wide" and (self.date or self.step):
            raise ValueError("a wide table has its steps in its columns: leave out `date` and `step`")
        if self.format not in ("wide", "sources") and (self.date is None) == (self.step is None):
            raise ValueError(f"format {self.format!r} needs one of `date` and `step`, the column of the time")
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError("`latitude` and `longitude` belong together, the columns of one position")
        if self.geometry is not None and self.latitude is not None:
            raise ValueError(
                "`geometry` is a file and `latitude` a column, both of which say where samples lie: one of them"
            )
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
        return self

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
            raise InputError(f"{path}: there is no such dataset card; check the path given as data.") from None
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: the dataset card is not UTF-8 ({error.reason}); save it as such.") from None
        except tomllib.TOMLDecodeError as error:
            raise InputError(
                f"{path}: the dataset card is not valid TOML: {error}. Texts stand in quotes, lists in [ ]."
            ) from None
        except RecursionError:
            raise InputError(
                f"{path}: the dataset card nests brackets deeper than can be read; a list in a list is the most "
                "that any key needs."
            ) from None
        if not keys.keys() & cls.model_fields.keys():
            raise InputError(
                f"{path}: this TOML file is no dataset card, for it has none of a card's keys (name, format, files, "
                'variates, ...); README.md, "Your own table", shows one.'
            )
        return cls.from_keys(keys, path)

    @classmethod
    def from_keys(cls, keys: Mapping[str, Any], path: Path) -> DatasetCard:
        """The card with these keys, as if it stood in `path`; its relative files start from that folder."""
        try:
            card = cls.model_validate(_with_sources(keys, path) if "sources" in keys else dict(keys))
        except ValidationError as error:
            raise InputError(f"{path}: the dataset card cannot be used. {_sentences(error)}") from None
        card._path = path
        return card

    @property
    def series(self) -> tuple[VariateCard, ...]:
        """Variates, then drivers: what is read alike, one series a sample each."""
        return (*self.variates, *self.drivers)

    @property
    def path(self) -> Path:
        """Where the card lies."""
        return self._path

    def unit_findings(self) -> tuple[Finding, ...]:
        """How the units of yields are read, if they are spelled in another way than the known ones."""
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
        """The texts that stand for missing data in columns of numbers."""
        return tuple(mark for mark in self.missing if isinstance(mark, str))

    def target_factor(self) -> float:
        """What the target column is multiplied with to give t/ha; 1 where the card has no target."""
        if self.target is None:
            return 1.0
        where = f"{self.path}: [target] column {self.target.column}"
        return to_tonnes_per_hectare(self.target.unit, factor=self.target.factor, crop=self.crop, where=where)

    def history_factor(self) -> float:
        """What the history column is multiplied with to give t/ha; 1 where the card has no history."""
        if self.history is None:
            return 1.0
        where = f"{self.path}: [history] column {self.history.column}"
        return to_tonnes_per_hectare(self.history.unit, factor=self.history.factor, crop=self.crop, where=where)


class _Sources(_Part):
    sources: Annotated[list[SourceCard], Field(min_length=1)]


# Keys that a source has, or that several sources have no use for.
_OF_ONE_FILE = ("format", "files", "variates", "drivers", "target", "static", "year", "date", "step", "first_step",
                "latitude", "longitude", "sample_id", "split", "radiometry", "step_year")  # fmt: skip


def _with_sources(keys: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The keys of a card with [[sources]] and, beside them, what all of its sources give together.

    Files of an optional source that are not there are left out, and the source with them if none is.
    """
    stray = next((key for key in _OF_ONE_FILE if key in keys), None)
    if stray is not None:
        where = (
            "leave it out"
            if stray in ("format", "sample_id", "split", "radiometry", "step_year")
            else "write it in the source"
        )
        raise InputError(
            f"{path}: the dataset card cannot be used. The key `{stray}` stands beside [[sources]], which meet by "
            f"place and season; {where}."
        )
    sources = _Sources.model_validate({"sources": keys["sources"]}).sources
    sources = [found for one in sources if (found := _as_there(one, path)) is not None]
    series = [variate for one in sources for variate in one.variates]
    if not series:
        raise InputError(f"{path}: the dataset card cannot be used. No source has `variates`; one at least is needed.")
    for key in ("target", "calendar", "latitude"):
        if len(having := [one for one in sources if getattr(one, key) is not None]) > 1:
            raise InputError(
                f"{path}: the dataset card cannot be used. {having[0].label} and {having[1].label} both have `{key}`; "
                "keep one of them."
            )
    static = [name for one in sources for name in one.static]
    if twice := next((name for name in static if static.count(name) > 1), None):
        raise InputError(f"{path}: the dataset card cannot be used. The static column {twice} is named twice.")
    placed = next((one for one in sources if one.latitude is not None), None)
    flat = {
        "format": "sources",
        "files": [pattern for one in sources for pattern in one.files],
        "variates": series,
        "drivers": [driver for one in sources for driver in one.drivers],
        "target": next((one.target for one in sources if one.target is not None), None),
        "static": static,
        "latitude": placed and placed.latitude,
        "longitude": placed and placed.longitude,
    }
    stray = next((key for key in ("season_start", "harvest") if key in keys), None)
    if stray is not None and any(one.calendar for one in sources):
        raise InputError(
            f"{path}: the dataset card cannot be used. Both `{stray}` and the `calendar` of a source say when a season "
            "is; leave out one of them."
        )
    return {**keys, **flat, "sources": sources}


def _as_there(source: SourceCard, card: Path) -> SourceCard | None:
    if not source.optional:
        return source
    there = [pattern for pattern in source.files if is_there(card, pattern)]
    return source.model_copy(update={"files": there}) if there else None


def is_there(card: Path, pattern: str) -> bool:
    """Whether a file or glob, from the folder of the card `card` on, names anything."""
    path = card.parent / pattern
    return path.exists() or bool(glob.glob(str(path)))


_PARTS: dict[str, type[_Part]] = {
    "sources": SourceCard,
    "calendar": CalendarCard,
    "variates": VariateCard,
    "drivers": DriverCard,
    "target": TargetCard,
    "exclude": ExcludeCard,
    "history": HistoryCard,
    "radiometry": RadiometryCard,
}


def _sentences(error: ValidationError) -> str:
    """Every complaint as a sentence, each key once, five at most."""
    found: dict[str, str] = {}
    for problem in error.errors(include_url=False):
        key = _spell(problem["loc"])
        found.setdefault(key or problem["msg"], _sentence(key, dict(problem)))
    return " ".join([*found.values()][:5])


def _spell(location: tuple[int | str, ...]) -> str:
    """`variates 2, scale` for ("variates", 1, "scale"): entries count from 1, as a person does."""
    words = [f"entry {part + 1}" if isinstance(part, int) else str(part) for part in location]
    return " ".join(words)


def _sentence(key: str, problem: Mapping[str, Any]) -> str:
    allowed = problem["msg"].removeprefix("Value error, ")
    location = problem["loc"]
    if problem["type"] == "missing":
        return f"The key `{key}` is missing."
    if problem["type"] == "extra_forbidden":
        return _unknown_key(location)
    if isinstance(problem["input"], Mapping):
        place = f"In `{key}`: " if key else ""
        return f"{place}{allowed[0].upper()}{allowed[1:]}."
    if problem["type"] in ("too_short", "string_too_short"):
        wanted = "a list of at least 1 item" if problem["type"] == "too_short" else "a text that is not empty"
        return f"The key `{key}` is {_shown(problem['input'])}; it must be {wanted}."
    return f"The key `{key}` is {_shown(problem['input'])}; it must be {allowed.removeprefix('Input should be ')}."


def _unknown_key(location: tuple[int | str, ...]) -> str:
    part = next((_PARTS[str(key)] for key in reversed(location[:-1]) if key in _PARTS), DatasetCard)
    valid = list(part.model_fields)
    near = get_close_matches(str(location[-1]), valid, n=1, cutoff=0.5)
    hint = f"did you mean `{near[0]}`?" if near else f"valid keys here are {', '.join(valid)}."
    return f"The key `{_spell(location)}` is not known; {hint}"


def _shown(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
