"""Does vision pay on your data? Every arm on the same rows, statistics over what was held out, one sentence, one page.

    python ablate.py --data my_card.toml --seeds 5 --split leave-year-out
    python ablate.py --data my_card.toml --arms controls augmentation     these, beside the two that decide
    python ablate.py --dry-run                                            what would be run, and what is left out

Stop it whenever you like and run it again: finished runs are taken, stopped ones go on. docs/verdict.md has the rule.
"""

from __future__ import annotations

import json
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from PIL.Image import Image

from cache.sheet import preview
from cache.storage import CacheError, refuse_unless_cache
from model.encoders import EncoderError, resolve
from pipeline.errors import InputError
from pipeline.render import Style
from pipeline.series import fold_ranges
from pipeline.sources import read
from pipeline.splits import EVERY, Fold, SplitChoice, make_folds, resolve_split
from pipeline.table import SeasonTable
from pipeline.twins import refuse_twins
from pipeline.version import __version__, parse_flags
from report.output import write_whole
from report.run import commit, hardware
from stages.command_line import accepts
from verdict.arms import ARMS, WITH, Arm, Flags, choose, encoder_arm, lacking, render_flags
from verdict.elsewhere import run_elsewhere
from verdict.matrix import Failure, Job, Runner, claim, maps_plan, plan, refuse_another, slug
from verdict.outcomes import (
    Outcomes,
    as_record,
    collect,
    compare_all,
    cost,
    evidence,
    finite,
    record_of,
    verdict_of,
)
from verdict.page import Contents, page
from verdict.rendering import prices
from verdict.rendering import render as render_once
from verdict.statistics import DRAWS


@dataclass(frozen=True)
class Arguments:
    """Train every arm with every seed, compare, and say whether vision pays."""

    data: str = "demo/card.toml"
    """Dataset card, data file, folder or glob."""
    cache: str = "image_cache"
    """The cache; what is missing in it is rendered first."""
    split: SplitChoice = "auto"
    """How rows are held out; auto: forward if the table has three years or more, else by places.
    More held-out years or places make smaller differences visible."""
    folds: str | None = None
    """Only these folds of the split, as in 2021,2022; all by default: of forward, each year with two before it."""
    year: int | None = None
    """Label year, where a table without a card does not tell it."""
    seeds: int = 5
    """Runs of each arm."""
    arms: tuple[str, ...] = ()
    """Arms or groups of arms to run, beside timesclip and language-only; all by default."""
    encoder: str = "auto"
    """The encoder of every arm that names none: as for render_cache.py."""
    encoders: tuple[str, ...] = ()
    """Further encoders to compare, an arm each."""
    epochs: int | None = None
    """Most epochs of both stages; what train.py takes by default."""
    workers: int = 1
    """Runs side by side; they share the cores."""
    scheduler: str | None = None
    """Address of a Dask scheduler (tcp://host:8786) on whose workers the runs are made; they see this folder, too."""
    out: Path | None = None
    """The folder of the matrix; runs/verdict-<data>-<split> by default."""
    draws: int = DRAWS
    """Draws of the bootstrap."""
    dry_run: bool = False
    """Print the arms, the questions and what is left out, and touch nothing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0, 1 (a run failed), 2 (bad input), 130 (Ctrl-C), 143 (SIGTERM)."""
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        args = parse_flags(Arguments, arguments, __doc__)
        given = sys.argv[1:] if arguments is None else arguments
        return ablate(args, shlex.join(["python", "ablate.py", *given]))
    except (InputError, EncoderError) as error:
        print(f"ablate.py: {error}", file=sys.stderr)
        return 2
    except (CacheError, OSError) as error:
        print(f"ablate.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print("ablate.py: stopped. The same command goes on where it was.", file=sys.stderr)
        return 143 if isinstance(stop, Terminated) else 130
    finally:
        signal.signal(signal.SIGTERM, before)


class Terminated(KeyboardInterrupt):
    """SIGTERM ends the matrix as Ctrl-C does."""


def _terminate(signum: int, frame: object) -> None:
    raise Terminated


@dataclass(frozen=True)
class Matrix:
    """What is to be run, and what cannot be."""

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
    """Plan, render, run, compare, write: the whole program."""
    table = read(args.data, year=args.year)
    split, why = resolve_split(args.split, table, by_years="forward")
    if why:
        print(why)
    args = replace(args, split=split)
    matrix = prepare(args, table)
    if args.dry_run:
        refuse_another(matrix.out, matrix.shared)
        describe(matrix)
        return 0
    claim(matrix.out, matrix.shared)
    waiting = [job for job in matrix.jobs if not job.done]
    print(f"{matrix.out}: {len(matrix.jobs)} jobs, {len(matrix.jobs) - len(waiting)} done before")
    if waiting and (code := render(args.cache, matrix)):
        return code
    if args.scheduler is None:
        failures = Runner().run_all(matrix.jobs, args.workers)
    else:
        failures = run_elsewhere(matrix.jobs, args.scheduler)
    outcomes = collect(matrix.jobs, "place" if args.split == "place" else "year")
    conclude(args, matrix, outcomes, failures, command)
    return 1 if failures else 0


def prepare(args: Arguments, table: SeasonTable | None = None) -> Matrix:
    """Everything that can be refused is refused here, with the split settled. Writes nothing."""
    for name, least in (("seeds", 1), ("workers", 1), ("draws", 1000)):
        if getattr(args, name) < least:
            raise InputError(f"--{name} is {getattr(args, name)}; at least {least} is needed.")
    if args.epochs is not None and args.epochs < 1:
        raise InputError(f"--epochs is {args.epochs}; at least 1 is needed.")
    if args.scheduler is not None and args.workers != 1:
        raise InputError("--workers counts runs on this machine, --scheduler has workers of its own. Leave one out.")
    if args.split == "random":
        raise InputError(
            "--split random holds out rows, not years or places: rows of one year and place are on both sides, and no "
            "honest interval can be had. Use --split forward, leave-year-out or place."
        )
    refuse_unless_cache(args.cache)
    table = read(args.data, year=args.year) if table is None else table
    assert args.split != "auto"  # settled
    folds = make_folds(
        table.year, table.place, table.sample_id, args.split, chosen=args.folds or EVERY, group=table.group
    )
    refuse_twins(table, folds)
    encoder, others = resolve(args.encoder), [resolve(name) for name in args.encoders]
    every = (*ARMS, *(encoder_arm(other.label) for other in others))
    chosen = choose(every, (*args.arms, *(f"encoder {other.label}" for other in others)) if args.arms else ())
    missing = {arm.name: lacking(arm, accepts) for arm in chosen}
    arms = tuple(arm for arm in chosen if missing[arm.name] is None)

    where: Flags = ("--data", args.data, "--cache", args.cache, "--split", args.split)
    where += ("--folds", args.folds or EVERY)
    where += ("--year", str(args.year)) if args.year else ()
    how = ("--epochs", str(args.epochs)) if args.epochs else ()
    out = args.out or Path("runs") / f"verdict-{slug(table.name)}-{args.split}"
    seeds = range(args.seeds)
    jobs = plan(out, arms, seeds, (*where, *how), encoder.label) + maps_plan(out, seeds, where, encoder.label)
    names = {spec.label: spec.name for spec in (encoder, *others)}
    return Matrix(
        table,
        folds,
        out,
        encoder.label,
        arms,
        {name: why for name, why in missing.items() if why},
        jobs,
        renders(args, arms, names, encoder.label),
        {
            "data": f"{table.name} {table.fingerprint()}",
            "split": args.split,
            "folds": ",".join(fold.name for fold in folds),
            "epochs": args.epochs,
            "encoder": f"{encoder.label} {encoder.weights_digest}",
        },
    )


def renders(args: Arguments, arms: Sequence[Arm], names: dict[str, str], encoder: str) -> list[tuple[str, Flags]]:
    """Every kind of pictures of the arms and a command that makes it; names: of encoders, by their labels."""
    where: Flags = ("--data", args.data, "--cache", args.cache, "--split", args.split)
    where += ("--folds", args.folds or EVERY, "--workers", "2")
    where += ("--year", str(args.year)) if args.year else ()
    seeds = range(args.seeds) if args.split == "place" else range(1)  # whose folds set y-ranges
    commands = []
    for flags in dict.fromkeys(render_flags(arm, encoder) for arm in arms):
        named = tuple(names.get(flag, flag) for flag in flags)
        commands += [(" ".join(flags), ("render_cache.py", *where, *named, "--seed", str(seed))) for seed in seeds]
    return commands


def describe(matrix: Matrix) -> None:
    """What would be done."""
    for arm in matrix.arms:
        print(f"{arm.group:14s} {arm.name:24s} {arm.question}  {' '.join((*arm.flags, *arm.second))}")
    for name, why in matrix.left_out.items():
        print(f"left out       {name:24s} {why}")
    undone = [job for job in matrix.jobs if not job.done]
    print(f"{matrix.table.name}: {len(matrix.folds)} folds, {len(matrix.renders)} renderings, {len(matrix.jobs)} jobs, "
          f"{len(undone)} to do, in {matrix.out}")  # fmt: skip


def render(cache: str, matrix: Matrix) -> int:
    """Draw and embed what is missing, once for all arms; returns the first exit code that is not 0."""
    for kind, command in matrix.renders:
        if code := render_once(command, kind, cache, matrix.out):
            return code
    return 0


def conclude(args: Arguments, matrix: Matrix, outcomes: Outcomes, failures: Sequence[Failure], command: str) -> None:
    """Compare, judge, write verdict.json and verdict.html, print the sentence."""
    comparisons = compare_all(outcomes, args.draws)
    samples = len(matrix.table)
    sees = [arm for arm in matrix.arms if arm.name in outcomes.said and outcomes.results[arm.name][0]["encoder"]]
    kinds = {arm.name: " ".join(render_flags(arm, matrix.encoder)) for arm in sees}
    rendering = prices(matrix.out, kinds, args.cache, samples)
    verdict = verdict_of(comparisons, rendering[WITH].per_thousand, outcomes.held)
    costs = {arm.name: cost(matrix.jobs, arm.name) for arm in matrix.arms if arm.name in outcomes.said}
    broken = [f"{f.job.arm}, seed {f.job.seed}, {f.step.name}: exit {f.code}, {f.line}" for f in failures]
    results = [result for of_arm in outcomes.results.values() for result in of_arm]
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
        facts={
            "test rows": f"{len(outcomes.truth)} of {samples} samples, folds {', '.join(f.name for f in matrix.folds)}",
            "counts": matrix.table.describe_counts(),
            "encoder": matrix.encoder,
            "data fingerprint": matrix.table.fingerprint(),
            "cache namespace": ", ".join(sorted({str(r["cache_spec"]) for r in results if r["cache_spec"]})),
            "commit of the runs": ", ".join(sorted({r["commit"] for r in results})),
            "commit of this page": commit(),
            "version of this page": __version__,
            "hardware": ", ".join(sorted({r["hardware"] for r in results})) or hardware(),
            **evidence_facts(outcomes),
        },
    )
    record = finite(
        {
            "verdict": verdict.word,
            "sentence": verdict.sentence,
            "because": verdict.because,
            "held_out": outcomes.held,
            "evidence": evidence(outcomes),
            "arms": {name: record_of(outcomes, name) for name in outcomes.said},
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


def evidence_facts(outcomes: Outcomes) -> dict[str, str]:
    """For the page: what the Gaussian process says of the pictures' kernels."""
    found = evidence(outcomes)
    if not found:
        return {}
    return {
        "evidence of the Gaussian process": f"{found['gain']:+.1f} (log, mean over folds) with the pictures' kernels; "
        f"they have {found['share']:.0%} of the anomaly's variance"
    }


def sheets(matrix: Matrix) -> dict[str, Image]:
    """The plots of two samples in every y-range that an arm sees."""
    ranges = fold_ranges(matrix.table, matrix.folds[0])
    drawn = dict.fromkeys(arm.value("--style.y-range", "fixed") for arm in matrix.arms)
    return {
        f"y-range {name}": preview(matrix.table, ranges, Style(y_range=name), samples=2)  # type: ignore[arg-type]
        for name in drawn
    }


def commands(matrix: Matrix) -> list[str]:
    """Every command that the matrix runs, as it is typed."""
    every = [*(one for _, one in matrix.renders), *(step.command for job in matrix.jobs for step in job.steps)]
    return [shlex.join(("python", *command)) for command in every]


if __name__ == "__main__":
    sys.exit(main())
