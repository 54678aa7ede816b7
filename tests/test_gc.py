"""gc beside a run: wherever the two meet, what the run has claimed is there in the end."""

import os
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import render_cache
from cache.catalog import Entry, entries
from cache.fill import ImageWork
from cache.gc import claims, garbage
from cache.workers import Pool
from tests.cached_series import STYLE, block
from tests.gc_beside_a_run import (
    INSTANTS,
    SLAB_ROWS,
    STEPS,
    collect_garbage,
    meeting,
    refuse_unless_whole,
    run_in_steps,
)
from tests.servers import tiny_card


def run(root, series):
    for step in run_in_steps(root, series):
        step()


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, INSTANTS), min_size=STEPS, max_size=STEPS).map(sorted))
def test_a_run_whose_pictures_gc_has_in_hand_has_them_in_the_end(tmp_path_factory, instants):
    """The slabs are there from before and nobody has claimed them: gc takes two slabs and then the namespace."""
    root, series = tmp_path_factory.mktemp("cache"), block(samples=8)
    ImageWork.of(root, STYLE, [series], SLAB_ROWS).run(Pool(1, "sequential"), lambda rows: None)
    with meeting(run_in_steps(root, series), instants):
        collect_garbage(root)
    refuse_unless_whole(root, series)
    assert len(entries(root)) == 1


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, INSTANTS), min_size=STEPS, max_size=STEPS).map(sorted))
def test_a_data_set_that_is_forgotten_for_room_while_it_is_rendered_again_is_kept(tmp_path_factory, instants):
    """Its first claim comes after gc has begun; one that gc knows of it may forget."""
    root, series = tmp_path_factory.mktemp("cache"), block(samples=8)
    run(root, series)
    os.utime(root / entries(root)[0].file, (1, 1))  # so that the new claim has another time for sure
    with meeting(run_in_steps(root, series), instants):
        collect_garbage(root, max_bytes=0)
    refuse_unless_whole(root, series)
    assert len(entries(root)) == 1


def test_without_a_run_beside_it_gc_takes_all_of_it(tmp_path):
    series = block(samples=8)
    work = ImageWork.of(tmp_path, STYLE, [series], SLAB_ROWS)
    work.run(Pool(1, "sequential"), lambda rows: None)
    assert len(work.store.slabs()) > 1
    collect_garbage(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_slab_whose_record_alone_is_young_is_no_leftover(tmp_path):
    """gc judged a slab by the files that were old enough: it was committed while gc looked, and lost its data."""
    series = block(samples=2)
    run(tmp_path, series)
    for path in tmp_path.glob("images/*/slabs/*/*"):
        if path.name != "commit.json":
            os.utime(path, (1, 1))
    assert garbage(tmp_path, 60) == []


def test_what_one_gc_has_in_hand_is_no_leftover_for_another(tmp_path):
    series, seen = block(samples=2), []
    run(tmp_path, series)
    slab = ImageWork.of(tmp_path, STYLE, [series]).store.slabs()[0]
    for path in (tmp_path / slab.folder).rglob("*"):
        os.utime(path, (1, 1))

    def look(modified):
        seen.extend([garbage(tmp_path, 60), slab.storage.commits(slab.folder.rpartition("/")[0])])
        return True

    assert slab.storage.remove(slab.folder, look) is False
    assert seen == [[], []]  # out of sight, and nobody else's to delete
    refuse_unless_whole(tmp_path, series)


@pytest.mark.parametrize("spared", [True, False])
def test_what_was_written_again_meanwhile_is_not_overwritten(tmp_path, spared):
    series = block(samples=2)
    work = ImageWork.of(tmp_path, STYLE, [series])
    work.run(Pool(1, "sequential"), lambda rows: None)
    (slab,) = work.store.slabs()

    def drawn_again(modified):
        ImageWork.of(tmp_path, STYLE, [series]).run(Pool(1, "sequential"), lambda rows: None)
        return spared

    slab.storage.remove(slab.folder, drawn_again)
    refuse_unless_whole(tmp_path, series)
    assert [path.name for path in (tmp_path / slab.folder).parent.iterdir()] == [slab.folder.rpartition("/")[2]]


def test_claims_are_names_and_times(tmp_path):
    before = time.time() - 1
    series = block(samples=2)
    run(tmp_path, series)
    ((name, modified),) = claims(tmp_path)
    assert name == entries(tmp_path)[0].file
    assert modified > before


def test_a_run_whose_claim_gc_took_while_it_was_written_does_not_say_that_all_is_well(tmp_path, monkeypatch, capsys):
    """gc --min-age 0 takes half-written files. Without its claim a run's pictures may go, so it must not end with 0."""
    card = tiny_card(tmp_path / "data")
    flags = ["--data", str(card), "--cache", str(tmp_path / "cache"), "--encoder", "none", "--workers", "1"]
    assert render_cache.main(flags) == 0

    def gone(self, root):
        raise FileNotFoundError(2, "No such file or directory", self.file)

    monkeypatch.setattr(Entry, "save", gone)
    assert render_cache.main(flags) == 1
    said = capsys.readouterr()
    assert "run the same command again to continue" in said.err
    assert "everything is in the cache" not in said.out
