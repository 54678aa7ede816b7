"""What a tower that learns looks at, and where the tuned one is kept."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cache.embeddings import encoder_of
from cache.fill import colours
from cache.spec import embedding_spec, image_spec
from cache.store import Reader, Store
from model.encoders import EncoderSpec, TunedOn, finetuned, resolve
from model.encoders.trainable import Tower
from model.vision_finetuning import VisionFinetuning
from pipeline.errors import InputError
from pipeline.series import series_blocks
from pipeline.splits import Fold
from pipeline.table import SeasonTable
from report.run import RunFolder
from stages.fold_data import Pictures


@dataclass(frozen=True, eq=False)
class CachedPictures:
    """The pictures of the first window of every season, read by key as a batch asks for them. keys [views,N,V]."""

    reader: Reader
    keys: NDArray[np.void]

    def __call__(self, rows: Tensor, views: Tensor | None) -> Tensor:
        """rows [b], views [b] (None: as measured) -> uint8 [b,V,H,W]."""
        chosen = self.keys[0 if views is None else views.cpu().numpy(), rows.cpu().numpy()]
        return torch.from_numpy(self.reader.read(chosen.reshape(-1)).reshape(*chosen.shape, *self.reader.spec.shape))


def find_tower(
    pictures: Pictures,
    encoder: str | None,
    blocks: int | None,
    drawn: Sequence[SeasonTable],
    ranges: NDArray[np.float64],
) -> VisionFinetuning:
    """The tower whose embeddings `pictures` holds, its last `blocks` (None: all) ready to learn, and its pictures.

    encoder: how --encoder names it, if it does. drawn: the table, its views, and the table as of some steps.
    Raises EncoderError or InputError where tower or pictures are not there.
    """
    spec = resolve(encoder or encoder_of(pictures.store)["name"])
    found = embedding_spec(pictures.style, spec.to_dict()).id
    if found != pictures.store.spec.id:
        raise InputError(
            f"--finetune-vision starts from the tower of {spec.name}, and the embeddings in {pictures.root} are of "
            f"another one (namespace {pictures.store.spec.id}, not {found}). Run:\n    {pictures.command}"
        )
    keys = np.stack([series_blocks(one, ranges, pictures.style, pictures.framing)[0].keys for one in drawn])
    reader = Store(pictures.root, image_spec(pictures.style)).reader()
    missing = int((reader.index.find(keys.reshape(-1)) < 0).sum())
    if missing:
        raise InputError(
            f"{missing} of {keys.size} plots are not in {pictures.root}, whose pictures --finetune-vision reads. "
            f"Run:\n    {pictures.command}"
        )
    rgb = torch.tensor(colours(keys.shape[1:])[0])
    return VisionFinetuning(Tower(spec, rgb, blocks), CachedPictures(reader, keys))


def refuse_learnt_rows(pictures: Pictures, table: SeasonTable, folds: Sequence[Fold], split: str, seed: int) -> None:
    """Raises InputError where the tower that made the embeddings has learnt from rows that a fold holds out."""
    for record in encoder_of(pictures.store).get("tuned_on", []):
        learnt = TunedOn(**record)
        alike = learnt.split == split and (learnt.seed == seed or split not in ("place", "random"))
        other = [fold.name for fold in folds if fold.name != learnt.fold or not alike]
        if learnt.data == table.fingerprint() and other:
            name = encoder_of(pictures.store)["name"]
            raise InputError(
                f"the encoder {name} was tuned on the training rows of fold {learnt.fold} "
                f"of split {learnt.split} (seed {learnt.seed}) of this very table, so fold {other[0]} of split {split} "
                f"(seed {seed}) would test on rows that it knows. Use --split {learnt.split} --folds {learnt.fold} "
                f"--seed {learnt.seed}, or name an --encoder that is not tuned."
            )


def keep_tuned(run: RunFolder, tower: Tower, learnt: TunedOn) -> EncoderSpec:
    """Write the tower of a stage-1 run into its folder; returns the encoder that it is from now on."""
    base = tower.spec.base or tower.spec
    finetuned.save(run.path, base, tower.moved(base), (*tower.spec.tuned_on, learnt))
    return resolve(f"{finetuned.PREFIX}{run.path}")


def keep_copy(run: RunFolder, pictures: Pictures | None, source: RunFolder | None) -> None:
    """Where a run reads embeddings of a tuned tower, its folder gets that tower, for those who forecast with it."""
    if pictures is None or "tuned_on" not in encoder_of(pictures.store):
        return
    of_source = None if source is None else source.path / finetuned.FOLDER
    found = of_source if pictures.encoder is None else Path(pictures.encoder.location)
    if found is not None and found.is_dir():
        shutil.copytree(found, run.path / finetuned.FOLDER, dirs_exist_ok=True)


def encoder_for(run: Path, given: str | None) -> str | None:
    """How the encoder of a run is named: as given, or as the run's own tuned tower; None: by the run's result."""
    return given or (f"tuned:{run}" if has_tower(run) else None)


def has_tower(run: Path) -> bool:
    """Whether a run folder holds a tuned tower."""
    return (run / finetuned.FOLDER).is_dir()
