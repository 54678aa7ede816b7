"""Features of a season for learners that need no gradient: numbers, pictures, stage-1 tokens, random convolutions.

Means, standard deviations, picture components and convolution thresholds come from training rows only. A missing step
is filled with its mean plus the deviations of the steps beside it. A step that no training row observes is missing in
all rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.gap_filling import fill_gaps
from model.learners.convolutions import Convolutions
from model.season_tensors import SeasonTensors

BlockName = Literal["numbers", "pictures", "tokens", "convolutions", "numbers-again"]
NUMBERS = ("numbers", "numbers-again")
CLIP = 5.0  # standardised values are clipped to this range
PICTURE_COMPONENTS = 64  # per picture
TREE_COMPONENTS = 8  # per season, over all its pictures, for trees
MOST_SAMPLES = 2000  # training samples whose pictures determine means, spreads and components
CHUNK_ROWS = 4096  # rows whose standardised columns are in memory at a time
BLOCK_SAMPLES = 512  # samples whose pictures are in memory at a time
FLOOR = 0.1  # of the median spread, so that channels that hardly vary are not amplified (docs/log.md)


@dataclass(frozen=True, eq=False)
class Features:
    """Features of n samples, the input of the learners.

    blocks   by name [n,d] float32, scaled so that the mean squared length of training rows is about 1
    columns  [n,C] float64 for trees: numbers, drivers, static numbers, picture components; none is NaN
    """

    blocks: Mapping[str, Tensor]
    columns: NDArray[np.float64]

    def rows(self, index: NDArray[np.int64]) -> Features:
        """The samples of `index` [m]."""
        at = torch.from_numpy(index)
        return Features({name: block[at] for name, block in self.blocks.items()}, self.columns[index])

    def __len__(self) -> int:
        return len(self.columns)


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """Computes `Features` of seasons. `fit` reads training rows; `state` and `from_state` save and load it."""

    names: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    convolutions: Convolutions | None = None

    @staticmethod
    def fit(
        season: SeasonTensors,
        rows: NDArray[np.int64],
        names: Sequence[str],
        tokens: Tensor | None = None,
        seed: int = 0,
    ) -> FeatureMap:
        """Fit on the training rows [n] of a season of N samples. tokens [N,V,F]: stage-1 features, if in use.

        Blocks that the season lacks are left out.
        """
        at = torch.from_numpy(rows)
        present = tuple(name for name in names if _has(season, name, tokens))
        tensors: dict[str, Tensor] = {}
        convolutions = Convolutions.fit(_series(season), at, seed) if "convolutions" in present else None
        for name in present:
            if name == "pictures":
                drawn = torch.Generator().manual_seed(seed)
                some = at[torch.randperm(len(at), generator=drawn)[:MOST_SAMPLES].sort().values]
                tensors |= _fit_pictures(_pictures(season, some))
            else:
                plain = _plain(name, season, tokens, convolutions)
                mean, scale = _spread(plain, at)
                tensors |= {f"{name}.mean": mean, f"{name}.scale": scale}
                if name in NUMBERS:
                    tensors[f"{name}.seen"] = ~plain[at].isnan().all(0)
        return FeatureMap(present, tensors, convolutions)

    def apply(self, season: SeasonTensors, tokens: Tensor | None = None) -> Features:
        """The features of all samples of a season; tokens as in `fit`."""
        blocks: dict[str, Tensor] = {}
        columns = [np.empty((len(season), 0))]
        for name in self.names:
            if name == "pictures":
                parts = torch.split(torch.arange(len(season)), BLOCK_SAMPLES)
                blocks[name] = torch.cat([_scores(_pictures(season, part), self.tensors) for part in parts])
                columns.append((blocks[name] @ self.tensors["pictures.trees"]).double().numpy())
                continue
            plain = _plain(name, season, tokens, self.convolutions)
            if (seen := self.tensors.get(f"{name}.seen")) is not None:  # maps of earlier versions have none
                plain = torch.where(seen, plain, torch.nan)
            mean, scale = self.tensors[f"{name}.mean"], self.tensors[f"{name}.scale"]
            if name not in NUMBERS:
                blocks[name] = _standardised(plain, mean, scale)
                continue
            z = _without_gaps(_clipped(plain, mean, scale), season)
            if name == "numbers":
                columns.append(torch.where(plain.isnan(), mean + scale * z, plain).numpy())
            blocks[name] = _of_length_one(z, scale)
        return Features(blocks, np.concatenate(columns, 1))

    def state(self) -> dict[str, Tensor]:
        """For safetensors."""
        own = {} if self.convolutions is None else self.convolutions.state()
        return {**self.tensors, **{f"kernels.{name}": tensor for name, tensor in own.items()}}

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {"blocks": list(self.names)}

    @staticmethod
    def from_state(record: Mapping[str, Any], state: Mapping[str, Tensor]) -> FeatureMap:
        """Inverse of `state` and `record`."""
        kernels = {n.removeprefix("kernels."): t for n, t in state.items() if n.startswith("kernels.")}
        tensors = {name: tensor for name, tensor in state.items() if not name.startswith("kernels.")}
        return FeatureMap(tuple(record["blocks"]), tensors, Convolutions.from_state(kernels) if kernels else None)


def _has(season: SeasonTensors, name: str, tokens: Tensor | None) -> bool:
    if name == "pictures":
        return season.first.embeddings is not None
    return name != "tokens" or tokens is not None


def _plain(name: str, season: SeasonTensors, tokens: Tensor | None, convolutions: Convolutions | None) -> Tensor:
    """The raw columns of a block other than pictures: [N,C] float64; NaN if not observed.

    `numbers-again` is a control of the verdict: the numbers a second time, with kernels of their own.
    """
    if name == "tokens":
        assert tokens is not None
        return tokens.flatten(1).double()
    if name == "convolutions":
        assert convolutions is not None
        return convolutions.apply(_series(season))
    return _numbers(season)


def _fit_pictures(vectors: Tensor) -> dict[str, Tensor]:
    """Means, spreads and components of training embeddings [n,2,V,D]."""
    mean, scale = _spread_of_vectors(vectors)
    basis = _components(((vectors - mean) / scale).clamp(-CLIP, CLIP).flatten(0, 2), PICTURE_COMPONENTS)
    tensors = {"pictures.mean": mean, "pictures.scale": scale, "pictures.basis": basis}
    return {**tensors, "pictures.trees": _components(_scores(vectors, tensors), TREE_COMPONENTS)}


def _series(season: SeasonTensors) -> tuple[Tensor, Tensor]:
    """Standardised values and masks of the whole season: [N,V,T] float64 and bool."""
    if season.cut is not None:
        return season.second.values.double(), season.second.observed
    values = torch.cat([season.first.values, season.second.values], -1)
    return values.double(), torch.cat([season.first.observed, season.second.observed], -1)


def _numbers(season: SeasonTensors) -> Tensor:
    """[N, V*T + R*T + S] float64 of series, drivers and static numbers; NaN at steps that are not observed."""
    values, observed = _series(season)
    parts = [torch.where(observed, values, torch.nan).flatten(1)]
    if season.second.drivers is not None:
        drivers = season.second.drivers.double()
        steps = drivers.shape[-1] // 2
        parts.append(torch.where(drivers[..., steps:] > 0, drivers[..., :steps], torch.nan).flatten(1))
    if season.static is not None:
        parts.append(season.static.double().cpu())
    return torch.cat([part.cpu() for part in parts], 1)


def _without_gaps(z: Tensor, season: SeasonTensors) -> Tensor:
    """The numbers of a season [N,C], standardised, NaN if missing: with the gaps of series and drivers filled."""
    drivers, steps = season.second.drivers, sum(window.values.shape[-1] for window in season.windows)
    kinds = [season.first.values.shape[1]] + ([] if drivers is None else [drivers.shape[1]])
    *series, static = torch.split(z, [*(rows * steps for rows in kinds), z.shape[1] - sum(kinds) * steps], dim=1)
    apart = [part.view(len(part), rows, steps) for part, rows in zip(series, kinds, strict=True)]
    return torch.cat([*(fill_gaps(part, ~part.isnan()).flatten(1) for part in apart), static], 1)


def _pictures(season: SeasonTensors, at: Tensor) -> Tensor:
    """Embeddings [n,2,V,D] float32 of some samples; zero if a window has no observation of a variate."""
    halves = []
    for window in (season.first, season.second):
        assert window.embeddings is not None
        vectors = window.embeddings[at].float().cpu()
        halves.append(torch.where(window.present[at].cpu()[..., None], vectors, 0))
    return torch.stack(halves, 1)


def _scores(vectors: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
    """[n,2,V,D] -> [n,2*V*r] float32: components of each picture, divided by the root of the number of channels."""
    mean, scale, basis = (tensors[f"pictures.{name}"] for name in ("mean", "scale", "basis"))
    z = ((vectors - mean) / scale).clamp(-CLIP, CLIP)
    z = torch.where(vectors.any(-1, keepdim=True), z, 0)
    scores: Tensor = (z @ basis).flatten(1) / math.sqrt(mean.numel())
    return scores


def _clipped(plain: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Standardised columns [n,C]; constant ones are 0."""
    return ((plain - mean) / torch.where(scale > 0, scale, torch.inf)).clamp(-CLIP, CLIP)


def _of_length_one(z: Tensor, scale: Tensor) -> Tensor:
    """The columns of z [n,C] that vary, so that the mean squared length of training rows is about 1: float32."""
    varying = z[:, scale > 0]
    return (varying / math.sqrt(max(1, varying.shape[1]))).float()


def _standardised(plain: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """A block without gaps [n,C], some rows at a time: thousands of columns in float64 take most of the memory."""
    block = torch.empty(len(plain), int((scale > 0).sum()))
    for start in range(0, len(plain), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        block[rows] = _of_length_one(_clipped(plain[rows], mean, scale), scale)
    return block


def _spread(values: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [C], [C] of each column of values [N,C] over `rows`; a constant one has scale 0."""
    count, total, largest, squares = torch.zeros(4, values.shape[1], dtype=torch.float64)
    parts = torch.split(rows, CHUNK_ROWS)
    for part in parts:
        chunk = values[part]
        count += (~chunk.isnan()).sum(0)
        total += chunk.nan_to_num_(0.0).sum(0)
        largest = torch.maximum(largest, chunk.abs_().amax(0))
    mean = total / count.clamp(min=1)
    for part in parts:
        squares += (values[part] - mean).nan_to_num_(0.0).square_().sum(0)
    scale = (squares / count.clamp(min=1)).sqrt()
    return mean, torch.where(scale > 1e-9 * largest.clamp(max=1), scale, 0)


def _spread_of_vectors(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and floored standard deviation over samples [n,2,V,D] -> [2,V,D] each."""
    mean, scale = vectors.mean(0), vectors.std(0, unbiased=False)
    floor = FLOOR * scale.median(-1, keepdim=True).values
    return mean, torch.maximum(scale, floor).clamp(min=1e-4)


def _components(rows: Tensor, count: int) -> Tensor:
    """The leading principal directions of rows [n,D] -> [D,count], with fixed signs."""
    rows = rows.double()
    _, vectors = torch.linalg.eigh(rows.T @ rows)
    leading = vectors.flip(1)[:, : min(count, *rows.shape)]
    at = leading.abs().argmax(0, keepdim=True)
    signed: Tensor = leading * leading.gather(0, at).sign()
    return signed.float().contiguous()
