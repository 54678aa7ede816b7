"""Train on cached pictures. Stage 1 completes the season, stage 2 forecasts t/ha from its features, stage 3
fine-tunes both together.

    python train.py --stage 1                                    on the demo data, after render_cache.py
    python train.py --stage 2                                    on the newest stage-1 run that fits
    python train.py --stage 2 --data my_card.toml --split leave-year-out
    python train.py --stage 1 --preset language-only             without pictures
    python train.py --resume runs/x                              resume a stopped run

    python train.py --stage 3 --from runs/x                      fine-tune a stage-2 run
    python train.py --stage 1 --seeds 5                          five runs and their spread
    python train.py --stage 2 --steps 6,9,12                     mid-season forecasts too (give it to both stages)
    python train.py --config runs/x/config.json --lr 5e-4        the same run with another learning rate
    torchrun --nproc-per-node 2 train.py --stage 1               two processes, one result
    python train.py --stage 1 --finetune-vision 2                also train the last 2 blocks of the image tower

Splits: year (the last year is tested, the one before it validates), forward (each of the last three years is tested
after training on earlier ones; --folds all: every year with two earlier ones), leave-year-out, place (five folds of
held-out places), random, card (a column of the table).
Every statistic comes from training rows. Test rows are read once, at the end.
"""

from __future__ import annotations

import pipeline.loading  # isort: skip  # noqa: F401  # first, for Ctrl-C while the others load

import contextlib
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cache.spec import embedding_spec
from cache.storage import CacheError
from model.encoders import EncoderError, TunedOn
from model.training.distributed import Processes, tell_launcher
from model.training.errors import Diverged, ProcessLost, Refused
from model.training.freezing import Freeze
from model.training.precision import Precision, choose
from model.training.sampling import Sampling
from model.training.trainer import Listener, Silent, Trainer
from pipeline.program import Stopped, Terminated, code_of, run_program
from report.progress import say
from report.run import RunFolder
from report.summary import print_scores, write_spread
from report.trackers import Trackers, wanted_trackers
from report.training_display import TrainingDisplay
from stages.completion.completion_stage import CompletionStage
from stages.inputs.tuned_encoder import copy_tower, save_tower
from stages.runs.checkpoints import Checkpoints
from stages.runs.command_line import parse
from stages.runs.commands import render_command
from stages.runs.epoch_log import EpochLog
from stages.runs.flags import Arguments, as_record, preset_of, schedule_of
from stages.runs.run_inputs import RunInputs, prepare_inputs
from stages.runs.run_metadata import identity, rendering_seconds
from stages.stage import Stage
from stages.yields.ensemble import ForecastSetup
from stages.yields.yield_stage import FinetuningStage, ForecastStage


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit code: 0, 1 (a failure), 2 (bad input), 130 (Ctrl-C), 143 (SIGTERM)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return run_program(
        "train.py",
        lambda: train_all(given),
        refused=(EncoderError, Refused),
        failed=(CacheError, Diverged, ProcessLost),
        report=tell_launcher,
    )


def train_all(given: Sequence[str]) -> int:
    """Parse the flags, join the other processes if torchrun started several, and train a run per seed."""
    args = parse(given, __doc__ or "")
    processes = Processes.start(args.learning.device)
    with silence(processes):
        train_seeds(args, processes, shlex.join(["python", "train.py", *given]))
    processes.end()
    return 0


@contextlib.contextmanager
def silence(processes: Processes) -> Iterator[None]:
    """Of several processes, only the main one prints output. All of them print errors."""
    if processes.is_main:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def train_seeds(args: Arguments, processes: Processes, command: str) -> Path | None:
    """Train one run per seed and, if there are several, write their mean and spread.

    Returns the folder of the run, or of the runs; None in processes that write nothing.
    """
    if args.run.seeds == 1:
        return train(args, processes, command)
    series = open_series(args, processes)
    seeds = range(args.run.seed, args.run.seed + args.run.seeds)
    if args.run.resume is not None:
        command = command_of(series) or command
    runs = [of_seed(args, series, seed) for seed in seeds]
    processes.wait()
    with resumable(series):
        for one in runs:
            folder = None if one is None else train(one, processes, command)
            if folder is not None and RunFolder(folder).read_json("result.json")["interrupted"]:
                say(f"further seeds are left out; `python train.py --resume {series}` continues")
                return series
    if not processes.is_main:
        return None
    write_spread(series, [RunFolder.open(series / f"seed{seed}") for seed in seeds])
    return series


def open_series(args: Arguments, processes: Processes) -> Path:
    """The folder of a run per seed: the one to resume, or a new one with the flags of all."""
    if args.run.resume is not None:
        return args.run.resume
    name = f"{args.model.preset}-{args.input.split}-seeds{args.run.seeds}"
    if not processes.is_main:
        return RunFolder.name(args.run.out, args.stage, name)
    series = RunFolder.create(args.run.out, args.stage, name)
    settled_later = {"lr": args.learning.lr}  # each run settles it, once it knows its initial weights
    series.write_json("config.json", as_record(args) | settled_later | {"seeds": args.run.seeds})
    return series.path


def command_of(series: Path) -> str:
    """The command that started the runs of several seeds, as the first of them recorded it; empty if none did."""
    for name in ("checkpoints/started.json", "result.json"):
        for path in sorted(series.glob(f"seed*/{name}")):
            if command := RunFolder(path.parent).read_json(path.name).get("command"):
                return str(command)
    return ""


def of_seed(args: Arguments, series: Path, seed: int) -> Arguments | None:
    """The flags of the run of one seed, which is new or stopped; None if it is complete."""
    folder = series / f"seed{seed}"
    state = RunFolder(folder).state()
    if state == "complete":
        return None
    stopped = state == "stopped"
    if not stopped:
        RunFolder(folder).clear_before_start()
    run = replace(args.run, seed=seed, seeds=1, out=None if stopped else folder, resume=folder if stopped else None)
    return replace(args, run=run)


def train(args: Arguments, processes: Processes, command: str) -> Path | None:
    """The whole program: read, split, gather, train fold by fold, write the run.

    Returns the run folder; None in processes that write nothing.
    """
    precision = choose(args.learning.precision, processes.device)
    if processes.is_main:
        refuse_before_reading(args)
    inputs = prepare_inputs(args)
    args = inputs.args
    trackers = wanted_trackers(args.run.tensorboard, args.run.wandb, args.run.mlflow)
    stage = stage_of(args, inputs)
    with open_run(args, inputs, processes, command) as (run, checkpoints):
        began = time.perf_counter()
        with resumable(None if run is None else run.path), listening(args, run, trackers) as listener:
            trainer = trainer_of(args, processes, precision, checkpoints, listener)
            for prepared in inputs.prepared:
                if stage.train_fold(prepared, trainer).interrupted:
                    break
        interrupted = stage.outcomes[-1].interrupted
        if interrupted:
            say("interrupted: the best weights so far are kept, further folds are left out; --resume continues")
        seconds = {"read": inputs.seconds, "train": time.perf_counter() - began}
        if run is None or not processes.is_main:
            processes.wait()
            return None
        write_run(args, run, inputs, stage=stage, command=checkpoints.command() or command, seconds=seconds)
        if not interrupted:
            checkpoints.remove()
        print_scores(run)
        processes.wait()
    return run.path


def refuse_before_reading(args: Arguments) -> None:
    """Raises InputError for a run that cannot be resumed, or an --out that is taken: a table may take long to read."""
    if args.run.resume is not None:
        run = RunFolder.unfinished(args.run.resume)
        with Checkpoints(run, args.run.checkpoints, args.run.checkpoint_seconds, args.run.checkpoint_steps).locked():
            return
    if args.run.out is not None:
        RunFolder.require_free(args.run.out)


@contextlib.contextmanager
def resumable(path: Path | None) -> Iterator[None]:
    """Ctrl-C and SIGTERM in the block say how the run is resumed."""
    try:
        yield
    except (Terminated, KeyboardInterrupt, Stopped) as stop:
        if path is None:
            raise
        advice = f"`python train.py --resume {path}` resumes from the last checkpoint."
        raise Stopped(code_of(stop), advice) from stop


@contextlib.contextmanager
def open_run(
    args: Arguments, inputs: RunInputs, processes: Processes, command: str
) -> Iterator[tuple[RunFolder | None, Checkpoints]]:
    """A new run folder, or the one to resume, with its checkpoints. Only the main process writes, and locks the run.

    `command` is recorded in a new run: result.json of a run that was resumed has the command that started it.
    """
    limits = (args.run.checkpoints, args.run.checkpoint_seconds, args.run.checkpoint_steps)
    if not processes.is_main:
        folder = RunFolder(Path(os.devnull)) if args.run.resume is None else RunFolder.unfinished(args.run.resume)
        checkpoints = Checkpoints(folder, *limits)
        if args.run.resume is not None:
            checkpoints.require_fingerprints(inputs.fingerprints())
        yield None, checkpoints
        return
    if args.run.resume is None:
        name = f"{inputs.table.name}-{args.model.preset}-{args.input.split}-seed{args.run.seed}"
        run = RunFolder.create(args.run.out, args.stage, name)
        run.write_json("config.json", as_record(args) | ({"from": str(inputs.source.path)} if inputs.source else {}))
        run.write_text("metrics.jsonl", "")  # learners without epochs write no line
        checkpoints = Checkpoints(run, *limits)
        checkpoints.start(inputs.fingerprints(), command)
    else:
        run = RunFolder.unfinished(args.run.resume)
        checkpoints = Checkpoints(run, *limits)
        checkpoints.require_fingerprints(inputs.fingerprints())
    with checkpoints.locked():
        if args.run.resume is not None:
            checkpoints.rewind_metrics()
        yield run, checkpoints


@contextlib.contextmanager
def listening(args: Arguments, run: RunFolder | None, trackers: Sequence[str]) -> Iterator[Listener]:
    """The listener of training: metrics.jsonl, screen and trackers in the main process, none in the others."""
    if run is None:
        yield Silent()
        return
    display = TrainingDisplay(schedule_of(args).epochs, args.run.verbose)
    log = EpochLog(run, display, Trackers.start(trackers, run.path, run.read_json("config.json")))
    try:
        yield log
    finally:
        log.close()


def trainer_of(
    args: Arguments, processes: Processes, precision: Precision, checkpoints: Checkpoints, listener: Listener
) -> Trainer:
    """The trainer, by the flags of this run."""
    unfreeze_at = args.experimental.unfreeze_at
    last = None if unfreeze_at is None else unfreeze_at - 1
    return Trainer(
        schedule=schedule_of(args),
        seed=args.run.seed,
        sampling=Sampling(args.experimental.mixup),
        freeze=Freeze(args.experimental.freeze, last),
        processes=processes,
        precision=precision,
        compile=args.learning.compile,
        states=checkpoints,
        listener=listener,
    )


def stage_of(args: Arguments, inputs: RunInputs) -> Stage:
    """The stage that these flags name."""
    balance = args.experimental.balance
    if args.stage == 1:
        return CompletionStage(preset_of(args), balance, inputs.vision, inputs.initial, args.style)
    if args.stage == 2:
        return ForecastStage(preset=preset_of(args), setup=setup_of(args, inputs), source=inputs.source)
    assert inputs.source is not None  # `base_run` has found it
    return FinetuningStage(source=inputs.source, balance=balance)


def setup_of(args: Arguments, inputs: RunInputs) -> ForecastSetup:
    """The settings of stage 2, by its flags and inputs."""
    given = args.model
    return ForecastSetup(
        offset=given.offset,
        offset_years=given.offset_years,
        learner=given.learner,
        blocks=given.blocks,
        members=given.members,
        quantiles=given.quantiles,
        balance=args.experimental.balance,
        interval=given.interval,
        fill=args.experimental.fill,
        checkpoint=inputs.tabicl,
    )


def write_run(
    args: Arguments, run: RunFolder, inputs: RunInputs, *, stage: Stage, command: str, seconds: dict[str, float]
) -> None:
    """Score the test rows and write all files: result.json marks the run as complete, and the page comes last."""
    began = time.perf_counter()
    results = stage.results(args.run.seed)
    seconds["evaluate"] = time.perf_counter() - began
    run.write_table("predictions.parquet", results.predictions)
    for name, table in results.tables.items():
        run.write_table(name, table)
    run.write_weights(stage.weights())
    run.write_json("fitted.json", stage.fitted())
    tuned = write_tower(args, run, inputs)
    run.write_json(
        "result.json",
        {
            **identity(args, inputs, stage.outcomes, command),
            **tuned,
            "from": None if inputs.source is None else str(inputs.source.path),
            "metrics": results.metrics,
            "baselines": results.baselines,
            **results.fields,
            "seconds": rendering_seconds(args, inputs) | seconds,
        },
    )
    from report.run_list import refresh_list  # here, since training needs neither Pillow nor Plotly
    from report.run_page.page import write_page

    try:
        write_page(run, inputs.table)
        refresh_list(run.path)
    except (Terminated, KeyboardInterrupt) as stop:
        advice = f"The run is complete; `python -m report.run_page {run.path}` writes its page."
        raise Stopped(code_of(stop), advice) from stop


def write_tower(args: Arguments, run: RunFolder, inputs: RunInputs) -> dict[str, str]:
    """Save the fine-tuned tower with the run. Returns its encoder and embeddings for result.json, if it was trained."""
    if inputs.vision is None:
        copy_tower(run, inputs.pictures, inputs.source)
        return {}
    (fold,) = (ready.fold.name for ready in inputs.prepared)
    tuned_on = TunedOn(inputs.table.fingerprint(), args.input.split, fold, args.run.seed)
    encoder = save_tower(run, inputs.vision.tower, tuned_on)
    print(
        f"the fine-tuned tower is a new encoder; `train.py --stage 2 --from {run.path}` reads its embeddings "
        f"after:\n    {render_command(args, preset_of(args), encoder.name)}"
    )
    return {"encoder": encoder.label, "cache_spec": embedding_spec(args.style, encoder.to_dict()).id}


if __name__ == "__main__":
    sys.exit(main())
