"""One fold, ready for training: standardised numbers and cached embeddings of each window, in memory."""

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
from model.season_tensors import SeasonTensors, cut_window
from pipeline.errors import InputError
from pipeline.scaling import Scaler
from pipeline.series import fold_ranges, series_blocks
from pipeline.splits import Fold
from pipeline.style import Style
from pipeline.table import SeasonTable
from pipeline.windows import Framing, Window, windows


@dataclass(frozen=True, eq=False)
class Scales:
    """Scales fitted on a fold's training rows. `ranges` [V,2]: the y-range of the plots."""

    scaler: Scaler
    drivers: Scaler
    static: Scaler
    ranges: NDArray[np.float64]

    def unknown(self, table: SeasonTable) -> list[str]:
        """Names of the variates, drivers and static columns that the training rows do not show (`Scaler.known`)."""
        groups = (
            (table.variate_names, self.scaler),
            (table.driver_names, self.drivers),
            (table.static_names, self.static),
        )
        return [str(name) for names, scaler in groups for name in np.array(names)[~scaler.known]]

    @staticmethod
    def fit(table: SeasonTable, fold: Fold) -> Scales:
        """Fit on the training rows of the fold."""
        return Scales(
            scaler=Scaler.fit(table.values, table.observed, fold.train),
            drivers=Scaler.fit(table.drivers, table.drivers_observed, fold.train),
            static=Scaler.fit(table.static[:, :, None], ~np.isnan(table.static[:, :, None]), fold.train),
            ranges=fold_ranges(table, fold),
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        scalers = {name: getattr(self, name).to_dict() for name in ("scaler", "drivers", "static")}
        return {**scalers, "ranges": self.ranges.tolist()}

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> Scales:
        """Inverse of `to_dict`; other keys are ignored."""
        scaler, drivers, static = (Scaler.from_dict(record[name]) for name in ("scaler", "drivers", "static"))
        return Scales(scaler, drivers, static, np.array(record["ranges"]))


ControlName = Literal["none", "shuffled", "noise"]


class Reading(NamedTuple):
    """Season number `number` among those in use: known after `step` steps (None: all), then `completed` or open."""

    number: int
    step: int | None
    completed: bool


@dataclass(frozen=True, eq=False)
class FoldData:
    """All N samples of a table, scaled by one fold's training rows.

    seasons  as measured, then one entry per view
    so_far   as known after each of `steps`, one entry per step
    """

    table: SeasonTable
    fold: Fold
    scales: Scales
    framing: Framing
    seasons: tuple[SeasonTensors, ...]
    so_far: tuple[SeasonTensors, ...] = ()
    steps: tuple[int, ...] = ()

    def to_complete(self) -> list[SeasonTensors]:
        """Training seasons of stage 1. A season known so far is completed to the values measured later."""
        return [*self.seasons, *(replace(one, second=self.seasons[0].second) for one in self.so_far)]

    def to_forecast(self) -> list[SeasonTensors]:
        """Training seasons of stages 2 and 3."""
        return [*self.seasons, *self.so_far]

    def readings(self, completed: bool = False) -> tuple[Reading, ...]:
        """Readings of held-out rows: as measured, as known after each step, and if `completed` also completed.

        The numbers assume that the completed seasons follow those of `to_forecast`.
        """
        numbers = itertools.count(len(self.seasons))
        so_far = [Reading(next(numbers), step, False) for step in self.steps]
        return (
            Reading(0, None, False),
            *so_far,
            *(Reading(next(numbers), step, True) for step in self.steps if completed),
        )

    def position(self, reading: Reading) -> int:
        """Index of a reading's season in (whole season, seasons so far), whether it is completed or not."""
        return 0 if reading.step is None else 1 + self.steps.index(reading.step)

    def as_read(self, reading: Reading) -> SeasonTensors:
        """The season of a reading as measured, without completion."""
        return self.seasons[0] if reading.step is None else self.so_far[self.steps.index(reading.step)]


@dataclass(frozen=True)
class Pictures:
    """Location of the cached embeddings, and the command that computes missing ones."""

    root: str | Path
    style: Style
    store: Store
    command: str
    framing: Framing = "halves"
    encoder: EncoderSpec | None = None  # if it was named by its weights
    control: ControlName = "none"
    seed: int = 0
    read: dict[bytes, NDArray[np.float16]] = field(default_factory=dict)  # folds with equal y-ranges share one array

    @staticmethod
    def find(
        root: str | Path,
        style: Style,
        table: SeasonTable,
        *,
        encoder: str | EncoderSpec | None,
        command: str,
        framing: Framing = "halves",
    ) -> Pictures:
        """Find the embeddings in the cache.

        Raises InputError with the command if it has none of this style and encoder.

        encoder: its name in the cache, or its spec from weights on this machine.
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
        return Pictures(root=root, style=style, store=store, command=command, framing=framing, encoder=given)

    def fingerprint(self) -> str:
        """32 hex digits of xxh3-128 over the namespace and every embedding that was read."""
        digest = xxhash.xxh3_128(self.store.spec.id.encode())
        for ranges in sorted(self.read):
            digest.update(ranges)
            digest.update(np.ascontiguousarray(self.read[ranges]).data)
        return digest.hexdigest()

    def vectors(self, table: SeasonTable, ranges: NDArray[np.float64]) -> NDArray[np.float16]:
        """Embeddings [2,N,V,D] of a table or a view. Raises InputError with the command if any is missing."""
        key = table.fingerprint().encode() + ranges.tobytes()  # tables as of different steps have equal names
        if key in self.read:
            return self.read[key]
        try:
            return self.read.setdefault(
                key, embeddings(self.store.reader(), series_blocks(table, ranges, self.style, self.framing))
            )
        except MissingRows as missing:
            raise InputError(
                f"the embeddings of {missing.count} of {missing.wanted} plots are not in {self.root}. Run:\n"
                f"    {self.command}"
            ) from missing


def controlled(vectors: NDArray[np.float16], fold: Fold, control: ControlName, seed: int = 0) -> NDArray[np.float16]:
    """Embeddings [2,N,V,D] without information on their sample, as a negative control.

    shuffled  those of another sample, for all variates and halves, from the same part of the fold
    noise     normal, with mean and standard deviation of the training rows per variate, half and dimension
    """
    if control == "none":
        return vectors
    rng = np.random.default_rng([seed, *fold.name.encode()])
    if control == "noise":
        train = vectors[:, fold.train].astype(np.float32)
        draws = rng.standard_normal(vectors.shape, np.float32)
        noise: NDArray[np.float16] = (train.mean(1, keepdims=True) + train.std(1, keepdims=True) * draws).astype(
            np.float16
        )
        return noise
    source = np.arange(vectors.shape[1])
    for part in (fold.train, fold.valid, fold.test):
        order = rng.permutation(part)
        source[order] = np.roll(order, 1)  # one cycle, so no sample keeps its own
    return vectors[:, source]


def prepare(
    table: SeasonTable,
    fold: Fold,
    framing: Framing,
    *,
    pictures: Pictures | None,
    views: Sequence[SeasonTable] = (),
    steps: Sequence[int] = (),
) -> FoldData:
    """Fit the scales on the fold's training rows and gather all inputs, including views and seasons so far."""
    return assemble(table, fold, Scales.fit(table, fold), framing=framing, pictures=pictures, views=views, steps=steps)


def assemble(
    table: SeasonTable,
    fold: Fold,
    scales: Scales,
    *,
    framing: Framing,
    pictures: Pictures | None,
    views: Sequence[SeasonTable] = (),
    steps: Sequence[int] = (),
) -> FoldData:
    """The same with scales fitted before: a run's own scales, for new data."""

    def season(one: SeasonTable) -> SeasonTensors:
        vectors = None
        if pictures is not None:
            vectors = controlled(pictures.vectors(one, scales.ranges), fold, pictures.control, pictures.seed)
        return season_of(one, scales, framing, vectors)

    seasons = tuple(season(one) for one in (table, *views))
    so_far = tuple(season(table.as_of(step)) for step in steps)
    return FoldData(
        table=table,
        fold=fold,
        scales=scales,
        framing=framing,
        seasons=seasons,
        so_far=so_far,
        steps=tuple(steps),
    )


def season_of(
    table: SeasonTable, scales: Scales, framing: Framing, vectors: NDArray[np.float16] | None
) -> SeasonTensors:
    """Both windows of every sample of the table. vectors [2,N,V,D]: embeddings of their pictures."""
    values = scales.scaler.apply(table.values)
    first, second = (
        cut_window(
            values,
            table.observed & scales.scaler.known[:, None],
            (window.start, window.stop, window.until),
            None if vectors is None else vectors[number],
            drivers_until(table, scales, window),
        )
        for number, window in enumerate(windows(table.steps, table.cut, framing))
    )
    return SeasonTensors(first, second, table.cut if framing == "season" else None, static_of(table, scales))


def drivers_until(table: SeasonTable, scales: Scales, window: Window) -> NDArray[np.float32] | None:
    """[N,R,2T] standardised drivers followed by their masks: known ones in full, others up to the end of the window."""
    if not len(table.driver_names):
        return None
    visible = table.drivers_known[:, None] | (np.arange(table.steps) < window.until)
    mask = table.drivers_observed & scales.drivers.known[:, None] & visible
    numbers = np.where(mask, scales.drivers.apply(table.drivers), 0)
    return np.concatenate([numbers, mask], -1).astype(np.float32)


def static_of(table: SeasonTable, scales: Scales) -> torch.Tensor | None:
    """[N,S] standardised static numbers; unknown ones are the training mean."""
    if not len(table.static_names):
        return None
    standardised = scales.static.apply(table.static[:, :, None])[:, :, 0]
    known = ~np.isnan(standardised) & scales.static.known
    return torch.from_numpy(np.where(known, standardised, 0).astype(np.float32))
