"""Train on cached pictures: stage 1 completes the season, stage 2 turns what it learned into t/ha, stage 3
fine-tunes both together.

    python train.py --stage 1                                    on the demo data, after render_cache.py
    python train.py --stage 2                                    on the newest stage-1 run that fits
    python train.py --stage 1 --data my_card.toml --split leave-year-out
    python train.py --stage 2 --data my_card.toml --split leave-year-out --offset place
    python train.py --stage 3 --from runs/x                      fine-tune a stage-2 run
    python train.py --stage 1 --preset language-only             without pictures
    python train.py --stage 1 --finetune-vision 2                the last 2 blocks of the picture tower learn, too
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
from cache.spec import embedding_spec
from cache.storage import CacheError
from model.encoders import EncoderError, EncoderSpec, TunedOn, is_by_path, resolve
from model.presets import Preset
from model.seeing import Seeing
from model.training.errors import Diverged, Lost, Refused
from model.training.freezing import Freeze
from model.training.loop import Listener, Silent, Trainer
from model.training.precision import Precision, choose
from model.training.processes import Processes, tell_launcher
from model.training.sampling import Sampling
from pipeline.errors import InputError
from pipeline.render import Style
from pipeline.sources import read
from pipeline.splits import Fold, choose_folds, make_folds, thinned
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
from stages.flags import Arguments, as_record, parse, part_flags, preset_of, schedule_of, tuned_blocks
from stages.logging import EpochLog
from stages.prepare import Pictures, Prepared, prepare
from stages.tuning import find_tower, has_tower, keep_copy, keep_tuned, refuse_learnt_rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0, 1 (something failed), 2 (bad input), 130 (Ctrl-C), 143 (SIGTERM)."""
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
        return failed(error, 2)
    except (CacheError, OSError, Diverged, Lost) as error:
        return failed(error, 1)
    except (Terminated, KeyboardInterrupt) as stop:
        print(
            "train.py: stopped. `python train.py --resume <run folder>` goes on from the last checkpoint.",
            file=sys.stderr,
        )
        return 143 if isinstance(stop, Terminated) else 130
    except Exception as error:
        tell_launcher(f"{type(error).__name__}: {error}")
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def failed(error: Exception, code: int) -> int:
    """Tell why this process ends: on the screen, and to torchrun where it was started by it."""
    print(f"train.py: {error}", file=sys.stderr)
    tell_launcher(str(error))
    return code


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
    """What a run stands on: the table, its folds ready to train, the pictures and the run before.

    seeing: the picture tower where it learns, too.
    """

    table: SeasonTable
    prepared: list[Prepared]
    pictures: Pictures | None
    source: RunFolder | None
    seeing: Seeing | None
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
            outcomes.append(train_fold(args, ready, ground, trainer))
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
    folds = thinned(choose_folds(folds, args.input.folds), args.input.share, args.run.seed)
    refuse_large_batches(args, folds)
    refuse_many_towers(args, folds)
    if args.model.interval == "year":
        forecasting.refuse_few_years(table, folds)
    print(
        f"{table.name}: {len(table)} samples, split {args.input.split}, folds {', '.join(fold.name for fold in folds)}"
    )
    print(table.describe_counts())
    pictures = find_pictures(args, table, preset) if preset.use_vision else None
    if pictures is not None:
        refuse_learnt_rows(pictures, table, folds, args.input.split, args.run.seed)
    source = base_run(args, table, folds, pictures)
    views, steps = view_tables(table, args.sampling.to_views()), steps_named(args.sampling.steps)
    prepared = [prepare(table, fold, preset.framing, pictures, views, steps) for fold in folds]
    seeing = None
    if args.model.finetune_vision is not None and pictures is not None:
        drawn = (table, *views, *(table.as_of(step) for step in steps))
        seeing = find_tower(pictures, args.input.encoder, tuned_blocks(args), drawn, prepared[0].scales.ranges)
    return Ground(table, prepared, pictures, source, seeing, time.perf_counter() - started)


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


def train_fold(args: Arguments, ready: Prepared, ground: Ground, trainer: Trainer) -> Any:
    """One fold of the stage."""
    preset, source = preset_of(args), ground.source
    if args.stage == 1:
        return completing.run_fold(ready, preset, trainer, args.sampling.balance, ground.seeing)
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
    metrics, baselines, guesses = stage.scores(outcomes, args.run.seed)
    predictions = stage.predictions(outcomes)
    more: dict[str, Any] = {"coverage": coverage(predictions)} if args.stage > 1 else {}
    if args.stage > 1 and ground.prepared[0].steps:
        so_far = early.predictions(outcomes)
        more["early"] = early.scores(ground.table, so_far, metrics, baselines)
        run.write_predictions(so_far, "early.parquet")
    seconds["evaluate"] = time.perf_counter() - began
    run.write_predictions(predictions)
    if guesses is not None:
        run.write_baselines(guesses)
    run.write_weights(stage.weights(outcomes))
    run.write_json("fitted.json", {outcome.prepared.fold.name: stage.fitted(outcome) for outcome in outcomes})
    tuned = write_tower(args, run, ground)
    run.write_json(
        "result.json",
        {
            **identity(args, ground, outcomes, command),
            **tuned,
            "from": None if ground.source is None else str(ground.source.path),
            "metrics": metrics,
            "baselines": baselines,
            **more,
            "seconds": rendering_seconds(args, ground) | seconds,
        },
    )
    write_page(run)


def write_tower(args: Arguments, run: RunFolder, ground: Ground) -> dict[str, str]:
    """Keep the tuned tower with the run; returns what result.json then says of encoder and embeddings, if it learnt."""
    if ground.seeing is None:
        keep_copy(run, ground.pictures, ground.source)
        return {}
    (fold,) = (ready.fold.name for ready in ground.prepared)
    learnt = TunedOn(ground.table.fingerprint(), args.input.split, fold, args.run.seed)
    encoder = keep_tuned(run, ground.seeing.tower, learnt)
    print(
        f"the tuned tower is an encoder of its own; `train.py --stage 2 --from {run.path}` reads its embeddings "
        f"after:\n    {render_command(args, preset_of(args), encoder.name)}"
    )
    return {"encoder": encoder.label, "cache_spec": embedding_spec(args.style, encoder.to_dict()).id}


def refuse_many_towers(args: Arguments, folds: Sequence[Fold]) -> None:
    """Raises InputError where --finetune-vision would tune a tower for each of several folds."""
    if args.model.finetune_vision is not None and len(folds) > 1:
        raise InputError(
            f"--finetune-vision tunes one tower on the training rows of one fold, and split {args.input.split} has "
            f"{len(folds)} ({', '.join(fold.name for fold in folds)}): a tower that learnt from one fold knows rows "
            f"that another tests. Take one, as in --folds {folds[-1].name}, a run for each."
        )


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
    encoder = wanted_encoder(args)
    name = encoder.name if isinstance(encoder, EncoderSpec) else encoder
    command = render_command(args, preset, name)
    found = Pictures.find(args.input.cache, args.style, table, encoder, command, preset.framing)
    return replace(found, control=args.input.control, seed=args.run.seed)


def wanted_encoder(args: Arguments) -> EncoderSpec | str | None:
    """Whose embeddings to read: --encoder, or else the tower that the run of --from has tuned. None: the last used."""
    name = args.input.encoder
    if name is None and args.model.from_ is not None and has_tower(named_run(args, args.model.from_)):
        name = f"tuned:{named_run(args, args.model.from_)}"
    return resolve(name) if name is not None and is_by_path(name) else name


def named_run(args: Arguments, path: Path) -> Path:
    """The run that --from means: of a folder that --seeds made, the one of this seed."""
    of_seed = path / f"seed{args.run.seed}"
    return of_seed if of_seed.is_dir() else path


def render_command(args: Arguments, preset: Preset, encoder: str | None) -> str:
    """What makes the embeddings that this command line reads."""
    given = args.input
    command = ["python", "render_cache.py", "--data", given.data, "--cache", given.cache, "--split", given.split]
    if given.split in ("place", "random"):
        command += ["--seed", str(args.run.seed)]
    command += args.sampling.to_views().flags()
    if args.sampling.steps:
        command += ["--steps", args.sampling.steps]
    if preset.framing != "halves":
        command += ["--framing", preset.framing]
    if encoder:
        command += ["--encoder", encoder]
    if given.year:
        command += ["--year", str(given.year)]
    for name, value in asdict(args.style).items():
        if value != getattr(Style(), name):
            command += [f"--style.{name.replace('_', '-')}", str(value)]
    return shlex.join(command)


def control_of(args: Arguments) -> str | None:
    """What replaces the pictures, if anything does: runs with true pictures say nothing of it."""
    return None if args.input.control == "none" else args.input.control


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
        "share": args.input.share,
        "control": control_of(args),
        "cache_spec": pictures and pictures.store.spec.id,
    } | ({"link": "frozen"} if args.stage == 3 else {})
    flags = {"stage": args.stage - 1, "data": args.input.data, "split": args.input.split, "seed": args.run.seed}
    given = [*(part for name in flags for part in (f"--{name}", str(flags[name]))), *part_flags(args)]
    given += ["--share", str(args.input.share)] if args.input.share != 1 else []
    given += ["--control", control] if (control := control_of(args)) else []
    command = shlex.join(["python", "train.py", *given])
    names = {fold.name for fold in folds}
    if args.model.from_ is None:
        if run := newest_run(wanted, names):
            return run
        tuned = newest_run({name: value for name, value in wanted.items() if name != "cache_spec"}, names)
        hint = f" {tuned.path}, which tuned its own tower, would: --from {tuned.path}." if tuned else ""
        raise InputError(
            f"no stage-1 run under runs/ fits this table, split, preset, its parts, seed and pictures.{hint} "
            f"Run:\n    {command}"
        )
    run = RunFolder.open(named_run(args, args.model.from_))
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


def newest_run(wanted: Mapping[str, Any], folds: set[str]) -> RunFolder | None:
    """The newest run of these results and folds; where any embeddings will do, one with a tower of its own."""
    for run in complete_runs():
        result = run.read_json("result.json")
        fits = folds <= set(result["folds"]) and all(result.get(name) == value for name, value in wanted.items())
        if fits and ("cache_spec" in wanted or has_tower(run.path)):
            return run
    return None


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
        "share": args.input.share,
        "n_train": sum(len(fold.train) for fold in folds),
        "n_valid": sum(len(fold.valid) for fold in folds),
        "n_test": sum(len(fold.test) for fold in folds),
        "interrupted": any(outcome.fit.interrupted for outcome in outcomes),
        "counts": table.describe_counts(),
        "style": asdict(args.style),
        "control": control_of(args),
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
