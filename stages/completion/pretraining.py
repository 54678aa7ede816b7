"""Pretrain stage 1 on the simulated corpus: gather its tables, train, and write the weights with their card."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from model.encoders import EncoderSpec
from model.initial_weights import InitialWeights, save_initial_weights
from model.presets import PRESETS
from model.pretraining import Pretrained, PretrainingTable, PretrainingTask, largest_config, table_config
from model.training.trainer import Fit, Trainer
from pipeline.simulated_corpus.recipe import LONGEST, Recipe, simulate_corpus
from pipeline.version import __version__
from report.atomic_write import write_whole
from report.run import commit, hardware
from stages.inputs.corpus_tensors import corpus_tensors
from stages.inputs.initial_weights import NAME, level_map

PHASE = "corpus/train"
CARD = "README.md"
VALID_SHARE = 16  # one table in so many, the last ones, chooses the epoch
# No dropout: the corpus is large. The completion sees half of the samples without pictures, so that it works for both.
PARTS = replace(PRESETS["timesclip"], dropout=0.0, picture_dropout=0.5)


@dataclass(frozen=True, eq=False)
class CorpusInputs:
    """The tables of the corpus, for training and for validation, and what they cost."""

    train: list[PretrainingTable]
    valid: list[PretrainingTable]
    pictures: int
    seconds: dict[str, float]


def gather_corpus(recipe: Recipe, cache: str, workers: int, encoder: EncoderSpec) -> CorpusInputs:
    """Simulate the corpus, draw and embed what the cache lacks, and gather all tables."""
    started = time.perf_counter()
    corpus = list(simulate_corpus(recipe))
    simulated = time.perf_counter() - started
    tensors = corpus_tensors(corpus, cache, workers, encoder)
    largest = largest_config(PARTS, encoder.dim, LONGEST)
    tables = [
        PretrainingTable(
            data.seasons[0],
            table_config(largest, data.seasons[0], one.table.step_days),
            level_map(data.scales, one.style),
        )
        for one, data in zip(corpus, tensors.tables, strict=True)
    ]
    held_out = max(1, len(tables) // VALID_SHARE)
    return CorpusInputs(
        train=tables[:-held_out],
        valid=tables[-held_out:],
        pictures=tensors.pictures,
        seconds={"simulate": simulated, **tensors.seconds},
    )


def train_corpus(inputs: CorpusInputs, encoder: EncoderSpec, trainer: Trainer) -> tuple[Pretrained, Fit]:
    """Train the weights; the validation tables choose the epoch."""
    torch.manual_seed(trainer.seed)
    module = Pretrained(largest_config(PARTS, encoder.dim, LONGEST))
    module.fit_norm(inputs.train)
    return module, trainer.fit(PretrainingTask(module, inputs.train, inputs.valid), PHASE)


def write_weights(
    folder: Path, module: Pretrained, fit: Fit, *, recipe: Recipe, encoder: EncoderSpec, record: Mapping[str, Any]
) -> InitialWeights:
    """Write initial.safetensors and its card. `record`: command, pictures, seconds."""
    best = next((epoch.valid for epoch in fit.epochs if epoch.epoch == fit.best_epoch), {})
    known = {
        **record,
        "recipe": {**asdict(recipe), "digest": recipe.digest},
        "encoder": encoder.label,
        "epochs": len(fit.epochs),
        "best_epoch": fit.best_epoch,
        "validation": {name: round(value, 4) for name, value in best.items()},
        "commit": commit(),
        "version": __version__,
        "hardware": hardware(),
    }
    weights = InitialWeights(module.tensors(), module.largest, encoder.weights_digest, known)
    write_whole(folder / NAME, lambda path: save_initial_weights(weights, path))
    write_whole(folder / CARD, lambda path: path.write_text(card(weights)))
    return weights


def card(weights: InitialWeights) -> str:
    """The model card, Markdown."""
    known, largest = weights.record, weights.largest
    recipe, scores, seconds = known["recipe"], known["validation"], known["seconds"]
    size = sum(tensor.numel() for tensor in weights.tensors.values())
    spent = ", ".join(f"{name} {value:.0f}" for name, value in seconds.items())
    lines = [
        f"# Initial weights of stage 1, for pictures embedded by {known['encoder']}",
        "",
        f"{size:,} numbers, float32. They align pictures with numbers and complete a season, for any number of "
        f"variates and windows of up to {largest.window} steps (`docs/pretraining.md`).",
        "",
        "* **Data**: simulated series only (`pipeline/simulated_corpus`). No real table was read. "
        f"{recipe['tables']} tables of {recipe['samples']} samples and {recipe['variates']} variates, seed "
        f"{recipe['seed']}; digest of the recipe `{recipe['digest']}`; {known['pictures']:,} pictures.",
        f"* **Encoder**: {known['encoder']}, digest of its weights `{weights.encoder}`. Vectors of another encoder do "
        "not fit.",
        f"* **Architecture**: tokens of {largest.width} numbers, {largest.layers} layers, patches of {largest.patch} "
        f"steps every {largest.stride}.",
        f"* **Made by** `{known['command']}` at commit `{known['commit']}`, version {known['version']}, on "
        f"{known['hardware']}. Seconds: {spent}; pictures that the cache already held "
        "cost nothing.",
        f"* **Scores on simulated tables that were left out**, epoch {known['best_epoch']} of {known['epochs']}: "
        + ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
        + ".",
        "* **Limits**: simulated series resemble seasons of vegetation and weather only roughly. `docs/pretraining.md` "
        "has scores on real tables.",
        "* **Licence**: Apache-2.0, as the code. The image encoder's weights are not included.",
    ]
    return "\n".join(lines) + "\n"
