"""Converted networks, saved for this user, so that the next run neither loads torch nor converts.

`~/.cache/timesclip/<weights digest>-<digest of the rest>/` holds network.xml and network.bin, as OpenVINO writes them,
and their digest. One rename publishes the folder, so two runs may convert at the same time. The name covers everything
that determines the network's output. The folder may be deleted at any time.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import xxhash

from model.encoders.spec import EncoderSpec, folder_digest

FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "timesclip"
LIBRARIES = {
    "open_clip": "open_clip_torch",
    "transformers": "transformers",
}  # the package that builds the tower; otherwise timm
FILES = ("network.xml", "network.bin")


def place(spec: EncoderSpec) -> Path:
    """The folder of this encoder's network. Other weights, preprocessing or package versions give another folder."""
    packages = ("openvino", "torch", LIBRARIES.get((spec.base or spec).name.partition(":")[0], "timm"))
    content = json.dumps([spec.to_dict(), {package: version(package) for package in packages}], sort_keys=True)
    return FOLDER / f"{spec.weights_digest}-{xxhash.xxh3_64_hexdigest(content.encode())}"


def is_whole(folder: Path) -> bool:
    """Whether a complete, undamaged network is there."""
    try:
        return (folder / "digest").read_text() == folder_digest([folder / name for name in FILES])
    except FileNotFoundError:
        return False


def keep(folder: Path, write: Callable[[Path], None]) -> None:
    """`write` the network into a temporary folder, then rename that to this one. Replaces a damaged one.

    If the network cannot be saved, this warns: the next run has to convert again.
    """
    aside = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    try:
        aside.mkdir(parents=True)
        write(aside / FILES[0])
        (aside / "digest").write_text(folder_digest([aside / name for name in FILES]))
        if not is_whole(folder):
            shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    except (OSError, RuntimeError) as error:  # OpenVINO raises RuntimeError if a file cannot be written
        shutil.rmtree(aside, ignore_errors=True)
        if not is_whole(folder):  # otherwise another run has saved it
            warnings.warn(f"the converted network cannot be saved ({error}); each run will convert it again.",
                          RuntimeWarning, stacklevel=2)  # fmt: skip
