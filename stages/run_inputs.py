"""What a run stands on: the table, its folds ready to train, the pictures and the run before."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from model.calibration import LEAST_YEARS
from model.encoders import EncoderSpec, is_by_path, resolve
from model.presets import Preset
from model.vision_finetuning import VisionFinetuning
from pipeline.augmentation import view_tables
from pipeline.duplicates import refuse_twins
from pipeline.errors import InputError
from pipeline.render import Style
from pipeline.sources import read
from pipeline.splits import Fold, make_folds, thinned
from pipeline.table import SeasonTable
from pipeline.windows import steps_named
from report.run import RunFolder
from stages import completion_stage
from stages.base_run import base_run, named_run
from stages.flags import Arguments, preset_of, settled, tuned_blocks
from stages.fold_data import FoldData, Pictures, prepare
from stages.tuned_encoder import find_tower, has_tower, refuse_learnt_rows


@dataclass(frozen=True, eq=False)
class RunInputs:
    """What a run stands on: the table, its folds ready to train, the pictures and the run before.

    args: the flags with what the table decides. seeing: the picture tower where it learns, too.
    """

    args: Arguments
    table: SeasonTable
    prepared: list[FoldData]
    pictures: Pictures | None
    source: RunFolder | None
    seeing: VisionFinetuning | None
    seconds: float

    def fingerprints(self) -> dict[str, str | None]:
        """Of the data and of the cached vectors; a run is only resumed on the same."""
        return {"data": self.table.fingerprint(), "cache": self.pictures.fingerprint() if self.pictures else None}


def prepare_ground(args: Arguments) -> RunInputs:
    """Read the table, cut the folds, find the run before, gather the vectors. Writes nothing."""
    started = time.perf_counter()
    table = read(args.input.data, year=args.input.year, memory_gb=args.input.memory_gb)
    args, said = settled(args, table)
    preset = preset_of(args)
    completion_stage.refuse_short_seasons(table, preset)
    split, seed = args.input.split, args.run.seed
    assert split != "auto"  # settled
    folds = make_folds(
        table.year, table.place, table.sample_id, split, seed, table.assigned, args.input.folds, table.group
    )
    folds = thinned(folds, args.input.share, seed)
    refuse_twins(table, folds)
    refuse_large_batches(args, folds)
    refuse_many_towers(args, folds)
    if args.model.interval == "year":
        refuse_few_years(table, folds)
    print(
        f"{table.name}: {len(table)} samples, split {args.input.split}, folds {', '.join(fold.name for fold in folds)}"
    )
    print(table.describe_counts())
    for line in (*table.notes, *said):
        print(line)
    if table.findings:
        print(table.describe_findings())
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
    return RunInputs(args, table, prepared, pictures, source, seeing, time.perf_counter() - started)


def refuse_few_years(table: SeasonTable, folds: Sequence[Fold]) -> None:
    """Raises InputError where a fold has too few training years for `--interval year`."""
    for fold in folds:
        years = np.unique(table.year[np.concatenate([fold.train, fold.valid])])
        if len(years) < LEAST_YEARS:
            raise InputError(
                f"--interval year: fold {fold.name} learns from {len(years)} years; at least {LEAST_YEARS} are needed "
                "to tell how much worse a bad year is. Leave it out (--interval pooled), or choose another --split."
            )


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


def render_command(args: Arguments, preset: Preset, encoder: str | None) -> str:
    """What makes the embeddings that this command line reads."""
    given = args.input
    command = ["python", "render_cache.py", "--data", given.data, "--cache", given.cache, "--split", given.split]
    if given.split in ("place", "random"):
        command += ["--seed", str(args.run.seed)]
    if given.split == "forward" and given.folds:
        command += ["--folds", given.folds]
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
