"""Signals, kills, full and failing disks, two runs at once, few open files: nothing that was committed is lost."""

import contextlib
import errno
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import cache.folder
import render_cache
from cache.__main__ import collect
from cache.__main__ import main as cache_main
from cache.fsck import check
from cache.gc import garbage, sweep
from cache.store import Store, content_digest
from tests.cached_series import block, fill
from tests.conftest import CARD, small_seasons

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


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_run_with_its_workers_and_the_same_command_goes_on(many, number, code):
    folder, digest = many
    name = f"signal{number}"
    process = start(folder, name)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == code
    assert errors.strip() == "render_cache.py: stopped. Committed work is safe; run the same command again to continue."
    end = time.monotonic() + 10
    while workers_of(process):
        assert time.monotonic() < end, "workers are left over"
        time.sleep(0.05)
    assert check(folder / name) == []
    again = run(folder, name)
    assert again.returncode == 0
    assert collect(folder / name)["content_digest"] == digest


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.0, 0.4, 1.5])
def test_ctrl_c_while_openvino_embeds_ends_with_130_and_nothing_else(tmp_path, after):
    small_seasons().to_csv(tmp_path / "seasons.csv", index=False)
    (tmp_path / "card.toml").write_text(CARD)
    flags = ["--data", "card.toml", "--cache", "cache", "--encoder", "efficientnet-lite0", "--views", "20"]
    two = os.environ | {"OMP_NUM_THREADS": "2"}
    process = subprocess.Popen([sys.executable, PROGRAM, *flags], cwd=tmp_path, env=two,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    for line in process.stdout:
        if line.startswith("draw: "):  # then it embeds
            break
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.count("FATAL")) == (130, 0), errors


def test_twenty_kills_at_random_instants_lose_nothing_that_was_committed(tmp_path):
    """The writer itself is killed; tests/test_fill.py kills whole groups of workers, make soak does both 200 times."""
    blocks = [block(samples=200)]
    undisturbed, _ = fill(tmp_path / "undisturbed", blocks, slab_rows=8)
    root, rng, killed, committed = tmp_path / "killed", np.random.default_rng(0), 0, 0
    for _ in range(20):
        child = os.fork()
        if child == 0:
            fill(root, blocks, slab_rows=8)
            os._exit(0)
        time.sleep(rng.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        assert check(root, full=True) == []
        now = len(Store(root, undisturbed.store.spec).slabs())
        assert now >= committed
        committed = now
    assert killed >= 10
    resumed, filled = fill(root, blocks, slab_rows=8)
    assert content_digest(resumed.store.slabs()) == content_digest(undisturbed.store.slabs())
    assert filled.written + 8 * committed >= filled.distinct
    wanted = {slab.folder for slab in resumed.store.slabs()}
    sweep(root, [item for item in garbage(root, 0) if "killed" in item.why])
    assert {slab.folder for slab in resumed.store.slabs()} == wanted
    assert not list(root.rglob(".*"))


@pytest.mark.slow
def test_a_file_size_limit_ends_the_run_with_its_name_and_no_half_file(many):
    folder, digest = many

    def little_room():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    ended = run(folder, "full", preexec_fn=little_room)
    assert ended.returncode == 1
    assert "File too large" in ended.stderr
    assert "Committed work is safe" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not any((folder / "full").rglob(".*"))
    assert run(folder, "full").returncode == 0
    assert collect(folder / "full")["content_digest"] == digest


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("call", range(1, 12, 2))
def test_a_disk_that_fails_at_any_write_ends_the_run_and_leaves_no_half(
    tmp_path, small_card, monkeypatch, capsys, number, call
):
    flags = ["--data", str(small_card), "--cache", str(tmp_path / "cache"), "--encoder", "none", "--workers", "1"]
    calls = 0

    def failing(handle):
        nonlocal calls
        calls += 1
        if calls >= call:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(cache.folder.os, "fsync", failing)  # type: ignore[attr-defined]
    assert render_cache.main(flags) == 1
    error = capsys.readouterr().err
    assert os.strerror(number) in error
    assert "run the same command again to continue" in error
    assert not list((tmp_path / "cache").rglob(".*"))
    monkeypatch.undo()
    assert check(tmp_path / "cache") == []
    assert render_cache.main(flags) == 0
    assert check(tmp_path / "cache", full=True) == []


@pytest.mark.parametrize("place", ["/proc/no-such-place/cache", "a-file", "a-file/below"])
def test_a_cache_that_cannot_be_made_is_one_sentence(tmp_path, small_card, capsys, place):
    (tmp_path / "a-file").write_text("mine")
    where = place if place.startswith("/") else str(tmp_path / place)
    flags = ["--data", str(small_card), "--cache", where, "--encoder", "none", "--workers", "1"]
    assert render_cache.main(flags) in (1, 2)
    assert where.removesuffix("/below").removesuffix("/cache") in capsys.readouterr().err
    assert (tmp_path / "a-file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_read_only_cache_is_read_and_not_written(tmp_path, small_card, capsys):
    flags = ["--data", str(small_card), "--cache", str(tmp_path / "cache"), "--encoder", "none", "--workers", "1"]
    assert render_cache.main(flags) == 0
    folders = [path for path in [tmp_path / "cache", *(tmp_path / "cache").rglob("*")] if path.is_dir()]
    for path in folders:
        path.chmod(0o555)
    assert render_cache.main([*flags, "--style.size", "64"]) == 1
    assert "Permission denied" in capsys.readouterr().err
    assert check(tmp_path / "cache", full=True) == []
    for path in folders:
        path.chmod(0o755)


@pytest.mark.slow
def test_two_runs_at_once_and_a_reader_that_looks_on(many):
    """Every look finds whole rows; both runs end well; the content is that of one."""
    folder, digest = many
    root = folder / "two"
    runs = [
        subprocess.Popen(command(folder, "two"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)
    ]
    looks = 0
    while any(process.poll() is None for process in runs):
        for reader in (store.reader() for store in Store.open_all(root, "images")):
            for number in range(len(reader.slabs)):
                reader.read_slab(number, np.arange(3))
                looks += 1
        assert cache_main(["gc", "--cache", str(root), "--apply"]) in (0, 2)  # 2: there is no cache yet
        time.sleep(0.05)
    assert [process.wait() for process in runs] == [0, 0], [process.stderr.read() for process in runs]
    for process in runs:
        process.stderr.close()
    assert looks > 0
    assert collect(root)["content_digest"] == digest
    assert check(root, full=True) == []


def test_a_reader_of_many_slabs_keeps_few_files_open(tmp_path, monkeypatch):
    monkeypatch.setattr("cache.store.MOST_MAPPED", 3)
    work, _ = fill(tmp_path, [block()], slab_rows=8)
    reader = work.store.reader()
    reader.read(np.concatenate([slab.keys[:1] for slab in reader.slabs]))
    assert len(reader.slabs) > 10
    assert len(reader._mapped) == 3
