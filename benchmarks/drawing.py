"""Speed of drawing and of keys, on one core, against matplotlib drawing the same 36-step series."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from pipeline.keys import series_keys
from pipeline.render import draw, draw_vertices, positions, vertices
from pipeline.style import UNOBSERVED, Style

STEPS = 36


class Row(TypedDict):
    """One result; `ratio` is value over reference_value. The caller adds `hardware` and `commit`."""

    name: str
    value: float
    unit: str
    reference: str
    reference_value: float
    ratio: float


def measure() -> list[Row]:
    """Rates of drawing and of keys.

    Takes a few seconds; the best of several rounds, so other work disturbs it little.
    """
    values, observed = seasons(2048)
    style, agg = Style(), Style(renderer="agg")
    buffer = np.empty((256, style.size, style.size), np.uint8)
    prepared = vertices(values[:256], observed[:256], style)
    kernel = 256 / fastest(lambda: draw_vertices(prepared, style, buffer), rounds=40)
    whole = 256 / fastest(lambda: draw(values[:256], observed[:256], style), rounds=20)
    reused = 256 / fastest(lambda: draw_vertices(prepared, agg, buffer), rounds=5)
    fresh = 24 / fastest(lambda: figures_saved_one_by_one(values[:24], style), rounds=2)
    runs = [polylines(line, style) for line in prepared]
    by_cv2 = 256 / fastest(lambda: drawn_by_cv2(runs, style, buffer), rounds=20)
    keys = len(values) / fastest(lambda: series_keys(values, observed, style), rounds=40)
    halves = np.ascontiguousarray(values[:, :18]), np.ascontiguousarray(observed[:, :18])
    half_keys = len(values) / fastest(lambda: series_keys(*halves, style), rounds=40)
    figure, canvas = "plt.subplots + savefig PNG, one figure a plot", "RendererAgg.draw_path on one reused canvas"
    return [
        row("draw vertices into a buffer, one core", kernel, "plots/s", figure, fresh),
        row("draw vertices into a buffer, one core", kernel, "plots/s", canvas, reused),
        row("draw vertices into a buffer, one core", kernel, "plots/s", "cv2.polylines, anti-aliased", by_cv2),
        row("draw series, new arrays, one core", whole, "plots/s", figure, fresh),
        row("keys of 36-step series, one core", keys, "series/s", "drawing them instead", whole),
        row("keys of 18-step series, one core", half_keys, "series/s", "the aim", 1_000_000.0),
    ]


def row(name: str, value: float, unit: str, reference: str, reference_value: float) -> Row:
    """A result row with its ratio."""
    return Row(
        name=name,
        value=value,
        unit=unit,
        reference=reference,
        reference_value=reference_value,
        ratio=value / reference_value,
    )


def fastest(action: Callable[[], object], rounds: int) -> float:
    """Seconds of the fastest round, after one warm-up round."""
    action()
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - start)
    return best


def seasons(n: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """n synthetic vegetation-index seasons [n,T] as heights in 0..1, with noise; a tenth of the steps is clouded."""
    rng = np.random.default_rng(0)
    day = np.linspace(0, 1, STEPS)
    peak, middle, width = rng.uniform(0.3, 0.7, (n, 1)), rng.uniform(0.4, 0.6, (n, 1)), rng.uniform(0.1, 0.2, (n, 1))
    values = 0.15 + peak * np.exp(-0.5 * ((day - middle) / width) ** 2) + rng.normal(0, 0.015, (n, STEPS))
    return values.astype(np.float32), rng.random((n, STEPS)) >= 0.1


def polylines(prepared: NDArray[np.int16], style: Style) -> list[NDArray[np.int32]]:
    """The runs of observed steps of one series [T] as points for OpenCV: [k,1,2], in 1/16 px."""
    observed = prepared != UNOBSERVED
    steps = np.flatnonzero(observed)
    points = np.stack([positions(len(prepared), style)[steps], prepared[steps]], 1)[:, None].astype(np.int32)
    return np.split(points, np.flatnonzero(np.diff(steps) > 1) + 1)


def drawn_by_cv2(runs: list[list[NDArray[np.int32]]], style: Style, out: NDArray[np.uint8]) -> None:
    """The same lines by OpenCV into `out`, with coarser anti-aliasing, whole widths only, and no dots."""
    import cv2

    cv2.setNumThreads(1)
    for plane, lines in zip(out, runs, strict=True):
        plane.fill(0)
        cv2.polylines(plane, lines, False, 255, round(style.line_width), cv2.LINE_AA, 4)


def figures_saved_one_by_one(values: NDArray[np.float32], style: Style) -> int:
    """The usual way: a new figure and a PNG per plot. Returns the bytes written."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    inches = style.size / 100
    x, total = positions(values.shape[1], style), 0
    for series in values:
        figure, axes = plt.subplots(figsize=(inches, inches), dpi=100)
        axes.plot(x, series, linewidth=style.line_width * 0.72)  # points at 100 dpi
        axes.set_ylim(0, 1)
        axes.axis("off")
        file = io.BytesIO()
        figure.savefig(file, format="png")
        plt.close(figure)
        total += len(file.getvalue())
    return total
