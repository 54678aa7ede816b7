"""python -m benchmarks.pretraining: docs/pretraining.md and its picture.

Makes the missing rows, one file per table, seed and setting, then writes the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.pretraining.page import page
from benchmarks.pretraining.picture import draw_retrieval
from benchmarks.pretraining.rows import FOLDER, RUNS, TABLES, gather, make_row, save_row, saved_rows
from benchmarks.pretraining.variants import make_variant, saved_variants, variant_file, variants
from benchmarks.runs import ROOT
from pipeline.flags import CACHE, Names
from pipeline.parser import parse_flags
from report.run import RunFolder
from stages.completion.completion_stage import load_model


@dataclass(frozen=True)
class Arguments:
    """The rows to make."""

    tables: Names = TABLES
    """Tables, of those of this page."""
    seeds: int = 3
    """Seeds per table, from 0 on."""
    variant_seeds: int = 1
    """Seeds per share of training rows and per alignment; 0 makes none."""
    init: str = "auto"
    """The weights: the packaged ones, or those of a run folder of pretrain.py."""
    cache: str = CACHE
    """The cache."""
    rows: Path = FOLDER
    """The folder of the rows."""
    made: bool = False
    """Only write the page again, from existing rows."""


def main() -> None:
    """Make the missing rows, then write page and picture."""
    args = parse_flags(Arguments, None, __doc__, "benchmarks.pretraining")
    if not args.made:
        make_missing(args)
        ready = gather("demo", args.cache)
        runs = {"from scratch": "none", "fine-tuned": args.init if args.init in ("none", "auto") else "given"}
        models = {title: load_model(RunFolder(ROOT / RUNS / f"demo-{flag}-seed0" / "stage1"), ready.fold.name)
                  for title, flag in runs.items()}  # fmt: skip
        draw_retrieval(models, ready, ROOT / "docs" / "pretraining.png")
    (ROOT / "docs" / "pretraining.md").write_text(page(saved_rows(args.rows), saved_variants(args.rows)))


def make_missing(args: Arguments) -> None:
    """Make the rows that have no file yet: first every table with one seed, then the other seeds and settings."""
    for seed in range(args.seeds):
        for name in args.tables:
            path = args.rows / f"{name}-seed{seed}.json"
            if not path.is_file():
                save_row(make_row(name, seed, args.cache, args.init), path)
    for seed in range(args.variant_seeds):
        for variant in variants(args.init):
            for name in args.tables:
                path = variant_file(args.rows, variant, name, seed)
                if not path.is_file():
                    save_row(make_variant(variant, name, seed, args.cache), path)


if __name__ == "__main__":
    main()
