"""What turns a season into t/ha: a run of stage 2 or 3 keeps one of each fold, and predict.py loads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.completion import continued, features, with_errors
from model.offset import KnownYields, Offset
from model.seasons import Season
from model.timesclip import TimesCLIP
from model.yields import AnomalyScale, HeadShape, YieldEnsemble, YieldRows, predict
from pipeline.table import SeasonTable
from report.run import RunFolder
from stages.offsets import Rows

FEATURE_BATCH = 256

Tonnes = NDArray[np.float64]  # t/ha


class Yields(NamedTuple):
    """Forecasts [n] in t/ha with their 90 % interval. Never negative: a yield is not."""

    pred: Tonnes
    lo: Tonnes
    hi: Tonnes

    def shortfall(self, target: Tonnes) -> Tonnes:
        """How far each yield [n] lies outside of its interval, t/ha; negative inside."""
        return np.maximum(self.lo - target, target - self.hi)


class AsOf(NamedTuple):
    """Forecasts of a fold's validation and test rows as known after `step` steps, the rest `completed` or left open."""

    step: int
    completed: bool
    valid: Yields
    test: Yields


@dataclass(frozen=True, eq=False)
class SeenSeasons:
    """What an encoder knows of all N samples: features [N,V,windows * F], present [N,V] bool, static [N,S] or None."""

    table: SeasonTable
    features: Tensor
    present: Tensor
    static: Tensor | None

    @staticmethod
    def of(encoder: TimesCLIP, table: SeasonTable, season: Season) -> SeenSeasons:
        """Encode every window that a yield is read from, and put them side by side."""
        seen = torch.cat([features(encoder, window, FEATURE_BATCH) for window in season.windows], dim=-1)
        static = None if season.static is None else season.static.cpu()
        return SeenSeasons(table, seen, season.present.cpu(), static)

    def rows(self, index: Rows, anomaly: Tensor) -> YieldRows:
        """The samples of `index` [n] as the head reads them."""
        static = None if self.static is None else self.static[index]
        return YieldRows(self.features[index], self.present[index], anomaly, static)


@dataclass(frozen=True)
class Forecaster:
    """An encoder, yield heads and what they are measured from; fitted on one fold.

    completer  where the encoder reads the completion's errors beside the season: the stage-1 model that makes them
    margin     t/ha that the interval grows by on both sides: of the point forecast, or of its quantiles
    kept       share of the learnt anomaly that is forecast; quantiles move with it and keep their distance
    early      (step, margin, kept) of seasons as known after so many steps, where such were learnt from
    completes  whether what comes after such a step is completed by the encoder, as that was better on validation rows
    """

    encoder: TimesCLIP
    heads: YieldEnsemble
    scale: AnomalyScale
    offset: Offset
    known: KnownYields
    margin: float
    completer: TimesCLIP | None = None
    early: tuple[tuple[int, float, float], ...] = ()
    completes: bool = False
    kept: float = 1.0

    def as_of(self, step: int) -> Forecaster:
        """The same as of the last step, of those it learnt to forecast from, that is not after `step`."""
        _, margin, kept = max(known for known in self.early if known[0] <= step)
        return replace(self, margin=margin, kept=kept)

    def read(self, table: SeasonTable, season: Season) -> SeenSeasons:
        """What the encoder knows of every sample; season: as the completer or the encoder is trained to see it."""
        if self.completer is not None:
            season = with_errors(self.completer, season, FEATURE_BATCH)
        return SeenSeasons.of(self.encoder, table, season)

    def continue_from(self, step: int, season: Season) -> Season:
        """A season known after `step` steps as this forecaster reads it."""
        return continued(self.encoder, season, step, FEATURE_BATCH) if self.completes else season

    def of_rows(self, table: SeasonTable, season: Season, index: Rows) -> Yields:
        """Of the samples of `index` [n], and no other is encoded; season: as the encoder is trained to see it."""
        seen = SeenSeasons.of(self.encoder, table.rows(index), season.rows(torch.from_numpy(index)))
        return self.forecast(seen, np.arange(len(index)))

    def forecast(self, seen: SeenSeasons, index: Rows) -> Yields:
        """Of the samples of `index` [n]; their labels are not read."""
        place, year = seen.table.place[index], seen.table.year[index]
        base = self.offset.predict(self.known, place, year, leave_own_year_out=False)
        anomaly = self.scale.inverse(predict(self.heads, seen.rows(index, torch.zeros(len(index)))))
        anomaly = anomaly - (1 - self.kept) * anomaly[:, :1]
        told = np.maximum(base[:, None] + anomaly, 0.0)
        pred, (low, high) = (
            told[:, 0],
            (told[:, 1:].min(1), told[:, 1:].max(1)) if told.shape[1] > 1 else told[:, [0, 0]].T,
        )
        return Yields(pred, np.clip(low - self.margin, 0.0, pred), np.maximum(high + self.margin, pred))

    def to_dict(self) -> dict[str, Any]:
        """All but the weights, for fitted.json."""
        return {
            "scale": asdict(self.scale),
            "offset": self.offset.to_dict(),
            "known": self.known.to_dict(),
            "margin": self.margin,
            "kept": self.kept,
            "early": [list(known) for known in self.early],
            "completes": self.completes,
            "members": self.heads.members,
            "shape": asdict(self.heads.shape),
            "encoder": self.encoder.describe(),
            "completer": None if self.completer is None else self.completer.describe(),
        }

    def weights(self) -> dict[str, Tensor]:
        """By the names that `load` asks for."""
        modules = {"encoder": self.encoder, "head": self.heads}
        if self.completer is not None:
            modules["completer"] = self.completer
        return {
            f"{name}.{key}": tensor for name, module in modules.items() for key, tensor in module.state_dict().items()
        }

    @staticmethod
    def load(run: RunFolder, fold: str, heads: str = "head") -> Forecaster:
        """The forecaster of one fold of a run; `heads` names which of the kept ones."""
        record = run.read_json("fitted.json")[fold]["forecaster"]
        ensemble = YieldEnsemble(record["members"], HeadShape.from_dict(record["shape"]))
        ensemble.load_state_dict(run.read_weights(f"{fold}/{heads}."))
        told = record["completer"]
        return Forecaster(
            load_encoder(run, fold, record["encoder"], "encoder"),
            ensemble,
            AnomalyScale(**record["scale"]),
            Offset.from_dict(record["offset"]),
            KnownYields.from_dict(record["known"]),
            record["margin"],
            None if told is None else load_encoder(run, fold, told, "completer"),
            tuple((step, margin, kept) for step, margin, kept in record["early"]),
            record["completes"],
            record["kept"],
        )


def told(
    forecaster: Forecaster,
    table: SeasonTable,
    seasons: Sequence[Season],
    margins: Sequence[float],
    kept: Sequence[float],
    rows: Rows,
) -> list[Yields]:
    """Forecasts of some rows from each of the seasons, with the margin and the kept share of each."""
    each = zip(seasons, margins, kept, strict=True)
    return [replace(forecaster, margin=m, kept=share).of_rows(table, season, rows) for season, m, share in each]


def load_encoder(run: RunFolder, fold: str, record: Mapping[str, Any], name: str) -> TimesCLIP:
    """A model of one fold of a run, frozen."""
    model = TimesCLIP.described(record)
    model.load_state_dict(run.read_weights(f"{fold}/{name}."))
    return model.eval().requires_grad_(False)
