"""make tables: the results table of docs/results.md, from the real data sets, by the commands that a user would give.

Each row is a stage-2 run over all folds of a split; runs that are complete are not made again. Where a data set is not
there its rows are left out, and the page says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tyro

from benchmarks.runs import ROOT, Job, commits, results, spread
from report.run import hardware


@dataclass(frozen=True)
class Arguments:
    """Which runs to make."""

    seeds: int = 3
    """Seeds a row."""
    splits: tuple[str, ...] = ("leave-year-out", "place")
    """Splits a data set."""
    presets: tuple[str, ...] = ("timesclip", "language-only")
    """Presets a split."""
    cards: tuple[str, ...] = ("illinois_soybean", "zambia_maize")
    """Data sets."""
    workers: int = 2
    """Runs at a time."""


def main() -> None:
    """Make what is missing, then write the page."""
    args = tyro.cli(Arguments, description=__doc__)
    seeds = range(args.seeds)
    grid = [(name, split) for name in args.cards for split in args.splits]
    found = results([Job(*at, preset, seed) for at in grid for preset in args.presets for seed in seeds], args.workers)
    sections = [
        section(*at, {preset: [found[Job(*at, preset, seed)] for seed in seeds] for preset in args.presets})
        for at in grid
    ]
    write(sections)  # at the end: a changed file would mark the commit of the runs after it


def section(name: str, split: str, results: dict[str, list[dict[str, Any]]]) -> str:
    """One Markdown table: every preset with its spread over seeds, then the baselines on the same folds."""
    first = next(iter(results.values()))[0]
    seeds = len(next(iter(results.values())))
    lines = [
        f"## {name}, {split}",
        "",
        f"{first['n_test']} test samples in {len(first['folds'])} folds ({', '.join(first['folds'])}), each once; "
        f"{seeds} seeds, mean +- standard deviation. {first['counts']}",
        "",
        "| forecast | R2 | RMSE, t/ha | MAE, t/ha | 90 % interval holds |",
        "|---|---|---|---|---|",
    ]
    for preset, runs in results.items():
        cells = [spread([run["metrics"][metric] for run in runs]) for metric in ("r2", "rmse", "mae", "coverage_90")]
        lines.append(f"| **{preset}** | {' | '.join(cells)} |")
    for baseline in first["baselines"]:
        runs = next(iter(results.values()))
        cells = [spread([run["baselines"][baseline][metric] for run in runs]) for metric in ("r2", "rmse", "mae")]
        lines.append(f"| {baseline} | {' | '.join(cells)} | |")
    told = commits(run for runs in results.values() for run in runs)
    lines += ["", f"Pictures seen by {first['encoder']}. Commit {told}. Command of the first run:", ""]
    lines += ["    " + first["command"], ""]
    return "\n".join(lines)


def write(sections: list[str]) -> None:
    """docs/results.md."""
    head = (
        "# Results on real data\n\nMade by `make tables`; do not edit. Hardware: "
        f"{hardware()}. No number here was got with CLIP: its weights could not be reached, and the pictures were "
        "seen by efficientnet-lite0 (ImageNet).\n"
    )
    (ROOT / "docs" / "results.md").write_text("\n".join([head, *sections]))


if __name__ == "__main__":
    main()
