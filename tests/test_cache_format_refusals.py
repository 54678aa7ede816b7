"""Damaged, foreign and newer files of a cache are refused, by the program and by the independent reader alike."""

import json
import os
import shutil
import struct
import zipfile
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import xxhash
from numcodecs import zstd

import render_cache
from cache.__main__ import main as cache_main
from cache.catalog import Entry, entries
from cache.embeddings import choose_store
from cache.fsck import check
from cache.run_log import Run
from cache.spec import FORMAT, embedding_spec, image_spec  # type: ignore[attr-defined]
from cache.storage import CacheError, open_storage
from cache.store import Store
from pipeline.sources import read
from pipeline.style import Style
from tests.cached_series import STYLE, block, fill
from tests.independent_reader import Refused, files_of, read_entry, read_namespace, read_run
from tests.written_cache import FLAGS, KINDS, namespace_of, write_cache


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A card and its cache."""
    return write_cache(tmp_path_factory.mktemp("made"))


@pytest.fixture
def whole(made, tmp_path):
    """A copy to damage."""
    return Path(shutil.copytree(made / "image_cache", tmp_path / "image_cache"))


def both_refuse(root, kind, *words):
    """Neither the program nor the page's reader gives a row of the damaged namespace; both say why."""
    (name,) = os.listdir(root / kind)
    with pytest.raises(CacheError) as program:
        every_row(root, f"{kind}/{name}")
    with pytest.raises(Refused) as read_elsewhere:
        read_namespace(files_of(root), f"{kind}/{name}")
    for word in words:
        assert word in str(program.value)
        assert word in str(read_elsewhere.value)
    return str(program.value)


def every_row(root, namespace):
    reader = Store.open(root, namespace).reader()
    for number, slab in enumerate(reader.slabs):
        reader.read_slab(number, np.arange(slab.commit.rows))


def rewrite(path, **changed):
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


@pytest.mark.parametrize("number", [FORMAT - 1, FORMAT + 1])
@pytest.mark.parametrize("file", ["spec.json", "commit.json"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_older_and_a_newer_format_is_refused_by_name(whole, capsys, kind, file, number):
    rewrite(min((whole / kind).rglob(file)), format=number)
    both_refuse(whole, kind, file.removesuffix("commit.json"), f"format {number}, this ", f"reads {FORMAT}")
    for command in (["stats"], ["gc"]):
        assert cache_main([*command, "--cache", str(whole)]) == 1
        message = capsys.readouterr().err
        assert f"format {number}, this program reads {FORMAT}" in message
        assert "Traceback" not in message


@pytest.mark.parametrize("file", ["spec.json", "commit.json"])
@pytest.mark.parametrize("number", [None, "1", 1.5, [1]])
def test_a_format_that_is_no_number_is_refused_by_what_it_is(whole, file, number):
    rewrite(min((whole / "images").rglob(file)), format=number)
    assert both_refuse(whole, "images", f"format {number}, this ", f"reads {FORMAT}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_namespace_of_a_newer_program_lies_beside_ours_and_its_rows_never_in_ours(made, whole, capsys, kind):
    """Its spec has another number, so another digest: it is refused by its number and not for its name."""
    newer = json.loads((whole / namespace_of(whole, kind) / "spec.json").read_text()) | {"format": FORMAT + 1}
    text = json.dumps(newer, sort_keys=True, indent=1)
    namespace = f"{kind}/{xxhash.xxh3_64_hexdigest(text.encode())}"
    (whole / namespace).mkdir()
    (whole / namespace / "spec.json").write_text(text)
    refusal = f"format {FORMAT + 1}, this program reads {FORMAT}"
    with pytest.raises(CacheError, match=rf"{namespace}.*{refusal}"):
        Store.open_all(whole, kind)
    assert cache_main(["stats", "--cache", str(whole)]) == 1
    assert cache_main(["gc", "--cache", str(whole), "--min-age", "0", "--apply"]) == 1
    assert capsys.readouterr().err.count(refusal) == 2
    if kind == "embeddings":  # training looks at no other namespace
        with pytest.raises(CacheError, match=refusal):
            choose_store(whole, STYLE, read(made / "card.toml"), None)
    again, filled = fill(whole, [block()])  # drawing passes by
    assert len(again.store.slabs()) > 2
    assert filled.written > 0


@pytest.mark.parametrize("damage", [
    {"rows": 0}, {"rows": 2**20 + 1}, {"rows": True}, {"rows": 1.0}, {"data_bytes": 0}, {"more": 1},
    {"spec": "0" * 16}, {"rows_digest": "0" * 32},
])  # fmt: skip
@pytest.mark.parametrize("kind", KINDS)
def test_a_commit_record_that_the_page_refuses_is_refused(whole, kind, damage):
    rewrite(min((whole / kind).rglob("commit.json")), **damage)
    assert both_refuse(whole, kind)


@pytest.mark.parametrize(
    "shape", [[10**6, 10**6], [1025, 1024], [-1, 32], ["a", 32], [1.0, 32], [True, 32], [0, 32], [32], []]
)
def test_a_spec_of_no_possible_row_is_refused_under_its_own_name_too(tmp_path, shape):
    text = json.dumps({"format": FORMAT, "kind": "images", "shape": shape, "content": {}}, sort_keys=True, indent=1)
    folder = tmp_path / "images" / xxhash.xxh3_64_hexdigest(text.encode())
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(text)
    both_refuse(tmp_path, "images", "spec.json", "shape")
    (problem,) = check(tmp_path)
    assert "shape" in problem.what


def test_a_spec_with_the_largest_picture_and_one_number_is_taken():
    for spec in (image_spec(Style(size=1024)), embedding_spec(Style(), {"name": "one", "dim": 1})):
        assert type(spec).from_json(spec.to_json()) == spec


@pytest.mark.parametrize("harm", ["flip", "cut", "append", "empty", "delete", "swap"])
@pytest.mark.parametrize("file", ["rows.bin", "data"])
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_rows_are_refused(whole, kind, file, harm):
    name = {"images": "c/0/0/0", "embeddings": "c/0/0"}[kind] if file == "data" else file
    one, other = (slab / name for slab in sorted((whole / kind).glob("*/slabs/*")))
    data = bytearray(one.read_bytes())
    if harm == "flip":
        data[len(data) // 3] ^= 4
    one.write_bytes(
        {"cut": data[:-1], "append": data + b"\0", "empty": b"", "swap": other.read_bytes()}.get(harm, data)
    )
    if harm == "delete":
        one.unlink()
    assert both_refuse(whole, kind)


def test_a_row_of_another_size_is_refused_before_it_is_unpacked(whole):
    path = min((whole / "images").glob("*/slabs/*/c/0/0/0"))
    n = json.loads((path.parents[3] / "commit.json").read_text())["rows"]
    data = bytearray(path.read_bytes())
    offset, size = struct.unpack_from("<QQ", data, len(data) - 16 * n - 4)
    bomb = zstd.compress(np.zeros(1 << 24, np.uint8), 1)[: size - 4].ljust(size - 4, b"\0")
    data[offset : offset + size] = bomb + struct.pack("<I", google_crc32c.value(bomb))
    path.write_bytes(data)
    assert "a row of 16777216 bytes" in both_refuse(whole, "images")


def test_a_chunk_that_leads_out_of_the_file_is_refused(whole):
    path = min((whole / "images").glob("*/slabs/*/c/0/0/0"))
    n = json.loads((path.parents[3] / "commit.json").read_text())["rows"]
    data = path.read_bytes()
    index = bytearray(data[-(16 * n + 4) : -4])
    for pair in ((len(data), 100), (2**64 - 1, 2**64 - 1), (2**64 - 50, 100)):
        struct.pack_into("<QQ", index, 0, *pair)
        path.write_bytes(data[: -(16 * n + 4)] + index + struct.pack("<I", google_crc32c.value(bytes(index))))
        assert both_refuse(whole, "images")


@pytest.mark.parametrize("kind", KINDS)
def test_a_link_that_leads_out_is_refused(whole, tmp_path, kind):
    path = min((whole / kind).rglob("rows.bin"))
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert both_refuse(whole, kind, "a link that leads out of the cache")


def test_hidden_names_are_never_looked_into(whole):
    expected = files_of(whole)
    namespace = whole / namespace_of(whole, "images")
    shutil.copytree(min(namespace.glob("slabs/*")), namespace / "slabs" / f".{'0' * 32}-{'1' * 32}")
    (whole / "datasets" / ".x.npz-2").write_bytes(b"?")
    assert files_of(whole) == expected
    (store,) = Store.open_all(whole, "images")
    assert len(store.slabs()) == 2
    assert len(entries(whole)) == 1
    assert check(whole, full=True) == []
    shutil.copytree(namespace, whole / "images" / ".half")
    assert files_of(whole) == expected
    assert Store.open_all(whole, "images") == [store]


def savez(path, **arrays):
    with path.open("wb") as file:
        np.savez(file, **arrays)


@pytest.mark.parametrize("harm", ["pickle", "compressed", "field more", "field less", "other keys", "cut"])
def test_an_entry_of_another_layout_is_refused_and_gc_deletes_nothing(whole, capsys, harm):
    (path,) = whole.glob("datasets/*.npz")
    with np.load(path) as file:
        arrays = dict(file)
    meta = json.loads(str(arrays["meta"]))
    if harm == "pickle":
        savez(path, **arrays | {"sample_id": arrays["sample_id"].astype(object)})
    elif harm == "compressed":
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)
    elif harm == "field more":
        savez(path, **arrays | {"meta": np.array(json.dumps(meta | {"format": 2}))})
    elif harm == "field less":
        savez(path, **arrays | {"meta": np.array(json.dumps({k: v for k, v in meta.items() if k != "windows"}))})
    elif harm == "other keys":
        savez(path, **arrays | {"keys": arrays["keys"][:-1]})
    else:
        path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(CacheError, match="datasets"):
        entries(whole)
    assert cache_main(["gc", "--cache", str(whole), "--min-age", "0", "--apply"]) == 1
    assert "cannot be read" in capsys.readouterr().err
    files = files_of(whole)
    with pytest.raises((Refused, zipfile.BadZipFile)):
        read_entry(files, path.relative_to(whole).as_posix())


def test_an_entry_is_made_again_without_drawing(made, whole, capsys):
    (path,) = whole.glob("datasets/*.npz")
    before = Entry.load(open_storage(str(whole)), path.relative_to(whole).as_posix())
    path.unlink()
    assert render_cache.main(["--data", str(made / "card.toml"), "--cache", str(whole), *FLAGS]) == 0
    assert "0 drawn, 144 reused" in capsys.readouterr().out
    again = Entry.load(open_storage(str(whole)), path.relative_to(whole).as_posix())
    np.testing.assert_array_equal(again.keys, before.keys)


def test_a_run_that_is_not_what_its_name_says_is_refused(whole):
    path = min(whole.glob("history/*.json"))
    rewrite(path, errors={"none": 1})
    name = path.relative_to(whole).as_posix()
    with pytest.raises(CacheError, match="content does not match its name"):
        Run.load(open_storage(str(whole)), name)
    with pytest.raises(Refused, match="another digest"):
        read_run(files_of(whole), name)
