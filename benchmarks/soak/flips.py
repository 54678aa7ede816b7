"""Flips single bits in every kind of file of a cache. A row that is read must be right, or must not be returned.

Bits are drawn without repetition, an equal share for every kind of file. The byte is restored after each flip.
"""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks.soak.data import block
from cache import shard
from cache.catalog import Entry, entry_files
from cache.fill import EmbeddingWork, ImageWork
from cache.fsck import check
from cache.run_log import Run, run_files
from cache.spec import embedding_spec
from cache.storage import CacheError, open_storage
from cache.store import MissingRows, Store
from cache.workers import Pool
from pipeline.style import Style

STYLE = Style(size=32)
SERIES, DIM = 24, 8  # two slabs of pictures and two of embeddings
SAMPLES = 1500  # in the catalogue entry: zipfile checks only what it reads to the end, in steps of 4 kB
NPY_HEADER = 128  # bytes, of an array with a short shape
Content = dict[Any, Any]  # what was read, by name or key
Result = TypeVar("Result")


@dataclass(frozen=True)
class Target:
    """The bytes `start` to `stop` of one file, all of one kind."""

    kind: str
    path: Path
    start: int
    stop: int


def measure(folder: Path, flips: int, seed: int) -> dict[str, Any]:
    """Counts for each kind of file: flips, errors (or misses), harmless, silent, and what `fsck --full` found."""
    root = folder / "cache"
    make(root)
    rng, places = np.random.default_rng(seed), targets(root)
    kinds = sorted({target.kind for target in places})
    counts: dict[str, Counter[str]] = {kind: Counter(flips=0, errors=0, harmless=0, silent=0) for kind in kinds}
    sound, trouble, problems = read_everything(root, Counter()), Counter[str](), list[str]()
    for number, kind in enumerate(kinds):
        bits = [(target, bit) for target in places if target.kind == kind for bit in _bits(target)]
        share = min((flips + number) // len(kinds), len(bits))
        for chosen in rng.choice(len(bits), share, replace=False).tolist():
            target, bit = bits[chosen]
            for word in _flip(root, target, bit, sound, trouble):
                counts[kind][word] += 1
                if word in ("silent", "unseen"):
                    problems.append(f"{word}: bit {bit} of {target.path.relative_to(root)}")
    if read_everything(root, Counter()) != sound:
        problems.append("the bytes were restored, but the cache has changed")
    total = sum(count["flips"] for count in counts.values())
    return {
        "part": "flips",
        "flips": total,
        "silent": sum(count["silent"] for count in counts.values()),
        "kinds": {kind: dict(count) for kind, count in counts.items()},
        "not_a_cache_error": dict(trouble),
        "problems": problems,
    }


def make(root: Path) -> None:
    """A cache with every kind of file: two slabs of pictures, two of embeddings, a catalogue entry, a run."""
    blocks, spec = [block(SERIES, STYLE)], embedding_spec(STYLE, {"name": "random", "dim": DIM})
    images = ImageWork.of(root, STYLE, blocks, SERIES // 2)
    pool = Pool(1, "sequential")
    drawn = images.run(pool, lambda rows: None)
    vectors = EmbeddingWork.of(root, STYLE, spec, blocks, SERIES // 2)
    rng = np.random.default_rng(0)
    vectors.run(pool, lambda ink, rgb: rng.normal(size=(len(ink), DIM)).astype(np.float16), lambda rows: None)
    names = np.array([f"place{number:04d}" for number in range(SAMPLES)])
    keys = np.resize(blocks[0].keys, (SAMPLES, 1, 1))
    Entry("soak", "0" * 16, images.store.spec.id, vectors.store.spec.id, ("ndvi",), ("season",), names, keys).save(root)
    Run.of({"draw": drawn}, []).save(open_storage(str(root)))


def targets(root: Path) -> list[Target]:
    """Every byte of every file, by kind."""
    places = []
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        size, parts = path.stat().st_size, path.relative_to(root).parts
        if "c" in parts and parts[0] == "images":
            rows = SERIES // 2
            index = size - 16 * rows - shard.CRC_BYTES
            places += [Target("pictures", path, 0, index), Target("shard index", path, index, size)]
        elif parts[0] == "datasets":
            places += _of_entry(path, size)
        else:
            kind = "vectors" if "c" in parts else "history" if parts[0] == "history" else path.name
            places.append(Target(kind, path, 0, size))
    return places


def _of_entry(path: Path, size: int) -> Iterator[Target]:
    """The arrays of an entry, and their headers, which are few bytes and therefore a kind of their own."""
    done = 0
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            begin = part.header_offset + 30 + len(part.filename) + NPY_HEADER
            begin += int.from_bytes(path.read_bytes()[part.header_offset + 28 :][:2], "little")  # its extra field
            yield Target("catalogue headers", path, done, begin)
            done = begin + part.file_size - NPY_HEADER
            yield Target("catalogue", path, begin, done)
    yield Target("catalogue headers", path, done, size)


def read_everything(root: Path, trouble: Counter[str]) -> Content:
    """Everything that can be read: every row by slab and by key, every entry, every run. Errors count as not read.

    `trouble` counts exceptions other than CacheError and MissingRows, for which a user would get a stack trace.
    """
    storage, content = open_storage(str(root)), Content()
    for namespace in [*storage.namespaces("images"), *storage.namespaces("embeddings")]:
        store = _try(trouble, Store.open, root, namespace)
        if store is None:
            continue
        content[namespace] = store.spec
        for folder in storage.commits(store.slab_folder):
            content |= _try(trouble, _rows, store, folder) or {}
        content |= _try(trouble, _by_key, store) or {}
    for one in entry_files(storage):
        entry = _try(trouble, Entry.load, storage, one.name)
        content |= {("entry", one.name): _plain(entry)} if entry else {}
    for one in run_files(storage):
        run = _try(trouble, Run.load, storage, one.name)
        content |= {("run", one.name): repr(run)} if run else {}
    return content


def _flip(root: Path, target: Target, bit: int, sound: Content, trouble: Counter[str]) -> Iterator[str]:
    """Flip a bit, read everything, restore the bit. Yields the counters to raise."""
    handle = os.open(target.path, os.O_RDWR)
    byte, mask = os.pread(handle, 1, bit // 8), 1 << bit % 8
    os.pwrite(handle, bytes([byte[0] ^ mask]), bit // 8)
    try:
        content = read_everything(root, trouble)
        problems = _try(trouble, check, root, True)
    finally:
        os.pwrite(handle, byte, bit // 8)
        os.close(handle)
    yield "flips"
    if any(key not in sound or sound[key] != value for key, value in content.items()):
        yield "silent"
    elif len(content) < len(sound):
        yield "errors"
        if problems == []:  # lost for good, as nothing reports it
            yield "unseen"
    else:
        yield "harmless"
    if problems:
        yield "fsck"


def _rows(store: Store, folder: str) -> Content:
    reader = store.reader()
    number = [slab.folder for slab in reader.slabs].index(folder)
    slab = reader.slabs[number]
    rows = reader.read_slab(number, np.arange(slab.commit.rows))
    return {(folder, key.tobytes()): row.tobytes() for key, row in zip(slab.keys, rows, strict=True)}


def _by_key(store: Store) -> Content:
    """Every row of a namespace in one call, as in training."""
    reader = store.reader()
    keys = np.concatenate([slab.keys for slab in reader.slabs])
    return {(store.namespace, key.tobytes()): row.tobytes() for key, row in zip(keys, reader.read(keys), strict=True)}


def _plain(entry: Entry) -> tuple[Any, ...]:
    names = (entry.name, entry.fingerprint, entry.images, entry.embeddings, entry.variates, entry.windows)
    return (*names, entry.sample_id.tolist(), entry.keys.tobytes(), repr(entry.seconds))


def _bits(target: Target) -> range:
    return range(8 * target.start, 8 * target.stop)


def _try(trouble: Counter[str], action: Callable[..., Result], *arguments: object) -> Result | None:
    try:
        return action(*arguments)
    except (CacheError, MissingRows):
        return None
    except Exception as error:
        trouble[f"{type(error).__name__}: {str(error)[:80]}"] += 1
        return None
