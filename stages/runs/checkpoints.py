"""Checkpoints of an unfinished run: folders of safetensors and JSON, each published by one rename.

    <run>/checkpoints/started.json                       fingerprints of data and cache, and the command
    <run>/checkpoints/lock                               held by the process that trains the run
    <run>/checkpoints/<fold>/<phase>/000012-00000340/    epochs and steps done: weights, optimizer, numbers
    <run>/checkpoints/<fold>/<phase>/best-000009/        the best weights so far, which the states refer to
    <run>/checkpoints/<fold>/<phase>/finished/           a finished phase: its best weights and numbers

Everything is written under another name, synced and renamed, and then the parent folder is synced. A kill at any
moment, or a full disk, leaves earlier checkpoints unchanged. Nothing here is a pickle.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cache.folder import sync_path
from model.training.state import TrainingState
from pipeline.errors import InputError
from report.run import RunFolder

FOLDER = "checkpoints"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Checkpoints:
    """The newest `keep` states of every phase, and the best weights that they refer to."""

    def __init__(self, run: RunFolder, keep: int, seconds: float, steps: int) -> None:
        self.run, self.keep, self.seconds, self.steps = run, keep, seconds, steps
        self.saved_at = time.monotonic()
        self.lock = FileLock(self.root / "lock")

    @property
    def root(self) -> Path:
        """The folder of all checkpoints."""
        return self.run.path / FOLDER

    def start(self, fingerprints: Mapping[str, str | None], command: str = "") -> None:
        """Record the fingerprints of this run's data and cache, and the command that started it."""
        _commit(self.root, {}, {**fingerprints, "command": command}, "started.json")

    def command(self) -> str:
        """The command that started the run; empty for runs of earlier versions, which did not record it."""
        command: str = _read_json(self.root / "started.json").get("command", "")
        return command

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training this run in the block. Raises InputError if one is training it.

        The operating system releases the lock of a process that was killed.
        """
        try:
            self.lock.acquire(blocking=False)
        except Timeout:
            raise InputError(
                f"{self.run.path} is being trained by another process. Wait until it ends, or stop it; two processes "
                "would overwrite each other's checkpoints."
            ) from None
        except NotImplementedError:  # a network disk
            print(f"the disk of {self.run.path} has no file locks: do not resume this run in a second process")
        try:
            yield
        finally:
            self.lock.release()

    def require_fingerprints(self, fingerprints: Mapping[str, str | None]) -> None:
        """Raise InputError, with both fingerprints, if data or cache differ from those the run was started with."""
        started = _read_json(self.root / "started.json")
        for name, now in fingerprints.items():
            if started.get(name) != now:
                raise InputError(
                    f"--resume {self.run.path}: the {name} has fingerprint {now}, but the checkpoints were made with "
                    f"{started.get(name)}. Restore the {name}, or start a new run with "
                    f"--config {self.run.path}/config.json."
                )

    def rewind_metrics(self) -> None:
        """Cut metrics.jsonl to the epochs of the newest states; later epochs are trained again."""
        lengths = [_read_json(path).get("metrics_bytes", 0) for path in self.root.glob("*/*/*/numbers.json")]
        self.run.cut_metrics(max(lengths, default=0))

    def load(self, phase: str) -> TrainingState | None:
        """The newest state of a phase, or None. Raises InputError, with the folder, if it is damaged."""
        folder = self.root / phase
        done = folder / "finished"
        if done.is_dir():
            best, numbers = _tensors(done, "best"), _read_json(done / "numbers.json")
            forecasts = _forecasts(done)
            return TrainingState(
                weights={}, best=best, optimizer={}, numbers=numbers, finished=True, forecasts=forecasts
            )
        states = _states(folder)
        if not states:
            return None
        self._tidy(folder)
        numbers = _read_json(states[-1] / "numbers.json")
        best = _tensors(folder / numbers["best"], "weights")
        weights, optimizer = _tensors(states[-1], "weights"), _tensors(states[-1], "optimizer")
        return TrainingState(
            weights=weights, best=best, optimizer=optimizer, numbers=numbers, forecasts=_forecasts(states[-1])
        )

    def due(self) -> bool:
        """Whether enough seconds have passed since the last checkpoint."""
        return time.monotonic() - self.saved_at >= self.seconds

    def save(self, phase: str, saved: TrainingState) -> None:
        """Write a state and delete the oldest. Raises InputError if the disk is full; earlier states are unchanged."""
        folder = self.root / phase
        try:
            numbers = {**saved.numbers, "metrics_bytes": self.run.sync_metrics()}
            extra = {} if saved.forecasts is None else {"forecasts": {"each": saved.forecasts}}
            if saved.finished:
                _commit(folder / "finished", {"best": saved.best, **extra}, numbers)
                _delete_all_but(folder, {"finished"})
            else:
                best = f"best-{numbers['best_epoch']:06d}"
                if not (folder / best).is_dir():
                    _commit(folder / best, {"weights": saved.best}, {})
                tensors = {"weights": saved.weights, "optimizer": saved.optimizer, **extra}
                name = f"{len(numbers['epochs']):06d}-{numbers['done_steps']:08d}"
                _commit(folder / name, tensors, numbers | {"best": best})
                self._tidy(folder)
        except (OSError, SafetensorError) as error:
            if isinstance(error, OSError) and error.errno not in FULL and "No space" not in str(error):
                raise
            if isinstance(error, SafetensorError) and "No space" not in str(error):
                raise
            raise InputError(
                f"a checkpoint cannot be written to {folder}: {error}. The checkpoint before it is safe. Make room, "
                f"then run:\n    python train.py --resume {self.run.path}"
            ) from error
        self.saved_at = time.monotonic()

    def remove(self) -> None:
        """Delete all checkpoints, and the lock; a complete run needs none."""
        self.lock.release()
        shutil.rmtree(self.root)

    def _tidy(self, folder: Path) -> None:
        newest = _states(folder)[-self.keep :]
        named = {_read_json(state / "numbers.json")["best"] for state in newest}
        _delete_all_but(folder, named | {state.name for state in newest})


def _states(folder: Path) -> list[Path]:
    """The states of a phase, newest last."""
    return sorted(path for path in folder.glob("[0-9]*-[0-9]*") if path.is_dir())


def _delete_all_but(folder: Path, names: set[str]) -> None:
    for path in folder.iterdir():
        if path.name not in names:
            shutil.rmtree(path)


def _commit(
    target: Path, tensors: Mapping[str, Mapping[str, Tensor]], numbers: Mapping[str, Any], name: str = "numbers.json"
) -> None:
    """Create the folder `target` with its files in one step."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        for file, named in tensors.items():
            save_file(
                {key: t.detach().cpu().contiguous() for key, t in named.items()}, temporary / f"{file}.safetensors"
            )
        (temporary / name).write_text(json.dumps(numbers, allow_nan=False))
        for path in (*temporary.iterdir(), temporary):
            sync_path(path)
        if target.is_dir():  # the same state, trained again after a resume
            shutil.rmtree(target)
        temporary.rename(target)
        sync_path(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _forecasts(folder: Path) -> Tensor | None:
    """Forecasts of the validation rows, if the phase keeps them."""
    return _tensors(folder, "forecasts")["each"] if (folder / "forecasts.safetensors").is_file() else None


def _tensors(folder: Path, name: str) -> dict[str, Tensor]:
    path = folder / f"{name}.safetensors"
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path} cannot be read ({error}). Delete {folder}: the run then resumes from the state before it."
        ) from error
    return tensors


def _read_json(path: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); the run cannot be resumed from it.") from error
    return record
