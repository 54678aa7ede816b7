"""python -m benchmarks.learning_curve: RMSE against the share of training rows, for two presets and two baselines.

Writes docs/learning-curve.png and docs/learning-curve.md. Small tables are the rule in this field.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from benchmarks.runs import ENCODER, ROOT, Job, commits, results, spread
from model.presets import PresetName
from pipeline.parser import parse_flags
from report.run import hardware

SHARES = (0.1, 0.25, 0.5, 1.0)
PRESETS: tuple[PresetName, ...] = ("timesclip", "simple")
UNLABELLED = "timesclip"
ALL_SEASONS = f"{UNLABELLED}, stage 1 on all seasons"
BASELINES = ("ridge", "gradient boosting", "place mean", "ridge on the anomaly")


@dataclass(frozen=True)
class Arguments:
    """The runs to make."""

    seeds: int = 3
    """Seeds per point; they also draw the rows."""
    split: str = "year"
    """How rows are held out."""
    cards: tuple[str, ...] = ("illinois_soybean", "zambia_maize", "demo")
    """Data sets."""
    workers: int = 2
    """Runs side by side."""


def main() -> None:
    """Make the missing runs, then draw and write."""
    args = parse_flags(Arguments, None, __doc__, "benchmarks.learning_curve")
    seeds = range(args.seeds)
    jobs: dict[tuple[str, float, str], list[Job]] = {}
    for data, share, preset in itertools.product(args.cards, SHARES, PRESETS):
        flags = () if share == 1 else ("--share", str(share))
        jobs[data, share, preset] = [Job(data, args.split, preset, seed, flags) for seed in seeds]
        if preset == UNLABELLED:
            jobs[data, share, ALL_SEASONS] = [Job(data, args.split, preset, seed, late=flags) for seed in seeds]
    results_by_job = results((job for group in jobs.values() for job in group), args.workers)
    curves: dict[str, dict[str, list[list[float]]]] = {}
    for data in args.cards:
        curves[data] = {name: [] for name in (*PRESETS, ALL_SEASONS, *BASELINES)}
        for share in SHARES:
            for name in (ALL_SEASONS, *PRESETS):
                runs = [results_by_job[job] for job in jobs[data, share, name]]
                curves[data][name].append([run["metrics"]["rmse"] for run in runs])
            for name in BASELINES:
                curves[data][name].append([run["baselines"][name]["rmse"] for run in runs])
    draw(curves)
    write(curves, args, commits(results_by_job.values()))


def draw(curves: dict[str, dict[str, list[list[float]]]]) -> None:
    """Draw one panel per data set."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(curves), figsize=(4.2 * len(curves), 3.4), squeeze=False)
    for panel, (data, lines) in zip(panels[0], curves.items(), strict=True):
        for name, points in lines.items():
            mean, deviation = np.mean(points, axis=1), np.std(points, axis=1)
            style = "--" if name in BASELINES else "-"
            panel.errorbar([100 * share for share in SHARES], mean, deviation, label=name, linestyle=style, capsize=2)
        panel.set(title=data, xlabel="training rows, %", ylabel="RMSE of the test year, t/ha", xscale="log")
        panel.set_xticks([100 * share for share in SHARES], [f"{100 * share:.0f}" for share in SHARES])
        panel.grid(alpha=0.3)
    panels[0][0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / "learning-curve.png", dpi=110)


def write(curves: dict[str, dict[str, list[list[float]]]], args: Arguments, commit: str) -> None:
    """Write docs/learning-curve.md."""
    lines = [
        "# Learning curve",
        "",
        "`python -m benchmarks.learning_curve` writes this page; do not edit it. It gives the RMSE in t/ha on the test "
        f"rows of split {args.split} (mean +- standard deviation over {args.seeds} seeds) when only a share of the "
        "training rows is kept. The seed draws these rows, and baselines use the same ones. In the line "
        f"*{ALL_SEASONS}*, only stage 2 has fewer rows, because stage 1 reads no yield. {ENCODER} embedded the "
        f"pictures, not CLIP. {hardware()}, commit {commit}.",
        "",
        "![RMSE against the share of training rows](learning-curve.png)",
        "",
    ]
    for data, rows in curves.items():
        lines += [f"## {data}", "", "| | " + " | ".join(f"{share:.0%}" for share in SHARES) + " |"]
        lines.append("|---" * (len(SHARES) + 1) + "|")
        lines += [f"| {name} | {' | '.join(spread(points) for points in columns)} |" for name, columns in rows.items()]
        lines.append("")
    (ROOT / "docs" / "learning-curve.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
