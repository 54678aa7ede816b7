"""Draw series with matplotlib's rasteriser: the reference that the kernel of `pipeline/render.py` is compared with."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.path import Path
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray

from pipeline.style import GRID, UNOBSERVED, Style


def draw_with_agg(prepared: NDArray[np.int16], x: NDArray[np.int32], style: Style, out: NDArray[np.uint8]) -> None:
    """Draw vertices [n,T] at columns x [T] into out [n,size,size], on one reused, transparent canvas.

    The alpha of the strokes is the ink.
    """
    canvas = RendererAgg(style.size, style.size, 72)  # 72 dpi: a point is a pixel
    pixels = np.asarray(canvas.buffer_rgba())
    pen = canvas.new_gc()
    pen.set_linewidth(style.line_width)
    pen.set_capstyle("round")
    pen.set_joinstyle("round")
    pen.set_antialiased(True)
    pen.set_snap(False)
    fill = canvas.new_gc()
    fill.set_linewidth(0)
    fill.set_antialiased(True)
    fill.set_snap(False)
    disc = Path.unit_circle().transformed(Affine2D().scale(style.dot_diameter / 2))
    for i, row in enumerate(prepared):
        canvas.clear()
        seen = row != UNOBSERVED
        joined = np.zeros(len(row) + 1, np.bool_)  # joined[t]: a line leads from step t-1 to t
        joined[1:-1] = seen[1:] & seen[:-1]
        points = np.stack([x / GRID, style.size - row / GRID], axis=1)  # its y axis points up
        in_line = seen & (joined[:-1] | joined[1:])
        if in_line.any():
            codes = np.where(joined[:-1], Path.LINETO, Path.MOVETO)[in_line]
            path = Path(points[in_line], codes)
            path.should_simplify = False
            canvas.draw_path(pen, path, Affine2D(), None)
        for centre in points[seen & ~in_line]:
            canvas.draw_path(fill, disc, Affine2D().translate(*centre), (0.0, 0.0, 0.0))
        out[i] = pixels[..., 3]
