"""What the cache needs of a medium: the operations, shared by folders (`folder.py`) and buckets (`bucket.py`).

Names are relative to the cache, with `/` between the parts.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

RECORD = "commit.json"
KINDS = {"images", "embeddings", "datasets"}  # one of these folders makes a folder a cache

Spared = Callable[[float], bool]  # modification time of a hidden item -> whether it must be restored
FaultHook = Callable[[str], None]  # called with the name of each step before it begins; tests raise or exit in it


class CacheError(Exception):
    """The cache holds invalid content. The message names the file and the next command."""


@dataclass(frozen=True)
class Found:
    """A file of the cache: its name, size and age."""

    name: str
    bytes: int
    modified: float  # seconds since the epoch


class Storage(Protocol):
    """The operations that the cache needs of a medium."""

    @property
    def root(self) -> str:
        """Its address."""

    def exists(self) -> bool:
        """Whether the cache exists."""

    def files(self, prefix: str) -> list[Found]:
        """Every file below a prefix that ends at a `/` or at the end of a name, sorted by name.

        Files in a folder whose name starts with a dot get the folder's age if that is younger, because gc may just have
        hidden it. An empty one, left by a killed run, counts as a file of no bytes.
        """

    def read(self, name: str) -> bytes:
        """Read a whole file. Raises FileNotFoundError."""

    def map(self, name: str) -> mmap.mmap | bytes:
        """Open a whole file for random access."""

    def replace(self, name: str, data: bytes) -> None:
        """Write a file atomically: readers get the old one or the new one."""

    def namespaces(self, kind: str) -> list[str]:
        """`<kind>/<id>` of every folder with a spec.json, sorted."""

    def commits(self, folder: str) -> list[str]:
        """The committed folders below `folder`, sorted."""

    def committed(self, folder: str) -> bool:
        """Whether `folder` has been committed."""

    def commit(
        self, folder: str, files: Mapping[str, bytes], record: bytes, check: Callable[[str], None], crash: FaultHook
    ) -> None:
        """Write `files` below `folder`, `check` the written folder, then make it visible together with its record."""

    def remove(self, name: str, spared: Spared = lambda modified: False) -> bool:
        """Hide a file or folder, then delete it, or restore it if `spared` returns True.

        `spared` is called when nobody can find the item any more. Whoever saw it before has written a claim by then
        (cache/gc.py). Returns whether the item is gone.
        """

    def set_aside(self, folder: str) -> str:
        """Move a damaged file or folder away, so that the next run rebuilds it. Returns its new place."""

    def where(self, name: str) -> str:
        """The full path or address, for messages."""


def hidden_part(name: str) -> str:
    """The name up to its first part that starts with a dot; empty if there is none."""
    parts = name.split("/")
    return next(("/".join(parts[: i + 1]) for i, part in enumerate(parts) if part[0] == "." and part != "."), "")
