"""docs/cache-format.md is enough: a reader written from the page alone reads a cache, and the page's examples run."""

import ast
import json
import os
import re
import shutil
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import xxhash
import zarr
from numcodecs import zstd
from PIL import Image

import render_cache
from cache.__main__ import collect
from cache.__main__ import main as cache_main
from cache.catalog import Entry, entries
from cache.embeddings import choose_store, embeddings
from cache.fill import EmbeddingWork, ImageWork
from cache.fsck import check
from cache.run_log import Run, past_runs
from cache.spec import FORMAT, embedding_spec, image_spec  # type: ignore[attr-defined]
from cache.storage import CacheError, open_storage
from cache.store import Store, content_digest, slab_id
from cache.workers import Pool
from pipeline.keys import colour_keys, series_keys
from pipeline.render import PALETTE, Style, vertices
from pipeline.series import fold_variants
from pipeline.sources import read
from pipeline.splits import make_folds
from tests.cached_series import STYLE, block, fill
from tests.conftest import CARD, small_seasons
from tests.independent_reader import (
    COMMIT,
    NAMES,
    PAGE,
    Refused,
    digest_of_content,
    files_of,
    key_of_vector,
    message_of,
    read_entry,
    read_namespace,
    read_run,
    read_spec,
    style_digest,
    vertices_of,
    zarr_json,
)
from tests.servers import s3_server, s3_settings

SIZE = 32
FLAGS = ["--encoder", "none", "--workers", "1", "--style.size", str(SIZE)]
KINDS = ["images", "embeddings"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A card and its cache: two slabs of pictures, two of vectors, an entry that names both, two runs."""
    folder = tmp_path_factory.mktemp("made")
    small_seasons().query("year >= 2020").to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD)
    root = folder / "image_cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageWork.of, "__defaults__", (100,))
        for _ in range(2):
            assert render_cache.main(["--data", str(folder / "card.toml"), "--cache", str(root), *FLAGS]) == 0
    spec = embedding_spec(STYLE, {"name": "ink and colour", "dim": 5})
    work = EmbeddingWork.of(root, STYLE, spec, blocks_of(folder), 90)
    work.run(Pool(1, "sequential"), encode, lambda rows: None)
    (entry,) = entries(root)
    replace(entry, embeddings=spec.id).save(root)
    assert len(list(root.glob("*/*/slabs/*"))) == 4
    return folder


def encode(ink, rgb):
    flat = ink.reshape(len(ink), -1)
    return np.column_stack([flat.mean(1), flat.std(1), rgb]).astype(np.float16)


def blocks_of(folder):
    table = read(folder / "card.toml")
    folds = make_folds(table.year, table.place, table.sample_id, "year", 0)
    return [block for variant in fold_variants(table, folds, STYLE) for block in variant]


@pytest.fixture
def whole(made, tmp_path):
    """A copy to damage."""
    return Path(shutil.copytree(made / "image_cache", tmp_path / "image_cache"))


def namespace_of(root, kind):
    (namespace,) = (root / kind).iterdir()
    return f"{kind}/{namespace.name}"


def test_the_reader_uses_nothing_of_ours():
    tree = ast.parse((Path(__file__).parent / "independent_reader.py").read_text())
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in nodes for alias in node.names} | {getattr(node, "module", None) for node in nodes}
    assert {"struct", "xxhash"} < names
    assert not {str(name).split(".")[0] for name in names} & {"cache", "pipeline", "model", "stages", "tests"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_written_from_the_page_reads_the_same_rows_keys_and_digests(made, kind):
    root = made / "image_cache"
    read = read_namespace(files_of(root), namespace_of(root, kind))
    store = Store.open(root, namespace_of(root, kind))
    slabs, reader = store.slabs(), store.reader()
    assert list(read) == [slab.folder for slab in slabs]
    assert len(slabs) == 2
    for number, (slab, (keys, digests, rows)) in enumerate(zip(slabs, read.values(), strict=True)):
        assert keys == slab.keys.tolist()
        assert digests == slab.digests.tolist()
        np.testing.assert_array_equal(rows, reader.read_slab(number, np.arange(slab.commit.rows)))
        np.testing.assert_array_equal(rows, reader.read(slab.keys))
        assert rows.dtype == reader.read(slab.keys).dtype


@pytest.mark.parametrize("kind", KINDS)
def test_its_ids_and_texts_are_ours(made, kind):
    root = made / "image_cache"
    files, namespace = files_of(root), namespace_of(root, kind)
    store = Store.open(root, namespace)
    assert xxhash.xxh3_64_hexdigest(files[f"{namespace}/spec.json"]) == store.spec.id
    spec = read_spec(files, namespace)
    assert files[f"{namespace}/spec.json"] == json.dumps(spec, sort_keys=True, indent=1).encode()
    assert (spec["kind"], tuple(spec["shape"])) == (store.spec.kind, store.spec.shape)
    for slab, (keys, _, rows) in read_namespace(files, namespace).items():
        assert slab.endswith(f"/{slab_id(np.array(keys, 'V16'))}")
        assert files[f"{slab}/zarr.json"] == zarr_json(kind, len(rows), spec["shape"])
        assert set(json.loads(files[f"{slab}/commit.json"])) == set(COMMIT)


def test_its_content_digest_is_ours(made, tmp_path):
    root = made / "image_cache"
    slabs = [slab for store in Store.open_all(root, "images") for slab in store.slabs()]
    assert digest_of_content(files_of(root)) == content_digest(slabs) == collect(root)["content_digest"]
    twice = [fill(tmp_path, [block(samples=n, seed=seed)])[0] for n, seed in ((8, 0), (20, 1))]
    fill(tmp_path, [block(samples=4)], slab_rows=12)
    assert digest_of_content(files_of(tmp_path)) == content_digest(twice[0].store.slabs())
    assert digest_of_content({}) == content_digest([])


def test_a_record_that_two_slabs_hold_counts_once(tmp_path):
    store = Store(tmp_path, image_spec(STYLE))
    store.create()
    keys, rows = block().keys.reshape(-1)[:5], np.zeros((5, SIZE, SIZE), np.uint8)
    store.write(keys, rows)
    store.write(keys[:3], rows[:3])
    assert len(read_namespace(files_of(tmp_path), store.namespace)) == 2
    assert digest_of_content(files_of(tmp_path)) == content_digest(store.slabs()) == content_digest(store.slabs()[:2])


def test_every_file_of_a_cache_has_a_name_that_the_page_knows(made):
    names = list(files_of(made / "image_cache"))
    assert [name for name in names if not any(re.fullmatch(pattern, name) for pattern in NAMES)] == []
    assert all(any(re.fullmatch(pattern, name) for name in names) for pattern in NAMES[:-1])


def test_it_finds_the_picture_and_the_vector_of_every_series_of_an_entry(made):
    root = made / "image_cache"
    files = files_of(root)
    (name,) = (name for name in files if name.startswith("datasets/"))
    meta, samples, keys = read_entry(files, name)
    (ours,) = entries(root)
    assert (meta["name"], meta["fingerprint"], meta["seconds"]) == (ours.name, ours.fingerprint, ours.seconds)
    assert (meta["variates"], meta["windows"]) == (list(ours.variates), list(ours.windows))
    assert samples == ours.sample_id.tolist()
    assert keys == ours.keys.tolist()
    pictures, vectors = {}, {}
    for kind, found in (("images", pictures), ("embeddings", vectors)):
        for slab_keys, _, rows in read_namespace(files, f"{kind}/{meta[kind]}").values():
            found |= dict(zip(slab_keys, rows, strict=True))
    palette = read_spec(files, f"embeddings/{meta['embeddings']}")["content"]["palette"]
    assert read_spec(files, f"embeddings/{meta['embeddings']}")["content"]["images"] == meta["images"]
    expected = embeddings(Store.open(root, f"embeddings/{meta['embeddings']}").reader(), blocks_of(made))
    for n, sample in enumerate(keys):
        for v, variate in enumerate(sample):
            colour = palette[v % len(palette)]
            for w, key in enumerate(variate):
                vector = vectors[key_of_vector(key, colour)]
                np.testing.assert_array_equal(vector, expected[w, n, v])
                np.testing.assert_array_equal(vector, encode(pictures[key][None], np.array([colour], "u1"))[0])


def test_it_reads_the_runs(made):
    root = made / "image_cache"
    files = files_of(root)
    runs = [read_run(files, name) for name in sorted(files) if name.startswith("history/")]
    assert [run["stages"] for run in runs] == [run.stages for run in past_runs(open_storage(str(root)))]
    assert {"stages", "embeddings", "errors", "by", "at"} == set(runs[0])
    assert set(runs[0]["stages"]["draw"]) == {"wanted", "distinct", "reused", "written", "bytes", "seconds"}


@pytest.mark.parametrize("style", [
    STYLE, Style(), Style(y_range="window"), Style(size=100, margin=5.3, line_width=1e-5, dot_diameter=9)
])  # fmt: skip
def test_a_key_computed_from_the_numbers_by_the_page_is_ours(style):
    rng = np.random.default_rng(0)
    nearly = [0.3 + spread * rng.normal(size=(3, 17)) for spread in (0, 1e-8, 1e-4)]  # on both sides of 1e-6
    values = np.concatenate([rng.normal(0.5, 0.5, (60, 17)), *nearly]).astype(np.float32)
    observed = rng.random(values.shape) > 0.2
    observed[:2] = False
    spec = json.loads(image_spec(style).to_json())
    vertices_here = [vertices_of(*series, spec["content"]["style"]) for series in zip(values, observed, strict=True)]
    assert vertices_here == vertices(values, observed, style).tolist()
    keys = [xxhash.xxh3_128_digest(message_of(one, style_digest(spec)[1])) for one in vertices_here]
    ours = series_keys(values, observed, style)
    assert keys == ours.tolist()
    assert [key_of_vector(key, PALETTE[3].tolist()) for key in keys] == colour_keys(ours, PALETTE[3]).tolist()


def test_the_keys_of_agg_pictures_need_the_version_of_matplotlib():
    from importlib.metadata import version

    style = Style(renderer="agg")
    spec = json.loads(image_spec(style).to_json())
    assert "matplotlib" not in json.dumps(spec)
    assert style_digest(spec, f"matplotlib {version('matplotlib')}")[1].hex() == style.digest


def test_the_numbers_for_checking_an_implementation_are_right():
    section = PAGE.partition("| to check an implementation |")[2].partition("\n\n")[0]
    table = dict(re.findall(r"^\| (.*?) \| (.*) \|$", section, re.M))
    spec = json.loads(image_spec(Style()).to_json())
    text, digest = style_digest(spec)
    vertices_here = vertices_of(np.array([0, 9, 0.5, 1], "f4"), np.array([1, 0, 1, 1], bool), spec["content"]["style"])
    message = message_of(vertices_here, digest)
    key = xxhash.xxh3_128_digest(message)
    crc = google_crc32c.value(b"123456789")
    assert table == {
        "xxh3-64, xxh3-128 of no bytes": f"`{xxhash.xxh3_64_hexdigest(b'')}`, `{xxhash.xxh3_128_hexdigest(b'')}`",
        "crc32c of `123456789`": f"`{crc:#x}`, stored as `{struct.pack('<I', crc).hex()}`",
        "style text": f"`{text}`",
        "values 0, not observed, 0.5, 1": f"vertices {', '.join(map(str, vertices_here))}",
        "message": f"`{message.hex()}`",
        "key": f"`{key.hex()}`",
        "key of its vector in (0, 90, 181)": f"`{key_of_vector(key, (0, 90, 181)).hex()}`",
    }
    assert PALETTE[0].tolist() == [0, 90, 181]


def test_the_examples_of_the_page_show_a_picture_and_a_vector_of_the_cache(whole, monkeypatch, capsys):
    monkeypatch.chdir(whole.parent)
    names = {}
    for example in re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S):
        exec(compile(example, "docs/cache-format.md", "exec"), names)
    pictures, vectors = (Store.open(whole, namespace_of(whole, kind)) for kind in KINDS)
    first, other = pictures.slabs()[0], vectors.slabs()[0]
    assert capsys.readouterr().out.splitlines() == [
        f"({first.commit.rows}, {SIZE}, {SIZE}) uint8",
        f"({other.commit.rows}, 5) float16 {other.keys[0].tobytes().hex()}",
        "True",
    ]
    (ink,) = pictures.reader().read(first.keys[:1])
    assert ink.max() == 255
    with Image.open("picture.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), 255 - ink)
    np.testing.assert_array_equal(names["vector"], vectors.reader().read(other.keys[:1])[0])


def test_zarr_alone_shows_a_slab_without_its_data_as_blank(whole):
    slab = min(whole.glob("images/*/slabs/*"))
    (slab / "c/0/0/0").unlink()
    assert zarr.open(slab, mode="r")[:].max() == 0
    with pytest.raises(Refused, match="another size"):
        read_namespace(files_of(whole), namespace_of(whole, "images"))


# What is refused, by the program and by the independent reader alike.


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


def test_a_bucket_is_read_alike_and_a_folder_copied_into_one_is_a_cache(made, tmp_path, monkeypatch):
    pytest.importorskip("moto")
    store_module = pytest.importorskip("obstore.store")
    with s3_server(tmp_path) as (endpoint, _):
        for name, value in s3_settings(endpoint).items():
            monkeypatch.setenv(name, value)
        bucket(endpoint, "shelf")
        root = "s3://shelf/written"
        work, _ = fill(root, [block()], slab_rows=60)
        keys, rows = block(seed=1).keys.reshape(-1)[:9], np.full((9, SIZE, SIZE), 7, np.uint8)
        work.store.write(keys, rows, lambda step: work.store.write(keys, rows) if step == "commit.json" else None)
        files = objects(store_module, root)
        assert all(re.fullmatch(NAMES[0], name) or re.fullmatch(NAMES[1], name) for name in files)
        assert {len(name.split("/")) for name in files if name.endswith("commit.json")} == {6}
        read = read_namespace(files, work.store.namespace)
        assert list(read) == [slab.folder for slab in work.store.slabs()]
        assert [slab.split("/")[3] for slab in read].count(slab_id(keys)) == 2
        assert digest_of_content(files) == content_digest(work.store.slabs())
        for number, (_, _, rows) in enumerate(read.values()):
            np.testing.assert_array_equal(rows, work.store.reader().read_slab(number, np.arange(len(rows))))

        copied = store_module.from_url("s3://shelf/copied")
        for name, data in files_of(made / "image_cache").items():
            copied.put(name, data)
        assert check("s3://shelf/copied", full=True) == []
        there, here = collect("s3://shelf/copied"), collect(made / "image_cache")
        assert there == here

        for name, data in files.items():  # the other way, no slab is seen
            (tmp_path / "down" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "down" / name).write_bytes(data)
        assert Store(tmp_path / "down", image_spec(STYLE)).slabs() == []


def bucket(endpoint, name):
    import urllib.request

    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{name}", method="PUT"), timeout=10)


def objects(store_module, root):
    store = store_module.from_url(root)
    names = [one["path"] for page in store.list() for one in page]
    return {name: bytes(store.get(name).bytes()) for name in names}
