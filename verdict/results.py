"""Forecasts of all runs of a matrix for the same test rows, side by side, and the cost of each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import InputError
from report.run import RunFolder
from stages.yields.yield_scores import places_of
from verdict.arms import ARMS, CONTROLS, DECIDE, MAPS, WITH, WITHOUT, Arm, BaselineArm
from verdict.decision import AdjustedDifference, Verdict, decide
from verdict.runner import Job, costs_of
from verdict.statistics import Difference, compare, holm

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ArmForecasts:
    """One arm's forecasts [S,N] of all test rows, t/ha, one row per seed; folds [S,N]: the fold of each."""

    arm: Arm | BaselineArm
    seeds: tuple[int, ...]
    forecasts: Numbers
    folds: NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class MatrixResults:
    """Test rows in the order of their names: truth [N] t/ha; place, year [N]; `held`: which of these was held out.

    Places that share a yield have the same name. arms: forecasts by arm. results: result.json of every seed, by arm.
    """

    sample_id: NDArray[np.str_]
    truth: Numbers
    place: NDArray[np.str_]
    year: NDArray[np.str_]
    held: str
    arms: Mapping[str, ArmForecasts]
    results: Mapping[str, Sequence[dict[str, Any]]]

    @property
    def group(self) -> NDArray[np.str_]:
        """The held-out group of each row [N]."""
        return self.place if self.held == "place" else self.year

    @property
    def other_group(self) -> NDArray[np.str_]:
        """The other grouping [N]: years if places were held out, places if years were."""
        return self.year if self.held == "place" else self.place


@dataclass(frozen=True)
class Comparison:
    """An arm minus another, over the held-out groups and over the other kind of group.

    holm: p adjusted over all comparisons. rule: p adjusted over the comparisons of the rule, None for others.
    """

    arm: Arm | BaselineArm
    against: str
    difference: Difference
    over_other: Difference
    holm: float
    rule: float | None


def collect(jobs: Sequence[Job], held: str) -> MatrixResults:
    """Read every finished job. Raises InputError if the arm with pictures, or the one without, has no finished seed."""
    named: tuple[Arm | BaselineArm, ...] = (*ARMS, *MAPS)
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
            raise InputError(
                f"no run of {needed} is complete, so there is nothing to compare; see their log.txt for the reason."
            )
    assert truth is not None
    rows = truth.sort_values("sample_id")
    names = rows["sample_id"].to_numpy(dtype=np.str_)
    arms = {name: _aligned(known.get(name) or _arm_of(name, jobs), by_seed, names) for name, by_seed in tables.items()}
    return MatrixResults(
        sample_id=names,
        truth=rows["y_true"].to_numpy(dtype=np.float64),
        place=places_of(rows),
        year=rows["year"].astype(str).to_numpy(dtype=np.str_),
        held=held,
        arms=arms,
        results=results,
    )


def member_name(learner: str, arm: str) -> str:
    """Name of one learner of the ensemble alone, with or without pictures."""
    return f"{learner} {'with' if arm == WITH else 'without'} pictures"


def _arm_of(name: str, jobs: Sequence[Job]) -> Arm | BaselineArm:
    """The arm of a name: a learner of the ensemble alone, a requested encoder, or else a baseline."""
    for ending in (" with pictures", " without pictures"):
        if name.endswith(ending):
            against = name.removesuffix(ending) + " without pictures"
            return BaselineArm(name, "members", "Do pictures help this learner alone?", against=against)
    if any(job.arm == name for job in jobs):
        return Arm(name, "pictures", "Is another encoder better?")
    return BaselineArm(name, "baselines", "Is the model better than this?")


def _aligned(arm: Arm | BaselineArm, by_seed: Mapping[int, pd.DataFrame], names: NDArray[np.str_]) -> ArmForecasts:
    """The forecasts of every seed in the order of `names`. Raises ValueError if a seed forecast other rows."""
    forecasts, folds = [], []
    for seed, rows in sorted(by_seed.items()):
        ordered = rows.sort_values("sample_id")
        if ordered["sample_id"].tolist() != names.tolist():
            raise ValueError(f"{arm.name}, seed {seed}, forecast other test rows than the first run of the matrix")
        forecasts.append(ordered["y_pred"].to_numpy(dtype=np.float64))
        folds.append(ordered["fold"].to_numpy(dtype=np.str_))
    return ArmForecasts(arm=arm, seeds=tuple(sorted(by_seed)), forecasts=np.stack(forecasts), folds=np.stack(folds))


def compare_all(outcomes: MatrixResults, draws: int) -> list[Comparison]:
    """Compare every arm with its counterpart, over the seeds that both have.

    The comparisons of the rule were fixed before any run, so they are adjusted as a family of their own. The number of
    other arms in a matrix must not change the verdict.
    """
    pairs = []
    for name, own in outcomes.arms.items():
        against = own.arm.against
        if against not in outcomes.arms or against == name:
            continue
        other = outcomes.arms[against]
        common = sorted(set(own.seeds) & set(other.seeds))
        if not common:
            continue
        a, b = (one.forecasts[[one.seeds.index(seed) for seed in common]] for one in (own, other))
        difference, over_other = (
            compare(outcomes.truth, group, a, b, draws=draws) for group in (outcomes.group, outcomes.other_group)
        )
        pairs.append((own.arm, against, difference, over_other))
    p = {arm.name: difference.p for arm, _, difference, _ in pairs}
    adjusted, rule = holm(p), holm({name: p[name] for name in (WITH, *CONTROLS, *DECIDE) if name in p})
    return [
        Comparison(
            arm=arm,
            against=against,
            difference=difference,
            over_other=over_other,
            holm=adjusted[arm.name],
            rule=rule.get(arm.name),
        )
        for arm, against, difference, over_other in pairs
    ]


def verdict_of(comparisons: Sequence[Comparison], seconds: float, held: str) -> Verdict:
    """The decision by the rule of verdict.decision."""
    ruled = {one.arm.name: one for one in comparisons if one.rule is not None}
    needed = (*CONTROLS, *DECIDE)
    negated = {name: _negated(ruled[name]) for name in needed if name in ruled}
    without = AdjustedDifference(WITHOUT, ruled[WITH].difference, _rule(ruled[WITH]))
    return decide(
        without=without,
        controls=[negated[name] for name in CONTROLS if name in negated],
        maps=[negated[name] for name in DECIDE if name in negated],
        absent=[name for name in needed if name not in ruled],
        seconds=seconds,
        held=held,
    )


def _negated(one: Comparison) -> AdjustedDifference:
    """The arm with pictures minus another arm, from the other arm's comparison."""
    return AdjustedDifference(one.arm.name, one.difference.negated(), _rule(one))


def _rule(one: Comparison) -> float:
    assert one.rule is not None
    return one.rule


def evidence(outcomes: MatrixResults) -> dict[str, float]:
    """Log evidence and variance share of pictures in the Gaussian process with a year effect, over folds and seeds.

    gain: mean log evidence with the pictures' kernels minus without. share: of the anomaly's variance that they
    explain. Empty if no run has such a process.
    """
    folds_by_arm = {}
    for arm in (WITH, WITHOUT):
        folds = [fold for result in outcomes.results[arm] for fold in result.get("learnt", {}).values()]
        folds_by_arm[arm] = [fold for fold in folds if "gp" in fold.get("evidence", {})]
    if not folds_by_arm[WITH] or not folds_by_arm[WITHOUT]:
        return {}
    logs = {arm: float(np.mean([fold["evidence"]["gp"] for fold in folds])) for arm, folds in folds_by_arm.items()}
    share = np.mean([fold["variance_shares"]["gp"].get("pictures", 0.0) for fold in folds_by_arm[WITH]])
    return {"gain": logs[WITH] - logs[WITHOUT], "share": float(share)}


def spread(arm_forecasts: ArmForecasts, truth: Numbers) -> dict[str, float]:
    """RMSE, R2, MAE and bias averaged over seeds; standard deviations over seeds and, of the RMSE, over folds."""
    error = arm_forecasts.forecasts - truth
    rmse = np.sqrt((error**2).mean(1))
    r2 = 1 - (error**2).sum(1) / ((truth - truth.mean()) ** 2).sum()
    of_folds = [
        np.std([np.sqrt((row[folds == fold] ** 2).mean()) for fold in np.unique(folds)])
        for row, folds in zip(error, arm_forecasts.folds, strict=True)
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
    """The record of one arm for verdict.json: group, seeds, scores, and coverage of its intervals if it has any."""
    arm_forecasts = outcomes.arms[name]
    record: dict[str, Any] = {"group": arm_forecasts.arm.group, "seeds": len(arm_forecasts.seeds)}
    record |= spread(arm_forecasts, outcomes.truth)
    if held := [result["metrics"]["coverage_90"] for result in outcomes.results.get(name, ())]:
        record["coverage_90"] = float(np.mean(held))
    return record


def rmse_by_group(outcomes: MatrixResults, name: str) -> dict[str, float]:
    """RMSE of one arm in each held-out group, t/ha, squared errors averaged over seeds."""
    squared = ((outcomes.arms[name].forecasts - outcomes.truth) ** 2).mean(0)
    return {str(g): float(np.sqrt(squared[outcomes.group == g].mean())) for g in np.unique(outcomes.group)}


def cost(jobs: Sequence[Job], arm: str) -> dict[str, float | bool]:
    """Cost of one arm: seconds per run (both stages, mean over seeds), peak memory in MB, whether time was lost."""
    spent = [costs_of(job) for job in jobs if job.arm == arm and job.done]
    every = [one for costs in spent for one in costs]
    return {
        "seconds": float(np.mean([sum(one["seconds"] for one in costs) for costs in spent])),
        "peak_mb": max(one["peak_mb"] for one in every),
        "resumed": any(one["resumed"] for one in every),
    }


def as_record(comparison: Comparison) -> dict[str, Any]:
    """For verdict.json; numbers that are not finite become null."""
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
    """The same with None for every number that JSON cannot represent."""
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
