"""docs/pretraining.png: for some plots of test rows, the five series whose numbers are nearest, before and after."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch.nn import functional

from benchmarks.pretraining.rows import Ready
from model.alignment_scores import batches_of_pairs
from model.season_tensors import WindowTensors
from model.timesclip import TimesCLIP
from pipeline.render import draw
from pipeline.series import series_blocks
from pipeline.style import PALETTE

SIDE, GAP, NEAREST, QUERIES = 104, 8, 5, 4
RIGHT, WRONG, BLANK = (0, 140, 60), (200, 200, 200), (255, 255, 255)


def draw_retrieval(models: Mapping[str, TimesCLIP], ready: Ready, path: Path) -> None:
    """One row per plot of the first batch of test rows: the plot, then per model the five nearest series, best first.

    The plot's own series has a green frame.
    """
    rows = torch.from_numpy(ready.fold.test)
    batch = rows[batches_of_pairs(len(rows), len(ready.table.variates))[0]]
    first = ready.data.seasons[0].first.rows(batch)
    pairs = torch.nonzero(first.present)
    plots = pictures(ready, batch.numpy())[pairs[:, 0], pairs[:, 1]]
    colours = PALETTE[pairs[:, 1].numpy() % len(PALETTE)]
    queries = torch.linspace(0, len(pairs) - 1, QUERIES + 2).long()[1:-1].tolist()
    width = (1 + NEAREST * len(models)) * (SIDE + GAP) + (1 + len(models)) * 3 * GAP
    sheet = Image.new("RGB", (width, 24 + QUERIES * (SIDE + GAP)), BLANK)
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, 6), "plot", fill=0)
    for number, (title, model) in enumerate(models.items()):
        left = (1 + NEAREST * number) * (SIDE + GAP) + (1 + number) * 3 * GAP
        pen.text((left, 6), f"nearest series, {title}", fill=0)
        near = nearest(model, first)
        for line, query in enumerate(queries):
            top = 24 + line * (SIDE + GAP)
            sheet.paste(framed(plots[query], colours[query], BLANK), (GAP, top))
            for place, found in enumerate(near[query, :NEAREST].tolist()):
                edge = RIGHT if found == query else WRONG
                sheet.paste(framed(plots[found], colours[found], edge), (left + place * (SIDE + GAP), top))
    sheet.save(path, optimize=True)


@torch.inference_mode()
def nearest(model: TimesCLIP, first: WindowTensors) -> NDArray[np.int64]:
    """[M,M]: for each picture the series of the batch, the nearest first."""
    vision, language = model.eval().tokens(*first.inputs())
    assert vision is not None
    assert language is not None
    seen, read = (functional.normalize(side[first.present], dim=-1) for side in (vision, language))
    order: NDArray[np.int64] = (seen @ read.T).argsort(1, descending=True).numpy()
    return order


def pictures(ready: Ready, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Ink [b,V,H,W] of the first windows of some samples."""
    block = series_blocks(ready.table, ready.data.scales.ranges, ready.pictures.style)[0]
    values, seen = block.values[rows], block.observed[rows]
    ink = draw(values.reshape(-1, values.shape[-1]), seen.reshape(-1, seen.shape[-1]), ready.pictures.style)
    return ink.reshape(*values.shape[:2], *ink.shape[1:])


def framed(ink: NDArray[np.uint8], rgb: NDArray[np.uint8], edge: tuple[int, int, int]) -> Image.Image:
    """A plot in its colour, with a frame of 3 px."""
    share = ink[..., None] / 255.0
    plot = Image.fromarray((255 * (1 - share) + rgb * share).astype(np.uint8)).resize((SIDE - 6, SIDE - 6))
    frame = Image.new("RGB", (SIDE, SIDE), edge)
    frame.paste(plot, (3, 3))
    return frame
