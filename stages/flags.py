"""The flags of train.py, in groups: from the command line, from `--config FILE`, or from a run that is resumed.

A file says what flags say, by the same names, and goes through the same parser; what the command line says wins.
"""

from __future__ import annotations

import difflib
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tyro

from model.intervals import IntervalName
from model.offset import OffsetName
from model.parts import AlignmentName, PaddingName, Parts, PositionName
from model.presets import PRESETS, LinkName, Preset, PresetName
from model.training.precision import PrecisionName
from model.training.processes import DeviceName
from model.training.schedule import Schedule
from pipeline.errors import InputError
from pipeline.render import Style
from pipeline.splits import SplitName
from pipeline.views import Views
from stages.prepare import ControlName


@dataclass(frozen=True)
class DataFlags:
    """What is learnt from, and how rows are held out."""

    data: str = "demo/card.toml"
    """Dataset card, data file, folder or glob."""
    cache: str = "image_cache"
    """The cache that render_cache.py filled."""
    encoder: str | None = None
    """Whose embeddings to read; those that render_cache.py made last for this data by default."""
    split: SplitName = "year"
    """How rows are held out."""
    folds: str | None = None
    """Only these folds of the split, as in 2021,2022; all by default. `year`: every year in turn (leave-year-out)."""
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
    """Steps of a patch."""
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
    members: int = 5
    """Stage 2: yield heads whose mean is the forecast."""
    quantiles: bool = False
    """Stage 2: heads tell the 5, 50 and 95 % quantiles, too, and the interval is made of them (CQR)."""
    fill: Literal["nothing", "completed"] = "nothing"
    """Stage 2 with --steps: also fill what comes after a step with stage 1's completion, where validation rows gain."""
    interval: IntervalName = "pooled"
    """Stage 2: the 90 % interval from the residuals of all validation rows, or of every learnt year by turns (year)."""


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


PARTS = ("vision", "language", "tower", "select", "head", "yields")  # that --freeze may name, the last in stage 3
GROUPS = ("input", "model", "learning", "sampling", "run")
NOT_KEPT = ("out", "resume", "config", "seeds")  # in config.json: they say where, not what

CHOSEN = ("link", *(f.name for f in fields(Parts)))  # parts of a preset that flags may change

DEFAULTS = {
    1: Schedule(epochs=60, patience=12, weight_decay=0.05),
    2: Schedule(epochs=80, patience=20, weight_decay=0.3),
    3: Schedule(epochs=20, patience=5, weight_decay=0.05, lr=1e-4, lr_pretrained=1e-5),
}


def parse(given: Sequence[str], description: str) -> Arguments:
    """The flags in effect. Raises InputError for a file that cannot be, an unknown key, or flags that contradict."""
    given = list(given)
    named = names_of(given)
    resumed, config = value_of(given, "resume"), value_of(given, "config")
    if resumed is not None and config is not None:
        raise InputError("--resume and --config contradict each other: a resumed run has its own flags. Leave one out.")
    path = Path(resumed) / "config.json" if resumed is not None else None if config is None else Path(config)
    from_file: dict[str, Any] = {} if path is None else read_flags(path)
    kept = {name: value for name, value in from_file.items() if name not in named}
    args: Arguments = tyro.cli(Arguments, args=[*as_flags(kept), *given], description=description)
    if resumed is not None:
        refuse_changes(args, from_file, named)
    refuse_contradictions(args, named | set(from_file))
    if args.input.folds == "year":
        args = replace(args, input=replace(args.input, split="leave-year-out", folds=None))
    return args


def read_flags(path: Path) -> dict[str, Any]:
    """Flags by name (`batch-size`, `style.size`) from a TOML or JSON file; a key that is no flag is an InputError."""
    try:
        text = path.read_text()
        record = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as {'JSON' if path.suffix == '.json' else 'TOML'}: {error}."
        ) from error
    known, found = flag_names(), {}
    for key, value in record.items():
        inner = {f"{key}.{name}": one for name, one in value.items()} if isinstance(value, Mapping) else {key: value}
        for name, one in inner.items():
            name = name.replace("_", "-")
            if name not in known:
                near = difflib.get_close_matches(name, known, 1, 0.0)[0]
                raise InputError(f"{path}: there is no flag {name}. The nearest is {near}; `python train.py --help` "
                                 "lists all.")  # fmt: skip
            if one is not None:
                found[name] = one
    return found


def flag_names() -> list[str]:
    """Every flag that a file may name, without the dashes."""
    names = [f.name for f in fields(Arguments) if f.name not in (*GROUPS, "style")]
    for group in (DataFlags, ModelFlags, LearningFlags, SamplingFlags, RunFlags):
        names += [f.name for f in fields(group)]
    names = [name.rstrip("_") for name in names if name not in ("resume", "config")]
    return [name.replace("_", "-") for name in names + [f"style.{f.name}" for f in fields(Style)]]


def accepts(name: str, value: str | None = None) -> bool:
    """Whether train.py has a flag of this name (no dashes) and, where its values are listed, this value among them."""
    if name.removeprefix("no-") not in flag_names():
        return False
    part = name.partition(".")[2] or name
    for group in (Arguments, DataFlags, ModelFlags, LearningFlags, SamplingFlags, RunFlags, Style):
        kind = get_type_hints(group).get(part.replace("-", "_"))
        if kind is not None and get_origin(kind) is Literal:
            return value in [str(one) for one in get_args(kind)]
    return True


def as_flags(record: Mapping[str, Any]) -> list[str]:
    """Names and values as a command line would give them."""
    flags = []
    for name, value in record.items():
        if isinstance(value, bool) and name != "tensorboard":
            flags.append(f"--{name}" if value else f"--no-{name}")
        else:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            flags += [f"--{name}", text]
    return flags


def names_of(given: Sequence[str]) -> set[str]:
    """The flags that a command line names: `--no-mixup` is mixup."""
    named = {flag[2:].partition("=")[0].replace("_", "-") for flag in given if flag.startswith("--")}
    return named | {name.removeprefix("no-") for name in named}


def value_of(given: Sequence[str], name: str) -> str | None:
    """What the command line says after `--name`, if it does."""
    for at, flag in enumerate(given):
        if flag == f"--{name}" and at + 1 < len(given):
            return given[at + 1]
        if flag.startswith(f"--{name}="):
            return flag.partition("=")[2]
    return None


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
        raise InputError(f"--preset {args.model.preset} with these flags: {error}.") from error


def tuned_blocks(args: Arguments) -> int | None:
    """How many blocks of the picture tower learn; None: all of them. Raises InputError where that cannot be meant."""
    given = args.model.finetune_vision or "all"
    if given != "all" and not (given.isascii() and given.isdigit() and int(given) > 0):
        raise InputError(f"--finetune-vision is {given}; it must be a number of blocks from 1 on, as in "
                         "--finetune-vision 2, or all.")  # fmt: skip
    return None if given == "all" else int(given)


def part_flags(args: Arguments) -> list[str]:
    """The flags of this command line that choose the model of stage 1."""
    flags = ["--preset", args.model.preset]
    for f in fields(args.model):
        value = getattr(args.model, f.name)
        if value is not None and (f.name in CHOSEN or f.name == "fixed_temperature") and f.name != "link":
            flags += [f"--{f.name.replace('_', '-')}", str(value)]
    return flags


def refuse_changes(args: Arguments, before: Mapping[str, Any], named: set[str]) -> None:
    """Raises InputError where a flag beside --resume would change the run."""
    now = {name.replace("_", "-"): value for name, value in as_record(args).items()}
    now |= {f"style.{name.replace('_', '-')}": value for name, value in asdict(args.style).items()}
    for name in sorted(named & set(flag_names())):
        if now.get(name) != before.get(name):
            raise InputError(
                f"--{name} {now.get(name)} contradicts --resume {args.run.resume}, which was started with "
                f"{before.get(name)}. Leave it out, or start a new run with --config {args.run.resume}/config.json."
            )


def refuse_contradictions(args: Arguments, named: set[str]) -> None:
    """Raises InputError where flags cannot be meant together; named: those given, in a file or on the command line."""
    schedule = schedule_of(args)
    if args.stage != 2:
        for name in ("offset", "offset-years", "members", "quantiles", "interval", "fill", "link"):
            if name in named and value_differs(args.model, name):
                raise InputError(f"--{name} is for stage 2, this is stage {args.stage}. Leave it out or use --stage 2.")
    if args.stage == 1 and args.model.from_:
        raise InputError("--from names the run that a later stage builds on; stage 1 starts from nothing. Leave it out "
                         "or use --stage 2.")  # fmt: skip
    if args.stage == 3 and args.model.from_ is None:
        raise InputError("--stage 3 fine-tunes a stage-2 run and needs it: --from runs/x. Make one with "
                         "`python train.py --stage 2`.")  # fmt: skip
    if args.stage == 2 and args.model.freeze:
        raise InputError("--freeze in stage 2: the whole encoder is frozen there. Leave it out.")
    preset = preset_of(args)
    if args.model.finetune_vision is not None:
        tuned_blocks(args)
        if args.stage != 1:
            raise InputError(
                f"--finetune-vision is for stage 1, this is stage {args.stage}: later stages read the embeddings "
                "of the tuned tower from the cache. Leave it out, or use --stage 1."
            )
        if not preset.use_vision:
            raise InputError(
                f"--finetune-vision: --preset {args.model.preset} reads no pictures. Leave one of the two out."
            )
        if args.input.control != "none":
            raise InputError(
                f"--control {args.input.control} replaces the embeddings of pictures, and --finetune-vision reads the "
                "pictures themselves. Leave one of the two out."
            )
    if args.model.fill == "completed" and (preset.use_vision or preset.link != "frozen"):
        raise InputError("--fill completed fills numbers for frozen features; pictures would still end at the step. "
                         "Leave it out, or use --preset language-only (both stages) and --link frozen.")  # fmt: skip
    if args.model.fill == "completed" and not args.sampling.steps:
        raise InputError("--fill completed fills what comes after a step, and there is none. Add --steps, as in "
                         "--steps 6,9,12.")  # fmt: skip
    for part in (args.model.freeze or "").split(",") if args.model.freeze else ():
        if part not in (known := PARTS if args.stage == 3 else PARTS[:-1]):
            near = difflib.get_close_matches(part, known, 1, 0.0)[0]
            raise InputError(f"--freeze names {part!r}; parts are {', '.join(known)}. The nearest is {near}.")
    if args.model.unfreeze_at is not None and not args.model.freeze:
        raise InputError(
            "--unfreeze-at says when --freeze ends, and nothing is frozen. Add --freeze, as in --freeze vision."
        )
    if args.model.unfreeze_at is not None and not 1 < args.model.unfreeze_at <= schedule.epochs:
        raise InputError(f"--unfreeze-at is {args.model.unfreeze_at}; it must be 2 to --epochs, {schedule.epochs}.")
    if args.input.control != "none" and not PRESETS[args.model.preset].use_vision:
        raise InputError(
            f"--control {args.input.control} replaces pictures, and --preset {args.model.preset} reads none."
        )
    if not args.sampling.views and args.sampling.to_views() != Views():
        raise InputError("--noise, --warp and --mask describe views, and there are none. Add --views, as in --views 3.")
    if schedule.accumulate > schedule.batch_size:
        raise InputError(f"--accumulate {schedule.accumulate} cuts a batch of {schedule.batch_size} samples "
                         "(--batch-size) into more parts than it has samples.")  # fmt: skip
    if args.run.seeds > 1 and args.run.resume:
        raise InputError("--seeds and --resume contradict each other: resume one run after the other.")
    if not 0 < args.input.share <= 1:
        raise InputError(f"--share is {args.input.share}; it is a share of the training rows, above 0 and at most 1.")
    if args.input.folds == "year" and args.input.split not in ("year", "leave-year-out"):
        raise InputError(f"--folds year tests every year in turn and contradicts --split {args.input.split}.")


def value_differs(group: Any, name: str) -> bool:
    """Whether a flag of a group has another value than its default."""
    (flag,) = (f for f in fields(group) if f.name == name.replace("-", "_"))
    return bool(getattr(group, flag.name) != flag.default)
