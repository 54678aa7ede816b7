"""A cache in a folder, local or shared.

Everything is written into a folder whose name starts with a dot, read back and fsynced. One rename makes it visible.
Readers ignore folders that start with a dot.
"""

from __future__ import annotations

import mmap
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cache.medium import RECORD, CacheError, FaultHook, Found, Spared, hidden_part


@dataclass(frozen=True)
class Folder:
    """A cache on a file system, local or shared."""

    root: str

    def exists(self) -> bool:
        return Path(self.root).is_dir()

    def files(self, prefix: str) -> list[Found]:
        files_found = []
        for folder, folders, files in os.walk(self._path(prefix)):
            folders.sort()
            paths = [os.path.join(folder, file) for file in sorted(files)]
            hidden = hidden_part(os.path.relpath(folder, self.root))
            if not folders and not files and hidden:
                paths = [folder]
            for path in paths:
                try:
                    state = os.lstat(path)
                    since = os.lstat(self._path(hidden)).st_mtime if hidden else 0.0
                except FileNotFoundError:
                    continue  # another run has renamed or removed it since it was listed
                size = 0 if path == folder else state.st_size
                files_found.append(Found(os.path.relpath(path, self.root), size, max(state.st_mtime, since)))
        return files_found

    def read(self, name: str) -> bytes:
        return self._inside(name).read_bytes()

    def map(self, name: str) -> mmap.mmap | bytes:
        with self._inside(name).open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def replace(self, name: str, data: bytes) -> None:
        path = self._path(name)
        _make_folder(path.parent)
        temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
        try:
            _write_synced(temporary, data)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)  # a full disk must not leave half a file
            raise
        sync_path(path.parent)

    def namespaces(self, kind: str) -> list[str]:
        return sorted(f"{kind}/{spec.parent.name}" for spec in self._path(kind).glob("[!.]*/spec.json"))

    def commits(self, folder: str) -> list[str]:
        records = self._path(folder).glob(f"[!.]*/{RECORD}")
        return sorted(f"{folder}/{record.parent.name}" for record in records)

    def committed(self, folder: str) -> bool:
        return (self._path(folder) / RECORD).exists()

    def commit(
        self, folder: str, files: Mapping[str, bytes], record: bytes, check: Callable[[str], None], crash: FaultHook
    ) -> None:
        final = self._path(folder)
        staging = final.with_name(f".{final.name}-{uuid.uuid4().hex}")
        try:
            crash("create")
            _make_folder(final.parent)
            for name, data in files.items():
                crash(name)
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                _write_synced(staging / name, data)
            crash("read back")
            check(os.path.relpath(staging, self.root))
            crash(RECORD)
            _write_synced(staging / RECORD, record)
            for inner in [*(path for path in staging.rglob("*") if path.is_dir()), staging]:
                sync_path(inner)
            crash("rename")
            try:
                staging.rename(final)
            except OSError:
                if self.committed(folder):  # another run has committed it
                    shutil.rmtree(staging)
                elif final.is_dir():  # a slab without its record is invalid
                    self.set_aside(folder)
                    staging.rename(final)
                else:
                    raise
            crash("sync")
            sync_path(final.parent)
        except (OSError, CacheError):
            shutil.rmtree(staging, ignore_errors=True)  # a full disk must not leave half a slab
            raise

    def remove(self, name: str, spared: Spared = lambda modified: False) -> bool:
        path = self._path(name)
        hidden = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
        with suppress(FileNotFoundError):  # another run has renamed or removed it
            path.rename(hidden)  # readers keep their mapped files
            modified, folder = os.lstat(hidden).st_mtime, hidden.is_dir() and not hidden.is_symlink()
            if folder:
                os.utime(hidden)  # otherwise another gc would treat it as an old leftover
            if spared(modified) and not path.exists():  # if it exists, it has been written again
                hidden.rename(path)
                return False
            shutil.rmtree(hidden) if folder else hidden.unlink()
        return True

    def set_aside(self, folder: str) -> str:
        path = self._path(folder)
        aside = Path(self.root) / "quarantine" / f"{folder.replace('/', '-')}-{time.strftime('%Y%m%d-%H%M%S')}"
        aside.parent.mkdir(exist_ok=True)
        path.rename(aside)
        return str(aside)

    def where(self, name: str) -> str:
        return str(self._path(name))

    def _path(self, name: str) -> Path:
        return Path(self.root, name)

    def _inside(self, name: str) -> Path:
        path = self._path(name)
        if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.root)):
            raise CacheError(f"{path} is a link that leads out of the cache; it is not followed. Delete it.")
        return path


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _make_folder(path: Path) -> None:
    if not path.is_dir():
        _make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_path(path.parent)


def sync_path(path: Path) -> None:
    """Make the content of a file, or the names in a folder, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
