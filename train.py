"""Train on cached pictures: stage 1 completes the season, stage 2 turns what it learned into t/ha, stage 3
fine-tunes both together.

    python train.py --stage 1                                    on the demo data, after render_cache.py
    python train.py --stage 2                                    on the newest stage-1 run that fits
    python train.py --stage 1 --data my_card.toml --split leave-year-out
    python train.py --stage 2 --data my_card.toml --split leave-year-out --offset place
    python train.py --stage 3 --from runs/x                      fine-tune a stage-2 run
    python train.py --stage 1 --preset language-only             without pictures
    python train.py --stage 1 --seeds 5                          five runs and their spread
    python train.py --resume runs/x                              go on with a run that was stopped
    python train.py --config runs/x/config.json --lr 5e-4        the same run again, with another rate
    torchrun --nproc-per-node 2 train.py --stage 1               two processes, one result
    python train.py --stage 2 --steps 6,9,12                     forecasts in mid-season, too (both stages take it)

Splits: year (the last year tests, the one before validates), forward (the last three years in turn, trained on earlier
ones), leave-year-out, place (five folds of unseen places), random. Every statistic comes from training rows; test rows
are read once, at the end.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cache.catalog import entries
from cache.dataset import encoder_of
from cache.storage import CacheError
from model.encoders import EncoderError
from model.presets import Preset
from model.training.errors import Diverged, Refused
from model.training.freezing import Freeze
from model.training.loop import Listener, Silent, Trainer
from model.training.precision import Precision, choose
from model.training.processes import Processes
from model.training.sampling import Sampling
from pipeline.errors import InputError
from pipeline.render import Style
from pipeline.sources import read
from pipeline.splits import Fold, choose_folds, make_folds
from pipeline.table import SeasonTable
from pipeline.views import view_tables
from pipeline.windows import steps_named
from report.live import TrainingDisplay
from report.page import write_page
from report.run import RunFolder, commit, complete_runs, hardware
from report.summary import print_scores, write_spread
from report.tracking import Trackers, wanted_trackers
from stages import completing, early, forecasting
from stages.checkpoints import Checkpoints
from stages.coverage import coverage
from stages.flags import Arguments, as_record, parse, part_flags, preset_of, schedule_of
from stages.logging import EpochLog
from stages.prepare import Pictures, Prepared, prepare


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0, 1 (something failed), 2 (bad input), 143 (SIGTERM)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        args = parse(given, __doc__ or "")
        processes = Processes.start(args.learning.device)
        with silence(processes):
            train_seeds(args, processes, shlex.join(["python", "train.py", *given]))
        processes.end()
        return 0
    except (InputError, EncoderError, Refused) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    except (CacheError, OSError, Diverged) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 1
    except Terminated:
        print(
            "train.py: stopped. `python train.py --resume <run folder>` goes on from the last checkpoint.",
            file=sys.stderr,
        )
        return 143
    finally:
        signal.signal(signal.SIGTERM, before)


class Terminated(BaseException):
    """SIGTERM, as schedulers of clusters send it: seconds remain, the last checkpoint is what counts."""


def _terminate(signum: int, frame: object) -> None:
    raise Terminated


@contextlib.contextmanager
def silence(processes: Processes) -> Iterator[None]:
    """Of several processes only the main one prints; all of them tell errors."""
    if processes.is_main:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def train_seeds(args: Arguments, processes: Processes, command: str) -> None:
    """One run a seed, and where there are several their mean and spread."""
    if args.run.seeds == 1:
        train(args, processes, command)
        return
    parent = RunFolder.name(args.run.out, args.stage, f"{args.model.preset}-{args.input.split}-seeds{args.run.seeds}")
    seeds = range(args.run.seed, args.run.seed + args.run.seeds)
    for seed in seeds:
        train(replace(args, run=replace(args.run, seed=seed, out=parent / f"seed{seed}")), processes, command)
    if processes.is_main:
        write_spread(parent, [RunFolder.open(parent / f"seed{seed}") for seed in seeds])


@dataclass(frozen=True, eq=False)
class Ground:
    """What a run stands on: the table, its folds ready to train, the pictures and the run before."""

    table: SeasonTable
    prepared: list[Prepared]
    pictures: Pictures | None
    source: RunFolder | None
    seconds: float

    def fingerprints(self) -> dict[str, str | None]:
        """Of the data and of the cached vectors; a run is only resumed on the same."""
        return {"data": self.table.fingerprint(), "cache": self.pictures.fingerprint() if self.pictures else None}


def train(args: Arguments, processes: Processes, command: str) -> None:
    """Read, split, gather, train fold by fold, write the run: the whole program."""
    precision = choose(args.learning.precision, processes.device)
    ground = prepare_ground(args)
    trackers = wanted_trackers(args.run.tensorboard, args.run.wandb, args.run.mlflow)
    run, keeper = open_run(args, ground, processes)
    outcomes: list[Any] = []
    began = time.perf_counter()
    with listening(args, run, trackers) as listener:
        trainer = trainer_of(args, processes, precision, keeper, listener)
        for ready in ground.prepared:
            outcomes.append(train_fold(args, ready, ground.source, trainer))
            if outcomes[-1].fit.interrupted:
                break
    if outcomes[-1].fit.interrupted:
        print("interrupted: the best weights so far are kept, further folds are left out; --resume goes on")
    seconds = {"read": ground.seconds, "train": time.perf_counter() - began}
    if run is None or not processes.is_main:
        processes.wait()
        return
    write_run(args, run, ground, outcomes, command, seconds)
    if not outcomes[-1].fit.interrupted:
        keeper.remove()
    print_scores(run)
    processes.wait()


def prepare_ground(args: Arguments) -> Ground:
    """Read the table, cut the folds, find the run before, gather the vectors. Writes nothing."""
    started = time.perf_counter()
    table = read(args.input.data, year=args.input.year, memory_gb=args.input.memory_gb)
    preset = preset_of(args)
    completing.refuse_short_seasons(table, preset)
    folds = make_folds(table.year, table.place, table.sample_id, args.input.split, args.run.seed, table.assigned)
    folds = choose_folds(folds, args.input.folds)
    refuse_large_batches(args, folds)
    if args.model.interval == "year":
        forecasting.refuse_few_years(table, folds)
    print(
        f"{table.name}: {len(table)} samples, split {args.input.split}, folds {', '.join(fold.name for fold in folds)}"
    )
    print(table.describe_counts())
    pictures = find_pictures(args, table, preset) if preset.use_vision else None
    source = base_run(args, table, folds, pictures)
    views = view_tables(table, args.sampling.to_views())
    prepared = [
        prepare(table, fold, preset.framing, pictures, views, steps_named(args.sampling.steps)) for fold in folds
    ]
    return Ground(table, prepared, pictures, source, time.perf_counter() - started)


def open_run(args: Arguments, ground: Ground, processes: Processes) -> tuple[RunFolder | None, Checkpoints]:
    """A new run folder, or the one that is resumed, with its checkpoints; only the main process gets to write."""
    limits = (args.run.checkpoints, args.run.checkpoint_seconds, args.run.checkpoint_steps)
    if args.run.resume:
        run = RunFolder.unfinished(args.run.resume)
        keeper = Checkpoints(run, *limits)
        keeper.refuse_unless_alike(ground.fingerprints())
        if processes.is_main:
            keeper.rewind_metrics()
        return run if processes.is_main else None, keeper
    if not processes.is_main:
        return None, Checkpoints(RunFolder(Path(os.devnull)), *limits)
    name = f"{ground.table.name}-{args.model.preset}-{args.input.split}-seed{args.run.seed}"
    run = RunFolder.create(args.run.out, args.stage, name)
    record = as_record(args) | ({"from": str(ground.source.path)} if ground.source else {})
    run.write_json("config.json", record)
    keeper = Checkpoints(run, *limits)
    keeper.start(ground.fingerprints())
    return run, keeper


@contextlib.contextmanager
def listening(args: Arguments, run: RunFolder | None, trackers: Sequence[str]) -> Iterator[Listener]:
    """Who is told how training goes: in the main process metrics.jsonl, screen and trackers, elsewhere nobody."""
    if run is None:
        yield Silent()
        return
    display = TrainingDisplay(schedule_of(args).epochs)
    log = EpochLog(run, display, Trackers.start(trackers, run.path, run.read_json("config.json")))
    try:
        yield log
    finally:
        log.close()


def trainer_of(
    args: Arguments, processes: Processes, precision: Precision, keeper: Checkpoints, listener: Listener
) -> Trainer:
    """How this run trains, by its flags."""
    parts = tuple(args.model.freeze.split(",")) if args.model.freeze else ()
    last = args.model.unfreeze_at - 1 if args.model.unfreeze_at else None
    return Trainer(
        schedule_of(args),
        args.run.seed,
        Sampling(args.sampling.mixup),
        Freeze(parts, last),
        processes,
        precision,
        args.learning.compile,
        keeper,
        listener,
    )


def train_fold(args: Arguments, ready: Prepared, source: RunFolder | None, trainer: Trainer) -> Any:
    """One fold of the stage."""
    preset = preset_of(args)
    if args.stage == 1:
        return completing.run_fold(ready, preset, trainer, args.sampling.balance)
    if args.stage == 3 and source is not None:
        return forecasting.run_stage_3(ready, source, trainer, args.sampling.balance)
    completer = None if source is None else completing.load_model(source, ready.fold.name).to(trainer.processes.device)
    given = args.model
    setup = forecasting.ForecastSetup(
        given.offset,
        given.offset_years,
        given.members,
        given.quantiles,
        args.sampling.balance,
        given.interval,
        given.fill,
    )
    return forecasting.run_stage_2(ready, preset, completer, setup, trainer)


def write_run(
    args: Arguments, run: RunFolder, ground: Ground, outcomes: Sequence[Any], command: str, seconds: dict[str, float]
) -> None:
    """Score the test rows and write the files of the contract, result.json last but for the page made of it."""
    began = time.perf_counter()
    stage = completing if args.stage == 1 else forecasting
    metrics, baselines = stage.scores(outcomes, args.run.seed)
    predictions = stage.predictions(outcomes)
    more: dict[str, Any] = {"coverage": coverage(predictions)} if args.stage > 1 else {}
    if args.stage > 1 and ground.prepared[0].steps:
        so_far = early.predictions(outcomes)
        more["early"] = early.scores(ground.table, so_far, metrics, baselines)
        run.write_predictions(so_far, "early.parquet")
    seconds["evaluate"] = time.perf_counter() - began
    run.write_predictions(predictions)
    run.write_weights(stage.weights(outcomes))
    run.write_json("fitted.json", {outcome.prepared.fold.name: stage.fitted(outcome) for outcome in outcomes})
    run.write_json(
        "result.json",
        {
            **identity(args, ground, outcomes, command),
            "from": None if ground.source is None else str(ground.source.path),
            "metrics": metrics,
            "baselines": baselines,
            **more,
            "seconds": rendering_seconds(args, ground) | seconds,
        },
    )
    write_page(run)


def refuse_large_batches(args: Arguments, folds: Sequence[Fold]) -> None:
    """Raises InputError when a batch that was asked for is larger than the rows that a fold learns from."""
    least = min(folds, key=lambda fold: len(fold.train))
    if args.learning.batch_size is not None and args.learning.batch_size > len(least.train):
        raise InputError(
            f"--batch-size {args.learning.batch_size} is larger than the {len(least.train)} training samples of fold "
            f"{least.name}; give at most that, or leave it out."
        )


def find_pictures(args: Arguments, table: SeasonTable, preset: Preset) -> Pictures:
    """The cached embeddings that this table needs, or an error with the command that makes them."""
    given = args.input
    command = ["python", "render_cache.py", "--data", given.data, "--cache", given.cache, "--split", given.split]
    if given.split in ("place", "random"):
        command += ["--seed", str(args.run.seed)]
    command += args.sampling.to_views().flags()
    if args.sampling.steps:
        command += ["--steps", args.sampling.steps]
    if preset.framing != "halves":
        command += ["--framing", preset.framing]
    if given.encoder:
        command += ["--encoder", given.encoder]
    if given.year:
        command += ["--year", str(given.year)]
    for name, value in asdict(args.style).items():
        if value != getattr(Style(), name):
            command += [f"--style.{name.replace('_', '-')}", str(value)]
    return Pictures.find(given.cache, args.style, table, given.encoder, shlex.join(command), preset.framing)


def base_run(args: Arguments, table: SeasonTable, folds: Sequence[Fold], pictures: Pictures | None) -> RunFolder | None:
    """The run to build on: --from, or in stage 2 the newest stage-1 run of this table, split, seed, parts and pictures.

    None where nothing is built on: stage 1, and a stage 2 that starts from scratch.
    """
    preset = preset_of(args)
    if args.stage == 1 or (args.stage == 2 and preset.link == "scratch"):
        return None
    wanted = {
        "stage": args.stage - 1,
        "data_fingerprint": table.fingerprint(),
        "split": args.input.split,
        "preset": args.model.preset,
        "parts": preset.parts(),
        "seed": args.run.seed,
        "cache_spec": pictures and pictures.store.spec.id,
    } | ({"link": "frozen"} if args.stage == 3 else {})
    flags = {"stage": args.stage - 1, "data": args.input.data, "split": args.input.split, "seed": args.run.seed}
    given = [*(part for name in flags for part in (f"--{name}", str(flags[name]))), *part_flags(args)]
    command = shlex.join(["python", "train.py", *given])
    names = {fold.name for fold in folds}
    if args.model.from_ is None:
        for run in complete_runs():
            result = run.read_json("result.json")
            if names <= set(result["folds"]) and all(result.get(name) == value for name, value in wanted.items()):
                return run
        raise InputError(
            "no stage-1 run under runs/ fits this table, split, preset, its parts, seed and pictures. "
            f"Run:\n    {command}"
        )
    of_seed = args.model.from_ / f"seed{args.run.seed}"  # --from a folder that --seeds made
    run = RunFolder.open(of_seed if of_seed.is_dir() else args.model.from_)
    result = run.read_json("result.json")
    for name, value in wanted.items():
        if name != "seed" and result.get(name) != value:
            found, needed = differing(result.get(name), value)
            raise InputError(f"--from {run.path} has {name} {found}, this run needs {needed}. Run:\n    {command}")
    if not names <= set(result["folds"]):
        raise InputError(
            f"--from {run.path} has folds {result['folds']}, this run needs {sorted(names)}. Run:\n    {command}"
        )
    return run


def differing(found: Any, wanted: Any) -> tuple[str, str]:
    """Two values for a message; of two records only what differs."""
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        names = [name for name in wanted if found.get(name) != wanted[name]]
        return repr({name: found.get(name) for name in names}), repr({name: wanted[name] for name in names})
    return repr(found), repr(wanted)


def identity(args: Arguments, ground: Ground, outcomes: Sequence[Any], command: str) -> dict[str, Any]:
    """What tells one result row from another."""
    table, pictures = ground.table, ground.pictures
    folds = [outcome.prepared.fold for outcome in outcomes]
    return {
        "data": table.name,
        "stage": args.stage,
        "preset": args.model.preset,
        "parts": preset_of(args).parts(),
        "link": preset_of(args).link if args.stage == 2 else "frozen",
        "split": args.input.split,
        "folds": [fold.name for fold in folds],
        "seed": args.run.seed,
        "n_train": sum(len(fold.train) for fold in folds),
        "n_valid": sum(len(fold.valid) for fold in folds),
        "n_test": sum(len(fold.test) for fold in folds),
        "interrupted": any(outcome.fit.interrupted for outcome in outcomes),
        "counts": table.describe_counts(),
        "style": asdict(args.style),
        "seasons": table.describe_seasons(),
        "encoder": pictures and encoder_of(pictures.store)["name"],
        "cache_spec": pictures and pictures.store.spec.id,
        "data_fingerprint": table.fingerprint(),
        "commit": commit(),
        "command": command,
        "hardware": hardware(),
    }


def rendering_seconds(args: Arguments, ground: Ground) -> dict[str, float]:
    """What render_cache.py spent on this table when it filled the cache: read, key, draw, embed."""
    spent = {"key": 0.0, "draw": 0.0, "embed": 0.0}
    if ground.pictures:
        for entry in entries(args.input.cache):
            same = entry.fingerprint == ground.table.fingerprint()
            if same and entry.embeddings == ground.pictures.store.spec.id:
                spent |= {name: entry.seconds.get(name, 0.0) for name in spent}
    return spent


if __name__ == "__main__":
    sys.exit(main())
