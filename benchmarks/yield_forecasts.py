"""docs/yield-forecasts.md, docs/learners.png and the README's table: a row per table and split, of matrices that exist.

Runs with pictures are of the arm `timesclip`, runs without are of `language-only`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.matrices import Matrix
from benchmarks.runs import commits, spread
from report.run import hardware
from report.run_page.sentences import lead_of
from verdict.arms import WITH, WITHOUT

SHOWN = ("illinois_soybean", "zambia_maize")  # in the README
NAMES = {
    "illinois_soybean": "Illinois soybean",
    "zambia_maize": "Zambia maize",
    "cybench_maize_ES": "CY-Bench maize, Spain",
    "cybench_wheat_NL": "CY-Bench wheat, Netherlands",
    "demo": "demo (simulated)",
}


def short_table(matrices: Sequence[Matrix]) -> str:
    """RMSE with pictures, without them, of the best baseline and of the place mean; the lowest is bold."""
    lines = [
        "| RMSE, t/ha (R2) | test rows | this model | without pictures | best baseline | place mean |",
        "|---|---|---|---|---|---|",
    ]
    for matrix in matrices:
        if matrix.data not in SHOWN:
            continue
        ours, without = matrix.results(WITH), matrix.results(WITHOUT)
        best = best_name(ours)
        errors = [mean(ours, "rmse"), mean(without, "rmse"),
                  f"{baseline(ours, best):.3f}", f"{baseline(ours, 'place mean'):.3f}"]  # fmt: skip
        least = min(errors)  # they have the same number of digits
        shown = [f"**{error}**" if error == least else error for error in errors]
        cells = [
            title(matrix),
            f"{ours[0]['n_test']}",
            f"{shown[0]} ({mean(ours, 'r2')})",
            f"{shown[1]} ({mean(without, 'r2')})",
            f"{shown[2]}, {best}",
            shown[3],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def page(matrices: Sequence[Matrix]) -> str:
    """The text of docs/yield-forecasts.md."""
    rows = {title(matrix): (matrix.results(WITH), matrix.results(WITHOUT)) for matrix in matrices}
    every = [run for pair in rows.values() for one in pair for run in one]
    lines = [
        "# Yield forecasts",
        "",
        "`make tables` writes this page; do not edit it. Each row pools the test rows of all folds; the runs are "
        f"those of `docs/results.md`. Seeds: {max(matrix.seeds for matrix in matrices)}. Commit {commits(every)}. "
        f"{hardware()}. "
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
    for name, (ours, without) in rows.items():
        best = best_name(ours)
        difference, low, high = lead_of(ours[0])
        lead = f"{difference:+.3f} ({low:+.3f} to {high:+.3f}, {ours[0]['best_baseline']['over']})"
        cells = [
            name,
            f"{ours[0]['n_test']}, {len(ours[0]['folds'])}",
            *(mean(ours, name) for name in ("rmse", "r2", "mae", "coverage_90")),
            f"{best} {baseline(ours, best):.3f}",
            lead,
            mean(without, "rmse"),
            f"{np.mean([run['metrics']['nrmse_by_year'] for run in ours]):.2f}",
            f"{np.mean([run['baselines']['place mean']['nrmse_by_year'] for run in ours]):.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## Weights of the learners", "", "Means over folds and seeds, with pictures.", ""]
    names = list(dict.fromkeys(name for ours, _ in rows.values() for run in ours for name in run["learners"]))
    lines += [f"| table, split | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for name, (ours, _) in rows.items():
        shares = [f"{np.mean([run['learners'].get(one, 0.0) for run in ours]):.2f}" for one in names]
        lines.append(f"| {name} | {' | '.join(shares)} |")
    lines += ["", "## Variance shares in the Gaussian process with a year effect", ""]
    lines += ["Shares of the variance of the yield anomaly, on training rows; means over folds and seeds.", ""]
    parts = ("numbers", "pictures", "year", "noise")
    lines += [f"| table, split | {' | '.join(parts)} |", "|---" * (len(parts) + 1) + "|"]
    for name, (ours, _) in rows.items():
        shares = [f"{share:.2f}" for share in variance_shares(ours, parts)]
        lines.append(f"| {name} | {' | '.join(shares)} |")
    lines += ["", "## Every baseline, RMSE in t/ha", ""]
    names = list(next(iter(rows.values()))[0][0]["baselines"])
    lines += [f"| baseline | {' | '.join(rows)} |", "|---" * (len(rows) + 1) + "|"]
    for name in names:
        cells = [f"{baseline(ours, name):.3f}" for ours, _ in rows.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def title(matrix: Matrix) -> str:
    """The name of a row."""
    return f"{NAMES[matrix.data]}, {matrix.split}"


def variance_shares(runs: Sequence[dict[str, Any]], parts: Sequence[str]) -> list[float]:
    """Share of each part in the variance of the anomaly by the Gaussian process, mean over folds and runs."""
    folds = [fold["variance_shares"]["gp"] for run in runs for fold in run["learnt"].values()]
    return [float(np.mean([fold.get(part, 0.0) for fold in folds])) for part in parts]


def draw_learners(matrices: Sequence[Matrix], path: Path) -> None:
    """Weights of the learners and variance shares of the blocks, a bar per table and split."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    runs = {title(matrix): matrix.results(WITH) for matrix in matrices}
    labels = list(runs)
    weights = [{n: np.mean([run["learners"].get(n, 0.0) for run in ours]) for n in ours[0]["learners"]}
               for ours in runs.values()]  # fmt: skip
    parts = ("numbers", "pictures", "year", "noise")
    shares = [dict(zip(parts, variance_shares(ours, parts), strict=True)) for ours in runs.values()]
    figure, panels = plt.subplots(1, 2, figsize=(11, 1.2 + 0.42 * len(labels)), sharey=True)
    titles = ("Weights of the learners", "Share of the anomaly's variance (Gaussian process)")
    for panel, bars, heading in zip(panels, (weights, shares), titles, strict=True):
        names = list(dict.fromkeys(name for part in bars for name in part))
        left = np.zeros(len(labels))
        for number, name in enumerate(names):
            width = np.array([part.get(name, 0.0) for part in bars])
            panel.barh(labels, width, left=left, label=name, color=plt.get_cmap("tab10")(number))
            left += width
        panel.set_title(heading, fontsize=10)
        panel.set_xlim(0, 1)
        panel.legend(fontsize=7, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.08), frameon=False)
        panel.tick_params(labelsize=8)
    panels[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
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
