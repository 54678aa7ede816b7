"""Draw and embed what a run's model is to look at and the cache lacks. Entry points that forecast use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from cache.fill import EmbeddingWork, ImageWork
from cache.spec import embedding_spec
from cache.store import Store
from cache.workers import Pool
from model.encoders import encode, resolve
from pipeline.errors import InputError
from pipeline.render import Style
from pipeline.series import SeriesBlock
from report.progress import stage_progress


def fill(root: str, workers: int, given: str | None, result: Mapping[str, Any], blocks: Sequence[SeriesBlock]) -> Store:
    """Fill the cache at `root` for the blocks; returns the embeddings. result: the run's; given: --encoder, if any."""
    style, encoder = Style(**result["style"]), resolve(given or result["encoder"])
    spec = embedding_spec(style, encoder.to_dict())
    if spec.id != result["cache_spec"]:
        raise InputError(
            f"encoder {encoder.name} is not the one the run was trained with (namespace {spec.id}, the run has "
            f"{result['cache_spec']}): weights or preprocessing differ. Name the right one with --encoder."
        )
    images = ImageWork.of(root, style, blocks)
    with stage_progress("draw", len(images.plan.missing)) as advance:
        images.run(Pool(workers), advance)
    vectors = EmbeddingWork.of(root, style, spec, blocks)
    with stage_progress("embed", len(vectors.plan.missing)) as advance:
        vectors.run(Pool(workers), partial(encode, encoder), advance)
    return vectors.store
