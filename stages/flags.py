"""The flags of train.py, in groups, and what they mean for a stage."""

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
from pipeline.augmentation import Views
from pipeline.errors import InputError
from pipeline.render import Style
from pipeline.splits import SplitChoice, resolve_split
from pipeline.table import SeasonTable
from pipeline.windows import windows
from stages.fold_data import ControlName
from stages.yield_learners import LearnerName

CACHE = "image_cache"


@dataclass(frozen=True)
class DataFlags:
    """What is learnt from, and how rows are held out."""

    data: str = "demo/card.toml"
    """Dataset card, data file, folder or glob."""
    cache: str = CACHE
    """The cache that render_cache.py filled."""
    encoder: str | None = None
    """Whose embeddings to read; those that render_cache.py made last for this data by default."""
    split: SplitChoice = "auto"
    """How rows are held out. auto: by years if the table has three or more, else by places, else by rows."""
    folds: str | None = None
    """Only these folds of the split, as in 2021,2022; `all`: every one; by default, too, but of forward the last three.
    `year`: every year in turn (leave-year-out)."""
    share: float = 1.0
    """Learn from this share of the training and validation rows, drawn by --seed: for learning curves."""
    control: ControlName = "none"
    """Replace each sample's embeddings by those of another one, or by noise: what is learnt then is not seen."""
    year: int | None = None
    """Label year, where a table without a card does not tell it."""
    memory_gb: float | None = None
    """GB that a table may need; 60 % of what is free by default."""


@dataclass(frozen=True)
class ModelFlags:
    """What is trained."""

    preset: PresetName = "timesclip"
    """Which system: a choice of the parts below (docs/models.md)."""
    alignment: AlignmentName | None = None
    """Which pairs of picture and text are told apart; the preset's by default, as are all parts."""
    alignment_weight: float | None = None
    """Of the alignment loss, beside a completion loss of weight 1."""
    fixed_temperature: float | None = None
    """Temperature of the alignment loss, not learnt; learnt from 0.07 on by default."""
    backbone: str | None = None
    """What reads the patches: transformer (own), clip-text:<arch>/<weights>, bert:<folder or id>."""
    patch: int | None = None
    """Steps of a patch; 6 by default, or as many as the window has if those are fewer."""
    stride: int | None = None
    """Steps from one patch to the next."""
    padding: PaddingName | None = None
    """Repeat the last value for one stride (end), or not (none)."""
    positions: PositionName | None = None
    """What tells a patch where it is: its number in the window (index), or its day of the season (day)."""
    width: int | None = None
    """Length of a token."""
    layers: int | None = None
    """Transformer layers."""
    heads: int | None = None
    """Attention heads."""
    dropout: float | None = None
    """Share of activations dropped in training."""
    picture_dropout: float | None = None
    """Share of samples that stage 1 completes without their picture in training; 1: the completion never reads it."""
    link: LinkName | None = None
    """Stage 2 takes from stage 1: its frozen features, its completion error as extra channels, or nothing (scratch)."""
    from_: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Stage 2: the stage-1 run to build on; the newest that fits by default. Stage 3: the stage-2 run."""
    finetune_vision: str | None = None
    """Stage 1: let the last N blocks of the picture tower learn, too (2), or the whole tower (all); one fold only."""
    freeze: str | None = None
    """Parts that keep their weights, as in vision,language; also select, head, tower (pretrained); stage 3: yields."""
    unfreeze_at: int | None = None
    """Epoch from which the frozen parts learn, too; never by default."""
    offset: Literal["auto"] | OffsetName = "auto"
    """Stage 2: what the yield anomaly is measured from; auto takes what is best on validation years."""
    offset_years: int | None = None
    """Stage 2: years that the offset looks back or around; chosen on validation years by default."""
    learner: LearnerName = "ensemble"
    """Stage 2 on frozen features: neural heads, Gaussian processes (gp), trees, ridge, or a weighted mean of all."""
    blocks: str | None = None
    """Stage 2: what gp and trees read, of numbers,pictures,tokens,convolutions; numbers and pictures by default."""
    members: int = 5
    """Stage 2: yield heads whose mean is the neural forecast."""
    quantiles: bool = False
    """Stage 2: heads tell the 5, 50 and 95 % quantiles, too, and the interval is made of them (CQR)."""
    fill: Literal["nothing", "completed"] = "nothing"
    """Stage 2 with --steps: also fill what comes after a step with stage 1's completion, where validation rows gain."""
    interval: IntervalName = "pooled"
    """Stage 2: the 90 % interval from residuals of single rows, or of years: so that it holds in nine of ten years."""


@dataclass(frozen=True)
class LearningFlags:
    """Steps and rates."""

    epochs: int | None = None
    """Most epochs; 60 in stage 1, 80 in stage 2, 20 in stage 3 by default."""
    patience: int | None = None
    """Epochs without a better validation score before training stops; 12, 20 and 5 by default."""
    batch_size: int | None = None
    """Samples a step, over all processes; 64 by default."""
    accumulate: int = 1
    """Micro-batches that a step is computed in: less memory, the same result, one more forward pass."""
    lr: float | None = None
    """Highest learning rate of the one-cycle schedule; 1e-3 in stages 1 and 2, 1e-4 for the heads of stage 3."""
    lr_pretrained: float | None = None
    """Highest learning rate of what was trained before: a pretrained backbone (1e-4), the encoder in stage 3 (1e-5)."""
    weight_decay: float | None = None
    """AdamW's decoupled weight decay a step, times the rate; 0.05 in stages 1 and 3, 0.3 in stage 2 by default."""
    precision: PrecisionName = "auto"
    """What the forward pass computes in; auto: bf16 or fp16 where the GPU has units for it, fp32 on a CPU."""
    device: DeviceName = "auto"
    """Where to train; auto: a GPU where there is one."""
    compile: bool = False
    """Compile the model with torch.compile: pays on long runs only."""


@dataclass(frozen=True)
class SamplingFlags:
    """Which samples make up an epoch."""

    balance: bool = False
    """Draw training rows in inverse proportion to the density of their yield."""
    views: int = 0
    """Learn each sample in one of K views an epoch, or as measured: `render_cache.py --views K` draws them."""
    steps: str | None = None
    """Learn each sample as it is known after so many steps, too, as in 6,9,12: `render_cache.py --steps` draws them."""
    noise: float = Views.noise
    """Views: standard deviation of the noise, as a share of the spread of the series."""
    warp: float = Views.warp
    """Views: most that a season is faster or slower; 0.1 is 0.9 to 1.1 times its speed."""
    mask: float = Views.mask
    """Views: share of the observed steps that become unobserved."""
    mixup: bool = False
    """Mix pairs of samples of a batch, embeddings, series, masks and yields with one weight in 0.3-0.7."""

    def to_views(self) -> Views:
        """What the flags say of views."""
        return Views(self.views, self.noise, self.warp, self.mask)


@dataclass(frozen=True)
class RunFlags:
    """The run and what is kept of it."""

    seed: int = 0
    """Seed of weights, batches and of the place and random splits."""
    seeds: int = 1
    """Repeat with as many seeds, from --seed on: a run each, and a summary."""
    out: Path | None = None
    """The run folder (with --seeds: the folder of run folders); a new one under runs/ by default."""
    resume: Path | None = None
    """Go on with a run that was stopped, with its own flags; no other flag may differ."""
    config: Path | None = None
    """TOML or JSON file of flags, or a run's config.json; flags of the command line win."""
    checkpoints: int = 2
    """Checkpoints kept of each fold, beside the best weights."""
    checkpoint_seconds: float = 10.0
    """Seconds between checkpoints at ends of epochs, at least."""
    checkpoint_steps: int = 1000
    """Steps between checkpoints within an epoch."""
    tensorboard: bool | None = None
    """Curves for TensorBoard in the run folder; where it is installed by default."""
    wandb: bool = False
    """Curves for Weights & Biases (package wandb)."""
    mlflow: bool = False
    """Curves for MLflow (package mlflow)."""


@dataclass(frozen=True)
class Arguments:
    """Train one stage on every fold of a split."""

    stage: Literal[1, 2, 3]
    """1: complete the season. 2: forecast the yield from a frozen stage-1 model. 3: fine-tune all of it."""
    input: tyro.conf.OmitArgPrefixes[DataFlags] = field(default_factory=DataFlags)
    model: tyro.conf.OmitArgPrefixes[ModelFlags] = field(default_factory=ModelFlags)
    learning: tyro.conf.OmitArgPrefixes[LearningFlags] = field(default_factory=LearningFlags)
    sampling: tyro.conf.OmitArgPrefixes[SamplingFlags] = field(default_factory=SamplingFlags)
    run: tyro.conf.OmitArgPrefixes[RunFlags] = field(default_factory=RunFlags)
    style: Style = field(default_factory=Style)


GROUPS = ("input", "model", "learning", "sampling", "run")
NOT_KEPT = ("out", "resume", "config", "seeds")  # in config.json: they say where, not what

CHOSEN = ("link", *(f.name for f in fields(Parts)))  # parts of a preset that flags may change

DEFAULTS = {
    1: Schedule(epochs=60, patience=12, weight_decay=0.05),
    2: Schedule(epochs=80, patience=20, weight_decay=0.3),
    3: Schedule(epochs=20, patience=5, weight_decay=0.05, lr=1e-4, lr_pretrained=1e-5),
}


def flag_names() -> list[str]:
    """Every flag that a file may name, without the dashes."""
    names = [f.name for f in fields(Arguments) if f.name not in (*GROUPS, "style")]
    for group in (DataFlags, ModelFlags, LearningFlags, SamplingFlags, RunFlags):
        names += [f.name for f in fields(group)]
    names = [name.rstrip("_") for name in names if name not in ("resume", "config")]
    return [name.replace("_", "-") for name in names + [f"style.{f.name}" for f in fields(Style)]]


def as_record(args: Arguments) -> dict[str, Any]:
    """The flags in effect, for config.json: `--config` takes it. What a stage decides by itself is spelled out."""
    record: dict[str, Any] = {"stage": args.stage}
    for group in GROUPS:
        record |= asdict(getattr(args, group))
    schedule = schedule_of(args)
    record |= {name: getattr(schedule, name) for name in ("epochs", "patience", "weight_decay", "lr", "lr_pretrained")}
    record = {name.rstrip("_"): str(value) if isinstance(value, Path) else value for name, value in record.items()}
    return {name: value for name, value in record.items() if name not in NOT_KEPT} | {"style": asdict(args.style)}


def schedule_of(args: Arguments) -> Schedule:
    """The stage's schedule with what the flags change. Raises InputError when a number cannot be meant."""
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
    """The preset with the parts that flags change. Raises InputError where they cannot work together."""
    given = {name: value for name, value in asdict(args.model).items() if name in CHOSEN and value is not None}
    if args.model.fixed_temperature is not None:
        given |= {"temperature": args.model.fixed_temperature, "learn_temperature": False}
    try:
        return replace(PRESETS[args.model.preset], **given)
    except ValueError as error:
        said = re.sub(r"\b[a-z]+_[a-z_]+\b", lambda name: "--" + name[0].replace("_", "-"), str(error))
        raise InputError(
            f"--preset {args.model.preset} with these flags: {said}. Change that flag or leave it out, or take another "
            "preset (docs/models.md)."
        ) from error


def settled(args: Arguments, table: SeasonTable) -> tuple[Arguments, tuple[str, ...]]:
    """The flags with what the table decides, and a sentence for each: the split of auto, a patch for a short window."""
    split, why = resolve_split(args.input.split, table, seed=args.run.seed)
    said, model, preset = [why] if why else [], args.model, preset_of(args)
    first, _ = windows(table.steps, table.cut, preset.framing)
    patch = fitting_patch(preset.patch, first.length)
    if model.patch is None and preset.use_language and patch < preset.patch:
        model = replace(model, patch=patch)
        said.append(f"patch {patch}: the {first.name} has {first.length} steps, the default is {preset.patch}")
    return replace(args, input=replace(args.input, split=split), model=model), tuple(said)


def tuned_blocks(args: Arguments) -> int | None:
    """How many blocks of the picture tower learn; None: all of them. Raises InputError where that cannot be meant."""
    given = args.model.finetune_vision or "all"
    if given != "all" and not (given.isascii() and given.isdigit() and int(given) > 0):
        raise InputError(f"--finetune-vision is {given}; it must be a number of blocks from 1 on, as in "
                         "--finetune-vision 2, or all.")  # fmt: skip
    return None if given == "all" else int(given)


def blocks_named(names: str | None) -> tuple[BlockName, ...] | None:
    """The blocks that --blocks names; None: those of the preset. Raises InputError for a name that is none."""
    if names is None:
        return None
    found = tuple(name.strip() for name in names.split(","))
    known: tuple[BlockName, ...] = get_args(BlockName)
    for name in found:
        if name not in known:
            raise InputError(f"--blocks names {name!r}; there are {', '.join(known)}, with commas between.")
    return tuple(name for name in known if name in found)


def part_flags(args: Arguments) -> list[str]:
    """The flags of this command line that choose the model of stage 1."""
    flags = ["--preset", args.model.preset]
    for f in fields(args.model):
        value = getattr(args.model, f.name)
        if value is not None and (f.name in CHOSEN or f.name == "fixed_temperature") and f.name != "link":
            flags += [f"--{f.name.replace('_', '-')}", str(value)]
    return flags


def control_of(args: Arguments) -> str | None:
    """What replaces the pictures, if anything does: runs with true pictures say nothing of it."""
    return None if args.input.control == "none" else args.input.control
