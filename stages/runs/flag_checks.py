"""Checks for flags that conflict."""

from __future__ import annotations

import difflib
from dataclasses import asdict
from typing import Any

from model.offset import WITH_WINDOW
from model.presets import PRESETS
from pipeline.augmentation import Views
from pipeline.errors import InputError
from stages.runs.flags import EVERY_YEAR, PARTS, Arguments, as_record, flag_names, preset_of, schedule_of


def require_unchanged(args: Arguments, started: Arguments, named: set[str]) -> None:
    """Raise InputError if a flag given with --resume would change the run. started: the flags of that run."""
    now, before = values_by_flag(args), values_by_flag(started)
    for name in sorted(named & set(flag_names())):
        if now.get(name) != before.get(name):
            raise InputError(
                f"--{name} {now.get(name)} conflicts with --resume {args.run.resume}, which was started with "
                f"{before.get(name)}. Leave it out, or start a new run with --config {args.run.resume}/config.json."
            )


def values_by_flag(args: Arguments) -> dict[str, Any]:
    """The flags that config.json records, by name."""
    values = {name.replace("_", "-"): value for name, value in as_record(args).items()}
    return values | {f"style.{name.replace('_', '-')}": value for name, value in asdict(args.style).items()}


def require_consistent(args: Arguments, named: set[str]) -> None:
    """Raise InputError for conflicting flags. named: the flags given in a file or on the command line."""
    check_another_stage(args, named)
    check_pictures(args)
    check_filling(args)
    check_offset(args)
    check_learners(args)
    check_freezing(args)
    check_sampling(args)


def check_another_stage(args: Arguments, named: set[str]) -> None:
    """Raise InputError for flags of another stage."""
    if args.stage != 2:
        for name in ("offset", "offset-years", "members", "quantiles", "interval", "fill", "learner", "tabicl-weights",
                     "blocks", "link"):  # fmt: skip
            if name in named and value_differs(args, name):
                raise InputError(
                    f"--{name} is for stage 2, but this is stage {args.stage}. Leave it out or use --stage 2."
                )
    if args.stage != 1 and args.model.init != "auto":
        raise InputError(f"--init is for stage 1, but this is stage {args.stage}, which starts from an earlier run. "
                         "Leave it out, or give it to stage 1.")  # fmt: skip
    if args.stage == 1 and args.model.from_:
        raise InputError("--from names the run that a later stage starts from, but stage 1 starts from nothing. Leave "
                         "it out or use --stage 2.")  # fmt: skip
    if args.stage == 3 and args.model.from_ is None:
        raise InputError("--stage 3 fine-tunes a stage-2 run. Name it with --from runs/x. Make one with "
                         "`python train.py --stage 2`.")  # fmt: skip


def check_pictures(args: Arguments) -> None:
    """Raise InputError if flags ask for pictures in two ways, or of a model that reads none."""
    if args.experimental.finetune_vision is not None:
        if args.stage != 1:
            raise InputError(
                f"--finetune-vision is for stage 1, but this is stage {args.stage}. Later stages read the embeddings "
                "of the fine-tuned tower from the cache. Leave it out, or use --stage 1."
            )
        if not preset_of(args).use_vision:
            raise InputError(
                f"--finetune-vision: --preset {args.model.preset} reads no pictures. Leave one of the two out."
            )
        if args.input.control != "none":
            raise InputError(
                f"--control {args.input.control} replaces the embeddings of pictures, but --finetune-vision reads the "
                "pictures themselves. Leave one of the two out."
            )
    if args.input.control != "none" and not PRESETS[args.model.preset].use_vision:
        raise InputError(
            f"--control {args.input.control} replaces pictures, but --preset {args.model.preset} reads none."
        )


def check_filling(args: Arguments) -> None:
    """Raise InputError if --fill has nothing to fill."""
    preset = preset_of(args)
    if args.experimental.fill == "completed" and (preset.use_vision or preset.link != "frozen"):
        raise InputError("--fill completed fills in numbers for frozen features. Pictures would still end at the step. "
                         "Leave it out, or use --preset language-only (both stages) and --link frozen.")  # fmt: skip
    if args.experimental.fill == "completed" and not args.input.steps:
        raise InputError("--fill completed fills in the steps after one of --steps, and none is given. Add --steps, as "
                         "in --steps 6,9,12.")  # fmt: skip


def check_offset(args: Arguments) -> None:
    """Raise InputError if --offset-years is given for an offset that has no window of years."""
    offset, years = args.model.offset, args.model.offset_years
    if years is not None and offset not in ("auto", *WITH_WINDOW):
        raise InputError(
            f"--offset-years {years} is the window of the offsets {', '.join(WITH_WINDOW)}, but --offset {offset} has "
            "none. Leave --offset-years out, or use one of these offsets or auto."
        )


def check_learners(args: Arguments) -> None:
    """Raise InputError if --learner or --blocks conflict with the preset or another flag."""
    preset, given = preset_of(args), args.model
    blocks = given.blocks
    if given.learner != "ensemble" and given.learner != "neural" and preset.link != "frozen":
        raise InputError(f"--learner {given.learner} reads frozen features, but --link is {preset.link}. Use --learner "
                         "neural, or --link frozen.")  # fmt: skip
    if "pictures" in blocks and not preset.use_vision:
        raise InputError(f"--blocks names pictures, but --preset {given.preset} reads none. Leave one of the two out.")
    if blocks and given.learner in ("neural", "ridge"):
        raise InputError(f"--blocks is for gp, trees, tabicl and ensemble, but --learner is {given.learner}. Leave "
                         "one of the two out.")  # fmt: skip
    if given.learner == "ridge" and not preset.use_language:
        raise InputError(f"--learner ridge reads numbers, but --preset {given.preset} reads none. Leave one of the two "
                         "out.")  # fmt: skip
    if args.experimental.fill == "completed" and given.learner not in ("ensemble", "neural"):
        raise InputError(f"--fill completed is for neural heads, but --learner is {given.learner}. Leave one of the "
                         "two out.")  # fmt: skip
    if given.quantiles and given.learner in ("trees", "ridge"):
        raise InputError(f"--quantiles needs a learner with a spread, but {given.learner} has none. Use --learner "
                         "ensemble, neural, gp or tabicl.")  # fmt: skip
    if given.tabicl_weights is not None and given.learner != "tabicl":
        raise InputError(f"--tabicl-weights {given.tabicl_weights} is for --learner tabicl, but --learner is "
                         f"{given.learner}. Leave one of the two out.")  # fmt: skip


def check_freezing(args: Arguments) -> None:
    """Raise InputError for an unknown part, or an epoch that is out of range."""
    epochs = schedule_of(args).epochs
    if args.stage == 2 and args.experimental.freeze:
        raise InputError("--freeze is not for stage 2, where the whole encoder is frozen. Leave it out.")
    for part in args.experimental.freeze:
        if part not in (known := PARTS if args.stage == 3 else PARTS[:-1]):
            near = difflib.get_close_matches(part, known, 1, 0.0)[0]
            raise InputError(f"--freeze names {part!r}; the parts are {', '.join(known)}. The nearest is {near}.")
    if args.experimental.unfreeze_at is not None and not args.experimental.freeze:
        raise InputError("--unfreeze-at ends --freeze, but nothing is frozen. Add --freeze, as in --freeze vision.")
    if args.experimental.unfreeze_at is not None and not 1 < args.experimental.unfreeze_at <= epochs:
        raise InputError(f"--unfreeze-at is {args.experimental.unfreeze_at}; it must be 2 to --epochs, {epochs}.")


def check_sampling(args: Arguments) -> None:
    """Raise InputError for views, batches, shares or folds that are out of range or conflict."""
    schedule = schedule_of(args)
    if not args.experimental.views and args.experimental.to_views() != Views():
        raise InputError(
            "--noise, --warp and --mask are settings of views, but there are no views. Add --views, as in --views 3."
        )
    if schedule.accumulate > schedule.batch_size:
        raise InputError(f"--accumulate {schedule.accumulate} splits a batch of {schedule.batch_size} samples "
                         "(--batch-size) into more micro-batches than it has samples.")  # fmt: skip
    if not 0 < args.input.share <= 1:
        raise InputError(f"--share is {args.input.share}; it is a share of the training rows, above 0 and at most 1.")
    if args.input.folds == (EVERY_YEAR,) and args.input.split not in ("auto", "year", "leave-year-out"):
        raise InputError(f"--folds year tests every year in turn and conflicts with --split {args.input.split}.")


def value_differs(args: Arguments, name: str) -> bool:
    """Whether a flag of the model differs from its default."""
    name = name.replace("-", "_")
    group = args.model if hasattr(args.model, name) else args.experimental
    return bool(getattr(group, name) != getattr(type(group)(), name))
