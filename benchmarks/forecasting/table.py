"""Write docs/long-term-benchmarks.md from the saved results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.forecasting import cells
from benchmarks.forecasting.data import BENCHMARKS, Benchmark

PAGE = Path(__file__).resolve().parents[2] / "docs" / "long-term-benchmarks.md"
TITLES = {
    "ili": "ILI: weekly influenza-like illness in the US, 7 variates",
    "etth1": "ETTh1: hourly transformer load, 7 variates",
}
NAIVE = ("repeat-last", "seasonal-naive")
METRICS = ("mse", "mae")

Row = Mapping[str, Any]


def write() -> Path:
    """Write the page and return its path."""
    cells.write_paper()
    parts = [HEAD]
    for name, benchmark in BENCHMARKS.items():
        rows = list(cells.read(name).values())
        if rows:
            paper = [row for row in cells.of_paper() if row["data"] == name]
            parts.append(section(benchmark, rows, paper))
    PAGE.write_text("\n".join(parts))
    return PAGE


HEAD = """# Long-term forecasting benchmarks

`python -m benchmarks.forecasting` writes this page from `benchmarks/results/forecasting/`; do not edit it.

* Scores are MSE / MAE on values standardised by the training rows, over every window of the test part: the mean and,
  after ±, the standard deviation over seeds.
* Every learned model could use the same training windows and was selected on the same validation windows. One function
  scores all of them. The peers are those of `neuralforecast`.
* **No number here was measured with CLIP.** Lines marked "paper" are printed figures (arXiv 2506.24124v2), not measured
  here.
* The seasonal naive forecast of ILI reads 52 weeks back, more than the look-back of the models.
* Core seconds are the processor time of training, selection and forecasting.
* In *timesclip, aligned only*, pictures act through the alignment loss only (`--picture-dropout 1`), and the completion
  reads numbers.
"""


def section(benchmark: Benchmark, rows: Sequence[Row], paper: Sequence[Row]) -> str:
    """One data set: one line per model, one column per horizon, and their mean if there are several."""
    horizons = benchmark.horizons
    several = len(horizons) > 1
    counts = {row["horizon"]: row["n_test_windows"] for row in rows}
    windows = ", ".join(f"{counts[h]} for {h} steps" for h in horizons if h in counts)
    heads = [f"{benchmark.look_back} → {h}" for h in horizons] + (["mean"] if several else [])
    lines = [
        f"## {TITLES[benchmark.name]}",
        "",
        f"Look-back: {benchmark.look_back} steps. Test windows by horizon: {windows}.",
        "",
        f"| model | {' | '.join(heads)} | seeds | core seconds per run |",
        f"|---|{'---|' * (len(heads) + 2)}",
    ]
    for model in models(rows):
        of = [row for row in rows if row["model"] == model]
        shown = [spread([row for row in of if row["horizon"] == h]) for h in horizons]
        shown += [spread(means(of, horizons))] if several else []
        worked = [row["core_seconds"] for row in of if "core_seconds" in row]
        seconds = f"{np.mean(worked):.0f}" if worked else "—"
        seeds = len({row["seed"] for row in of})
        name = f"**{model}**" if of[0].get("ours") else model
        lines.append(f"| {name} | {' | '.join(shown)} | {seeds} | {seconds} |")
    for model in models(paper):
        of = [row for row in paper if row["model"] == model]
        columns = [*horizons, None] if several else [*horizons]
        shown = [spread([row for row in of if row["horizon"] == h]) for h in columns]
        lines.append(f"| {model} | {' | '.join(shown)} | | |")
    return "\n".join([*lines, "", *notes(rows), ""])


def models(rows: Iterable[Row]) -> list[str]:
    """Models in the order of the table: naive, ours, then the others by name."""
    names = {row["model"]: (row["model"] not in NAIVE, not row.get("ours", False)) for row in rows}
    return sorted(names, key=lambda name: (*names[name], name))


def means(rows: Sequence[Row], horizons: Sequence[int]) -> list[Row]:
    """The mean over all horizons, for every seed that has all of them."""
    by_seed: dict[int, dict[int, Row]] = {}
    for row in rows:
        by_seed.setdefault(row["seed"], {})[row["horizon"]] = row
    whole = [by_horizon for by_horizon in by_seed.values() if set(horizons) <= set(by_horizon)]
    return [{metric: np.mean([by_horizon[h][metric] for h in horizons]) for metric in METRICS} for by_horizon in whole]


def spread(rows: Sequence[Row]) -> str:
    """mse / mae with the standard deviation over seeds; an em dash if nothing was measured."""
    if not rows:
        return "—"
    shown = []
    for metric in METRICS:
        values = [row[metric] for row in rows]
        shown.append(f"{np.mean(values):.3f}" + (f"±{np.std(values):.3f}" if len(values) > 1 else ""))
    return " / ".join(shown)


def notes(rows: Sequence[Row]) -> list[str]:
    """One line per model: steps, notes and stride of its training."""
    lines = []
    for model in models(rows):
        of = [row for row in rows if row["model"] == model]
        steps = [row["steps"] for row in of]
        parts = [f"{min(steps)} to {max(steps)} steps"] if max(steps) else []
        parts += [of[0]["note"]] if of[0].get("note") else []
        strides = sorted({row["stride"] for row in of})
        parts += [f"every {strides[-1]}th training window"] if strides[-1] > 1 else []
        if parts:
            lines.append(f"* {model}: {'; '.join(parts)}.")
    commits = sorted({row["commit"][:12] + ("-dirty" if row["commit"].endswith("-dirty") else "") for row in rows})
    hardware = sorted({row["hardware"] for row in rows})
    return [*lines, "", f"Commit {', '.join(commits)}. Hardware: {'; '.join(hardware)}."]
