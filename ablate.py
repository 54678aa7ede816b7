"""Do pictures improve the yield forecast on your data? Trains every arm on the same rows and compares them.

The result is one sentence and one page, from statistics over held-out years or places.

    python ablate.py --data my_card.toml --seeds 5 --split leave-year-out
    python ablate.py --data my_card.toml --arms controls augmentation     these arms, and the two that decide
    python ablate.py --dry-run                                            print what would run, and what is left out

It can be stopped and run again at any time: finished runs are used, stopped ones resume. docs/verdict.md has the rule.
"""

from __future__ import annotations

import pipeline.loading  # isort: skip  # noqa: F401  # first, for Ctrl-C while the others load

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from PIL.Image import Image

from cache.contact_sheet import preview
from cache.storage import CacheError, refuse_unless_cache
from model.encoders import EncoderError, resolve
from model.training.errors import Refused
from pipeline.duplicates import refuse_twins
from pipeline.errors import InputError
from pipeline.flags import CacheFlags, Names, ReadingFlags, SplitFlags, TableFlags
from pipeline.parser import parse_flags
from pipeline.plural import plural
from pipeline.program import run_program
from pipeline.series import fold_ranges
from pipeline.sources import read
from pipeline.splits import EVERY, Fold, SplitChoice, make_folds, resolve_split
from pipeline.style import Style
from pipeline.table import SeasonTable
from pipeline.version import __version__
from report.atomic_write import write_whole
from report.run import commit, hardware
from stages.runs.command_line import accepts
from verdict.arms import ARMS, WITH, Arm, Flags, choose, encoder_arm, lacking, render_flags
from verdict.dask_runner import run_on_dask
from verdict.page import Contents, page
from verdict.render_costs import prices
from verdict.render_costs import render as render_once
from verdict.results import (
    MatrixResults,
    as_record,
    collect,
    compare_all,
    cost,
    evidence,
    finite,
    record_of,
    verdict_of,
)
from verdict.runner import Failure, Job, Runner, claim, maps_plan, plan, require_same_matrix, slug, typed
from verdict.statistics import DRAWS


@dataclass(frozen=True)
class Arguments(ReadingFlags, SplitFlags, CacheFlags, TableFlags):
    """Train every arm with every seed, compare them, and decide whether pictures pay."""

    split: SplitChoice = "auto"
    """How rows are held out; auto: forward if the table has three years or more, else by place. More held-out years or
    places make smaller differences detectable."""
    folds: Names = ()
    """Only these folds of the split, as in 2021,2022; by default all; with forward, each year after the first two."""
    seeds: int = 5
    """Runs per arm."""
    arms: tuple[str, ...] = ()
    """Arms or groups of arms to run, in addition to timesclip and language-only; by default all."""
    encoder: str = "auto"
    """The encoder of every arm that names none; see render_cache.py."""
    encoders: tuple[str, ...] = ()
    """Further encoders to compare, one arm each."""
    epochs: int | None = None
    """Maximum number of epochs of both stages; by default that of train.py."""
    workers: int = 1
    """Runs side by side, which share the cores."""
    scheduler: str | None = None
    """Address of a Dask scheduler (tcp://host:8786) whose workers make the runs; they need access to this folder."""
    out: Path | None = None
    """The folder of the matrix; by default runs/verdict-<data>-<split>."""
    draws: int = DRAWS
    """Draws of the bootstrap."""
    dry_run: bool = False
    """Print the arms, their questions and what is left out, and change nothing."""


FIRST_FLAGS = ("data", "cache", "split", "folds", "seeds", "arms", "epochs", "workers", "out", "dry-run")  # in --help


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0, 1 (a run failed), 2 (bad input), 130 (Ctrl-C), 143 (SIGTERM)."""
    given = sys.argv[1:] if arguments is None else arguments
    return run_program(
        "ablate.py",
        lambda: ablate(
            parse_flags(Arguments, arguments, __doc__, "ablate.py", short=FIRST_FLAGS),
            typed(("ablate.py", *given), Path.cwd()),
        ),
        refused=(EncoderError, Refused),
        failed=(CacheError,),
        after_stop="The same command resumes it.",
    )


@dataclass(frozen=True)
class Matrix:
    """The plan: what to run, and which arms are left out."""

    table: SeasonTable
    folds: tuple[Fold, ...]
    out: Path
    encoder: str
    arms: tuple[Arm, ...]
    left_out: dict[str, str]
    jobs: list[Job]
    renders: list[tuple[str, Flags]]
    shared: dict[str, object]


def ablate(args: Arguments, command: str) -> int:
    """The whole program: plan, render, run, compare, write."""
    table = read(args.data, year=args.year, memory_gb=args.memory_gb)
    split, why = resolve_split(args.split, table, by_years="forward")
    if why:
        print(why)
    args = replace(args, split=split)
    matrix = prepare(args, table)
    if args.dry_run:
        require_same_matrix(matrix.out, matrix.shared)
        describe(matrix)
        return 0
    claim(matrix.out, matrix.shared)
    waiting = [job for job in matrix.jobs if not job.done]
    print(f"{matrix.out}: {plural(len(matrix.jobs), 'job')}, {len(matrix.jobs) - len(waiting)} done before")
    if waiting and (code := render(args.cache, matrix)):
        return code
    if args.scheduler is None:
        failures = Runner().run_all(matrix.jobs, args.workers)
    else:
        failures = run_on_dask(matrix.jobs, args.scheduler)
    outcomes = collect(matrix.jobs, "place" if args.split == "place" else "year")
    conclude(args, matrix, outcomes, failures, command)
    return 1 if failures else 0


def prepare(args: Arguments, table: SeasonTable | None = None) -> Matrix:
    """Plan the matrix, with the split settled, and raise for all invalid input. Writes nothing."""
    for name, least in (("seeds", 1), ("workers", 1), ("draws", 1000)):
        if getattr(args, name) < least:
            raise InputError(f"--{name} is {getattr(args, name)}; at least {least} is needed.")
    if args.epochs is not None and args.epochs < 1:
        raise InputError(f"--epochs is {args.epochs}; at least 1 is needed.")
    if args.scheduler is not None and args.workers != 1:
        raise InputError("--workers counts runs on this machine, but --scheduler has its own workers. Leave one out.")
    if args.split == "random":
        raise InputError(
            "--split random holds out rows, not years or places. Rows of one year and place are then in training and "
            "test, and no honest interval is available. Use --split forward, leave-year-out or place."
        )
    refuse_unless_cache(args.cache)
    table = read(args.data, year=args.year, memory_gb=args.memory_gb) if table is None else table
    assert args.split != "auto"  # `resolve_split` has replaced it
    folds = make_folds(
        table.year, table.place, table.sample_id, split=args.split, chosen=args.folds or (EVERY,), group=table.group
    )
    refuse_twins(table, folds)
    encoder, others = resolve(args.encoder), [resolve(name) for name in args.encoders]
    every = (*ARMS, *(encoder_arm(other.label) for other in others))
    chosen = choose(every, (*args.arms, *(f"encoder {other.label}" for other in others)) if args.arms else ())
    missing = {arm.name: lacking(arm, accepts) for arm in chosen}
    arms = tuple(arm for arm in chosen if missing[arm.name] is None)

    where: Flags = ("--data", args.data, "--cache", args.cache, "--split", args.split)
    where += ("--folds", ",".join(args.folds or (EVERY,)))
    where += reading_flags(args)
    how = ("--epochs", str(args.epochs)) if args.epochs else ()
    out = args.out or Path("runs") / f"verdict-{slug(table.name)}-{args.split}"
    seeds = range(args.seeds)
    jobs = plan(out, arms, seeds, (*where, *how), encoder.label) + maps_plan(out, seeds, where, encoder.label)
    names = {spec.label: spec.name for spec in (encoder, *others)}
    return Matrix(
        table=table,
        folds=folds,
        out=out,
        encoder=encoder.label,
        arms=arms,
        left_out={name: why for name, why in missing.items() if why},
        jobs=jobs,
        renders=renders(args, arms, names, encoder.label),
        shared={
            "data": f"{table.name} {table.fingerprint()}",
            "split": args.split,
            "folds": ",".join(fold.name for fold in folds),
            "epochs": args.epochs,
            "encoder": f"{encoder.label} {encoder.weights_digest}",
        },
    )


def reading_flags(args: Arguments) -> Flags:
    """The flags of the programs that are run, for how they read the table."""
    flags: Flags = ("--year", str(args.year)) if args.year is not None else ()
    return flags if args.memory_gb is None else (*flags, "--memory-gb", str(args.memory_gb))


def renders(args: Arguments, arms: Sequence[Arm], names: dict[str, str], encoder: str) -> list[tuple[str, Flags]]:
    """Every kind of pictures of the arms, with a command that renders it. names: name of each encoder by its label."""
    where: Flags = ("--data", args.data, "--cache", args.cache, "--split", args.split)
    where += ("--folds", ",".join(args.folds or (EVERY,)), "--workers", "2")
    where += reading_flags(args)
    seeds = range(args.seeds) if args.split == "place" else range(1)  # the seed of the folds, which determine y-ranges
    commands = []
    for flags in dict.fromkeys(render_flags(arm, encoder) for arm in arms):
        named = tuple(names.get(flag, flag) for flag in flags)
        commands += [(" ".join(flags), ("render_cache.py", *where, *named, "--seed", str(seed))) for seed in seeds]
    return commands


def describe(matrix: Matrix) -> None:
    """Print what would run."""
    for arm in matrix.arms:
        print(f"{arm.group:14s} {arm.name:24s} {arm.question}  {' '.join((*arm.flags, *arm.second))}")
    for name, why in matrix.left_out.items():
        print(f"left out       {name:24s} {why}")
    undone = [job for job in matrix.jobs if not job.done]
    print(f"{matrix.table.name}: {plural(len(matrix.folds), 'fold')}, {plural(len(matrix.renders), 'rendering')}, "
          f"{plural(len(matrix.jobs), 'job')}, "
          f"{len(undone)} to do, in {matrix.out}")  # fmt: skip


def render(cache: str, matrix: Matrix) -> int:
    """Draw and embed the missing pictures, once for all arms. Returns the first exit code that is not 0."""
    for kind, command in matrix.renders:
        if code := render_once(command, kind, cache, matrix.out):
            return code
    return 0


def conclude(
    args: Arguments, matrix: Matrix, outcomes: MatrixResults, failures: Sequence[Failure], command: str
) -> None:
    """Compare, decide, write verdict.json and verdict.html, print the sentence."""
    comparisons = compare_all(outcomes, args.draws)
    samples = len(matrix.table)
    with_pictures = [
        arm for arm in matrix.arms if arm.name in outcomes.arms and outcomes.results[arm.name][0]["encoder"]
    ]
    kinds = {arm.name: " ".join(render_flags(arm, matrix.encoder)) for arm in with_pictures}
    rendering = prices(matrix.out, kinds, args.cache, samples)
    verdict = verdict_of(comparisons, rendering[WITH].per_thousand, outcomes.held)
    costs = {arm.name: cost(matrix.jobs, arm.name) for arm in matrix.arms if arm.name in outcomes.arms}
    broken = [f"{f.job.arm}, seed {f.job.seed}, {f.step.name}: exit {f.code}, {f.line}" for f in failures]
    contents = Contents(
        data=matrix.table.name,
        split=args.split,
        verdict=verdict,
        outcomes=outcomes,
        comparisons=comparisons,
        costs=costs,
        rendering=rendering,
        left_out=matrix.left_out,
        failures=broken,
        sheets=sheets(matrix),
        commands=[command, *commands(matrix)],
        facts=facts_of(matrix, outcomes),
    )
    record = finite(
        {
            "verdict": verdict.word,
            "sentence": verdict.sentence,
            "because": verdict.because,
            "held_out": outcomes.held,
            "evidence": evidence(outcomes),
            "arms": {name: record_of(outcomes, name) for name in outcomes.arms},
            "costs": costs,
            "rendering": {name: asdict(price) for name, price in rendering.items()},
            "left_out": matrix.left_out,
            "failures": broken,
            "command": command,
            "facts": contents.facts,
        }
    )
    record["comparisons"] = [as_record(one) for one in comparisons]
    text = json.dumps(record, indent=1, allow_nan=False)
    write_whole(matrix.out / "verdict.json", lambda path: path.write_text(text + "\n"))
    write_whole(matrix.out / "verdict.html", lambda path: path.write_text(page(contents)))
    print(f"{verdict.sentence}\n{verdict.because}\nreport: {matrix.out / 'verdict.html'}")
    for line in broken:
        print(f"failed: {line}", file=sys.stderr)


def facts_of(matrix: Matrix, outcomes: MatrixResults) -> dict[str, str]:
    """For the page: what was compared, and what it was made with."""
    results = [result for of_arm in outcomes.results.values() for result in of_arm]
    folds = ", ".join(fold.name for fold in matrix.folds)
    return {
        "test rows": f"{len(outcomes.truth)} of {len(matrix.table)} samples, folds {folds}",
        "counts": matrix.table.describe_counts(),
        "encoder": matrix.encoder,
        "data fingerprint": matrix.table.fingerprint(),
        "cache namespace": ", ".join(sorted({str(r["cache_spec"]) for r in results if r["cache_spec"]})),
        "commit of the runs": ", ".join(sorted({r["commit"] for r in results})),
        "commit of this page": commit(),
        "version of this page": __version__,
        "hardware": ", ".join(sorted({r["hardware"] for r in results})) or hardware(),
        **evidence_facts(outcomes),
    }


def evidence_facts(outcomes: MatrixResults) -> dict[str, str]:
    """For the page: the Gaussian process's evidence for the pictures' kernels."""
    gp = evidence(outcomes)
    if not gp:
        return {}
    return {
        "evidence of the Gaussian process": f"{gp['gain']:+.1f} (log, mean over folds) with the pictures' kernels; "
        f"they explain {gp['share']:.0%} of the anomaly's variance"
    }


def sheets(matrix: Matrix) -> dict[str, Image]:
    """The plots of two samples in every y-range of the arms."""
    ranges = fold_ranges(matrix.table, matrix.folds[0])
    drawn = dict.fromkeys(arm.value("--style.y-range", "fixed") for arm in matrix.arms)
    return {
        f"y-range {name}": preview(matrix.table, ranges, Style(y_range=name), samples=2)  # type: ignore[arg-type]
        for name in drawn
    }


def commands(matrix: Matrix) -> list[str]:
    """Every command of the matrix, as a user would type it in this folder."""
    every = [*(one for _, one in matrix.renders), *(step.command for job in matrix.jobs for step in job.steps)]
    return [typed(command, Path.cwd()) for command in every]


if __name__ == "__main__":
    sys.exit(main())
