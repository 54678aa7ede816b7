"""python -m cache stats | show | fsck | gc: list the image cache, check it, and delete what is not needed.

python -m cache stats --json
python -m cache show --out sheet.png --samples 8 --variate ndvi
python -m cache fsck --full                             check every row against its digest
python -m cache fsck --sample 0.01 --data my_card.toml  draw 1 % of the pictures again and compare
python -m cache fsck --full --repair                    set damaged files aside; render_cache.py rebuilds them
python -m cache gc                                      list what can be deleted; --apply deletes it
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cache.catalog import entries
from cache.contact_sheet import choose, contact_sheet
from cache.fsck import check, draw_again, repair
from cache.gc import claims, garbage, sweep
from cache.run_log import past_runs, totals
from cache.storage import CacheError, Storage, open_storage
from cache.store import MissingRows, Store, content_digest, slabs_of
from pipeline import demo
from pipeline.errors import InputError
from pipeline.flags import Names
from pipeline.parser import parse_command
from pipeline.plural import plural
from pipeline.program import run_program
from pipeline.series import fold_variants
from pipeline.sources import read
from pipeline.splits import SplitName, make_folds
from pipeline.style import Style
from pipeline.windows import Framing
from report.atomic_write import refuse_unless_possible, write_whole
from report.progress import stage_progress


@dataclass(frozen=True)
class Stats:
    """Count the committed pictures and embeddings."""

    cache: str = "image_cache"
    """The cache folder."""
    json: bool = False
    """Print one JSON object instead of lines."""

    def run(self) -> int:
        """Print series, images, bytes, slabs and the content digest."""
        stats = collect(self.cache)
        if self.json:
            print(json.dumps(stats, indent=1))
            return 0
        for name, value in stats.items():
            print(f"{name:15} {value}")
        return 0


@dataclass(frozen=True)
class Show:
    """Draw a contact sheet of cached plots, with sample, variate and window under each plot."""

    cache: str = "image_cache"
    """The cache: a folder, or an address such as s3://bucket/prefix."""
    out: Path = Path("sheet.png")
    """The PNG to write; an existing one is replaced."""
    data: str = ""
    """Name of the data set; by default the newest one."""
    samples: int = 4
    """Number of samples, spread over the data set."""
    sample: tuple[str, ...] = ()
    """Samples by name or part of a name, instead of --samples."""
    variate: tuple[str, ...] = ()
    """Only these variates."""
    window: tuple[str, ...] = ()
    """Only these windows: first-half, second-half; with `--framing season`: so-far, season."""
    series: str = ""
    """Card or file of the same data, to draw the numbers beside each plot."""

    def run(self) -> int:
        """Write the sheet."""
        refuse_unless_possible(self.out, (".png",), replace=True)
        cache_at(self.cache)
        known = entries(self.cache)
        table = read(self.series) if self.series else None
        drawn = table.fingerprint() if table else ""
        fitting = [entry for entry in known if self.data in ("", entry.name) and drawn in ("", entry.fingerprint)]
        if table and not fitting:
            raise InputError(f"{self.cache} has no plots of {self.series}. Run render_cache.py --data {self.series}.")
        if not fitting:
            names = ", ".join(sorted({entry.name for entry in known})) or "none"
            raise InputError(f"{self.cache} has no data set {self.data!r}, only: {names}. Run render_cache.py first.")
        if self.samples < 1:
            raise InputError(f"--samples is {self.samples}; at least 1 is needed.")
        entry = fitting[-1]
        choice = choose(entry, self.samples, self.sample, self.variate, self.window)
        write_whole(self.out, contact_sheet(self.cache, entry, choice, table).save)
        print(f"{self.out}: {entry.name}")
        return 0


@dataclass(frozen=True)
class Fsck:
    """Check that every file holds what was committed. Exits with 1 if something is damaged and not repaired."""

    cache: str = "image_cache"
    """The cache: a folder, or an address such as s3://bucket/prefix."""
    full: bool = False
    """Decompress every row and compare it with its digest."""
    sample: float = 0.0
    """Share (0 to 1) of the pictures of --data to draw again and compare."""
    data: str = demo.CARD
    """For --sample: card or file of data rendered into this cache."""
    split: SplitName = "year"
    """For --sample: the split used for rendering."""
    folds: Names = ()
    """For --sample: the folds used for rendering, if --folds was given."""
    framing: Framing = "halves"
    """For --sample: the framing used for rendering."""
    seed: int = 0
    """For --sample: seed of the sample, and of the splits by place and at random."""
    style: Style = field(default_factory=Style)
    repair: bool = False
    """Set damaged files aside, so that render_cache.py rebuilds them."""

    def run(self) -> int:
        """Print every problem and a summary."""
        if not 0.0 <= self.sample <= 1.0:
            raise InputError(f"--sample is {self.sample}; it is a share between 0 and 1.")
        if not open_storage(self.cache).exists():
            raise InputError(f"{self.cache} does not exist. Run `python render_cache.py` first.")
        with stage_progress("check", len(slabs_of(open_storage(self.cache)))) as advance:
            problems = check(self.cache, self.full, lambda slab: advance(1))
        drawn = ""
        if self.sample and not problems:
            table = read(self.data)
            groups = (table.year, table.place, table.sample_id)
            folds = make_folds(
                *groups, self.split, seed=self.seed, assigned=table.assigned, chosen=self.folds, group=table.group
            )
            variants = fold_variants(table, folds, self.style, framing=self.framing)
            blocks = [block for variant in variants for block in variant]
            count, problems = draw_again(self.cache, self.style, blocks, self.sample, self.seed)
            drawn = f", {plural(count, 'picture')} drawn again"
        for problem in problems:
            print(problem.what)
        if self.repair:
            for line in repair(self.cache, problems):
                print(f"set aside: {line}")
        print(f"{plural(len(problems), 'problem')}{drawn}" + ("; run render_cache.py to rebuild" if problems else ""))
        return 1 if problems and not self.repair else 0


@dataclass(frozen=True)
class Gc:
    """List what can be deleted: leftovers of killed runs, slabs that no data set uses, empty namespaces."""

    cache: str = "image_cache"
    """The cache: a folder, or an address such as s3://bucket/prefix."""
    apply: bool = False
    """Delete it; without --apply nothing changes."""
    max_size: float | None = None
    """Maximum size in GB; the oldest data sets are dropped until the others fit."""
    min_age: float = 60.0
    """Minimum age in minutes, as a run may be writing younger files; use 0 only while nothing else runs."""

    def run(self) -> int:
        """Print every item and the total size."""
        if self.min_age < 0 or (self.max_size is not None and self.max_size < 0):
            raise InputError(f"--min-age is {self.min_age} and --max-size {self.max_size}; neither may be below 0.")
        cache_at(self.cache)
        known = claims(self.cache)
        items = garbage(self.cache, 60 * self.min_age, None if self.max_size is None else int(self.max_size * 1e9))
        for item in items:
            print(f"{item.bytes:12d}  {item.name}  ({item.why})")
        if self.apply:
            items = items[: sweep(self.cache, items, known)]
        done = "deleted" if self.apply else "could go; --apply deletes them"
        print(f"{plural(len(items), 'item')}, {sum(item.bytes for item in items) / 1e6:.1f} MB {done}")
        return 0


def collect(root: str | Path) -> dict[str, Any]:
    """Counts over all namespaces. `content_digest` covers decoded pictures only and does not depend on their order."""
    storage = cache_at(root)
    images = [slab for store in Store.open_all(root, "images") for slab in store.slabs()]
    vectors = {store.spec.id: (store, store.slabs()) for store in Store.open_all(root, "embeddings")}
    every = images + [slab for _, slabs in vectors.values() for slab in slabs]
    known, everything = entries(root), storage.files("")
    started = slabs_of(storage)
    distinct = len({key.tobytes() for slab in images for key in slab.keys})
    series = sum(entry.keys.size for entry in known)
    runs = past_runs(storage)
    return {
        "series": series,
        "images": distinct,
        "image_bytes": sum(slab.commit.data_bytes for slab in images),
        "bytes_an_image": round(sum(slab.commit.data_bytes for slab in images) / max(distinct, 1), 1),
        "bytes": sum(file.bytes for file in everything),
        "slabs": len(started),
        "committed": len(every),
        "unfinished": len(started) - len(every),
        "quarantined": len({file.name.split("/")[1] for file in everything if file.name.startswith("quarantine/")}),
        "content_digest": content_digest(images),
        "embeddings": {
            spec: {
                "encoder": json.loads(store.spec.content)["encoder"]["name"],
                "rows": sum(slab.commit.rows for slab in slabs),
                "dim": store.spec.shape[0],
            }
            for spec, (store, slabs) in vectors.items()
        },
        "datasets": sorted({entry.name for entry in known}),
        **totals(runs),
    }


def cache_at(root: str | Path) -> Storage:
    """The storage of a cache. Raises InputError if there is none."""
    storage = open_storage(str(root))
    if not any(storage.namespaces(kind) for kind in ("images", "embeddings")):
        raise InputError(f"{root} is not an image cache (it has no pictures). Run `python render_cache.py` first.")
    return storage


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    commands = {"stats": Stats, "show": Show, "fsck": Fsck, "gc": Gc}
    return run_program(
        "python -m cache",
        lambda: int(parse_command(commands, arguments, "cache", __doc__ or "").run()),
        failed=(CacheError, MissingRows),
    )


if __name__ == "__main__":
    sys.exit(main())
