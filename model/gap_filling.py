"""Missing steps of a series, filled from the steps beside them.

Clouds hide single steps. If a missing value counts as the mean of its step or window, the season looks average there.
The deviations beside it are a better guess. On the demo, where 18 % of the steps are missing, every learner has a lower
error on left-out years with filled steps (docs/log.md, "Missing steps filled from their neighbours").
"""

from __future__ import annotations

import torch
from torch import Tensor

FADE = 0.01  # weight of a deviation of zero, beside exp(-distance in steps) for each observed one


def fill_gaps(deviations: Tensor, observed: Tensor) -> Tensor:
    """Deviations [...,T] from what is typical, with a weighted mean of the observed ones where `observed` is False.

    An observation d steps away has the weight exp(-d), and a deviation of zero has the weight FADE. Five steps after a
    single observation, 40 % of its deviation is left. A series without observations is zero. Deviations under the mask
    have no effect and may be NaN.
    """
    steps = torch.arange(deviations.shape[-1], device=deviations.device, dtype=deviations.dtype)
    nearness = torch.exp(-(steps[:, None] - steps).abs())
    known = torch.where(observed, deviations, 0)
    return torch.where(observed, known, known @ nearness / (observed.to(known.dtype) @ nearness + FADE))
