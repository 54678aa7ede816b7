"""Two norms: of a window by itself, inverted at the output, and of frozen features by training rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

NORM_BLOCK = 256  # samples per block of the feature norm: small enough for the processor's cache


def instance_norm(values: Tensor, observed: Tensor, floor: float) -> tuple[Tensor, Tensor, Tensor]:
    """values, observed [B,V,W] -> z [B,V,W] (zero if not observed), mean [B,V], std [B,V] (at least `floor`).

    Statistics over observed steps only; inverse: z * std + mean. If no step is observed, mean is 0 and std is `floor`.
    (RevIN: Kim et al. 2022.)
    """
    count = observed.sum(-1).clamp(min=1)
    mean = torch.where(observed, values, 0).sum(-1) / count
    centred = torch.where(observed, values - mean[..., None], 0)
    std = (centred.square().sum(-1) / count).sqrt().clamp(min=floor)
    return centred / std[..., None], mean, std


class FeatureNorm(nn.Module):
    """Frozen embeddings [B,V,D], standardised per variate and channel by training rows, then clipped to +-5.

    Some channels hardly vary between line plots. Dividing by their spread made a linear probe diverge (R2 -1.08), so
    the spread has a floor: a tenth of the variate's median channel spread.
    """

    mean: Tensor
    scale: Tensor
    fitted: Tensor

    def __init__(self, variates: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(variates, dim))
        self.register_buffer("scale", torch.ones(variates, dim))
        self.register_buffer("fitted", torch.tensor(False))

    @torch.no_grad()
    def fit(
        self, halves: Sequence[Tensor], present: Sequence[Tensor] | None = None, rows: Tensor | None = None
    ) -> None:
        """Fit mean and spread on training rows: one [n,V,D] per half season, with present [n,V] bool where known.

        `rows` [k]: only these samples. Sums are taken in blocks: within a block of float16 vectors in float32, over
        blocks in float64.
        """
        count, shift = torch.zeros(len(self.mean), 1), None
        total, squares = torch.zeros(2, *self.mean.shape, dtype=torch.float64)
        for block, mask in _blocks(halves, present, rows):
            if shift is None:  # near the mean, so that the difference of squares below loses no digits
                shift = block.masked_fill(~mask, 0).sum(0) / mask.sum(0).clamp(min=1)
            away = block.sub_(shift).masked_fill_(~mask, 0)
            count += mask.sum(0)
            total += away.sum(0)
            squares += away.square_().sum(0)
        shifted = total / count.clamp(min=1)
        mean = shifted if shift is None else shift + shifted
        spread = (squares / count.clamp(min=1) - shifted.square()).clamp(min=0).sqrt()
        known = count[:, 0] > 0
        floor = 0.1 * spread.quantile(0.5, dim=1, keepdim=True, interpolation="lower")  # like Tensor.median
        self.mean[known] = mean[known].to(self.mean)
        self.scale[known] = torch.maximum(spread, floor).clamp(min=1e-4)[known].to(self.scale)
        self.fitted.fill_(True)

    def forward(self, embeddings: Tensor) -> Tensor:
        """[B,V,D], any float type -> [B,V,D] float32 within +-5."""
        if not self.fitted:
            raise RuntimeError("the feature norm is not fitted; call fit_features or load a state dict")
        own = embeddings.to(torch.float32, copy=True)  # then in place, as new memory costs more than the arithmetic
        return own.sub_(self.mean).div_(self.scale).clamp_(-5, 5)


def _blocks(
    halves: Sequence[Tensor], present: Sequence[Tensor] | None, rows: Tensor | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """New blocks of samples [b,V,D] with their masks [b,V,1], one half season after another."""
    for number, half in enumerate(halves):
        chosen = torch.arange(len(half), device=half.device) if rows is None else rows
        for at in torch.split(chosen, NORM_BLOCK):
            block = half.index_select(0, at).to(torch.float32 if half.dtype == torch.float16 else torch.float64).cpu()
            mask = torch.ones(block.shape[:2], dtype=torch.bool) if present is None else present[number][at].cpu()
            yield block, mask[..., None]
