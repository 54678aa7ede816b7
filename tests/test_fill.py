"""Filling the cache: same pictures in any order, nothing twice, and a kill loses only what was not committed."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import cache.fill as fill_module
from cache.__main__ import collect
from cache.estimate import Cost, Estimate
from cache.fill import EmbeddingWork, Filled, ImageWork, wanted_keys
from cache.run_log import Run, known_costs
from cache.spec import embedding_spec
from cache.storage import open_storage
from cache.store import MissingRows, Store, content_digest
from cache.workers import Pool
from pipeline.render import draw
from pipeline.series import SeriesBlock
from tests.cached_series import STYLE, block, fill

ROOT = Path(__file__).resolve().parents[1]


def test_the_seconds_of_an_estimate_are_the_sum_of_the_numbers_beside_them():
    assert str(Estimate(draw=0.6, embed=204.6, bytes=2e6)) == "206 s (draw 1, embed 205) and 2.0 MB"


def test_every_series_gets_its_own_picture_also_when_windows_differ_in_length(tmp_path):
    blocks = [block(), block(steps=10, seed=1, name="second-half")]
    work, filled = fill(tmp_path, blocks)
    assert filled.written == filled.distinct == work.plan.distinct
    reader = work.store.reader()
    for b in blocks:
        steps = b.window.length
        expected = draw(b.values.reshape(-1, steps), b.observed.reshape(-1, steps), STYLE)
        np.testing.assert_array_equal(reader.read(b.keys.reshape(-1)), expected)


def test_a_second_run_draws_nothing_and_equal_series_share_a_picture(tmp_path):
    once = block()
    twice = SeriesBlock(
        once.window, np.tile(once.values, (2, 1, 1)), np.tile(once.observed, (2, 1, 1)), np.tile(once.keys, (2, 1))
    )
    _, first = fill(tmp_path, [once])
    _, second = fill(tmp_path, [twice])
    assert first.written == once.keys.size
    assert (second.wanted, second.distinct, second.written) == (2 * once.keys.size, once.keys.size, 0)


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "backend"), [(2, "loky"), (16, "loky"), (4, "threading")])
def test_the_content_digest_does_not_depend_on_workers_or_slabs(tmp_path, workers, backend):
    one, _ = fill(tmp_path / "one", [block()])
    many, _ = fill(tmp_path / "many", [block()], workers, backend, slab_rows=7)
    assert content_digest(one.store.slabs()) == content_digest(many.store.slabs())


def test_the_content_digest_does_not_depend_on_the_order_of_slabs(tmp_path):
    forth, _ = fill(tmp_path / "forth", [block()], slab_rows=7)
    back = ImageWork.of(tmp_path / "back", STYLE, [block()], 7)
    replace(back, plan=replace(back.plan, missing=back.plan.missing[::-1])).run(
        Pool(1, "sequential"), lambda rows: None
    )
    assert {slab.folder for slab in back.store.slabs()} != {slab.folder for slab in forth.store.slabs()}
    assert content_digest(back.store.slabs()) == content_digest(forth.store.slabs())


def test_vectors_are_those_of_the_picture_in_the_colour_of_its_variate(tmp_path):
    blocks = [block()]
    fill(tmp_path, blocks)
    spec = embedding_spec(STYLE, {"name": "mean ink and colour", "dim": 4})

    def encode(ink, rgb):
        return np.column_stack([ink.reshape(len(ink), -1).mean(1), rgb]).astype(np.float16)

    work = EmbeddingWork.of(tmp_path, STYLE, spec, blocks, slab_rows=16)
    filled = work.run(Pool(), encode, lambda rows: None)
    images = Store(tmp_path, work.images).reader().read(wanted_keys(blocks))
    np.testing.assert_array_equal(work.store.reader().read(work.keys), encode(images, work.rgb))
    assert filled.written == filled.distinct
    again = EmbeddingWork.of(tmp_path, STYLE, spec, blocks)
    assert again.run(Pool(), pytest.fail, lambda rows: None).written == 0


def test_vectors_without_pictures_are_an_error(tmp_path):
    spec = embedding_spec(STYLE, {"name": "none", "dim": 4})
    work = EmbeddingWork.of(tmp_path, STYLE, spec, [block()])
    with pytest.raises(MissingRows):
        work.run(Pool(), pytest.fail, lambda rows: None)


def test_while_a_slab_is_embedded_the_next_one_is_read_and_the_last_one_committed(tmp_path, monkeypatch):
    blocks = [block()]
    fill(tmp_path, blocks)
    spec = embedding_spec(STYLE, {"name": "zeros", "dim": 4})
    work = EmbeddingWork.of(tmp_path, STYLE, spec, blocks, slab_rows=16)
    read, committed, encoded, pictures, commit = [], [], [], fill_module._pictures, fill_module._commit
    monkeypatch.setattr(fill_module, "_pictures", lambda job: (read.append(job), pictures(job))[1])
    monkeypatch.setattr(fill_module, "_commit", lambda job, rows: (commit(job, rows), committed.append(job))[0])

    def encode(ink, rgb):
        encoded.append(len(ink))
        end = time.monotonic() + 20
        while len(read) < min(len(encoded) + 1, work.plan.slabs) or len(committed) < len(encoded) - 1:
            assert time.monotonic() < end, "nothing happens beside the encoder"
            time.sleep(0.01)
        return np.zeros((len(ink), 4), np.float16)

    counted = []
    assert work.run(Pool(), encode, counted.append).written == sum(counted) == work.plan.distinct


def test_an_encoder_that_fails_leaves_the_slabs_before_it_committed(tmp_path):
    blocks = [block()]
    fill(tmp_path, blocks)
    work = EmbeddingWork.of(tmp_path, STYLE, embedding_spec(STYLE, {"name": "fails", "dim": 4}), blocks, slab_rows=16)
    calls = []

    def encode(ink, rgb):
        calls.append(len(ink))
        if len(calls) == 3:
            raise RuntimeError("no memory")
        return np.zeros((len(ink), 4), np.float16)

    with pytest.raises(RuntimeError, match="no memory"):
        work.run(Pool(), encode, lambda rows: None)
    assert sorted(len(slab.keys) for slab in work.store.slabs()) == [16, 16]


def test_the_cost_of_a_row_is_that_of_the_newest_run_alike_and_a_damaged_record_is_passed_over(tmp_path):
    storage, folder = open_storage(str(tmp_path)), tmp_path / "history"
    assert known_costs(storage, "spec", "two cores") == {}
    runs = [
        (9.0, 2000, "spec", "two cores"),
        (4.0, 2000, "spec", "two cores"),
        (1.0, 10, "spec", "two cores"),  # too few rows
        (1.0, 2000, "spec", "a GPU"),
        (1.0, 2000, "other", "two cores"),
    ]
    for day, (seconds, rows, embeddings, by) in enumerate(runs):
        Run.of({"embed": Filled(rows, rows, rows, 5 * rows, seconds)}, [], embeddings, by).save(storage)
        (new,) = [path for path in folder.iterdir() if path.name.startswith("2")]
        new.rename(folder / f"1000010{day}-{new.name.partition('-')[2]}")  # a run a day
    (folder / "10000109-000000-0123456789abcdef.json").write_text("damaged")
    assert known_costs(storage, "spec", "two cores") == {"embed": Cost(0.002, 5.0)}


DRAW_SLOWLY = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import tests.cached_series as t
from cache.fill import ImageWork
from cache.workers import Pool
blocks = [t.block(samples=200)]
work = ImageWork.of(Path(sys.argv[2]), t.STYLE, blocks, 8)
work.run(Pool(2), lambda rows: time.sleep(0.02))
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_run_killed_with_all_its_workers_resumes_to_the_same_content(tmp_path, seed):
    undisturbed, _ = fill(tmp_path / "undisturbed", [block(samples=200)])
    root = tmp_path / "killed"
    command = [sys.executable, "-c", DRAW_SLOWLY, str(ROOT), str(root)]
    process = subprocess.Popen(command, start_new_session=True, cwd=ROOT)
    slabs = root / "images"
    while not any(slabs.glob("*/slabs/[!.]*/commit.json")):
        assert process.poll() is None, "it ended before its first slab"
        time.sleep(0.01)
    time.sleep(np.random.default_rng(seed).uniform(0, 0.3))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    work = ImageWork.of(root, STYLE, [block(samples=200)], 8)
    committed = work.plan.reused
    assert committed > 0
    assert work.run(Pool(1, "sequential"), lambda rows: None).written == work.plan.distinct - committed
    assert content_digest(work.store.slabs()) == content_digest(undisturbed.store.slabs())


def test_stats_count_what_is_committed(tmp_path):
    _, filled = fill(tmp_path, [block()])
    stats = collect(tmp_path)
    assert {"series", "images", "bytes", "slabs", "committed", "content_digest"} <= set(stats)
    assert stats["images"] == filled.distinct
    assert stats["slabs"] == stats["committed"] == -(-filled.distinct // 16)
    assert json.loads(json.dumps(stats)) == stats


def test_processes_are_started_where_they_draw_longer_than_they_take_to_start(tmp_path):
    few, many = (ImageWork.of(tmp_path, STYLE, [block(samples=n)], 3 * 4) for n in (16, 20))
    assert (few.plan.slabs, few.processes(16)) == (4, 1)
    assert [many.processes(most) for most in (1, 2, 16)] == [1, 2, 5]
