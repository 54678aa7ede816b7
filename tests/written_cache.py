"""A cache with two slabs of pictures and two of vectors, an entry of the catalogue and two runs."""

from dataclasses import replace

import numpy as np
import pytest

import render_cache
from cache.catalog import entries
from cache.fill import EmbeddingWork, ImageWork
from cache.spec import embedding_spec
from cache.workers import Pool
from pipeline.series import fold_variants
from pipeline.sources import read
from pipeline.splits import make_folds
from tests.cached_series import STYLE
from tests.conftest import CARD, small_seasons

SIZE = 32
FLAGS = ["--encoder", "none", "--workers", "1", "--style.size", str(SIZE)]
KINDS = ["images", "embeddings"]


def write_cache(folder):
    """A card and its cache: two slabs of pictures, two of vectors, an entry that names both, two runs."""
    small_seasons().query("year >= 2020").to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD)
    root = folder / "image_cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageWork.of, "__defaults__", (100,))
        for _ in range(2):
            assert render_cache.main(["--data", str(folder / "card.toml"), "--cache", str(root), *FLAGS]) == 0
    spec = embedding_spec(STYLE, {"name": "ink and colour", "dim": 5})
    work = EmbeddingWork.of(root, STYLE, spec, blocks_of(folder), 90)
    work.run(Pool(1, "sequential"), encode, lambda rows: None)
    (entry,) = entries(root)
    replace(entry, embeddings=spec.id).save(root)
    assert len(list(root.glob("*/*/slabs/*"))) == 4
    return folder


def encode(ink, rgb):
    flat = ink.reshape(len(ink), -1)
    return np.column_stack([flat.mean(1), flat.std(1), rgb]).astype(np.float16)


def blocks_of(folder):
    table = read(folder / "card.toml")
    folds = make_folds(table.year, table.place, table.sample_id, split="year", seed=0)
    return [block for variant in fold_variants(table, folds, STYLE) for block in variant]


def namespace_of(root, kind):
    (namespace,) = (root / kind).iterdir()
    return f"{kind}/{namespace.name}"
