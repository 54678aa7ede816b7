"""The forecaster of a fold, from a season to t/ha; a run of stage 2 or 3 saves it and predict.py loads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.completion_task import continued, features, with_errors
from model.learners.tabular import Tabular, TabularRows
from model.offset import KnownYields
from model.offset_choice import ChosenOffset
from model.season_tensors import SeasonTensors
from model.timesclip import TimesCLIP
from model.yield_head import AnomalyScale, HeadShape, YieldEnsemble, YieldRows, predict
from pipeline.table import SeasonTable
from report.run import RunFolder
from stages.yields.fold_offset import Rows

FEATURE_BATCH = 256
NEURAL = "neural"

Tonnes = NDArray[np.float64]  # t/ha


class Yields(NamedTuple):
    """Forecasts [n] in t/ha with their 90 % interval, never negative."""

    pred: Tonnes
    lo: Tonnes
    hi: Tonnes

    def shortfall(self, target: Tonnes) -> Tonnes:
        """Distance of each yield [n] from its interval, t/ha; negative inside."""
        return np.maximum(self.lo - target, target - self.hi)


@dataclass(frozen=True, eq=False)
class Anomalies:
    """Forecast deviations from the offset, t/ha [n]: the point, and a low and a high quantile.

    Both quantiles equal the point if a learner has no spread.
    """

    point: Tonnes
    low: Tonnes
    high: Tonnes

    @staticmethod
    def of(columns: Tonnes) -> Anomalies:
        """From the point and any quantiles [n,O]."""
        point = columns[:, 0]
        if columns.shape[1] == 1:
            return Anomalies(point, point, point)
        return Anomalies(point, columns[:, 1:].min(1), columns[:, 1:].max(1))

    def rows(self, some: NDArray[np.bool_]) -> Anomalies:
        """Those of the rows of a mask [n]."""
        return Anomalies(self.point[some], self.low[some], self.high[some])


def combined(
    offset: Tonnes, members: Mapping[str, Anomalies], weights: Mapping[str, float | Tonnes], margin: float
) -> Yields:
    """The weighted mean of the members added to the offset [n], t/ha; the offset gets the rest of the weight.

    A weight is one number, or one per row [n]. Quantiles keep their mean distance from the point; `margin` is added on
    both sides.
    """
    point = offset + sum((weights[name] * one.point for name, one in members.items()), np.zeros(len(offset)))
    spread = [one for one in members.values() if not np.array_equal(one.low, one.high)]
    below = np.mean([one.point - one.low for one in spread], axis=0) if spread else 0.0
    above = np.mean([one.high - one.point for one in spread], axis=0) if spread else 0.0
    pred = np.maximum(point, 0.0)
    low, high = np.maximum(point - below - margin, 0.0), np.maximum(point + above + margin, 0.0)
    return Yields(pred, np.minimum(low, pred), np.maximum(high, pred))


@dataclass(frozen=True)
class ReadingFit:
    """Fitted combination for one reading of the season: after `step` steps (None: all), completed or left open.

    margin    t/ha added on both sides of the interval
    weights   of the members by name; the offset gets the rest
    unplaced  weights and margin for samples without a usable position, if a member reads positions
    """

    step: int | None
    completed: bool
    margin: float
    weights: Mapping[str, float]
    unplaced: ReadingFit | None = None

    def combine(self, offset: Tonnes, members: Mapping[str, Anomalies], placed: NDArray[np.bool_] | None) -> Yields:
        """Forecasts of n samples. placed [n]: whether the position of a sample can be used; None: of all."""
        found = combined(offset, members, self.weights, self.margin)
        if self.unplaced is None or placed is None or placed.all():
            return found
        other = combined(offset, members, self.unplaced.weights, self.unplaced.margin)
        return Yields(*(np.where(placed, here, there) for here, there in zip(found, other, strict=True)))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        record = {**asdict(self), "weights": dict(self.weights)}
        if self.unplaced is None:
            del record["unplaced"]
        return record

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> ReadingFit:
        """Inverse of `to_dict`."""
        unplaced = record.get("unplaced")
        return ReadingFit(**{**record, "unplaced": None if unplaced is None else ReadingFit(**unplaced)})


@dataclass(frozen=True, eq=False)
class Neural:
    """Yield heads on an encoder.

    scale      mean and standard deviation of the training anomalies
    completer  the stage-1 model that computes the completion's errors, if the encoder reads them beside the season
    """

    encoder: TimesCLIP
    heads: YieldEnsemble
    scale: AnomalyScale
    completer: TimesCLIP | None = None

    def forecast(self, season: SeasonTensors) -> Anomalies:
        """Anomalies of every sample. season: as in the training of the completer or the encoder."""
        if self.completer is not None:
            season = with_errors(self.completer, season, FEATURE_BATCH)
        tokens = encoded(self.encoder, season)
        rows = YieldRows(tokens, season.present.cpu(), torch.zeros(len(tokens)), static_of(season))
        return Anomalies.of(self.scale.inverse(predict(self.heads, rows)))

    def modules(self) -> dict[str, TimesCLIP | YieldEnsemble]:
        """The modules by the names under which their weights are saved."""
        modules: dict[str, TimesCLIP | YieldEnsemble] = {"encoder": self.encoder, "head": self.heads}
        return modules if self.completer is None else modules | {"completer": self.completer}

    def to_dict(self) -> dict[str, Any]:
        """Everything except the weights, for fitted.json."""
        return {
            "scale": asdict(self.scale),
            "members": self.heads.members,
            "shape": asdict(self.heads.shape),
            "encoder": self.encoder.describe(),
            "completer": None if self.completer is None else self.completer.describe(),
        }

    @staticmethod
    def load(run: RunFolder, fold: str, record: Mapping[str, Any], heads_name: str) -> Neural:
        """Load the model of one fold of a run. heads_name: which of the saved heads (`head` or `first`)."""
        ensemble = YieldEnsemble(record["members"], HeadShape.from_dict(record["shape"]))
        ensemble.load_state_dict(run.read_weights(f"{fold}/{heads_name}."))
        completer = record["completer"]
        return Neural(
            encoder=load_encoder(run, fold, record["encoder"], "encoder"),
            heads=ensemble,
            scale=AnomalyScale(**record["scale"]),
            completer=None if completer is None else load_encoder(run, fold, completer, "completer"),
        )


def encoded(encoder: TimesCLIP, season: SeasonTensors) -> Tensor:
    """Stage-1 features of every window for the yield heads, side by side: [n,V,windows * F]."""
    return torch.cat([features(encoder, window, FEATURE_BATCH) for window in season.windows], dim=-1)


def static_of(season: SeasonTensors) -> Tensor | None:
    """Static numbers [n,S] on the CPU, or None."""
    return None if season.static is None else season.static.cpu()


@dataclass(frozen=True, eq=False)
class Forecaster:
    """Offset, fitted learners and their weights, of one fold.

    neural    encoder and yield heads, if they are a member
    tabular   learners on features of the season, one per entry of `readings`; empty if none is a member
    readings  the whole season first, then as known after each step
    at        index of the reading in use
    measured  the number of known steps, if there may be more than the reading in use has; None: as many
    """

    offset: ChosenOffset
    known: KnownYields
    neural: Neural | None
    tabular: tuple[Tabular, ...] = ()
    readings: tuple[ReadingFit, ...] = ()
    at: int = 0
    measured: int | None = None

    @property
    def reading(self) -> ReadingFit:
        """The reading in use."""
        return self.readings[self.at]

    def as_of(self, step: int) -> Forecaster:
        """The same forecaster after `step` known steps: the latest of its readings that is not after them."""
        at = max(
            (one.step, number) for number, one in enumerate(self.readings) if one.step is not None and one.step <= step
        )
        return replace(self, at=at[1], measured=step)

    def forecast(self, table: SeasonTable, season: SeasonTensors, index: Rows | None = None) -> Yields:
        """Forecasts of the samples of `index` [n] (default: all). Their labels are not read, other samples not encoded.

        season: of the whole table, as known now.
        """
        base, members = self.anomalies(table, season, index)
        return self.combine(table if index is None else table.rows(index), base, members)

    def combine(self, table: SeasonTable, base: Tonnes, members: Mapping[str, Anomalies]) -> Yields:
        """Forecasts of the samples of `table`, from what `anomalies` returns for them."""
        return self.reading.combine(base, members, self.placed(table))

    def placed(self, table: SeasonTable) -> NDArray[np.bool_] | None:
        """[N]: whether a sample lies near enough to training places; None if no learner in use reads positions."""
        if not self.tabular or self.tabular[self.at].apart is None or self.reading.unplaced is None:
            return None
        if table.position is None:
            return np.zeros(len(table), bool)
        return self.tabular[self.at].within_reach(table.position)

    def anomalies(
        self, table: SeasonTable, season: SeasonTensors, index: Rows | None = None
    ) -> tuple[Tonnes, dict[str, Anomalies]]:
        """The offset [n] and each member's forecast relative to it, t/ha; arguments as in `forecast`."""
        if index is not None:
            table, season = table.rows(index), season.rows(torch.from_numpy(index))
        base = self.offset.predict(self.known, table.place, table.year)
        return base, self._members(table, season, base)

    def _members(self, table: SeasonTable, season: SeasonTensors, base: Tonnes) -> dict[str, Anomalies]:
        """Each member's forecast of every sample relative to the offset `base` [n], t/ha."""
        members: dict[str, Anomalies] = {}
        if self.neural is not None:
            reading, read_season = self.readings[self.at] if self.readings else None, season
            if reading is not None and reading.completed and reading.step is not None:
                known = reading.step if self.measured is None else self.measured  # what is measured is not completed
                read_season = continued(self.neural.encoder, season, known, FEATURE_BATCH)
            members[NEURAL] = self.neural.forecast(read_season)
        if self.tabular:
            tabular = self.tabular[self.at]
            tokens = None
            if tabular.reads_tokens and self.neural is not None:
                tokens = encoded(self.neural.encoder, season)
            position = np.full((len(table), 2), np.nan) if table.position is None else table.position
            rows = TabularRows(tabular.map.apply(season, tokens), table.place, table.year, base, position)
            members |= {name: Anomalies.of(columns) for name, columns in tabular.forecast(rows).items()}
        return members

    def to_dict(self) -> dict[str, Any]:
        """Everything except the weights, for fitted.json."""
        return {
            "offset": self.offset.to_dict(),
            "known": self.known.to_dict(),
            "readings": [one.to_dict() for one in self.readings],
            "tabular": [one.record() for one in self.tabular],
            **({} if self.neural is None else self.neural.to_dict()),
        }

    def weights(self) -> dict[str, Tensor]:
        """Weights by the names that `load` reads."""
        modules = {} if self.neural is None else self.neural.modules()
        neural_weights = {
            f"{name}.{key}": tensor for name, module in modules.items() for key, tensor in module.state_dict().items()
        }
        return neural_weights | {
            f"tabular.{number}.{key}": tensor
            for number, one in enumerate(self.tabular)
            for key, tensor in one.state().items()
        }

    @staticmethod
    def load(run: RunFolder, fold: str, heads_name: str = "head") -> Forecaster:
        """Load the forecaster of one fold of a run. heads_name: which of the saved heads (`head` or `first`)."""
        record = run.read_json("fitted.json")[fold]["forecaster"]
        return Forecaster(
            offset=ChosenOffset.from_dict(record["offset"]),
            known=KnownYields.from_dict(record["known"]),
            neural=Neural.load(run, fold, record, heads_name) if "encoder" in record else None,
            tabular=tuple(
                Tabular.from_state(one, run.read_weights(f"{fold}/tabular.{number}."))
                for number, one in enumerate(record.get("tabular", ()))
            ),
            readings=tuple(ReadingFit.from_dict(one) for one in record.get("readings") or readings_before(record)),
        )


def readings_before(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`readings` of a run made by an earlier version, in which the heads were the only learner."""
    every = [(None, record["margin"], record["kept"]), *record["early"]]
    return [
        {
            "step": step,
            "completed": bool(record["completes"] and step is not None),
            "margin": margin,
            "weights": {NEURAL: share},
        }
        for step, margin, share in every
    ]


def load_encoder(run: RunFolder, fold: str, record: Mapping[str, Any], name: str) -> TimesCLIP:
    """A frozen model of one fold of a run."""
    model = TimesCLIP.described(record)
    model.load_state_dict(run.read_weights(f"{fold}/{name}."))
    return model.eval().requires_grad_(False)
