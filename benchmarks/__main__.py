"""make bench: every speed as a ratio within one run, one JSON object per line, saved in benchmarks/results/."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from benchmarks import baselines, drawing, embedding, reading, training, whole
from pipeline.parser import parse_flags
from report.run import commit, hardware

RESULTS = Path(__file__).parent / "results"
PartName = Literal["drawing", "reading", "baselines", "embedding", "training", "whole"]
PARTS = {
    "drawing": drawing,
    "reading": reading,
    "baselines": baselines,
    "embedding": embedding,
    "training": training,
    "whole": whole,
}


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    parts: tuple[PartName, ...] = get_args(PartName)
    """What to measure, in this order."""


def main() -> None:
    """Run the measurements and save the rows."""
    args = parse_flags(Arguments, None, __doc__, "benchmarks")
    RESULTS.mkdir(exist_ok=True)
    identity = {"hardware": hardware(), "commit": commit()}
    path = RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.jsonl"
    for name in args.parts:
        for row in PARTS[name].measure():
            line = json.dumps(row | identity)
            print(line, flush=True)
            with path.open("a") as file:
                file.write(line + "\n")


if __name__ == "__main__":
    main()
