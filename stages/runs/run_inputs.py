"""The inputs of a run: its table, its folds ready for training, the pictures, and the earlier run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xxhash

from cache.embeddings import encoder_of
from model.calibration import LEAST_YEARS
from model.encoders import EncoderSpec, is_by_path, resolve
from model.learners.tabicl import Checkpoint
from model.presets import Preset
from model.vision_finetuning import VisionFinetuning
from pipeline.augmentation import view_tables
from pipeline.duplicates import refuse_twins
from pipeline.errors import InputError
from pipeline.findings import describe_findings
from pipeline.plural import plural
from pipeline.sources import read
from pipeline.splits import Fold, make_folds, thinned
from pipeline.table import SeasonTable
from report.progress import say
from report.run import RunFolder
from stages.completion import completion_stage
from stages.inputs.fold_data import FoldData, Pictures, prepare
from stages.inputs.initial_weights import Initial, find_initial
from stages.inputs.positions import with_reported_positions
from stages.inputs.tuned_encoder import check_tuned_rows, find_tower, has_tower
from stages.inputs.unknown_variates import unknown_findings
from stages.runs.base_run import base_run, named_run
from stages.runs.commands import render_command
from stages.runs.flags import LR_FROM_WEIGHTS, Arguments, preset_of, settled
from stages.yields.fold_offset import held_out_unit


@dataclass(frozen=True, eq=False)
class RunInputs:
    """The inputs of a run.

    args: the flags, with the table's decisions. source: the run that this one starts from. vision: the trainable image
    tower and its pictures, if any. initial: the weights that stage 1 starts from. tabicl: the weights of the learner
    TabICL, if it is used. seconds: time taken to prepare all this.
    """

    args: Arguments
    table: SeasonTable
    prepared: list[FoldData]
    pictures: Pictures | None
    source: RunFolder | None
    vision: VisionFinetuning | None
    initial: Initial
    tabicl: Checkpoint | None
    seconds: float

    def fingerprints(self) -> dict[str, str | None]:
        """Fingerprints of the data and of the cached embeddings. A run resumes only on the same ones."""
        position = self.table.position
        return {
            "data": self.table.fingerprint(),
            "cache": self.pictures.fingerprint() if self.pictures else None,
            "initial weights": self.initial.digest,
            "weights of TabICL": None if self.tabicl is None else self.tabicl.digest,
            "position data": None if position is None else xxhash.xxh3_128_hexdigest(position.tobytes()),
        }


def prepare_inputs(args: Arguments) -> RunInputs:
    """Read the table, make the folds, find the earlier run, gather the embeddings. Writes nothing."""
    started = time.perf_counter()
    tabicl = weights_of_tabicl(args)
    table = read(args.input.data, year=args.input.year, memory_gb=args.input.memory_gb)
    args, decisions = settled(args, table)
    preset = preset_of(args)
    completion_stage.refuse_short_seasons(table, preset)
    split, seed = args.input.split, args.run.seed
    assert split != "auto"  # `settled` has replaced it
    folds = make_folds(
        table.year,
        table.place,
        table.sample_id,
        split=split,
        seed=seed,
        assigned=table.assigned,
        chosen=args.input.folds,
        group=table.group,
    )
    folds = thinned(folds, args.input.share, seed)
    refuse_twins(table, folds)
    check_batch_size(args, folds)
    require_one_fold(args, folds)
    if args.model.interval == "year":
        require_years(table, folds)
    names = ", ".join(fold.name for fold in folds)
    say(f"{table.name}: {plural(len(table), 'sample')}, split {args.input.split}, folds {names}")
    say(table.describe_counts())
    for line in (*table.notes, *decisions):
        say(line)
    if table.findings:
        say(table.describe_findings())
    pictures = find_pictures(args, table, preset) if preset.use_vision else None
    if pictures is not None:
        check_tuned_rows(pictures, table, folds, args.input.split, args.run.seed)
    if args.stage == 2 and folds[0].by_place:
        table, about_positions = with_reported_positions(table, args.input.data, args.input.memory_gb, folds)
        if about_positions:
            say(describe_findings(about_positions))
            table = replace(table, findings=(*table.findings, *about_positions))
    source = base_run(args, table, folds, pictures)
    views, steps = view_tables(table, args.experimental.to_views()), args.input.steps
    prepared = [prepare(table, fold, preset.framing, pictures=pictures, views=views, steps=steps) for fold in folds]
    if args.stage == 1:
        completion_stage.refuse_unobserved_rest(prepared)
    if unknown := unknown_findings(table, prepared):
        say(describe_findings(unknown))
        table = replace(table, findings=(*table.findings, *unknown))
    vision, tuned = None, args.experimental.finetune_vision
    if tuned is not None and pictures is not None:
        drawn = (table, *views, *(table.as_of(step) for step in steps))
        vision = find_tower(
            pictures, args.input.encoder, None if tuned == "all" else tuned, drawn, prepared[0].scales.ranges
        )
    initial = initial_weights(args, preset, prepared[0], pictures)
    args = with_rate(args, initial)
    if initial.sentence:
        say(initial.sentence)
    return RunInputs(
        args=args,
        table=table,
        prepared=prepared,
        pictures=pictures,
        source=source,
        vision=vision,
        initial=initial,
        tabicl=tabicl,
        seconds=time.perf_counter() - started,
    )


def weights_of_tabicl(args: Arguments) -> Checkpoint | None:
    """The weights of the learner TabICL; None for the other learners. Raises what `Checkpoint.find` raises."""
    if args.model.learner != "tabicl":
        return None
    checkpoint = Checkpoint.find(args.model.tabicl_weights)
    checkpoint.require_regression()
    return checkpoint


def initial_weights(args: Arguments, preset: Preset, prepared: FoldData, pictures: Pictures | None) -> Initial:
    """The weights that stage 1 starts from; none for other stages, and none beside a trainable tower."""
    if args.stage != 1 or args.experimental.finetune_vision is not None:
        return Initial(None, None, "")
    config = completion_stage.model_config(prepared, preset)
    encoder = None if pictures is None else encoder_of(pictures.store)
    return find_initial(args.model.init, config, encoder, args.style)


def with_rate(args: Arguments, initial: Initial) -> Arguments:
    """The flags with the learning rate of a start from weights, unless --lr is given."""
    if initial.weights is None or args.learning.lr is not None:
        return args
    return replace(args, learning=replace(args.learning, lr=LR_FROM_WEIGHTS))


def require_years(table: SeasonTable, folds: Sequence[Fold]) -> None:
    """Raise InputError if a fold holds out no whole years, or has too few training years, for `--interval year`."""
    for fold in folds:
        if held_out_unit(table, fold) != "year":
            raise InputError(
                f"--interval year: fold {fold.name} tests years that it also trains on, so years left out of the "
                "training rows would have known places and too small errors. Leave it out (--interval pooled), or use "
                "--split year, forward or leave-year-out."
            )
        years = np.unique(table.year[np.concatenate([fold.train, fold.valid])])
        if len(years) < LEAST_YEARS:
            raise InputError(
                f"--interval year: fold {fold.name} has {len(years)} training years; at least {LEAST_YEARS} are needed "
                "to estimate the error of a bad year. Leave it out (--interval pooled), or choose another --split."
            )


def require_one_fold(args: Arguments, folds: Sequence[Fold]) -> None:
    """Raise InputError if --finetune-vision would have to train one tower per fold."""
    if args.experimental.finetune_vision is not None and len(folds) > 1:
        raise InputError(
            f"--finetune-vision trains one tower on the training rows of one fold, but split {args.input.split} has "
            f"{len(folds)} ({', '.join(fold.name for fold in folds)}). A tower of one fold is trained on rows that "
            f"another fold tests. Choose one, as in --folds {folds[-1].name}, and make one run per fold."
        )


def check_batch_size(args: Arguments, folds: Sequence[Fold]) -> None:
    """Raise InputError if --batch-size is larger than the number of training rows of a fold."""
    least = min(folds, key=lambda fold: len(fold.train))
    if args.learning.batch_size is not None and args.learning.batch_size > len(least.train):
        raise InputError(
            f"--batch-size {args.learning.batch_size} is larger than the {len(least.train)} training samples of fold "
            f"{least.name}; give at most {len(least.train)}, or leave it out."
        )


def find_pictures(args: Arguments, table: SeasonTable, preset: Preset) -> Pictures:
    """The cached embeddings that this table needs, or an error with the command that computes them."""
    encoder = wanted_encoder(args)
    name = encoder.name if isinstance(encoder, EncoderSpec) else encoder
    command = render_command(args, preset, name)
    pictures = Pictures.find(
        args.input.cache, args.style, table, encoder=encoder, command=command, framing=preset.framing
    )
    return replace(pictures, control=args.input.control, seed=args.run.seed)


def wanted_encoder(args: Arguments) -> EncoderSpec | str | None:
    """The encoder to use: --encoder, or the tower tuned by the run of --from. None: the last one used for this data."""
    name = args.input.encoder
    if name is None and args.model.from_ is not None and has_tower(named_run(args, args.model.from_)):
        name = f"tuned:{named_run(args, args.model.from_)}"
    return resolve(name) if name is not None and is_by_path(name) else name
