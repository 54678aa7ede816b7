"""Draw and embed the pictures that a run's model needs and the cache lacks; used by the entry points that forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from cache.fill import EmbeddingWork, ImageWork
from cache.spec import embedding_spec
from cache.store import Store
from cache.workers import Pool
from model.encoders import EncoderSpec, encode, resolve
from pipeline.errors import InputError
from pipeline.series import SeriesBlock
from pipeline.style import Style
from report.progress import stage_progress


def fill(
    root: str, workers: int, encoder_name: str | None, result: Mapping[str, Any], blocks: Sequence[SeriesBlock]
) -> Store:
    """Fill the cache at `root` for the blocks and return its embeddings.

    result: the run's result.json. encoder_name: --encoder, if given.
    """
    style, encoder = Style(**result["style"]), resolve(encoder_name or result["encoder"])
    spec = embedding_spec(style, encoder.to_dict())
    if spec.id != result["cache_spec"]:
        raise InputError(
            f"encoder {encoder.name} differs from the one the run was trained with: namespace {spec.id}, but the run "
            f"has {result['cache_spec']}. Weights or preprocessing differ. Name the right encoder with --encoder."
        )
    return fill_blocks(root, workers, encoder, style, blocks)


def fill_blocks(root: str, workers: int, encoder: EncoderSpec, style: Style, blocks: Sequence[SeriesBlock]) -> Store:
    """Draw and embed the pictures of the blocks that the cache lacks. Returns the embeddings."""
    spec = embedding_spec(style, encoder.to_dict())
    images = ImageWork.of(root, style, blocks)
    with stage_progress("draw", len(images.plan.missing)) as advance:
        images.run(Pool(workers), advance)
    vectors = EmbeddingWork.of(root, style, spec, blocks)
    with stage_progress("embed", len(vectors.plan.missing)) as advance:
        vectors.run(Pool(workers), partial(encode, encoder), advance)
    return vectors.store
