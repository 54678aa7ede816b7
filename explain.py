"""Explain a run's forecasts: the change of each forecast if steps, variates or drivers are hidden.

    python explain.py --run runs/x                          test rows of a stage-2 or stage-3 run, with its own data
    python explain.py --run runs/x --samples "field3|2022"  with charts of these samples
    python explain.py --run runs/x --pictures               hide steps in the plots too: draws and embeds them again

Hides steps, variates and drivers from the model in turn and writes the change of each forecast: occlusion.csv (means),
samples.csv (every test sample), selection.csv (variate-selection weights) and explain.html.
"""

from __future__ import annotations

import pipeline.loading  # isort: skip  # noqa: F401  # first, for Ctrl-C while the others load

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tyro
from numpy.typing import NDArray

from cache.embeddings import embeddings
from cache.storage import CacheError, refuse_unless_cache
from model.encoders import EncoderError
from model.training.errors import Refused
from pipeline.errors import InputError
from pipeline.flags import Names, ReadingFlags, RedrawFlags
from pipeline.parser import parse_flags
from pipeline.program import run_program
from pipeline.series import series_blocks
from pipeline.sources import read
from pipeline.sources.geometry import with_positions
from pipeline.style import Style
from pipeline.table import SeasonTable
from report.atomic_write import write_whole
from report.explain_page import explain_page
from report.run import RunFolder
from report.run_page.page import write_page
from stages.inputs.fill_cache import fill
from stages.inputs.tuned_encoder import encoder_for
from stages.yields.fold_offset import Rows
from stages.yields.occlusion import HideName, Occlusion, Vectors, donors, effects, occlusions, selection, summary
from stages.yields.yield_stage import reads_positions

LEAST_CHANGE = 0.0005  # t/ha; smaller changes print as 0.000


@dataclass(frozen=True)
class Arguments:
    """Explain the forecasts of a run."""

    run: Path
    """A complete run folder of stage 2 or 3."""
    data: str | None = None
    """The run's data, if it has moved; by default the card or file recorded in the run."""
    out: Path | None = None
    """The folder to write to; by default explain/ in the run folder. Files of an earlier call are replaced."""
    width: int = 3
    """Steps to hide at a time."""
    hide: HideName = "exchanged"
    """Replacement of hidden values: those of other samples (exchanged), or none (unobserved)."""
    samples: Names = ()
    """Ids of samples that get their own charts, separated by commas."""
    pictures: bool = False
    """Hide steps in the plots too: draws and embeds the test seasons again for each block of steps."""
    cache: str | None = None
    """The cache folder; by default the run's."""
    redraw: tyro.conf.OmitArgPrefixes[RedrawFlags] = field(default_factory=RedrawFlags)
    reading: tyro.conf.OmitArgPrefixes[ReadingFlags] = field(default_factory=ReadingFlags)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_program(
        "explain.py",
        lambda: explain(parse_flags(Arguments, arguments, __doc__, "explain.py")),
        refused=(EncoderError, Refused),
        failed=(CacheError,),
    )


@dataclass(frozen=True, eq=False)
class Explanation:
    """How far forecasts move when parts of a season are hidden, in t/ha.

    table      the table of the run
    means      a row per hidden part: kind, hidden, mean_abs_change, mean_change, n
    changes    a row per test sample and hidden part: sample_id, y_pred, y_without
    selection  how much each variate (row) draws on each other (column); None for models without variate selection
    note       what is hidden from what
    """

    table: SeasonTable
    means: pd.DataFrame
    changes: pd.DataFrame
    selection: pd.DataFrame | None
    samples: Sequence[str]
    note: str


def explain(args: Arguments) -> int:
    """The whole program: hide parts of the test seasons, forecast again, write the tables and the page."""
    run, out = RunFolder.open(args.run), args.out or args.run / "explain"
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; name a folder.")
    found = explain_run(args, run)
    out.mkdir(parents=True, exist_ok=True)
    for name, frame in {"occlusion.csv": found.means, "samples.csv": found.changes}.items():
        write_whole(out / name, partial(frame.to_csv, index=False, float_format="%.5f"))
    if (drawn_on := found.selection) is not None:
        write_whole(out / "selection.csv", lambda path: drawn_on.to_csv(path, index_label="variate"))
    page = explain_page(
        run.read_json("result.json"),
        found.means,
        found.changes,
        selection=found.selection,
        samples=found.samples,
        headline=" ".join(f"{line[:1].upper()}{line[1:]}." for line in strongest(found.means)),
        note=found.note,
    )
    write_whole(out / "explain.html", lambda path: path.write_text(page))
    if args.out is None:
        write_page(run, found.table, args.data)  # the page of the run shows what moves each forecast
    for line in strongest(found.means):
        print(line)
    print(f"{out / 'explain.html'}: {found.changes['sample_id'].nunique()} test samples. {found.note}")
    return 0


def explain_run(args: Arguments, run: RunFolder) -> Explanation:
    """Hide each part of the run's test seasons in turn and forecast again."""
    result, config = run.read_json("result.json"), run.read_json("config.json")
    require_informative(args, result)
    table = read(
        args.data or config["data"], year=args.reading.year or config["year"], memory_gb=args.reading.memory_gb
    )
    if table.fingerprint() != result["data_fingerprint"]:
        raise InputError(f"{args.data or config['data']} is not the data of {args.run}: their fingerprints differ. "
                         "Name the run's data with --data.")  # fmt: skip
    fitted = run.read_json("fitted.json")
    if any(reads_positions(record["forecaster"]) for record in fitted.values()):
        table = with_positions(table, args.data or config["data"], args.reading.memory_gb)
    rows = tested(run, table)
    samples = chosen(args.samples, table, rows)
    hiding = list(occlusions(table, args.width))
    vectors = None
    if result["cache_spec"]:
        vectors = pictures_of(args, config, result, run=run, table=table, rows=rows, hiding=hiding)
    changes = effects(run, table, rows, hiding=hiding, hide=args.hide, vectors=vectors, pictures=args.pictures)
    return Explanation(
        table=table,
        means=summary(changes),
        changes=changes,
        selection=selection(run, table, rows, vectors),
        samples=samples,
        note=note(args, result),
    )


def strongest(means: pd.DataFrame) -> Iterator[str]:
    """A sentence for each kind: the variate, driver and block of steps that moves the forecasts most."""
    for kind, what in (("variate", "variate"), ("driver", "driver"), ("steps", "block of steps")):
        if len(of := means[means["kind"] == kind]):
            most = of.loc[of["mean_abs_change"].idxmax()]
            if most["mean_abs_change"] < LEAST_CHANGE:
                yield f"no {what} moves the forecasts by {LEAST_CHANGE} t/ha or more"
                continue
            yield f"the {what} that moves the forecasts most: {most['hidden']} ({most['mean_abs_change']:.3f} t/ha)"
    if len(position := means[means["kind"] == "position"]):
        yield f"without their positions, the forecasts change by {position['mean_abs_change'].iloc[0]:.3f} t/ha"


def require_informative(args: Arguments, result: Mapping[str, Any]) -> None:
    """Raise InputError if the run has no forecasts, or if hiding numbers would change nothing."""
    if result["stage"] < 2:
        raise InputError(f"{args.run} is a stage-1 run; forecasts come from `python train.py --stage 2`.")
    if not 1 <= args.width <= result["seasons"]["steps"]:
        raise InputError(f"--width is {args.width}; it must be 1 to the season's {result['seasons']['steps']} steps.")
    if not result["parts"]["use_language"] and not args.pictures:
        raise InputError(f"{args.run} reads pictures only, so steps must be hidden in them. Add --pictures.")
    if args.pictures and not result["cache_spec"]:
        raise InputError(f"--pictures: {args.run} reads no pictures. Leave it out.")


def note(args: Arguments, result: Mapping[str, Any]) -> str:
    """One sentence: where values are hidden, and what replaces them."""
    instead = "marked as unobserved" if args.hide == "unobserved" else "replaced by those of other samples"
    if args.pictures:
        return f"Hidden numbers and pictures are {instead}."
    more = "; the pictures still show them (--pictures hides them there, too)" if result["cache_spec"] else ""
    return f"Hidden numbers are {instead}{more}."


def tested(run: RunFolder, table: SeasonTable) -> dict[str, Rows]:
    """The positions of each fold's test samples."""
    test_rows = run.read_predictions().query("split == 'test'")
    at = {name: position for position, name in enumerate(table.sample_id.tolist())}
    return {
        str(fold): np.array([at[name] for name in part["sample_id"]], np.int64)
        for fold, part in test_rows.groupby("fold", sort=False)
    }


def chosen(names: Sequence[str], table: SeasonTable, rows: Mapping[str, Rows]) -> list[str]:
    """The samples that --samples names. Raises InputError for one that is not a test sample of the run."""
    test_samples = set(table.sample_id[np.concatenate(list(rows.values()))].tolist())
    for name in names:
        if name not in test_samples:
            some = ", ".join(sorted(test_samples)[:3])
            raise InputError(
                f"--samples names {name!r}, which is not a test sample of this run. Test samples are {some}, ..."
            )
    return list(names)


def pictures_of(
    args: Arguments,
    config: Mapping[str, Any],
    result: Mapping[str, Any],
    *,
    run: RunFolder,
    table: SeasonTable,
    rows: Mapping[str, Rows],
    hiding: Sequence[Occlusion],
) -> Vectors:
    """A function that returns the embeddings of a table, after filling the cache with all that will be needed."""
    style, fitted, root = Style(**result["style"]), run.read_json("fitted.json"), args.cache or config["cache"]
    refuse_unless_cache(root)
    framing = next(iter(fitted.values()))["framing"]
    blocks = []
    for fold, index in rows.items():
        whole = table.rows(index)
        stand_in = donors(table, index, args.hide) if args.pictures else []
        needed = [whole, *(one.hide(whole, donor) for donor in stand_in for one in hiding)]
        ranges = np.array(fitted[fold]["ranges"])
        blocks += [block for one in needed for block in series_blocks(one, ranges, style, framing)]
    reader = fill(root, args.redraw.workers, encoder_for(args.run, args.redraw.encoder), result, blocks).reader()

    def vectors(one: SeasonTable, ranges: NDArray[np.float64]) -> NDArray[np.float16]:
        return embeddings(reader, series_blocks(one, ranges, style, framing))

    return vectors


if __name__ == "__main__":
    sys.exit(main())
