"""Draw series as pictures: one anti-aliased line on white, with gaps at unobserved steps and dots at isolated ones.

`vertices` first rounds everything that determines a pixel to a grid of 1/16 px. Keys hash that array and both renderers
draw it, so equal keys mean equal pixels. After that the kernel uses exact integers and a few correctly rounded float
operations in a fixed order. Its output does not depend on the machine, the batch or the number of workers.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar, cast

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.style import GRID, UNOBSERVED
from pipeline.style import Style as Style  # part of the interface of this module

WINDOW_REACH = 3.0  # `window`: standard deviations from the middle to the edge of the frame
STD_FLOOR = 1e-6  # `window`: a series with a smaller std / max |value| is constant (8 float32 steps)

NOT_KEPT = (
    "numba finds no writable folder for compiled code, so every process will spend seconds compiling the renderer. "
    "Set NUMBA_CACHE_DIR to a writable folder."
)

_Function = TypeVar("_Function", bound=Callable[..., object])


def vertices(values: NDArray[np.float32], observed: NDArray[np.bool_], style: Style) -> NDArray[np.int16]:
    """Prepare series for keys and renderers, which both use the result.

    values    [n,T] `fixed`: 0 = bottom of the frame, 1 = top; `window`: any unit, z-scored over the observed steps
    observed  [n,T] bool; values at unobserved steps are ignored
    returns   [n,T] int16, distance from the top edge in 1/16 px, clipped to the frame; UNOBSERVED at unobserved steps

    Raises InputError if an observed value is not finite, or if there are more steps than grid columns in the frame.
    """
    if values.ndim != 2 or values.shape != observed.shape or observed.dtype != np.bool_:
        raise ValueError(
            f"values {values.shape} and observed {observed.shape} {observed.dtype} must be [n,T], the mask bool"
        )
    positions(values.shape[1], style)
    first, last = style.frame
    prepared = np.empty(values.shape, np.int16)
    flat = np.ascontiguousarray(values, np.float32)
    bad = _place(flat, np.ascontiguousarray(observed), first, last, style.y_range == "window", prepared)
    if bad >= 0:
        row, step = divmod(bad, values.shape[1])
        raise InputError(
            f"Series {row} is {values[row, step]} at step {step}, which is marked as observed. Only finite numbers can "
            "be drawn. Mark the step as not observed."
        )
    return prepared


def positions(steps: int, style: Style) -> NDArray[np.int32]:
    """[T] distance of each step from the left edge in 1/16 px, evenly spaced. A single step is in the middle.

    Raises InputError if there are more steps than grid columns in the frame.
    """
    first, last = style.frame
    span = last - first
    if not 1 <= steps <= span + 1:
        raise InputError(
            f"A series has {steps} steps; a picture of {style.size} px with a margin of {style.margin} px takes 1 to "
            f"{span + 1}. Aggregate the steps or raise style.size."
        )
    if steps == 1:
        return np.array([(first + last) // 2], np.int32)
    gaps = steps - 1
    return (first + (2 * span * np.arange(steps, dtype=np.int64) + gaps) // (2 * gaps)).astype(np.int32)


def draw(values: NDArray[np.float32], observed: NDArray[np.bool_], style: Style) -> NDArray[np.uint8]:
    """Ink [n,size,size] of series [n,T]: 0 = paper, 255 = full ink, row 0 at the top. Units, errors as `vertices`."""
    return draw_vertices(vertices(values, observed, style), style)


def draw_vertices(prepared: NDArray[np.int16], style: Style, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Ink [n,size,size] of vertices [n,T] of the same style, written into `out` (uint8, C order) if it is given.

    A run of observed steps is one line with round caps and joins, an isolated step is a filled dot, and a series
    without observations is an empty picture. Raises ValueError if vertices, such as those of another style, lie outside
    the frame.
    """
    n, steps = prepared.shape
    x = positions(steps, style)
    first, last = style.frame
    if np.any((prepared != UNOBSERVED) & ((prepared < first) | (prepared > last))):
        raise ValueError(f"vertices lie outside {first}..{last}; they were prepared with another style")
    if out is None:
        out = np.empty((n, style.size, style.size), np.uint8)
    if out.shape != (n, style.size, style.size) or out.dtype != np.uint8 or not out.flags.c_contiguous:
        raise ValueError(f"out is {out.shape} {out.dtype}; needed: C order {(n, style.size, style.size)} uint8")
    if style.renderer == "agg":
        from pipeline.matplotlib_renderer import draw_with_agg  # here, since it needs matplotlib and this module

        draw_with_agg(prepared, x, style, out)
        return out
    line, dot = style.line_width / 2, style.dot_diameter / 2
    _ink(np.ascontiguousarray(prepared), x, _disc_ink(line), _disc_ink(dot), line, dot, out)
    return out


def colourise(ink: NDArray[np.uint8], rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colour ink [n,H,W] with rgb [n,3] on white -> [n,H,W,3]. Ink 0 is exactly white and 255 exactly the colour."""
    if rgb.shape != (len(ink), 3) or rgb.dtype != np.uint8 or ink.dtype != np.uint8:
        raise ValueError(f"ink {ink.shape} {ink.dtype}, rgb {rgb.shape} {rgb.dtype}; needed: uint8 [n,H,W], [n,3]")
    depth = (255 - rgb.astype(np.uint16))[:, None, None, :]
    return ((255 * 255 + 127 - ink[..., None] * depth) // 255).astype(np.uint8)  # 65152 at most: fits uint16


@lru_cache(maxsize=8)
def _disc_ink(radius: float) -> NDArray[np.uint8]:
    """Ink of a disc by squared distance from its centre in 1/256 px2, for every offset that the kernel looks up."""
    farthest = 2 * _reach(radius) ** 2
    distance = np.sqrt(np.arange(farthest + 1, dtype=np.float64)) / GRID
    return np.floor(255 * np.clip(radius + 0.5 - distance, 0, 1) + 0.5).astype(np.uint8)


def _reach(radius: float) -> int:
    """Grid distance beyond which a stroke of this radius in px leaves no ink, half a pixel beyond its edge."""
    return math.ceil((radius + 0.5) * GRID)


def _compiled(*signature: object) -> Callable[[_Function], _Function]:
    """Compile at import for one signature and cache on disk, so that workers load machine code instead of compiling.

    There is no fastmath, because the order of operations affects the result. Read-only argument types also accept
    writable arrays.
    """

    def decorate(function: _Function) -> _Function:
        try:
            return cast(_Function, njit(list(signature), cache=True, error_model="numpy")(function))
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            # numba has no writable folder, as in a read-only container
            warnings.warn(NOT_KEPT, RuntimeWarning, stacklevel=1)  # from one line, so that each process prints it once
            return cast(_Function, njit(list(signature), error_model="numpy")(function))

    return decorate


_IMAGE = types.Array(types.uint8, 2, "C")
_I64, _F64 = types.int64, types.float64


def _readonly(item: types.Type, dimensions: int) -> types.Array:
    return types.Array(item, dimensions, "C", readonly=True)


@_compiled(
    types.int64(
        _readonly(types.float32, 2), _readonly(types.boolean, 2), _I64, _I64, types.boolean, types.int16[:, ::1]
    )
)
def _place(
    values: NDArray[np.float32],
    observed: NDArray[np.bool_],
    first: int,
    last: int,
    window: bool,
    prepared: NDArray[np.int16],
) -> int:
    """Fill `prepared`, with float64 sums in step order. Returns the flat index of a non-finite observed value or -1."""
    n, steps = values.shape
    span = float(last - first)
    for i in range(n):
        count, total, largest = 0, 0.0, 0.0
        for t in range(steps):
            if observed[i, t]:
                value = float(values[i, t])
                if not math.isfinite(value):
                    return int(i * steps + t)
                count += 1
                total += value
                largest = max(largest, abs(value))
        low, scale, constant = 0.0, 1.0, False  # `fixed`: the value is the height
        if window and count > 0:
            mean = total / count
            squares = 0.0
            for t in range(steps):
                if observed[i, t]:
                    offset = float(values[i, t]) - mean
                    squares += offset * offset
            std = math.sqrt(squares / count)
            constant = std <= STD_FLOOR * largest
            low = mean - WINDOW_REACH * std
            scale = 1.0 if constant else 1.0 / (2.0 * WINDOW_REACH * std)
        for t in range(steps):
            if observed[i, t]:
                height = 0.5 if constant else min(max((float(values[i, t]) - low) * scale, 0.0), 1.0)
                prepared[i, t] = last - math.floor(height * span + 0.5)
            else:
                prepared[i, t] = UNOBSERVED
    return -1


@_compiled(types.void(_IMAGE, _I64, _I64, _readonly(types.uint8, 1), _I64))
def _disc(image: NDArray[np.uint8], x: int, y: int, ink: NDArray[np.uint8], reach: int) -> None:
    """Draw a join, cap or dot: look up the ink of every pixel centre within `reach` by exact squared distance."""
    size = image.shape[0]
    half = GRID // 2
    top, bottom = max(0, (y - reach + half - 1) // GRID), min(size - 1, (y + reach - half) // GRID)
    left, right = max(0, (x - reach + half - 1) // GRID), min(size - 1, (x + reach - half) // GRID)
    for r in range(top, bottom + 1):
        down = GRID * r + half - y
        for c in range(left, right + 1):
            across = GRID * c + half - x
            image[r, c] = max(image[r, c], ink[across * across + down * down])


@_compiled(types.void(_IMAGE, _I64, _I64, _I64, _I64, _F64))
def _band(image: NDArray[np.uint8], x0: int, y0: int, x1: int, y1: int, radius: float) -> None:
    """Draw the straight part of a stroke: pixels whose foot lies on the segment. `_disc` draws its ends.

    It goes column by column through the rows within reach. `cross` / length is the distance to the line, and `along` is
    the position of the foot. Both are exact integers that change by a constant from row to row.
    """
    size = image.shape[0]
    half = GRID // 2
    reach = math.ceil((radius + 0.5) * GRID)
    dx, dy = x1 - x0, y1 - y0
    square = dx * dx + dy * dy
    length = math.sqrt(float(square))
    per_cross = np.float32(255.0 / (GRID * length))
    full = np.float32(255.0 * (radius + 0.5) + 0.5)
    sideways, upright = reach * abs(dy) / length, reach * dx / length
    left = max(0, math.ceil((x0 - sideways - half) / GRID))
    right = min(size - 1, math.floor((x1 + sideways - half) / GRID))
    top = max(0, math.ceil((min(y0, y1) - upright - half) / GRID))
    bottom = min(size - 1, math.floor((max(y0, y1) + upright - half) / GRID))
    slope, height = dy / dx, reach * length / dx
    for c in range(left, right + 1):
        across = GRID * c + half - x0
        middle = y0 + across * slope - half
        begin = max(top, math.ceil((middle - height) / GRID - 1e-6))  # 1e-6: rather a row too many than too few
        end = min(bottom, math.floor((middle + height) / GRID + 1e-6))
        down = GRID * begin + half - y0
        cross = np.int32(across * dy - down * dx)
        along = np.int32(across * dx + down * dy)
        for r in range(begin, end + 1):
            ink = min(full - abs(np.float32(cross)) * per_cross, np.float32(255))
            ink = ink if (along >= 0) & (along <= square) else np.float32(0)
            image[r, c] = max(image[r, c], np.uint8(max(ink, np.float32(0))))
            cross = np.int32(cross - GRID * dx)
            along = np.int32(along + GRID * dy)


@_compiled(
    types.void(
        _readonly(types.int16, 2),
        _readonly(types.int32, 1),
        _readonly(types.uint8, 1),
        _readonly(types.uint8, 1),
        _F64,
        _F64,
        types.uint8[:, :, ::1],
    )
)
def _ink(
    prepared: NDArray[np.int16],
    x: NDArray[np.int32],
    line_ink: NDArray[np.uint8],
    dot_ink: NDArray[np.uint8],
    line: float,
    dot: float,
    out: NDArray[np.uint8],
) -> None:
    """Draw every series. `line` and `dot` are radii in px. Strokes are combined by maximum, so their order is free."""
    n, steps = prepared.shape
    line_reach, dot_reach = math.ceil((line + 0.5) * GRID), math.ceil((dot + 0.5) * GRID)
    for i in range(n):
        image = out[i]
        image[:] = 0
        for t in range(steps):
            y = int(prepared[i, t])
            if y == UNOBSERVED:
                continue
            after = t + 1 < steps and prepared[i, t + 1] != UNOBSERVED
            before = t > 0 and prepared[i, t - 1] != UNOBSERVED
            if not before and not after:
                _disc(image, int(x[t]), y, dot_ink, dot_reach)
                continue
            _disc(image, int(x[t]), y, line_ink, line_reach)
            if after:
                _band(image, int(x[t]), y, int(x[t + 1]), int(prepared[i, t + 1]), line)
