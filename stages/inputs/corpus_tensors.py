"""The simulated corpus as tensors: drawn and embedded into the cache like any table, then gathered."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from cache.catalog import Entry
from cache.fill import EmbeddingWork, ImageWork
from cache.spec import embedding_spec
from cache.store import Store
from cache.workers import Pool
from model.encoders import EncoderSpec, encode
from pipeline.errors import InputError
from pipeline.series import SeriesBlock, fold_ranges, series_blocks
from pipeline.simulated_corpus.recipe import CorpusTable
from pipeline.splits import Fold
from report.progress import stage_progress
from stages.inputs.fold_data import FoldData, Pictures, prepare


@dataclass(frozen=True, eq=False)
class CorpusTensors:
    """The tables of a corpus as tensors, and the seconds that drawing and embedding took."""

    tables: Sequence[FoldData]
    seconds: dict[str, float]
    pictures: int


def corpus_tensors(corpus: Sequence[CorpusTable], cache: str, workers: int, encoder: EncoderSpec) -> CorpusTensors:
    """Draw and embed the pictures of the corpus that the cache lacks, and gather the vectors of all.

    Raises InputError if a slab could not be made.
    """
    seconds, pictures = {"draw": 0.0, "embed": 0.0}, 0
    styles = {one.style: None for one in corpus}
    stores = {}
    for style in styles:
        drawn = [one for one in corpus if one.style == style]
        blocks = [block for one in drawn for block in blocks_of(one)]
        stores[style] = fill_style(drawn, blocks, cache, workers=workers, encoder=encoder, seconds=seconds)
        pictures += sum(block.keys.size for block in blocks)
    tables = [gathered(one, stores[one.style], cache) for one in corpus]
    return CorpusTensors(tables, seconds, pictures)


def fill_style(
    drawn: Sequence[CorpusTable],
    blocks: Sequence[SeriesBlock],
    cache: str,
    *,
    workers: int,
    encoder: EncoderSpec,
    seconds: dict[str, float],
) -> Store:
    """Draw and embed the blocks of all tables of one style; adds to `seconds`. Returns the store of the vectors."""
    style = drawn[0].style
    spec = embedding_spec(style, encoder.to_dict())
    images = ImageWork.of(cache, style, blocks)
    for one in drawn:  # claims, so that gc spares these pictures
        Entry.of(one.table, blocks_of(one), images.store.spec.id, spec.id).save(cache)
    given_up: list[str] = []
    started = time.perf_counter()
    with stage_progress("draw", len(images.plan.missing)) as advance:
        given_up += images.run(Pool(workers), advance).given_up
    seconds["draw"] += time.perf_counter() - started
    vectors = EmbeddingWork.of(cache, style, spec, blocks)
    started = time.perf_counter()
    with stage_progress("embed", len(vectors.plan.missing)) as advance:
        given_up += vectors.run(Pool(workers), partial(encode, encoder), advance).given_up
    seconds["embed"] += time.perf_counter() - started
    if given_up:
        raise InputError(f"{len(given_up)} slabs of the corpus could not be made: {given_up[0]}. Run it again.")
    return vectors.store


def blocks_of(one: CorpusTable) -> tuple[SeriesBlock, ...]:
    """The series of a table of the corpus, as they are drawn."""
    return series_blocks(one.table, fold_ranges(one.table, every_row(one)), one.style, one.framing)


def every_row(one: CorpusTable) -> Fold:
    """A fold that trains on every row of the table."""
    none = np.zeros(0, np.int64)
    return Fold("all", np.arange(len(one.table)), none, none)


def gathered(one: CorpusTable, store: Store, cache: str) -> FoldData:
    """The tensors of a table whose vectors are in the store."""
    pictures = Pictures(cache, one.style, store, "python pretrain.py", one.framing)
    return prepare(one.table, every_row(one), one.framing, pictures=pictures)
