"""make tables: the results table of docs/results.md, from the real data sets, by the commands that a user would give.

Each row is a stage-2 run over all folds of a split; runs that are complete are not made again. Where a data set is not
there its rows are left out, and the page says so.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from report.run import hardware

ROOT = Path(__file__).resolve().parents[1]
CARDS = {"illinois_soybean": "cards/illinois_soybean.toml", "zambia_maize": "cards/zambia_maize.toml"}


@dataclass(frozen=True)
class Arguments:
    """Which runs to make."""

    seeds: int = 3
    """Seeds a row."""
    splits: tuple[str, ...] = ("leave-year-out", "place")
    """Splits a data set."""
    presets: tuple[str, ...] = ("timesclip", "language-only")
    """Presets a split."""
    cards: tuple[str, ...] = tuple(CARDS)
    """Data sets."""


def main() -> None:
    """Make what is missing, then write the page."""
    args = tyro.cli(Arguments, description=__doc__)
    sections = []
    for name in args.cards:
        for split in args.splits:
            results = {
                preset: [result_of(name, split, preset, seed) for seed in range(args.seeds)] for preset in args.presets
            }
            sections.append(section(name, split, results))
    write(sections)  # at the end: a changed file would mark the commit of the runs after it


def result_of(name: str, split: str, preset: str, seed: int) -> dict[str, Any]:
    """The result of one stage-2 run; renders and trains first where it is not there."""
    folder = Path("runs", "tables", f"{name}-{split}-{preset}-seed{seed}")  # relative: the commands are printed
    if not (ROOT / folder / "stage2" / "result.json").is_file():
        common = ["--data", CARDS[name], "--split", split]
        run("render_cache.py", *common, "--encoder", "efficientnet-lite0", "--seed", str(seed))
        common += ["--preset", preset, "--seed", str(seed)]
        one, two = str(folder / "stage1"), str(folder / "stage2")
        if not (ROOT / one / "result.json").is_file():
            run("train.py", "--stage", "1", *common, "--out", one)
        run("train.py", "--stage", "2", *common, "--from", one, "--out", two)
    result: dict[str, Any] = json.loads((ROOT / folder / "stage2" / "result.json").read_text())
    return result


def run(*command: str) -> None:
    """One command of the README; its output goes to standard error."""
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, stdout=sys.stderr)


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
    encoder, commits = first["encoder"], sorted({run["commit"][:12] for runs in results.values() for run in runs})
    lines += ["", f"Pictures seen by {encoder}. Commit {', '.join(commits)}. Command of the first run:", ""]
    lines += ["    " + first["command"], ""]
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Mean, and the standard deviation where it shows."""
    deviation = float(np.std(values))
    return f"{np.mean(values):.3f}" + (f" +- {deviation:.3f}" if deviation >= 0.0005 else "")


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
