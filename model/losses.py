"""Losses of stage 1: completion error over observed steps, and alignment of pictures and numbers."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from model.config import AlignmentName
from model.training.distributed import ALONE, Processes

LOWEST_LOG_TEMPERATURE = math.log(1 / 100)  # CLIP's bound on the logit scale: Radford et al. 2021, section 2.5
SAMPLE_SHARE = 0.7  # of the hierarchical alignment; the rest is the alignment within samples
MOST_COMPARED = 512  # series per batch
NEAR_EQUAL = 0.1  # RMS difference of two series, in training spreads, below which their pictures look the same


def completion_loss(pred: Tensor, true: Tensor, observed: Tensor, processes: Processes = ALONE) -> Tensor:
    """Mean squared error over observed steps only: pred and true [B,V,H], observed [B,V,H] bool -> scalar.

    Values under the mask, NaN included, change neither loss nor gradient. If no step is observed, loss and gradient are
    zero. With several processes each returns its share, and the shares add up to the mean over all samples.
    """
    error = torch.where(observed, pred - torch.where(observed, true, 0), 0)
    return error.square().sum() / processes.sum(observed.sum()).clamp(min=1)


def info_nce(
    vision: Tensor, language: Tensor, variate_mask: Tensor, log_temperature: Tensor, processes: Processes = ALONE
) -> Tensor:
    """Two-way InfoNCE on cosine similarity, the two directions summed (TimesCLIP; van den Oord et al. 2018).

    vision, language [B,V,E], variate_mask [B,V] True if the variate was observed, log_temperature scalar. The loss is
    flat over the M present (sample, variate) pairs: each picture must find its own text token among all M, and each
    token its picture, so untrained tokens cost about 2 ln M. With fewer than two pairs the loss is zero.

    With several processes each compares its own pairs with those of all (gathered with gradients) and returns its share
    of the mean over all M. A process computes m x M similarities instead of M x M.
    """
    seen, read = (functional.normalize(side[variate_mask], dim=-1) for side in (vision, language))
    scale = torch.exp(-log_temperature.clamp(min=LOWEST_LOG_TEMPERATURE))
    if processes.size == 1:
        logits = scale * seen @ read.T
        if len(logits) == 0:  # the mean of no pairs would be NaN; this zero keeps the graph
            return logits.sum()
        return (logits.logsumexp(1) + logits.logsumexp(0) - 2 * logits.diagonal()).mean()
    all_seen, first = processes.gather_rows(seen)
    all_read, _ = processes.gather_rows(read)
    own = first + torch.arange(len(seen), device=seen.device)
    vision_to_text = functional.cross_entropy(scale * seen @ all_read.T, own, reduction="sum")
    return (vision_to_text + functional.cross_entropy(scale * read @ all_seen.T, own, reduction="sum")) / max(
        len(all_seen), 1
    )


def within_samples(
    vision: Tensor, language: Tensor, variate_mask: Tensor, log_temperature: Tensor, processes: Processes = ALONE
) -> Tensor:
    """Two-way InfoNCE among the variates of each sample: each picture must find its own text, and the reverse.

    Shapes as in `info_nce`. The loss is the mean over all M present pairs. A sample with one variate adds zero. Samples
    are not compared, so several processes exchange M alone.
    """
    seen, read = (functional.normalize(side, dim=-1) for side in (vision, language))
    logits = torch.exp(-log_temperature.clamp(min=LOWEST_LOG_TEMPERATURE)) * seen @ read.transpose(1, 2)
    pairs = variate_mask[:, :, None] & variate_mask[:, None, :]
    logits = torch.where(pairs, logits, torch.finfo(logits.dtype).min)
    own = torch.diagonal(logits, dim1=1, dim2=2)
    lost = logits.logsumexp(2) + logits.logsumexp(1) - 2 * own
    total = torch.where(variate_mask, lost, 0).sum()
    return total / processes.sum(variate_mask.sum()).clamp(min=1)


def across_samples(
    vision: Tensor, language: Tensor, variate_mask: Tensor, log_temperature: Tensor, processes: Processes = ALONE
) -> Tensor:
    """Two-way InfoNCE between samples: each side of a sample is the mean of its present variates' tokens [B,E]."""
    present = variate_mask.any(1, keepdim=True)
    count = variate_mask.sum(1, keepdim=True).clamp(min=1)[..., None]
    means = [torch.where(variate_mask[..., None], side, 0).sum(1, keepdim=True) / count for side in (vision, language)]
    return info_nce(means[0], means[1], present, log_temperature, processes)


def alignment_loss(
    name: AlignmentName,
    vision: Tensor,
    language: Tensor,
    variate_mask: Tensor,
    log_temperature: Tensor,
    *,
    processes: Processes = ALONE,
) -> Tensor:
    """The alignment loss called `name`, shapes as in `info_nce` -> scalar.

    flat          every (sample, variate) pair against all others (the paper)
    sample        samples against each other, by the mean of their variates
    variate       the variates of a sample against each other
    hierarchical  0.7 sample + 0.3 variate
    """
    given = (vision, language, variate_mask, log_temperature, processes)
    if name == "flat":
        return info_nce(*given)
    if name == "sample":
        return across_samples(*given)
    if name == "variate":
        return within_samples(*given)
    if name == "hierarchical":
        return SAMPLE_SHARE * across_samples(*given) + (1 - SAMPLE_SHARE) * within_samples(*given)
    raise ValueError(f"alignment {name} has no loss")


def false_negatives(values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Number of nearly equal pairs in a batch that the flat alignment pushes apart, and number of pairs in all.

    values, observed [B,V,W], standardised. Two series are nearly equal if the RMS of their difference, over steps that
    both observe, is below NEAR_EQUAL. Pairs without a common step never count as nearly equal. Only the first
    MOST_COMPARED series are compared: all of a usual batch. The pairs of a larger batch would take longer than its
    training step.
    """
    present = observed.any(-1)
    x = torch.where(observed, values, 0)[present][:MOST_COMPARED].double()  # [M,W]
    seen = observed[present][:MOST_COMPARED].double()
    common = seen @ seen.T
    square = x.square() @ seen.T
    apart = square + square.T - 2 * x @ x.T
    near = (apart.clamp(min=0) < NEAR_EQUAL**2 * common) & (common > 0)
    return near.sum() - near.diagonal().sum(), torch.tensor(len(x) * (len(x) - 1), device=values.device)
