"""Learners of a yield anomaly on one fold. Each is fitted on some rows and forecasts others.

They are neural heads on frozen stage-1 features, and the learners of `model/learners`. `joint_training.py` has heads
and encoder that are trained together (stage 3, and stage 2 without a frozen encoder).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config import TimesCLIPConfig
from model.cross_fitting import best_epoch_of_all
from model.learners.features import BlockName, FeatureMap, Features
from model.learners.tabicl import Checkpoint
from model.learners.tabular import (
    BOOSTING,
    EXTRA_TREES,
    GP,
    GP_CONVOLUTIONS,
    GP_NO_YEAR,
    GP_POSITIONS,
    ON_CONVOLUTIONS,
    RIDGE,
    TABICL,
    Tabular,
    TabularRows,
)
from model.offset_choice import ChosenOffset
from model.season_tensors import SeasonTensors
from model.timesclip import TimesCLIP
from model.training.sampling import balancing_weights
from model.training.trainer import Listener, Trainer
from model.yield_head import AnomalyScale, HeadShape, YieldRows, refit_head, train_head
from pipeline.splits import Fold
from pipeline.table import SeasonTable
from stages.yields.fold_offset import Rows, known_in, offset_without_own
from stages.yields.yield_forecaster import NEURAL, Anomalies, Neural, encoded, static_of

LearnerName = Literal["ensemble", "neural", "gp", "trees", "ridge", "tabicl"]
MEMBERS: dict[LearnerName, tuple[str, ...]] = {
    "ensemble": (NEURAL, GP, GP_NO_YEAR, GP_CONVOLUTIONS, GP_POSITIONS, EXTRA_TREES, BOOSTING, RIDGE),
    "neural": (NEURAL,),
    "gp": (GP, GP_NO_YEAR, GP_POSITIONS),
    "trees": (EXTRA_TREES, BOOSTING),
    "ridge": (RIDGE,),
    "tabicl": (TABICL,),
}
KINDS = {
    NEURAL: "neural",
    GP: "gp",
    GP_NO_YEAR: "gp",
    GP_CONVOLUTIONS: "gp",
    GP_POSITIONS: "gp",
    EXTRA_TREES: "trees",
    BOOSTING: "trees",
    RIDGE: "ridge",
    TABICL: "tabicl",
}


QUANTILES = (0.05, 0.5, 0.95)


def head_shape(config: TimesCLIPConfig, season: SeasonTensors, table: SeasonTable, quantiles: bool) -> HeadShape:
    """The sizes of yield heads on an encoder's features of a season."""
    levels = QUANTILES if quantiles else ()
    windows, static = len(season.windows), len(table.static_names)
    return HeadShape(
        features=config.feature_dim,
        variates=config.variates,
        windows=windows,
        plain=config.plain_dim,
        static=static,
        quantiles=levels,
    )


def prior_weights(names: Sequence[str]) -> NDArray[np.float64]:
    """Equal weights for every kind of learner, shared equally by the learners of a kind: [L], sum 1."""
    kinds = [KINDS[name] for name in names]
    return np.array([1 / len(set(kinds)) / kinds.count(kind) for kind in kinds])


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Rows [n] of the table, the offset [n] without their own labels, and the anomaly from it [n], both t/ha."""

    rows: Rows
    offset: NDArray[np.float64]
    anomaly: NDArray[np.float64]

    @staticmethod
    def of(
        table: SeasonTable, fold: Fold, offset: ChosenOffset, rows: Rows, fitted: Rows | None = None
    ) -> LabelledRows:
        """Training rows, each with an offset that does not use its own year, place or yield (see `held_out_unit`).

        fitted: for rows that are left out of a fit, the rows [m] whose yields the offset uses instead.
        """
        if fitted is None:
            base = offset_without_own(table, fold, offset, rows)
        else:
            base = offset.predict(known_in(table, fold, fitted), table.place[rows], table.year[rows])
        return LabelledRows(rows, base, table.target[rows] - base)


@dataclass(frozen=True, eq=False)
class LeftOutPart:
    """Part `number` of the training rows, which is left out, and the other rows, which are fitted.

    The offset of the left-out rows uses the yields of the fitted rows alone.
    """

    number: int
    fit: LabelledRows
    left_out: LabelledRows


class YieldLearner(Protocol):
    """One kind of learner, for all readings of the season."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its forecasts."""
        ...

    def cross_fit(self, parts: Sequence[LeftOutPart]) -> list[list[dict[str, Anomalies]]]:
        """Forecasts of the left-out rows, t/ha, per part and reading, by learner."""
        ...


class NeuralHeads:
    """Yield heads on the features of both windows by a frozen stage-1 model.

    seasons  training seasons: as measured, views, then so far. `readings` are the numbers of those to forecast from.
    """

    names = (NEURAL,)

    def __init__(
        self,
        encoder: TimesCLIP,
        table: SeasonTable,
        seasons: Sequence[SeasonTensors],
        *,
        readings: Sequence[int],
        members: int,
        shape: HeadShape,
        trainer: Trainer,
        balance: bool,
        fold: str,
    ) -> None:
        self.encoder, self.table, self.readings = encoder, table, readings
        self.members, self.shape, self.trainer, self.balance, self.fold = members, shape, trainer, balance, fold
        self.tokens = [encoded(encoder, season) for season in seasons]
        self.present = [season.present.cpu() for season in seasons]
        self.static = static_of(seasons[0])
        self.epochs = 0

    def cross_fit(self, parts: Sequence[LeftOutPart]) -> list[list[dict[str, Anomalies]]]:
        """See `YieldLearner`. The number of epochs is the one with the least error over all parts."""
        curves, forecasts, scales = [], [], []
        for part in parts:
            scale = AnomalyScale.fit(part.fit.anomaly)
            train = [self.rows_of(number, part.fit, scale) for number in range(len(self.tokens))]
            left_out = YieldRows.joined([self.rows_of(number, part.left_out, scale) for number in self.readings])
            phase = f"{self.fold} without part {part.number}/parts"
            _, fit = train_head(
                self.members,
                self.shape,
                train,
                valid=left_out,
                trainer=self.trainer,
                phase=phase,
                weights=self.weights(part.fit),
            )
            if fit.interrupted:
                raise KeyboardInterrupt
            assert fit.forecasts is not None
            curves.append(scale.spread**2 * np.array(fit.scores))
            forecasts.append(fit.forecasts)
            scales.append(scale)
        self.epochs = best_epoch_of_all(curves, np.array([len(part.left_out.rows) for part in parts]))
        anomalies = []
        for part, forecast, scale in zip(parts, forecasts, scales, strict=True):
            each = torch.split(forecast[self.epochs], len(part.left_out.rows))
            anomalies.append([{NEURAL: Anomalies.of(scale.inverse(one))} for one in each])
        return anomalies

    def fit(self, rows: LabelledRows, phase: str) -> Neural:
        """Fit the rows for the chosen number of epochs."""
        scale = AnomalyScale.fit(rows.anomaly)
        train = [self.rows_of(number, rows, scale) for number in range(len(self.tokens))]
        name, weights = f"{self.fold}{phase}/refit", self.weights(rows)
        heads = refit_head(
            self.members, self.shape, train, trainer=self.trainer, phase=name, epochs=self.epochs, weights=weights
        )
        return Neural(self.encoder, heads, scale)

    def rows_of(self, number: int, rows: LabelledRows, scale: AnomalyScale) -> YieldRows:
        """The features of some rows in one of the seasons, the input of the heads."""
        at = torch.from_numpy(rows.rows)
        static = None if self.static is None else self.static[at]
        return YieldRows(self.tokens[number][at], self.present[number][at], scale.apply(rows.anomaly), static)

    def weights(self, rows: LabelledRows) -> Tensor | None:
        """Sampling weights of the rows, in proportion."""
        return balancing_weights(self.table.target[rows.rows]) if self.balance else None


class TabularLearners:
    """Gaussian processes, trees, ridge and TabICL on features of the season, fitted separately for each reading.

    seasons   as measured, then so far. `readings` are the indices of the season of each reading.

    Means, standard deviations and components of the features come from all training rows of the fold, but not from
    their labels. Everything that depends on labels is fitted anew in every part.
    """

    def __init__(
        self,
        names: Sequence[str],
        table: SeasonTable,
        seasons: Sequence[SeasonTensors],
        *,
        readings: Sequence[int],
        blocks: Sequence[BlockName],
        encoder: TimesCLIP | None,
        rows: Rows,
        seed: int,
        quantiles: bool,
        device: torch.device,
        listener: Listener,
        fold: str,
        checkpoint: Checkpoint | None,
    ) -> None:
        self.listener, self.fold, self.checkpoint = listener, fold, checkpoint
        self.names, self.table, self.readings = tuple(names), table, readings
        self.seed, self.quantiles, self.device, self.blocks = seed, quantiles, device, blocks
        convolved = any(name in ON_CONVOLUTIONS for name in names) and "convolutions" not in blocks
        mapped = (*blocks, "convolutions") if convolved else blocks
        self.maps: list[FeatureMap] = []
        self.features: list[Features] = []
        for season in seasons:
            tokens = encoded(encoder, season) if "tokens" in blocks and encoder is not None else None
            self.maps.append(FeatureMap.fit(season, rows, mapped, tokens, seed))
            self.features.append(self.maps[-1].apply(season, tokens))

    def cross_fit(self, parts: Sequence[LeftOutPart]) -> list[list[dict[str, Anomalies]]]:
        """See `YieldLearner`."""
        anomalies: list[list[dict[str, Anomalies]]] = []
        every = len(parts) * len(self.maps)
        for part in parts:
            each = []
            for number in range(len(self.maps)):
                each.append(self._left_out(number, part))
                done = len(anomalies) * len(self.maps) + len(each)
                self.listener.on_step(f"{self.fold}/learners", 1, done, every)
            anomalies.append([each[number] for number in self.readings])
        return anomalies

    def _left_out(self, number: int, part: LeftOutPart) -> dict[str, Anomalies]:
        forecasts = self._fit(number, part.fit).forecast(self._rows(number, part.left_out))
        return {name: Anomalies.of(columns) for name, columns in forecasts.items()}

    def fit(self, rows: LabelledRows) -> list[Tabular]:
        """Fit the rows, once per reading."""
        each = []
        for number in range(len(self.maps)):
            each.append(self._fit(number, rows))
            self.listener.on_step(f"{self.fold}/last", 1, len(each), len(self.maps))
        return [each[number] for number in self.readings]

    def _fit(self, number: int, rows: LabelledRows) -> Tabular:
        return Tabular.fit(
            self.maps[number],
            self._rows(number, rows),
            rows.anomaly,
            self.names,
            blocks=self.blocks,
            seed=self.seed,
            quantiles=self.quantiles,
            device=self.device,
            checkpoint=self.checkpoint,
        )

    def _rows(self, number: int, rows: LabelledRows) -> TabularRows:
        at, table = rows.rows, self.table
        position = None if table.position is None else table.position[at]
        return TabularRows(self.features[number].rows(at), table.place[at], table.year[at], rows.offset, position)
