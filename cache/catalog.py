"""Which data set uses which pictures: the (sample, variate, window) -> key map, kept beside the slabs.

One file per data set, style and y-range, so that equal series share one picture and `show` can still name every one.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from cache.index import Keys
from cache.store import CacheError, write_atomically
from pipeline.series import SeriesBlock
from pipeline.table import SeasonTable


@dataclass(frozen=True, eq=False)
class Entry:
    """One data set under one style and y-range. keys [N,V,W]; `embeddings` is the last namespace made for it."""

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
        seconds: dict[str, float],
    ) -> Entry:
        """The entry of a table whose pictures (and vectors, unless `embeddings` is empty) are in the cache."""
        keys = np.stack([block.keys for block in blocks], axis=-1)
        windows = tuple(block.window.name for block in blocks)
        names = table.variate_names
        return Entry(
            table.name, table.fingerprint(), images, embeddings, names, windows, table.sample_id, keys, seconds
        )

    def save(self, root: Path) -> Path:
        """Write the entry; an entry of the same data, style and y-range is replaced."""
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
        digest = xxhash.xxh3_64_hexdigest(raw.tobytes())
        path = root / "datasets" / f"{self.fingerprint}-{self.images}-{digest}.npz"
        write_atomically(path, buffer.getvalue())
        return path

    @staticmethod
    def load(path: Path) -> Entry:
        """Inverse of `save`. Raises CacheError when the file is damaged."""
        try:
            with np.load(path, allow_pickle=False) as file:
                meta, sample_id, raw = json.loads(str(file["meta"])), file["sample_id"], file["keys"]
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise CacheError(f"{path} cannot be read ({error}); delete it and run render_cache.py again.") from error
        keys = np.ascontiguousarray(raw).view("V16")[..., 0]
        for name in ("variates", "windows"):
            meta[name] = tuple(meta[name])
        return Entry(sample_id=sample_id, keys=keys, **meta)


def entries(root: Path) -> list[Entry]:
    """Every entry, the oldest first."""
    paths = sorted((root / "datasets").glob("[!.]*.npz"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    return [Entry.load(path) for path in paths]
