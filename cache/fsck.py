"""Check a cache: every file holds what was committed, and its pictures can be drawn again from the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache import shard
from cache.catalog import Entry, entry_files
from cache.fill import wanted_keys
from cache.run_log import Run, run_files
from cache.spec import image_spec
from cache.storage import CacheError, Folder, Storage, open_storage
from cache.store import READ_ROWS, OtherVersion, Reader, Slab, Store, slabs_of
from pipeline.render import draw
from pipeline.series import SeriesBlock
from pipeline.style import Style


@dataclass(frozen=True)
class Problem:
    """A problem with `name`: a file, or a folder that is valid or damaged as a whole (a slab, a namespace)."""

    name: str
    what: str
    repairable: bool = True  # False if nothing is damaged and nothing may be set aside


def check(root: str | Path, full: bool = False, progress: Callable[[str], None] = lambda slab: None) -> list[Problem]:
    """All differences from what was committed.

    Quick: every spec, record, size, key table, array metadata, catalogue and history file. Full: also every row,
    decompressed and compared with its digest. `progress` is called with the name of every slab.
    """
    storage = open_storage(str(root))
    problems = [*_orphans(storage)]
    for kind in ("images", "embeddings"):
        for namespace in storage.namespaces(kind):
            try:
                store = Store.open(root, namespace)
            except CacheError as error:
                problems.append(Problem(namespace, str(error), not isinstance(error, OtherVersion)))
                continue
            visible = {name for name in slabs_of(storage, store.slab_folder) if "/." not in name}
            committed = storage.commits(store.slab_folder)  # listed second, as another run may commit in between
            if isinstance(storage, Folder):  # in a bucket, a killed run leaves slabs without a record
                problems += [Problem(name, f"{name} has no commit record") for name in sorted(visible - {*committed})]
            for folder in committed:
                progress(folder)
                problems += _slab(store, folder, full)
    for file in entry_files(storage):
        problems += _loads(file.name, lambda name: Entry.load(storage, name))
    for file in run_files(storage):
        problems += _loads(file.name, lambda name: Run.load(storage, name))
    return problems


def _orphans(storage: Storage) -> Iterator[Problem]:
    """Namespaces that hold slabs but no spec."""
    for kind in ("images", "embeddings"):
        folders = {
            "/".join(file.name.split("/")[:2])
            for file in storage.files(kind)
            if "/slabs/" in file.name and "/." not in file.name
        }
        for name in sorted(folders - set(storage.namespaces(kind))):
            yield Problem(name, f"{storage.where(name)} has slabs, but its spec.json is gone")


def _loads(name: str, load: Callable[[str], object]) -> Iterator[Problem]:
    try:
        load(name)
    except CacheError as error:
        yield Problem(name, str(error))


def _slab(store: Store, folder: str, full: bool) -> Iterator[Problem]:
    storage = store.storage
    try:
        slab = Slab.read(storage, folder, store.spec)
        metadata = shard.metadata(store.spec.kind, (slab.commit.rows, *store.spec.shape)).encode()
        if storage.read(f"{folder}/zarr.json") != metadata:
            raise CacheError(f"{slab.path}/zarr.json differs from what was written")
        sizes = {file.name: file.bytes for file in storage.files(folder)}
        if sizes.get(f"{folder}/{shard.data_path(store.spec.kind)}") != slab.commit.data_bytes:
            raise CacheError(f"the data file of {slab.path} does not have the committed size")
        reader = Reader(store.spec, [slab])
        if full:
            reader.open_shard(0).check()
        for start in range(0, slab.commit.rows if full else 0, READ_ROWS):
            reader.read_slab(0, np.arange(start, min(start + READ_ROWS, slab.commit.rows)))
    except (CacheError, OSError, ValueError) as error:
        what = str(error) if isinstance(error, CacheError) else f"{storage.where(folder)} is damaged: {error}"
        yield Problem(folder, what, not isinstance(error, OtherVersion))


def draw_again(
    root: str | Path, style: Style, blocks: Sequence[SeriesBlock], share: float, seed: int
) -> tuple[int, list[Problem]]:
    """Draw a random share (0..1) of these series' cached pictures again.

    Returns their number, and the slabs that differ.

    Valid slabs always pass. A slab whose pictures do not belong to its keys is found if one of them is drawn.
    """
    store = Store(root, image_spec(style))
    reader = store.reader()
    keys = wanted_keys(blocks)
    cached = np.flatnonzero(reader.index.find(keys) >= 0)
    count = min(len(cached), max(1, round(share * len(cached))))
    chosen = np.sort(np.random.default_rng(seed).choice(cached, count, replace=False)) if len(cached) else cached
    starts = np.cumsum([0, *(block.keys.size for block in blocks)])
    wrong: dict[int, str] = {}
    for block, start, stop in zip(blocks, starts[:-1], starts[1:], strict=True):
        own = chosen[(chosen >= start) & (chosen < stop)]
        for rows in np.array_split(own, -(-len(own) // READ_ROWS)) if len(own) else []:
            equal = (draw(*block.select(rows - start), style) == reader.read(keys[rows])).all(axis=(1, 2))
            slab_of = reader.index.slab[reader.index.find(keys[rows])]
            wrong |= {int(slab): "a picture differs from the one that its series gives" for slab in slab_of[~equal]}
    return len(chosen), [Problem(reader.slabs[number].folder, what) for number, what in sorted(wrong.items())]


def repair(root: str | Path, problems: Sequence[Problem]) -> list[str]:
    """Set damaged files aside, so that the next run of render_cache.py rebuilds them. Returns a line for each move."""
    storage = open_storage(str(root))
    return [f"{one.name} -> {storage.set_aside(one.name)}" for one in problems if one.repairable]
