"""python -m benchmarks.yield_stage: seconds of stage 2 by its ensemble, against neural heads alone and the baselines.

One table is the demo, the other has 4,000 made-up seasons of 6 variates and 52 weeks and tests three years in turn.
Stage 1 trains for one epoch without pictures, because only stage 2 is measured. Not part of `make bench`, because it
takes some ten minutes on two cores.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import train
from pipeline.parser import parse_flags
from report.run import commit, hardware

VARIATES, STEPS, YEARS = 6, 52, 10
CARD = """
name = "large"
format = "wide"
files = ["large.csv"]
place = "place"
year = "year"
step_days = 7
target = { column = "yield", unit = "t/ha" }
variates = [VARIATES]
"""


@dataclass(frozen=True)
class Arguments:
    """Size of the large table."""

    rows: int = 4000
    """Seasons, ten per place."""


def main() -> None:
    """Print a row per ratio."""
    args = parse_flags(Arguments, None, __doc__, "benchmarks.yield_stage")
    identity = {"hardware": hardware(), "commit": commit()}
    with tempfile.TemporaryDirectory() as folder:
        tables = {
            "the demo": ("demo/card.toml", "year"),
            f"{args.rows} seasons": (write(Path(folder), args.rows), "forward"),
        }
        for number, (name, (card, split)) in enumerate(tables.items()):
            for row in measure(name, card, split, Path(folder) / str(number)):
                print(json.dumps(row | identity), flush=True)


def measure(name: str, card: str, split: str, out: Path) -> Iterator[dict[str, Any]]:
    """The ratios of one table. The folder `out` gets the runs."""
    common = ["--data", card, "--split", split, "--preset", "language-only"]
    run(*common, "--stage", "1", "--epochs", "1", "--out", str(out / "stage1"))
    seconds = {}
    for learner in ("ensemble", "neural"):
        late = ["--from", str(out / "stage1"), "--learner", learner, "--out", str(out / learner)]
        run(*common, "--stage", "2", *late)
        seconds[learner] = json.loads((out / learner / "result.json").read_text())["seconds"]
    ensemble, neural = seconds["ensemble"], seconds["neural"]
    yield _row(f"stage 2 of {name}, ensemble", ensemble["train"], "neural heads alone", neural["train"])
    yield _row(f"baselines of {name}", ensemble["evaluate"], "stage 2 by its ensemble", ensemble["train"])


def _row(name: str, value: float, reference: str, of_reference: float) -> dict[str, Any]:
    row = {"name": name, "value": round(value, 2), "unit": "s", "reference": reference}
    return row | {"reference_value": round(of_reference, 2), "ratio": round(value / of_reference, 2)}


def run(*flags: str) -> None:
    """One training run in this process. Its output goes to standard error."""
    with contextlib.redirect_stdout(sys.stderr):
        if train.main(list(flags)) != 0:
            raise SystemExit(f"train.py {' '.join(flags)} failed")


def write(folder: Path, rows: int) -> str:
    """Write made-up seasons and their card; the yield follows the peak of the season. Returns the card."""
    rng = np.random.default_rng(0)
    places = rows // YEARS
    place, year = (one.ravel() for one in np.meshgrid(np.arange(places), 2010 + np.arange(YEARS), indexing="ij"))
    peak = rng.normal(0, 1, places)[place] + rng.normal(0, 0.7, YEARS)[year - 2010] + rng.normal(0, 0.5, len(place))
    curve = np.exp(-(((np.arange(STEPS) - 26) / 9) ** 2))
    frame = pd.DataFrame({"place": [f"p{one}" for one in place], "year": year})
    columns = {
        f"b{v}_{step + 1}": 0.2 + (0.4 + 0.1 * peak) * curve[step] * (1 + 0.1 * v) + rng.normal(0, 0.03, len(place))
        for v in range(VARIATES)
        for step in range(STEPS)
    }
    frame = pd.concat([frame, pd.DataFrame(columns)], axis=1)
    frame["yield"] = 6 + peak + rng.normal(0, 0.4, len(place))
    frame.to_csv(folder / "large.csv", index=False)
    variates = ", ".join(f'{{ name = "b{v}" }}' for v in range(VARIATES))
    (folder / "card.toml").write_text(CARD.replace("VARIATES", variates))
    return str(folder / "card.toml")


if __name__ == "__main__":
    main()
