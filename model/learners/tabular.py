"""Learners on features of the season: Gaussian processes, trees, ridge and TabICL, fitted and saved as one set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

from model.learners.features import FeatureMap, Features
from model.learners.gaussian_process import NEARNESS, GaussianProcess, GPRows
from model.learners.linear import LinearMap
from model.learners.tabicl import Checkpoint, InContext
from model.learners.trees import Forest, ForestName

GP, GP_NO_YEAR, GP_CONVOLUTIONS = "gp", "gp without year effect", "gp on convolutions"
GP_POSITIONS = "gp with positions"
EXTRA_TREES, BOOSTING = "extra trees", "boosting"
RIDGE = "ridge on convolutions"
TABICL = "tabicl"
EFFECTS: Mapping[str, tuple[str, ...]] = {GP: ("year",), GP_NO_YEAR: (), GP_CONVOLUTIONS: ("year",),
                                           GP_POSITIONS: ("year", *NEARNESS)}  # fmt: skip
CONVOLUTIONS = "convolutions"
ON_CONVOLUTIONS = (GP_CONVOLUTIONS, RIDGE)  # whatever blocks the other learners read
FORESTS: Mapping[str, ForestName] = {EXTRA_TREES: "extra-trees", BOOSTING: "boosting"}
NORMAL_90 = 1.6448536  # standard deviations to the 5 and 95 % quantiles
STEPS = 15  # L-BFGS iterations
NEW = -1  # code of a place or year without training rows
EARTH = 6371.0  # mean radius, km
REACH = 2 * max(NEARNESS.values())  # in units of position; the correlation there is at most 0.14

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TabularRows:
    """n samples for these learners: features, place, year [n], offset [n] in t/ha.

    The offset of a training row does not use the row's own label. position [n,2]: longitude and latitude in degrees,
    NaN if unknown; only for learners with positions
    """

    features: Features
    place: NDArray[np.str_]
    year: NDArray[np.int64]
    offset: Numbers
    position: Numbers | None = None

    def rows(self, index: NDArray[np.int64]) -> TabularRows:
        """The samples of `index` [m]."""
        position = None if self.position is None else self.position[index]
        features = self.features.rows(index)
        return TabularRows(features, self.place[index], self.year[index], self.offset[index], position)

    def columns(self) -> Numbers:
        """[n,C+1] for trees and TabICL: the features' columns and the offset."""
        return np.column_stack([self.features.columns, self.offset])

    def convolved(self) -> NDArray[np.float32]:
        """[n,p] for ridge: random convolutions of the series."""
        columns: NDArray[np.float32] = self.features.blocks[CONVOLUTIONS].numpy()
        return columns

    def processes(self, blocks: Sequence[str], places: Mapping[str, int], apart: float | None) -> GPRows:
        """For Gaussian processes that read `blocks`.

        places: codes of the places with training rows. apart: unit of the positions, km; None if they are not read.
        """
        codes = np.array([places.get(name, NEW) for name in self.place.tolist()], np.int64)
        chosen = {name: self.features.blocks[name] for name in blocks}
        position = None if apart is None or self.position is None else torch.from_numpy(on_globe(self.position) / apart)
        return GPRows(chosen, torch.from_numpy(self.year.copy()), torch.from_numpy(codes), position)


@dataclass(frozen=True, eq=False)
class Tabular:
    """Fitted learners by name, with the feature map that they share.

    mean, spread  mean and standard deviation of the training anomalies, t/ha: the unit of the Gaussian processes
    blocks        feature blocks that the Gaussian processes read, except the one on convolutions
    places        codes of the places with training rows
    apart         distance of neighbouring training places, km: the unit of positions; None if no learner reads them
    quantiles     whether forecasts have a 5 and a 95 % quantile
    context       the training rows that TabICL reads, if it is a learner
    """

    map: FeatureMap
    blocks: tuple[str, ...]
    processes: Mapping[str, GaussianProcess]
    forests: Mapping[str, Forest]
    ridges: Mapping[str, LinearMap]
    mean: float
    spread: float
    places: Mapping[str, int]
    quantiles: bool
    shares: Mapping[str, Mapping[str, float]]
    apart: float | None = None
    context: InContext | None = None

    @property
    def reads_tokens(self) -> bool:
        """Whether the learners read stage-1 features."""
        return "tokens" in self.map.names

    @staticmethod
    def fit(
        map: FeatureMap,
        rows: TabularRows,
        anomaly: Numbers,
        names: Sequence[str],
        *,
        blocks: Sequence[str] | None = None,
        seed: int = 0,
        quantiles: bool = False,
        device: torch.device | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> Tabular:
        """Fit the learners of `names` to the anomalies [n] of training rows, t/ha.

        blocks: the blocks of the map that Gaussian processes read; all by default. checkpoint: weights of TabICL.
        """
        read_blocks = tuple(name for name in map.names if blocks is None or name in blocks)
        mean, spread = float(anomaly.mean()), float(anomaly.std())
        spread = spread if spread > 1e-9 else 1.0
        places = {name: code for code, name in enumerate(np.unique(rows.place).tolist())}
        device = device or torch.device("cpu")
        apart = distance_of_neighbours(rows.position) if GP_POSITIONS in names and rows.position is not None else None
        gp_rows = rows.processes(_read_by_processes(read_blocks, names), places, apart).to(device)
        target = torch.from_numpy((anomaly - mean) / spread).to(device)
        processes = {
            name: GaussianProcess.fit(
                gp_rows, target, EFFECTS[name], steps=STEPS, seed=seed, blocks=_blocks(name, read_blocks)
            )
            for name in names
            if name in EFFECTS
        }
        forests = {name: Forest.fit(FORESTS[name], rows.columns(), anomaly, seed) for name in names if name in FORESTS}
        ridges = {name: LinearMap.fit(rows.convolved(), anomaly, rows.year) for name in names if name == RIDGE}
        shares = {name: one.kernel.shares(gp_rows) for name, one in processes.items()}
        context = None
        if TABICL in names:
            assert checkpoint is not None
            context = InContext(rows.columns(), anomaly, checkpoint, seed, device)
        return Tabular(
            map=map,
            blocks=read_blocks,
            processes=processes,
            forests=forests,
            ridges=ridges,
            mean=mean,
            spread=spread,
            places=places,
            quantiles=quantiles,
            shares=shares,
            apart=apart,
            context=context,
        )

    def forecast(self, rows: TabularRows) -> dict[str, Numbers]:
        """Anomalies in t/ha by learner, [n,1] or [n,3] with quantiles. The features are those of `map`."""
        gp_rows = rows.processes(_read_by_processes(self.blocks, tuple(self.processes)), self.places, self.apart)
        forecasts = {}
        for name, process in self.processes.items():
            point, deviation = (one.numpy() * self.spread for one in process.predict(gp_rows))
            point = point + self.mean
            quantiles = [point - NORMAL_90 * deviation, point + NORMAL_90 * deviation] if self.quantiles else []
            forecasts[name] = np.column_stack([point, *quantiles])
        forecasts |= {name: forest.predict(rows.columns())[:, None] for name, forest in self.forests.items()}
        forecasts |= {name: ridge.predict(rows.convolved())[:, None] for name, ridge in self.ridges.items()}
        if self.context is not None:
            forecasts[TABICL] = self.context.predict(rows.columns(), self.quantiles)
        return forecasts

    def within_reach(self, position: Numbers) -> NDArray[np.bool_]:
        """[n]: whether a position [n,2] in degrees is known and lies within REACH of one of a base row.

        Base rows are those that new rows are compared with (`GaussianProcess.base`).
        """
        base = self.processes[GP_POSITIONS].base.position
        assert base is not None
        assert self.apart is not None
        return _near(position, base.cpu().numpy(), self.apart)

    def year_spread(self) -> float | None:
        """Standard deviation of the shock that all places share in a year, t/ha; None without a year effect."""
        process = self.processes.get(GP)
        return None if process is None else self.spread * float(np.exp(0.5 * process.kernel.effects["year"]))

    def state(self) -> dict[str, Tensor]:
        """For safetensors."""
        parts = {"map": self.map.state()}
        if self.processes:  # all have the same base rows
            parts["base"] = next(iter(self.processes.values())).base.state()
        parts |= {f"gp.{name}": one.state() for name, one in self.processes.items()}
        parts |= {f"forest.{name}": one.state() for name, one in self.forests.items()}
        parts |= {f"ridge.{name}": one.state() for name, one in self.ridges.items()}
        parts |= {} if self.context is None else {TABICL: self.context.state()}
        return {f"{part}.{key}": tensor for part, state in parts.items() for key, tensor in state.items()}

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "map": self.map.record(),
            "processes": {name: one.record() for name, one in self.processes.items()},
            "blocks": list(self.blocks),
            "forests": list(self.forests),
            "ridges": list(self.ridges),
            "mean": self.mean,
            "spread": self.spread,
            "places": dict(self.places),
            "quantiles": self.quantiles,
            "shares": {name: dict(one) for name, one in self.shares.items()},
            "apart": self.apart,
            TABICL: None if self.context is None else self.context.record(),
        }

    @staticmethod
    def from_state(record: Mapping[str, Any], state: Mapping[str, Tensor]) -> Tabular:
        """Inverse of `state` and `record`."""

        def part(name: str) -> dict[str, Tensor]:
            return {key.removeprefix(f"{name}."): t for key, t in state.items() if key.startswith(f"{name}.")}

        context = record.get(TABICL)
        base = GPRows.from_state(part("base")) if record["processes"] else GPRows({}, torch.empty(0), torch.empty(0))
        return Tabular(
            map=FeatureMap.from_state(record["map"], part("map")),
            blocks=tuple(record["blocks"]),
            processes={
                name: GaussianProcess.from_state(one, part(f"gp.{name}"), base)
                for name, one in record["processes"].items()
            },
            forests={name: Forest.from_state(part(f"forest.{name}")) for name in record["forests"]},
            ridges={name: LinearMap.from_state(part(f"ridge.{name}")) for name in record["ridges"]},
            mean=record["mean"],
            spread=record["spread"],
            places=record["places"],
            quantiles=record["quantiles"],
            shares=record["shares"],
            apart=record.get("apart"),  # older runs have none
            context=None if context is None else InContext.from_state(context, part(TABICL)),
        )


def on_globe(position: Numbers) -> Numbers:
    """Longitude and latitude in degrees [n,2] -> coordinates on a sphere, km [n,3]."""
    longitude, latitude = np.radians(position).T
    across = np.cos(latitude)
    axes = np.column_stack([across * np.cos(longitude), across * np.sin(longitude), np.sin(latitude)])
    return np.asarray(EARTH * axes, np.float64)


def distance_of_neighbours(position: Numbers) -> float:
    """Median distance in km from a position [n,2] in degrees to the nearest other one; at least 10 m."""
    distinct = on_globe(np.unique(position[~np.isnan(position).any(1)], axis=0))
    if len(distinct) < 2:
        return 1.0
    nearest, _ = KDTree(distinct).query(distinct, k=2)
    return max(0.01, float(np.median(nearest[:, 1])))


def within_reach(position: Numbers, known: Numbers) -> NDArray[np.bool_]:
    """[n]: whether a position [n,2] is known and lies within REACH of one of the positions `known` [m,2]; degrees.

    As `Tabular.within_reach` of learners that are fitted on rows at these positions, if all of these are base rows.
    """
    apart = distance_of_neighbours(known)
    return _near(position, on_globe(known) / apart, apart)


def _near(position: Numbers, known: Numbers, apart: float) -> NDArray[np.bool_]:
    """[n]: whether a position [n,2] in degrees lies within REACH of one of `known` [m,3], in units of `apart` km."""
    found, there = known[~np.isnan(known).any(1)], ~np.isnan(position).any(1)
    near = np.zeros(len(position), bool)
    if len(found):
        near[there] = KDTree(found).query(on_globe(position[there]) / apart)[0] <= REACH
    return near


def _blocks(name: str, blocks: Sequence[str]) -> tuple[str, ...]:
    """The blocks that a Gaussian process reads."""
    if name not in ON_CONVOLUTIONS:
        return tuple(blocks)
    return (*(block for block in blocks if block == "numbers"), CONVOLUTIONS)


def _read_by_processes(blocks: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """The blocks that all Gaussian processes of `names` read, together."""
    read = [block for name in names if name in EFFECTS for block in _blocks(name, blocks)]
    return tuple(dict.fromkeys(read))
