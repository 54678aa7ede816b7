"""The flags of train.py, in groups, and the settings that follow from them for a stage."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tyro

from model.calibration import IntervalName
from model.config import AlignmentName, PaddingName, Parts, PositionName, fitting_patch
from model.learners.features import BlockName
from model.offset import OffsetName
from model.presets import PRESETS, LinkName, Preset, PresetName
from model.training.distributed import DeviceName
from model.training.optim import Schedule
from model.training.precision import PrecisionName
from pipeline.errors import InputError
from pipeline.flags import Names, SeasonFlags, ViewFlags, listed, parse_names, parsed_by, without_the_end
from pipeline.splits import resolve_split
from pipeline.style import Style
from pipeline.table import SeasonTable
from pipeline.windows import windows
from stages.inputs.fold_data import ControlName
from stages.yields.yield_learners import LearnerName

EVERY_YEAR = "year"  # as the only name of --folds
PARTS = ("vision", "language", "tower", "select", "head", "yields")  # names for --freeze, the last one in stage 3 only


def parse_blocks(text: str) -> tuple[BlockName, ...]:
    """The blocks in a text such as "numbers,pictures", in the order of `BlockName`. Raises InputError for an unknown
    name."""
    known: tuple[BlockName, ...] = get_args(BlockName)
    names = parse_names(text)
    for name in names:
        if name not in known:
            raise InputError(f"--blocks names {name!r}; the blocks are {', '.join(known)}, separated by commas.")
    return tuple(name for name in known if name in names)


def parse_tower_blocks(text: str) -> int | Literal["all"]:
    """A number of blocks of the image tower, or `all`. Raises InputError for anything else."""
    if text == "all":
        return "all"
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise InputError(f"--finetune-vision is {text}; it must be a number of blocks, at least 1, as in "
                         "--finetune-vision 2, or all.")  # fmt: skip
    return int(text)


Blocks = Annotated[tuple[BlockName, ...], *listed(parse_blocks, "NAME,NAME")]
TowerBlocks = Annotated[int | Literal["all"], parsed_by(parse_tower_blocks, "{N,all}")]


@dataclass(frozen=True)
class DataFlags(SeasonFlags):
    """Data, cache, and how rows are held out."""

    encoder: str | None = None
    """Encoder of the embeddings; by default the last one that render_cache.py used for this data."""
    share: float = 1.0
    """Use this share of the training and validation rows, drawn by --seed, for learning curves."""
    control: ControlName = "none"
    """Negative control: replace embeddings with another sample's (shuffled) or with noise."""


@dataclass(frozen=True)
class ModelFlags:
    """The model to train."""

    preset: PresetName = "timesclip"
    """The model: timesclip (pictures and numbers), language-only, vision-only or no-alignment. The other presets are
    experimental (docs/models.md)."""
    alignment: AlignmentName | None = None
    """Among what the alignment loss finds the text of each picture: all pairs of the batch (flat), means of samples
    (sample), variates of one sample (variate), both (hierarchical); none: no such loss. By default the preset's."""
    alignment_weight: float | None = None
    """Weight of the alignment loss, beside a completion loss of weight 1."""
    fixed_temperature: float | None = None
    """Fix the temperature of the alignment loss at this value; by default it is learnt, from 0.07 on."""
    backbone: str | None = None
    """Encoder of the patches: transformer (trained from scratch), clip-text:<arch>/<weights>, bert:<folder or id>."""
    patch: int | None = None
    """Steps per patch; 6 by default, or the length of the window if that is shorter."""
    stride: int | None = None
    """Steps from one patch to the next."""
    padding: PaddingName | None = None
    """Repeat the last value for one stride (end), or not (none)."""
    positions: PositionName | None = None
    """Position of a patch: its number in the window (index), or its day of the season (day)."""
    width: int | None = None
    """Length of a token."""
    layers: int | None = None
    """Transformer layers."""
    heads: int | None = None
    """Attention heads."""
    dropout: float | None = None
    """Share of activations dropped in training."""
    init: str = "auto"
    """Stage 1: the weights to start from. auto takes the packaged ones if they fit encoder and model, none starts from
    scratch, and a path names a file or run folder of pretrain.py."""
    from_: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Stage 2: the stage-1 run to start from; the newest that fits by default. Stage 3: the stage-2 run."""
    offset: Literal["auto"] | OffsetName = "auto"
    """Stage 2: baseline from which the yield anomaly is measured; auto averages kinds by their errors on known years,
    or takes the best one if places or rows are held out (docs/models.md, The offset)."""
    offset_years: int | None = None
    """Stage 2: years before or around the forecast that the offsets place, place-shrunk and place-trend use; by default
    several windows compete as the kinds of offset do."""
    learner: LearnerName = "ensemble"
    """Stage 2 on frozen features: neural heads, Gaussian processes (gp), trees, ridge, a weighted mean of these
    (ensemble), or the pretrained transformer TabICL (tabicl)."""
    tabicl_weights: Path | None = None
    """Stage 2 with --learner tabicl: file of its weights; by default that of the model hub or its local cache."""
    blocks: Blocks = ()
    """Stage 2: inputs of gp, trees and tabicl, of numbers, pictures, tokens, convolutions, and the control
    numbers-again; by default those that the preset reads of numbers and pictures."""
    members: int = 5
    """Stage 2: number of yield heads, whose mean is the neural forecast."""
    quantiles: bool = False
    """Stage 2: forecast 5, 50 and 95 % quantiles too, and make the interval from them (CQR)."""
    interval: IntervalName = "pooled"
    """Stage 2: calibrate the 90 % interval on single rows (pooled), or on whole years to hold in new ones (year)."""


@dataclass(frozen=True)
class LearningFlags:
    """Epochs, batches and learning rates."""

    epochs: int | None = None
    """Maximum number of epochs; by default 60 in stage 1, 80 in stage 2, 20 in stage 3."""
    patience: int | None = None
    """Stop after this many epochs without a better validation score; by default 12, 20 and 5 in stages 1, 2 and 3."""
    batch_size: int | None = None
    """Samples per optimizer step, over all processes; 64 by default."""
    accumulate: int = 1
    """Compute each batch in this many parts, one after another: less memory, the same result, one more forward pass."""
    lr: float | None = None
    """Maximum learning rate of the one-cycle schedule; 1e-3 in stages 1 and 2 (2e-3 if stage 1 starts from weights),
    1e-4 for the heads of stage 3."""
    lr_pretrained: float | None = None
    """Maximum learning rate of pretrained parts: a pretrained backbone (1e-4), the encoder in stage 3 (1e-5)."""
    weight_decay: float | None = None
    """AdamW's decoupled weight decay per step, times the rate; 0.05 in stages 1 and 3, 0.3 in stage 2 by default."""
    precision: PrecisionName = "auto"
    """Precision of the forward pass; auto: bf16 or fp16 if the GPU has units for it, fp32 on a CPU."""
    device: DeviceName = "auto"
    """Device for training; auto: a GPU if there is one."""
    compile: bool = False
    """Compile the model with torch.compile; worthwhile on long runs only."""


@dataclass(frozen=True)
class ExperimentalFlags(ViewFlags):
    """Not shown to improve forecasts, or hardly measured (docs/training.md)."""

    mixup: bool = False
    """Mix pairs of samples within a batch: embeddings, series, masks and yields, with one weight in 0.3-0.7."""
    balance: bool = False
    """Draw training rows in inverse proportion to the density of their yield."""
    picture_dropout: float | None = None
    """Share of training samples that stage 1 completes without pictures; with 1 the completion never reads them."""
    link: LinkName | None = None
    """Input of stage 2 from stage 1: frozen features, completion errors as extra channels, or nothing (scratch)."""
    fill: Literal["nothing", "completed"] = "nothing"
    """Stage 2 with --steps: fill in later steps with stage 1's completion (completed) if validation rows gain."""
    finetune_vision: TowerBlocks | None = None
    """Stage 1: also train the last N blocks of the image tower (2), or the whole tower (all); one fold only."""
    freeze: Names = ()
    """Frozen parts, as in vision,language; also select, head, tower (pretrained); in stage 3 also yields."""
    unfreeze_at: int | None = None
    """Epoch from which the frozen parts are trained too; never by default."""


@dataclass(frozen=True)
class RunFlags:
    """The run, and the files it keeps."""

    seed: int = 0
    """Seed of weights, batches, and the splits by place and at random."""
    seeds: int = 1
    """Repeat with this many seeds, from --seed on: one run per seed, and a summary."""
    out: Path | None = None
    """The run folder (with --seeds: the folder of run folders); a new one under runs/ by default."""
    resume: Path | None = None
    """Resume a stopped run with its own flags; no other flag may differ."""
    config: Path | None = None
    """TOML or JSON file of flags, or a run's config.json; the command line takes precedence."""
    checkpoints: int = 2
    """Checkpoints kept per fold, in addition to the best weights."""
    checkpoint_seconds: float = 10.0
    """Minimum seconds between checkpoints at ends of epochs."""
    checkpoint_steps: int = 1000
    """Optimizer steps between checkpoints within an epoch."""
    verbose: bool = False
    """Also print losses, speed and seconds of every epoch."""
    tensorboard: bool | None = None
    """Write curves for TensorBoard to the run folder; by default if it is installed."""
    wandb: bool = False
    """Log curves to Weights & Biases (package wandb)."""
    mlflow: bool = False
    """Log curves to MLflow (package mlflow)."""


@dataclass(frozen=True)
class Arguments:
    """Train one stage on every fold of a split."""

    stage: Literal[1, 2, 3]
    """1: complete the season. 2: forecast the yield from a frozen stage-1 model. 3: fine-tune encoder and heads."""
    input: tyro.conf.OmitArgPrefixes[DataFlags] = field(default_factory=DataFlags)
    model: tyro.conf.OmitArgPrefixes[ModelFlags] = field(default_factory=ModelFlags)
    learning: tyro.conf.OmitArgPrefixes[LearningFlags] = field(default_factory=LearningFlags)
    run: tyro.conf.OmitArgPrefixes[RunFlags] = field(default_factory=RunFlags)
    style: Style = field(default_factory=Style)
    experimental: tyro.conf.OmitArgPrefixes[ExperimentalFlags] = field(default_factory=ExperimentalFlags)


# `--help` shows these flags, `--help-all` all groups.
FIRST_FLAGS = (
    *("stage", "data", "cache", "split", "folds", "steps", "preset", "from"),
    *("epochs", "seed", "seeds", "out", "resume", "config"),
)
GROUPS = ("input", "model", "learning", "run", "experimental")
GROUP_FLAGS = (DataFlags, ModelFlags, LearningFlags, RunFlags, ExperimentalFlags)
NOT_RECORDED = ("out", "resume", "config", "seeds", "verbose")  # in config.json, as they do not change the result

CHOSEN = ("link", *(f.name for f in fields(Parts)))  # parts of a preset that flags may change

DEFAULTS = {
    1: Schedule(epochs=60, patience=12, weight_decay=0.05),
    2: Schedule(epochs=80, patience=20, weight_decay=0.3),
    3: Schedule(epochs=20, patience=5, weight_decay=0.05, lr=1e-4, lr_pretrained=1e-5),
}
LR_FROM_WEIGHTS = 2e-3  # of stage 1, if it starts from weights


def flag_names() -> list[str]:
    """Every flag that a file may set, without the dashes."""
    names = [f.name for f in fields(Arguments) if f.name not in (*GROUPS, "style")]
    for group in GROUP_FLAGS:
        names += [f.name for f in fields(group)]
    names = [name.rstrip("_") for name in names if name not in ("resume", "config")]
    return [name.replace("_", "-") for name in names + [f"style.{f.name}" for f in fields(Style)]]


def as_record(args: Arguments) -> dict[str, Any]:
    """The flags in effect, for config.json and `--config`, with the stage's own defaults filled in."""
    record: dict[str, Any] = {"stage": args.stage}
    for group in GROUPS:
        record |= asdict(getattr(args, group))
    schedule = schedule_of(args)
    record |= {name: getattr(schedule, name) for name in ("epochs", "patience", "weight_decay", "lr", "lr_pretrained")}
    record = {name.rstrip("_"): str(value) if isinstance(value, Path) else value for name, value in record.items()}
    return {name: value for name, value in record.items() if name not in NOT_RECORDED} | {"style": asdict(args.style)}


def schedule_of(args: Arguments) -> Schedule:
    """The stage's schedule with the changes by flags. Raises InputError if a number is out of range."""
    default, given = DEFAULTS[args.stage], args.learning
    changed = {f.name: getattr(given, f.name) for f in fields(Schedule) if getattr(given, f.name, None) is not None}
    schedule = replace(default, **changed)
    above_zero = asdict(schedule) | {name: getattr(args.run, name) for name in ("seeds", "checkpoints")}
    above_zero |= {"members": args.model.members, "checkpoint_steps": args.run.checkpoint_steps}
    above_zero |= {"offset_years": 1 if args.model.offset_years is None else args.model.offset_years}
    for name, value in above_zero.items():
        if not 0 < value < math.inf:
            raise InputError(f"--{name.replace('_', '-')} is {value}; it must be above 0.")
    if not 0 <= args.run.seed < 2**63 - args.run.seeds:
        raise InputError(f"--seed is {args.run.seed}; it must be from 0 to 2^63 - 1.")
    return schedule


def preset_of(args: Arguments) -> Preset:
    """The preset with the changes by flags. Raises InputError if the parts cannot work together."""
    chosen = asdict(args.model) | asdict(args.experimental)
    given = {name: value for name, value in chosen.items() if name in CHOSEN and value is not None}
    if args.model.fixed_temperature is not None:
        given |= {"temperature": args.model.fixed_temperature, "learn_temperature": False}
    try:
        return replace(PRESETS[args.model.preset], **given)
    except ValueError as error:
        reason = re.sub(r"\b[a-z]+_[a-z_]+\b", lambda name: "--" + name[0].replace("_", "-"), str(error))
        raise InputError(
            f"--preset {args.model.preset} with these flags: {reason}. Change that flag or leave it out, or take "
            "another preset (docs/models.md)."
        ) from error


def settled(args: Arguments, table: SeasonTable) -> tuple[Arguments, tuple[str, ...]]:
    """The flags with split and patch as the table decides them, and one sentence per decision."""
    split, why = resolve_split(args.input.split, table, seed=args.run.seed)
    sentences, model, preset = [why] if why else [], args.model, preset_of(args)
    first, _ = windows(table.steps, table.cut, preset.framing)
    patch = fitting_patch(preset.patch, first.length)
    if model.patch is None and preset.use_language and patch < preset.patch:
        model = replace(model, patch=patch)
        sentences.append(f"patch {patch}: the {first.name} has {first.length} steps, the default is {preset.patch}")
    steps, said = without_the_end(args.input.steps, table.steps)
    sentences += [said] if said else []
    return replace(args, input=replace(args.input, split=split, steps=steps), model=model), tuple(sentences)


def control_of(args: Arguments) -> str | None:
    """The control that replaces the pictures, or None; runs with true pictures do not record it."""
    return None if args.input.control == "none" else args.input.control
