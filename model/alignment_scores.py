"""How well pictures and numbers are aligned: by one yardstick, batches of 56 pairs, whatever the table.

Dimensions: n samples, V variates, E token.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from model.losses import LOWEST_LOG_TEMPERATURE, NEAR_EQUAL

PAIRS = 56  # 8 samples of 7 variates


@torch.inference_mode()
def alignment_scores(vision: Tensor, language: Tensor, present: Tensor, log_temperature: Tensor) -> dict[str, float]:
    """Mean over batches of 56 pairs. vision, language [n,V,E], present [n,V].

    alignment_56  two-way InfoNCE, the two directions summed; 2 ln 56 = 8.05 without any alignment
    retrieval_56  share of pictures whose own numbers are nearest in the batch; 1/56 = 0.018 by chance

    A batch has 56 / V samples (rounded down, at least 1), in an order that a fixed seed shuffles. A last batch that
    is not full is left out, unless it is the only one.
    """
    scale = torch.exp(-log_temperature.clamp(min=LOWEST_LOG_TEMPERATURE))
    losses, found = [], []
    for rows in batches_of_pairs(*present.shape):
        seen, read = (functional.normalize(side[rows][present[rows]], dim=-1) for side in (vision, language))
        logits = scale * seen @ read.T
        if len(logits) == 0:
            continue
        losses.append(logits.logsumexp(1) + logits.logsumexp(0) - 2 * logits.diagonal())
        found.append(logits.argmax(1) == torch.arange(len(logits), device=logits.device))
    if not losses:
        return {}
    return {"alignment_56": float(torch.cat(losses).mean()), "retrieval_56": float(torch.cat(found).float().mean())}


@torch.inference_mode()
def alignment_floor(values: Tensor, observed: Tensor) -> dict[str, float]:
    """What a model would reach that finds every picture except among near-equal series.

    values, observed [n,V,W], standardised. Series whose difference has an RMS below NEAR_EQUAL over common steps are
    near-equal. A model that cannot tell m of them apart has a loss of 2 ln m, and finds each with a chance of 1/m.
    """
    present = observed.any(-1)
    losses, found = [], []
    for rows in batches_of_pairs(*present.shape):
        x = torch.where(observed, values, 0)[rows][present[rows]].double()
        seen = observed[rows][present[rows]].double()
        common = seen @ seen.T
        square = x.square() @ seen.T
        apart = (square + square.T - 2 * x @ x.T).clamp(min=0)
        alike = (apart < NEAR_EQUAL**2 * common) & (common > 0)
        alike |= torch.eye(len(x), dtype=torch.bool, device=alike.device)
        losses.append(2 * alike.sum(1).double().log())
        found.append(1 / alike.sum(1).double())
    if not losses:
        return {}
    return {"alignment_56": float(torch.cat(losses).mean()), "retrieval_56": float(torch.cat(found).mean())}


def batches_of_pairs(samples: int, variates: int) -> list[Tensor]:
    """Positions [b] of the samples of each batch."""
    size = max(1, PAIRS // variates)
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(0))
    batches = list(torch.split(order, size))
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) < size else batches
