"""python -m cache fsck and gc: what is damaged is found and rebuilt, what nobody needs goes, nothing else does."""

import json
import os

import numpy as np
import pytest
from PIL import Image, ImageFont

import render_cache
from cache.__main__ import collect
from cache.__main__ import main as cache_main
from cache.contact_sheet import _shortened
from cache.fsck import check, draw_again, repair
from cache.gc import garbage, sweep
from cache.spec import image_spec
from cache.storage import CacheError, open_storage
from cache.store import Store
from tests.cached_series import STYLE, block, fill
from tests.conftest import CARD, small_seasons

HOUR = 3600
CARD_IN_RANGES = CARD.replace('name = "NIR"', 'name = "NIR"\nlow = 0.0\nhigh = 1.0')  # so that tables share pictures


@pytest.fixture
def cards(tmp_path):
    """Two cards of different rows; the cache beside them is empty."""
    for name, first in (("old", 2019), ("new", 2020)):
        small_seasons().query(f"{first} <= year <= {first + 2}").to_csv(tmp_path / f"{name}.csv", index=False)
        (tmp_path / f"{name}.toml").write_text(CARD_IN_RANGES.replace("seasons.csv", f"{name}.csv"))
    return tmp_path


def render(folder, name, *more):
    flags = ["--data", str(folder / f"{name}.toml"), "--cache", str(folder / "cache"), "--encoder", "none", *more]
    assert render_cache.main([*flags, "--workers", "1"]) == 0


def age(root, seconds=2 * HOUR):
    for path in root.rglob("*"):
        then = path.stat().st_mtime - seconds
        os.utime(path, (then, then))


def names(items):
    return [item.name for item in items]


def every_file(root):
    return sorted(path for path in root.rglob("*") if path.is_file())


def test_a_sound_cache_has_no_problem(cards, capsys):
    render(cards, "old")
    assert check(cards / "cache", full=True) == []
    flags = ["fsck", "--cache", str(cards / "cache"), "--full", "--sample", "1", "--data", str(cards / "old.toml")]
    assert cache_main(flags) == 0
    assert "0 problems, 144 pictures drawn again" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["spec.json", "zarr.json", "rows.bin", "commit.json", "c/0/0/0", ".npz", "history"])
def test_damage_to_any_file_is_found_set_aside_and_rebuilt(cards, kind, capsys):
    render(cards, "old")
    root = cards / "cache"
    sound = collect(root)["content_digest"]
    victim = next(path for path in every_file(root) if kind in str(path))
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 0x10
    victim.write_bytes(data)
    assert cache_main(["fsck", "--cache", str(root), "--full"]) == 1
    assert "1 problem" in capsys.readouterr().out
    assert cache_main(["fsck", "--cache", str(root), "--full", "--repair"]) == 0
    render(cards, "old")
    assert check(root, full=True) == []
    assert collect(root)["content_digest"] == sound
    assert collect(root)["quarantined"] == 1


def test_a_namespace_without_its_spec_is_a_problem(cards):
    render(cards, "old")
    root = cards / "cache"
    next(root.glob("images/*/spec.json")).unlink()
    (problem,) = check(root)
    assert "spec.json is gone" in problem.what
    assert (root / "quarantine").exists() is False
    assert len(repair(root, [problem])) == 1
    assert list((root / "images").iterdir()) == []


def test_pictures_of_other_numbers_are_found_by_drawing_again(tmp_path):
    """A slab whose files fit each other, but whose pictures are not those of its keys: a bug of an old renderer."""
    wrong = block(samples=4)
    store = Store(tmp_path, image_spec(STYLE))
    store.create()
    keys = wrong.keys.reshape(-1)
    store.write(keys, np.zeros((len(keys), STYLE.size, STYLE.size), np.uint8))
    assert check(tmp_path, full=True) == []
    count, problems = draw_again(tmp_path, STYLE, [wrong], 1.0, 0)
    assert count == len(keys)
    assert [problem.name for problem in problems] == [store.slabs()[0].folder]


def test_nothing_that_a_data_set_needs_is_garbage(cards):
    render(cards, "old")
    render(cards, "new")
    age(cards / "cache")
    assert garbage(cards / "cache", HOUR) == []


def test_what_no_data_set_needs_goes_and_nothing_else(cards):
    """The new table's slab holds only the year that the old one has not; the old slab serves both."""
    render(cards, "old")
    render(cards, "new")
    root = cards / "cache"
    assert collect(root)["images"] == 192
    newest = max((root / "datasets").glob("*.npz"), key=lambda path: path.stat().st_mtime_ns)
    newest.unlink()
    assert garbage(root, HOUR) == []  # too young to be touched
    age(root)
    sweep(root, garbage(root, HOUR))
    assert collect(root)["images"] == 144
    assert check(root, full=True) == []
    assert garbage(root, HOUR) == []


def test_leftovers_of_killed_runs_go_when_they_are_old(cards):
    render(cards, "old")
    root = cards / "cache"
    slabs = next(root.glob("images/*/slabs"))
    (slabs / ".half-1").mkdir()
    (slabs / ".half-1" / "rows.bin").write_bytes(b"x" * 10)
    (root / "datasets" / ".entry.npz-2").write_bytes(b"y")
    assert garbage(root, HOUR) == []
    age(root)
    assert sorted(item.bytes for item in garbage(root, HOUR)) == [1, 10]
    committed = collect(root)["committed"]
    assert cache_main(["gc", "--cache", str(root), "--apply"]) == 0
    assert not (slabs / ".half-1").exists()
    assert collect(root)["committed"] == committed
    assert garbage(root, 0) == []


def test_a_dry_run_deletes_nothing(cards, capsys):
    render(cards, "old")
    root = cards / "cache"
    next((root / "datasets").glob("*.npz")).unlink()
    age(root)
    before = every_file(root)
    assert cache_main(["gc", "--cache", str(root)]) == 0
    assert "could go; --apply deletes them" in capsys.readouterr().out
    assert every_file(root) == before
    assert cache_main(["gc", "--cache", str(root), "--apply"]) == 0
    assert [path for path in every_file(root) if "images" in path.parts] == []


def test_gc_refuses_when_it_cannot_know_what_is_needed(cards, capsys):
    render(cards, "old")
    root = cards / "cache"
    next((root / "datasets").glob("*.npz")).write_bytes(b"?")
    assert cache_main(["gc", "--cache", str(root), "--apply", "--min-age", "0"]) == 1
    assert "cannot be read" in capsys.readouterr().err
    assert check(root, full=True) != []
    assert len(list(root.glob("images/*/slabs/*"))) == 1


def test_the_oldest_data_set_is_forgotten_for_room(cards):
    render(cards, "old")
    render(cards, "new", "--style.size", "64")
    root = cards / "cache"
    age(root)
    everything = sum(path.stat().st_size for path in every_file(root))
    assert garbage(root, HOUR, max_bytes=everything) == []
    items = garbage(root, HOUR, max_bytes=everything // 2)
    assert sum(name.startswith("datasets/") for name in names(items)) == 1
    sweep(root, items)
    assert len(list((root / "datasets").glob("*.npz"))) == 1
    assert check(root, full=True) == []
    assert len(open_storage(str(root)).namespaces("images")) == 1
    sweep(root, garbage(root, 0, max_bytes=0))
    assert list(root.glob("images/*/slabs/*")) == []


def test_a_reader_keeps_what_it_has_open_while_gc_deletes(tmp_path):
    work, _ = fill(tmp_path, [block()])
    reader = work.store.reader()
    keys = work.blocks[0].keys.reshape(-1)
    before = reader.read(keys)
    sweep(tmp_path, garbage(tmp_path, 0))  # no data set refers to anything
    assert work.store.slabs() == []
    np.testing.assert_array_equal(reader.read(keys), before)


def test_a_reader_that_comes_too_late_gets_an_error_and_no_row(tmp_path):
    work, _ = fill(tmp_path, [block()])
    reader = work.store.reader()
    assert len(reader.index) > 0  # keys are known, no file is open yet
    sweep(tmp_path, garbage(tmp_path, 0))
    with pytest.raises(CacheError, match="cannot be read"):
        reader.read(work.blocks[0].keys.reshape(-1))


def test_wrong_flags_are_one_paragraph_and_exit_2(cards, capsys):
    render(cards, "old")
    cache = ["--cache", str(cards / "cache")]
    for wrong, word in (
        (["fsck", "--cache", str(cards / "nowhere")], "does not exist"),
        (["fsck", *cache, "--sample", "2"], "between 0 and 1"),
        (["gc", *cache, "--min-age", "-1"], "--min-age"),
        (["show", *cache, "--variate", "nvdi"], "there are"),
        (["show", *cache, "--window", "third"], "first-half"),
        (["show", *cache, "--sample", "zzz"], "has no sample"),
        (["show", *cache, "--series", str(cards / "new.toml")], "has no plots of"),
    ):
        assert cache_main(wrong) == 2, wrong
        assert word in capsys.readouterr().err


def test_show_filters_and_puts_the_numbers_beside_the_ink(cards):
    render(cards, "old", "--style.size", "64")
    flags = ["show", "--cache", str(cards / "cache"), "--samples", "2", "--out", str(cards / "sheet.png")]
    sizes = {}
    for name, more in (("all", []), ("one", ["--variate", "ndvi"]), ("half", ["--window", "first-half"]),
                       ("numbers", ["--series", str(cards / "old.toml")])):  # fmt: skip
        assert cache_main([*flags, *more]) == 0
        with Image.open(cards / "sheet.png") as sheet:
            sizes[name] = sheet.size
    gap, plot = 8, 64
    variates = (sizes["all"][0] - gap) // (plot + gap)
    assert sizes["one"][0] == plot + 2 * gap
    assert sizes["half"][1] < sizes["all"][1]
    assert sizes["numbers"][0] == 2 * variates * (plot + gap) + gap


def test_captions_stay_under_their_plot_and_keep_both_ends_of_a_name():
    font = ImageFont.load_default(size=12)
    name = "a\nfield " + "x" * 5000 + "|2022"
    short = _shortened(name, 100, font)
    assert font.getlength(short) <= 100
    assert "\n" not in short
    assert short.startswith("a?")
    assert short.endswith("2022")
    assert _shortened("field 1|2022", 100, font) == "field 1|2022"


def test_stats_count_hits_misses_and_sharing(cards, capsys):
    render(cards, "old")
    render(cards, "old")
    assert cache_main(["stats", "--cache", str(cards / "cache"), "--json"]) == 0
    stats = json.loads("{\n" + capsys.readouterr().out.partition("{\n")[2])
    assert (stats["runs"], stats["hits"], stats["misses"], stats["dedupe_ratio"]) == (2, 144, 144, 1.0)
    assert stats["rate"]["draw"] > 0
    assert stats["errors"] == {}


@pytest.mark.parametrize("kind", ["spec.json", "commit.json"])
def test_what_another_version_wrote_is_named_and_never_set_aside(cards, kind):
    render(cards, "old")
    root = cards / "cache"
    (path,) = root.glob(f"images/**/{kind}")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    problems = check(root, full=True)
    assert ["another version of this program (format 2, this program reads 1)" in one.what for one in problems] == [
        True
    ]
    assert repair(root, problems) == []
    assert path.exists()
    age(root)
    with pytest.raises(CacheError, match="another version"):
        garbage(root, HOUR)


def test_a_slab_under_the_name_of_another_is_found_and_rebuilt(cards, capsys):
    render(cards, "old")
    root = cards / "cache"
    sound = collect(root)["content_digest"]
    (slab,) = root.glob("images/*/slabs/*")
    slab.rename(slab.with_name("0" * 32))
    assert "name of another slab" in check(root)[0].what
    assert cache_main(["fsck", "--cache", str(root), "--repair"]) == 0
    render(cards, "old")
    assert check(root, full=True) == []
    assert collect(root)["content_digest"] == sound


def test_a_checksum_that_only_other_readers_look_at_is_checked_too(cards):
    """crc32c of a chunk: our rows have digests of their own, but zarr would refuse this one."""
    render(cards, "old")
    root = cards / "cache"
    (path,) = root.glob("images/*/slabs/*/c/0/0/0")
    data = bytearray(path.read_bytes())
    offset, size = np.frombuffer(data[-(16 * 144 + 4) : -4], "<u8").reshape(-1, 2)[3].tolist()
    data[offset + size - 1] ^= 1
    path.write_bytes(data)
    assert check(root) == []
    assert ["checksum does not match" in one.what for one in check(root, full=True)] == [True]


def test_a_catalogue_entry_under_another_name_is_refused(cards):
    render(cards, "old")
    (path,) = (cards / "cache" / "datasets").glob("*.npz")
    path.rename(path.with_name(path.name.replace(path.name[:4], "0000")))
    assert ["content does not match its name" in one.what for one in check(cards / "cache")] == [True]
