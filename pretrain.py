"""Pretrain stage 1 on simulated series without labels. The weights are a start for stage 1 on any table.

    python pretrain.py                                  simulate, draw, embed and train, for the encoder `auto`
    python pretrain.py --encoder timm:vit_small_patch16_224
    python pretrain.py --resume runs/x                  resume a stopped run
    python train.py --stage 1 --init runs/x             start stage 1 from these weights

The run folder gets the weights (initial.safetensors) and their model card (README.md). Drawing and embedding fill the
cache like render_cache.py: stop the program whenever you like and run it again.
"""

from __future__ import annotations

import pipeline.loading  # isort: skip  # noqa: F401  # first, for Ctrl-C while the others load

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import tyro

from cache.storage import CacheError, refuse_unless_cache
from model.encoders import EncoderError, EncoderSpec, resolve
from model.training.distributed import Processes
from model.training.errors import Diverged, Refused
from model.training.optim import Schedule
from model.training.trainer import Trainer
from pipeline.errors import InputError
from pipeline.flags import CacheFlags
from pipeline.parser import parse_flags
from pipeline.program import Stopped, Terminated, code_of, run_program
from pipeline.simulated_corpus.recipe import Recipe
from report.run import RunFolder
from report.trackers import Trackers
from report.training_display import TrainingDisplay
from stages.completion.pretraining import CARD, CorpusInputs, gather_corpus, train_corpus, write_weights
from stages.inputs.initial_weights import NAME
from stages.runs.checkpoints import Checkpoints
from stages.runs.epoch_log import EpochLog


@dataclass(frozen=True)
class Arguments(CacheFlags):
    """Pretrain stage 1 on a simulated corpus."""

    encoder: str = "auto"
    """The image encoder, by the names of render_cache.py."""
    workers: int = 2
    """Number of drawing processes."""
    recipe: tyro.conf.OmitArgPrefixes[Recipe] = field(default_factory=Recipe)
    epochs: int = 24
    """Number of epochs; each draws two batches of every table."""
    lr: float = 3e-3
    """Maximum learning rate of the one-cycle schedule."""
    out: Path | None = None
    """The run folder; a new one under runs/ by default."""
    resume: Path | None = None
    """Resume a stopped run with its own flags."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit code: 0, 1 (a failure), 2 (bad input), 130 (Ctrl-C), 143 (SIGTERM)."""
    return run_program(
        "pretrain.py",
        lambda: pretrain(parse_flags(Arguments, arguments, __doc__, "pretrain.py")),
        refused=(EncoderError, Refused),
        failed=(CacheError, Diverged),
        after_failure="Committed work is safe; run the same command again to continue.",
        after_stop="Committed work is safe; run the same command again to continue.",
    )


def pretrain(args: Arguments) -> int:
    """The whole program: simulate, draw, embed, train, write. Returns the exit code."""
    args, run, checkpoints = open_run(args)
    encoder = resolve(args.encoder)
    print(f"encoder {encoder.name}: {encoder.reason}")
    inputs = gather_corpus(args.recipe, args.cache, args.workers, encoder)
    fingerprints = {"corpus": args.recipe.digest, "encoder": encoder.weights_digest}
    if args.resume:
        checkpoints.require_fingerprints(fingerprints)
    else:
        checkpoints.start(fingerprints)
    with checkpoints.locked():
        if args.resume:
            checkpoints.rewind_metrics()
        train(args, run, checkpoints, inputs, encoder)
    return 0


def train(
    args: Arguments, run: RunFolder, checkpoints: Checkpoints, inputs: CorpusInputs, encoder: EncoderSpec
) -> None:
    """Train on the corpus and write the weights with their card."""
    started = time.perf_counter()
    log = EpochLog(run, TrainingDisplay(args.epochs), Trackers.start((), run.path, {}))
    trainer = Trainer(
        schedule=Schedule(epochs=args.epochs, batch_size=1, lr=args.lr, patience=args.epochs),
        seed=args.recipe.seed,
        processes=Processes(),
        states=checkpoints,
        listener=log,
    )
    try:
        module, fit = train_corpus(inputs, encoder, trainer)
    except (Terminated, KeyboardInterrupt) as stop:
        raise Stopped(code_of(stop), f"`python pretrain.py --resume {run.path}` resumes it.") from stop
    finally:
        log.close()
    if fit.interrupted:
        raise Stopped(130, f"`python pretrain.py --resume {run.path}` resumes it.")
    seconds = {**inputs.seconds, "train": time.perf_counter() - started}
    record = {"command": command_of(args, encoder.name), "pictures": inputs.pictures, "seconds": seconds}
    weights = write_weights(run.path, module, fit, recipe=args.recipe, encoder=encoder, record=record)
    checkpoints.remove()
    spent = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    print(f"{inputs.pictures} pictures; {spent}")
    print(f"scores on simulated tables that were left out: {weights.record['validation']}")
    print(f"{run.path / NAME}, {CARD}; `python train.py --stage 1 --init {run.path}` starts from these weights")


def command_of(args: Arguments, encoder: str) -> str:
    """The command that makes the same weights elsewhere: every flag that they depend on, and no path."""
    recipe = [f"--{name} {value}" for name, value in asdict(args.recipe).items()]
    return (
        shlex.join(["python", "pretrain.py", "--encoder", encoder])
        + " "
        + " ".join([*recipe, f"--epochs {args.epochs}", f"--lr {args.lr}"])
    )


def open_run(args: Arguments) -> tuple[Arguments, RunFolder, Checkpoints]:
    """The flags in effect, a new run folder or the one to resume, and its checkpoints."""
    for name, value in (("epochs", args.epochs), ("workers", args.workers), ("lr", args.lr)):
        if not value > 0:
            raise InputError(f"--{name} is {value}; it must be above 0.")
    if args.recipe.tables < 2:
        raise InputError("--tables is 1; at least 2 are needed, because one chooses the epoch.")
    refuse_unless_cache(args.cache)
    if args.resume is None:
        run = RunFolder.create(args.out, 0, f"pretrained-seed{args.recipe.seed}")
        run.write_json("config.json", asdict(replace(args, out=None)))
        run.write_text("metrics.jsonl", "")
        return args, run, Checkpoints(run, 2, 10.0, 1000)
    if (args.resume / NAME).is_file():
        raise InputError(f"--resume {args.resume}: this run is complete; its weights are in {args.resume / NAME}.")
    if not (args.resume / "checkpoints" / "started.json").is_file():
        raise InputError(f"--resume {args.resume} is no stopped run of pretrain.py with a checkpoint. Start a new one.")
    run = RunFolder(args.resume)
    known = run.read_json("config.json")
    own = {name: known[name] for name in ("cache", "encoder", "workers", "epochs", "lr")}
    args = Arguments(**own, recipe=Recipe(**known["recipe"]), resume=args.resume)
    return args, run, Checkpoints(run, 2, 10.0, 1000)


if __name__ == "__main__":
    sys.exit(main())
