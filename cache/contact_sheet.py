"""A contact sheet: cached plots as the encoder reads them, each with its sample, variate and window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cache.catalog import Entry
from cache.fill import colours
from cache.store import Store
from pipeline.errors import InputError
from pipeline.render import colourise, draw
from pipeline.series import series_blocks
from pipeline.style import Style
from pipeline.table import SeasonTable
from pipeline.windows import Framing, window_called

GAP, CAPTION = 8, 34  # pixels between plots, and under each


@dataclass(frozen=True, eq=False)
class Choice:
    """Indices, in an entry, of the samples [n], variates [v] and windows [w] to show."""

    samples: NDArray[np.int64]
    variates: NDArray[np.int64]
    windows: NDArray[np.int64]


def choose(
    entry: Entry, count: int, samples: Sequence[str] = (), variates: Sequence[str] = (), windows: Sequence[str] = ()
) -> Choice:
    """`count` samples spread over the data set, or the first `count` whose names contain one of `samples`.

    Raises InputError, with the available names, if nothing matches.
    """
    chosen = np.unique(np.linspace(0, len(entry.sample_id) - 1, count).round().astype(np.int64))
    if samples:
        fitting = [i for i, name in enumerate(entry.sample_id) if any(part in name for part in samples)]
        if not fitting:
            some = ", ".join(entry.sample_id[:3])
            raise InputError(f"{entry.name} has no sample with {' or '.join(samples)} in its name. It has {some}, ...")
        chosen = np.array(fitting[:count])
    return Choice(chosen, _named("variate", variates, entry.variates), _named("window", windows, entry.windows))


def _named(what: str, wanted: Sequence[str], available: Sequence[str]) -> NDArray[np.int64]:
    unknown = [name for name in wanted if name not in available]
    if unknown:
        raise InputError(f"there is no {what} {', '.join(unknown)}; there are {', '.join(available)}.")
    return np.array([available.index(name) for name in wanted or available])


def contact_sheet(root: str | Path, entry: Entry, choice: Choice, table: SeasonTable | None = None) -> Image.Image:
    """One row of plots per sample and window, one column per variate; with `table`, the numbers beside each plot.

    Raises MissingRows if a picture of the entry is not in the cache.
    """
    stores = {store.spec.id: store for store in Store.open_all(root, "images")}
    if entry.images not in stores:
        raise InputError(f"{root} has no pictures of {entry.name} any more; run render_cache.py again.")
    keys = entry.keys[np.ix_(choice.samples, choice.variates, choice.windows)]
    ink = stores[entry.images].reader().read(keys.reshape(-1))
    return _sheet(entry, choice, ink.reshape(*keys.shape, *ink.shape[1:]), table)


def preview(
    table: SeasonTable, ranges: NDArray[np.float64], style: Style, samples: int, framing: Framing = "halves"
) -> Image.Image:
    """The sheet of a few samples before anything is cached, with the numbers beside each plot on the y-range [V,2]."""
    blocks = series_blocks(table, ranges, style, framing)
    entry = Entry.of(table, blocks, "", "")
    choice = choose(entry, samples)
    ink = []
    for block in blocks:
        values, observed = block.values[choice.samples], block.observed[choice.samples]
        flat = draw(values.reshape(-1, block.window.length), observed.reshape(-1, block.window.length), style)
        ink.append(flat.reshape(*values.shape[:2], style.size, style.size))
    spans = ranges if style.y_range == "fixed" else None
    return _sheet(entry, choice, np.stack(ink, 2), table, spans)


def _sheet(
    entry: Entry,
    choice: Choice,
    ink: NDArray[np.uint8],
    table: SeasonTable | None,
    spans: NDArray[np.float64] | None = None,
) -> Image.Image:
    """`ink` [samples, variates, windows, H, W] of the choice; `spans` [V,2] is the y-range of the numbers, if known."""
    rgb = colours((1, len(entry.variates)))[0]
    panels = []
    for i, sample in enumerate(choice.samples):
        for j, window in enumerate(choice.windows):
            for k, variate in enumerate(choice.variates):
                caption = f"{entry.sample_id[sample]}\n{entry.variates[variate]}  {entry.windows[window]}"
                plot = colourise(ink[None, i, k, j], rgb[variate][None])[0]
                panels.append((Image.fromarray(plot), caption))
                if table is not None:
                    span = None if spans is None else spans[variate]
                    panels.append(
                        _numbers(
                            table, int(sample), int(variate), window=entry.windows[window], size=len(plot), span=span
                        )
                    )
    return _grid(panels, len(choice.variates) * (2 if table is not None else 1))


def _grid(panels: Sequence[tuple[Image.Image, str]], columns: int) -> Image.Image:
    size, rows = panels[0][0].width, len(panels) // columns
    sheet = Image.new("RGB", (columns * (size + GAP) + GAP, rows * (size + CAPTION + GAP) + GAP), "#dddddd")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for number, (panel, caption) in enumerate(panels):
        row, column = divmod(number, columns)
        left, top = GAP + column * (size + GAP), GAP + row * (size + CAPTION + GAP)
        sheet.paste(panel, (left, top))
        for number, line in enumerate(caption.split("\n")[:2]):
            pen.text((left, top + size + 2 + 14 * number), _shortened(line, size, font), fill="black", font=font)
    return sheet


def _shortened(line: str, width: int, font: Any) -> str:
    """Both ends of a line, shortened to `width` pixels, because sample names differ at their ends."""
    text = "".join(character if character.isprintable() else "?" for character in line[:80] + line[80:][-80:])
    if font.getlength(text) <= width:
        return text
    keep = max(n for n in range(len(text) // 2) if not n or font.getlength(f"{text[:n]}...{text[-n:]}") <= width)
    return f"{text[:keep]}...{text[len(text) - keep :]}"


def _numbers(
    table: SeasonTable, sample: int, variate: int, *, window: str, size: int, span: NDArray[np.float64] | None
) -> tuple[Image.Image, str]:
    """The observed values as dots in the table's own units, on the y-range `span` or from lowest to highest value."""
    part = window_called(window, table.steps, table.cut)
    values = table.values[sample, variate, part.start : part.until]
    steps = np.flatnonzero(table.observed[sample, variate, part.start : part.until])
    panel = Image.new("RGB", (size, size), "white")
    if not len(steps):
        return panel, "nothing observed"
    lowest, highest = float(values[steps].min()), float(values[steps].max())
    low, high = (lowest, highest) if span is None else span.tolist()
    inner = size - 2 * GAP
    x = GAP + steps * inner / max(part.length - 1, 1)
    y = GAP + np.clip((high - values[steps]) / ((high - low) or 1.0), 0, 1) * inner
    pen = ImageDraw.Draw(panel)
    for across, down in zip(x, y, strict=True):
        pen.ellipse((across - 2, down - 2, across + 2, down + 2), fill="black")
    axis = "on their own scale" if span is None else f"on a y-range of {low:g} to {high:g}"
    return panel, f"{lowest:.4g} to {highest:.4g}, {len(steps)} of {part.length} steps\n{axis}"
