"""One fold, ready to train: standardised numbers and cached vectors of both half seasons, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
from pipeline.windows import Framing


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
    framing: Framing = "halves"
    read: dict[bytes, NDArray[np.float16]] = field(default_factory=dict)  # folds with equal y-ranges share one table

    @staticmethod
    def find(
        root: str | Path,
        style: Style,
        table: SeasonTable,
        encoder: str | None,
        command: str,
        framing: Framing = "halves",
    ) -> Pictures:
        """Raises InputError with the command when the cache has no embeddings of this style (and encoder)."""
        store = choose_store(root, style, table, encoder) if open_storage(str(root)).exists() else None
        if store is None:
            wanted = f"embeddings of {encoder}" if encoder else "embeddings"
            raise InputError(f"{root} holds no {wanted} for these plots. Run:\n    {command}")
        return Pictures(root, style, store, command, framing)

    def fingerprint(self) -> str:
        """32 hex digits of xxh3-128 over the namespace and every vector that was read."""
        digest = xxhash.xxh3_128(self.store.spec.id.encode())
        for ranges in sorted(self.read):
            digest.update(ranges)
            digest.update(np.ascontiguousarray(self.read[ranges]).data)
        return digest.hexdigest()

    def vectors(self, table: SeasonTable, ranges: NDArray[np.float64]) -> NDArray[np.float16]:
        """[N,V,2,D] of a table or a view. Raises InputError with the command when a single vector is missing."""
        known = table.fingerprint().encode() + ranges.tobytes()  # as of another step, its name is the same
        if known in self.read:
            return self.read[known]
        try:
            return self.read.setdefault(
                known, embeddings(self.store.reader(), series_blocks(table, ranges, self.style, self.framing))
            )
        except MissingRows as missing:
            raise InputError(
                f"{missing.count} of {missing.wanted} plots are not in {self.root}. Run:\n    {self.command}"
            ) from missing


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
        vectors = None if pictures is None else pictures.vectors(one, ranges)
        seasons.append(Season(*half_seasons(scaler.apply(one.values), one.observed, vectors, one.cut)))
    return Prepared(table, fold, scaler, ranges, tuple(seasons))
