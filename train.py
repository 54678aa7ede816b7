"""Train on cached pictures: stage 1 completes the season, stage 2 turns what it learned into t/ha.

    python train.py --stage 1                                    on the demo data, after render_cache.py
    python train.py --stage 2                                    on the newest stage-1 run that fits
    python train.py --stage 1 --data my_card.toml --split leave-year-out
    python train.py --stage 2 --data my_card.toml --split leave-year-out --offset place
    python train.py --stage 1 --preset language-only             without pictures

Splits: year (the last year tests, the one before validates), forward (the last three years in turn, trained on earlier
ones), leave-year-out, place (five folds of unseen places), random. Every statistic comes from training rows; test rows
are read once, at the end.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from cache.catalog import entries
from cache.dataset import encoder_of
from cache.storage import CacheError
from model.offset import OffsetName
from model.presets import PRESETS, PresetName
from model.timesclip import TimesCLIP, TimesCLIPConfig
from model.training.errors import Diverged, Refused
from model.training.loop import Epoch, Trainer
from model.training.schedule import Schedule
from pipeline.errors import InputError
from pipeline.render import Style
from pipeline.sources import read
from pipeline.splits import Fold, SplitName, make_folds
from pipeline.table import SeasonTable
from report.page import write_page
from report.run import RunFolder, commit, complete_runs, hardware
from report.summary import print_scores
from stages import completing, forecasting
from stages.prepare import Pictures, Prepared, prepare

DEFAULTS = {
    1: Schedule(epochs=60, patience=12, weight_decay=0.05),
    2: Schedule(epochs=80, patience=20, weight_decay=0.3),
}


@dataclass(frozen=True)
class Arguments:
    """Train one stage on every fold of a split."""

    stage: Literal[1, 2]
    """1: complete the season. 2: forecast the yield from a frozen stage-1 model."""
    data: str = "demo/card.toml"
    """Dataset card, data file, folder or glob."""
    cache: str = "image_cache"
    """The cache that render_cache.py filled."""
    preset: PresetName = "timesclip"
    """Which parts of the model are on."""
    split: SplitName = "year"
    """How rows are held out."""
    encoder: str | None = None
    """Whose embeddings to read; those that render_cache.py made last for this data by default."""
    epochs: int | None = None
    """Most epochs; 60 in stage 1 and 80 in stage 2 by default."""
    seed: int = 0
    """Seed of weights, batches and of the place and random splits."""
    out: Path | None = None
    """The run folder; a new one under runs/ by default."""
    from_: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Stage 2: the stage-1 run to build on; the newest that fits by default."""
    offset: Literal["auto"] | OffsetName = "auto"
    """Stage 2: what the yield anomaly is measured from; auto takes what is best on validation years."""
    offset_years: int | None = None
    """Stage 2: years that the offset looks back or around; chosen on validation years by default."""
    members: int = 5
    """Stage 2: yield heads whose mean is the forecast."""
    batch_size: int = 64
    """Samples a step."""
    lr: float = 1e-3
    """Highest learning rate of the one-cycle schedule."""
    patience: int | None = None
    """Epochs without a better validation score before training stops; 12 in stage 1 and 20 in stage 2 by default."""
    style: Style = field(default_factory=Style)
    year: int | None = None
    """Label year, where a table without a card does not tell it."""
    memory_gb: float | None = None
    """Refuse a table that needs more memory than this; 60 % of what is free by default."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        args = tyro.cli(Arguments, args=given, description=__doc__)
        return train(args, shlex.join(["python", "train.py", *given]))
    except (InputError, Refused) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    except (CacheError, OSError, Diverged) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 1


def train(args: Arguments, command: str) -> int:
    """Read, split, gather, train fold by fold, write the run: the whole program."""
    started = time.perf_counter()
    table = read(args.data, year=args.year, memory_gb=args.memory_gb)
    completing.refuse_short_seasons(table, PRESETS[args.preset])
    folds = make_folds(table.year, table.place, table.sample_id, args.split, args.seed)
    print(f"{table.name}: {len(table)} samples, split {args.split}, folds {', '.join(fold.name for fold in folds)}")
    print(table.describe_counts())
    pictures = find_pictures(args, table) if PRESETS[args.preset].use_vision else None
    source = base_run(args, table, folds, pictures) if args.stage == 2 else None
    prepared = [prepare(table, fold, pictures) for fold in folds]
    schedule = schedule_of(args)
    seconds = {"read": time.perf_counter() - started, "train": 0.0}

    run = RunFolder.create(args.out, args.stage, f"{table.name}-{args.preset}-{args.split}-seed{args.seed}")
    run.write_json("config.json", configuration(args))
    outcomes: list[Any] = []
    for ready in prepared:
        trainer = Trainer(schedule, args.seed, listener=EpochLines(run))
        began = time.perf_counter()
        if source is None:
            outcomes.append(completing.run_fold(ready, PRESETS[args.preset], trainer, balance=False))
        else:
            model = load_model(source, ready)
            setup = forecasting.ForecastSetup(args.offset, args.offset_years, args.members)
            outcomes.append(forecasting.run_fold(ready, model, setup, trainer))
        seconds["train"] += time.perf_counter() - began
        if outcomes[-1].fit.interrupted:
            print("interrupted: the best weights so far are kept, further folds are left out")
            break
    began = time.perf_counter()
    stage = completing if source is None else forecasting
    metrics, baselines = stage.scores(outcomes, args.seed)
    seconds["evaluate"] = time.perf_counter() - began
    run.write_predictions(stage.predictions(outcomes))
    run.write_weights(stage.weights(outcomes))
    run.write_json("fitted.json", {outcome.prepared.fold.name: stage.fitted(outcome) for outcome in outcomes})
    run.write_json(
        "result.json",
        {
            **identity(args, table, outcomes, pictures, command),
            "from": None if source is None else str(source.path),
            "metrics": metrics,
            "baselines": baselines,
            "seconds": rendering_seconds(args, table, pictures) | seconds,
        },
    )
    write_page(run)
    print_scores(run)
    return 0


def schedule_of(args: Arguments) -> Schedule:
    """The stage's schedule with what the flags change. Raises InputError when a number cannot be meant."""
    default = DEFAULTS[args.stage]
    schedule = replace(
        default,
        epochs=default.epochs if args.epochs is None else args.epochs,
        patience=default.patience if args.patience is None else args.patience,
        batch_size=args.batch_size,
        lr=args.lr,
    )
    for name, value in (*asdict(schedule).items(), ("members", args.members)):
        if value <= 0:
            raise InputError(f"--{name.replace('_', '-')} is {value}; it must be above 0.")
    return schedule


def find_pictures(args: Arguments, table: SeasonTable) -> Pictures:
    """The cached embeddings that this table needs, or an error with the command that makes them."""
    command = ["python", "render_cache.py", "--data", args.data, "--cache", args.cache, "--split", args.split]
    if args.split in ("place", "random"):
        command += ["--seed", str(args.seed)]
    if args.encoder:
        command += ["--encoder", args.encoder]
    if args.year:
        command += ["--year", str(args.year)]
    for name, value in asdict(args.style).items():
        if value != getattr(Style(), name):
            command += [f"--style.{name.replace('_', '-')}", str(value)]
    return Pictures.find(args.cache, args.style, table, args.encoder, shlex.join(command))


def base_run(args: Arguments, table: SeasonTable, folds: Sequence[Fold], pictures: Pictures | None) -> RunFolder:
    """The stage-1 run to build on: --from, or the newest of this table, split, seed, preset and pictures."""
    wanted = {
        "stage": 1,
        "data_fingerprint": table.fingerprint(),
        "split": args.split,
        "preset": args.preset,
        "seed": args.seed,
        "folds": [fold.name for fold in folds],
        "cache_spec": pictures and pictures.store.spec.id,
    }
    command = (
        f"python train.py --stage 1 --data {args.data} --split {args.split} --preset {args.preset} --seed {args.seed}"
    )
    if args.from_ is None:
        for run in complete_runs():
            result = run.read_json("result.json")
            if all(result.get(name) == value for name, value in wanted.items()):
                return run
        raise InputError(
            f"no stage-1 run under runs/ fits this table, split, preset, seed and pictures. Run:\n    {command}"
        )
    result = RunFolder.open(args.from_).read_json("result.json")
    for name, value in wanted.items():
        if name != "seed" and result.get(name) != value:
            raise InputError(
                f"--from {args.from_} has {name} {result.get(name)!r}, this run needs {value!r}. Run:\n    {command}"
            )
    return RunFolder(args.from_)


def load_model(run: RunFolder, ready: Prepared) -> TimesCLIP:
    """The frozen stage-1 model of the same fold."""
    model = TimesCLIP(TimesCLIPConfig(**run.read_json("fitted.json")[ready.fold.name]["model"]))
    model.load_state_dict(run.read_weights(f"{ready.fold.name}/encoder."))
    return model.eval().requires_grad_(False)


class EpochLines:
    """A line in metrics.jsonl and one on the screen for every epoch."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run

    def on_step(self, phase: str, epoch: int, step: int, steps: int) -> None:
        """Nothing."""

    def on_epoch(self, phase: str, epoch: Epoch) -> None:
        """Told after each epoch; `phase` is <fold>/train or <fold>/refit."""
        fold, _, part = phase.rpartition("/")
        if part == "refit":
            return
        self.run.append_metrics({"fold": fold, **asdict(epoch)})
        terms = "  ".join(f"{name} {value:.4f}" for name, value in epoch.train.items())
        print(f"fold {fold}  epoch {epoch.epoch:3d}  {terms}  valid {epoch.valid['score']:.4f}  "
              f"{epoch.seconds:.2f} s  {epoch.samples_per_second:.0f} samples/s", flush=True)  # fmt: skip


def configuration(args: Arguments) -> dict[str, Any]:
    """The flags of this run as they are in effect."""
    flags = asdict(args) | asdict(schedule_of(args))
    return {name.rstrip("_"): str(value) if isinstance(value, Path) else value for name, value in flags.items()}


def identity(
    args: Arguments, table: SeasonTable, outcomes: Sequence[Any], pictures: Pictures | None, command: str
) -> dict[str, Any]:
    """What tells one result row from another."""
    folds = [outcome.prepared.fold for outcome in outcomes]
    return {
        "data": table.name,
        "stage": args.stage,
        "preset": args.preset,
        "split": args.split,
        "folds": [fold.name for fold in folds],
        "seed": args.seed,
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


def rendering_seconds(args: Arguments, table: SeasonTable, pictures: Pictures | None) -> dict[str, float]:
    """What render_cache.py spent on this table when it filled the cache: read, key, draw, embed."""
    spent = {"key": 0.0, "draw": 0.0, "embed": 0.0}
    if pictures:
        for entry in entries(args.cache):
            if entry.fingerprint == table.fingerprint() and entry.embeddings == pictures.store.spec.id:
                spent |= {name: entry.seconds.get(name, 0.0) for name in spent}
    return spent


if __name__ == "__main__":
    sys.exit(main())
