"""Networks that an earlier run has converted, kept for this user: the next run neither loads torch nor converts.

`~/.cache/timesclip/<weights digest>-<digest of the rest>/` holds network.xml and network.bin, as OpenVINO writes them,
and their digest. It appears by one rename, so that two runs may convert at once, and whatever decides what the network
computes is in its name. Delete it as you like.
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
LIBRARIES = {"open_clip": "open_clip_torch", "transformers": "transformers"}  # what builds the tower; timm otherwise
FILES = ("network.xml", "network.bin")


def place(spec: EncoderSpec) -> Path:
    """Where the network of this encoder belongs; other weights, preprocessing or packages have another place."""
    packages = ("openvino", "torch", LIBRARIES.get((spec.base or spec).name.partition(":")[0], "timm"))
    content = json.dumps([spec.to_dict(), {package: version(package) for package in packages}], sort_keys=True)
    return FOLDER / f"{spec.weights_digest}-{xxhash.xxh3_64_hexdigest(content.encode())}"


def is_whole(folder: Path) -> bool:
    """Whether a network is there as it was written."""
    try:
        return (folder / "digest").read_text() == folder_digest([folder / name for name in FILES])
    except FileNotFoundError:
        return False


def keep(folder: Path, write: Callable[[Path], None]) -> None:
    """`write` the network into a folder beside, and make it this one. A damaged one goes.

    A network that cannot be kept costs the next run the conversion again, which a warning says.
    """
    aside = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    try:
        aside.mkdir(parents=True)
        write(aside / FILES[0])
        (aside / "digest").write_text(folder_digest([aside / name for name in FILES]))
        if not is_whole(folder):
            shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    except (OSError, RuntimeError) as error:  # OpenVINO raises RuntimeError where a file cannot be written
        shutil.rmtree(aside, ignore_errors=True)
        if not is_whole(folder):  # otherwise another run was first
            warnings.warn(f"the converted network cannot be kept ({error}); each run will convert it anew.",
                          RuntimeWarning, stacklevel=2)  # fmt: skip
