"""Fine-tune the image tower: find the pictures that it reads, and save it in the folder of the run."""

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
from stages.inputs.fold_data import Pictures


@dataclass(frozen=True, eq=False)
class CachedPictures:
    """The pictures of the first window of every season, read by key for each batch. keys [views,N,V]."""

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
    """The tower whose embeddings `pictures` holds, with its last `blocks` (None: all) trainable, and its pictures.

    encoder: its name by --encoder, if given. drawn: the table, its views, and the table as of each step. Raises
    EncoderError or InputError if tower or pictures are missing.
    """
    spec = resolve(encoder or encoder_of(pictures.store)["name"])
    namespace = embedding_spec(pictures.style, spec.to_dict()).id
    if namespace != pictures.store.spec.id:
        raise InputError(
            f"--finetune-vision starts from the tower of {spec.name}, but the embeddings in {pictures.root} are of "
            f"another one (namespace {pictures.store.spec.id}, not {namespace}). Run:\n    {pictures.command}"
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


def check_tuned_rows(pictures: Pictures, table: SeasonTable, folds: Sequence[Fold], split: str, seed: int) -> None:
    """Raise InputError if the tower of the embeddings was trained on rows that a fold holds out."""
    for record in encoder_of(pictures.store).get("tuned_on", []):
        tuned = TunedOn(**record)
        alike = tuned.split == split and (tuned.seed == seed or split not in ("place", "random"))
        other = [fold.name for fold in folds if fold.name != tuned.fold or not alike]
        if tuned.data == table.fingerprint() and other:
            name = encoder_of(pictures.store)["name"]
            raise InputError(
                f"the encoder {name} was fine-tuned on the training rows of fold {tuned.fold} of split {tuned.split} "
                f"(seed {tuned.seed}) of this table, so fold {other[0]} of split {split} (seed {seed}) would test on "
                f"rows that it was trained on. Use --split {tuned.split} --folds {tuned.fold} --seed {tuned.seed}, or "
                "name an --encoder that is not fine-tuned."
            )


def save_tower(run: RunFolder, tower: Tower, tuned_on: TunedOn) -> EncoderSpec:
    """Write the tower of a stage-1 run into its folder. Returns the spec of the fine-tuned encoder."""
    base = tower.spec.base or tower.spec
    finetuned.save(run.path, base, tower.moved(base), (*tower.spec.tuned_on, tuned_on))
    return resolve(f"{finetuned.PREFIX}{run.path}")


def copy_tower(run: RunFolder, pictures: Pictures | None, source: RunFolder | None) -> None:
    """Copy the tuned tower whose embeddings a run uses into its folder, for later forecasts with the run."""
    if pictures is None or "tuned_on" not in encoder_of(pictures.store):
        return
    of_source = None if source is None else source.path / finetuned.FOLDER
    folder = of_source if pictures.encoder is None else Path(pictures.encoder.location)
    if folder is not None and folder.is_dir():
        shutil.copytree(folder, run.path / finetuned.FOLDER, dirs_exist_ok=True)


def encoder_for(run: Path, given: str | None) -> str | None:
    """Name of a run's encoder: as given, or the run's own tuned tower; None: the one named in the run's result."""
    return given or (f"tuned:{run}" if has_tower(run) else None)


def has_tower(run: Path) -> bool:
    """Whether a run folder holds a tuned tower."""
    return (run / finetuned.FOLDER).is_dir()
