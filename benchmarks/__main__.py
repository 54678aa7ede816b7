"""make bench: every speed as a ratio within one run, one JSON object per line, saved in benchmarks/results/."""

from __future__ import annotations

import json
import time
from pathlib import Path

from benchmarks import baselines, drawing, embedding, reading, training, whole
from report.run import commit, hardware

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run every measurement and save the rows."""
    RESULTS.mkdir(exist_ok=True)
    identity = {"hardware": hardware(), "commit": commit()}
    path = RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.jsonl"
    parts = (drawing, reading, baselines, embedding, training, whole)
    for part in parts:
        for row in part.measure():
            line = json.dumps(row | identity)
            print(line, flush=True)
            with path.open("a") as file:
                file.write(line + "\n")


if __name__ == "__main__":
    main()
