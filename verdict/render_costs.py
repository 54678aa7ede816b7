"""Cost of pictures, paid once for all arms, seeds and folds. It is a rate, as the cache may have been filled before.

<out>/rendering.json holds, for each kind of pictures, how many this matrix drew and embedded, and in how many seconds.
"""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cache.run_log import Run, run_files, totals
from cache.storage import open_storage
from report.atomic_write import write_whole
from verdict.arms import Flags
from verdict.runner import process_of

FILE = "rendering.json"


@dataclass(frozen=True)
class Rendered:
    """One kind of pictures: their number, the embeddings made by this matrix, its seconds, and their namespace."""

    pictures: int = 0
    embedded: int = 0
    seconds: float = 0.0
    embeddings: str = ""

    def plus(self, run: Run) -> Rendered:
        """Add the numbers of one run of render_cache.py."""
        done = run.stages["embed"]
        return Rendered(
            pictures=max(self.pictures, int(done["distinct"])),
            embedded=self.embedded + int(done["written"]),
            seconds=self.seconds + (float(done["seconds"]) if done["written"] else 0.0),
            embeddings=run.embeddings,
        )


@dataclass(frozen=True)
class Price:
    """Seconds for all pictures of one kind, NaN if unknown. `measured`: this matrix embedded them itself."""

    pictures: int
    draw: float
    embed: float
    per_thousand: float
    measured: bool


def render(command: Flags, kind: str, cache: str, out: Path) -> int:
    """Run render_cache.py once and add its numbers to the record. Returns its exit code."""
    storage = open_storage(cache)
    before = {one.name for one in run_files(storage)} if storage.exists() else set()
    code = subprocess.run(process_of(command), check=False).returncode
    known, storage = read_record(out), open_storage(cache)
    rendered = known.get(kind, Rendered())
    for one in run_files(storage) if storage.exists() else ():
        if one.name not in before and "embed" in (run := Run.load(storage, one.name)).stages:
            rendered = rendered.plus(run)
    record = {name: asdict(one) for name, one in (known | {kind: rendered}).items()}
    write_whole(out / FILE, lambda path: path.write_text(json.dumps(record, indent=1) + "\n"))
    return code


def read_record(out: Path) -> dict[str, Rendered]:
    """What this matrix rendered so far, by kind of pictures."""
    path = out / FILE
    record: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else {}
    return {kind: Rendered(**numbers) for kind, numbers in record.items()}


def prices(out: Path, kinds: Mapping[str, str], cache: str, samples: int) -> dict[str, Price]:
    """The price of each arm's pictures, by their kind.

    If all were cached before, rates come from the cache's history.
    """
    storage = open_storage(cache)
    runs: Sequence[Run] = [Run.load(storage, one.name) for one in run_files(storage)] if storage.exists() else []
    drawn: Mapping[str, float] = totals(runs)["rate"]
    record = read_record(out)
    prices_by_arm = {}
    for arm, kind in kinds.items():
        one = record.get(kind, Rendered())
        before = totals([run for run in runs if run.embeddings == one.embeddings])["rate"]  # with the same encoder
        own = one.embedded / one.seconds if one.seconds else before.get("embed", math.nan)
        draw, embed = one.pictures / drawn.get("draw", math.nan), one.pictures / own
        prices_by_arm[arm] = Price(
            pictures=one.pictures,
            draw=draw,
            embed=embed,
            per_thousand=1000 * (draw + embed) / samples,
            measured=bool(one.seconds),
        )
    return prices_by_arm
