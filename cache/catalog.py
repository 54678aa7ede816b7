"""Catalogue of data sets and their pictures: maps (sample, variate, window) to keys, beside the slabs.

One file per data set, style and y-range. Equal series share one picture, and `show` can still name each of them.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from cache.index import Keys
from cache.json_record import parse_record
from cache.storage import CacheError, Found, Storage, open_storage
from pipeline.series import SeriesBlock
from pipeline.table import SeasonTable

FOLDER = "datasets"


@dataclass(frozen=True, eq=False)
class Entry:
    """One data set in one style and y-range. keys [N,V,W]; `embeddings` is the last namespace made for it."""

    name: str
    fingerprint: str
    images: str
    embeddings: str
    variates: tuple[str, ...]
    windows: tuple[str, ...]
    sample_id: NDArray[np.str_]
    keys: Keys
    seconds: dict[str, float] = field(default_factory=dict)

    @staticmethod
    def of(
        table: SeasonTable,
        blocks: Sequence[SeriesBlock],
        images: str,
        embeddings: str,
    ) -> Entry:
        """The entry of a table; `images` and `embeddings` (may be empty) are its namespaces."""
        keys = np.stack([block.keys for block in blocks], axis=-1)
        windows = tuple(block.window.name for block in blocks)
        names = table.variate_names
        return Entry(
            name=table.name,
            fingerprint=table.fingerprint(),
            images=images,
            embeddings=embeddings,
            variates=names,
            windows=windows,
            sample_id=table.sample_id,
            keys=keys,
        )

    def save(self, root: str | Path) -> None:
        """Write the entry; replaces one of the same data, style and y-range."""
        meta: dict[str, Any] = {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "images": self.images,
            "embeddings": self.embeddings,
            "variates": self.variates,
            "windows": self.windows,
            "seconds": self.seconds,
        }
        raw = np.ascontiguousarray(self.keys).view(np.uint8).reshape(*self.keys.shape, 16)
        buffer = io.BytesIO()
        np.savez(buffer, meta=np.array(json.dumps(meta)), sample_id=self.sample_id.astype(np.str_), keys=raw)
        open_storage(str(root)).replace(self.file, buffer.getvalue())

    @property
    def file(self) -> str:
        """File name in the cache, from data, style and keys."""
        digest = xxhash.xxh3_64_hexdigest(np.ascontiguousarray(self.keys).tobytes())
        return f"{FOLDER}/{self.fingerprint}-{self.images}-{digest}.npz"

    @staticmethod
    def load(storage: Storage, name: str) -> Entry:
        """Inverse of `save`. Raises CacheError if the file is damaged."""
        try:
            raw = storage.read(name)
            if raw[-22:-18] != b"PK\5\6":  # zipfile would ignore appended bytes
                raise ValueError("truncated, or longer than it was written")
            data = io.BytesIO(raw)
            archive = zipfile.ZipFile(data)
            if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
                raise ValueError("compressed, but this program does not compress it")
            if archive.testzip():  # numpy stops at the length in an array's header, and so misses a checksum
                raise ValueError("checksum does not match")
            data.seek(0)
            with np.load(data, allow_pickle=False) as file:
                meta, sample_id, packed = parse_record(str(file["meta"])), file["sample_id"], file["keys"]
            if packed.dtype != np.uint8 or packed.ndim != 4 or packed.shape[-1] != 16:
                raise ValueError(f"keys of {packed.dtype} {packed.shape}")
            keys = np.ascontiguousarray(packed).view("V16")[..., 0]
            for key in ("variates", "windows"):
                meta[key] = tuple(meta[key])
            entry = Entry(sample_id=sample_id, keys=keys, **meta)
            if keys.shape != (len(sample_id), len(entry.variates), len(entry.windows)):
                raise ValueError(f"keys of shape {keys.shape}")
            if entry.file != name:
                raise ValueError("content does not match its name")
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            EOFError,
            MemoryError,
            RuntimeError,
            zipfile.BadZipFile,
        ) as error:
            raise CacheError(
                f"{storage.where(name)} cannot be read ({error}); `python -m cache fsck --repair` sets it aside, and "
                "render_cache.py writes it again."
            ) from error
        return entry


def entry_files(storage: Storage) -> list[Found]:
    """The file of every entry, oldest first."""
    files = [one for one in storage.files(FOLDER) if one.name.endswith(".npz") and "/." not in one.name]
    return sorted(files, key=lambda one: (one.modified, one.name))


def entries(root: str | Path) -> list[Entry]:
    """Every entry, oldest first."""
    storage = open_storage(str(root))
    return [Entry.load(storage, one.name) for one in entry_files(storage)]
