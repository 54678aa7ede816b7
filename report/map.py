"""python -m report.map --run runs/x --out map.geojson: test forecasts and observed yields of a run as a map."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError
from pipeline.parser import parse_flags
from pipeline.program import run_program
from pipeline.sources import read
from pipeline.sources.geometry import shapes_of
from report.atomic_write import refuse_unless_possible
from report.forecast_files import write_table
from report.run import RunFolder


@dataclass(frozen=True)
class Arguments:
    """Write the test forecasts of a stage-2 or stage-3 run as GeoJSON, with their error."""

    run: Path
    """A complete run folder."""
    out: Path = Path("map.geojson")
    """The GeoJSON file to write. An existing file is not replaced."""
    data: str | None = None
    """The run's data, if it has moved. Its card gives the positions of samples."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_program("report.map", lambda: write_map(parse_flags(Arguments, arguments, __doc__, "report.map")))


def write_map(args: Arguments) -> int:
    """Join the test forecasts of a run to the positions of their samples. Returns the exit code.

    Raises InputError if the data are not those of the run.
    """
    refuse_unless_possible(args.out, (".geojson",), replace=False)
    run = RunFolder.open(args.run)
    if run.read_json("result.json")["stage"] < 2:
        raise InputError(f"{args.run} is a stage-1 run; forecasts come from `python train.py --stage 2`.")
    data = args.data or run.read_json("config.json")["data"]
    shapes, table = shapes_of(data), read(data, year=run.read_json("config.json")["year"])
    known = dict(zip(table.sample_id.tolist(), shapes.of(table), strict=True))
    if table.fingerprint() != run.read_json("result.json")["data_fingerprint"]:
        raise InputError(f"{data} is not the data of {args.run}: their fingerprints differ. Name the run's data.")
    test = run.read_predictions().query("split == 'test'").drop(columns="split")
    test["error"] = test["y_pred"] - test["y_true"]
    write_table(args.out, test, [known.get(name) for name in test["sample_id"]])
    print(f"{args.out}: {len(test)} test forecasts with their error, t/ha")
    return 0


if __name__ == "__main__":
    sys.exit(main())
