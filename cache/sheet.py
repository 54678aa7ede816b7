"""A contact sheet: cached plots as the encoder sees them, each with its sample, variate and window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cache.catalog import Entry
from cache.fill import colours
from cache.store import Store
from pipeline.errors import InputError
from pipeline.render import colourise

GAP, CAPTION = 8, 34  # pixels between plots, and under each


def contact_sheet(root: Path, entry: Entry, samples: int) -> Image.Image:
    """One row of plots a sample and window, one column a variate; `samples` of them spread over the data set.

    Raises MissingRows when a picture of the entry is not in the cache.
    """
    stores = {store.spec.id: store for store in Store.open_all(root, "images")}
    if entry.images not in stores:
        raise InputError(f"{root} has lost the pictures of {entry.name}; run render_cache.py again.")
    chosen = np.unique(np.linspace(0, len(entry.sample_id) - 1, samples).round().astype(int))
    keys = entry.keys[chosen].transpose(0, 2, 1)  # [n,W,V]
    ink = stores[entry.images].reader().read(keys.reshape(-1))
    rgb = np.broadcast_to(colours((1, len(entry.variates))), (len(ink) // len(entry.variates), len(entry.variates), 3))
    plots = colourise(ink, np.ascontiguousarray(rgb).reshape(-1, 3))
    height, width = plots.shape[1:3]
    rows, columns = len(chosen) * len(entry.windows), len(entry.variates)
    sheet = Image.new("RGB", (columns * (width + GAP) + GAP, rows * (height + CAPTION + GAP) + GAP), "#dddddd")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for number, plot in enumerate(plots):
        row, column = divmod(number, columns)
        left, top = GAP + column * (width + GAP), GAP + row * (height + CAPTION + GAP)
        sheet.paste(Image.fromarray(plot), (left, top))
        sample, window = divmod(row, len(entry.windows))
        caption = f"{entry.sample_id[chosen[sample]]}\n{entry.variates[column]}  {entry.windows[window]}"
        pen.multiline_text((left, top + height + 2), caption, fill="black", font=font)
    return sheet
