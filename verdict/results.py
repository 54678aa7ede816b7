"""What the runs of a matrix said of the same test rows, side by side, and what each of them took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import InputError
from report.run import RunFolder
from stages.yield_scores import places_of
from verdict.arms import ARMS, CONTROLS, DECIDE, MAPS, WITH, WITHOUT, Arm, Forecast
from verdict.decision import Judged, Verdict, judge
from verdict.runner import Job, costs_of
from verdict.statistics import Difference, compare, holm

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ArmForecasts:
    """One arm's forecasts [S,N] of all test rows, t/ha, a row a seed; folds [S,N] names the fold of each."""

    arm: Arm | Forecast
    seeds: tuple[int, ...]
    forecasts: Numbers
    folds: NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class MatrixResults:
    """Test rows in the order of their names: truth [N] t/ha; place, year [N]; which of these was held out together.

    Places that share a yield have one name.
    """

    sample_id: NDArray[np.str_]
    truth: Numbers
    place: NDArray[np.str_]
    year: NDArray[np.str_]
    held: str
    said: Mapping[str, ArmForecasts]
    results: Mapping[str, Sequence[dict[str, Any]]]

    @property
    def group(self) -> NDArray[np.str_]:
        """The held-out group of each row [N]."""
        return self.place if self.held == "place" else self.year

    @property
    def other_group(self) -> NDArray[np.str_]:
        """What the rows also share: the year where places were held out, the place where years were."""
        return self.year if self.held == "place" else self.place


@dataclass(frozen=True)
class Comparison:
    """An arm minus another, over held-out groups and over the other kind of group.

    holm: p adjusted over all comparisons. rule: p adjusted over those that the rule reads, None for others.
    """

    arm: Arm | Forecast
    against: str
    difference: Difference
    over_other: Difference
    holm: float
    rule: float | None


def collect(jobs: Sequence[Job], held: str) -> MatrixResults:
    """Read every finished job. Raises InputError when no seed of the arm with pictures or the one without is there."""
    named: tuple[Arm | Forecast, ...] = (*ARMS, *MAPS)
    known = {arm.name: arm for arm in named}
    tables: dict[str, dict[int, pd.DataFrame]] = {}
    results: dict[str, list[dict[str, Any]]] = {}
    truth: pd.DataFrame | None = None
    for job in jobs:
        if not job.done:
            continue
        last = job.steps[-1].folder
        forecasts = (last / "predictions.parquet").is_file()
        if forecasts:
            test = RunFolder(last).read_predictions().query("split == 'test'")
            truth = test if truth is None else truth
            tables.setdefault(job.arm, {})[job.seed] = test[["sample_id", "fold", "y_pred"]]
            results.setdefault(job.arm, []).append(RunFolder(last).read_json("result.json"))
        if job.arm in (WITH, WITHOUT) and (last / "members.parquet").is_file():
            for name, rows in RunFolder(last).read_predictions("members.parquet").groupby("name", sort=False):
                tables.setdefault(member_name(str(name), job.arm), {})[job.seed] = rows
        if job.arm == WITHOUT or not forecasts:
            for name, rows in RunFolder(last).read_predictions("baselines.parquet").groupby("name", sort=False):
                tables.setdefault(str(name), {})[job.seed] = rows
    for needed in (WITH, WITHOUT):
        if needed not in tables:
            raise InputError(f"no run of {needed} is complete, so there is nothing to compare; their log.txt says why.")
    assert truth is not None
    rows = truth.sort_values("sample_id")
    names = rows["sample_id"].to_numpy(dtype=np.str_)
    said = {name: _aligned(known.get(name) or _arm_of(name, jobs), by_seed, names) for name, by_seed in tables.items()}
    return MatrixResults(
        names,
        rows["y_true"].to_numpy(dtype=np.float64),
        places_of(rows),
        rows["year"].astype(str).to_numpy(dtype=np.str_),
        held,
        said,
        results,
    )


def member_name(learner: str, arm: str) -> str:
    """One learner of the ensemble alone, with or without pictures."""
    return f"{learner} {'with' if arm == WITH else 'without'} pictures"


def _arm_of(name: str, jobs: Sequence[Job]) -> Arm | Forecast:
    """Encoders that were asked for are arms; a member of the ensemble alone; what else has a name is a baseline."""
    for ending in (" with pictures", " without pictures"):
        if name.endswith(ending):
            against = name.removesuffix(ending) + " without pictures"
            return Forecast(name, "members", "Do pictures help this learner alone?", against=against)
    if any(job.arm == name for job in jobs):
        return Arm(name, "pictures", "Does another encoder see more?")
    return Forecast(name, "baselines", "Is the model better than this?")


def _aligned(arm: Arm | Forecast, by_seed: Mapping[int, pd.DataFrame], names: NDArray[np.str_]) -> ArmForecasts:
    """The forecasts of every seed in the order of `names`. Raises ValueError where a seed forecast other rows."""
    forecasts, folds = [], []
    for seed, rows in sorted(by_seed.items()):
        ordered = rows.sort_values("sample_id")
        if ordered["sample_id"].tolist() != names.tolist():
            raise ValueError(f"{arm.name}, seed {seed}, forecast other test rows than the first run of the matrix")
        forecasts.append(ordered["y_pred"].to_numpy(dtype=np.float64))
        folds.append(ordered["fold"].to_numpy(dtype=np.str_))
    return ArmForecasts(arm, tuple(sorted(by_seed)), np.stack(forecasts), np.stack(folds))


def compare_all(outcomes: MatrixResults, draws: int) -> list[Comparison]:
    """Every arm with the one it is compared with, by the seeds that both have.

    The comparisons of the rule were fixed before any run, so they are a family of their own: how many other arms a
    matrix has must not change the verdict.
    """
    pairs = []
    for name, mine in outcomes.said.items():
        against = mine.arm.against
        if against not in outcomes.said or against == name:
            continue
        other = outcomes.said[against]
        common = sorted(set(mine.seeds) & set(other.seeds))
        if not common:
            continue
        a, b = (said.forecasts[[said.seeds.index(seed) for seed in common]] for said in (mine, other))
        found, over_other = (
            compare(outcomes.truth, group, a, b, draws) for group in (outcomes.group, outcomes.other_group)
        )
        pairs.append((mine.arm, against, found, over_other))
    p = {arm.name: found.p for arm, _, found, _ in pairs}
    adjusted, rule = holm(p), holm({name: p[name] for name in (WITH, *CONTROLS, *DECIDE) if name in p})
    return [Comparison(arm, against, d, o, adjusted[arm.name], rule.get(arm.name)) for arm, against, d, o in pairs]


def verdict_of(comparisons: Sequence[Comparison], seconds: float, held: str) -> Verdict:
    """The rule of verdict.decision, applied."""
    found = {one.arm.name: one for one in comparisons if one.rule is not None}
    needed = (*CONTROLS, *DECIDE)
    turned = {name: _turned(found[name]) for name in needed if name in found}
    without = Judged(WITHOUT, found[WITH].difference, _rule(found[WITH]))
    return judge(
        without,
        [turned[name] for name in CONTROLS if name in turned],
        [turned[name] for name in DECIDE if name in turned],
        [name for name in needed if name not in found],
        seconds,
        held,
    )


def _turned(one: Comparison) -> Judged:
    """An arm minus the one with pictures, seen from the latter."""
    return Judged(one.arm.name, one.difference.turned(), _rule(one))


def _rule(one: Comparison) -> float:
    assert one.rule is not None
    return one.rule


def evidence(outcomes: MatrixResults) -> dict[str, float]:
    """What the Gaussian process with a year effect says of its pictures: means over folds and seeds.

    gain: log evidence with the pictures' kernels minus without; share: of the anomaly's variance that they have. Empty
    where no run has such a process.
    """
    found = {}
    for arm in (WITH, WITHOUT):
        folds = [fold for result in outcomes.results[arm] for fold in result.get("learnt", {}).values()]
        found[arm] = [fold for fold in folds if "gp" in fold.get("evidence", {})]
    if not found[WITH] or not found[WITHOUT]:
        return {}
    logs = {arm: float(np.mean([fold["evidence"]["gp"] for fold in folds])) for arm, folds in found.items()}
    share = np.mean([fold["variance_shares"]["gp"].get("pictures", 0.0) for fold in found[WITH]])
    return {"gain": logs[WITH] - logs[WITHOUT], "share": float(share)}


def spread(said: ArmForecasts, truth: Numbers) -> dict[str, float]:
    """RMSE and R2, their mean over seeds, standard deviation over seeds and, of the RMSE, over folds; MAE and bias."""
    error = said.forecasts - truth
    rmse = np.sqrt((error**2).mean(1))
    r2 = 1 - (error**2).sum(1) / ((truth - truth.mean()) ** 2).sum()
    of_folds = [
        np.std([np.sqrt((row[folds == fold] ** 2).mean()) for fold in np.unique(folds)])
        for row, folds in zip(error, said.folds, strict=True)
    ]
    return {
        "rmse": float(rmse.mean()),
        "rmse_sd": float(rmse.std(ddof=1)) if len(rmse) > 1 else 0.0,
        "r2": float(r2.mean()),
        "r2_sd": float(r2.std(ddof=1)) if len(r2) > 1 else 0.0,
        "mae": float(np.abs(error).mean()),
        "rmse_sd_folds": float(np.mean(of_folds)),
        "bias": float(error.mean()),
    }


def record_of(outcomes: MatrixResults, name: str) -> dict[str, Any]:
    """What verdict.json says of one arm: its group, seeds and scores, and what its 90 % intervals hold where it has."""
    said = outcomes.said[name]
    record: dict[str, Any] = {"group": said.arm.group, "seeds": len(said.seeds), **spread(said, outcomes.truth)}
    if held := [result["metrics"]["coverage_90"] for result in outcomes.results.get(name, ())]:
        record["coverage_90"] = float(np.mean(held))
    return record


def rmse_by_group(outcomes: MatrixResults, name: str) -> dict[str, float]:
    """RMSE of one arm in each held-out group, t/ha, squared errors averaged over seeds."""
    squared = ((outcomes.said[name].forecasts - outcomes.truth) ** 2).mean(0)
    return {str(g): float(np.sqrt(squared[outcomes.group == g].mean())) for g in np.unique(outcomes.group)}


def cost(jobs: Sequence[Job], arm: str) -> dict[str, float | bool]:
    """Of one arm: seconds a run (both stages, mean over seeds), peak memory in MB, whether some time was lost."""
    spent = [costs_of(job) for job in jobs if job.arm == arm and job.done]
    every = [one for costs in spent for one in costs]
    return {
        "seconds": float(np.mean([sum(one["seconds"] for one in costs) for costs in spent])),
        "peak_mb": max(one["peak_mb"] for one in every),
        "resumed": any(one["resumed"] for one in every),
    }


def as_record(comparison: Comparison) -> dict[str, Any]:
    """For verdict.json; what is not finite is null."""
    record = {
        "arm": comparison.arm.name,
        "against": comparison.against,
        "question": comparison.arm.question,
        "holm": comparison.holm,
        "rule": comparison.rule,
        "groups_needed": comparison.difference.groups_needed(),
        "samples_needed": comparison.difference.samples_needed(),
        "difference": asdict(comparison.difference),
        "over_other": asdict(comparison.over_other),
    }
    cleaned: dict[str, Any] = finite(record)
    return cleaned


def finite(value: Any) -> Any:
    """The same with None for every number that JSON cannot hold."""
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
