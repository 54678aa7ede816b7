"""The season table: the in-memory form of all data that sources read. It is validated once, then immutable."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import xxhash
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.findings import Finding, describe_findings
from pipeline.plural import plural
from pipeline.provenance import JoinedSource

FIRST_YEAR, LAST_YEAR = 1900, 2100
SIDES = ("train", "valid", "test")
# t/ha. Medians of grain lie within. Those of cassava, potatoes and sugar cane lie above, so others are only reported.
USUAL_MEDIAN_YIELDS = 0.2, 25.0


@dataclass(frozen=True)
class Variate:
    """One measured quantity. `low`/`high` is its physical range in `unit`, if the card gives one."""

    name: str
    unit: str = "1"
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Count:
    """A number of rows and what happened to them. Every report shows it.

    lost: whether the rows (or values) are not used; False if they were only read in another way, averaged or kept
    """

    reason: str
    rows: int
    lost: bool = True


def cut_of(cut: int | None, steps: int, where: str) -> int:
    """The step from which stage 1 completes a season of `steps` steps; the middle if `cut` is None.

    Raises `InputError` if `cut` is out of range, or if the season has fewer than two steps.
    """
    cut = cut or steps // 2
    if steps < 2:
        raise InputError(f"{where}: a season of {steps} step cannot be completed; at least 2 steps are needed.")
    if not 1 <= cut < steps:
        raise InputError(
            f"{where}: `cut` is {cut}, the step from which stage 1 completes a season; of {steps} steps it must be 1 "
            f"to {steps - 1}. Correct it in the dataset card."
        )
    return cut


@dataclass(frozen=True, eq=False)
class YieldHistory:
    """Known yields of earlier years, in t/ha. Arrays of the same length [H], which may be 0."""

    place: NDArray[np.str_] = field(default_factory=lambda: np.array([], dtype=np.str_))
    year: NDArray[np.int64] = field(default_factory=lambda: np.array([], dtype=np.int64))
    target: NDArray[np.float64] = field(default_factory=lambda: np.array([], dtype=np.float64))

    def __len__(self) -> int:
        return len(self.year)


@dataclass(frozen=True, eq=False)
class SeasonTable:
    """N samples of V variates on T steps, each with a yield.

    values            [N,V,T] float32, in each variate's own unit, NaN if not observed
    observed          [N,V,T] bool
    target            [N] float64, t/ha; NaN only in a table read for prediction
    sample_id         [N] str, unique;  place [N] str;  year [N] int64, the harvest year
    static            [N,S] float32 (soil, elevation ...), NaN if unknown
    drivers           [N,R,T] float32 (rain, day length ...), NaN if not observed; never drawn; R may be 0
    drivers_observed  [N,R,T] bool
    drivers_known     [R] bool; a driver known ahead may be used in full by a forecast at any step
    counts            what was dropped, masked or excluded while reading, by reason
    cut               step, 1 to T-1, from which stage 1 completes the season; 0 means T//2
    assigned          [N] str, the side of SIDES that the data assigns to a sample; None if it assigns none
    harvest_days      days from the start of the season to the usual harvest, if the card gives it; changes no forecast
    days_to_harvest   [N] float64, the same for each sample, if a calendar gives it for each place; else None
    notes             how the data were read, for the first lines of output; changes no forecast
    group             [N] int64; rows with the same number share one measured yield; by default each row has its own
    group_column      the column that names the groups; None if they were detected, or if there are none
    findings          what was noticed while reading
    file              [N] position of a sample's file in `files`; None if the rows of a sample may be in several files
    sources           how the sources of a join matched; empty for a card without [[sources]]
    position          [N,2] float64, longitude and latitude in degrees, NaN if unknown; None if they were not read
    """

    name: str
    values: NDArray[np.float32]
    observed: NDArray[np.bool_]
    target: NDArray[np.float64]
    sample_id: NDArray[np.str_]
    place: NDArray[np.str_]
    year: NDArray[np.int64]
    variates: tuple[Variate, ...]
    step_days: float
    season_start: str = "01-01"
    static: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    static_names: tuple[str, ...] = ()
    history: YieldHistory = field(default_factory=YieldHistory)
    counts: tuple[Count, ...] = ()
    cut: int = 0
    assigned: NDArray[np.str_] | None = None
    drivers: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))
    drivers_observed: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0, 0), bool))
    driver_names: tuple[str, ...] = ()
    driver_units: tuple[str, ...] = ()
    drivers_known: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    harvest_days: float | None = None
    days_to_harvest: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()
    group: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    group_column: str | None = None
    findings: tuple[Finding, ...] = ()
    files: tuple[str, ...] = ()
    file: NDArray[np.int64] | None = None
    sources: tuple[JoinedSource, ...] = ()
    position: NDArray[np.float64] | None = None

    @property
    def shares_yields(self) -> bool:
        """Whether some rows share one yield."""
        return len(np.unique(self.group)) < len(self.group)

    def __post_init__(self) -> None:
        n, v, t = self.values.shape
        r = len(self.driver_names)
        if r == 0:
            object.__setattr__(self, "drivers", np.zeros((n, 0, t), np.float32))
            object.__setattr__(self, "drivers_observed", np.zeros((n, 0, t), bool))
        object.__setattr__(self, "driver_units", self.driver_units or ("1",) * r)
        object.__setattr__(self, "cut", cut_of(self.cut, t, self.name))
        if self.static.shape[0] != n:
            object.__setattr__(self, "static", np.full((n, len(self.static_names)), np.nan, np.float32))
        if self.group.shape[0] == 0:
            object.__setattr__(self, "group", np.arange(n))
        shapes = {
            "group": (self.group.shape, (n,)),
            "observed": (self.observed.shape, (n, v, t)),
            "target": (self.target.shape, (n,)),
            "sample_id": (self.sample_id.shape, (n,)),
            "place": (self.place.shape, (n,)),
            "year": (self.year.shape, (n,)),
            "variates": ((len(self.variates),), (v,)),
            "static": (self.static.shape, (n, len(self.static_names))),
            "drivers": (self.drivers.shape, (n, r, t)),
            "drivers_observed": (self.drivers_observed.shape, (n, r, t)),
            "driver_units": ((len(self.driver_units),), (r,)),
            "drivers_known": (self.drivers_known.shape, (r,)),
            "days_to_harvest": ((n,) if self.days_to_harvest is None else self.days_to_harvest.shape, (n,)),
            "assigned": ((n,) if self.assigned is None else self.assigned.shape, (n,)),
            "file": ((n,) if self.file is None else self.file.shape, (n,)),
            "position": ((n, 2) if self.position is None else self.position.shape, (n, 2)),
        }
        for name, (found, wanted) in shapes.items():
            if found != wanted:
                raise ValueError(f"{name} has shape {found}, the table needs {wanted}")
        if self.assigned is not None and not np.isin(self.assigned, SIDES).all():
            raise ValueError(f"assigned has {set(self.assigned.tolist()) - set(SIDES)}, which are no sides")
        self._refuse_what_no_season_can_be()
        arrays = [self.values, self.observed, self.target, self.sample_id, self.place, self.year, self.static]
        for array in (*arrays, self.drivers, self.drivers_observed, self.drivers_known, self.group):
            array.setflags(write=False)

    def _refuse_what_no_season_can_be(self) -> None:
        if len(self.sample_id) == 0:
            raise InputError(f"{self.name}: no sample is left after reading. " + self.describe_counts())
        self._refuse_odd_numbers(self.variate_names, self.values, self.observed)
        self._refuse_odd_numbers(self.driver_names, self.drivers, self.drivers_observed)
        wrong = (self.year < FIRST_YEAR) | (self.year > LAST_YEAR)
        if wrong.any():
            i = int(np.argmax(wrong))
            raise InputError(
                f"{self.name}: sample {self.sample_id[i]} has year {self.year[i]}; "
                f"years must lie in {FIRST_YEAR}-{LAST_YEAR}."
            )
        _, first, count = np.unique(self.sample_id, return_index=True, return_counts=True)
        if (count > 1).any():
            i = int(first[np.argmax(count > 1)])
            raise InputError(
                f"{self.name}: sample {self.sample_id[i]} occurs {int(count.max())} times; a sample is one place "
                "in one year. Name a column that distinguishes them as `sample_id` in the dataset card."
            )

    def _refuse_odd_numbers(
        self, names: tuple[str, ...], values: NDArray[np.float32], observed: NDArray[np.bool_]
    ) -> None:
        if np.isinf(values).any():
            n, v, t = (int(i[0]) for i in np.nonzero(np.isinf(values)))
            raise InputError(
                f"{self.name}: {names[v]} of sample {self.sample_id[n]} is infinite at step {t}; "
                "write missing values as empty cells or NaN."
            )
        if (observed & np.isnan(values)).any():
            raise ValueError("observed marks a step whose value is NaN")

    def __len__(self) -> int:
        return len(self.sample_id)

    @property
    def steps(self) -> int:
        """T, the number of steps of a season."""
        return int(self.values.shape[2])

    @property
    def variate_names(self) -> tuple[str, ...]:
        """The V names, in table order."""
        return tuple(v.name for v in self.variates)

    def rows(self, index: NDArray[np.integer]) -> SeasonTable:
        """The table with only the rows `index` [n], in that order."""
        return replace(
            self,
            values=self.values[index],
            observed=self.observed[index],
            target=self.target[index],
            sample_id=self.sample_id[index],
            place=self.place[index],
            year=self.year[index],
            static=self.static[index],
            drivers=self.drivers[index],
            drivers_observed=self.drivers_observed[index],
            assigned=None if self.assigned is None else self.assigned[index],
            days_to_harvest=None if self.days_to_harvest is None else self.days_to_harvest[index],
            group=self.group[index],
            file=None if self.file is None else self.file[index],
            position=None if self.position is None else self.position[index],
        )

    def as_of(self, step: int) -> SeasonTable:
        """The same seasons as they are known after `step` steps, 1 to T. Later steps are unobserved.

        Drivers that are known ahead do not change. Raises `InputError` if `step` is out of range.
        """
        if not 1 <= step <= self.steps:
            raise InputError(
                f"{self.name}: step {step} is out of range; the seasons have {self.steps} steps, so it must be 1 to "
                f"{self.steps}."
            )
        seen = np.arange(self.steps) < step
        ahead = seen | self.drivers_known[:, None]
        return replace(
            self,
            values=np.where(seen, self.values, np.float32(np.nan)),
            observed=self.observed & seen,
            drivers=np.where(ahead, self.drivers, np.float32(np.nan)),
            drivers_observed=self.drivers_observed & ahead,
        )

    @property
    def knows_harvest(self) -> bool:
        """Whether lead times count to the harvest. Otherwise they count to the end of the season."""
        return self.days_to_harvest is not None or self.harvest_days is not None

    def lead_days(self, step: int) -> float:
        """Days from the end of the first `step` steps to the harvest, negative after it.

        If places have different harvest days, this is the median over the samples.
        """
        until = self.steps * self.step_days if self.harvest_days is None else self.harvest_days
        if self.days_to_harvest is not None:
            until = float(np.median(self.days_to_harvest))
        return float(until - step * self.step_days)

    def fingerprint(self) -> str:
        """32 hex digits of xxh3-128 over everything that can change a result."""
        digest = xxhash.xxh3_128()
        digest.update(repr((self.variates, self.step_days, self.season_start, self.static_names)).encode())
        if self.cut != self.steps // 2:  # the default is not hashed, so that fingerprints of older caches stay valid
            digest.update(f"cut {self.cut}".encode())
        if self.driver_names:
            digest.update(repr((self.driver_names, self.driver_units, self.drivers_known.tolist())).encode())
        for values, observed in ((self.values, self.observed), (self.drivers, self.drivers_observed)):
            # + 0 turns -0.0 into 0.0.
            digest.update((np.where(observed, values, np.float32(0)) + np.float32(0)).tobytes())
            digest.update(observed.tobytes())
        for numbers in (self.target, self.year, self.static, self.history.year, self.history.target):
            digest.update(numbers.tobytes())
        if self.group_column is not None:
            digest.update(self.group.tobytes())
        sides = () if self.assigned is None else (self.assigned,)
        for names in (self.sample_id, self.place, self.history.place, *sides):
            digest.update("\0".join(names.tolist()).encode())
        return digest.hexdigest()

    def describe_seasons(self) -> dict[str, object]:
        """The kind of season of this table. A model trained on one kind must not be applied to another."""
        return {
            "variates": [f"{v.name} [{v.unit}]" for v in self.variates],
            "steps": self.steps,
            "cut": self.cut,
            "step_days": self.step_days,
            "season_start": self.season_start,
            "drivers": [
                f"{name} [{unit}]{' known ahead' * bool(known)}"
                for name, unit, known in zip(self.driver_names, self.driver_units, self.drivers_known, strict=True)
            ],
            "static": list(self.static_names),
        }

    def describe(self) -> str:
        """The first line about a table: its name and sizes, the median yield, and what was dropped."""
        sizes = plural(len(self), "sample"), plural(len(self.variates), "variate"), plural(self.steps, "step")
        yields = self.describe_yields()
        return f"{self.name}: {' x '.join(sizes)}. {yields}{yields and ' '}{self.describe_counts()}"

    def describe_yields(self) -> str:
        """A sentence with the median yield, which makes a wrong unit visible; empty if no yield is known."""
        known = self.target[np.isfinite(self.target)]
        if len(known) == 0:
            return ""
        median = float(np.median(known))
        low, high = USUAL_MEDIAN_YIELDS
        doubt = "" if low <= median <= high else " (unusual for grain: is the unit right?)"
        return f"Median yield {median:.3g} t/ha{doubt}."

    def describe_findings(self) -> str:
        """One line per finding, the worst first; empty if there are none."""
        return describe_findings(self.findings)

    def describe_counts(self) -> str:
        """One sentence per reason, for messages and reports."""
        return " ".join(f"{c.rows} x {c.reason}." for c in self.counts) or "Nothing was dropped."
