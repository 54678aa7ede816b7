"""Gather the cached embeddings of a table's rows, once, as the trainer's tensors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.catalog import entries
from cache.fill import colours
from cache.memmap import scratch_array
from cache.spec import image_spec
from cache.store import Reader, Store
from pipeline.errors import InputError
from pipeline.keys import colour_keys
from pipeline.series import SeriesBlock
from pipeline.style import Style
from pipeline.table import SeasonTable


def choose_store(root: str | Path, style: Style, table: SeasonTable, encoder: str | None) -> Store | None:
    """The embeddings of this style by `encoder`, or by the encoder that render_cache.py last used on this table.

    None if there are none. Raises InputError if there are several encoders and nothing selects one of them.
    """
    images = image_spec(style).id
    stores = [s for s in Store.open_all(root, "embeddings") if json.loads(s.spec.content)["images"] == images]
    if encoder is not None:
        stores = [store for store in stores if encoder_of(store)["name"] == encoder]
    if len(stores) < 2:
        return stores[0] if stores else None
    fingerprint = table.fingerprint()
    used = [e.embeddings for e in entries(root) if (e.fingerprint, e.images) == (fingerprint, images)]
    last = [store for store in stores if used and store.spec.id == used[-1]]
    if last:
        return last[0]
    names = ", ".join(sorted({encoder_of(store)["name"] for store in stores}))
    raise InputError(f"{root} has embeddings of several encoders ({names}); name one with --encoder.")


def encoder_of(store: Store) -> dict[str, Any]:
    """Name, weights digest and preprocessing of the encoder that made an embedding namespace."""
    encoder: dict[str, Any] = json.loads(store.spec.content)["encoder"]
    return encoder


def embeddings(reader: Reader, blocks: Sequence[SeriesBlock]) -> NDArray[np.float16]:
    """The frozen embeddings [W,N,V,D] of every window (W = number of blocks), sample and variate.

    Windows come first, since batches are gathered from one window. The result is one array, mapped from a scratch file
    if it is large. Raises MissingRows, with the number of missing rows, before anything is read.
    """
    keys = np.stack([colour_keys(b.keys.reshape(-1), colours(b.keys.shape).reshape(-1, 3)) for b in blocks])
    return reader.read(keys.reshape(-1), scratch_array).reshape(len(blocks), *blocks[0].keys.shape, -1)
