"""A finished matrix without training: folders of train.py and verdict.kernel_baselines, with invented forecasts."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import tyro

import ablate
from verdict.arms import MAPS
from verdict.render_costs import FILE

BASELINES = ("global mean", "place mean", "offset alone", "ridge")


def finished(flags, errors, seed=0):
    """Every run of `ablate.py flags`; errors: spread of each arm's error in t/ha by name, 0.3 where there is none."""
    args = tyro.cli(ablate.Arguments, args=flags)
    matrix = ablate.prepare(args)
    table, rng = matrix.table, np.random.default_rng(seed)
    ablate.claim(matrix.out, matrix.shared)  # type: ignore[attr-defined]
    shared = rng.normal(0, 0.1, len(table))
    for job in matrix.jobs:
        folds = ablate.make_folds(table.year, table.place, table.sample_id, split=args.split, seed=job.seed)  # type: ignore[attr-defined]
        rows = np.concatenate([fold.test for fold in folds])
        names = np.concatenate([np.full(len(fold.test), fold.name) for fold in folds])
        frame = pd.DataFrame({"sample_id": table.sample_id[rows], "fold": names})

        def said(name, rows=rows):
            return table.target[rows] + shared[rows] + rng.normal(0, errors.get(name, 0.3), len(rows))

        for step in job.steps:
            step.folder.mkdir(parents=True)
            result = {"interrupted": False, "metrics": {"coverage_90": 0.9},
                      "encoder": None if job.arm == "language-only" else "efficientnet-lite0",
                      "cache_spec": "0123", "commit": "abc", "hardware": "a machine"}  # fmt: skip
            (step.folder / "result.json").write_text(json.dumps(result))
        last = job.steps[-1].folder
        guesses = [one.name for one in MAPS] if job.arm == "maps" else BASELINES
        pd.concat([frame.assign(name=name, y_pred=said(name)) for name in guesses]).to_parquet(
            last / "baselines.parquet", index=False
        )
        if job.arm != "maps":
            truth = {"y_true": table.target[rows], "place": table.place[rows], "year": table.year[rows]}
            frame.assign(**truth, split="test", y_pred=said(job.arm)).to_parquet(last / "predictions.parquet")
        cost = {"step": "stage2", "resumed": job.arm == "noise", "seconds": 9.5, "peak_mb": 512.0, "code": 0}
        (job.folder / "costs.jsonl").write_text(json.dumps(cost) + "\n")
    kinds = {kind: {"pictures": 336, "embedded": 336, "seconds": 8.0} for kind, _ in matrix.renders}
    (matrix.out / FILE).write_text(json.dumps(kinds))
    return matrix
