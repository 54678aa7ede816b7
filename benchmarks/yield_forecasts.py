"""docs/yield-forecasts.md, docs/learners.png and the README's table: a row per table and split, of matrices that exist.

Runs with pictures are of the arm `timesclip`, runs without are of `language-only`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.matrices import MATRICES, Matrix
from benchmarks.page_tables import cells, line, merged, read_table
from benchmarks.runs import commits, spread
from model.baselines import KRIGING
from report.run_page.sentences import lead_of
from stages.yields.yield_learners import MEMBERS
from verdict.arms import WITH, WITHOUT

NAMES = {
    "illinois_soybean": "Illinois soybean",
    "zambia_maize": "Zambia maize",
    "cybench_maize_ES": "CY-Bench maize, Spain",
    "cybench_wheat_NL": "CY-Bench wheat, Netherlands",
    "demo": "demo (simulated)",
}


README_HEAD = ("RMSE, t/ha (R2)", "test rows", "this model", "without pictures", "best baseline", "place mean")
ROW_HEAD = (
    "table, split",
    "test rows, folds",
    "RMSE, t/ha",
    "R2",
    "MAE",
    "coverage of the 90 % interval",
    "best baseline",
    "lead",
    "without pictures",
    "NRMSE, %",
    "NRMSE of the place mean, %",
    "commit",
)
PARTS = ("numbers", "pictures", "year", "noise")
VARIANCE_HEAD = ("table, split", *PARTS)
WEIGHTS, BASELINES = "## Weights of the learners", "## Every baseline, RMSE in t/ha"


def short_table(matrices: Sequence[Matrix], old: str) -> str:
    """RMSE with pictures, without them, of the best baseline and of the place mean; the lowest is bold."""
    rows = {title(matrix): _short_row(matrix) for matrix in matrices if matrix.data != "demo"}
    return "\n".join(merged(README_HEAD, rows, old, ORDER))


def _short_row(matrix: Matrix) -> list[str]:
    ours, without = matrix.results(WITH), matrix.results(WITHOUT)
    best = best_name(ours)
    errors = [mean(ours, "rmse"), mean(without, "rmse"),
              f"{baseline(ours, best):.3f}", f"{baseline(ours, 'place mean'):.3f}"]  # fmt: skip
    least = min(errors)  # they have the same number of digits
    shown = [f"**{error}**" if error == least else error for error in errors]
    return [
        title(matrix),
        f"{ours[0]['n_test']}",
        f"{shown[0]} ({mean(ours, 'r2')})",
        shown[1],
        f"{shown[2]}, {best}",
        shown[3],
    ]


def page(matrices: Sequence[Matrix], old: str) -> str:
    """The text of docs/yield-forecasts.md. Rows of other matrices stay as the page `old` has them."""
    runs = {title(matrix): (matrix.results(WITH), matrix.results(WITHOUT)) for matrix in matrices}
    every = [run for pair in runs.values() for one in pair for run in one]
    learners = [*MEMBERS["ensemble"], "offset"]
    rivals = [*(name for name in _names(run["baselines"] for run in every) if name != KRIGING), KRIGING]
    weights = {
        name: [name, *(f"{np.mean([run['learners'].get(one, 0.0) for run in ours]):.2f}" for one in learners)]
        for name, (ours, _) in runs.items()
    }
    shares = {name: [name, *(f"{one:.2f}" for one in variance_shares(ours, PARTS))] for name, (ours, _) in runs.items()}
    errors = {
        name: [name, *(f"{baseline(ours, one):.3f}" if one in ours[0]["baselines"] else "" for one in rivals)]
        for name, (ours, _) in runs.items()
    }
    lines = [
        "# Yield forecasts",
        "",
        "`make tables` writes this page; do not edit it. Each row pools the test rows of all folds; the runs are "
        "those of `docs/results.md`. ± is the standard deviation over seeds; rows without it have one seed. "
        "EfficientNet-Lite0 embedded the pictures; **no number here was measured with CLIP**.",
        "",
        "`lead` is the RMSE of the best baseline minus that of the run, in t/ha. It is positive if the run is better. "
        "Its 95 % interval comes from resampling whole years if six or more were tested, else whole places.",
        "",
        "`NRMSE` is the score of CY-Bench: 100 RMSE / mean yield of a test year, as the median over the test years.",
        "",
        *merged(ROW_HEAD, {name: [name, *_row(*pair)] for name, pair in runs.items()}, old, ORDER),
        "",
        WEIGHTS,
        "",
        "Means over folds and seeds, with pictures.",
        "",
        *merged(("table, split", *learners), weights, old, ORDER),
        "",
        "## Variance shares in the Gaussian process with a year effect",
        "",
        "Shares of the variance of the yield anomaly, on training rows; means over folds and seeds.",
        "",
        *merged(VARIANCE_HEAD, shares, old, ORDER),
        "",
        BASELINES,
        "",
        *merged(("table, split", *rivals), errors, old, ORDER),
    ]
    return "\n".join(lines) + "\n"


def _row(ours: Sequence[dict[str, Any]], without: Sequence[dict[str, Any]]) -> list[str]:
    best = best_name(ours)
    difference, interval = lead_of(ours[0])
    around = "" if interval is None else f"{interval[0]:+.3f} to {interval[1]:+.3f}, "
    return [
        f"{ours[0]['n_test']}, {len(ours[0]['folds'])}",
        *(mean(ours, name) for name in ("rmse", "r2", "mae", "coverage_90")),
        f"{best} {baseline(ours, best):.3f}",
        f"{difference:+.3f} ({around}{ours[0]['best_baseline']['over']})",
        mean(without, "rmse"),
        f"{np.mean([run['metrics']['nrmse_by_year'] for run in ours]):.2f}",
        f"{np.mean([run['baselines']['place mean']['nrmse_by_year'] for run in ours]):.2f}",
        commits([*ours, *without]),
    ]


def _names(records: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(name for record in records for name in record))


def title(matrix: Matrix) -> str:
    """The name of a row."""
    return f"{NAMES[matrix.data]}, {matrix.split}"


ORDER = tuple(title(matrix) for matrix in MATRICES)


def variance_shares(runs: Sequence[dict[str, Any]], parts: Sequence[str]) -> list[float]:
    """Share of each part in the variance of the anomaly by the Gaussian process, mean over folds and runs."""
    folds = [fold["variance_shares"]["gp"] for run in runs for fold in run["learnt"].values()]
    return [float(np.mean([fold.get(part, 0.0) for fold in folds])) for part in parts]


def draw_learners(text: str, path: Path) -> None:
    """Weights of the learners and variance shares of the blocks, a bar per row of the page `text`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    head = text[text.index(WEIGHTS) :].split("\n| ", 1)[1].splitlines()[0]
    weights, shares = (
        [dict(zip(first[1:], map(float, row[1:]), strict=True)) for row in read_table(text, line(first)).values()]
        for first in (cells(head), VARIANCE_HEAD)
    )
    labels = list(read_table(text, line(VARIANCE_HEAD)))
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
