"""python -m benchmarks.csv_reading: read a long CSV of 5 million rows into a season table, against pyarrow.csv.

Each reader runs in a separate process, in turn, so that each peak of memory is its own. The fastest of three runs
counts. Not part of `make bench`, because the file takes 230 MB.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from pipeline.parser import parse_flags
from report.run import commit, hardware

ROOT = Path(__file__).resolve().parents[1]
CARD = """
name = "long"
format = "long"
files = ["rows.csv"]
place = "place"
date = "date"
year = "year"
season_steps = 36
target = { column = "yield", unit = "t/ha" }
variates = [{ name = "ndvi" }, { name = "evi" }]
"""
# The program of each process. It prints wall seconds, CPU seconds and its peak memory in GB.
TIMED = r"""
import re, time
from pathlib import Path
import pyarrow.csv as pacsv
from pipeline.sources import read
wall, cpu = time.perf_counter(), time.process_time()
{work}
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print(wall, cpu, int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1e6)
"""


@dataclass(frozen=True)
class Arguments:
    """Size of the measurement."""

    rows: int = 5_000_000
    """Approximate number of rows, 360 per place."""
    repeats: int = 3
    """Runs of each reader; the fastest one counts."""


def main() -> None:
    """Print the ratios of seconds, of CPU seconds, and of memory."""
    args = parse_flags(Arguments, None, __doc__, "benchmarks.csv_reading")
    with tempfile.TemporaryDirectory() as folder:
        rows = write(Path(folder), args.rows // 360)
        alone = f"pacsv.read_csv({str(Path(folder) / 'rows.csv')!r})"
        ours = f"read({str(Path(folder) / 'card.toml')!r})"
        runs = [(timed(alone), timed(ours)) for _ in range(args.repeats)]
    reference, result = (np.min([run[side] for run in runs], axis=0) for side in (0, 1))
    identity = {"rows": rows, "hardware": hardware(), "commit": commit()}
    for name, unit, at in (("read a long CSV", "s", 0), ("read a long CSV, CPU", "s", 1), ("peak memory", "GB", 2)):
        row: dict[str, Any] = {"name": name, "value": round(float(result[at]), 3), "unit": unit}
        row |= {"reference": "pyarrow.csv.read_csv alone", "reference_value": round(float(reference[at]), 3)}
        print(json.dumps(row | {"ratio": round(float(result[at] / reference[at]), 2)} | identity), flush=True)


def write(folder: Path, places: int) -> int:
    """Write ten years of 36 dates at each place as a CSV with its card. Returns the number of rows."""
    rng = np.random.default_rng(0)
    rows = places * 360
    year = np.tile(np.repeat(np.arange(2014, 2024), 36), places)
    date = (year - 1970).astype("datetime64[Y]").astype("datetime64[D]") + np.tile(np.arange(36), places * 10) * 10
    table = pa.table(
        {
            "place": np.repeat([f"DE{n:05d}" for n in range(places)], 360),
            "date": date.astype(str),
            "year": year,
            "ndvi": np.round(rng.uniform(0, 1, rows), 4),
            "evi": np.round(rng.uniform(0, 1, rows), 4),
            "yield": np.repeat(np.round(rng.uniform(3, 9, places * 10), 2), 36),
        }
    )
    pacsv.write_csv(table, folder / "rows.csv")
    (folder / "card.toml").write_text(CARD)
    return rows


def timed(work: str) -> tuple[float, ...]:
    """(wall seconds, CPU seconds, peak GB) of a process that runs `work`."""
    command = [sys.executable, "-c", TIMED.format(work=work)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return tuple(float(number) for number in done.stdout.split())


if __name__ == "__main__":
    main()
