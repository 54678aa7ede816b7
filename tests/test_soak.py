"""make soak in small, so that it keeps running and can fail; and workers that get no memory or are killed for it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import render_cache
from benchmarks.soak import __main__ as soak
from benchmarks.soak import collecting, flips, forks, growth, kills
from benchmarks.soak.data import write_table
from benchmarks.soak.process import not_flat, quarters
from cache.__main__ import collect
from cache.fsck import check
from cache.store import Reader

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


def test_a_killed_worker_and_a_killed_run_lose_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(kills, "SERIES", 640)
    row = kills.measure(tmp_path, 2, 0, ("worker", "group"))
    assert row["problems"] == []
    assert row["hit"] == 2
    assert row["worker"]["finished"] >= 1
    assert row["group"]["finished"] >= 1


def test_a_digest_that_differs_is_a_problem(tmp_path):
    lane = kills.Lane(tmp_path, None, 1, None, digest="of another run", slabs=2)

    class Ended:
        def wait(self):
            return 0

    flips.make(tmp_path / "cache")
    lane.check(tmp_path / "cache", {"images/a slab that was there"})
    lane.finish(tmp_path / "cache", Ended())
    assert lane.problems == [
        "gone: images/a slab that was there",
        "the content differs from that of an undisturbed run",
    ]


def test_flipped_bits_are_errors_or_harmless(tmp_path):
    row = flips.measure(tmp_path, 60, 0)
    assert row["flips"] == 60
    assert set(row["kinds"]) == {
        "pictures", "vectors", "shard index", "zarr.json", "rows.bin", "commit.json", "spec.json", "catalogue",
        "catalogue headers", "history",
    }  # fmt: skip
    assert row["silent"] == 0
    assert row["problems"] == []


def test_flipped_bits_are_silent_where_a_reader_compares_no_digests(tmp_path, monkeypatch):
    monkeypatch.setattr(
        Reader, "_read_into", lambda reader, out, at, number, rows: reader.open_shard(number).read(rows, out, at)
    )
    row = flips.measure(tmp_path, 60, 0)
    assert row["kinds"]["vectors"]["silent"] > 0
    assert row["kinds"]["pictures"]["silent"] > 0
    assert row["problems"] != []


def test_a_run_and_a_reader_stay_as_small_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "SLABS", 100)
    run = growth.measure_run(tmp_path / "run", 500, 0)
    assert run["problems"] == []
    assert run["written"] == 500
    reader = growth.measure_reader(tmp_path / "reader", 1.0, 0)
    assert reader["problems"] == []
    assert reader["rows_read"] > 0


def test_growth_is_a_problem():
    flat, memory, files = (
        [(100.0, 9)] * 8,
        [(100.0 + 9 * i, 9) for i in range(8)],
        [(100.0, i) for i in range(0, 64, 8)],
    )
    assert not_flat(quarters(flat)) == []
    assert "memory" in not_flat(quarters(memory))[0]
    assert "descriptors" in not_flat(quarters(files))[0]


def test_gc_beside_a_run_and_a_reader_takes_nothing_that_is_needed(tmp_path):
    row = collecting.measure(tmp_path, 2.0, 0)
    assert row["problems"] == []
    assert row["look"]["rows"] > 0
    assert row["collect"]["runs"] > 0


def test_readers_work_after_forks(tmp_path):
    row = forks.measure(tmp_path, 4, 0)
    assert row["problems"] == []
    assert row["right"] == 4


@pytest.mark.parametrize(("problems", "code"), [([], 0), (["a row is wrong"], 1), (None, 1)])
def test_the_exit_code_says_whether_anything_was_lost(monkeypatch, capsys, problems, code):
    """Every part prints its line, also after one that found something or did not get through."""

    def part(folder):
        return {"part": "made", "problems": [*problems]}

    monkeypatch.setattr(soak, "parts", lambda args: [part, part])
    assert soak.main([]) == code
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [bool(line["problems"]) for line in lines] == [bool(code)] * 2


STARVE = """
import os, resource, signal, sys
from pathlib import Path
import cache.fill, render_cache

how = sys.argv[1]
draw_slab = cache.fill.draw_slab
cache.fill.ImageWork.of.__defaults__ = (15,)  # rows of a slab: 112 pictures are 7 slabs and one of 7 rows, the last

def starved(job):
    if len(job.keys) < 15 and how == "no memory":  # the buffer of a strip is 32 MB at 1024 px, and more than is left
        size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    if len(job.keys) < 15 and how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return draw_slab(job)

cache.fill.draw_slab = starved
sys.exit(render_cache.main(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("how", "said"),
    [("no memory", "out of memory"), ("killed", "given up after 3 retries: slab")],
)
def test_a_worker_without_memory_ends_the_run_in_a_message_and_what_is_committed_stays(tmp_path, how, said):
    flags = ["--data", str(write_table(tmp_path / "table", 8)), "--encoder", "none", "--style.size", "1024"]
    command = [sys.executable, "-c", STARVE, how, *flags, "--cache", str(tmp_path / "cache"), "--workers", "2"]
    starved = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert starved.returncode == 1
    assert said in starved.stderr
    assert "Traceback" not in starved.stderr
    committed = collect(tmp_path / "cache")["images"]
    assert committed in range(15, 112, 15)
    assert check(tmp_path / "cache", full=True) == []
    for name in ("cache", "undisturbed"):
        assert render_cache.main([*flags, "--cache", str(tmp_path / name), "--workers", "1"]) == 0
    assert collect(tmp_path / "cache")["content_digest"] == collect(tmp_path / "undisturbed")["content_digest"]
    assert collect(tmp_path / "cache")["misses"] in (112, 112 - committed)  # an error leaves no history, giving up does
