"""Slow twins of the model's parts: plain loops in float64, written from the formulas and not from the fast code."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def completion_loss(pred: Floats, true: Floats, observed: Bools) -> float:
    """Mean of squared errors over the steps that were observed; 0 when there is none. All [B,V,H]."""
    errors = [(pred[i] - true[i]) ** 2 for i in np.ndindex(observed.shape) if observed[i]]
    return sum(errors) / len(errors) if errors else 0.0  # type: ignore[return-value]


def info_nce(vision: Floats, language: Floats, mask: Bools, log_temperature: float) -> float:
    """Both directions of InfoNCE, each the mean over present pairs of -log softmax at the pair's own partner."""
    pairs = [i for i in np.ndindex(mask.shape) if mask[i]]
    temperature = max(math.exp(log_temperature), 0.01)

    def similarity(a: Floats, b: Floats) -> float:
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) / temperature)

    total = 0.0
    for own in pairs:
        to_text = [similarity(vision[own], language[other]) for other in pairs]
        to_picture = [similarity(vision[other], language[own]) for other in pairs]
        for row in (to_text, to_picture):
            top = max(row)
            log_sum = top + math.log(sum(math.exp(x - top) for x in row))
            total += (log_sum - similarity(vision[own], language[own])) / len(pairs)
    return total


def instance_norm(values: Floats, observed: Bools, floor: float) -> tuple[Floats, Floats, Floats]:
    """z, mean, std of every series, over its observed steps alone. values, observed [B,V,W]."""
    z, mean = np.zeros(values.shape), np.zeros(values.shape[:2])
    std = np.full(values.shape[:2], floor)
    for b, v in np.ndindex(mean.shape):
        known = [float(values[b, v, w]) for w in range(values.shape[2]) if observed[b, v, w]]
        if not known:
            continue
        mean[b, v] = sum(known) / len(known)
        std[b, v] = max(floor, math.sqrt(sum((x - mean[b, v]) ** 2 for x in known) / len(known)))
        for w in range(values.shape[2]):
            if observed[b, v, w]:
                z[b, v, w] = (values[b, v, w] - mean[b, v]) / std[b, v]
    return z, mean, std


def patches(series: list[float], patch: int, stride: int) -> list[list[float]]:
    """Windows of `patch` steps, `stride` apart, over the series with its last value repeated `stride` times."""
    padded = series + [series[-1]] * stride
    return [padded[start : start + patch] for start in range(0, len(padded) - patch + 1, stride)]


def attend(query: Floats, keys: Floats, absent: Bools, weights: dict[str, Floats], heads: int) -> tuple[Floats, Floats]:
    """Multi-head attention of one sample: query [V,E], keys [V,E] -> output [V,E], weights [V,V] averaged over heads.

    weights holds in_proj_weight [3E,E], in_proj_bias [3E], out_proj.weight [E,E], out_proj.bias [E], as torch lays
    them out.
    """
    count, width = query.shape
    size = width // heads
    projections = zip(np.split(weights["in_proj_weight"], 3), np.split(weights["in_proj_bias"], 3), strict=True)
    q, k, v = (x @ w.T + b for x, (w, b) in zip((query, keys, keys), projections, strict=True))
    joined, mean_weights = np.zeros((count, width)), np.zeros((count, count))
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        for i in range(count):
            scores = [
                -math.inf if absent[j] else float(q[i, part] @ k[j, part]) / math.sqrt(size) for j in range(count)
            ]
            exps = [math.exp(s - max(scores)) for s in scores]
            for j in range(count):
                share = exps[j] / sum(exps)
                mean_weights[i, j] += share / heads
                joined[i, part] += share * v[j, part]
    return joined @ weights["out_proj.weight"].T + weights["out_proj.bias"], mean_weights


def transformer(
    tokens: Floats, empty: Bools, state: dict[str, Floats], heads: int, activation: str, eps: float
) -> Floats:
    """Pre-norm layers and a last norm on one sequence [L,E]; `state` as torch's TransformerEncoder names it."""

    def part(prefix: str) -> dict[str, Floats]:
        return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

    def norm(x: Floats, weights: dict[str, Floats]) -> Floats:
        rows = [(row - row.mean()) / math.sqrt(((row - row.mean()) ** 2).mean() + eps) for row in x]
        return np.array(rows) * weights["weight"] + weights["bias"]

    def linear(x: Floats, weights: dict[str, Floats]) -> Floats:
        return x @ weights["weight"].T + weights["bias"]

    bend = {
        "gelu": lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))),
        "gelu_tanh": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        "quick_gelu": lambda x: x / (1 + math.exp(-1.702 * x)),
    }[activation]
    layers = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("layers."))
    for layer in (f"layers.{i}." for i in range(layers)):
        normed = norm(tokens, part(layer + "norm1."))
        tokens = tokens + attend(normed, normed, empty, part(layer + "self_attn."), heads)[0]
        hidden = np.vectorize(bend)(linear(norm(tokens, part(layer + "norm2.")), part(layer + "linear1.")))
        tokens = tokens + linear(hidden, part(layer + "linear2."))
    return norm(tokens, part("norm."))


def yield_loss(told: Floats, true: Floats, quantiles: tuple[float, ...]) -> float:
    """Mean squared error of the first output, and the mean pinball loss of the others: told [b,M,1+Q], true [b]."""
    squares, pinballs = [], []
    for b, m in np.ndindex(told.shape[:2]):
        squares.append((told[b, m, 0] - true[b]) ** 2)
        for at, q in enumerate(quantiles):
            error = true[b] - told[b, m, 1 + at]
            pinballs.append(q * error if error >= 0 else (q - 1) * error)
    return sum(squares) / len(squares) + sum(pinballs) / len(pinballs)


def across_samples(vision: Floats, language: Floats, mask: Bools, log_temperature: float) -> float:
    """InfoNCE between samples, each side the mean of its present variates; samples without any take no part."""
    present = [b for b in range(len(mask)) if mask[b].any()]
    sides = [np.array([side[b][mask[b]].mean(0) for b in present]) for side in (vision, language)]
    if not present:
        return 0.0
    return info_nce(sides[0][:, None], sides[1][:, None], np.ones((len(present), 1), bool), log_temperature)


def within_samples(vision: Floats, language: Floats, mask: Bools, log_temperature: float) -> float:
    """InfoNCE among the variates of each sample; the mean over all present pairs of all samples."""
    total, pairs = 0.0, int(mask.sum())
    for b in range(len(mask)):
        total += info_nce(vision[b : b + 1], language[b : b + 1], mask[b : b + 1], log_temperature) * int(mask[b].sum())
    return total / pairs if pairs else 0.0


def false_negatives(values: Floats, observed: Bools, tolerance: float) -> tuple[int, int]:
    """Ordered pairs of different series whose difference over common steps has an RMS below tolerance; all pairs."""
    series = [(values[i], observed[i]) for i in np.ndindex(observed.shape[:2]) if observed[i].any()]
    near = 0
    for i, (a, seen_a) in enumerate(series):
        for j, (b, seen_b) in enumerate(series):
            common = [w for w in range(len(a)) if seen_a[w] and seen_b[w]]
            if i != j and common and math.sqrt(sum((a[w] - b[w]) ** 2 for w in common) / len(common)) < tolerance:
                near += 1
    return near, len(series) * (len(series) - 1)


def yield_head(
    weights: dict[str, Floats], normed: Floats, present: Bools, static: Floats | None, plain: int
) -> list[float]:
    """One head on one sample of two windows: normed [V,2F], present [V] -> anomaly [O]; `plain`: as in HeadShape."""
    gelu = lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2)))  # noqa: E731
    width = normed.shape[1] // 2
    squeezed, past = [], []
    for v in range(len(present)):
        row = normed[v] if present[v] else np.zeros(2 * width)
        one = row @ weights["squeeze.weight"].T + weights["squeeze.bias"] + weights["variates"][0, v]
        squeezed += [gelu(x) if present[v] else 0.0 for x in one]
        past += [*row[width - plain : width], *row[2 * width - plain :]]
    past += [] if static is None else list(static)
    mixed = np.array([*squeezed, *past]) @ weights["mix.weight"].T + weights["mix.bias"]
    hidden = np.array([gelu(x) for x in mixed])
    out = hidden @ weights["out.weight"].T + weights["out.bias"] + np.array(past) @ weights["straight"]
    return [float(x) for x in out]
