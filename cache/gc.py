"""Find what can be deleted from a cache: leftovers of killed runs, unused slabs, namespaces without slabs."""

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
    """A file or folder that can be deleted, its size, and the reason."""

    name: str
    bytes: int
    why: str


def garbage(root: str | Path, min_age: float, max_bytes: int | None = None) -> list[Garbage]:
    """Items that can be deleted, none younger than `min_age` seconds, as another run may be writing them.

    With `max_bytes`, the oldest data sets (of at least that age) are dropped until the rest fits. Raises CacheError if
    a catalogue entry cannot be read: its slabs are unknown then, so nothing may be deleted.
    """
    storage = open_storage(str(root))
    latest = time.time() - min_age
    everything = storage.files("")
    old_files = [one for one in everything if one.modified < latest]
    entries = [(one, Entry.load(storage, one.name)) for one in entry_files(storage)]
    stores = [store for kind in ("images", "embeddings") for store in Store.open_all(root, kind)]
    items = [*_leftovers(old_files, everything)]
    remaining = [entry for _, entry in entries]
    needed = _needed(stores, remaining)
    if max_bytes is not None:
        total = sum(one.bytes for one in everything)
        old = [one for one, _ in entries if one.modified < latest]
        while old and _size(storage, needed) > max_bytes:
            oldest, old, remaining = old[0], old[1:], remaining[1:]
            items.append(Garbage(oldest.name, oldest.bytes, f"oldest data set; the cache has {total} bytes"))
            needed = _needed(stores, remaining)
    for store in stores:
        committed = set(storage.commits(store.slab_folder))
        for folder in sorted(committed - needed):
            own = [one for one in old_files if one.name.startswith(f"{folder}/")]
            if any(one.name.endswith(RECORD) for one in own):
                items.append(Garbage(folder, sum(one.bytes for one in own), "no data set refers to it"))
        gone = committed & {item.name for item in items}
        spec = [one for one in old_files if one.name == f"{store.namespace}/spec.json"]
        if spec and gone == committed:
            items.append(Garbage(spec[0].name, spec[0].bytes, "a namespace without slabs"))
    return items


def claims(root: str | Path) -> set[tuple[str, float]]:
    """Name and time of every catalogue entry."""
    return {(one.name, one.modified) for one in entry_files(open_storage(str(root)))}


def sweep(root: str | Path, items: Sequence[Garbage], known: set[tuple[str, float]] | None = None) -> int:
    """Delete the items and return how many. Readers keep the slabs that they have open.

    `known`: the claims before `garbage` looked for items. If a run has made a new claim since then, the rest is left to
    the next gc, because the run may use it. Runs write a claim before they read the cache. This hides an item before it
    checks for claims, and restores it if it finds a new one. So either the run does not see the item, or gc sees the
    claim.
    """
    storage, known = open_storage(str(root)), claims(root) if known is None else known
    names = {name for name, _ in known}

    def claimed(name: str = "", modified: float = 0.0) -> bool:
        own = {(name, modified)} if name in names else set()  # the entry may just have been rewritten
        return not (claims(root) | own) <= known

    for number, item in enumerate(items):
        if claimed() or not storage.remove(item.name, partial(claimed, item.name)):
            return number
    return len(items)


def _leftovers(old_files: Sequence[Found], everything: Sequence[Found]) -> Iterator[Garbage]:
    """Temporary files and folders of killed runs, and what fsck has set aside.

    All records count here, old or not: the record of a slab may be younger than its other files, and than `min_age`.
    """
    sizes: dict[tuple[str, str], int] = {}
    committed = {one.name.removesuffix(f"/{RECORD}") for one in everything if one.name.endswith(RECORD)}
    for one in old_files:
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
    """The slab folders with a picture, or the embedding of a picture, that an entry uses."""
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
        own = [entry.keys.reshape(-1) for entry in entries if entry.images == store.spec.id]
    else:
        images = json.loads(store.spec.content)["images"]
        own = [_vector_keys(entry) for entry in entries if entry.images == images]
    return np.concatenate([*own, np.zeros(0, "V16")])


def _vector_keys(entry: Entry) -> Keys:
    samples, variates, windows = entry.keys.shape
    rgb = np.broadcast_to(colours((samples, variates))[:, :, None], (samples, variates, windows, 3))
    return colour_keys(entry.keys.reshape(-1), np.ascontiguousarray(rgb).reshape(-1, 3))


def _size(storage: Storage, folders: set[str]) -> int:
    return sum(one.bytes for folder in folders for one in storage.files(folder))
