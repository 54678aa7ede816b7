"""Slow twins, the plainest way to say what fast code computes, and the made series that both are tried on."""

from __future__ import annotations

import math
import statistics
from fractions import Fraction

import numpy as np
import xxhash
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.render import STD_FLOOR, WINDOW_REACH
from pipeline.style import GRID, UNOBSERVED, Style
from pipeline.table import SeasonTable

Series = tuple[NDArray[np.float32], NDArray[np.bool_]]

heights = st.one_of(
    st.floats(-0.25, 1.25, width=32),
    st.sampled_from([0.0, 1.0, 0.5, -3.0, 7.0]),
    st.integers(0, 16).map(lambda k: k / 16),
)


@st.composite
def batches(draw_one: st.DrawFn, most_steps: int = 40, most_series: int = 6) -> Series:
    """A few series of one length: anything, constant, or top and bottom in turn; all, some, two, one, no steps seen."""
    steps, n = draw_one(st.integers(2, most_steps)), draw_one(st.integers(1, most_series))
    values, observed = np.zeros((n, steps), np.float32), np.zeros((n, steps), np.bool_)
    for i in range(n):
        kind = draw_one(st.sampled_from(["any", "any", "constant", "extremes"]))
        if kind == "any":
            values[i] = draw_one(st.lists(heights, min_size=steps, max_size=steps))
        elif kind == "constant":
            values[i] = draw_one(heights)
        else:
            values[i] = (np.arange(steps) + i) % 2
        mask = draw_one(st.sampled_from(["full", "random", "one", "two", "none"]))
        if mask == "full":
            observed[i] = True
        elif mask == "random":
            observed[i] = draw_one(st.lists(st.booleans(), min_size=steps, max_size=steps))
        elif mask in ("one", "two"):
            observed[i, draw_one(st.integers(0, steps - 1))] = True
            observed[i, draw_one(st.integers(0, steps - 1))] |= mask == "two"
    return values, observed


def many_series(n: int = 64, steps: int = 36) -> Series:
    """Random walks over the whole frame, a tenth of the steps missing."""
    rng = np.random.default_rng(7)
    walk = np.cumsum(rng.normal(0, 0.1, (n, steps)), axis=1) + 0.5
    return walk.astype(np.float32), rng.random((n, steps)) > 0.1


def vertices_slowly(values: NDArray[np.float32], observed: NDArray[np.bool_], style: Style) -> NDArray[np.int16]:
    """Twin of `render.vertices`: [n,T] int16, one Python float at a time."""
    first = math.ceil(style.margin * GRID)
    last = style.size * GRID - first
    rows = []
    for series, mask in zip(values.tolist(), observed.tolist(), strict=True):
        seen = [value for value, is_seen in zip(series, mask, strict=True) if is_seen]
        if style.y_range == "window" and seen:
            mean = sum_in_order(seen) / len(seen)
            std = math.sqrt(sum_in_order([(value - mean) * (value - mean) for value in seen]) / len(seen))
            constant = std <= STD_FLOOR * max(abs(value) for value in seen)
            low, scale = mean - WINDOW_REACH * std, 0.0 if constant else 1.0 / (2.0 * WINDOW_REACH * std)
        else:
            low, scale, constant = 0.0, 1.0, False
        row = []
        for value, is_seen in zip(series, mask, strict=True):
            if not is_seen:
                row.append(UNOBSERVED)
                continue
            height = 0.5 if constant else min(max((value - low) * scale, 0.0), 1.0)
            row.append(last - math.floor(height * (last - first) + 0.5))
        rows.append(row)
    return np.array(rows, np.int16).reshape(values.shape)


def sum_in_order(numbers: list[float]) -> float:
    """Plain float64 sum from left to right; the builtin `sum` compensates its rounding from Python 3.12 on."""
    total = 0.0
    for number in numbers:
        total += number
    return total


def draw_slowly(prepared: NDArray[np.int16], style: Style) -> NDArray[np.uint8]:
    """Twin of `render.draw_vertices`: [n,size,size], each pixel's true distance to every stroke, in px and float64."""
    return np.stack([_sheet(row.tolist(), style) for row in prepared])


def _sheet(row: list[int], style: Style) -> NDArray[np.uint8]:
    first = math.ceil(style.margin * GRID)
    span = style.size * GRID - 2 * first
    last_step = len(row) - 1
    places = [Fraction(span * t, last_step) if last_step else Fraction(span, 2) for t in range(len(row))]
    xs = [(first + math.floor(place + (Fraction(1, 2) if last_step else 0))) / GRID for place in places]
    ys = [None if y == UNOBSERVED else y / GRID for y in row]
    coverage = np.zeros((style.size, style.size))
    for t, y in enumerate(ys):
        if y is None:
            continue
        follows = t > 0 and ys[t - 1] is not None
        leads = t < last_step and ys[t + 1] is not None
        if leads:
            distance = _distance_to_segment(style.size, (xs[t], y), (xs[t + 1], ys[t + 1]))
            coverage = np.maximum(coverage, style.line_width / 2 + 0.5 - distance)
        elif not follows:
            distance = _distance_to_segment(style.size, (xs[t], y), (xs[t], y))
            coverage = np.maximum(coverage, style.dot_diameter / 2 + 0.5 - distance)
    return np.floor(255 * np.clip(coverage, 0, 1) + 0.5).astype(np.uint8)


def _distance_to_segment(size: int, start: tuple[float, float], end: tuple[float, float | None]) -> NDArray[np.float64]:
    """[size,size] distance in px of every pixel centre (column + 0.5, row + 0.5) to the segment, caps round."""
    y, x = np.mgrid[0:size, 0:size] + 0.5
    assert end[1] is not None
    dx, dy = end[0] - start[0], end[1] - start[1]
    square = dx * dx + dy * dy
    foot = np.clip(((x - start[0]) * dx + (y - start[1]) * dy) / square, 0, 1) if square else 0.0
    return np.hypot(x - start[0] - foot * dx, y - start[1] - foot * dy)


def keys_slowly(prepared: NDArray[np.int16], style: Style) -> list[bytes]:
    """Twin of `keys.vertex_keys`: 16 bytes per series, the hashed message spelt out number by number."""
    digests = []
    for row in prepared.tolist():
        message = bytes.fromhex(style.digest) + len(row).to_bytes(2, "little")
        message += b"".join(vertex.to_bytes(2, "little", signed=True) for vertex in row)
        digests.append(xxhash.xxh3_128_digest(message))
    return digests


def forecasting_windows(numbers, rows, look_back, horizon):
    """Windows of a benchmark [R,V] by loops: part -> [(look-back [V,L], what follows [V,H])], standardised by hand."""
    train, valid, test = rows
    columns = list(zip(*numbers[:train], strict=True))
    mean = [sum(column) / train for column in columns]
    std = [(sum((x - m) ** 2 for x in column) / train) ** 0.5 for column, m in zip(columns, mean, strict=True)]
    scaled = [[(x - m) / s for x, m, s in zip(row, mean, std, strict=True)] for row in numbers]
    borders = {"train": (0, train), "valid": (train, train + valid), "test": (train + valid, train + valid + test)}
    windows = {}
    for part, (first, stop) in borders.items():
        windows[part] = []
        for start in range(stop):
            origin = start + look_back  # the first step that is forecast
            if origin >= first and origin + horizon <= stop and (part != "train" or start >= 0):
                before, after = scaled[start:origin], scaled[origin : origin + horizon]
                windows[part].append((list(zip(*before, strict=True)), list(zip(*after, strict=True))))
    return windows


def blocks_slowly(
    table: SeasonTable, ranges: NDArray[np.float64], style: Style, framing: str
) -> list[tuple[NDArray[np.float32], NDArray[np.bool_], list[list[bytes]]]]:
    """Twin of `series.series_blocks`: (values, observed, keys [N][V]) of both windows, one step at a time."""
    steps, cut = table.steps, table.cut
    halves = [range(cut), range(cut, steps)]
    frames = halves if framing == "halves" else [range(steps)] * 2
    blocks = []
    for frame, last in zip(frames, (cut, steps), strict=True):
        values = np.full((*table.values.shape[:2], len(frame)), np.nan, np.float32)
        observed = np.zeros(values.shape, np.bool_)
        for n, v, at in np.ndindex(values.shape):
            if frame[at] < last and table.observed[n, v, frame[at]]:
                low, high = ranges[v]
                values[n, v, at] = (table.values[n, v, frame[at]] - low) / (high - low)
                observed[n, v, at] = True
        keys = [keys_slowly(vertices_slowly(values[n], observed[n], style), style) for n in range(len(values))]
        blocks.append((values, observed, keys))
    return blocks


def levelled_slowly(values: NDArray[np.float32], group: list[str], least: int = 3) -> NDArray[np.float32]:
    """Twin of `radiometry.Level` on one variate [N,T], a group a sample: value / median of (group, step) x median."""
    kept = np.full(values.shape, np.nan)
    for t in range(values.shape[1]):
        for name in set(group):
            rows = [n for n in range(len(values)) if group[n] == name and not math.isnan(values[n, t])]
            if len(rows) >= least:
                kept[rows, t] = [float(values[n, t]) / statistics.median(values[rows, t].tolist()) for n in rows]
    overall = statistics.median([float(v) for v, k in zip(values.flat, kept.flat, strict=True) if not math.isnan(k)])
    return (kept * overall).astype(np.float32)
