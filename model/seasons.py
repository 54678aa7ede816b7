"""Both half seasons of every sample as tensors in memory: what the models are trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False)
class HalfSeason:
    """One half of n seasons.

    values     [n,V,W] float32, standardised by the training rows; 0 where not observed
    observed   [n,V,W] bool
    embeddings [n,V,D] float16 of the pictures of this half, or None when no picture is used
    """

    values: Tensor
    observed: Tensor
    embeddings: Tensor | None

    def rows(self, index: Tensor) -> HalfSeason:
        """The samples of `index` [b]."""
        pictures = (
            None if self.embeddings is None else self.embeddings.index_select(0, index)
        )  # [index]: 6 times slower
        return HalfSeason(self.values[index], self.observed[index], pictures)

    def __len__(self) -> int:
        return len(self.values)


def half_seasons(
    values: NDArray[np.float64], observed: NDArray[np.bool_], embeddings: NDArray[np.float16] | None
) -> tuple[HalfSeason, HalfSeason]:
    """Cut standardised seasons [N,V,T] into first and second half, both W = T - T//2 steps long.

    Where T is odd the first half is one step shorter; it gets one unobserved step at its end, so that one set of
    weights reads both. embeddings [N,V,2,D], index 0 the first half.
    """
    cut = values.shape[2] // 2
    length = values.shape[2] - cut
    filled = np.where(observed, values, 0).astype(np.float32)
    halves = []
    for number, part in enumerate((slice(0, cut), slice(cut, None))):
        pad = ((0, 0), (0, 0), (0, length - filled[:, :, part].shape[2]))
        pictures = None if embeddings is None else torch.from_numpy(embeddings[:, :, number])
        halves.append(
            HalfSeason(
                torch.from_numpy(np.pad(filled[:, :, part], pad)),
                torch.from_numpy(np.pad(observed[:, :, part], pad)),
                pictures,
            )
        )
    return halves[0], halves[1]
