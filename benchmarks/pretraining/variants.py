"""Further rows of docs/pretraining.md: fewer training rows, and other alignments after pretraining."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pretraining.rows import RUNS, TABLES, both_stages, span_of, table_and_fold, yields_of
from pipeline.splits import thinned
from report.run import RunFolder, commit, hardware

SHARES = (0.1, 0.25, 0.5)
ALIGNMENTS = ("sample", "hierarchical")
SUBFOLDER = "variants"


@dataclass(frozen=True)
class Variant:
    """A setting that differs from the main rows by flags of both stages. `starts`: titles and --init flags."""

    name: str
    flags: tuple[str, ...]
    starts: Mapping[str, str]
    share: float = 1.0


def variants(named: str) -> list[Variant]:
    """Every setting. named: the weights, as --init takes them."""
    both = {"from scratch": "none", "fine-tuned": named}
    fewer = [Variant(f"share-{share}", ("--share", str(share)), both, share) for share in SHARES]
    tuned = {"fine-tuned": named}
    return fewer + [Variant(f"alignment-{name}", ("--alignment", name), tuned) for name in ALIGNMENTS]


def make_variant(variant: Variant, name: str, seed: int, cache: str) -> dict[str, Any]:
    """Scores of one setting on one table. The pictures are those of the main rows, as every y-range is in the card."""
    table, fold = table_and_fold(name)
    span = dict(zip(table.variate_names, span_of(table, fold), strict=True))
    scores, weights = {}, None
    for title, flag in variant.starts.items():
        folder = RUNS / f"{name}-{variant.name}-{'none' if flag == 'none' else 'tuned'}-seed{seed}"
        two = both_stages(name, seed, cache, init=flag, folder=folder, more=variant.flags)
        one = RunFolder(two.path.parent / "stage1")
        result = one.read_json("result.json")
        weights = result["initial_weights"] or weights
        scores[title] = {
            **{key: result["metrics"][key] for key in ("alignment_56", "retrieval_56")},
            "rmse_over_range": over_range(one, span),
            "yield": yields_of(two),
        }
    kept = thinned((fold,), variant.share, seed)[0]
    return {
        "table": name,
        "seed": seed,
        "variant": variant.name,
        "rows": {part: len(getattr(kept, part)) for part in ("train", "valid", "test")},
        "scores": scores,
        "initial_weights": weights,
        "commit": commit(),
        "hardware": hardware(),
    }


def over_range(one: RunFolder, span: Mapping[str, float]) -> float:
    """RMSE of a stage-1 run on test rows, over the range of all training rows, whatever share the run had."""
    steps = one.read_predictions("predictions.parquet")
    relative = (steps["y_pred"] - steps["y_true"]) / steps["variate"].map(span).astype(float)
    return float(np.sqrt(np.mean(relative.to_numpy() ** 2)))


def variant_file(folder: Path, variant: Variant, name: str, seed: int) -> Path:
    """The file of one row."""
    return folder / SUBFOLDER / f"{name}-{variant.name}-seed{seed}.json"


def saved_variants(folder: Path) -> list[dict[str, Any]]:
    """Every saved row, by table, setting and seed."""
    rows = [json.loads(path.read_text()) for path in (folder / SUBFOLDER).glob("*.json")]
    return sorted(rows, key=lambda row: (TABLES.index(row["table"]), row["variant"], row["seed"]))


def as_variants(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The main rows in the form of variants: all training rows, flat alignment."""
    found = []
    for row in rows:
        scores = {
            title: {
                **{key: row["alignment"][title]["test"][key] for key in ("alignment_56", "retrieval_56")},
                "rmse_over_range": row["completion"][title]["test"],
                "yield": row["yield"][title],
            }
            for title in ("from scratch", "fine-tuned")
        }
        found.append({**{key: row[key] for key in ("table", "seed", "rows", "commit", "hardware")},
                      "variant": "main", "scores": scores})  # fmt: skip
    return found
