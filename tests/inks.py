"""Pictures and colours for encoders."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def sine_ink(n: int = 1) -> NDArray[np.uint8]:
    """n sine lines three pixels wide, soft at the edge: [n,224,224]."""
    ink, x = np.zeros((n, 224, 224), np.uint8), np.arange(224)
    for i in range(n):
        y = np.round(112 + 80 * np.sin(x / (20 + 3 * i))).astype(int)
        for offset, value in ((-1, 128), (0, 255), (1, 128)):
            ink[i, y + offset, x] = value
    return ink


def colours(n: int) -> NDArray[np.uint8]:
    return np.random.default_rng(7).integers(0, 256, (n, 3)).astype(np.uint8)
