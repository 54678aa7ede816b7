"""A cache in the objects of a bucket (s3://, gs://, az://).

Objects appear whole or not at all. Those of one commit share a new prefix below the slab's name, and the commit record
is put last. Readers list commit records, so they see nothing too early. If two runs race for a slab, both commit. Equal
keys have equal content, and readers take the first.
"""

from __future__ import annotations

import mmap
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import lru_cache
from typing import Any

from cache.medium import RECORD, FaultHook, Found, Spared
from pipeline.errors import InputError

PATIENCE = timedelta(seconds=10)  # retries of a store that fails or is unreachable end after this time
SETTINGS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, and for other stores than Amazon's AWS_ENDPOINT_URL "
    "(with AWS_ALLOW_HTTP=true if it starts with http://)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY",
}


class Bucket:
    """A cache in an object store. Credentials and endpoint come from the environment, as in the vendors' tools."""

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/")

    @property
    def root(self) -> str:
        return self._root

    def __reduce__(self) -> tuple[Any, ...]:
        return Bucket, (self.root,)  # each worker opens its own connection

    def exists(self) -> bool:
        return bool(self.files(""))

    def files(self, prefix: str) -> list[Found]:
        store = _connect(self.root)
        with _as_os_errors(self.where(prefix)):
            pages = list(store.list(prefix or None))
        objects = [Found(o["path"], o["size"], o["last_modified"].timestamp()) for page in pages for o in page]
        return sorted(objects, key=lambda one: one.name)

    def read(self, name: str) -> bytes:
        store = _connect(self.root)
        with _as_os_errors(self.where(name)):
            return bytes(store.get(name).bytes())

    def map(self, name: str) -> mmap.mmap | bytes:
        return self.read(name)

    def replace(self, name: str, data: bytes) -> None:
        store = _connect(self.root)
        with _as_os_errors(self.where(name)):
            store.put(name, data)

    def namespaces(self, kind: str) -> list[str]:
        return [file.name.removesuffix("/spec.json") for file in self.files(kind) if file.name.endswith("/spec.json")]

    def commits(self, folder: str) -> list[str]:
        return [file.name.removesuffix(f"/{RECORD}") for file in self.files(folder) if file.name.endswith(f"/{RECORD}")]

    def committed(self, folder: str) -> bool:
        return bool(self.commits(folder))

    def commit(
        self, folder: str, files: Mapping[str, bytes], record: bytes, check: Callable[[str], None], crash: FaultHook
    ) -> None:
        prefix = f"{folder}/{uuid.uuid4().hex}"
        crash("create")
        for name, data in files.items():
            crash(name)
            self.replace(f"{prefix}/{name}", data)
        crash("read back")
        check(prefix)
        crash(RECORD)
        self.replace(f"{prefix}/{RECORD}", record)

    def remove(self, name: str, spared: Spared = lambda modified: False) -> bool:
        names = [file.name for file in self.files(name)] or [name]
        store = _connect(self.root)
        with suppress(FileNotFoundError), _as_os_errors(self.where(name)):  # another run has removed it
            visible = [one for one in names if one.endswith(RECORD)] or names[
                :1
            ]  # without its record a slab is invisible
            modified = store.head(visible[0])["last_modified"].timestamp()
            saved = {one: self.read(one) for one in visible}
            for one in visible:
                store.delete(one)
            if spared(modified):
                for one, data in saved.items():
                    self.replace(one, data)
                return False
            for one in set(names) - set(visible):
                store.delete(one)
        return True

    def set_aside(self, folder: str) -> str:
        self.remove(folder)
        return "deleted"

    def where(self, name: str) -> str:
        return f"{self.root}/{name}"


@lru_cache(maxsize=8)
def _connect(root: str) -> Any:
    """The store, one per process. Raises InputError if the address or the environment is invalid."""
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError as error:
        raise InputError(f"{root} is a bucket, which needs the package: pip install obstore") from error
    try:
        return from_url(root, retry_config={"retry_timeout": PATIENCE})
    except BaseError as error:
        raise InputError(_explain(root, error)) from error


@contextmanager
def _as_os_errors(where: str) -> Iterator[None]:
    """Turn errors of the object store into those that a file system would raise."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(_explain(where, error)) from error
    except BaseError as error:
        raise OSError(_explain(where, error)) from error


def _explain(where: str, error: Exception) -> str:
    """One paragraph: the store's message, without its stack, and the source of its settings."""
    message = " ".join(str(error).partition("Debug source:")[0].split())
    settings = SETTINGS[where.partition("://")[0]]
    return f"{where}: {message[:500]}. Address and credentials are read from the environment: {settings}."
