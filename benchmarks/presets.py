"""python -m benchmarks.presets: docs/presets.md, one table of every preset with its size, speed and forecasts.

Rows are stage-2 runs. Complete runs are not made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.drawing import fastest
from benchmarks.runs import ENCODER, ROOT, Job, commits, results, spread
from model.completion_task import CompletionTask, SeasonRows
from model.config import TimesCLIPConfig
from model.presets import PRESETS, LinkName, Preset, PresetName
from model.season_tensors import SeasonTensors, WindowTensors
from model.timesclip import TimesCLIP
from model.training.optim import Schedule
from model.training.trainer import Trainer
from pipeline.parser import parse_flags
from report.run import commit, hardware

VARIATES, STEPS, DIM, BATCH = 7, 36, 1280, 64
SLOW = ("optimal",)  # one seed, and not on the demo: a step takes ten times as long, and a run there 20 minutes
LINKS: tuple[LinkName, ...] = ("frozen", "error", "scratch")


@dataclass(frozen=True)
class Arguments:
    """The runs to make."""

    seeds: int = 3
    """Seeds per row."""
    splits: tuple[str, ...] = ("year", "place")
    """Splits of every data set."""
    presets: tuple[PresetName, ...] = tuple(PRESETS)
    """Presets to compare."""
    cards: tuple[str, ...] = ("illinois_soybean", "zambia_maize", "demo")
    """Data sets."""
    workers: int = 2
    """Runs side by side."""


def main() -> None:
    """Make the missing runs, then write the page."""
    args = parse_flags(Arguments, None, __doc__, "benchmarks.presets")
    seeds = range(args.seeds)
    few = {preset: seeds[:1] if preset in SLOW else seeds for preset in args.presets}
    grid = [(data, split) for data in args.cards for split in args.splits]
    wanted = [(at, preset) for at in grid for preset in args.presets if at[0] != "demo" or preset not in SLOW]
    jobs = {(at, preset): [Job(*at, preset, seed) for seed in few[preset]] for at, preset in wanted}
    linked = {
        (at, link): [Job(*at, "timesclip", seed, late=() if link == "frozen" else ("--link", link)) for seed in seeds]
        for at in grid
        for link in LINKS
    }
    results_by_job = results((job for group in (*jobs.values(), *linked.values()) for job in group), args.workers)
    names = {
        at: {name: [results_by_job[job] for job in jobs[at, name]] for where, name in jobs if where == at}
        for at in grid
    }
    ways = {at: {name: [results_by_job[job] for job in linked[at, name]] for name in LINKS} for at in grid}
    write([sizes(args.presets), *forecasts("Every preset", names), *forecasts("Stage links of timesclip", ways)])


def sizes(presets: Sequence[PresetName]) -> str:
    """Parameters, multiply-adds and seconds per training step, for 7 variates of 36 steps and 1280-d embeddings."""
    lines = [
        "## Sizes",
        "",
        f"Stage 1 on {VARIATES} variates of {STEPS} steps, with embeddings of {DIM} numbers, batches of {BATCH} and "
        "one thread. MACs are multiply-adds of one forward pass. A step is forward pass, loss, backward pass and AdamW."
        f" {hardware()}, commit {commit()[:12]}.",
        "",
        "| preset | parameters | MACs per sample | ms per step |",
        "|---|---|---|---|",
    ]
    for name in presets:
        parameters, macs, seconds = cost(PRESETS[name])
        lines.append(f"| {name} | {parameters:,} | {macs / 1e6:.2f} M | {1000 * seconds:.1f} |")
    return "\n".join([*lines, ""])


def cost(preset: Preset) -> tuple[int, float, float]:
    """Parameters, multiply-adds per sample, and seconds per step."""
    torch.set_num_threads(1)
    cut = STEPS // 2
    whole = preset.framing == "season"
    frame = STEPS if whole else cut
    config = TimesCLIPConfig(
        VARIATES, frame, STEPS - cut, vision_dim=DIM * preset.use_vision, **replace(preset).parts()
    )
    torch.manual_seed(0)
    model = TimesCLIP(config)
    first, second = (synthetic_window(frame, preset.use_vision) for _ in range(2))
    season = SeasonTensors(first, second, cut if whole else None)
    if first.embeddings is not None:
        model.fit_features([first.embeddings])
    with FlopCounterMode(display=False) as counter:
        model(*first.inputs())
    task = CompletionTask(model, SeasonRows([season.to_complete()], torch.arange(BATCH)), torch.arange(0), BATCH)
    trainer = Trainer(Schedule(epochs=20, batch_size=BATCH))
    seconds = fastest(lambda: trainer.refit(task, "bench/refit", 20), 2) / 20
    return sum(p.numel() for p in model.parameters()), counter.get_total_flops() / 2 / BATCH, seconds


def synthetic_window(steps: int, pictures: bool) -> WindowTensors:
    """A window of random values."""
    values = torch.randn(BATCH, VARIATES, steps)
    vectors = torch.randn(BATCH, VARIATES, DIM).half() if pictures else None
    return WindowTensors(values, torch.ones_like(values, dtype=torch.bool), vectors)


def forecasts(title: str, tables: dict[tuple[str, str], dict[Any, list[dict[str, Any]]]]) -> list[str]:
    """One Markdown table per data set and split: rows are systems, then the baselines on the same test rows."""
    sections = []
    for (data, split), rows in tables.items():
        first = next(iter(rows.values()))
        lines = [
            f"## {title}: {data}, {split}",
            "",
            f"{first[0]['n_test']} test samples; folds: {len(first[0]['folds'])}. "
            "Mean +- standard deviation over seeds.",
            "",
            "| forecast | seeds | R2 | RMSE, t/ha | coverage of the 90 % interval |",
            "|---|---|---|---|---|",
        ]
        for name, runs in rows.items():
            cells = [spread([run["metrics"][metric] for run in runs]) for metric in ("r2", "rmse", "coverage_90")]
            lines.append(f"| **{name}** | {len(runs)} | {' | '.join(cells)} |")
        for name in first[0]["baselines"]:
            cells = [spread([run["baselines"][name][metric] for run in first]) for metric in ("r2", "rmse")]
            lines.append(f"| {name} | {len(first)} | {' | '.join(cells)} | |")
        made_at = commits(run for runs in rows.values() for run in runs)
        lines += ["", f"Commit {made_at}. Command of the first run:", "", "    " + first[0]["command"], ""]
        sections.append("\n".join(lines))
    return sections


def write(sections: list[str]) -> None:
    """Write docs/presets.md."""
    head = (
        "# Presets\n\n`python -m benchmarks.presets` writes this page; do not edit it. `docs/models.md` describes the "
        f"presets. No number here was measured with CLIP: {ENCODER} (ImageNet) embedded the pictures. "
        f"Hardware: {hardware()}.\n"
    )
    (ROOT / "docs" / "presets.md").write_text("\n".join([head, *sections]))


if __name__ == "__main__":
    main()
