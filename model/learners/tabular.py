"""Learners on features of the season: Gaussian processes and trees, fitted and kept together, one reading at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.learners.features import FeatureMap, Features
from model.learners.gaussian_process import GaussianProcess, GPRows, Kernel
from model.learners.trees import Forest
from model.seasons import Season

GP, GP_NO_YEAR = "gp", "gp without year effect"
EXTRA_TREES, BOOSTING = "extra trees", "boosting"
EFFECTS: Mapping[str, tuple[str, ...]] = {GP: ("year",), GP_NO_YEAR: ()}
FORESTS = {EXTRA_TREES: "extra-trees", BOOSTING: "boosting"}
NORMAL_90 = 1.6448536  # standard deviations to the 5 and 95 % quantiles
STEPS, STEPS_AGAIN = 20, 5  # L-BFGS iterations: from the start, and from a kernel of almost the same rows
NEW = -1  # code of a place or year that was not learnt from

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TabularInputs:
    """Seasons as learners on features read them: place, year [n], offset [n] in t/ha, tokens [n,V,F] or None."""

    season: Season
    place: NDArray[np.str_]
    year: NDArray[np.int64]
    offset: Numbers
    tokens: Tensor | None = None


@dataclass(frozen=True, eq=False)
class TabularRows:
    """n training rows: features, place, year, offset without their own labels and anomaly from it, t/ha."""

    features: Features
    place: NDArray[np.str_]
    year: NDArray[np.int64]
    offset: Numbers
    anomaly: Numbers


@dataclass(frozen=True, eq=False)
class Tabular:
    """Fitted learners by name, with the feature map that they share.

    mean, spread  of the training anomalies, t/ha: the unit of the Gaussian processes
    places        codes of the places that were learnt from
    quantiles     whether forecasts have a 5 and a 95 % quantile
    """

    map: FeatureMap
    processes: Mapping[str, GaussianProcess]
    forests: Mapping[str, Forest]
    mean: float
    spread: float
    places: Mapping[str, int]
    quantiles: bool
    shares: Mapping[str, Mapping[str, float]]

    @property
    def reads_tokens(self) -> bool:
        """Whether stage-1 features are read."""
        return "tokens" in self.map.names

    @staticmethod
    def fit(
        map: FeatureMap,
        rows: TabularRows,
        names: Sequence[str],
        seed: int,
        quantiles: bool = False,
        device: torch.device | None = None,
        start: Tabular | None = None,
    ) -> Tabular:
        """Fit the learners of `names`; start: the same ones fitted on almost the same rows, to go on from."""
        mean, spread = float(rows.anomaly.mean()), float(rows.anomaly.std())
        spread = spread if spread > 1e-9 else 1.0
        places = {name: code for code, name in enumerate(np.unique(rows.place).tolist())}
        device = device or torch.device("cpu")
        read = _gp_rows(rows.features, rows.place, rows.year, places).to(device)
        anomaly = torch.from_numpy((rows.anomaly - mean) / spread).to(device)
        processes: dict[str, GaussianProcess] = {}
        for name in names:
            if name in EFFECTS:
                before: Kernel | None = None if start is None else start.processes[name].kernel
                steps = STEPS if start is None else STEPS_AGAIN
                processes[name] = GaussianProcess.fit(read, anomaly, EFFECTS[name], before, steps, seed)
        columns = np.column_stack([rows.features.columns, rows.offset])
        forests = {
            name: Forest.fit(FORESTS[name], columns, rows.anomaly, seed)  # type: ignore[arg-type]
            for name in names
            if name in FORESTS
        }
        shares = {name: one.kernel.shares(read) for name, one in processes.items()}
        return Tabular(map, processes, forests, mean, spread, places, quantiles, shares)

    def forecast(self, inputs: TabularInputs, features: Features | None = None) -> dict[str, Numbers]:
        """By learner [n,1], or [n,3] with quantiles: anomalies in t/ha. features: of `inputs`, where they are known."""
        features = features or self.map.apply(inputs.season, inputs.tokens)
        rows = _gp_rows(features, inputs.place, inputs.year, self.places)
        found: dict[str, Numbers] = {}
        for name, process in self.processes.items():
            point, deviation = (one.numpy() * self.spread for one in process.predict(rows))
            point = point + self.mean
            quantiles = [point - NORMAL_90 * deviation, point + NORMAL_90 * deviation] if self.quantiles else []
            found[name] = np.column_stack([point, *quantiles])
        columns = np.column_stack([features.columns, inputs.offset])
        return found | {name: forest.predict(columns)[:, None] for name, forest in self.forests.items()}

    def year_spread(self) -> float | None:
        """Standard deviation of the shock that all places of a year share, t/ha; None without a year effect."""
        process = self.processes.get(GP)
        return None if process is None else self.spread * float(np.exp(0.5 * process.kernel.effects["year"]))

    def state(self) -> dict[str, Tensor]:
        """For safetensors."""
        parts = {"map": self.map.state()}
        if self.processes:  # they were fitted on the same rows
            parts["base"] = next(iter(self.processes.values())).base.state()
        parts |= {f"gp.{name}": one.state() for name, one in self.processes.items()}
        parts |= {f"forest.{name}": one.state() for name, one in self.forests.items()}
        return {f"{part}.{key}": tensor for part, state in parts.items() for key, tensor in state.items()}

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "map": self.map.record(),
            "processes": {name: one.record() for name, one in self.processes.items()},
            "forests": list(self.forests),
            "mean": self.mean,
            "spread": self.spread,
            "places": dict(self.places),
            "quantiles": self.quantiles,
            "shares": {name: dict(one) for name, one in self.shares.items()},
        }

    @staticmethod
    def from_state(record: Mapping[str, Any], state: Mapping[str, Tensor]) -> Tabular:
        """Inverse of `state` and `record`."""

        def part(name: str) -> dict[str, Tensor]:
            return {key.removeprefix(f"{name}."): t for key, t in state.items() if key.startswith(f"{name}.")}

        base = GPRows.from_state(part("base")) if record["processes"] else GPRows({}, torch.empty(0), torch.empty(0))
        return Tabular(
            FeatureMap.from_state(record["map"], part("map")),
            {
                name: GaussianProcess.from_state(one, part(f"gp.{name}"), base)
                for name, one in record["processes"].items()
            },
            {name: Forest.from_state(part(f"forest.{name}")) for name in record["forests"]},
            record["mean"],
            record["spread"],
            record["places"],
            record["quantiles"],
            record["shares"],
        )


def _gp_rows(features: Features, place: NDArray[np.str_], year: NDArray[np.int64], places: Mapping[str, int]) -> GPRows:
    codes = np.array([places.get(name, NEW) for name in place.tolist()], np.int64)
    return GPRows(features.blocks, torch.from_numpy(year.copy()), torch.from_numpy(codes))
