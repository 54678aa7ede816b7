"""The fields of result.json in addition to the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from cache.catalog import entries
from cache.embeddings import encoder_of
from pipeline.version import __version__
from report.run import commit, hardware
from stages.runs.flags import Arguments, control_of, preset_of
from stages.runs.run_inputs import RunInputs
from stages.stage import Outcome


def identity(args: Arguments, inputs: RunInputs, outcomes: Sequence[Outcome], command: str) -> dict[str, Any]:
    """The fields that identify a result: data, flags, model, cache, commit and hardware."""
    table, pictures = inputs.table, inputs.pictures
    folds = [outcome.prepared.fold for outcome in outcomes]
    return {
        "data": table.name,
        "stage": args.stage,
        "preset": args.model.preset,
        "parts": preset_of(args).parts(),
        "link": preset_of(args).link if args.stage == 2 else "frozen",
        "split": args.input.split,
        "folds": [fold.name for fold in folds],
        "seed": args.run.seed,
        "share": args.input.share,
        "n_train": sum(len(fold.train) for fold in folds),
        "n_valid": sum(len(fold.valid) for fold in folds),
        "n_test": sum(len(fold.test) for fold in folds),
        "interrupted": any(outcome.interrupted for outcome in outcomes),
        "counts": table.describe_counts(),
        "findings": [asdict(finding) for finding in table.findings],
        "style": asdict(args.style),
        "control": control_of(args),
        "seasons": table.describe_seasons(),
        "encoder": pictures and encoder_of(pictures.store)["name"],
        "cache_spec": pictures and pictures.store.spec.id,
        "initial_weights": inputs.initial.record(),
        "data_fingerprint": table.fingerprint(),
        "commit": commit(),
        "version": __version__,
        "command": command,
        "hardware": hardware(),
    }


def rendering_seconds(args: Arguments, inputs: RunInputs) -> dict[str, float]:
    """Seconds that render_cache.py spent on this table when it filled the cache: key, draw, embed."""
    spent = {"key": 0.0, "draw": 0.0, "embed": 0.0}
    if inputs.pictures:
        for entry in entries(args.input.cache):
            same = entry.fingerprint == inputs.table.fingerprint()
            if same and entry.embeddings == inputs.pictures.store.spec.id:
                spent |= {name: entry.seconds.get(name, 0.0) for name in spent}
    return spent
