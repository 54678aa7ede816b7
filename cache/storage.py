"""Storage of a cache: a folder, or the objects of a bucket. A slab is committed whole or not at all."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

from cache.bucket import SETTINGS, Bucket
from cache.folder import Folder
from cache.medium import KINDS, RECORD, CacheError, FaultHook, Found, Spared, Storage
from pipeline.errors import InputError

__all__ = ["RECORD", "Bucket", "CacheError", "FaultHook", "Folder", "Found", "Spared", "Storage", "open_storage",
           "refuse_unless_cache"]  # fmt: skip


@lru_cache(maxsize=8)
def open_storage(root: str) -> Storage:
    """The storage of a folder, a file:// address or a bucket address such as s3://bucket/prefix."""
    scheme, separator, rest = root.partition("://")
    if not separator:
        return Folder(root)
    if scheme in SETTINGS and rest.strip("/"):
        return Bucket(root)
    if scheme == "file" and rest.startswith("/"):
        return Folder(unquote(rest))
    raise InputError(
        f"{root} is not an address of a cache. Give a folder, file:///folder, s3://bucket/prefix, gs://bucket/prefix "
        "or az://container/prefix."
    )


def refuse_unless_cache(root: str) -> None:
    """Raise InputError if `root` is a file, a folder with other files in it, or a folder that cannot be made."""
    storage = open_storage(root)
    path = Path(storage.root)
    if not isinstance(storage, Folder):
        return
    if not path.exists():
        parent = next(one for one in path.absolute().parents if one.exists())
        if not os.access(parent, os.W_OK):
            raise InputError(f"--cache {root} cannot be made: you may not write to {parent}. Name another folder.")
        return
    if not path.is_dir():
        raise InputError(f"--cache {root} is a file; name a folder, or one that does not exist yet.")
    names = sorted(one.name for one in path.iterdir() if not one.name.startswith("."))
    if names and not set(names) & KINDS:
        raise InputError(
            f"--cache {root} is a folder with other files in it ({', '.join(names[:3])}); name an empty folder or one "
            "that does not exist yet."
        )
