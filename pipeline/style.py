"""How a series is drawn: the fields that pictures and keys depend on, and the colours of variates."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from importlib.metadata import version
from typing import Literal

import numpy as np
import xxhash
from numpy.typing import NDArray

from pipeline.errors import InputError

RENDERER_VERSION = 1  # part of every key; raise it whenever a pixel or a vertex of any picture can change
GRID = 16  # vertices lie on a grid of 1/GRID px; a power of two
UNOBSERVED = -32768  # the vertex of a step that was not observed

# Dark enough to read on white, and easy to tell apart. The order affects colours, but no key of a picture.
PALETTE: NDArray[np.uint8] = np.array(
    [
        (0, 90, 181),  # blue
        (204, 32, 32),  # red
        (0, 122, 61),  # green
        (212, 96, 0),  # orange
        (118, 48, 160),  # purple
        (0, 140, 128),  # teal
        (110, 64, 28),  # brown
        (199, 36, 134),  # magenta
        (124, 122, 0),  # olive
        (22, 28, 92),  # navy
        (96, 96, 96),  # grey
        (0, 0, 0),  # black
    ],
    dtype=np.uint8,
)


@dataclass(frozen=True)
class Style:
    """How a series is drawn. Every field is part of the keys, so pictures of different styles never mix."""

    renderer: Literal["numba", "agg"] = "numba"
    """numba: the fast kernel. agg: matplotlib's rasteriser, the reference."""
    y_range: Literal["fixed", "window"] = "fixed"
    """fixed: the frame spans the variate's physical range and shows the level. window: it spans z-scores from -3 to 3
    and shows only the shape."""
    size: int = 224
    """Height and width of a picture in px, 16 to 1024."""
    line_width: float = 2.0
    """Width of the line in px."""
    dot_diameter: float = 4.0
    """Diameter in px of the dot for an isolated observation."""
    margin: float = 4.0
    """Margin in px on all four sides. At least half the line width and half the dot, so that no stroke is cut off."""

    def __post_init__(self) -> None:
        """Raises InputError if a field is outside its limits."""
        if self.renderer not in ("numba", "agg"):
            raise InputError(f"style.renderer is {self.renderer!r}; choose numba or agg.")
        if self.y_range not in ("fixed", "window"):
            raise InputError(f"style.y_range is {self.y_range!r}; choose fixed or window.")
        if not 16 <= self.size <= 1024 or self.size != int(self.size):
            raise InputError(f"style.size is {self.size} px; choose a whole number from 16 to 1024.")
        for name in ("line_width", "dot_diameter"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"style.{name} is {getattr(self, name)} px; it must be above 0.")
        least = max(self.line_width, self.dot_diameter) / 2
        if not least <= self.margin < self.size / 2:
            raise InputError(
                f"style.margin is {self.margin} px; with line_width {self.line_width} and dot_diameter "
                f"{self.dot_diameter} on {self.size} px it must be at least {least} and below {self.size / 2}."
            )
        object.__setattr__(self, "size", int(self.size))
        for name in ("line_width", "dot_diameter", "margin"):  # 2 and 2.0 are one style
            object.__setattr__(self, name, float(getattr(self, name)))

    @property
    def digest(self) -> str:
        """32 hex digits of xxh3-128 over all fields and the renderer's version; the same in every process."""
        drawer = f"matplotlib {version('matplotlib')}" if self.renderer == "agg" else "kernel"
        return xxhash.xxh3_128_hexdigest(repr((RENDERER_VERSION, drawer, GRID, *astuple(self))).encode())

    @property
    def frame(self) -> tuple[int, int]:
        """First and last grid position inside the margins, in 1/16 px; the same in both directions."""
        first = math.ceil(self.margin * GRID)
        return first, self.size * GRID - first
