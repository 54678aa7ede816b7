"""Forecast new seasons with a trained run of stage 2 or 3.

    python predict.py --run runs/x --data new.csv --out predictions.csv
    python predict.py --run runs/x --data new.csv --out april.csv --as-of 12    mid-season, after 12 steps
    python predict.py --run runs/x --data card.toml --out map.geojson --by-place places.csv
    python predict.py --run runs/x --data card.toml --as-of 18 --out june.csv --since april.csv --page june.html
    python predict.py --run runs/x --data new.csv --features tokens.parquet     stage-1 features for other tools

Draws and embeds missing pictures, and writes t/ha with a 90 % interval. Rejects a table with other variates, units or
steps than the run's. A run of several folds forecasts with the mean of its folds' models.
"""

from __future__ import annotations

import pipeline.loading  # isort: skip  # noqa: F401  # first, for Ctrl-C while the others load

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tyro
from numpy.typing import NDArray

from cache.storage import CacheError, refuse_unless_cache
from model.encoders import EncoderError
from model.training.errors import Refused
from pipeline.errors import InputError
from pipeline.findings import describe_findings
from pipeline.flags import CACHE, ReadingFlags, RedrawFlags
from pipeline.parser import parse_flags
from pipeline.plural import plural
from pipeline.program import run_program
from pipeline.series import series_blocks
from pipeline.sources import read
from pipeline.sources.geometry import known_shapes, shapes_of, with_positions
from pipeline.style import Style
from pipeline.table import SeasonTable
from report.atomic_write import refuse_unless_possible, write_whole
from report.forecast_files import ENDINGS, by_place, write_table
from report.progress import say
from report.run import RunFolder
from report.run_page.sentences import held_out
from stages.inputs.fill_cache import fill
from stages.inputs.fold_data import Pictures
from stages.inputs.new_data_checks import (
    capitals_differ,
    check_scale,
    in_the_order_of,
    spelled_as_in_run,
    unlike_training,
    years_not_tested,
)
from stages.inputs.tuned_encoder import encoder_for
from stages.inputs.typical_season import unlike_training_years
from stages.runs.step_commands import commands_with_steps, new_run
from stages.yields import yield_stage
from stages.yields.season_tokens import season_tokens
from stages.yields.yield_forecaster import Forecaster

LEAST_YIELD = 0.0  # t/ha; the lower bounds of intervals are cut here


@dataclass(frozen=True)
class Arguments:
    """Forecast the yield of new seasons."""

    run: Path
    """A complete run folder of stage 2 or 3, or a folder that `python -m model.export` made from one."""
    data: str
    """Dataset card, data file, folder or glob; it needs no yield column, and none is read."""
    out: Path = Path("predictions.csv")
    """The .csv, .parquet or .geojson to write; an existing file is an error. A map needs positions in the card."""
    by_place: Path | None = None
    """Also write a CSV with one row per place: mean, minimum and maximum of its forecasts."""
    cache: str = CACHE
    """The cache folder; missing pictures are drawn and embedded into it."""
    page: Path | None = None
    """Also write an HTML page: a map, the intervals, a table, and how sure the forecasts are. It is replaced."""
    since: Path | None = None
    """A .csv or .parquet that predict.py wrote for the same seasons earlier; --page shows what changed."""
    features: Path | None = None
    """Instead of forecasts, write the stage-1 tokens of each sample, variate and window to this .parquet or .csv. The
    run may be of any stage."""
    as_of: int | None = None
    """Forecast from this many steps of the season; later steps are ignored."""
    redraw: tyro.conf.OmitArgPrefixes[RedrawFlags] = field(default_factory=RedrawFlags)
    reading: tyro.conf.OmitArgPrefixes[ReadingFlags] = field(default_factory=ReadingFlags)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_program(
        "predict.py",
        lambda: forecast(parse_flags(Arguments, arguments, __doc__, "predict.py")),
        refused=(EncoderError, Refused),
        failed=(CacheError,),
    )


@dataclass(frozen=True, eq=False)
class NewForecasts:
    """Forecasts of new seasons.

    rows      sample_id, place, year, y_pred, y_lo, y_hi in t/ha, in_training; one row per sample
    warnings  sentences about forecasts whose interval is likely too narrow
    as_of     the number of steps that were known; None for whole seasons
    """

    rows: pd.DataFrame
    warnings: tuple[str, ...]
    as_of: int | None = None


def forecast(args: Arguments) -> int:
    """The whole program: refuse files that exist, forecast, write."""
    if args.features is not None:
        return write_features(args, args.features)
    refuse_unless_possible(args.out, ENDINGS, replace=False)
    if args.page is not None:
        refuse_unless_possible(args.page, (".html",), replace=True, flag="--page")
    if args.since is not None and args.page is None:
        raise InputError(f"--since {args.since} is shown on a page; name one, as in --page forecasts.html.")
    if args.by_place is not None:
        refuse_unless_possible(args.by_place, (".csv",), replace=False, flag="--by-place")
        if args.by_place.resolve() == args.out.resolve():
            raise InputError(f"--out and --by-place both name {args.out}; one would replace the other.")
    shapes = shapes_of(args.data, args.reading.memory_gb) if args.out.suffix.lower() == ".geojson" else None
    found = forecast_new_seasons(args)
    positions = [] if shapes is None else shapes.of_samples(found.rows["sample_id"], found.rows["place"])
    write_table(args.out, found.rows, positions)
    if args.by_place is not None:
        write_table(args.by_place, by_place(found.rows))
    width = (found.rows["y_hi"] - found.rows["y_lo"]).mean()
    if args.page is not None:
        write_forecast_page(args, args.page, found)
    say(
        f"{args.out}: {plural(len(found.rows), 'forecast')} in t/ha, 90 % interval {width:.2f} t/ha wide on average, "
        f"mean {found.rows['y_pred'].mean():.2f} t/ha"
    )
    if unplaced := sum(shape is None for shape in positions):
        say(f"{args.out}: {plural(unplaced, 'sample')} without a position")
    if cut := int((found.rows["y_lo"] == LEAST_YIELD).sum()):
        say(f"{args.out}: y_lo of {plural(cut, 'sample')} is cut at {LEAST_YIELD:g} t/ha, because no yield is below it")
    for line in found.warnings:
        say(line)
    return 0


def write_forecast_page(args: Arguments, path: Path, found: NewForecasts) -> None:
    """Write the page of some forecasts."""
    from report.forecast_page import ForecastPage, read_forecasts  # here, since most forecasts need no Plotly

    run = RunFolder.open(args.run)
    result, fitted = run.read_json("result.json"), run.read_json("fitted.json")
    shapes, why = known_shapes(args.data, args.reading.memory_gb)
    known = [pd.DataFrame(record["forecaster"]["known"]) for record in fitted.values()]
    page = ForecastPage(
        rows=found.rows,
        shapes=[] if shapes is None else shapes.of_samples(found.rows["sample_id"], found.rows["place"]),
        known=pd.concat(known, ignore_index=True),
        earlier=None if args.since is None else read_forecasts(args.since, found.rows),
        moment="of whole seasons"
        if found.as_of is None
        else f"after {found.as_of} of {result['seasons']['steps']} steps",
        about=reliability(result, fitted, found.as_of),
        warnings=[*found.warnings, *([f"There is no map: {why}"] if why else [])],
        command=shlex.join(["python", "predict.py", *sys.argv[1:]]),
    )
    text = page.html()
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    say(f"page: {path}")


def reliability(result: Mapping[str, Any], fitted: Mapping[str, Any], as_of: int | None) -> str:
    """How well the run forecast its test rows: the whole season, or the latest trained step up to `as_of`.

    Mid-season the row is that of the forecasters: with completed seasons or without. If folds differ, it is the row
    with the larger error.
    """
    scores, when = result["metrics"], "whole seasons"
    if as_of is not None:
        used = {yield_stage.reading_at(record["forecaster"], as_of) for record in fitted.values()}
        known = [row for row in result["early"]["steps"] if (row["step"], row["completed"]) in used]
        scores = max(known, key=lambda row: float(row["rmse"]))
        when = f"seasons known up to step {scores['step']}{' and completed by stage 1' * bool(scores['completed'])}, "
        when += f"{scores['lead_days']:.0f} days before {result['early']['until']}"
    return (
        f"On {result['n_test']:,} held-out samples ({held_out(result)}) the run forecast {when} with an RMSE of "
        f"{scores['rmse']:.2f} t/ha and an R2 of {scores['r2']:.2f}; {scores['coverage_90']:.0%} of the yields were "
        "inside their 90 % interval."
    )


def write_features(args: Arguments, path: Path) -> int:
    """Write the stage-1 tokens of every sample. Returns the exit code."""
    refuse_unless_possible(path, (".parquet", ".csv"), replace=False, flag="--features")
    refuse_unless_cache(args.cache)
    run = RunFolder.open(args.run)
    result, fitted = run.read_json("result.json"), run.read_json("fitted.json")
    table, _ = read_new_seasons(args, result, fitted)
    tokens = season_tokens(run, table, pictures_of(args, table, result, fitted))
    write_table(path, tokens)
    size = sum(name[1:].isdigit() for name in tokens.columns)
    say(f"{path}: {len(tokens):,} rows of {size} numbers, one per fold, sample, variate and window")
    return 0


def forecast_new_seasons(args: Arguments) -> NewForecasts:
    """Open the run, read the table, fill the cache, forecast with the model of every fold."""
    refuse_unless_cache(args.cache)
    run = RunFolder.open(args.run)
    result, fitted = run.read_json("result.json"), run.read_json("fitted.json")
    if result["stage"] < 2:
        raise InputError(
            f"{args.run} is a stage-{result['stage']} run; forecasts come from `python train.py --stage 2`."
        )
    if result.get("control"):
        raise InputError(
            f"{args.run} was trained on {result['control']} pictures as a negative control, so it makes no forecasts."
        )
    table, as_of = read_new_seasons(args, result, fitted)
    pictures = pictures_of(args, table, result, fitted)
    forecasters = {name: Forecaster.load(run, name) for name in fitted}
    forecasts = [
        yield_stage.forecast_new(forecasters[name], table, name, record=record, pictures=pictures, as_of=as_of)
        for name, record in fitted.items()
    ]
    pred = np.mean([one.pred for one in forecasts], axis=0)
    low = np.maximum(pred - np.max([one.pred - one.lo for one in forecasts], axis=0), LEAST_YIELD)
    high = pred + np.max([one.hi - one.pred for one in forecasts], axis=0)
    names = {"sample_id": table.sample_id, "place": table.place, "year": table.year}
    rows = pd.DataFrame({**names, "y_pred": pred, "y_lo": low, "y_hi": high, "in_training": in_training(table, fitted)})
    about = [*unplaced(list(forecasters.values()), table), *warnings(table, result, fitted, as_of)]
    return NewForecasts(rows=rows, warnings=tuple(about), as_of=as_of)


def read_new_seasons(
    args: Arguments, result: Mapping[str, Any], fitted: Mapping[str, Any]
) -> tuple[SeasonTable, int | None]:
    """The table as the run reads it, and the step after which it forecasts (None: the whole season)."""
    steps = result["seasons"]["steps"]
    as_of = None if args.as_of == steps else args.as_of
    forecasts = result["stage"] > 1  # of a stage-1 run only the tokens are wanted
    if as_of is not None and forecasts:
        require_step(args, as_of, result, fitted)
    elif as_of is not None and not 1 <= as_of < steps:
        raise InputError(f"--as-of is {as_of}; seasons of this run have {steps} steps, so it must be 1 to {steps}.")
    unfinished = None if as_of is None else steps
    table = read(
        args.data, year=args.reading.year, for_prediction=True, memory_gb=args.reading.memory_gb, unfinished=unfinished
    )
    if forecasts and any(yield_stage.reads_positions(record["forecaster"]) for record in fitted.values()):
        table = with_positions(table, args.data, args.reading.memory_gb)
    table = in_the_order_of(table, result["seasons"])
    require_same_seasons(table, result)
    known = [place for record in fitted.values() if forecasts for place in record["forecaster"]["known"]["place"]]
    table, findings = spelled_as_in_run(table, known) if forecasts else (table, ())
    if (
        as_of is not None
        and forecasts
        and (last := yield_stage.step_read(next(iter(fitted.values()))["forecaster"], as_of)) < as_of
    ):
        say(f"steps {last + 1} to {as_of} are not used: {args.run} forecasts after step {last}. Train with --steps "
              f"{as_of} to use them.")  # fmt: skip
        as_of = last
    table = table if as_of is None else table.as_of(as_of)
    if not table.observed.any():
        raise InputError(f"{table.name}: nothing is observed in the first {as_of or steps} steps of any season.")
    check_scale(table, fitted)
    say(f"{table.name}: {plural(len(table), 'sample')}. {table.describe_counts()}")
    for note in table.notes:
        say(note)
    if table.findings or findings:
        say(describe_findings((*table.findings, *findings)))
    return table, as_of


def pictures_of(
    args: Arguments, table: SeasonTable, result: Mapping[str, Any], fitted: Mapping[str, Any]
) -> Pictures | None:
    """The embeddings of the new seasons, drawn and embedded if the cache lacks them; None if the run reads none."""
    if not result["cache_spec"]:
        return None
    style, framing = Style(**result["style"]), next(iter(fitted.values()))["framing"]
    distinct = {str(record["ranges"]): np.array(record["ranges"]) for record in fitted.values()}
    blocks = [block for ranges in distinct.values() for block in series_blocks(table, ranges, style, framing)]
    store = fill(args.cache, args.redraw.workers, encoder_for(args.run, args.redraw.encoder), dict(result), blocks)
    return Pictures(args.cache, style, store, "", framing)


def require_step(args: Arguments, as_of: int, result: Mapping[str, Any], fitted: Mapping[str, Any]) -> None:
    """Raise InputError if the run has no interval for seasons of which `as_of` steps are known."""
    steps = result["seasons"]["steps"]
    trained_steps = yield_stage.steps_of(next(iter(fitted.values()))["forecaster"])
    if not 1 <= as_of <= steps:
        raise InputError(f"--as-of is {as_of}; seasons of this run have {steps} steps, so it must be 1 to {steps}.")
    if not trained_steps or as_of < min(trained_steps):
        which = f"seasons as known after {min(trained_steps)} steps or more" if trained_steps else "whole seasons only"
        commands = commands_with_steps(args.run, result, sorted({as_of, *trained_steps}))
        commands.append(shlex.join(["python", "predict.py", "--run", str(new_run(args.run)), "--data", args.data,
                                    "--as-of", str(as_of)]))  # fmt: skip
        raise InputError(
            f"--as-of {as_of}: {args.run} was trained on {which}, so it has no interval for this forecast. These "
            "commands train a run that has one, and forecast:\n    " + "\n    ".join(commands)
        )


def unplaced(forecasters: Sequence[Forecaster], table: SeasonTable) -> Iterator[str]:
    """A sentence on the samples whose position is not known or far from all training places, if the run reads it."""
    of_folds = [placed for forecaster in forecasters if (placed := forecaster.placed(table)) is not None]
    if not of_folds:
        return
    placed = np.all(of_folds, axis=0)
    known = np.zeros(len(table), bool) if table.position is None else ~np.isnan(table.position).any(1)
    for lost, why in ((~known, "have no known position"), (known & ~placed, "lie far from every training place")):
        if lost.any():
            yield (
                f"{plural(int(lost.sum()), 'sample')}, such as {table.sample_id[np.argmax(lost)]}, {why}. Their "
                "forecasts do not use the yields of neighbouring places, so their intervals are wider and their errors "
                "larger than in the run's test. The card names positions as latitude and longitude, or as geometry."
            )


def warnings(
    table: SeasonTable, result: Mapping[str, Any], fitted: Mapping[str, Any], as_of: int | None = None
) -> Iterator[str]:
    """One sentence per reason why a forecast is less certain than its interval suggests."""
    if as_of is not None and not table.observed[:, :, as_of - 1].any():
        last = int(np.flatnonzero(table.observed.any((0, 1)))[-1]) + 1
        yield f"no sample is observed at step {as_of}; the last observed step is {last}. Did you mean --as-of {last}?"
    yield from unlike_training(table, fitted)
    yield from unlike_training_years(table, fitted)
    yield from years_not_tested(table, result["split"], {year for _, year in trained_yields(fitted)})
    if again := int(in_training(table, fitted).sum()):
        yield (
            f"The run was trained with the yield of {plural(again, 'sample')} (same place and year). For these rows, "
            "which have in_training = True, y_pred is a fit and not a forecast."
        )
    places = {place for record in fitted.values() for place in record["forecaster"]["known"]["place"]}
    unseen = sorted(set(table.place.tolist()) - places)
    if unseen and result["split"] != "place":  # such a run was tested on unseen places
        yield (
            f"The run's training rows lack {plural(len(unseen), 'place')}, such as {unseen[0]}."
            f"{capitals_differ(unseen, places)} A forecast for such a place starts from the mean of all places, and "
            "its interval is likely too narrow."
        )
    known_for, least = least_observed(fitted, as_of)
    shares = yield_stage.observed_shares(table if known_for is None else table.as_of(known_for))
    sparse = np.flatnonzero((shares < least).any(1))
    if len(sparse):
        yield (
            f"In {plural(len(sparse), 'sample')}, such as {table.sample_id[sparse[0]]}, fewer steps are observed than "
            f"in any training season of the run (at least {least[0]:.0%} of the first half and {least[1]:.0%} of the "
            "second). The interval is likely too narrow there."
            + ("" if as_of is not None else " For seasons in progress, --as-of gives the number of known steps.")
        )


def trained_yields(fitted: Mapping[str, Any]) -> set[tuple[str, int]]:
    """Place and year of every yield that a fold of the run was trained on, without the history."""
    known = [record["forecaster"]["known"] for record in fitted.values()]
    rows = (zip(one["place"], one["year"], one["label"], strict=True) for one in known)
    return {(place, year) for each in rows for place, year, label in each if label}


def in_training(table: SeasonTable, fitted: Mapping[str, Any]) -> NDArray[np.bool_]:
    """[N]: whether the run was trained with the yield of that place and year."""
    known = trained_yields(fitted)
    pairs = zip(table.place.tolist(), table.year.tolist(), strict=True)
    return np.array([pair in known for pair in pairs], bool)


def least_observed(fitted: Mapping[str, Any], as_of: int | None) -> tuple[int | None, NDArray[np.float64]]:
    """Minimum observed shares [2] of the training seasons, and the number of known steps they are for (None: all)."""
    records = list(fitted.values())
    if as_of is None:
        return None, np.min([record["least_observed"] for record in records], axis=0)
    step = max(step for step, _ in records[0]["least_observed_so_far"] if step <= as_of)
    return step, np.min([dict(record["least_observed_so_far"])[step] for record in records], axis=0)


def require_same_seasons(table: SeasonTable, result: Mapping[str, Any]) -> None:
    """Raise InputError if the table's seasons differ in meaning from the run's."""
    for name, wanted in result["seasons"].items():
        actual = table.describe_seasons()[name]
        if actual != wanted:
            raise InputError(
                f"{table.name} has {name} {actual}, but the run was trained on {wanted}. Describe the file with the "
                "dataset card of the run (names, units and steps must agree), or train a run on seasons like these."
            )


if __name__ == "__main__":
    sys.exit(main())
