"""One fold, ready to train: standardised numbers and cached vectors of both half seasons, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import xxhash
from numpy.typing import NDArray

from cache.dataset import choose_store, embeddings
from cache.storage import open_storage
from cache.store import MissingRows, Store
from model.seasons import Season, half_seasons
from pipeline.errors import InputError
from pipeline.render import Style
from pipeline.scaling import Scaler
from pipeline.series import fold_ranges, series_blocks
from pipeline.splits import Fold
from pipeline.table import SeasonTable

ControlName = Literal["none", "shuffled", "noise"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """All N samples of a table, scaled by one fold's training rows. `ranges` [V,2]: the y-range of the plots.

    seasons: as measured, then one entry a view.
    """

    table: SeasonTable
    fold: Fold
    scaler: Scaler
    ranges: NDArray[np.float64]
    seasons: tuple[Season, ...]


@dataclass(frozen=True)
class Pictures:
    """Where the cached vectors are, and the command that makes the ones that are missing."""

    root: str | Path
    style: Style
    store: Store
    command: str
    control: ControlName = "none"
    seed: int = 0
    read: dict[bytes, NDArray[np.float16]] = field(default_factory=dict)  # folds with equal y-ranges share one table

    @staticmethod
    def find(root: str | Path, style: Style, table: SeasonTable, encoder: str | None, command: str) -> Pictures:
        """Raises InputError with the command when the cache has no embeddings of this style (and encoder)."""
        store = choose_store(root, style, table, encoder) if open_storage(str(root)).exists() else None
        if store is None:
            wanted = f"embeddings of {encoder}" if encoder else "embeddings"
            raise InputError(f"{root} holds no {wanted} for these plots. Run:\n    {command}")
        return Pictures(root, style, store, command)

    def fingerprint(self) -> str:
        """32 hex digits of xxh3-128 over the namespace and every vector that was read."""
        digest = xxhash.xxh3_128(self.store.spec.id.encode())
        for ranges in sorted(self.read):
            digest.update(ranges)
            digest.update(np.ascontiguousarray(self.read[ranges]).data)
        return digest.hexdigest()

    def vectors(self, table: SeasonTable, ranges: NDArray[np.float64]) -> NDArray[np.float16]:
        """[N,V,2,D] of a table or a view. Raises InputError with the command when a single vector is missing."""
        known = table.name.encode() + ranges.tobytes()
        if known in self.read:
            return self.read[known]
        try:
            return self.read.setdefault(
                known, embeddings(self.store.reader(), series_blocks(table, ranges, self.style))
            )
        except MissingRows as missing:
            raise InputError(
                f"{missing.count} of {missing.wanted} plots are not in {self.root}. Run:\n    {self.command}"
            ) from missing


def controlled(vectors: NDArray[np.float16], fold: Fold, control: ControlName, seed: int = 0) -> NDArray[np.float16]:
    """Vectors [N,V,2,D] that say nothing of their sample: what a model gains by them is not gained by seeing.

    shuffled  those of another sample, all variates and halves of it, from the same part of the fold
    noise     normal, with mean and spread of the training rows in each variate, half and dimension
    """
    if control == "none":
        return vectors
    rng = np.random.default_rng([seed, *fold.name.encode()])
    if control == "noise":
        learnt = vectors[fold.train].astype(np.float32)
        draws = rng.standard_normal(vectors.shape, np.float32)
        noise: NDArray[np.float16] = (learnt.mean(0) + learnt.std(0) * draws).astype(np.float16)
        return noise
    source = np.arange(len(vectors))
    for part in (fold.train, fold.valid, fold.test):
        order = rng.permutation(part)
        source[order] = np.roll(order, 1)  # one ring: nobody keeps its own
    return vectors[source]


def prepare(table: SeasonTable, fold: Fold, pictures: Pictures | None, views: Sequence[SeasonTable] = ()) -> Prepared:
    """Fit scaler and y-ranges on the fold's training rows and gather everything the model reads, views included."""
    scaler = Scaler.fit(table.values, table.observed, fold.train)
    return assemble(table, fold, scaler, fold_ranges(table, fold), pictures, views)


def assemble(
    table: SeasonTable,
    fold: Fold,
    scaler: Scaler,
    ranges: NDArray[np.float64],
    pictures: Pictures | None,
    views: Sequence[SeasonTable] = (),
) -> Prepared:
    """The same with a scaler and y-ranges that were fitted before (a run's own, for new data)."""
    seasons = []
    for one in (table, *views):
        vectors = None
        if pictures is not None:
            vectors = controlled(pictures.vectors(one, ranges), fold, pictures.control, pictures.seed)
        seasons.append(Season(*half_seasons(scaler.apply(one.values), one.observed, vectors)))
    return Prepared(table, fold, scaler, ranges, tuple(seasons))
