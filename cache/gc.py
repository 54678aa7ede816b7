"""What of a cache can go: leftovers of killed runs, slabs that no data set refers to, namespaces without slabs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from cache.catalog import Entry, entry_files
from cache.fill import colours
from cache.index import KeyIndex, Keys
from cache.storage import RECORD, Found, Storage, open_storage
from cache.store import Store, slab_of
from pipeline.keys import colour_keys


@dataclass(frozen=True)
class Garbage:
    """A file or folder that can go, its size, and why."""

    name: str
    bytes: int
    why: str


def garbage(root: str | Path, min_age: float, max_bytes: int | None = None) -> list[Garbage]:
    """What can go, none of it younger than `min_age` seconds: another run may be at work on it.

    With `max_bytes`, the oldest data sets (of that age, too) are forgotten until what the others need fits. Raises
    CacheError when a catalogue entry cannot be read: what is referred to is not known then, and nothing may go.
    """
    storage = open_storage(str(root))
    latest = time.time() - min_age
    everything = storage.files("")
    found = [one for one in everything if one.modified < latest]
    entries = [(one, Entry.load(storage, one.name)) for one in entry_files(storage)]
    stores = [store for kind in ("images", "embeddings") for store in Store.open_all(root, kind)]
    items = [*_leftovers(found, everything)]
    kept = [entry for _, entry in entries]
    needed = _needed(stores, kept)
    if max_bytes is not None:
        total = sum(one.bytes for one in everything)
        old = [one for one, _ in entries if one.modified < latest]
        while old and _size(storage, needed) > max_bytes:
            oldest, old, kept = old[0], old[1:], kept[1:]
            items.append(Garbage(oldest.name, oldest.bytes, f"oldest data set; the cache has {total} bytes"))
            needed = _needed(stores, kept)
    for store in stores:
        committed = set(storage.commits(store.slab_folder))
        for folder in sorted(committed - needed):
            mine = [one for one in found if one.name.startswith(f"{folder}/")]
            if any(one.name.endswith(RECORD) for one in mine):
                items.append(Garbage(folder, sum(one.bytes for one in mine), "no data set refers to it"))
        gone = committed & {item.name for item in items}
        spec = [one for one in found if one.name == f"{store.namespace}/spec.json"]
        if spec and gone == committed:
            items.append(Garbage(spec[0].name, spec[0].bytes, "a namespace without slabs"))
    return items


def claims(root: str | Path) -> set[tuple[str, float]]:
    """Name and time of every catalogue entry."""
    return {(one.name, one.modified) for one in entry_files(open_storage(str(root)))}


def sweep(root: str | Path, items: Sequence[Garbage], known: set[tuple[str, float]] | None = None) -> int:
    """Delete them, returns how many. Readers that have a slab open keep what they have open.

    `known`: the claims before `garbage` looked. When a run has claimed something since, which may be what nobody
    needed, the rest is left to the next gc. A run claims first and looks then what is there; here a thing is taken out
    of sight first, and put back where there is a new claim then: the run has not seen it, or its claim is seen.
    """
    storage, known = open_storage(str(root)), claims(root) if known is None else known
    names = {name for name, _ in known}

    def claimed(name: str = "", modified: float = 0.0) -> bool:
        mine = {(name, modified)} if name in names else set()  # an entry may have been written anew just before
        return not (claims(root) | mine) <= known

    for number, item in enumerate(items):
        if claimed() or not storage.remove(item.name, partial(claimed, item.name)):
            return number
    return len(items)


def _leftovers(found: Sequence[Found], everything: Sequence[Found]) -> Iterator[Garbage]:
    """Temporary files and folders of runs that were killed, and what fsck has set aside.

    Judged by all records: that of a slab may be younger than its other files, and too young to be found.
    """
    sizes: dict[tuple[str, str], int] = {}
    committed = {one.name.removesuffix(f"/{RECORD}") for one in everything if one.name.endswith(RECORD)}
    for one in found:
        parts = one.name.split("/")
        hidden = next((i for i, part in enumerate(parts) if part.startswith(".")), None)
        if hidden is not None:
            name, why = "/".join(parts[: hidden + 1]), "left by a run that was killed"
        elif parts[0] == "quarantine":
            name, why = "/".join(parts[:2]), "set aside by fsck"
        elif parts[2:3] == ["slabs"] and slab_of(one.name) not in committed:
            name, why = one.name, "left by a run that was killed"
        else:
            continue
        sizes[name, why] = sizes.get((name, why), 0) + one.bytes
    for (name, why), size in sizes.items():
        yield Garbage(name, size, why)


def _needed(stores: Sequence[Store], entries: Sequence[Entry]) -> set[str]:
    """The slab folders that hold a picture, or a vector of a picture, that an entry refers to."""
    needed = set()
    for store in stores:
        keys = _keys(store, entries)
        if not len(keys):
            continue
        index = KeyIndex.build([keys])
        needed |= {slab.folder for slab in store.slabs() if (index.find(slab.keys) >= 0).any()}
    return needed


def _keys(store: Store, entries: Sequence[Entry]) -> Keys:
    if store.spec.kind == "images":
        mine = [entry.keys.reshape(-1) for entry in entries if entry.images == store.spec.id]
    else:
        images = json.loads(store.spec.content)["images"]
        mine = [_vector_keys(entry) for entry in entries if entry.images == images]
    return np.concatenate([*mine, np.zeros(0, "V16")])


def _vector_keys(entry: Entry) -> Keys:
    samples, variates, windows = entry.keys.shape
    rgb = np.broadcast_to(colours((samples, variates))[:, :, None], (samples, variates, windows, 3))
    return colour_keys(entry.keys.reshape(-1), np.ascontiguousarray(rgb).reshape(-1, 3))


def _size(storage: Storage, folders: set[str]) -> int:
    return sum(one.bytes for folder in folders for one in storage.files(folder))
