"""Complete the seasons of a new table from their first part, without any training.

    python complete.py --data new.csv --out completed.csv
    python complete.py --data new.csv --out completed.csv --init runs/x      weights that pretrain.py made

Reads the steps before the cut (the middle of the season, or `cut` in the card), with their pictures, and writes all
steps from the cut on. Missing pictures are drawn and embedded. The weights come from simulated series
(docs/pretraining.md). No yield is read.
"""

from __future__ import annotations

import pipeline.loading  # isort: skip  # noqa: F401  # first, for Ctrl-C while the others load

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cache.storage import CacheError, refuse_unless_cache
from model.encoders import EncoderError, resolve
from model.training.errors import Refused
from pipeline import demo
from pipeline.errors import InputError
from pipeline.flags import CacheFlags, ReadingFlags
from pipeline.parser import parse_flags
from pipeline.program import run_program
from pipeline.series import series_blocks
from pipeline.sources import read
from pipeline.style import Style
from report.atomic_write import refuse_unless_possible, write_whole
from report.progress import say
from stages.completion.zero_shot import (
    PRESET,
    complete_seasons,
    completion_rows,
    require_known_steps,
    scales_before_cut,
    seasons_to_complete,
    untrained_config,
)
from stages.inputs.fill_cache import fill_blocks
from stages.inputs.fold_data import Pictures
from stages.inputs.initial_weights import find_initial

ENDINGS = (".csv", ".parquet")


@dataclass(frozen=True)
class Arguments(ReadingFlags, CacheFlags):
    """Complete seasons without training."""

    data: str = demo.CARD
    """Dataset card, data file, folder or glob. It needs no yields."""
    out: Path = Path("completed.csv")
    """The .csv or .parquet to write: one row per sample, variate and step. An existing file is an error."""
    init: str = "auto"
    """The weights: the packaged ones for the encoder (auto), or a file or run folder of pretrain.py."""
    encoder: str = "auto"
    """The image encoder, by the names of render_cache.py."""
    workers: int = 2
    """Number of drawing processes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_program(
        "complete.py",
        lambda: complete_table(parse_flags(Arguments, arguments, __doc__, "complete.py")),
        refused=(EncoderError, Refused),
        failed=(CacheError,),
    )


def complete_table(args: Arguments) -> int:
    """The whole program: read, gather, complete, write. Returns the exit code."""
    refuse_unless_possible(args.out, ENDINGS, replace=False)
    refuse_unless_cache(args.cache)
    table = read(args.data, year=args.year, for_prediction=True, memory_gb=args.memory_gb)
    for line in (table.describe(), *table.notes, *([table.describe_findings()] if table.findings else [])):
        say(line)
    require_known_steps(table)
    scales, style, encoder = scales_before_cut(table), Style(), resolve(args.encoder)
    blocks = series_blocks(table, scales.ranges, style, PRESET.framing)
    store = fill_blocks(args.cache, args.workers, encoder, style, blocks)
    pictures = Pictures(root=args.cache, style=style, store=store, command="", framing=PRESET.framing)
    data = seasons_to_complete(table, scales, pictures)
    initial = find_initial(args.init, untrained_config(data), encoder.to_dict(), style)
    if initial.weights is None:
        raise InputError(
            f"{table.name} cannot be completed without training: {initial.sentence.removeprefix('starts from ')}. "
            "`python pretrain.py` makes weights for any encoder, and `python train.py --stage 1` trains on the table."
        )
    rows = completion_rows(table, complete_seasons(data, style, initial.weights))
    to_csv = args.out.suffix == ".csv"
    write_whole(args.out, lambda path: (rows.to_csv if to_csv else rows.to_parquet)(path, index=False))
    known = rows["measured"].notna().mean()
    if empty := int(rows["completed"].isna().groupby([rows["sample_id"], rows["variate"]]).all().sum()):
        print(f"{args.out}: {empty:,} series have no value before step {table.cut}, so their completion is empty")
    print(
        f"{args.out}: {len(table)} seasons of {len(table.variates)} variates, steps {table.cut} to {table.steps - 1}; "
        f"{known:.0%} of these {len(rows)} values were measured, too"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
