"""What stage 1 minimises: completion error over observed steps, and alignment of what is seen and what is read."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from model.training.processes import ALONE, Processes

# CLIP's start (0.07) and its bound on the logit scale (100): Radford et al. 2021, section 2.5.
START_LOG_TEMPERATURE = math.log(0.07)
LOWEST_LOG_TEMPERATURE = math.log(1 / 100)


def completion_loss(pred: Tensor, true: Tensor, observed: Tensor, processes: Processes = ALONE) -> Tensor:
    """Mean squared error over observed steps only: pred and true [B,V,H], observed [B,V,H] bool -> scalar.

    Whatever stands under the mask, NaN included, changes neither loss nor gradient. Nothing observed: zero, with a
    zero gradient. Of several processes each gets its share: the shares add up to the mean over all samples.
    """
    error = torch.where(observed, pred - torch.where(observed, true, 0), 0)
    return error.square().sum() / processes.sum(observed.sum()).clamp(min=1)


def info_nce(
    vision: Tensor, language: Tensor, variate_mask: Tensor, log_temperature: Tensor, processes: Processes = ALONE
) -> Tensor:
    """Two-way InfoNCE on cosine similarity, the two directions summed (TimesCLIP; van den Oord et al. 2018).

    vision, language [B,V,E], variate_mask [B,V] True where the variate was observed, log_temperature scalar. Flat over
    the M present (sample, variate) pairs: each picture must find its own text token among all M, and the other way
    round, so that untrained tokens cost about 2 ln M. Fewer than two pairs leave nothing to tell apart: zero.

    Of several processes each looks for its own pairs among those of all (gathered with gradients) and gets its share of
    the mean over all M: a process computes m x M similarities, not M x M.
    """
    seen, read = (functional.normalize(side[variate_mask], dim=-1) for side in (vision, language))
    scale = torch.exp(-log_temperature.clamp(min=LOWEST_LOG_TEMPERATURE))
    if processes.size == 1:
        logits = scale * seen @ read.T
        if len(logits) == 0:  # the mean over no pair would be NaN; this zero keeps the graph
            return logits.sum()
        return (logits.logsumexp(1) + logits.logsumexp(0) - 2 * logits.diagonal()).mean()
    all_seen, first = processes.gather_rows(seen)
    all_read, _ = processes.gather_rows(read)
    own = first + torch.arange(len(seen), device=seen.device)
    found = functional.cross_entropy(scale * seen @ all_read.T, own, reduction="sum")
    return (found + functional.cross_entropy(scale * read @ all_seen.T, own, reduction="sum")) / max(len(all_seen), 1)
