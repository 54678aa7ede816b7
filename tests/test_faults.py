"""What can go wrong around a run: signals, full and failing disks, damage, strangers' files. Nothing lost, nothing wrong."""

import contextlib
import errno
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xxhash
from numcodecs import zstd

import cache.storage
import render_cache
from cache.__main__ import collect
from cache.__main__ import main as cache_main
from cache.catalog import entries
from cache.fill import EmbeddingWork, ImageWork
from cache.fsck import check
from cache.gc import garbage, sweep
from cache.history import history
from cache.pool import Pool
from cache.spec import embedding_spec
from cache.storage import CacheError, open_storage
from cache.store import MissingRows, Store, content_digest
from tests.conftest import CARD, small_seasons
from tests.test_fill import STYLE, block, fill

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ROOT / "render_cache.py"


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A table of 28,000 pictures, its card, and the digest of an undisturbed run."""
    folder = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    table = small_seasons()
    bands = [name for name in table if name.startswith(("ndvi_", "NIR_"))]
    copies = []
    for copy in range(84):
        part = table.copy()
        part["place"] += f"-{copy}"
        part[bands] += rng.normal(0, 0.02, part[bands].shape)
        copies.append(part)
    type(table)(np.concatenate(copies), columns=table.columns).to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD)
    assert run(folder, "undisturbed").returncode == 0
    return folder, collect(folder / "undisturbed")["content_digest"]


def command(folder, name, *more):
    flags = ["--data", folder / "card.toml", "--cache", folder / name, "--encoder", "none", "--workers", 2]
    return [sys.executable, str(PROGRAM), *map(str, [*flags, *more])]


def run(folder, name, *more, **options):
    return subprocess.run(command(folder, name, *more), capture_output=True, text=True, timeout=120, **options)


def start(folder, name):
    """The program in a group of its own, once it has committed something."""
    process = subprocess.Popen(
        command(folder, name), start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not any((folder / name).glob("images/*/slabs/[!.]*/commit.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    return process


def workers_of(process):
    """Living processes of its group, itself left out."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(group) == process.pid != int(stat.parent.name) and state != "Z":
                found.append(int(stat.parent.name))
    return found


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_run_with_its_workers_and_the_same_command_goes_on(many, number, code):
    folder, digest = many
    name = f"signal{number}"
    process = start(folder, name)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == code
    assert errors.strip() == "render_cache.py: stopped. What is committed is safe; the same command goes on."
    end = time.monotonic() + 10
    while workers_of(process):
        assert time.monotonic() < end, "workers are left over"
        time.sleep(0.05)
    assert check(folder / name) == []
    again = run(folder, name)
    assert again.returncode == 0
    assert collect(folder / name)["content_digest"] == digest
