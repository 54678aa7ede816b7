"""Log of render_cache.py: one small file per run in the cache, summed up by `python -m cache stats`."""

from __future__ import annotations

import json
import os
import platform
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from cache.estimate import Cost
from cache.fill import Filled
from cache.json_record import parse_record
from cache.storage import CacheError, Found, Storage

FOLDER = "history"
RECENT = 20  # runs in which to look for a rate
ENOUGH = 1000  # rows of a stage, the minimum for a reliable rate


@dataclass(frozen=True)
class Run:
    """One run: per stage the rows wanted, distinct, reused and written, bytes and seconds; errors by kind."""

    stages: Mapping[str, Mapping[str, float]]  # draw, embed -> wanted, distinct, reused, written, bytes, seconds
    errors: Mapping[str, int] = field(default_factory=dict)
    embeddings: str = ""  # namespace of the embeddings, which determines the rate
    by: str = ""  # processor and engine on which the rate was measured

    @staticmethod
    def of(stages: Mapping[str, Filled], errors: Sequence[str], embeddings: str = "", by: str = "") -> Run:
        """The record of the stages. The kind of an error is the text after its colon."""
        numbers = {
            name: {key: getattr(done, key) for key in ("wanted", "distinct", "reused", "written", "bytes", "seconds")}
            for name, done in stages.items()
        }
        errors_by_kind = dict(Counter(line.partition(": ")[2] for line in errors))
        return Run(stages=numbers, errors=errors_by_kind, embeddings=embeddings, by=by)

    @staticmethod
    def load(storage: Storage, name: str) -> Run:
        """Inverse of `save`. Raises CacheError if the record cannot be read."""
        try:
            data = storage.read(name)
            if not name.endswith(f"-{xxhash.xxh3_64_hexdigest(data)}.json"):
                raise ValueError("content does not match its name")
            record = parse_record(data)
            numbers = [number for stage in record["stages"].values() for number in stage.values()]
            if not all(isinstance(number, int | float) for number in [*numbers, *record["errors"].values()]):
                raise ValueError("not numbers")
            return Run(
                stages=record["stages"],
                errors=record["errors"],
                embeddings=str(record.get("embeddings", "")),
                by=str(record.get("by", "")),
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise CacheError(f"{storage.where(name)} is damaged ({error}); nothing needs it, so delete it.") from error

    def save(self, storage: Storage) -> None:
        """Add the run to the history. The file's name ends in the digest of its bytes."""
        data = json.dumps(asdict(self) | {"at": time.time()}).encode()
        storage.replace(
            f"{FOLDER}/{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{xxhash.xxh3_64_hexdigest(data)}.json", data
        )


def run_files(storage: Storage) -> list[Found]:
    """The file of every run, oldest first."""
    return [one for one in storage.files(FOLDER) if one.name.endswith(".json") and "/." not in one.name]


def past_runs(storage: Storage) -> list[Run]:
    """Every run, oldest first."""
    return [Run.load(storage, one.name) for one in run_files(storage)]


def known_costs(storage: Storage, embeddings: str, by: str) -> dict[str, Cost]:
    """The cost of each stage, from the newest run with this encoder, processor and engine and enough rows."""
    costs: dict[str, Cost] = {}
    for file in reversed(run_files(storage)[-RECENT:]):
        try:
            run = Run.load(storage, file.name)
        except CacheError:
            continue  # `fsck` reports it
        if (run.embeddings, run.by) == (embeddings, by):
            for stage, numbers in run.stages.items():
                if numbers["written"] >= ENOUGH:
                    cost = Cost(numbers["seconds"] / numbers["written"], numbers["bytes"] / numbers["written"])
                    costs.setdefault(stage, cost)
    return costs


def processor() -> str:
    """Model of the processor, and the number of cores that this process may use."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {len(os.sched_getaffinity(0))} cores"


def totals(runs: Sequence[Run]) -> dict[str, Any]:
    """Hits, misses, dedupe ratio, rate of each stage and errors by kind, over all runs."""
    by_stage: dict[str, Counter[str]] = {}
    errors: Counter[str] = Counter()
    for run in runs:
        errors.update(run.errors)
        for stage, numbers in run.stages.items():
            by_stage.setdefault(stage, Counter()).update(numbers)
    draw = by_stage.get("draw", Counter())
    return {
        "runs": len(runs),
        "hits": int(draw["reused"]),
        "misses": int(draw["written"]),
        "dedupe_ratio": round(draw["wanted"] / draw["distinct"], 4) if draw["distinct"] else None,
        "rate": {stage: round(n["written"] / n["seconds"], 1) for stage, n in by_stage.items() if n["written"]},
        "errors": dict(errors),
    }
