"""Other maps of the same numbers, and linear maps of the embeddings, on the model's own fold and anomaly.

    python -m verdict.kernel_baselines --data CARD --split forward --encoder efficientnet-lite0 --seed 0 --out runs/x

Kernel ridge with these kernels: linear or RBF on the standardised numbers, linear on the standardised embeddings, and
sums of two. Penalty, width of the RBF and share of the embeddings are chosen on training rows: their years (or places)
are split into INNER parts, and each part is forecast from the others.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cache.storage import CacheError
from model.baselines import boosting, filled
from model.metrics import yield_metrics
from pipeline.flags import CacheFlags, Names, ReadingFlags, TableFlags
from pipeline.parser import parse_flags
from pipeline.program import run_program
from pipeline.series import fold_ranges
from pipeline.sources import read
from pipeline.splits import Fold, SplitName, make_folds
from pipeline.style import Style
from pipeline.table import SeasonTable
from report.run import RunFolder, commit
from stages.inputs.fold_data import Pictures
from stages.yields.fold_offset import fold_offset, groups_of, known_in, offset_without_own
from verdict.arms import BOOSTING, LINEAR, LINEAR_VECTORS, RBF, RBF_VECTORS, VECTORS

Numbers = NDArray[np.float64]

PENALTIES = np.logspace(-3, 3, 13)  # for kernels whose mean diagonal is 1
WIDTHS = (0.03, 0.1, 0.3, 1.0)  # gamma of exp(-gamma d^2), d^2 being the mean over columns
SHARES = (0.1, 0.3, 1.0)  # weight of the embeddings' kernel beside that of the numbers
INNER = 5
MOST_ROWS = 4000  # largest number of training rows of a kernel; more are sampled


@dataclass(frozen=True, kw_only=True)
class Arguments(ReadingFlags, CacheFlags, TableFlags):
    """Forecast every fold by maps other than the model."""

    out: Path
    """The folder to write."""
    encoder: str | None = None
    """Encoder of the embeddings."""
    split: SplitName = "year"
    """How rows are held out."""
    folds: Names = ()
    """Only these folds of the split, or `all`."""
    seed: int = 0
    """Seed of boosting and of the split by place."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0, 1 (something failed), 2 (bad input)."""
    return run_program(
        "verdict.kernel_baselines",
        lambda: forecast(parse_flags(Arguments, arguments, __doc__, "verdict.kernel_baselines")),
        failed=(CacheError,),
    )


def forecast(args: Arguments) -> int:
    """Read, split, forecast every fold, write maps.parquet and result.json."""
    table = read(args.data, year=args.year, memory_gb=args.memory_gb)
    folds = make_folds(
        table.year,
        table.place,
        table.sample_id,
        split=args.split,
        seed=args.seed,
        assigned=table.assigned,
        chosen=args.folds,
        group=table.group,
    )
    pictures = Pictures.find(args.cache, Style(), table, encoder=args.encoder, command="python ablate.py")
    run = RunFolder.create(args.out, 2, "maps")
    frames = []
    for fold in folds:
        for name, forecasts in maps_of(
            table, fold, pictures.vectors(table, fold_ranges(table, fold)), args.seed
        ).items():
            rows = {"sample_id": table.sample_id[fold.test], "fold": fold.name, "name": name}
            frames.append(pd.DataFrame(rows | {"y_pred": forecasts}))
    guesses = pd.concat(frames, ignore_index=True)
    run.write_table("baselines.parquet", guesses)
    truth = pd.Series(table.target, index=table.sample_id)
    metrics = {
        str(name): yield_metrics(truth[rows["sample_id"]].to_numpy(), rows["y_pred"].to_numpy())
        for name, rows in guesses.groupby("name", sort=False)
    }
    largest = max(len(fold.train) + len(fold.valid) for fold in folds)
    run.write_json(
        "result.json",
        {"baselines": metrics, "commit": commit(), "rows": largest, "rows_of_kernels": min(largest, MOST_ROWS)},
    )
    for name, scores in metrics.items():
        print(f"{name}: R2 {scores['r2']:.3f}, RMSE {scores['rmse']:.3f} t/ha")
    return 0


def maps_of(table: SeasonTable, fold: Fold, vectors: NDArray[np.float16], seed: int) -> dict[str, Numbers]:
    """Forecasts of the test rows [n] in t/ha, never negative, by name. vectors [2,N,V,D]."""
    fitted, test = np.sort(np.concatenate([fold.train, fold.valid])), fold.test
    known, offset = known_in(table, fold, fitted), fold_offset(table, fold)
    anomaly = table.target[fitted] - offset_without_own(table, fold, offset, fitted)
    base = offset.predict(known, table.place[test], table.year[test])
    x = filled(table.values, table.observed, fitted)
    anomalies = {BOOSTING: boosting(seed).fit(x[fitted], anomaly).predict(x[test])}

    rng = np.random.default_rng(seed)
    some = np.sort(rng.permutation(len(fitted))[:MOST_ROWS])
    rows, target = fitted[some], anomaly[some]
    parts = inner_parts(groups_of(table, fold, rows).astype(str), rng)
    both = np.concatenate([rows, test])
    numbers = linear_kernel([x[both]], len(rows))
    square = np.maximum(np.diag(numbers)[:, None] + np.diag(numbers)[None, :] - 2 * numbers, 0)
    smooth = {width: np.exp(-width * square) for width in WIDTHS}
    embedded = linear_kernel(
        (vectors[w, both, v] for w, v in np.ndindex(vectors.shape[0], vectors.shape[2])), len(rows)
    )
    kernels: Mapping[str, Sequence[Numbers]] = {
        LINEAR: [numbers],
        RBF: list(smooth.values()),
        VECTORS: [embedded],
        LINEAR_VECTORS: [numbers + share * embedded for share in SHARES],
        RBF_VECTORS: [one + share * embedded for one, share in itertools.product(smooth.values(), SHARES)],
    }
    for name, candidates in kernels.items():
        anomalies[name] = kernel_ridge(candidates, target, parts)
    return {name: np.maximum(base + one, 0.0) for name, one in anomalies.items()}


def linear_kernel(blocks: Iterator[NDArray[np.generic]] | Sequence[NDArray[np.generic]], fitted: int) -> Numbers:
    """Inner products [n,n] of standardised columns, divided by their number. The first `fitted` rows standardise.

    blocks [n,d] of columns. Columns that are constant in these rows are left out.
    """
    total: Numbers = np.zeros(())
    columns = 0
    for block in blocks:
        x: Numbers = block.astype(np.float64)
        spread = x[:fitted].std(0)
        x = (x - x[:fitted].mean(0))[:, spread > 0] / spread[spread > 0]
        x = np.clip(x, -5, 5)
        total = total + x @ x.T
        columns += x.shape[1]
    kernel: Numbers = total / max(columns, 1)
    return kernel


def inner_parts(group: NDArray[np.str_], rng: np.random.Generator) -> NDArray[np.int64]:
    """The part, of at most INNER, of each row [n]. Groups stay whole, unless there is only one."""
    names, index = np.unique(group, return_inverse=True)
    if len(names) < 2:
        return rng.permutation(len(group)) % INNER
    return (rng.permutation(len(names)) % INNER)[index]


def kernel_ridge(kernels: Sequence[Numbers], target: Numbers, parts: NDArray[np.int64]) -> Numbers:
    """Forecasts [m] of new rows, by the kernel and penalty with the least error on left-out parts.

    kernels [n+m,n+m]: of n training rows, whose target and part [n] are given, and then of m new rows.
    """
    count, best = len(target), (np.inf, kernels[0], PENALTIES[-1])
    for kernel in kernels:
        fitted = kernel[:count, :count]
        error = np.zeros(len(PENALTIES))
        for part in np.unique(parts):
            out, rest = parts == part, parts != part
            guesses = ridge_path(fitted[np.ix_(rest, rest)], fitted[np.ix_(out, rest)], target[rest])
            error += ((guesses - target[out]) ** 2).sum(1)
        if error.min() < best[0]:
            best = (float(error.min()), kernel, PENALTIES[int(error.argmin())])
    _, kernel, penalty = best
    forecast: Numbers = ridge_path(kernel[:count, :count], kernel[count:, :count], target, np.array([penalty]))[0]
    return forecast


def ridge_path(fitted: Numbers, new: Numbers, target: Numbers, penalties: Numbers = PENALTIES) -> Numbers:
    """Kernel ridge around the target's mean, for every penalty: fitted [n,n], new [m,n], target [n] -> [P,m]."""
    values, vectors = np.linalg.eigh(fitted)
    turned, reach = vectors.T @ (target - target.mean()), new @ vectors
    path: Numbers = target.mean() + (turned / (np.maximum(values, 0) + penalties[:, None])) @ reach.T
    return path


if __name__ == "__main__":
    sys.exit(main())
