"""python -m benchmarks.yield_forecasts: docs/yield-forecasts.md and the README's table, one row per table and split.

Rows are stage-2 runs of `timesclip` and, without pictures, `language-only`. Complete runs are not made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.runs import ROOT, Job, commits, results, spread
from benchmarks.tables import put_between
from model.presets import PresetName
from pipeline.parser import parse_flags
from report.run import hardware
from report.run_page.sentences import lead_of

TABLES = (
    ("illinois_soybean", "forward"),
    ("illinois_soybean", "leave-year-out"),
    ("illinois_soybean", "place"),
    ("zambia_maize", "leave-year-out"),
    ("zambia_maize", "forward"),
    ("cybench_maize_ES", "leave-year-out"),
    ("cybench_wheat_NL", "leave-year-out"),
    ("demo", "year"),
    ("demo", "leave-year-out"),
    ("demo", "place"),
)
SHOWN = TABLES[:5]  # in the README
WITH: PresetName = "timesclip"
WITHOUT: PresetName = "language-only"
NAMES = {
    "illinois_soybean": "Illinois soybean",
    "zambia_maize": "Zambia maize",
    "cybench_maize_ES": "CY-Bench maize, Spain",
    "cybench_wheat_NL": "CY-Bench wheat, Netherlands",
    "demo": "demo (simulated)",
}


@dataclass(frozen=True)
class Arguments:
    """The runs to make."""

    seeds: int = 1
    """Runs per row."""
    workers: int = 1
    """Runs side by side."""
    made: bool = False
    """Only write the pages again, from existing runs."""


def main() -> None:
    """Make the missing runs, then write the pages."""
    args = parse_flags(Arguments, None, __doc__, "benchmarks.yield_forecasts")
    jobs = [Job(*at, preset, seed) for seed in range(args.seeds) for preset in (WITH, WITHOUT) for at in TABLES]
    if not args.made:
        results(jobs, args.workers)
    found = [job for job in jobs if (ROOT / job.folder / "stage2" / "result.json").is_file()]
    rows: Rows
    rows = {at: {p: [j.result() for j in found if (j.data, j.split, j.preset) == (*at, p)] for p in (WITH, WITHOUT)}
            for at in TABLES}  # fmt: skip
    rows = {at: one for at, one in rows.items() if one[WITH]}
    (ROOT / "docs" / "yield-forecasts.md").write_text(page(rows))
    draw_learners(rows)
    put_between(ROOT / "README.md", short_table({at: one for at, one in rows.items() if at in SHOWN}))


Rows = dict[tuple[str, str], dict[str, list[dict[str, Any]]]]


def short_table(rows: Rows) -> str:
    """RMSE of the run, without pictures, and of the best baseline; its lead with an interval."""
    lines = [
        "| RMSE, t/ha (R2) | test rows | this model | without pictures | best baseline | place mean |",
        "|---|---|---|---|---|---|",
    ]
    for (data, split), runs in rows.items():
        ours, best = runs[WITH], best_name(runs[WITH])
        errors = [mean(ours, "rmse"), mean(runs[WITHOUT], "rmse") if runs[WITHOUT] else "not made",
                  f"{baseline(ours, best):.3f}", f"{baseline(ours, 'place mean'):.3f}"]  # fmt: skip
        least = min(errors)  # they have the same number of digits; "not made" comes last
        shown = [f"**{error}**" if error == least else error for error in errors]
        cells = [
            f"{NAMES[data]}, {split}",
            f"{ours[0]['n_test']}",
            f"{shown[0]} ({mean(ours, 'r2')})",
            f"{shown[1]} ({mean(runs[WITHOUT], 'r2')})" if runs[WITHOUT] else shown[1],
            f"{shown[2]}, {best}",
            shown[3],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def page(rows: Rows) -> str:
    """The text of docs/yield-forecasts.md."""
    every = [run for runs in rows.values() for one in runs.values() for run in one]
    lines = [
        "# Yield forecasts",
        "",
        "`python -m benchmarks.yield_forecasts` writes this page; do not edit it. Each row pools the test rows of all "
        f"folds. Seeds: {len(next(iter(rows.values()))[WITH])}. Commit {commits(every)}. {hardware()}. "
        "EfficientNet-Lite0 embedded the pictures; **no number here was measured with CLIP**.",
        "",
        "`lead` is the RMSE of the best baseline minus that of the run, in t/ha. It is positive if the run is better. "
        "Its 95 % interval comes from resampling whole years if six or more were tested, else whole places.",
        "",
        "`NRMSE` is the score of CY-Bench: 100 RMSE / mean yield of a test year, as the median over the test years.",
        "",
        "| table, split | test rows, folds | RMSE, t/ha | R2 | MAE | 90 % interval holds | best baseline | lead | "
        "without pictures | NRMSE, % | NRMSE of the place mean, % |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (data, split), runs in rows.items():
        ours, best = runs[WITH], best_name(runs[WITH])
        difference, low, high = lead_of(ours[0])
        lead = f"{difference:+.3f} ({low:+.3f} to {high:+.3f}, {ours[0]['best_baseline']['over']})"
        cells = [
            f"{NAMES[data]}, {split}",
            f"{ours[0]['n_test']}, {len(ours[0]['folds'])}",
            *(mean(ours, name) for name in ("rmse", "r2", "mae", "coverage_90")),
            f"{best} {baseline(ours, best):.3f}",
            lead,
            mean(runs[WITHOUT], "rmse") if runs[WITHOUT] else "not made",
            f"{np.mean([run['metrics']['nrmse_by_year'] for run in ours]):.2f}",
            f"{np.mean([run['baselines']['place mean']['nrmse_by_year'] for run in ours]):.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## Weights of the learners", "", "Means over folds and seeds, with pictures.", ""]
    names = list(dict.fromkeys(name for runs in rows.values() for run in runs[WITH] for name in run["learners"]))
    lines += [f"| table, split | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for (data, split), runs in rows.items():
        shares = [f"{np.mean([run['learners'][name] for run in runs[WITH]]):.2f}" for name in names]
        lines.append(f"| {NAMES[data]}, {split} | {' | '.join(shares)} |")
    lines += ["", "## Variance shares in the Gaussian process with a year effect", ""]
    lines += ["Shares of the variance of the yield anomaly, on training rows; means over folds and seeds.", ""]
    parts = ("numbers", "pictures", "year", "noise")
    lines += [f"| table, split | {' | '.join(parts)} |", "|---" * (len(parts) + 1) + "|"]
    for (data, split), runs in rows.items():
        folds = [fold["variance_shares"]["gp"] for run in runs[WITH] for fold in run["learnt"].values()]
        shares = [f"{np.mean([fold.get(part, 0.0) for fold in folds]):.2f}" for part in parts]
        lines.append(f"| {NAMES[data]}, {split} | {' | '.join(shares)} |")
    lines += ["", "## Every baseline, RMSE in t/ha", ""]
    names = list(next(iter(rows.values()))[WITH][0]["baselines"])
    lines += ["| baseline | " + " | ".join(f"{NAMES[d]}, {s}" for d, s in rows) + " |", "|---" * (len(rows) + 1) + "|"]
    for name in names:
        cells = [f"{baseline(runs[WITH], name):.3f}" for runs in rows.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw_learners(rows: Rows) -> None:
    """docs/learners.png: weights of the learners and variance shares of the blocks, a bar per table and split."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    labels = [f"{NAMES[data]}, {split}" for data, split in rows]
    weights = [{n: np.mean([run["learners"].get(n, 0.0) for run in runs[WITH]]) for n in runs[WITH][0]["learners"]}
               for runs in rows.values()]  # fmt: skip
    shares = []
    for runs in rows.values():
        folds = [fold["variance_shares"]["gp"] for run in runs[WITH] for fold in run["learnt"].values()]
        shares.append({name: np.mean([fold.get(name, 0.0) for fold in folds]) for name in folds[0]})
    figure, panels = plt.subplots(1, 2, figsize=(11, 1.2 + 0.42 * len(rows)), sharey=True)
    titles = ("Weights of the learners", "Share of the anomaly's variance (Gaussian process)")
    for panel, parts, title in zip(panels, (weights, shares), titles, strict=True):
        names = list(dict.fromkeys(name for part in parts for name in part))
        left = np.zeros(len(rows))
        for number, name in enumerate(names):
            width = np.array([part.get(name, 0.0) for part in parts])
            panel.barh(labels, width, left=left, label=name, color=plt.get_cmap("tab10")(number))
            left += width
        panel.set_title(title, fontsize=10)
        panel.set_xlim(0, 1)
        panel.legend(fontsize=7, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.08), frameon=False)
        panel.tick_params(labelsize=8)
    panels[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / "learners.png", dpi=110)
    plt.close(figure)


def best_name(runs: Sequence[dict[str, Any]]) -> str:
    """The baseline with the lowest mean RMSE over the runs."""
    best: str = min(runs[0]["baselines"], key=lambda name: baseline(runs, name))
    return best


def baseline(runs: Sequence[dict[str, Any]], name: str) -> float:
    """Mean RMSE of a baseline, t/ha."""
    return float(np.mean([run["baselines"][name]["rmse"] for run in runs]))


def mean(runs: Sequence[dict[str, Any]], name: str) -> str:
    """Mean over runs, with the standard deviation if there are several."""
    return spread([run["metrics"][name] for run in runs])


if __name__ == "__main__":
    main()
