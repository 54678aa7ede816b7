"""Explain a forecast by occlusion: its change when the model does not get some steps, a variate, or a driver.

Hidden values are replaced by those of another sample, as in permutation importance (Breiman 2001; Fisher, Rudin &
Dominici 2019), or made unobserved, as under clouds. Steps that a sample does not observe stay unobserved: a value of
another sample there would be new information, and nothing would be hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from model.completion_task import complete
from pipeline.table import SeasonTable
from report.progress import stage_progress
from report.run import RunFolder
from stages.inputs.fold_data import Scales, season_of
from stages.yields.fold_offset import Rows
from stages.yields.yield_forecaster import FEATURE_BATCH, Forecaster, Tonnes

Vectors = Callable[[SeasonTable, NDArray[np.float64]], NDArray[np.float16]]  # table, y-ranges [V,2] -> [2,N,V,D]
HideName = Literal["exchanged", "unobserved"]
DRAWS = 3  # other samples per occlusion


@dataclass(frozen=True, eq=False)
class Occlusion:
    """What is hidden: masks [V,T] of the variates and [R,T] of the drivers, or the position of the sample.

    kind: steps, variate, driver or position. first, last: the steps, from 0.
    """

    kind: str
    name: str
    variates: NDArray[np.bool_]
    drivers: NDArray[np.bool_]
    first: int
    last: int

    def hide(self, table: SeasonTable, donor: SeasonTable | None) -> SeasonTable:
        """The table with the hidden values unobserved or, if `donor` is given, replaced by those of its rows.

        Only observed values are hidden. A step becomes unobserved if the donor does not observe it.
        """
        if self.kind == "position":
            return replace(table, position=np.full((len(table), 2), np.nan))
        values, drivers = (np.float32(np.nan),) * 2 if donor is None else (donor.values, donor.drivers)
        observed, known = (False, False) if donor is None else (donor.observed, donor.drivers_observed)
        variates_hidden = self.variates & table.observed
        drivers_hidden = self.drivers & table.drivers_observed
        return replace(
            table,
            values=np.where(variates_hidden, values, table.values),
            observed=np.where(variates_hidden, observed, table.observed),
            drivers=np.where(drivers_hidden, drivers, table.drivers),
            drivers_observed=np.where(drivers_hidden, known, table.drivers_observed),
        )


def occlusions(table: SeasonTable, width: int) -> Iterator[Occlusion]:
    """Each block of `width` steps (variates and drivers alike), each variate, each driver, then positions if read."""
    shape = len(table.variates), len(table.driver_names), table.steps
    at, (v, r, t) = np.arange(table.steps), shape
    nothing = np.zeros((v, t), bool), np.zeros((r, t), bool)
    for first in range(0, t, width):
        last = min(first + width, t) - 1
        steps = (at >= first) & (at <= last)
        name = f"steps {first} to {last}" if last > first else f"step {first}"
        yield Occlusion(
            kind="steps",
            name=name,
            variates=nothing[0] | steps,
            drivers=nothing[1] | steps,
            first=first,
            last=last,
        )
    for number, name in enumerate(table.variate_names):
        mask = nothing[0] | (np.arange(v)[:, None] == number)
        yield Occlusion(kind="variate", name=name, variates=mask, drivers=nothing[1], first=0, last=t - 1)
    for number, name in enumerate(table.driver_names):
        mask = nothing[1] | (np.arange(r)[:, None] == number)
        yield Occlusion(kind="driver", name=name, variates=nothing[0], drivers=mask, first=0, last=t - 1)
    if table.position is not None:
        yield Occlusion(kind="position", name="position", variates=nothing[0], drivers=nothing[1], first=0, last=t - 1)


def donors(table: SeasonTable, index: Rows, hide: HideName) -> list[SeasonTable | None]:
    """Replacements for the samples of `index` [n], one entry per draw: other samples of the table, or None."""
    if hide == "unobserved":
        return [None]
    rng, draws = np.random.default_rng(0), []
    for _ in range(DRAWS):
        order = rng.permutation(len(table))
        donor = np.empty_like(order)
        donor[order] = np.roll(order, 1)  # one cycle: no sample replaces itself, none is used twice
        draws.append(table.rows(donor[index]))
    return [*draws]


def effects(
    run: RunFolder,
    table: SeasonTable,
    rows: Mapping[str, Rows],
    *,
    hiding: Sequence[Occlusion],
    hide: HideName,
    vectors: Vectors | None,
    pictures: bool,
) -> pd.DataFrame:
    """For each fold, sample and occlusion: the forecast from everything and without the hidden values, t/ha.

    rows      per fold, the samples that its model forecasts
    hide      `unobserved`, or `exchanged` with DRAWS other samples in turn
    vectors   embeddings of the pictures; None if the run uses none
    pictures  whether values are hidden in the pictures too, or in the numbers only
    """
    fitted = run.read_json("fitted.json")
    frames = []
    draws = 1 if hide == "unobserved" else DRAWS
    with stage_progress("explain", len(rows) * draws * len(hiding)) as advance:
        for fold, index in rows.items():
            forecaster, scales = Forecaster.load(run, fold), Scales.from_dict(fitted[fold])
            framing = fitted[fold]["framing"]
            whole = table.rows(index)
            embedded = None if vectors is None else vectors(whole, scales.ranges)
            usual = _forecast(forecaster, whole, scales, framing, embedded)
            for draw, donor in enumerate(donors(table, index, hide)):
                for one in hiding:
                    without = one.hide(whole, donor)
                    seen = vectors(without, scales.ranges) if pictures and vectors is not None else embedded
                    hidden = _forecast(forecaster, without, scales, framing, seen)
                    frames.append(_rows_of(fold, whole, one, draw=draw, usual=usual, without=hidden))
                    advance(1)
    return pd.concat(frames, ignore_index=True)


def _rows_of(
    fold: str, whole: SeasonTable, one: Occlusion, *, draw: int, usual: Tonnes, without: Tonnes
) -> pd.DataFrame:
    """The rows of `effects` for one fold, draw and occlusion."""
    return pd.DataFrame(
        {
            "fold": fold,
            "sample_id": whole.sample_id,
            "place": whole.place,
            "year": whole.year,
            "kind": one.kind,
            "hidden": one.name,
            "first_step": one.first,
            "last_step": one.last,
            "draw": draw,
            "y_pred": usual,
            "y_without": without,
        }
    )


def summary(changes: pd.DataFrame) -> pd.DataFrame:
    """One row per occlusion, in the order of `effects`: mean absolute and mean change of the forecasts, t/ha."""
    rows = changes.assign(change=changes["y_without"] - changes["y_pred"])
    rows["absolute"] = rows["change"].abs()
    groups = rows.groupby(["kind", "hidden", "first_step", "last_step"], sort=False)
    return groups.agg(
        mean_abs_change=("absolute", "mean"), mean_change=("change", "mean"), n=("change", "size")
    ).reset_index()


def selection(
    run: RunFolder, table: SeasonTable, rows: Mapping[str, Rows], vectors: Vectors | None
) -> pd.DataFrame | None:
    """Variate-selection weights [V,V]: the attention of each variate to each other in the first window; rows sum to 1.

    Averaged over samples and folds. None if the model has no selection, or reads its completion's errors as variates.
    """
    fitted, count = run.read_json("fitted.json"), 0
    total = np.zeros((len(table.variates), len(table.variates)))
    for fold, index in rows.items():
        forecaster, scales = Forecaster.load(run, fold), Scales.from_dict(fitted[fold])
        neural = forecaster.neural
        if neural is None or neural.completer is not None or neural.encoder.select is None:
            return None
        some = table.rows(index)
        embedded = None if vectors is None else vectors(some, scales.ranges)
        season = season_of(some, scales, fitted[fold]["framing"], embedded)
        _, weights = complete(neural.encoder, season.first, FEATURE_BATCH)
        assert weights is not None  # the encoder selects
        total, count = total + weights.numpy().astype(np.float64) * len(index), count + len(index)
    names = list(table.variate_names)
    return pd.DataFrame(total / count, index=names, columns=names)


def _forecast(
    forecaster: Forecaster, table: SeasonTable, scales: Scales, framing: Any, vectors: NDArray[np.float16] | None
) -> NDArray[np.float64]:
    with torch.inference_mode():
        return forecaster.forecast(table, season_of(table, scales, framing, vectors)).pred
