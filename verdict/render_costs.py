"""What pictures cost: once for all arms, seeds and folds, as a rate, since a cache may have been filled before.

<out>/rendering.json keeps, for each kind of pictures, what this matrix drew and embedded of it, and in how long.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cache.run_log import Run, run_files, totals
from cache.storage import open_storage
from report.atomic_write import write_whole
from verdict.arms import Flags
from verdict.runner import ROOT

FILE = "rendering.json"


@dataclass(frozen=True)
class Rendered:
    """Of one kind of pictures: how many there are, how many vectors this matrix made, its seconds, and their place."""

    pictures: int = 0
    embedded: int = 0
    seconds: float = 0.0
    embeddings: str = ""

    def and_(self, run: Run) -> Rendered:
        """With what one run of render_cache.py did."""
        done = run.stages["embed"]
        return Rendered(
            max(self.pictures, int(done["distinct"])),
            self.embedded + int(done["written"]),
            self.seconds + (float(done["seconds"]) if done["written"] else 0.0),
            run.embeddings,
        )


@dataclass(frozen=True)
class Price:
    """Seconds of all pictures of one kind, NaN where nothing tells; `measured`: embedded by this matrix, not before."""

    pictures: int
    draw: float
    embed: float
    per_thousand: float
    measured: bool


def render(command: Flags, kind: str, cache: str, out: Path) -> int:
    """One run of render_cache.py; adds what it did to the record. Returns its exit code."""
    storage = open_storage(cache)
    before = {one.name for one in run_files(storage)} if storage.exists() else set()
    code = subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode
    known, storage = read_record(out), open_storage(cache)
    mine = known.get(kind, Rendered())
    for one in run_files(storage) if storage.exists() else ():
        if one.name not in before and "embed" in (run := Run.load(storage, one.name)).stages:
            mine = mine.and_(run)
    record = {name: asdict(one) for name, one in (known | {kind: mine}).items()}
    write_whole(out / FILE, lambda path: path.write_text(json.dumps(record, indent=1) + "\n"))
    return code


def read_record(out: Path) -> dict[str, Rendered]:
    """What this matrix rendered so far, by kind of pictures."""
    path = out / FILE
    found: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else {}
    return {kind: Rendered(**numbers) for kind, numbers in found.items()}


def prices(out: Path, kinds: Mapping[str, str], cache: str, samples: int) -> dict[str, Price]:
    """The price of each arm's pictures, by their kind; where all was cached before, by the cache's history."""
    storage = open_storage(cache)
    runs: Sequence[Run] = [Run.load(storage, one.name) for one in run_files(storage)] if storage.exists() else []
    drawn: Mapping[str, float] = totals(runs)["rate"]
    record = read_record(out)
    found = {}
    for arm, kind in kinds.items():
        one = record.get(kind, Rendered())
        before = totals([run for run in runs if run.embeddings == one.embeddings])["rate"]  # by the same encoder
        own = one.embedded / one.seconds if one.seconds else before.get("embed", math.nan)
        draw, embed = one.pictures / drawn.get("draw", math.nan), one.pictures / own
        found[arm] = Price(one.pictures, draw, embed, 1000 * (draw + embed) / samples, bool(one.seconds))
    return found
