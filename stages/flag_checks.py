"""Flags that cannot be meant together."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from model.presets import PRESETS
from pipeline.augmentation import Views
from pipeline.errors import InputError
from stages.flags import Arguments, as_record, blocks_named, flag_names, preset_of, schedule_of, tuned_blocks

PARTS = ("vision", "language", "tower", "select", "head", "yields")  # that --freeze may name, the last in stage 3


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
    refuse_another_stage(args, named)
    refuse_pictures(args)
    refuse_filling(args)
    refuse_learners(args)
    refuse_freezing(args)
    refuse_sampling(args)
    if args.run.seeds > 1 and args.run.resume:
        raise InputError("--seeds and --resume contradict each other: resume one run after the other.")


def refuse_another_stage(args: Arguments, named: set[str]) -> None:
    """Raises InputError for what another stage takes."""
    if args.stage != 2:
        for name in ("offset", "offset-years", "members", "quantiles", "interval", "fill", "learner", "blocks", "link"):
            if name in named and value_differs(args.model, name):
                raise InputError(f"--{name} is for stage 2, this is stage {args.stage}. Leave it out or use --stage 2.")
    if args.stage == 1 and args.model.from_:
        raise InputError("--from names the run that a later stage builds on; stage 1 starts from nothing. Leave it out "
                         "or use --stage 2.")  # fmt: skip
    if args.stage == 3 and args.model.from_ is None:
        raise InputError("--stage 3 fine-tunes a stage-2 run and needs it: --from runs/x. Make one with "
                         "`python train.py --stage 2`.")  # fmt: skip


def refuse_pictures(args: Arguments) -> None:
    """Raises InputError where pictures are asked for in two ways, or of a model that reads none."""
    if args.model.finetune_vision is not None:
        tuned_blocks(args)
        if args.stage != 1:
            raise InputError(
                f"--finetune-vision is for stage 1, this is stage {args.stage}: later stages read the embeddings "
                "of the tuned tower from the cache. Leave it out, or use --stage 1."
            )
        if not preset_of(args).use_vision:
            raise InputError(
                f"--finetune-vision: --preset {args.model.preset} reads no pictures. Leave one of the two out."
            )
        if args.input.control != "none":
            raise InputError(
                f"--control {args.input.control} replaces the embeddings of pictures, and --finetune-vision reads the "
                "pictures themselves. Leave one of the two out."
            )
    if args.input.control != "none" and not PRESETS[args.model.preset].use_vision:
        raise InputError(
            f"--control {args.input.control} replaces pictures, and --preset {args.model.preset} reads none."
        )


def refuse_filling(args: Arguments) -> None:
    """Raises InputError where --fill has nothing to fill."""
    preset = preset_of(args)
    if args.model.fill == "completed" and (preset.use_vision or preset.link != "frozen"):
        raise InputError("--fill completed fills numbers for frozen features; pictures would still end at the step. "
                         "Leave it out, or use --preset language-only (both stages) and --link frozen.")  # fmt: skip
    if args.model.fill == "completed" and not args.sampling.steps:
        raise InputError("--fill completed fills what comes after a step, and there is none. Add --steps, as in "
                         "--steps 6,9,12.")  # fmt: skip


def refuse_learners(args: Arguments) -> None:
    """Raises InputError where --learner or --blocks ask for what the preset or another flag rules out."""
    preset, given = preset_of(args), args.model
    blocks = blocks_named(given.blocks) or ()
    if given.learner != "ensemble" and given.learner != "neural" and preset.link != "frozen":
        raise InputError(f"--learner {given.learner} reads frozen features, and --link is {preset.link}. Use --learner "
                         "neural, or --link frozen.")  # fmt: skip
    if "pictures" in blocks and not preset.use_vision:
        raise InputError(f"--blocks names pictures, and --preset {given.preset} reads none. Leave one of the two out.")
    if blocks and given.learner in ("neural", "ridge"):
        raise InputError(f"--blocks is for gp, trees and ensemble, and --learner is {given.learner}. Leave one of the "
                         "two out.")  # fmt: skip
    if given.learner == "ridge" and not preset.use_language:
        raise InputError(f"--learner ridge reads numbers, and --preset {given.preset} reads none. Leave one of the two "
                         "out.")  # fmt: skip
    if given.fill == "completed" and given.learner not in ("ensemble", "neural"):
        raise InputError(f"--fill completed is for neural heads, and --learner is {given.learner}. Leave one of the "
                         "two out.")  # fmt: skip
    if given.quantiles and given.learner in ("trees", "ridge"):
        raise InputError(f"--quantiles needs a learner with a spread, and {given.learner} has none. Use --learner "
                         "ensemble or gp.")  # fmt: skip


def refuse_freezing(args: Arguments) -> None:
    """Raises InputError for a part that is not there, or an epoch that never comes."""
    epochs = schedule_of(args).epochs
    if args.stage == 2 and args.model.freeze:
        raise InputError("--freeze in stage 2: the whole encoder is frozen there. Leave it out.")
    for part in (args.model.freeze or "").split(",") if args.model.freeze else ():
        if part not in (known := PARTS if args.stage == 3 else PARTS[:-1]):
            near = difflib.get_close_matches(part, known, 1, 0.0)[0]
            raise InputError(f"--freeze names {part!r}; parts are {', '.join(known)}. The nearest is {near}.")
    if args.model.unfreeze_at is not None and not args.model.freeze:
        raise InputError(
            "--unfreeze-at says when --freeze ends, and nothing is frozen. Add --freeze, as in --freeze vision."
        )
    if args.model.unfreeze_at is not None and not 1 < args.model.unfreeze_at <= epochs:
        raise InputError(f"--unfreeze-at is {args.model.unfreeze_at}; it must be 2 to --epochs, {epochs}.")


def refuse_sampling(args: Arguments) -> None:
    """Raises InputError for views, batches, rows or folds that cannot be had."""
    schedule = schedule_of(args)
    if not args.sampling.views and args.sampling.to_views() != Views():
        raise InputError("--noise, --warp and --mask describe views, and there are none. Add --views, as in --views 3.")
    if schedule.accumulate > schedule.batch_size:
        raise InputError(f"--accumulate {schedule.accumulate} cuts a batch of {schedule.batch_size} samples "
                         "(--batch-size) into more parts than it has samples.")  # fmt: skip
    if not 0 < args.input.share <= 1:
        raise InputError(f"--share is {args.input.share}; it is a share of the training rows, above 0 and at most 1.")
    if args.input.folds == "year" and args.input.split not in ("auto", "year", "leave-year-out"):
        raise InputError(f"--folds year tests every year in turn and contradicts --split {args.input.split}.")


def value_differs(group: Any, name: str) -> bool:
    """Whether a flag of a group has another value than its default."""
    (flag,) = (f for f in fields(group) if f.name == name.replace("-", "_"))
    return bool(getattr(group, flag.name) != flag.default)
