"""Flags that several programs share. Each is declared once, and its text becomes a typed value here.

A program inherits these groups or nests them in its own `Arguments`. Lists are separated by commas.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from pipeline import demo
from pipeline.augmentation import Views
from pipeline.errors import InputError
from pipeline.splits import SplitChoice

CACHE = "image_cache"


def parse_names(text: str) -> tuple[str, ...]:
    """The names in a text such as "2021, 2022", in this order; empty for an empty text."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


def parse_steps(text: str) -> tuple[int, ...]:
    """The distinct step numbers in a text such as "12, 6, 9", ascending; empty for an empty text.

    Raises InputError if the text has anything but whole numbers and commas.
    """
    if not text:
        return ()
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise InputError(f"--steps is {text!r}; give whole numbers separated by commas, as in 6,9,12.") from None


def without_the_end(steps: tuple[int, ...], season: int) -> tuple[tuple[int, ...], str]:
    """The steps of --steps without the last one of a season of `season` steps, and a sentence if it was among them."""
    kept = tuple(step for step in steps if step != season)
    said = f"--steps {season} is the whole season, which is always used; it changes nothing"
    return kept, said if kept != steps else ""


def parsed_by(parse: Callable[[str], Any], metavar: str, kind: type | tuple[type, ...] = object) -> Any:
    """A marker for tyro: one text on the command line becomes a value by `parse`."""
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda texts: parse(texts[0]),
        is_instance=lambda value: isinstance(value, kind),
        str_from_instance=lambda value: [",".join(map(str, value)) if isinstance(value, tuple) else str(value)],
    )


def listed(parse: Callable[[str], tuple[Any, ...]], metavar: str) -> tuple[Any, Any]:
    """Markers for tyro: one text becomes a tuple by `parse`. The help shows no default for an empty tuple."""
    hint = tyro.conf.arg(help_behavior_hint=lambda shown: "" if "''" in shown else f"(default: {shown})")
    return parsed_by(parse, metavar, tuple), hint


Names = Annotated[tuple[str, ...], *listed(parse_names, "NAME,NAME")]
Steps = Annotated[tuple[int, ...], *listed(parse_steps, "N,N")]


@dataclass(frozen=True)
class TableFlags:
    """The data."""

    data: str = demo.CARD
    """Dataset card, data file, folder or glob."""


@dataclass(frozen=True)
class CacheFlags:
    """The cache."""

    cache: str = CACHE
    """The cache of pictures and embeddings: a folder, or an address such as s3://bucket/prefix."""


@dataclass(frozen=True)
class SplitFlags:
    """The rows that are held out."""

    split: SplitChoice = "auto"
    """How rows are held out, the same for render_cache.py and train.py. auto: by year if the table has three or more
    years, else by place, else by row."""
    folds: Names = ()
    """Only these folds of the split, as in 2021,2022, or `all`. Default: all; with --split forward the last three."""


@dataclass(frozen=True)
class StepFlags:
    """Seasons that are known only up to a step."""

    steps: Steps = ()
    """Also use each season as it is known after these steps, as in 6,9,12, for forecasts before harvest. Give it to
    render_cache.py and to both stages."""


@dataclass(frozen=True)
class ReadingFlags:
    """How the table is read."""

    year: int | None = None
    """Harvest year of a table without a card, if the table does not contain it."""
    memory_gb: float | None = None
    """Refuse a table that needs more than this many GB of memory; 60 % of the free memory by default."""


@dataclass(frozen=True)
class SeasonFlags(ReadingFlags, StepFlags, SplitFlags, CacheFlags, TableFlags):
    """Data, cache, and how rows are held out."""


@dataclass(frozen=True)
class RedrawFlags:
    """Pictures that the cache lacks, for a trained run."""

    encoder: str | None = None
    """Path of the run's encoder, if its weights are in a file or folder of your own."""
    workers: int = 2
    """Number of drawing processes."""


@dataclass(frozen=True)
class ViewFlags:
    """Augmented views of each season."""

    views: int = 0
    """Train each sample in one of K views per epoch, or as measured. A view is a warped, noisy and masked season, drawn
    and embedded like any other. Give it to render_cache.py too."""
    noise: float = Views.noise
    """Views: standard deviation of the noise, as a share of the series' own standard deviation."""
    warp: float = Views.warp
    """Views: largest change of the season's speed; 0.1 means 0.9 to 1.1 times its speed."""
    mask: float = Views.mask
    """Views: share of the observed steps that become unobserved."""

    def to_views(self) -> Views:
        """The settings of the views. Raises InputError if a number is out of its limits."""
        return Views(self.views, noise=self.noise, warp=self.warp, mask=self.mask)
