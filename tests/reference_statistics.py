"""Slow twins of verdict.statistics: loops over draws and rows that can be read beside the definition."""

from __future__ import annotations

import itertools

import numpy as np


def rmse(truth, guesses):
    """Root of the mean over seeds and rows of squared errors."""
    errors = [(guess[i] - truth[i]) ** 2 for guess in guesses for i in range(len(truth))]
    return (sum(errors) / len(errors)) ** 0.5


def r2(truth, guesses):
    """Mean over seeds of 1 - squared errors / squares around the mean of the truth."""
    mean = sum(truth) / len(truth)
    around = sum((t - mean) ** 2 for t in truth)
    return sum(1 - sum((g[i] - truth[i]) ** 2 for i in range(len(truth))) / around for g in guesses) / len(guesses)


def swap_p(truth, group, mine, other):
    """Every swap of the arms in whole groups, on the forecasts themselves."""
    names = sorted(set(group))
    found = abs(rmse(truth, mine) - rmse(truth, other))
    as_far = 0
    swaps = list(itertools.product([False, True], repeat=len(names)))
    for swap in swaps:
        swapped = {name for name, yes in zip(names, swap, strict=True) if yes}
        at = np.array([g in swapped for g in group])
        a, b = np.where(at, other, mine), np.where(at, mine, other)
        as_far += abs(rmse(truth, a) - rmse(truth, b)) >= found * (1 - 1e-9)
    return as_far / len(swaps)


def drawn_differences(truth, group, mine, other, draws, seed):
    """RMSE differences of `draws` resamples of groups and seeds, rows copied out one by one."""
    rng = np.random.default_rng(seed)
    names = sorted(set(group))
    found = []
    for _ in range(draws):
        chosen = rng.choice(names, len(names))
        rows = [i for name in chosen for i in range(len(truth)) if group[i] == name]
        seeds = rng.integers(0, len(mine), len(mine))
        pair = (arm[np.ix_(seeds, rows)] for arm in (mine, other))
        found.append(np.subtract(*(rmse(truth[rows], arm) for arm in pair)))
    return np.array(found)


def holm(p):
    """Step down from the smallest p: adjusted = the largest of (m - i + 1) p_i so far."""
    left, adjusted, so_far = dict(p), {}, 0.0
    while left:
        name = min(left, key=left.get)
        so_far = max(so_far, len(left) * left[name])
        adjusted[name] = min(1.0, so_far)
        del left[name]
    return adjusted
