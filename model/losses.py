"""What stage 1 minimises: completion error over observed steps, and alignment of what is seen and what is read."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from model.config import AlignmentName
from model.training.distributed import ALONE, Processes

LOWEST_LOG_TEMPERATURE = math.log(1 / 100)  # CLIP's bound on the logit scale: Radford et al. 2021, section 2.5
SAMPLE_SHARE = 0.7  # of the hierarchical alignment; the rest is within samples (plan B of the seed document)
MOST_COMPARED = 512  # series of a batch
NEAR_EQUAL = 0.1  # RMS difference of two series, in training spreads, below which a picture cannot tell them apart


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


def within_samples(
    vision: Tensor, language: Tensor, variate_mask: Tensor, log_temperature: Tensor, processes: Processes = ALONE
) -> Tensor:
    """Two-way InfoNCE among the variates of each sample: which of its own texts belongs to this picture?

    Shapes as in `info_nce`. The mean over all M present pairs; a sample with one variate has nothing to tell apart and
    adds zero. Samples do not meet, so several processes exchange nothing but M.
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
    processes: Processes = ALONE,
) -> Tensor:
    """The alignment of a name, shapes as in `info_nce` -> scalar.

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
    raise ValueError(f"{name} is no alignment that can be minimised")


def false_negatives(values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """How many pairs of a batch the flat alignment tells apart although they are near-equal, and how many in all.

    values, observed [B,V,W], standardised. Two series are near-equal where the RMS of their difference, over steps that
    both observe, is below NEAR_EQUAL; pairs without a common step are told apart by right. Counted are the pairs of the
    first MOST_COMPARED series: all of a usual batch, and enough of a large one, whose pairs would take longer than its
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
