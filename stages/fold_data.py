"""One fold, ready to train: standardised numbers and cached vectors of what each window shows, in memory."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray

from cache.embeddings import choose_store, embeddings
from cache.spec import embedding_spec
from cache.storage import open_storage
from cache.store import MissingRows, Store
from model.encoders import EncoderSpec
from model.season_tensors import SeasonTensors, seen_through
from pipeline.errors import InputError
from pipeline.render import Style
from pipeline.scaling import Scaler
from pipeline.series import fold_ranges, series_blocks
from pipeline.splits import Fold
from pipeline.table import SeasonTable
from pipeline.windows import Framing, Window, windows


@dataclass(frozen=True, eq=False)
class Scales:
    """What a fold's training rows say of the size of numbers. `ranges` [V,2]: the y-range of the plots."""

    scaler: Scaler
    drivers: Scaler
    static: Scaler
    ranges: NDArray[np.float64]

    @staticmethod
    def fit(table: SeasonTable, fold: Fold) -> Scales:
        """From the training rows of the fold."""
        return Scales(
            Scaler.fit(table.values, table.observed, fold.train),
            Scaler.fit(table.drivers, table.drivers_observed, fold.train),
            Scaler.fit(table.static[:, :, None], ~np.isnan(table.static[:, :, None]), fold.train),
            fold_ranges(table, fold),
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        scalers = {name: getattr(self, name).to_dict() for name in ("scaler", "drivers", "static")}
        return {**scalers, "ranges": self.ranges.tolist()}

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> Scales:
        """Inverse of `to_dict`; other keys are left alone."""
        scaler, drivers, static = (Scaler.from_dict(record[name]) for name in ("scaler", "drivers", "static"))
        return Scales(scaler, drivers, static, np.array(record["ranges"]))


ControlName = Literal["none", "shuffled", "noise"]


class Reading(NamedTuple):
    """Seasons number `number` of those learnt from: known after `step` steps (None: all), then `completed` or open."""

    number: int
    step: int | None
    completed: bool


@dataclass(frozen=True, eq=False)
class FoldData:
    """All N samples of a table, scaled by one fold's training rows.

    seasons  as measured, then one entry a view
    so_far   as they were known after `steps`, one entry a step
    """

    table: SeasonTable
    fold: Fold
    scales: Scales
    framing: Framing
    seasons: tuple[SeasonTensors, ...]
    so_far: tuple[SeasonTensors, ...] = ()
    steps: tuple[int, ...] = ()

    def to_complete(self) -> list[SeasonTensors]:
        """What stage 1 learns from: a season that is known so far is completed to what was measured later."""
        return [*self.seasons, *(replace(one, second=self.seasons[0].second) for one in self.so_far)]

    def to_forecast(self) -> list[SeasonTensors]:
        """What stages 2 and 3 learn from."""
        return [*self.seasons, *self.so_far]

    def readings(self, completed: bool = False) -> tuple[Reading, ...]:
        """How held-out rows are read: as measured, as known after each step, and completed from each step on if so.

        The completed seasons are taken to follow those of `to_forecast`.
        """
        numbers = itertools.count(len(self.seasons))
        so_far = [Reading(next(numbers), step, False) for step in self.steps]
        return (
            Reading(0, None, False),
            *so_far,
            *(Reading(next(numbers), step, True) for step in self.steps if completed),
        )

    def position(self, reading: Reading) -> int:
        """The place of a reading's season among the whole one and those so far, completed or not."""
        return 0 if reading.step is None else 1 + self.steps.index(reading.step)

    def as_read(self, reading: Reading) -> SeasonTensors:
        """The season of a reading as it was measured: nothing is completed."""
        return self.seasons[0] if reading.step is None else self.so_far[self.steps.index(reading.step)]


@dataclass(frozen=True)
class Pictures:
    """Where the cached vectors are, and the command that makes the ones that are missing."""

    root: str | Path
    style: Style
    store: Store
    command: str
    framing: Framing = "halves"
    encoder: EncoderSpec | None = None  # where its weights were named
    control: ControlName = "none"
    seed: int = 0
    read: dict[bytes, NDArray[np.float16]] = field(default_factory=dict)  # folds with equal y-ranges share one table

    @staticmethod
    def find(
        root: str | Path,
        style: Style,
        table: SeasonTable,
        encoder: str | EncoderSpec | None,
        command: str,
        framing: Framing = "halves",
    ) -> Pictures:
        """Raises InputError with the command when the cache has no embeddings of this style (and encoder).

        encoder: the name that the cache knows it by, or what its weights on this machine say it is.
        """
        given = encoder if isinstance(encoder, EncoderSpec) else None
        name = encoder.name if isinstance(encoder, EncoderSpec) else encoder
        store = None
        if given is not None:
            namespace = Store(root, embedding_spec(style, given.to_dict()))
            store = namespace if namespace.exists() else None
        elif open_storage(str(root)).exists():
            store = choose_store(root, style, table, name)
        if store is None:
            wanted = f"embeddings of {name}" if name else "embeddings"
            raise InputError(f"{root} holds no {wanted} for these plots. Run:\n    {command}")
        return Pictures(root, style, store, command, framing, given)

    def fingerprint(self) -> str:
        """32 hex digits of xxh3-128 over the namespace and every vector that was read."""
        digest = xxhash.xxh3_128(self.store.spec.id.encode())
        for ranges in sorted(self.read):
            digest.update(ranges)
            digest.update(np.ascontiguousarray(self.read[ranges]).data)
        return digest.hexdigest()

    def vectors(self, table: SeasonTable, ranges: NDArray[np.float64]) -> NDArray[np.float16]:
        """[2,N,V,D] of a table or a view. Raises InputError with the command when a single vector is missing."""
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


def controlled(vectors: NDArray[np.float16], fold: Fold, control: ControlName, seed: int = 0) -> NDArray[np.float16]:
    """Vectors [2,N,V,D] that say nothing of their sample: what a model gains by them is not gained by seeing.

    shuffled  those of another sample, all variates and halves of it, from the same part of the fold
    noise     normal, with mean and spread of the training rows in each variate, half and dimension
    """
    if control == "none":
        return vectors
    rng = np.random.default_rng([seed, *fold.name.encode()])
    if control == "noise":
        learnt = vectors[:, fold.train].astype(np.float32)
        draws = rng.standard_normal(vectors.shape, np.float32)
        noise: NDArray[np.float16] = (learnt.mean(1, keepdims=True) + learnt.std(1, keepdims=True) * draws).astype(
            np.float16
        )
        return noise
    source = np.arange(vectors.shape[1])
    for part in (fold.train, fold.valid, fold.test):
        order = rng.permutation(part)
        source[order] = np.roll(order, 1)  # one ring: nobody keeps its own
    return vectors[:, source]


def prepare(
    table: SeasonTable,
    fold: Fold,
    framing: Framing,
    pictures: Pictures | None,
    views: Sequence[SeasonTable] = (),
    steps: Sequence[int] = (),
) -> FoldData:
    """Fit the scales on the fold's training rows and gather all that is read, views and seasons so far included."""
    return assemble(table, fold, Scales.fit(table, fold), framing, pictures, views, steps)


def assemble(
    table: SeasonTable,
    fold: Fold,
    scales: Scales,
    framing: Framing,
    pictures: Pictures | None,
    views: Sequence[SeasonTable] = (),
    steps: Sequence[int] = (),
) -> FoldData:
    """The same with scales that were fitted before (a run's own, for new data)."""

    def season(one: SeasonTable) -> SeasonTensors:
        vectors = None
        if pictures is not None:
            vectors = controlled(pictures.vectors(one, scales.ranges), fold, pictures.control, pictures.seed)
        return season_of(one, scales, framing, vectors)

    seasons = tuple(season(one) for one in (table, *views))
    so_far = tuple(season(table.as_of(step)) for step in steps)
    return FoldData(table, fold, scales, framing, seasons, so_far, tuple(steps))


def season_of(
    table: SeasonTable, scales: Scales, framing: Framing, vectors: NDArray[np.float16] | None
) -> SeasonTensors:
    """Every sample of the table through both windows of the framing; vectors [2,N,V,D] of their pictures."""
    values = scales.scaler.apply(table.values)
    first, second = (
        seen_through(
            values,
            table.observed,
            (window.start, window.stop, window.until),
            None if vectors is None else vectors[number],
            drivers_until(table, scales, window),
        )
        for number, window in enumerate(windows(table.steps, table.cut, framing))
    )
    return SeasonTensors(first, second, table.cut if framing == "season" else None, static_of(table, scales))


def drivers_until(table: SeasonTable, scales: Scales, window: Window) -> NDArray[np.float32] | None:
    """[N,R,2T] standardised drivers beside their masks: known ones whole, others as far as the window is seen."""
    if not len(table.driver_names):
        return None
    seen = table.drivers_known[:, None] | (np.arange(table.steps) < window.until)
    mask = table.drivers_observed & seen
    numbers = np.where(mask, scales.drivers.apply(table.drivers), 0)
    return np.concatenate([numbers, mask], -1).astype(np.float32)


def static_of(table: SeasonTable, scales: Scales) -> torch.Tensor | None:
    """[N,S] standardised static numbers; the training mean where one is unknown."""
    if not len(table.static_names):
        return None
    standardised = scales.static.apply(table.static[:, :, None])[:, :, 0]
    return torch.from_numpy(np.where(np.isnan(standardised), 0, standardised).astype(np.float32))
