"""Write docs/long-term-benchmarks.md from the saved results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.forecasting import cells
from benchmarks.forecasting.data import BENCHMARKS
from benchmarks.forecasting.scores import BATCHES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "long-term-benchmarks.md"
TITLES = {
    "ili": "ILI: weekly influenza-like illness in the US, 7 variates",
    "etth1": "ETTh1: hourly transformer load, 7 variates",
}
SEASONAL = "seasonal-naive"
NAIVE = ("repeat-last", SEASONAL)
METRICS = ("mse", "mae")
ALL, NONE = "all", "—"

Row = Mapping[str, Any]


def write() -> Path:
    """Write the page and return its path."""
    cells.write_paper()
    parts = [HEAD]
    for name in [*BENCHMARKS, *(name for name in cells.data_sets() if name not in BENCHMARKS)]:
        rows = list(cells.read(name).values())
        for look_back in sorted({row["look_back"] for row in rows}):
            paper = [row for row in cells.of_paper() if (row["data"], row["look_back"]) == (name, look_back)]
            parts.append(section([row for row in rows if row["look_back"] == look_back], paper))
    PAGE.write_text("\n".join(parts))
    return PAGE


HEAD = """# Long-term forecasting benchmarks

`python -m benchmarks.forecasting` writes this page from `benchmarks/results/forecasting/`; do not edit it. `--lookback`
sets another look-back, `--csv PATH` takes another file of the same form (ETTh2, ETTm1, Exchange).

* Scores are MSE / MAE on values standardised by the training rows: the mean and, after ±, the standard deviation over
  seeds. The first table of each section has every window of the test part.
* **Skill** is the MSE over that of the seasonal naive forecast on the same windows: below 1 is better than last season.
* **Batches.** Many published figures drop the last incomplete batch of the test windows (`drop_last`), which is the end
  of the series. The second table has the same forecasts on the windows that batches of 16, 32 and 64 leave. Compare
  figures only if look-back and batch are the same. Forecasts made before the errors of these windows were kept have a
  dash there.
* Every learned model could use the same training windows and was selected on the same validation windows. One function
  scores all of them. The peers are those of `neuralforecast`.
* **No number here was measured with CLIP.** EfficientNet-Lite0 embedded the pictures. Lines marked "paper" are printed
  figures (arXiv 2506.24124v2, one seed), not measured here.
* The seasonal naive forecast of ILI reads 52 weeks back, more than the look-back of 36 steps.
* Core seconds are the processor time of training, selection and forecasting.
* *pretrained*: stage 1 starts from the packaged weights (`docs/pretraining.md`), which serve windows and forecasts of
  at most 52 steps. Longer horizons start from scratch.
* *timesclip*: the completion reads pictures in a y-range that all plots of a variate share; with *y-range window* each
  plot spans its own range. In *aligned only*, pictures act through the alignment loss only (`--picture-dropout 1`), and
  the completion reads numbers.
"""


def section(rows: Sequence[Row], paper: Sequence[Row]) -> str:
    """One data set and look-back: a table of horizons, a table of windows, and one line per model on its training."""
    data, look_back = rows[0]["data"], rows[0]["look_back"]
    horizons = sorted({row["horizon"] for row in rows})
    counts = {row["horizon"]: row["n_test_windows"] for row in rows}
    windows = ", ".join(f"{counts[h]} for {h} steps" for h in horizons)
    lines = [
        f"## {TITLES.get(data, data)}; look-back of {look_back} steps",
        "",
        f"Test windows by horizon: {windows}.",
        "",
        *scores_by_horizon(rows, paper, horizons),
        "",
        *scores_by_batch(rows, horizons),
        "",
        *notes(rows),
        "",
    ]
    return "\n".join(lines)


def scores_by_horizon(rows: Sequence[Row], paper: Sequence[Row], horizons: Sequence[int]) -> list[str]:
    """Lines of the table with one column per horizon, their mean if there are several, skill and cost."""
    columns = [*horizons, *([None] if len(horizons) > 1 else [])]
    heads = [f"{rows[0]['look_back']} → {h}" if h else "mean" for h in columns]
    lines = table_head("model", *heads, "skill", "seeds", "core seconds per run", "commit")
    for model in models(rows):
        of = [row for row in rows if row["model"] == model]
        worked = [row["core_seconds"] for row in of if "core_seconds" in row]
        cost = f"{np.mean(worked):.0f}" if worked else NONE
        seeds = str(len({row["seed"] for row in of}))
        last = (f"{skill:.3f}" if (skill := skill_of(rows, model, horizons)) else NONE, seeds, cost, commits(of))
        lines.append(line_of(shown_name(of), *(spread(at(of, column, horizons)) for column in columns), *last))
    for model in models(paper):
        printed = {row["horizon"]: [row] for row in paper if row["model"] == model}
        lines.append(line_of(model, *(spread(printed.get(column, [])) for column in columns), "", "", "", ""))
    return lines


def scores_by_batch(rows: Sequence[Row], horizons: Sequence[int]) -> list[str]:
    """Lines of the table with one column per batch: the mean over horizons on the windows that it leaves, and skill."""
    kept = [ALL, *map(str, BATCHES)]
    mean = "mean of the horizons, " if len(horizons) > 1 else ""
    lines = table_head("model", *(f"{mean}all windows" if k == ALL else f"batches of {k}" for k in kept))
    for model in models(rows):
        of = [row for row in rows if row["model"] == model]
        shown = []
        for batch in kept:
            skill = skill_of(rows, model, horizons, batch)
            seeds, every = means([on_windows(row, batch) for row in of], horizons), means(of, horizons)
            remarks = [f"skill {skill:.3f}"] if skill else []
            remarks += [f"{len(seeds)} of {len(every)} seeds"] if 0 < len(seeds) < len(every) else []
            shown.append(spread(seeds) + (f" ({', '.join(remarks)})" if remarks else ""))
        lines.append(line_of(shown_name(of), *shown))
    return lines


def table_head(*names: str) -> list[str]:
    """The first two lines of a table."""
    return [line_of(*names), "|" + "---|" * len(names)]


def line_of(*columns: str) -> str:
    """One line of a table."""
    return f"| {' | '.join(columns)} |"


def shown_name(of: Sequence[Row]) -> str:
    """The name of the model of these rows; ours in bold."""
    return f"**{of[0]['model']}**" if of[0].get("ours") else str(of[0]["model"])


def models(rows: Iterable[Row]) -> list[str]:
    """Models in the order of the table: naive, ours, then the others by name."""
    names = {row["model"]: (row["model"] not in NAIVE, not row.get("ours", False)) for row in rows}
    return sorted(names, key=lambda name: (*names[name], name))


def at(rows: Sequence[Row], horizon: int | None, horizons: Sequence[int]) -> list[Row]:
    """The rows of a horizon; None: the means over all of them."""
    return means(rows, horizons) if horizon is None else [row for row in rows if row["horizon"] == horizon]


def on_windows(row: Row, batch: str) -> Row:
    """A row with its errors on the windows that whole batches leave, if they were kept; ALL: the row as it is."""
    if batch == ALL:
        return row
    kept: dict[str, Any] = row.get("drop_last", {}).get(batch, {})
    return {"seed": row["seed"], "horizon": row["horizon"]} | kept


def means(rows: Sequence[Row], horizons: Sequence[int]) -> list[Row]:
    """The mean over all horizons, for every seed that has all of them."""
    by_seed: dict[int, dict[int, Row]] = {}
    for row in rows:
        if METRICS[0] in row:
            by_seed.setdefault(row["seed"], {})[row["horizon"]] = row
    whole = [by_horizon for by_horizon in by_seed.values() if set(horizons) <= set(by_horizon)]
    return [{metric: np.mean([by_horizon[h][metric] for h in horizons]) for metric in METRICS} for by_horizon in whole]


def skill_of(rows: Sequence[Row], model: str, horizons: Sequence[int], batch: str = ALL) -> float | None:
    """MSE of a model over that of the seasonal naive forecast on the same windows, both means over horizons and seeds.

    None if either was not measured at all of the horizons.
    """
    mse = []
    for name in (model, SEASONAL):
        of = means([on_windows(row, batch) for row in rows if row["model"] == name], horizons)
        mse.append(np.mean([row["mse"] for row in of]) if of else np.nan)
    return None if np.isnan(mse).any() else float(mse[0] / mse[1])


def spread(rows: Sequence[Row]) -> str:
    """mse / mae with the standard deviation over seeds; an em dash if nothing was measured."""
    if not rows:
        return NONE
    shown = []
    for metric in METRICS:
        values = [row[metric] for row in rows]
        shown.append(f"{np.mean(values):.3f}" + (f"±{np.std(values):.3f}" if len(values) > 1 else ""))
    return " / ".join(shown)


def commits(rows: Iterable[Row]) -> str:
    """The commits of some rows; an asterisk marks files that differed from the commit."""
    short = {row["commit"][:7] + ("*" if row["commit"].endswith("-dirty") else "") for row in rows}
    return ", ".join(sorted(short))


def notes(rows: Sequence[Row]) -> list[str]:
    """One line per model: steps, start, notes and stride of its training."""
    lines = []
    for model in models(rows):
        of = [row for row in rows if row["model"] == model]
        steps = [row["steps"] for row in of]
        parts = [f"{min(steps)} to {max(steps)} steps"] if max(steps) else []
        started = sorted({row["horizon"] for row in of if row.get("initial_weights")})
        parts += [f"initial weights at horizons {', '.join(map(str, started))}"] if started else []
        parts += [of[0]["note"]] if of[0].get("note") else []
        strides = sorted({row["stride"] for row in of})
        parts += [f"every {strides[-1]}th training window"] if strides[-1] > 1 else []
        if parts:
            lines.append(f"* {model}: {'; '.join(parts)}.")
    hardware = sorted({row["hardware"] for row in rows})
    dirty = any(row["commit"].endswith("-dirty") for row in rows)
    star = "An asterisk after a commit: some file differed from it. " if dirty else ""
    return [*lines, "", f"{star}Hardware: {'; '.join(hardware)}."]
